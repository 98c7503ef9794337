//! LW-PLT-024: settings of `platform.dns` that nothing acts on.

use labwright_model::lab::{Dns, DnsSoftware, Os};
use labwright_model::snapshot::dns::{Data, dns};
use labwright_model::{Finding, Findings, Parsed, Section, reference};

use crate::check::{Case, Examples, Rule};

pub struct ToldResolver;

const CODE: &str = "LW-PLT-024";
const AT: &str = "platform.dns";
/// What every resolver is told, whichever program it is; `records` are names.
const NAMES: &[&str] = &["on", "service", "software", "api", "records"];

impl Rule for ToldResolver {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "settings of a resolver that nothing acts on"
    }

    fn doc(&self) -> &'static str {
        "`platform.dns` has keys for a whole resolver, and this lab has nobody who would act on some of them:\n\n\
         - `software: adguard` or `pihole`: the lab's names are kept in an AdGuard Home or a Pi-hole that is there already, and \
         nothing else of it is touched. Lists, upstreams, groups and limits stay what its own pages say. Of the names, both take \
         addresses and aliases (CNAME); Pi-hole takes no wildcards. SRV, TXT, MX and PTR records are not told;\n\
         - `service: NAME` without `software`: another program answers, and Labwright tells it nothing;\n\
         - a host with `os: nixos` or `os: other`: Labwright changes nothing there, and puts no resolver on it;\n\
         - `api` beside Labwright's own resolver, or without what the API asks for.\n\n\
         What the two programs have is said by their own specifications: https://github.com/AdguardTeam/AdGuardHome (openapi), \
         https://docs.pi-hole.net/api/.\n\n\
         The way out: set it where the resolver is set, and take it out here; `labwright dns export` writes it in the form of \
         either. Or let Labwright's own resolver answer."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "platform: { dns: { on: a, software: pihole, block: lists/ads.txt } }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }",
            passes: "platform: { dns: { on: a, software: pihole } }\ncompute: { hosts: { a: { address: 10.0.0.1 } } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let Some(declared) = &parsed.lab.platform.dns else { return };
        match declared.software {
            DnsSoftware::Labwright => of_own(parsed, declared, findings),
            DnsSoftware::AdGuard => of_other(parsed, declared, "AdGuard Home", findings),
            DnsSoftware::PiHole => of_other(parsed, declared, "Pi-hole", findings),
        }
        let unmanaged = |on: &&labwright_model::Spanned<String>| {
            parsed.lab.host(on).is_some_and(|host| matches!(host.os, Os::Nixos | Os::Other))
        };
        if declared.service.is_some() && declared.software == DnsSoftware::Labwright {
            return;
        }
        let own = declared.software == DnsSoftware::Labwright;
        let keys = further(parsed, declared).map(|(keys, _)| listed(&keys));
        let idle = match keys.filter(|_| own) {
            Some(keys) => format!("nothing acts on {keys} for"),
            None if own => return,
            None => "nobody tells the lab's names to".to_string(),
        };
        for on in declared.on.iter().filter(unmanaged) {
            let os = parsed.lab.host(on).map_or("", |host| host.os.word());
            let message = format!("{idle} the resolver on `{}`: hosts with `os: {os}` are not changed", on.value);
            let finding = Finding::advice(CODE, format!("{AT}.on"), on.span, message);
            findings.push(finding.help(
                "`labwright dns export zone|adguard|pihole` writes what it should serve; or name a host that Labwright changes",
            ));
        }
    }
}

