//! Services that are processes of their own (`run:`), as units of their hosts.
//! Makes nothing by itself: what it adds to a host is made by the host's own kinds.

use std::borrow::Cow;

use labwright_model::lab::{Host, Restarts, Run, Unit, User};
use labwright_model::{Finding, Findings, Parsed, Placement, Span, Spanned, codes, reference};

/// Users that every Debian has: they are not the lab's to make.
const EVERYWHERE: &[&str] = &[
    "root",
    "daemon",
    "bin",
    "sys",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "www-data",
    "backup",
    "nobody",
    "systemd-network",
];

/// The unit of a placed service.
pub fn unit_name(placement: &Placement) -> String {
    match &placement.environment {
        Some(environment) => format!("lab-{}-{environment}.service", placement.service),
        None => format!("lab-{}.service", placement.service),
    }
}

fn placed<'a>(parsed: &'a Parsed, host: &str) -> impl Iterator<Item = (&'a Placement, &'a Run)> {
    let runs = parsed.placements.iter().filter_map(|placement| Some((placement, placement.entry.run.as_ref()?)));
    let host = host.to_string();
    runs.filter(move |(placement, _)| placement.entry.on.iter().any(|on| on.value == host))
}

/// A host with the units, and the users, of the services that run on it as processes.
pub fn implied<'a>(parsed: &Parsed, name: &str, host: Cow<'a, Host>) -> Cow<'a, Host> {
    if placed(parsed, name).next().is_none() {
        return host;
    }
    let mut host = host.into_owned();
    for (placement, run) in placed(parsed, name) {
        let span = parsed.span_of(&["services", &placement.service, "run"]);
        let unit = unit_name(placement);
        let content = Some(Spanned::new(text(placement, run).replace("${", "$${"), span));
        let made = Unit { content, enabled: Some(true), running: Some(true), ..Unit::default() };
        // What the lab file says of this unit itself counts.
        let entry = host.units.0.entry(unit).or_insert_with(|| Spanned::new(made, span));
        for (name, value) in &run.environment {
            entry.value.environment.0.entry(name.clone()).or_insert_with(|| Spanned::new(value.clone(), span));
        }
        if let Some(user) = run.user.as_ref().filter(|user| !EVERYWHERE.contains(&user.value.as_str())) {
            let made = || Spanned::new(User { system: true, ..User::default() }, user.span);
            host.users.0.entry(user.value.clone()).or_insert_with(made);
        }
    }
    Cow::Owned(host)
}

/// What no unit can have.
pub fn check(parsed: &Parsed, findings: &mut Findings) {
    let mut ports: std::collections::BTreeMap<(&str, &str), &Placement> = std::collections::BTreeMap::new();
    for placement in &parsed.placements {
        let Some(run) = &placement.entry.run else { continue };
        let at = format!("services.{}.run", placement.service);
        for word in run.command.iter().filter(|word| !reference::secrets(word).is_empty()) {
            let message = format!("a secret in the command of `{}` is shown by `ps` to everybody", placement.service);
            let help = "give it in `environment`, which is kept in memory, or as a file of the host";
            findings
                .push(Finding::error(codes::COMPOSE_SECRET, format!("{at}.command"), word.span, message).help(help));
        }
        let Some(port) = &placement.entry.port else { continue };
        for on in placement.entry.on.iter() {
            let Some(first) = ports.insert((&on.value, &port.value), placement) else { continue };
            let message = format!(
                "`{}` and `{}` both have port {} of `{}`",
                first.service, placement.service, port.value, on.value
            );
            let span =
                if port.span == Span::NONE { parsed.span_of(&["services", &placement.service]) } else { port.span };
            findings.push(
                Finding::error(
                    codes::COMPOSE_CONTRADICTION,
                    format!("services.{}.port", placement.service),
                    span,
                    message,
                )
                .help("give one of them another: `port: 8080`"),
            );
        }
    }
}

/// The unit's file; systemd.service(5), systemd.exec(5).
fn text(placement: &Placement, run: &Run) -> String {
    let described = placement.entry.description.as_deref().unwrap_or(&placement.service);
    let words: Vec<String> = run.command.iter().map(|word| quoted(&reference::unescape(word))).collect();
    let restart = match run.restart {
        Restarts::Always => "always",
        Restarts::OnFailure => "on-failure",
        Restarts::No => "no",
    };
    let mut text = format!(
        "# Written by labwright.\n\
         [Unit]\n\
         Description={}\n\
         Wants=network-online.target\n\
         After=network-online.target docker.service\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={}\n\
         Restart={restart}\n\
         RestartSec=2\n\
         NoNewPrivileges=yes\n\
         PrivateTmp=yes\n",
        described.replace(['\n', '%'], " "),
        words.join(" "),
    );
    match &run.user {
        Some(user) => text.push_str(&format!("User={}\n", user.value)),
        // Nobody in particular: a user of its own that is there as long as it runs.
        None => text.push_str("DynamicUser=yes\n"),
    }
    if let Some(directory) = &run.directory {
        text.push_str(&format!("WorkingDirectory={}\n", directory.value));
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

/// A word as it stands in `ExecStart`.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' | '%' => out.extend([c, c]),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_they_were() {
        let all = ["/usr/bin/app", "--port=8080", "two words", "50%", "$HOME", "say \"hi\"", "back\\slash", ""];
        let quoted: Vec<String> = all.iter().map(|word| quoted(word)).collect();
        assert_eq!(
            quoted,
            [
                "/usr/bin/app",
                "--port=8080",
                "\"two words\"",
                "\"50%%\"",
                "\"$$HOME\"",
                "\"say \\\"hi\\\"\"",
                "\"back\\\\slash\"",
                "\"\""
            ]
        );
    }
}
