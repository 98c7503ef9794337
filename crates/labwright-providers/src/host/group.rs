//! Groups of users.
//! Who is in them is said where the users are declared.

use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, Spec, Step, Value, Wanted,
};

use super::accounts::Accounts;
use super::command::{SHORT, run};
use super::directory::renumber;
use super::lower::{Ground, sorted};
use super::session::{Here, Look, Saying, Sights, number};

/// The kind `group`.
pub const KIND: Kind = Kind {
    name: "group",
    doc: "A group of users. Its members are declared with the users.",
    fields: &[
        Field {
            name: "gid",
            doc: "Its number. Files that are not the lab's keep the number that they have.",
            on_change: OnChange::Update,
            consequence: Consequence::Downtime,
            content: false,
        },
        Field {
            name: "system",
            doc: "Whether it gets a low number when it is made.",
            on_change: OnChange::Ignore,
            consequence: Consequence::None,
            content: false,
        },
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::None,
};

/// One resource for each declared group.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    let group = |(name, group): (&str, &labwright_model::Spanned<labwright_model::lab::Group>)| {
        let resource = ground.resource("group", name, group.span);
        let resource = resource.with_some("gid", group.gid.as_ref().map(|gid| gid.value));
        resource.with_some("system", group.system.then_some(true))
    };
    sorted(&ground.host.groups).into_iter().map(group).collect()
}

/// The group as `/etc/group` has it.
pub fn observe(here: &Here, wanted: &Wanted<'_>, sights: &Sights) -> Look {
    let accounts = sights.accounts(here)?;
    let group = accounts.group(wanted.id.name());
    let spec = |gid: u32| Spec::from([("gid".to_string(), Value::from(gid))]);
    Ok(group.map(|group| Observed { spec: spec(group.gid), data: None }))
}

/// Makes, renumbers or removes the group.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let _only = here.lock_accounts();
    here.touched.note("/etc".as_ref());
    let name = step.id.name();
    let accounts = here.accounts()?;
    let there = accounts.group(name);
    if step.action == Action::Delete {
        return match there {
            None => Ok(()),
            Some(_) => run("groupdel", &["--", name], SHORT)?.require().map(drop),
        };
    }
    let gid = number(&step.spec, "gid");
    free(&accounts, name, gid)?;
    let text = gid.map(|gid| gid.to_string());
    let mut args: Vec<&str> = text.iter().flat_map(|gid| ["--gid", gid]).collect();
    match there {
        None => {
            if step.spec.get("system") == Some(&Value::Bool(true)) {
                args.push("--system");
            }
            args.extend(["--", name]);
            run("groupadd", &args, SHORT)?.require().map(drop)
        }
        Some(there) if gid.is_some_and(|gid| gid != there.gid) => {
            args.extend(["--", name]);
            run("groupmod", &args, SHORT)?.require()?;
            saying
                .say(&format!("files of the group `{name}` that are not the lab's keep its old number, {}", there.gid));
            gid.map_or(Ok(()), |gid| renumber(here, "group", name, there.gid, gid))
        }
        Some(_) => Ok(()),
    }
}

/// A number that another group has is taken.
fn free(accounts: &Accounts, name: &str, gid: Option<u32>) -> Result<(), ProviderError> {
    let other = accounts.groups.iter().find(|group| Some(group.gid) == gid && group.name != name);
    other.map_or(Ok(()), |other| {
        Err(ProviderError::rejected(format!(
            "the group `{name}` cannot have gid {}: `{}` has it",
            other.gid, other.name
        ))
        .help("choose another `gid`, or leave it out"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_another_group_has_is_taken() {
        let accounts = Accounts::parse("", "staff:x:50:\napp:x:900:\n");
        assert!(free(&accounts, "app", Some(900)).is_ok() && free(&accounts, "app", None).is_ok());
        let error = free(&accounts, "app", Some(50)).unwrap_err();
        assert_eq!(error.message, "the group `app` cannot have gid 50: `staff` has it");
    }
}
