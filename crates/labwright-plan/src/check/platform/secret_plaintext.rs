//! LW-PLT-005: a secret in the clear.

use std::ops::Range;

use labwright_model::{Finding, Findings, Parsed, Severity, Span, Step, Text};

use super::secret_shapes::{Glance, known};
use super::secret_words::{assignments, is_name, judge, secret_name, speaks_of_anything};
use crate::check::passage::{PROSE, joined, key, source, told_at};
use crate::check::{Case, Examples, Rule};

pub struct PlaintextSecret;

const CODE: &str = "LW-PLT-005";

impl Rule for PlaintextSecret {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a secret in the clear"
    }

    fn doc(&self) -> &'static str {
        "Lab files are shared, committed and kept for ever; a secret in one is none any more. What looks like one is found:\n\n\
         - The known shapes of private keys, tokens and webhooks, and passwords in addresses (`https://user:password@host`): \
         an error.\n\
         - Any value under a key like `password` or `DB_PASSWORD`, and a long random one under a key that speaks of a \
         secret or a token: a warning.\n\n\
         The contents of files and units, commands, and environments of containers are looked at as well, and so are Compose files \
         and their files of variables, each at its own line. References, \
         paths, hashes and public keys are none, and neither is what stands under keys like `PASSWORD_FILE`. The message \
         never holds the value.\n\n\
         It comes from document 4: no secrets in Compose files, none in Git.\n\n\
         Any value, however weak, is told under the names that programs sign or let in with (`JWT_SECRET`, `APP_KEY`, \
         `ADMIN_TOKEN`, `…_SECRET_KEY`).\n\n\
         The way out: put it into the store (`labwright secret set NAME` asks for it), write `${secret.NAME}` in its \
         place (in a Compose file and its `.env`, `secrets: { NAME: { external: true } }` and the image's variable with \
         `_FILE`), and, if the file was ever committed or sent, replace it where it came from. What is none is accepted with \
         a comment; for a text of several lines, one at or above its key counts for all of it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { secrets: secrets.yaml }\ncompute:\n  docker_hosts: [docker-01]\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  wiki:\n    containers:\n      app: { image: \"wiki:2\", environment: { DATABASE_URL: \"postgres://wiki:hunter2@db/wiki\" } }\n    on: docker-01",
            passes: "platform: { secrets: secrets.yaml }\ncompute:\n  docker_hosts: [docker-01]\n  hosts:\n    docker-01: { address: 10.0.20.21 }\nservices:\n  wiki:\n    containers:\n      app: { image: \"wiki:2\", environment: { DATABASE_URL: \"postgres://wiki:${secret.pg}@db/wiki\" } }\n    on: docker-01",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        // An option and its value may be two items of a command.
        let mut option: Option<(Vec<Step<'_>>, &str)> = None;
        let glance = Glance::new();
        let mut carried: Vec<(String, Hit)> = Vec::new();
        parsed.texts(&mut |text| {
            let before = option.take().filter(|(path, _)| follows(path, text.path)).map(|(_, name)| name);
            let key = before.or(key(text.path)).unwrap_or_default();
            if speaks_of_anything(key) || glance.is_worth_a_look(text.text) {
                let written = source(parsed, text.span);
                // What a variable puts here is told where the variable is set.
                let is_here = |hit: &Hit| !written.contains('$') || written.contains(&text.text[hit.range.clone()]);
                let (here, elsewhere): (Vec<_>, Vec<_>) = hits(&text, key, written).into_iter().partition(is_here);
                findings.extend(here.into_iter().map(|hit| finding(parsed, &text, hit)));
                carried.extend(elsewhere.into_iter().map(|hit| (text.text[hit.range.clone()].to_string(), hit)));
            }
            let name = text.text.strip_prefix("--").filter(|name| is_name(name));
            option = name.map(|name| (text.path.to_vec(), name));
        });
        files(parsed, findings);
        variables(parsed, &carried, findings);
    }
}

