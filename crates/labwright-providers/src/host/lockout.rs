//! Whether anybody could still log in after a change of the SSH server's settings.
//! Judges keys and names only: what firewalls, PAM and networks do is not its business.

use std::path::Path;

use labwright_plan::ProviderError;

use super::accounts::User;
use super::authorized_keys;
use super::public_key;
use super::session::Here;

/// Refuses settings that allow keys only where nobody who may log in has one.
pub fn check(here: &Here, settings: &str) -> Result<(), ProviderError> {
    if value(settings, "PasswordAuthentication") != Some("no") {
        return Ok(());
    }
    let accounts = here.accounts()?;
    let may: Vec<&User> = accounts.users.iter().filter(|user| may_log_in(user, settings)).collect();
    somebody_has_a_key(&may, |user| authorized_keys::read(here, user))
}

/// `read`: a user's `authorized_keys`; `None` where there is none.
fn somebody_has_a_key(
    may: &[&User],
    read: impl Fn(&User) -> Result<Option<String>, ProviderError>,
) -> Result<(), ProviderError> {
    let mut unread = Vec::new();
    for user in may {
        match read(user) {
            Ok(text) => {
                if public_key::entries(&text.unwrap_or_default()).any(|line| public_key::key(line).is_some()) {
                    return Ok(());
                }
            }
            // A file that cannot be read is a key that cannot be counted on, and not one that is not there.
            Err(error) => unread.push(error.message),
        }
    }
    if !unread.is_empty() {
        let message = format!("whether anybody could still log in cannot be told: {}", unread.join("; "));
        return Err(ProviderError::rejected(message).help(
            "the SSH server is as it was; make that file readable, or declare a key of another user who may log in, under \
             `users` or `authorized_keys`",
        ));
    }
    let names = may.iter().map(|user| format!("`{}`", user.name)).collect::<Vec<_>>().join(", ");
    let message = match names.is_empty() {
        true => "nobody could log in any more: no user with a login shell is allowed to".to_string(),
        false => format!("nobody could log in any more: no key may log in as {names}"),
    };
    Err(ProviderError::rejected(message)
        .help("declare a key that may log in, under `users` or `authorized_keys`, and look at `allow_users`"))
}

fn may_log_in(user: &User, settings: &str) -> bool {
    let shell = Path::new(&user.shell).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let has_shell = !matches!(shell, "nologin" | "false" | "sync" | "halt" | "shutdown");
    let root_may = user.uid != 0 || value(settings, "PermitRootLogin") != Some("no");
    let allowed = value(settings, "AllowUsers").is_none_or(|allowed| {
        // What stands after `@` is where from; that is not known here.
        allowed.split_whitespace().any(|pattern| covers(pattern.split('@').next().unwrap_or(pattern), &user.name))
    });
    has_shell && root_may && allowed
}

/// The value of a setting; names are spelled in any case.
fn value<'a>(settings: &'a str, wanted: &str) -> Option<&'a str> {
    settings
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| key.eq_ignore_ascii_case(wanted))
        .map(|(_, v)| v.trim())
}

/// sshd's patterns: `*` for anything, `?` for one character.
fn covers(pattern: &str, name: &str) -> bool {
    let (mut chars, mut rest) = (pattern.chars(), name.chars());
    match chars.next() {
        None => name.is_empty(),
        Some('*') => {
            (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| covers(chars.as_str(), &name[at..]))
        }
        Some(c) => rest.next().is_some_and(|next| c == '?' || c == next) && covers(chars.as_str(), rest.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::accounts::Accounts;
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n\
        stian:x:1000:1000::/home/stian:/bin/bash\nsync:x:4:65534:sync:/bin:/bin/sync\nbackup:x:1001:1001::/srv:\n";

    fn may(settings: &str) -> Vec<String> {
        let users = Accounts::parse(PASSWD, "").users;
        users.into_iter().filter(|user| may_log_in(user, settings)).map(|user| user.name).collect()
    }

    #[test]
    fn keys_that_cannot_be_read_are_told_and_are_not_counted_on() {
        let users = Accounts::parse(PASSWD, "").users;
        let may: Vec<&User> = users.iter().filter(|user| may_log_in(user, "")).collect();
        let fault = || ProviderError::rejected("cannot read `/home/stian/.ssh/authorized_keys`: input/output error");
        let told = somebody_has_a_key(&may, |user| if user.name == "stian" { Err(fault()) } else { Ok(None) });
        let told = told.unwrap_err();
        assert!(told.message.contains("cannot be told") && told.message.contains("/home/stian/.ssh"), "{told:?}");
        assert!(!told.message.contains("nobody could"), "{told:?}");
        // A key of another user is enough, whatever the one says.
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a@b\n";
        let one = |user: &User| if user.name == "root" { Ok(Some(key.to_string())) } else { Err(fault()) };
        assert!(somebody_has_a_key(&may, one).is_ok());
        let none = somebody_has_a_key(&may, |_| Ok(None)).unwrap_err();
        assert!(none.message.contains("nobody could log in any more"), "{none:?}");
    }

    #[test]
    fn who_may_log_in_follows_shells_root_and_allowed_users() {
        assert_eq!(may(""), ["root", "stian", "backup"]);
        assert_eq!(may("PermitRootLogin no\n"), ["stian", "backup"]);
        assert_eq!(may("AllowUsers s*@10.0.0.* nobody\n"), ["stian"]);
        assert_eq!(may("permitrootlogin no\nallowusers root\n"), Vec::<String>::new());
        assert!(covers("?ackup", "backup") && !covers("?ackup", "ackup") && covers("*", ""));
    }
}
