//! The users and groups of this host, from `/etc/passwd` and `/etc/group`.
//! Reads no password hashes and asks no directory service: what it does not find there has only its number.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use labwright_plan::{Facts, ProviderError};

use super::errors::file_error;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub comment: String,
    pub home: String,
    pub shell: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub users: Vec<User>,
    pub groups: Vec<Group>,
}

/// By what a change of either file is told: who changes them puts a new file in the old one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition([(u64, u64, i64, i64, u64); 2]);

impl Edition {
    /// Of both files as they are now.
    pub fn now(facts: &Facts) -> Result<Edition, ProviderError> {
        let of = |path: &str| {
            let there = fs::metadata(path).map_err(|error| file_error("read", Path::new(path), &error, facts))?;
            Ok::<_, ProviderError>((there.dev(), there.ino(), there.ctime(), there.ctime_nsec(), there.size()))
        };
        Ok(Edition([of(PASSWD)?, of(GROUP)?]))
    }
}

impl Accounts {
    /// Both files as they are now.
    pub fn read(facts: &Facts) -> Result<Accounts, ProviderError> {
        let text = |path: &str| {
            let bytes = fs::read(path).map_err(|error| file_error("read", Path::new(path), &error, facts))?;
            Ok::<_, ProviderError>(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Accounts::parse(&text(PASSWD)?, &text(GROUP)?))
    }

    /// Lines that are no accounts (comments, NIS entries) say nothing.
    pub fn parse(passwd: &str, group: &str) -> Accounts {
        Accounts {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(self::group).collect(),
        }
    }

    /// The user of a name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The group of a name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The user's name; its number where it has no name, or where a number is what was asked for.
    pub fn user_name(&self, uid: u32, asked: Option<&str>) -> String {
        let name = self.users.iter().find(|user| user.uid == uid).map(|user| user.name.clone());
        name.filter(|_| !is_number(asked)).unwrap_or_else(|| uid.to_string())
    }

    /// As `user_name`, for a group.
    pub fn group_name(&self, gid: u32, asked: Option<&str>) -> String {
        let name = self.groups.iter().find(|group| group.gid == gid).map(|group| group.name.clone());
        name.filter(|_| !is_number(asked)).unwrap_or_else(|| gid.to_string())
    }

    /// The number of the user of a name, or the number that is written there.
    pub fn uid(&self, name: &str) -> Result<u32, ProviderError> {
        let uid = self.user(name).map(|user| user.uid).or_else(|| name.parse().ok());
        uid.ok_or_else(|| {
            ProviderError::rejected(format!("there is no user `{name}` on this host"))
                .help("declare it under `users`, or declare the package that brings it")
        })
    }

    /// The number of the group of a name, or the number that is written there.
    pub fn gid(&self, name: &str) -> Result<u32, ProviderError> {
        let gid = self.group(name).map(|group| group.gid).or_else(|| name.parse().ok());
        gid.ok_or_else(|| {
            ProviderError::rejected(format!("there is no group `{name}` on this host"))
                .help("declare it under `groups`, or declare the package that brings it")
        })
    }

    /// Whether a user is in a group, as its main group or as a member.
    pub fn is_in(&self, user: &User, group: &str) -> bool {
        self.group(group).is_some_and(|group| group.gid == user.gid || group.members.contains(&user.name))
    }
}

fn is_number(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.parse::<u32>().is_ok())
}

fn user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, comment, home, shell] = fields[..] else { return None };
    if name.is_empty() || name.starts_with(['#', '+', '-']) {
        return None;
    }
    // `adduser` leaves commas for the room and the telephones that nobody fills in.
    let (comment, home, shell) = (comment.trim_end_matches(',').to_string(), home.to_string(), shell.to_string());
    Some(User { name: name.to_string(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, comment, home, shell })
}

fn group(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    if name.is_empty() || name.starts_with(['#', '+', '-']) {
        return None;
    }
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_string).collect();
    Some(Group { name: name.to_string(), gid: gid.parse().ok()?, members })
}

/// Why something cannot be a user's or a group's name; `None`: it can. What `useradd` takes, and no number.
pub fn name_fault(name: &str) -> Option<&'static str> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_uppercase() || c == '_';
    let rest = |c: char| first(c) || c.is_ascii_digit() || c == '-' || c == '.';
    let body = name.strip_suffix('$').unwrap_or(name);
    if name.len() > 32 {
        return Some("is longer than 32 characters");
    }
    (!body.starts_with(first) || !body.chars().all(rest)).then_some("is not made of letters, digits, `_`, `-` and `.`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        # a comment\n\
        +nis::::::\n\
        broken:x:1\n\
        stian:x:1000:1000:Stian,,,:/home/stian:/bin/bash\n\
        app:x:1001:50:::\n";
    const GROUP: &str = "root:x:0:\ndocker:x:998:stian,app\nstian:x:1000:\nstaff:x:50:\n";

    #[test]
    fn accounts_are_read_and_other_lines_are_passed_over() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let names: Vec<&str> = accounts.users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["root", "daemon", "stian", "app"]);
        assert_eq!(accounts.user("stian").unwrap().comment, "Stian");
        assert_eq!(accounts.group("docker").unwrap().members, ["stian", "app"]);
    }

    #[test]
    fn names_and_numbers_stand_for_each_other() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        assert_eq!(accounts.user_name(1000, None), "stian");
        assert_eq!(accounts.user_name(1000, Some("1000")), "1000");
        assert_eq!(accounts.user_name(4711, Some("stian")), "4711");
        assert_eq!((accounts.uid("stian").unwrap(), accounts.uid("4711").unwrap()), (1000, 4711));
        assert_eq!(accounts.gid("nobody").unwrap_err().message, "there is no group `nobody` on this host");
        let app = accounts.user("app").unwrap();
        assert!(accounts.is_in(app, "docker") && accounts.is_in(app, "staff") && !accounts.is_in(app, "stian"));
    }

    #[test]
    fn names_that_could_be_options_or_numbers_are_refused() {
        for name in ["stian", "_apt", "www-data", "host$", "a.b", "Debian-exim"] {
            assert_eq!(name_fault(name), None, "{name}");
        }
        for name in ["", "-rf", "1000", "a b", "a:b", "å", &"a".repeat(33)] {
            assert!(name_fault(name).is_some(), "{name}");
        }
    }
}