/// Variables that say nothing by their own names, and are secrets by what they are put in for: `WG_KEY`.
fn variables(parsed: &Parsed, carried: &[(String, Hit)], findings: &mut Findings) {
    for (key, project) in parsed.projects.iter().filter(|_| !carried.is_empty()) {
        let service = key.split('@').next().unwrap_or(key);
        for (name, variable) in &project.variables {
            let Some((_, hit)) = carried.iter().find(|(value, _)| *value == variable.value) else { continue };
            let within = |span: Span| {
                span.file == variable.span.file && span.start < variable.span.end && variable.span.start < span.end
            };
            if findings.iter().any(|told| told.code == CODE && within(told.span)) {
                continue;
            }
            let at = format!("services.{service}.compose.{name}");
            let finding = Finding { severity: hit.severity, ..Finding::error(CODE, at, variable.span, &hit.message) };
            findings.push(finding.help(way_out_of_compose(service, name, &hit.name)));
        }
    }
}

/// A Compose file, and what it reads its variables from, know no reference to the lab's secrets: there a secret is one of
/// the project's own, as a file.
fn way_out_of_compose(service: &str, variable: &str, name: &str) -> String {
    format!(
        "put it into the store: `labwright secret set {name}`; in the Compose file write `secrets: {{ {name}: {{ external: true }} \
         }}`, and at the container `secrets: [{name}]` and, where the image knows it, `{variable}_FILE: /run/secrets/{name}` \
         instead of `{variable}`; or describe `{service}` under `containers:` in the lab file, where `${{secret.{name}}}` \
         is known; and replace it where it came from if this file was ever shared"
    )
}

/// In the environment of a container the engine would keep it on its disk (LW-SVC-112): a file is the way.
fn way_out_of_environment(variable: &str, name: &str) -> String {
    format!(
        "put it into the store: `labwright secret set {name}`, write `{variable}_FILE: \"${{secret.{name}}}\"` instead where \
         the image knows it, and replace it where it came from if this file was ever shared"
    )
}

fn way_out(name: &str) -> String {
    format!(
        "put it into the store: `labwright secret set {name}`, write `${{secret.{name}}}` here, and replace it where it came \
         from if this file was ever shared"
    )
}

/// Files that Compose projects take secrets from: they lie in the clear beside the lab.
fn files(parsed: &Parsed, findings: &mut Findings) {
    let mut told: Vec<Span> = Vec::new();
    for (key, project) in &parsed.projects {
        let service = key.split('@').next().unwrap_or(key);
        for (name, secret) in project.secrets.iter() {
            let Some(file) = secret.file.as_ref().filter(|file| !told.contains(&file.span)) else { continue };
            told.push(file.span);
            let message = format!("the secret `{name}` lies in the clear in `{}`", file.value);
            let help = format!(
                "put it into the store, `labwright secret set {name} < {}`, write `{name}: {{ external: true }}` here, and \
                 remove the file",
                file.value
            );
            let at = format!("services.{service}.compose.secrets.{name}.file");
            findings.push(Finding::warning(CODE, at, file.span, message).help(help));
        }
    }
}

/// Something in a text that looks like a secret. Its range is that of the text.
struct Hit {
    severity: Severity,
    range: Range<usize>,
    message: String,
    /// A name for the secret.
    name: String,
}

fn finding(parsed: &Parsed, text: &Text<'_, '_>, hit: Hit) -> Finding {
    let help = match is_of_secrets(text.path) {
        // The one place where nobody means a secret: it was taken for its public half.
        true => {
            "write the public half here (`age-keygen -y FILE`); if this file was ever shared, make a new key".into()
        }
        false => match text.path {
            [Step::Key("services"), Step::Key(service), ..] if is_of_compose(parsed, text.span) => {
                way_out_of_compose(service, variable_of(text, &hit), &hit.name)
            }
            [Step::Key("services"), .., Step::Key("containers"), Step::Key(_), Step::Key("environment"), _] => {
                way_out_of_environment(variable_of(text, &hit), &hit.name)
            }
            _ => way_out(&hit.name),
        },
    };
    let span = told_at(parsed, CODE, text, &hit.range);
    Finding { severity: hit.severity, ..Finding::error(CODE, joined(text.path), span, hit.message).help(help) }
}

