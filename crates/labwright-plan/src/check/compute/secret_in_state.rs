//! LW-CMP-007: a secret in the state of a host.

use labwright_model::lab::Host;
use labwright_model::{Finding, Findings, Parsed, Span, Spanned, reference};

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
            for (text, what) in texts(host) {
                let Some(secret) = reference::secrets(text).first().copied() else { continue };
                let message =
                    format!("{what} needs secret `{secret}`, and this version cannot deliver secrets to hosts");
                // A long text is judged as a whole and pointed at where the secret stands in it.
                let place = parsed.secrets.iter().find(|secret| is_inside(secret.span, text.span));
                let place = place.map_or(text.span, |secret| secret.span);
                findings.push(
                    Finding::error(CODE, format!("compute.hosts.{name}"), place, message)
                        .help("let the program read it from a file that you place by hand, and refer to that file"),
                );
            }
        }
    }
}

/// Every text that is written to a host, with what it is.
pub fn texts(host: &Host) -> Vec<(&Spanned<String>, String)> {
    let mut texts: Vec<(&Spanned<String>, String)> = Vec::new();
    let files = host.files.iter().map(|(path, file)| (file.content.as_ref(), format!("file `{path}`")));
    let units = host.units.iter().map(|(unit, entry)| (entry.content.as_ref(), format!("unit `{unit}`")));
    let mounts = host.mounts.iter().map(|(path, mount)| (mount.options.as_ref(), format!("mount `{path}`")));
    let parameters = host.sysctl.iter().map(|(key, entry)| (Some(&entry.value.value), format!("sysctl `{key}`")));
    texts.extend(files.chain(units).chain(mounts).chain(parameters).filter_map(|(text, what)| Some((text?, what))));
    texts
}

/// Whether one place is within another.
pub fn is_inside(inner: Span, outer: Span) -> bool {
    inner.file == outer.file && outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn the_place_is_where_the_secret_stands() {
        says(
            r#"
compute:
  hosts:
    desk:
      local: true
      files:
        /etc/app.env:
          content: |
            NAME=app
            PASSWORD=${secret.app} ${secret.other}
        /etc/literal: { content: "$${secret.app}" }
      units:
        app.service: { content: "[Service]\nEnvironment=A=${secret.unit}" }
      mounts:
        /m: { device: //nas/x, fstype: cifs, options: "password=${secret.smb}" }
      sysctl: { a.b: "${secret.c}" }
"#,
            expect![[r#"
                10:22 error LW-CMP-007: file `/etc/app.env` needs secret `app`, and this version cannot deliver secrets to hosts
                    help: let the program read it from a file that you place by hand, and refer to that file
                13:59 error LW-CMP-007: unit `app.service` needs secret `unit`, and this version cannot deliver secrets to hosts
                    help: let the program read it from a file that you place by hand, and refer to that file
                15:65 error LW-CMP-007: mount `/m` needs secret `smb`, and this version cannot deliver secrets to hosts
                    help: let the program read it from a file that you place by hand, and refer to that file
                16:23 error LW-CMP-007: sysctl `a.b` needs secret `c`, and this version cannot deliver secrets to hosts
                    help: let the program read it from a file that you place by hand, and refer to that file
            "#]],
        );
    }
}
