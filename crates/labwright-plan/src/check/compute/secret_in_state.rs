//! LW-CMP-007: a secret where others could read it.

use labwright_model::units::Mode;
use labwright_model::{Finding, Findings, Span, reference};

use crate::check::{Case, Examples, Rule};

pub struct SecretInState;

const CODE: &str = "LW-CMP-007";

impl Rule for SecretInState {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a secret where others could read it"
    }

    fn doc(&self) -> &'static str {
        "A secret of a host is delivered in three places: the `content` of a file, and the `environment` and `credentials` of \
         a unit. Each is kept in memory, readable by its owner alone. Anywhere else it would be in the open: a unit's own \
         file is read by everybody, mount options and command lines stand in the list of processes, \
         a sysctl in `/proc`. A file that others may read would hand it to them as well.\n\n\
         It comes from systemd's own page on credentials (https://systemd.io/CREDENTIALS/), which tells what is \
         wrong with environments and with plain files; from proc(5), where everybody reads command lines; and from \
         document 4, which has no secret in a Compose file.\n\n\
         The way out: put the secret into a file of its own, or into the unit's `environment` or `credentials`, and let the \
         program read it there. For a mount, a file named by `credentials=`. Say with `owner` who reads a file, and leave \
         its `mode` out: it is 0400."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { secrets: { age: secrets.yaml, generate: { app: password } } }\ncompute:\n  hosts:\n    desk:\n      local: true\n      units:\n        app.service: { content: \"[Service]\\nExecStart=/usr/bin/app --password ${secret.app}\" }",
            passes: "platform: { secrets: { age: secrets.yaml, generate: { app: password } } }\ncompute:\n  hosts:\n    desk:\n      local: true\n      units:\n        app.service:\n          content: \"[Service]\\nExecStart=/usr/bin/app --password-file %d/app\"\n          credentials: { app: \"${secret.app}\" }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        // A host that only a role names has nothing written of it, and no place of its own.
        let written = parsed.lab.compute.hosts.iter().filter(|(name, _)| !parsed.implied.contains(name));
        for (name, host) in written {
            let whole = parsed.span_of(&["compute", "hosts", name]);
            let mut kept: Vec<Span> = Vec::new();
            for (path, file) in host.files.iter() {
                let Some(content) = &file.content else { continue };
                kept.push(content.span);
                let secrets = reference::secrets(content);
                let mode = file.mode.as_ref().filter(|mode| mode.value != Mode(0o400));
                if let (Some(secret), Some(mode)) = (secrets.first(), mode) {
                    let message = format!("file `{path}` holds secret `{secret}`, and its mode is {}", mode.value);
                    findings.push(
                        Finding::error(CODE, format!("compute.hosts.{name}.files.{path}.mode"), mode.span, message)
                            .help("leave `mode` out: it is 0400; `owner: USER` says who reads it"),
                    );
                }
            }
            for (unit, entry) in host.units.iter() {
                let place =
                    |table: &str, key: &str| parsed.span_of(&["compute", "hosts", name, "units", unit, table, key]);
                kept.extend(entry.environment.keys().map(|key| place("environment", key)));
                kept.extend(entry.credentials.keys().map(|key| place("credentials", key)));
            }
            for secret in parsed.secrets.iter().filter(|secret| is_inside(secret.span, whole)) {
                if kept.iter().any(|kept| is_inside(secret.span, *kept)) {
                    continue;
                }
                let message = format!("secret `{}` would stand in the open here", secret.value);
                findings.push(Finding::error(CODE, format!("compute.hosts.{name}"), secret.span, message).help(
                    "put it into the `content` of a file, or into the `environment` or `credentials` of the unit",
                ));
            }
        }
    }
}

/// Whether one place is within another.
fn is_inside(inner: Span, outer: Span) -> bool {
    inner.file == outer.file && outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn only_files_environment_and_credentials_keep_a_secret() {
        says(
            r#"
platform: { secrets: { age: secrets.yaml, recovery: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq } }
compute:
  hosts:
    desk:
      local: true
      files:
        /etc/app.env:
          content: |
            NAME=app
            PASSWORD=${secret.app} ${secret.other}
        /etc/open: { content: "${secret.app}", mode: "0644" }
        /etc/literal: { content: "$${secret.app}" }
      units:
        app.service:
          content: "[Service]\nEnvironment=A=${secret.app}"
          environment: { A: "${secret.app}" }
          credentials: { a: "${secret.app}" }
      mounts:
        /m: { device: //nas/x, fstype: cifs, options: "password=${secret.app}" }
      sysctl: { a.b: "${secret.other}" }
      users: { app: { comment: "${secret.other}" } }
"#,
            expect![[r#"
                12:54 error LW-CMP-007: file `/etc/open` holds secret `app`, and its mode is 0644
                    help: leave `mode` out: it is 0400; `owner: USER` says who reads it
                16:46 error LW-CMP-007: secret `app` would stand in the open here
                    help: put it into the `content` of a file, or into the `environment` or `credentials` of the unit
                20:65 error LW-CMP-007: secret `app` would stand in the open here
                    help: put it into the `content` of a file, or into the `environment` or `credentials` of the unit
                21:23 error LW-CMP-007: secret `other` would stand in the open here
                    help: put it into the `content` of a file, or into the `environment` or `credentials` of the unit
                22:33 error LW-CMP-007: secret `other` would stand in the open here
                    help: put it into the `content` of a file, or into the `environment` or `credentials` of the unit
            "#]],
        );
    }
}