/// Whether something stands in a Compose file, or in what one reads, and not in the lab's own files.
fn is_of_compose(parsed: &Parsed, span: Span) -> bool {
    let projects = parsed.projects.values().filter(|project| !project.inline);
    let mut spans = projects.flat_map(|project| {
        let services = project.services.values().map(|service| service.span);
        let own = project.services.values().flat_map(|service| service.environment.values().map(|value| value.span));
        services.chain(own).chain(project.variables.iter().map(|(_, variable)| variable.span))
    });
    spans.any(|other| other.file == span.file)
}

/// The variable that a secret is the value of: the key, or what stands before `=` in a list.
fn variable_of<'t>(text: &'t Text<'_, '_>, hit: &Hit) -> &'t str {
    let before = text.text[..hit.range.start].strip_suffix('=').filter(|name| is_name(name));
    before.or(key(text.path)).unwrap_or("NAME")
}

/// Whether one item of a list comes right after another.
fn follows(before: &[Step<'_>], path: &[Step<'_>]) -> bool {
    match (before.split_last(), path.split_last()) {
        (Some((Step::Item(first), list)), Some((Step::Item(second), other))) => list == other && *second == first + 1,
        _ => false,
    }
}

fn hits(Text { path, text, .. }: &Text<'_, '_>, key: &str, source: &str) -> Vec<Hit> {
    let shape = |(range, what): (Range<usize>, &str)| Hit {
        severity: Severity::Error,
        range,
        message: format!("{what} stands here in the clear"),
        name: secret_name(key),
    };
    let mut hits: Vec<Hit> = known(text).into_iter().map(shape).collect();
    // Names of secrets look like keys of secrets; and a sentence says `password:` without meaning one.
    if is_of_secrets(path) || PROSE.contains(&key) {
        return hits;
    }
    let mut add = |key: &str, range: Range<usize>| {
        let overlaps = |hit: &Hit| hit.range.start < range.end && range.start < hit.range.end;
        if hits.iter().any(overlaps) {
            return;
        }
        if let Some((severity, message)) = judge(key, &text[range.clone()]) {
            hits.push(Hit { severity, range, message, name: secret_name(key) });
        }
    };
    if !source.contains("${") && !text.contains('\n') {
        add(key, 0..text.len());
    }
    for (key, range) in assignments(text) {
        add(key, range);
    }
    hits
}

