//! Users: who they are, and which groups they are in.
//! Sets no passwords, moves and removes no home; keys are a kind of their own.

use std::path::Path;

use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, Spec, Step, Value, Wanted,
};

use super::accounts::{Accounts, User};
use super::command::{SHORT, run};
use super::directory::renumber;
use super::lower::{Ground, sorted};
use super::paths::normal;
use super::session::{Here, Look, Saying, Sights, number, text};

/// The kind `user`.
pub const KIND: Kind = Kind {
    name: "user",
    doc: "A user. Its password is never touched: a new user has none and logs in with a key.",
    fields: &[
        field(
            "uid",
            "Its number. Files outside its home that are not the lab's keep the number that they have.",
            Consequence::Downtime,
        ),
        field("group", "Its main group.", Consequence::None),
        field("groups", "Further groups that it is in; those that are not declared are left alone.", Consequence::None),
        field("shell", "Its login shell.", Consequence::None),
        field("home", "Its home directory. What is in the old one stays there.", Consequence::None),
        field("comment", "The full name, or what the user is for.", Consequence::None),
        Field {
            on_change: OnChange::Ignore,
            ..field("system", "Whether it gets a low number when it is made.", Consequence::None)
        },
        Field {
            on_change: OnChange::Ignore,
            ..field("create_home", "Whether its home is made together with it.", Consequence::None)
        },
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::Downtime,
};

const fn field(name: &'static str, doc: &'static str, consequence: Consequence) -> Field {
    Field { name, doc, on_change: OnChange::Update, consequence, content: false }
}

/// One resource for each declared user.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    sorted(&ground.host.users).into_iter().filter_map(|(name, user)| one(ground, name, user)).collect()
}

fn one(
    ground: &Ground<'_>,
    name: &str,
    entry: &labwright_model::Spanned<labwright_model::lab::User>,
) -> Option<Resource> {
    let user = &entry.value;
    let home = ground.maybe(user.home.as_ref())?.map(|home| normal(&home).into_owned());
    let mut groups = user.groups.iter().map(|group| ground.text(group)).collect::<Option<Vec<_>>>()?;
    groups.sort();
    groups.dedup();
    // A home that is declared as a directory is made by that; two makers would get in each other's way.
    let declared = home_of(name, home.as_deref(), user.system);
    let is_directory = |path: &String| ground.host.directories.keys().any(|directory| normal(directory) == *path);
    let create_home = user.create_home && declared.is_some_and(|home| !is_directory(&home));
    let mut resource = ground
        .resource("user", name, entry.span)
        .with_some("uid", user.uid.as_ref().map(|uid| uid.value))
        .with_some("group", ground.maybe(user.group.as_ref())?)
        .with_some("shell", ground.maybe(user.shell.as_ref())?)
        .with_some("home", home)
        .with_some("comment", ground.maybe(user.comment.as_ref())?)
        .with_some("system", user.system.then_some(true))
        .with("create_home", create_home);
    if !groups.is_empty() {
        resource = resource.with("groups", groups.into_iter().collect::<Value>());
    }
    resource.adopt = user.adopt;
    Some(resource)
}

/// Where a user's home is: as declared, or where `useradd` puts it. A system user has none unless one is named.
pub fn home_of(name: &str, home: Option<&str>, system: bool) -> Option<String> {
    home.map(str::to_string).or_else(|| (!system).then(|| format!("/home/{name}")))
}

/// The user as `/etc/passwd` has it, and which of the groups asked about it is in.
pub fn observe(here: &Here, wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let accounts = sights.accounts(here)?;
    let Some(user) = accounts.user(wanted.id.name()) else { return Ok(None) };
    let asked = |field: &str| here.asked(wanted, field).and_then(Value::text);
    let mut spec = Spec::from([
        ("uid".to_string(), Value::from(user.uid)),
        ("group".to_string(), Value::from(accounts.group_name(user.gid, asked("group")))),
        ("shell".to_string(), Value::from(user.shell.as_str())),
        ("home".to_string(), Value::from(normal(&user.home).into_owned())),
        ("comment".to_string(), Value::from(user.comment.as_str())),
    ]);
    if let Some(groups) = here.asked(wanted, "groups").and_then(Value::list) {
        let is_in = |group: &&Value| group.text().is_some_and(|group| accounts.is_in(user, group));
        spec.insert("groups".into(), Value::List(groups.iter().filter(is_in).cloned().collect()));
    }
    Ok(Some(Observed { spec, data: None }))
}