fn listed(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// The keys beside names that are set, and where the first of them stands.
fn further(parsed: &Parsed, dns: &Dns) -> Option<(Vec<&'static str>, labwright_model::Span)> {
    let keys: Vec<&str> = dns.beyond_defaults().into_iter().filter(|key| !NAMES.contains(key)).collect();
    let first = keys.first()?;
    let span = parsed.span_of(&["platform", "dns", first]);
    Some((keys, span))
}

fn of_own(parsed: &Parsed, dns: &Dns, findings: &mut Findings) {
    if dns.api != Default::default() {
        let span = parsed.span_of(&["platform", "dns", "api"]);
        let message = "`api` says how another program is told names, and `software` does not say which";
        let finding = Finding::warning(CODE, format!("{AT}.api"), span, message);
        findings.push(finding.help("say `software: adguard` or `software: pihole` beside it, or take `api` out"));
    }
    let Some(service) = &dns.service else { return };
    if let Some((keys, span)) = further(parsed, dns) {
        let message = format!("`{}` answers, and is told nothing of {}", service.value, listed(&keys));
        let finding = Finding::advice(CODE, AT, span, message);
        findings.push(finding.help(format!(
            "set it in `{}`, where `labwright dns export` helps; `software: adguard|pihole` keeps the lab's names there",
            service.value
        )));
    }
}

fn of_other(parsed: &Parsed, declared: &Dns, product: &str, findings: &mut Findings) {
    let span = parsed.span_of(&["platform", "dns"]);
    if let Some((keys, span)) = further(parsed, declared) {
        let is = if keys.len() == 1 { "is" } else { "are" };
        let message = format!("{} {is} not told to {product}: only the lab's names are", listed(&keys));
        let finding = Finding::warning(CODE, AT, span, message);
        findings.push(finding.help(format!("set it in {product} itself, and take it out here")));
    }
    let api = &declared.api;
    let is_adguard = declared.software == DnsSoftware::AdGuard;
    let mut wrong = |key: &str, span, message: String, help: &str| {
        findings.push(Finding::error(CODE, format!("{AT}.api.{key}"), span, message).help(help));
    };
    if is_adguard && (api.user.is_none() || api.password.is_none()) {
        let message = "AdGuard Home asks for a user and a password".to_string();
        let help = "say them: `api: { user: NAME, password: \"${secret.adguard}\" }`";
        wrong("password", api.url.as_ref().map_or(span, |url| url.span), message, help);
    }
    if let Some(user) = api.user.as_ref().filter(|_| !is_adguard) {
        wrong("user", user.span, "Pi-hole knows no users".into(), "take `user` out");
    }
    if let Some(password) = api.password.as_ref().filter(|password| reference::secrets(password).is_empty()) {
        let message = "the password would be readable in every plan".to_string();
        wrong("password", password.span, message, "keep it as a secret, and write `${secret.NAME}`");
    }
    if let Some(url) = api.url.as_ref().filter(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        let message = format!("`{}` is no address of an API", url.value);
        wrong("url", url.span, message, "write `http://127.0.0.1:3000`");
    }
    // What their names cannot be.
    let Some(first) = declared.on.first() else { return };
    let Some(snapshot) = dns(parsed, first) else { return };
    let is_declared = |name: &str| {
        let records = declared.records.iter();
        records
            .map(|(key, record)| (key, record.span))
            .find(|(key, _)| labwright_model::snapshot::dns::record_name(&parsed.lab, key) == name)
    };
    let untold = |data: &Data, name: &str| match data {
        Data::Address(_) | Data::Cname(_) => !is_adguard && name.starts_with("*."),
        // Nobody declared those: they follow from addresses.
        Data::Ptr(_) => false,
        Data::Txt(_) | Data::Mx { .. } | Data::Srv { .. } => true,
    };
    let mut last = "";
    for record in snapshot.records.iter().filter(|record| untold(&record.data, &record.name)) {
        let Some((key, span)) = is_declared(&record.name).filter(|(key, _)| *key != last) else { continue };
        last = key;
        let what = if record.name.starts_with("*.") { "a wildcard" } else { "no address or alias" };
        let message = format!("`{}` is {what}, which {product} is not told", record.name);
        let help = match record.name.strip_prefix("*.").filter(|_| !is_adguard) {
            Some(below) => format!(
                "add it by hand, to `misc.dnsmasq_lines` of Pi-hole: `address=/{below}/ADDRESS`; or write each name here"
            ),
            None => format!("add it in {product} by hand; or let Labwright's own resolver answer"),
        };
        findings.push(Finding::warning(CODE, format!("{AT}.records.{key}"), span, message).help(help));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn what_nobody_acts_on_is_told() {
        says(
            r#"
platform:
  dns:
    { on: a, software: pihole, upstream: 9.9.9.9, block: lists/ads.txt, api: { user: me, password: open }, records: { "*.apps": a, mail: { mx: 10 a }, nas: 10.0.0.5 } }
compute: { hosts: { a: { address: 10.0.0.1 } } }
"#,
            expect![[r#"
                4:42 warning LW-PLT-024: `upstream`, `block` are not told to Pi-hole: only the lab's names are
                    help: set it in Pi-hole itself, and take it out here
                4:86 error LW-PLT-024: Pi-hole knows no users
                    help: take `user` out
                4:100 warning LW-PLT-005: the value of `password` stands here in the clear
                    help: put it into the store: `labwright secret set password`, write `${secret.password}` here, and replace it where it came from if this file was ever shared
                4:100 error LW-PLT-024: the password would be readable in every plan
                    help: keep it as a secret, and write `${secret.NAME}`
                4:119 warning LW-PLT-024: `*.apps.lab.home.arpa` is a wildcard, which Pi-hole is not told
                    help: add it by hand, to `misc.dnsmasq_lines` of Pi-hole: `address=/apps.lab.home.arpa/ADDRESS`; or write each name here
                4:132 warning LW-PLT-024: `mail.lab.home.arpa` is no address or alias, which Pi-hole is not told
                    help: add it in Pi-hole by hand; or let Labwright's own resolver answer
            "#]],
        );
        says(
            r#"
platform: { dns: { on: a, software: adguard, api: "10.0.0.1:3000", records: { "*.apps": a } } }
compute: { hosts: { a: { address: 10.0.0.1, os: other } } }
"#,
            expect![[r#"
                2:24 advice LW-PLT-024: nobody tells the lab's names to the resolver on `a`: hosts with `os: other` are not changed
                    help: `labwright dns export zone|adguard|pihole` writes what it should serve; or name a host that Labwright changes
                2:51 error LW-PLT-024: AdGuard Home asks for a user and a password
                    help: say them: `api: { user: NAME, password: "${secret.adguard}" }`
                2:51 error LW-PLT-024: `10.0.0.1:3000` is no address of an API
                    help: write `http://127.0.0.1:3000`
            "#]],
        );
        says(
            r#"
platform: { dns: { on: [a, b], service: pihole, upstream: 9.9.9.9, api: "http://127.0.0.1" } }
compute: { hosts: { a: { address: 10.0.0.1, os: nixos }, b: { address: 10.0.0.2 } } }
services: { pihole: { use: pihole, on: a } }
"#,
            expect![[r#"
                2:59 advice LW-PLT-024: `pihole` answers, and is told nothing of `upstream`
                    help: set it in `pihole`, where `labwright dns export` helps; `software: adguard|pihole` keeps the lab's names there
                2:73 warning LW-PLT-024: `api` says how another program is told names, and `software` does not say which
                    help: say `software: adguard` or `software: pihole` beside it, or take `api` out
            "#]],
        );
        says(
            r#"
platform: { dns: { on: [a, b], upstream: 9.9.9.9 } }
compute: { hosts: { a: { address: 10.0.0.1, os: nixos }, b: { address: 10.0.0.2 } } }
"#,
            expect![[r#"
                2:25 advice LW-PLT-024: nothing acts on `upstream` for the resolver on `a`: hosts with `os: nixos` are not changed
                    help: `labwright dns export zone|adguard|pihole` writes what it should serve; or name a host that Labwright changes
            "#]],
        );
    }
}