/// Whether a value says how secrets are kept.
fn is_of_secrets(path: &[Step<'_>]) -> bool {
    matches!(path, [Step::Key("platform"), Step::Key("secrets"), ..])
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::check::platform::secret_words::words;
    use crate::check::tests::says;

    #[test]
    fn shapes_are_errors_wherever_they_stand() {
        let github = format!("ghp_{}", "a1B2c3D4e5F6".repeat(3));
        let age = format!("AGE-SECRET-KEY-1{}", "QYSZ0123456789".repeat(4));
        let wireguard = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        says(
            &format!(
                r#"
# {github} in a comment is not looked at
platform: {{ secrets: {{ age: secrets.yaml, recovery: {age} }} }}
compute:
  hosts:
    desk:
      local: true
      description: it speaks to https://user:hunter2@example.net
      files:
        /etc/wg0.conf:
          content: |
            [Interface]
            PrivateKey = {wireguard}
            PublicKey = {wireguard}
        /root/.netrc: {{ content: "a\nb {github}\n" }}
        /etc/key.pem:
          content: |
            -----BEGIN {}PRIVATE KEY-----
            MC4CAQ
            -----END PRIVATE KEY-----
"#,
                ""
            ),
            expect![[r#"
                3:53 error LW-PLT-005: an age private key stands here in the clear
                    help: write the public half here (`age-keygen -y FILE`); if this file was ever shared, make a new key
                3:53 warning LW-PLT-006: `secrets.yaml` is not encrypted to the recovery key
                    help: `labwright secret rekey` encrypts the store to everybody that the lab file names
                8:46 error LW-PLT-005: a password in an address stands here in the clear
                    help: put it into the store: `labwright secret set NAME`, write `${secret.NAME}` here, and replace it where it came from if this file was ever shared
                13:26 error LW-PLT-005: a WireGuard key stands here in the clear
                    help: put it into the store: `labwright secret set private_key`, write `${secret.private_key}` here, and replace it where it came from if this file was ever shared
                15:40 error LW-PLT-005: a GitHub token stands here in the clear
                    help: put it into the store: `labwright secret set NAME`, write `${secret.NAME}` here, and replace it where it came from if this file was ever shared
                18:13 error LW-PLT-005: a private key stands here in the clear
                    help: put it into the store: `labwright secret set NAME`, write `${secret.NAME}` here, and replace it where it came from if this file was ever shared
            "#]],
        );
    }

    #[test]
    fn values_under_keys_that_speak_of_secrets() {
        says(
            r#"
compute:
  docker_hosts: [d-01]
  hosts:
    d-01:
      address: 10.0.0.1
      units:
        app.service:
          content: |
            [Service]
            # DB_PASSWORD=in-a-comment
            Environment=DB_PASSWORD=hunter2 TOKEN_FILE=/run/token
            Environment="API_TOKEN=kQ7vX2mN9pL4wR8tY3zB"
            ExecStart=/usr/bin/app --password hunter2 --user x --password-file /x
          environment: { SMTP_PASS: hunter2, PASSWORD_FILE: /run/pw, ALLOW_EMPTY_PASSWORD: "yes" }
      files:
        /etc/app.json: { content: "{\n  \"adminPassword\": \"hunter2\",\n  \"hash\": \"x\"\n}\n" }
        /etc/one.json: { content: '{"user":"x","password":"hunter2"}' }
        /etc/app.yaml:
          content: |
            password: hunter2
            passphrase: ${secret.x}
            token: short
            auth: { secret: kQ7vX2mN9pL4wR8tY3zB }
            https://example.net/?token=kQ7vX2mN9pL4wR8tY3zB&x=y
            db.password = "hunter 2"
            key = value
services:
  a:
    containers:
      list: { image: a, environment: [POSTGRES_PASSWORD=hunter2, A=b], command: [app, --password, hunter2, --token, "${secret.x}"] }
      map: { image: a, environment: { SECRET_KEY: kQ7vX2mN9pL4wR8tY3zB, TOKEN: the-name-of-a-token-that-has-40-charss, SECRET: chosen } }
      cloudflare: { image: a, environment: { CF_API_TOKEN: a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0 } }
    on: d-01
protection: { repositories: { r: { url: "s3:https://x", passphrase: hunter2 } } }
"#,
            expect![[r#"
                12:37 warning LW-PLT-005: the value of `DB_PASSWORD` stands here in the clear
                    help: put it into the store: `labwright secret set db_password`, write `${secret.db_password}` here, and replace it where it came from if this file was ever shared
                13:36 warning LW-PLT-005: the value of `API_TOKEN` looks like a secret in the clear
                    help: put it into the store: `labwright secret set api_token`, write `${secret.api_token}` here, and replace it where it came from if this file was ever shared
                14:47 warning LW-PLT-005: the value of `password` stands here in the clear
                    help: put it into the store: `labwright secret set password`, write `${secret.password}` here, and replace it where it came from if this file was ever shared
                15:37 warning LW-PLT-005: the value of `SMTP_PASS` stands here in the clear
                    help: put it into the store: `labwright secret set smtp_pass`, write `${secret.smtp_pass}` here, and replace it where it came from if this file was ever shared
                17:62 warning LW-PLT-005: the value of `adminPassword` stands here in the clear
                    help: put it into the store: `labwright secret set admin_password`, write `${secret.admin_password}` here, and replace it where it came from if this file was ever shared
                18:60 warning LW-PLT-005: the value of `password` stands here in the clear
                    help: put it into the store: `labwright secret set password`, write `${secret.password}` here, and replace it where it came from if this file was ever shared
                21:23 warning LW-PLT-005: the value of `password` stands here in the clear
                    help: put it into the store: `labwright secret set password`, write `${secret.password}` here, and replace it where it came from if this file was ever shared
                22:25 error LW-PLT-001: secret `x` is used, and the lab keeps no secrets
                    help: declare where they are: `platform: { secrets: { age: secrets.yaml } }`
                    31:118: so is `x`
                24:29 warning LW-PLT-005: the value of `secret` looks like a secret in the clear
                    help: put it into the store: `labwright secret set secret`, write `${secret.secret}` here, and replace it where it came from if this file was ever shared
                25:40 warning LW-PLT-005: the value of `token` looks like a secret in the clear
                    help: put it into the store: `labwright secret set token`, write `${secret.token}` here, and replace it where it came from if this file was ever shared
                26:28 warning LW-PLT-005: the value of `db.password` stands here in the clear
                    help: put it into the store: `labwright secret set db_password`, write `${secret.db_password}` here, and replace it where it came from if this file was ever shared
                31:57 warning LW-PLT-005: the value of `POSTGRES_PASSWORD` stands here in the clear
                    help: put it into the store: `labwright secret set postgres_password`, write `POSTGRES_PASSWORD_FILE: "${secret.postgres_password}"` instead where the image knows it, and replace it where it came from if this file was ever shared
                31:99 warning LW-PLT-005: the value of `password` stands here in the clear
                    help: put it into the store: `labwright secret set password`, write `${secret.password}` here, and replace it where it came from if this file was ever shared
                32:51 warning LW-PLT-005: the value of `SECRET_KEY` stands here in the clear
                    help: put it into the store: `labwright secret set secret_key`, write `SECRET_KEY_FILE: "${secret.secret_key}"` instead where the image knows it, and replace it where it came from if this file was ever shared
                33:60 error LW-PLT-005: the token `CF_API_TOKEN` stands here in the clear
                    help: put it into the store: `labwright secret set cf_api_token`, write `CF_API_TOKEN_FILE: "${secret.cf_api_token}"` instead where the image knows it, and replace it where it came from if this file was ever shared
                35:69 warning LW-PLT-005: the value of `passphrase` stands here in the clear
                    help: put it into the store: `labwright secret set passphrase`, write `${secret.passphrase}` here, and replace it where it came from if this file was ever shared
            "#]],
        );
    }

    #[test]
    fn names_of_secrets_references_and_prose_are_none() {
        says(
            r#"
platform:
  secrets:
    age: secrets.yaml
    recovery: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq
    generate: { db_password: password, admin_password: { kind: hex }, x: { kind: bcrypt, of: db_password } }
compute:
  hosts:
    desk:
      local: true
      description: "ask for the password: nobody knows it"
      ssh: { host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f }
      sshd: { settings: { PasswordAuthentication: "no", MaxAuthTries: "3" } }
      files:
        /etc/app.env:
          content: |
            PASSWORD=${secret.db_password}${secret.admin_password}${secret.x}
            PASSWORD=$(cat /run/x)
            password_hash: $2y$05$abcdefghijklmnopqrstuv
            if [ -z "$PASSWORD" ]; then read -r PASSWORD; fi
            dsn=postgres://app:${secret.x}@db/app
            if [ "$PASSWORD" = x ]; then PASSWORD=${PASSWORD:-$DEFAULT}; fi
            password=os.environ["PASSWORD"]
            the password: it is on the wall
            password == None
            password:
"#,
            expect![[r#"
                17:22 advice LW-PLT-002: secret `db_password` is declared, and not in `secrets.yaml` yet
                    help: `labwright secret generate` makes it
                17:43 advice LW-PLT-002: secret `admin_password` is declared, and not in `secrets.yaml` yet
                    help: `labwright secret generate` makes it
                17:67 advice LW-PLT-002: secret `x` is declared, and not in `secrets.yaml` yet
                    help: `labwright secret generate` makes it
                    21:32: and here
                22:51 error LW-LAB-008: unknown reference `${PASSWORD:-$DEFAULT}`
                    help: write `$${` for a literal `${`; references are `${host.NAME.address}`, `${service.NAME.url}`, `${zone.NAME.subnet}`, `${secret.NAME}`, `${public.NAME}`, `${env}`, `${port}`, `${lab}` and `${domain}`
            "#]],
        );
    }

    #[test]
    fn accepted_on_the_line_and_above_a_text() {
        says(
            r#"
compute:
  hosts:
    desk:
      local: true
      units:
        a.service: { environment: { DB_PASSWORD: hunter2 } } # labwright: allow LW-PLT-005 because it is a test database
      files:
        /a:
          # labwright: allow LW-PLT-005 because both are examples
          content: |
            A_PASSWORD=hunter2
            B_PASSWORD=hunter2
        /b:
          content: |
            A_PASSWORD=hunter2
            B_PASSWORD=hunter2
"#,
            expect![[r#"
                16:24 warning LW-PLT-005: the value of `A_PASSWORD` stands here in the clear
                    help: put it into the store: `labwright secret set a_password`, write `${secret.a_password}` here, and replace it where it came from if this file was ever shared
                17:24 warning LW-PLT-005: the value of `B_PASSWORD` stands here in the clear
                    help: put it into the store: `labwright secret set b_password`, write `${secret.b_password}` here, and replace it where it came from if this file was ever shared
            "#]],
        );
    }

    #[test]
    fn no_finding_shows_what_it_found() {
        let canary = "kQ7vX2mN9pL4wR8tY3zB";
        let text = format!(
            "services:\n  a: {{ containers: {{ c: {{ environment: {{ DB_PASSWORD: {canary}, SECRET: {canary} }}, command: \"x --token {canary} PASSWORD={canary}\" }} }}, url: \"https://u:{canary}@x\", description: \"ghp_{canary}{canary}\" }}\n"
        );
        let (_, findings) = crate::check::tests::found(&text);
        let own: Vec<_> = findings.iter().filter(|finding| finding.code == CODE).collect();
        assert_eq!(own.len(), 6, "{own:?}");
        assert!(!format!("{own:?}").contains(canary), "{own:?}");
    }

    #[test]
    fn weak_ones_under_the_names_of_programs_and_what_is_none() {
        for (key, value) in [
            ("WEBPASSWORD", "hunter2horse"),
            ("PGPASSWORD", "changeme"),
            ("DBPASSWORD", "hunter2horse"),
            ("ROOTPASSWORD", "hunter2horse"),
            ("dbpass", "hunter2horse"),
            ("MINIO_SECRET_KEY", "minioadmin"),
            ("ADMIN_TOKEN", "letmein99"),
            ("JWT_SECRET", "supersecret"),
            ("SESSION_SECRET", "changeit1234"),
            ("APP_KEY", "base64:q0Zb1vX1x0aWx1c0wq3yR2m9G8bV5tT6dYkLmNoPqRs="),
        ] {
            assert!(judge(key, value).is_some(), "{key}={value}");
        }
        for (key, value) in [
            ("JWT_SECRET_FILE", "/run/secrets/jwt"),
            ("JWT_SECRET", "/run/secrets/jwt"),
            ("SESSION_SECRET", "${secret.session}"),
            ("SESSION_SECRET", "true"),
            ("ADMIN_TOKEN", ""),
            ("JWT_SECRET_LENGTH", "64"),
            ("APP_PUBLIC_KEY", "letmein99"),
            ("DB_USER", "hunter2horse"),
            ("APP_KEY", "$APP_KEY"),
            ("JWT_SECRET", "the-name-of-a-secret"),
        ] {
            assert!(judge(key, value).is_none(), "{key}={value}");
        }
    }

    #[test]
    fn words_of_keys() {
        for (key, wanted) in
            [("dbPassword", "db password"), ("DB_PASSWORD_2", "db password"), ("api-key", "api key"), ("", "")]
        {
            assert_eq!(words(key).join(" "), wanted);
        }
    }
}