/// Makes, changes or removes the user, never its home.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let _only = here.lock_accounts();
    here.touched.note("/etc".as_ref());
    here.touched.note("/home".as_ref());
    let name = step.id.name();
    let accounts = here.accounts()?;
    let there = accounts.user(name);
    if step.action == Action::Delete {
        return match there {
            None => Ok(()),
            // Never with `--remove`: what is in the home is the user's.
            Some(user) => {
                run_owned("userdel", vec!["--".into(), name.into()])?;
                saying.say(&format!("its home `{}` stays", user.home));
                Ok(())
            }
        };
    }
    check(&accounts, name, &step.spec)?;
    match there {
        None => run_owned("useradd", useradd(&accounts, name, &step.spec)),
        Some(user) => {
            let args = usermod(&accounts, user, &step.spec)?;
            if let Some(home) = text(&step.spec, "home").filter(|home| *home != normal(&user.home)) {
                saying.say(&format!("what is in `{}` stays there; `{home}` is not made", user.home));
            }
            if args.is_empty() {
                return Ok(());
            }
            run_owned("usermod", [args, vec!["--".into(), name.into()]].concat())?;
            match number(&step.spec, "uid").filter(|uid| *uid != user.uid) {
                Some(uid) => renumber(here, "owner", name, user.uid, uid),
                None => Ok(()),
            }
        }
    }
}

fn run_owned(program: &str, args: Vec<String>) -> Result<(), ProviderError> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(program, &args, SHORT)?.require().map(drop).map_err(in_use)
}

/// Programs that run as the user keep its number, so neither that nor the user itself can go.
fn in_use(error: ProviderError) -> ProviderError {
    if !error.message.contains("currently used by process") {
        return error;
    }
    error.help("stop what runs as this user (`systemctl status PROCESS` on the host names its unit), then apply again")
}

/// Numbers and groups that cannot be, said before anything is changed.
fn check(accounts: &Accounts, name: &str, spec: &Spec) -> Result<(), ProviderError> {
    let uid = number(spec, "uid");
    if let Some(other) = accounts.users.iter().find(|user| Some(user.uid) == uid && user.name != name) {
        let message = format!("the user `{name}` cannot have uid {}: `{}` has it", other.uid, other.name);
        return Err(ProviderError::rejected(message).help("choose another `uid`, or leave it out"));
    }
    for group in groups(spec).into_iter().chain(text(spec, "group")) {
        accounts.gid(group)?;
    }
    for (field, value) in ["shell", "home", "comment"].into_iter().filter_map(|field| Some((field, text(spec, field)?)))
    {
        if value.contains([':', '\n']) || (field != "comment" && !value.starts_with('/')) {
            return Err(ProviderError::rejected(format!("`{field}` of the user `{name}` cannot be {value:?}")));
        }
    }
    if let Some(shell) = text(spec, "shell").filter(|shell| !Path::new(shell).exists()) {
        return Err(ProviderError::rejected(format!("the shell `{shell}` of the user `{name}` is not there"))
            .help("declare the package that brings it, under `packages`"));
    }
    Ok(())
}

fn groups(spec: &Spec) -> Vec<&str> {
    spec.get("groups").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text).collect()
}

fn useradd(accounts: &Accounts, name: &str, spec: &Spec) -> Vec<String> {
    let system = spec.get("system") == Some(&Value::Bool(true));
    let mut args: Vec<String> = Vec::new();
    let mut give = |option: &str, value: Option<String>| {
        args.extend(value.into_iter().flat_map(|value| [option.to_string(), value]));
    };
    give("--uid", number(spec, "uid").map(|uid| uid.to_string()));
    // As `adduser` does: a system user logs in nowhere, and lives nowhere unless it is said.
    let nowhere = |path: &str| system.then(|| path.to_string());
    give("--shell", text(spec, "shell").map(str::to_string).or_else(|| nowhere("/usr/sbin/nologin")));
    give("--home-dir", text(spec, "home").map(str::to_string).or_else(|| nowhere("/nonexistent")));
    give("--comment", text(spec, "comment").map(str::to_string));
    let own = accounts.group(name).map(|group| group.name.clone());
    let group = text(spec, "group").map(str::to_string).or(own);
    let has_group = group.is_some();
    give("--gid", group);
    give("--groups", Some(groups(spec).join(",")).filter(|groups| !groups.is_empty()));
    if !has_group {
        args.push("--user-group".into());
    }
    if system {
        args.push("--system".into());
    }
    let create_home = spec.get("create_home") == Some(&Value::Bool(true));
    args.push(if create_home { "--create-home" } else { "--no-create-home" }.into());
    args.extend(["--".into(), name.into()]);
    args
}

