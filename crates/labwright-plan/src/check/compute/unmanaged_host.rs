//! LW-CMP-006: state for a host that Labwright does not change.

use labwright_model::lab::Os;
use labwright_model::{Finding, Findings};

use crate::check::{Case, Examples, Rule};

pub struct UnmanagedHost;

const CODE: &str = "LW-CMP-006";

impl Rule for UnmanagedHost {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "state for a host that is not changed"
    }

    fn doc(&self) -> &'static str {
        "A host with `os: nixos` or `os: other` has packages, files or other state in the lab file. Labwright changes Debian, \
         Ubuntu and Proxmox hosts; a NixOS host is described by its flake, and files written beside it would be gone, or in \
         the way, with the next activation.\n\n\
         It comes from document 1, whose machines are NixOS, declared in one repository and deployed with colmena.\n\n\
         The way out: move the state into the host's own configuration, or correct `os`."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    laptop: { os: nixos, address: 10.0.30.5, packages: [htop] }",
            passes: "compute:\n  hosts:\n    laptop: { os: debian, address: 10.0.30.5, packages: [htop] }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        for (name, host) in parsed.lab.compute.hosts.iter() {
            if !matches!(host.os, Os::Nixos | Os::Other) {
                continue;
            }
            let keys = [
                ("packages", !host.packages.is_empty()),
                ("groups", !host.groups.is_empty()),
                ("users", !host.users.is_empty()),
                ("authorized_keys", !host.authorized_keys.is_empty()),
                ("directories", !host.directories.is_empty()),
                ("files", !host.files.is_empty()),
                ("symlinks", !host.symlinks.is_empty()),
                ("units", !host.units.is_empty()),
                ("mounts", !host.mounts.is_empty()),
                ("interfaces", !host.interfaces.is_empty()),
                ("sysctl", !host.sysctl.is_empty()),
                ("sshd", host.sshd.is_some()),
                ("hostname", host.hostname.is_some()),
            ];
            let used: Vec<String> = keys.iter().filter(|(_, used)| *used).map(|(key, _)| format!("`{key}`")).collect();
            if !used.is_empty() {
                let message = format!(
                    "`{name}` has {}, and hosts with `os: {}` are not changed",
                    used.join(", "),
                    host.os.word()
                );
                let finding = Finding::error(CODE, format!("compute.hosts.{name}"), host.span, message);
                findings.push(finding.help("move it into the host's own configuration, or correct `os`"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn all_that_is_set_is_named_at_once() {
        says(
            r#"
compute:
  hosts:
    nix: { os: nixos, address: 10.0.0.1, packages: [htop], files: { /a: { content: x } }, sshd: true }
    pve: { os: proxmox, address: 10.0.0.2, packages: [htop] }
    tv: { os: other, address: 10.0.0.3 }
"#,
            expect![[r#"
                4:5 error LW-CMP-006: `nix` has `packages`, `files`, `sshd`, and hosts with `os: nixos` are not changed
                    help: move it into the host's own configuration, or correct `os`
            "#]],
        );
    }
}
