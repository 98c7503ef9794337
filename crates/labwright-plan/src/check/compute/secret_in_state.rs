//! LW-CMP-007: a secret in the state of a host.

use labwright_model::{Finding, Findings, Parsed, Spanned, reference};

use crate::check::{Examples, Rule};

pub struct SecretInState;

const CODE: &str = "LW-CMP-007";

impl Rule for SecretInState {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a secret that cannot be delivered"
    }

    fn doc(&self) -> &'static str {
        "The content of a file or unit refers to `${secret.…}`. This version cannot decrypt secrets on a host, and writing \
         the reference itself into the file would only look as if it worked.\n\n\
         The way out: leave the secret out of the file, and let the program read it from a file that you place by hand."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/app.env: { content: \"PASSWORD=${secret.app}\" }",
            passes: "compute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/app.env: { content: \"PASSWORD_FILE=/etc/app.password\" }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        for (name, host) in parsed.lab.compute.hosts.iter() {
            let mut judge = |text: Option<&Spanned<String>>, what: String| {
                let Some(text) = text else { return };
                if let Some(secret) = reference::secrets(text).first() {
                    let message =
                        format!("{what} needs secret `{secret}`, and this version cannot deliver secrets to hosts");
                    let finding = Finding::error(CODE, format!("compute.hosts.{name}"), text.span, message);
                    findings
                        .push(finding.help(
                            "let the program read it from a file that you place by hand, and refer to that file",
                        ));
                }
            };
            for (path, file) in host.files.iter() {
                judge(file.content.as_ref(), format!("file `{path}`"));
            }
            for (unit, entry) in host.units.iter() {
                judge(entry.content.as_ref(), format!("unit `{unit}`"));
            }
            for (path, mount) in host.mounts.iter() {
                judge(mount.options.as_ref(), format!("mount `{path}`"));
            }
        }
    }
}