/// What differs, as `usermod` takes it; empty where nothing does.
fn usermod(accounts: &Accounts, user: &User, spec: &Spec) -> Result<Vec<String>, ProviderError> {
    let mut args: Vec<String> = Vec::new();
    let mut give = |option: &str, value: String| args.extend([option.to_string(), value]);
    if let Some(uid) = number(spec, "uid").filter(|uid| *uid != user.uid) {
        give("--uid", uid.to_string());
    }
    if let Some(group) = text(spec, "group")
        && accounts.gid(group)? != user.gid
    {
        give("--gid", group.to_string());
    }
    for (field, option, now) in [
        ("shell", "--shell", user.shell.as_str()),
        ("home", "--home", &normal(&user.home)),
        ("comment", "--comment", &user.comment),
    ] {
        if let Some(value) = text(spec, field).filter(|value| *value != now) {
            give(option, value.to_string());
        }
    }
    let missing: Vec<&str> = groups(spec).into_iter().filter(|group| !accounts.is_in(user, group)).collect();
    if !missing.is_empty() {
        give("--groups", missing.join(","));
        args.push("--append".into());
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "stian:x:1000:1000:Stian:/home/stian:/bin/bash\nwww-data:x:33:33:www:/var/www:/usr/sbin/nologin\n";
    const GROUP: &str = "stian:x:1000:\nwww-data:x:33:\ndocker:x:998:stian\nstaff:x:50:\n";

    fn spec(fields: &[(&str, Value)]) -> Spec {
        fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    fn list(names: &[&str]) -> Value {
        names.iter().copied().collect()
    }

    #[test]
    fn a_new_user_is_made_as_declared() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let user =
            spec(&[("create_home", true.into()), ("groups", list(&["docker", "staff"])), ("uid", 1500u32.into())]);
        let args = useradd(&accounts, "app", &user).join(" ");
        assert_eq!(args, "--uid 1500 --groups docker,staff --user-group --create-home -- app");
        let system = spec(&[("create_home", false.into()), ("system", true.into())]);
        let args = useradd(&accounts, "staff", &system).join(" ");
        let expected =
            "--shell /usr/sbin/nologin --home-dir /nonexistent --gid staff --system --no-create-home -- staff";
        assert_eq!(args, expected);
    }

    #[test]
    fn only_what_differs_is_changed() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let stian = accounts.user("stian").unwrap();
        let same = spec(&[
            ("uid", 1000u32.into()),
            ("group", "stian".into()),
            ("groups", list(&["docker"])),
            ("home", "/home/stian".into()),
        ]);
        assert_eq!(usermod(&accounts, stian, &same).unwrap(), Vec::<String>::new());
        let other =
            spec(&[("shell", "/bin/sh".into()), ("groups", list(&["docker", "staff"])), ("group", "staff".into())]);
        // Being in `staff` as a main group is known only afterwards; being told twice does no harm.
        assert_eq!(
            usermod(&accounts, stian, &other).unwrap().join(" "),
            "--gid staff --shell /bin/sh --groups staff --append"
        );
    }

    #[test]
    fn what_cannot_be_is_said_first() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let said = |fields: &[(&str, Value)]| check(&accounts, "app", &spec(fields)).unwrap_err().message;
        assert_eq!(said(&[("uid", 33u32.into())]), "the user `app` cannot have uid 33: `www-data` has it");
        assert_eq!(said(&[("groups", list(&["nosuch"]))]), "there is no group `nosuch` on this host");
        assert_eq!(said(&[("comment", "a:b".into())]), "`comment` of the user `app` cannot be \"a:b\"");
        assert_eq!(said(&[("shell", "/bin/nosuch".into())]), "the shell `/bin/nosuch` of the user `app` is not there");
        assert!(check(&accounts, "stian", &spec(&[("uid", 1000u32.into()), ("shell", "/bin/sh".into())])).is_ok());
    }
}
