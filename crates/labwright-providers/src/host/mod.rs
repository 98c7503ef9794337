//! The state of a host: packages, accounts, files, units, mounts, kernel parameters, its name and its SSH server.
//! Runs on the host itself, in the agent; it opens no connection and plans nothing.

mod authorized_keys;
mod directory;
mod file;
mod group;
mod hostname;
mod interface;
mod mount;
mod package;
mod sshd;
mod symlink;
mod sysctl;
mod unit;
mod user;

mod lower;
mod order;
mod runtime;
pub(crate) mod session;

mod accounts;
mod apt;
mod atomic;
pub(crate) mod command;
pub(crate) mod content;
pub(crate) mod entry;
pub(crate) mod errors;
mod lockout;
pub(crate) mod paths;
mod public_key;
mod replaced;
pub(crate) mod secret_boot;
pub(crate) mod secret_file;
pub(crate) mod systemd;
pub(crate) mod touched;
pub(crate) mod unit_environment;
mod waiting;
pub(crate) mod way_back;

use labwright_model::Parsed;
use labwright_plan::{
    Change, Consequence, Context, Facts, Input, Kind, Lowered, Part, Provider, ProviderError, Refusal, Resource,
    Runtime, Session,
};

pub(crate) use errors::NOT_ROOT;
pub(crate) use lower::{NO_SUCH_ASSET, managed};
pub(crate) use runtime::Units;

pub use lower::assets;

/// The provider `host`.
pub struct Host;

/// Every kind, in the order in which a host is usually made.
static KINDS: [Kind; 13] = [
    package::KIND,
    group::KIND,
    user::KIND,
    authorized_keys::KIND,
    directory::KIND,
    file::KIND,
    symlink::KIND,
    unit::KIND,
    mount::KIND,
    sysctl::KIND,
    hostname::KIND,
    sshd::KIND,
    interface::KIND,
];

impl Provider for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn lower(&self, input: &Input<'_>, out: &mut Lowered) {
        lower::lower(input, out);
    }

    fn refuse(&self, resource: &Resource, facts: &Facts) -> Option<Refusal> {
        fault(resource).or_else(|| lacking(resource, facts))
    }

    fn price(&self, resource: &Resource, changes: &[Change]) -> Consequence {
        match resource.id.kind() {
            "authorized_keys" => authorized_keys::price(resource, changes),
            _ => Consequence::None,
        }
    }

    fn parts(&self, parsed: &Parsed) -> Vec<Part> {
        runtime::parts(parsed)
    }

    fn runtime(&self) -> Option<Box<dyn Runtime>> {
        Some(Box::new(runtime::Units))
    }

    fn connect(&self, context: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(session::Here::new(context)))
    }
}

/// Why a resource can be on no host at all.
fn fault(resource: &Resource) -> Option<Refusal> {
    let name = resource.id.name();
    match resource.id.kind() {
        "file" | "directory" | "symlink" => paths::fault(name),
        "mount" => mount::fault(resource),
        "package" => package::fault(name),
        "user" | "group" | "authorized_keys" => accounts::name_fault(name)
            .map(|fault| Refusal { reason: format!("`{name}` {fault}"), help: "choose another name".into() }),
        "unit" => unit::fault(resource),
        "sysctl" => sysctl::fault(name),
        "hostname" => hostname::fault(resource),
        "sshd" => sshd::fault(resource),
        _ => None,
    }
}

/// What a host of these facts lacks for a resource.
fn lacking(resource: &Resource, facts: &Facts) -> Option<Refusal> {
    let (host, name, kind) = (resource.id.host(), resource.id.name(), resource.id.kind());
    let needs_root = !matches!(kind, "file" | "directory" | "symlink");
    if matches!(kind, "unit" | "mount") && !facts.systemd {
        return Some(Refusal {
            reason: format!("`{host}` does not run systemd, so `{name}` cannot be managed there"),
            help: format!("take it out of `{kind}s` of `{host}`, or move it to a host that runs systemd"),
        });
    }
    if kind == "package" && !facts.apt {
        return Some(Refusal {
            reason: format!("`{host}` has no apt, so `{name}` cannot be installed there"),
            help: format!("take it out of `packages` of `{host}`, and say what it runs: `os: …`"),
        });
    }
    (needs_root && !facts.root).then(|| Refusal {
        reason: format!("`{name}` needs root, and labwright runs as `{}` on `{host}`", facts.user),
        help: errors::NOT_ROOT.into(),
    })
}

#[cfg(test)]
mod tests {
    use labwright_model::Span;
    use labwright_plan::{OnChange, ResourceId};

    use super::*;

    fn refused(kind: &str, name: &str, facts: &Facts) -> Option<String> {
        let resource = Resource::new(ResourceId::new("web", "host", kind, name), Span::NONE);
        Host.refuse(&resource, facts).map(|refusal| format!("{}; {}", refusal.reason, refusal.help))
    }

    #[test]
    fn a_host_is_told_what_it_lacks() {
        let able = Facts { systemd: true, apt: true, root: true, user: "root".into(), ..Facts::default() };
        let user = Facts { root: false, user: "stian".into(), ..able.clone() };
        let bare = Facts { systemd: false, apt: false, ..able.clone() };
        for (kind, name) in
            [("unit", "a.service"), ("package", "nginx"), ("file", "/etc/motd"), ("sysctl", "vm.swappiness")]
        {
            assert_eq!(refused(kind, name, &able), None);
        }
        assert_eq!(refused("file", "/home/stian/x", &user), None);
        assert!(
            refused("sysctl", "vm.swappiness", &user)
                .unwrap()
                .starts_with("`vm.swappiness` needs root, and labwright runs as `stian`")
        );
        assert!(
            refused("unit", "a.service", &bare)
                .unwrap()
                .starts_with("`web` does not run systemd, so `a.service` cannot be")
        );
        assert!(refused("package", "nginx", &bare).unwrap().starts_with("`web` has no apt"));
        assert!(refused("file", "etc/motd", &able).unwrap().starts_with("`etc/motd` is not an absolute path"));
    }

    #[test]
    fn a_file_that_becomes_a_link_is_made_anew() {
        let file = Host.kinds().iter().find(|kind| kind.name == "file").unwrap();
        assert_eq!(file.field("type").map(|field| field.on_change), Some(OnChange::Replace));
    }
}
