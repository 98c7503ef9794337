//! The part of LW-DAT-001 that looks at whoever keeps copies: a backup server whose own data is copied into itself. Knows no
//! products: what a repository's address or path leads to is enough.

use std::net::IpAddr;

use labwright_model::lab::{Lab, Repository};
use labwright_model::{Finding, Findings, Parsed, Placement};

use super::policies::of;
use crate::check::containers::containers;
use crate::check::services::told::{at_tier, is_production, place_in};

/// Whether a repository is kept by a placed service: its address is the service's, or its folder is in the service's data.
pub fn keeps(parsed: &Parsed, placement: &Placement, repository: &Repository) -> bool {
    let lab = &parsed.lab;
    let entry = &placement.entry;
    match (&repository.on, &repository.url) {
        (Some(on), None) => {
            let Some(path) = repository.path.as_ref().filter(|path| path.starts_with('/')) else { return false };
            let holds = |data: &str| {
                let data = data.trim_end_matches('/');
                let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
                data.len() > 1 && data.starts_with('/') && path.strip_prefix(data).is_some_and(below)
            };
            entry.on.iter().any(|host| host.value == on.value) && entry.data.iter().any(|data| holds(data))
        }
        (None, Some(url)) => end(url).is_some_and(|(host, port)| is_at(parsed, lab, placement, host, port)),
        _ => false,
    }
}

/// Whether a placed service keeps any repository of the lab: its data is copies.
pub fn keeps_any(parsed: &Parsed, placement: &Placement) -> bool {
    parsed.lab.protection.repositories.values().any(|repository| keeps(parsed, placement, repository))
}

/// The repository that a placed service keeps and is copied to.
pub fn own<'a>(parsed: &'a Parsed, placement: &Placement, policy: &str) -> Option<&'a str> {
    let protection = &parsed.lab.protection;
    let to = protection.policies.get(policy)?.to.iter();
    let known = to.filter_map(|to| protection.repositories.get_key_value(&to.value));
    known.into_iter().find(|(_, repository)| keeps(parsed, placement, repository)).map(|(name, _)| name.as_str())
}

/// One finding for each service that is copied into itself.
pub fn told(parsed: &Parsed, code: &'static str, findings: &mut Findings) {
    let protection = &parsed.lab.protection;
    let mut last = None;
    for placement in parsed.placements.iter() {
        let Some(policy) = of(parsed, placement) else { continue };
        let Some(repository) = own(parsed, placement, &policy.value) else { continue };
        let service = placement.service.as_str();
        if last.replace(service) == Some(service) {
            continue;
        }
        let message = format!(
            "`{service}` keeps repository `{repository}`, and its own data is copied into that: every copy holds the copies \
             before it, and none is left when it is lost"
        );
        let elsewhere = protection.repositories.iter().find(|(_, other)| !keeps(parsed, placement, other));
        let out = match placement.entry.backup.is_some() {
            true => format!("take `backup: {}` out of `{service}`: what it keeps is copies already", policy.value),
            false => format!("write `data: []` in `{service}`: what it keeps is copies already"),
        };
        let further = match elsewhere {
            Some((other, _)) => format!(
                "copy it to `{other}` alone: `copies: {{ schedule: \"05:00\", to: {other} }}` and `backup: copies`"
            ),
            None => "copy it to another machine: `copies: { schedule: \"05:00\", to: ELSEWHERE }` and `backup: copies`"
                .to_string(),
        };
        let production = is_production(placement)
            || parsed.placements.iter().any(|other| {
                is_production(other) && of(parsed, other).is_some_and(|other| other.value == policy.value)
            });
        let span = match placement.entry.backup.is_some() {
            true => place_in(parsed, placement, &["backup"]),
            false => policy.span,
        };
        let finding = Finding::warning(code, format!("services.{service}.backup"), span, message);
        findings.push(at_tier(production, finding.help(format!("{out}; or {further}"))));
    }
}

/// The name in a URL.
fn bare(url: &str) -> &str {
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    url.split(['/', ':']).next().unwrap_or_default()
}

/// Whether a host is meant by a name, short or whole. Asked for each service of each policy, so it makes nothing.
fn is_name(lab: &Lab, host: &str, name: &str) -> bool {
    let short = || {
        let rest = host.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name)).map(|_| &host[name.len()..]);
        rest.and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|domain| domain.eq_ignore_ascii_case(&lab.domain.value))
    };
    host.eq_ignore_ascii_case(name) || (!name.contains('.') && short())
}

/// The host and the port of a repository's address.
fn end(url: &str) -> Option<(&str, Option<u16>)> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let split = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = split.map_or((authority, None), |(host, port)| (host, Some(port)));
    Some((host.trim_matches(['[', ']']), port))
}

fn is_at(parsed: &Parsed, lab: &Lab, placement: &Placement, host: &str, port: Option<u16>) -> bool {
    let (service, entry) = (placement.service.as_str(), &placement.entry);
    if placement.environment.is_some() || entry.on.is_empty() {
        return false;
    }
    if is_name(lab, host, service) || entry.url.iter().any(|url| is_name(lab, host, bare(url))) {
        return true;
    }
    let Some(port) = port else { return false };
    let address = host.parse::<IpAddr>().ok();
    let is_host = |name: &str| match address {
        Some(address) => lab.host(name).is_some_and(|host| host.address.iter().any(|own| own.value == address)),
        None => is_name(lab, host, name),
    };
    if !entry.on.iter().any(|on| is_host(&on.value)) {
        return false;
    }
    let mut published = containers(parsed, placement).flat_map(|container| container.says.value.ports.iter());
    published.any(|published| published.published_range().is_some_and(|(first, last)| (first..=last).contains(&port)))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    fn lab(service: &str, repository: &str, to: &str) -> String {
        format!(
            "owner: me\ndomain: home.arpa\ncompute:\n  hosts:\n    a: {{ address: 10.0.0.1, site: home }}\n    pbs: {{ address: 10.0.0.2, site: cabin }}\nservices:\n  wiki: {{ run: wiki, on: a, data: [/wiki], backup: n }}\n  keeper: {{ {service}, on: pbs, backup: n }}\nprotection: {{ repositories: {{ r: {{ {repository}, passphrase: \"${{secret.app}}\" }}, s3: {{ url: \"s3:https://s3.example.net/x\", passphrase: \"${{secret.app}}\" }} }}, policies: {{ n: {{ to: {to}, drill: weekly }} }} }}\nplatform: {{ secrets: {{ age: secrets.yaml }} }}\n"
        )
    }

    #[test]
    fn by_name_by_port_and_by_folder() {
        let pbs = "built_in: proxmox-backup-server, data: [/store]";
        says(
            &lab(pbs, "url: \"https://keeper.home.arpa:8007/s\"", "r"),
            expect![[r#"
                9:79 advice LW-DAT-001: `keeper` keeps repository `r`, and its own data is copied into that: every copy holds the copies before it, and none is left when it is lost
                    help: take `backup: n` out of `keeper`: what it keeps is copies already; or copy it to `s3` alone: `copies: { schedule: "05:00", to: s3 }` and `backup: copies`
                10:107 advice LW-DAT-009: no policy writes to repository `s3`
                    help: add `s3` to the `to` of a policy such as `n`, or take it out
            "#]],
        );
        let rest = "containers: { r: { image: \"restic/rest-server:0.13\", ports: [\"8000:8000\"], volumes: [\"/srv:/data\"] } }, data: [/srv]";
        says(
            &lab(rest, "url: \"rest:http://10.0.0.2:8000/\"", "[r, s3]"),
            expect![[r#"
                9:148 advice LW-DAT-001: `keeper` keeps repository `r`, and its own data is copied into that: every copy holds the copies before it, and none is left when it is lost
                    help: take `backup: n` out of `keeper`: what it keeps is copies already; or copy it to `s3` alone: `copies: { schedule: "05:00", to: s3 }` and `backup: copies`
            "#]],
        );
        says(
            &lab("run: smbd, data: [/tank]", "on: pbs, path: /tank/copies", "r"),
            expect![[r#"
                9:56 advice LW-DAT-001: `keeper` keeps repository `r`, and its own data is copied into that: every copy holds the copies before it, and none is left when it is lost
                    help: take `backup: n` out of `keeper`: what it keeps is copies already; or copy it to `s3` alone: `copies: { schedule: "05:00", to: s3 }` and `backup: copies`
                10:96 advice LW-DAT-009: no policy writes to repository `s3`
                    help: add `s3` to the `to` of a policy such as `n`, or take it out
            "#]],
        );
    }

    #[test]
    fn what_is_typed_takes_the_finding_away() {
        let pbs = "built_in: proxmox-backup-server, data: [/store]";
        let lab = lab(pbs, "url: \"https://keeper.home.arpa:8007/s\"", "r");
        says(
            &lab.replace(", on: pbs, backup: n", ", on: pbs"),
            expect![[r#"
                10:107 advice LW-DAT-009: no policy writes to repository `s3`
                    help: add `s3` to the `to` of a policy such as `n`, or take it out
            "#]],
        );
        let apart = lab.replace("policies: {", "policies: { copies: { schedule: \"05:00\", to: s3, drill: weekly },");
        says(&apart.replace(", on: pbs, backup: n", ", on: pbs, backup: copies"), expect![[""]]);
    }

    #[test]
    fn others_on_the_machine_are_not_the_keeper() {
        let other = "containers: { r: { image: \"minio/minio:1\", ports: [\"9000:9000\"] } }, data: [/minio]";
        for repository in [
            "url: \"rest:http://10.0.0.2:8000/\"",
            "on: pbs, path: /copies",
            "url: \"s3:https://keeper.example.net/x\"",
        ] {
            let (_, findings) = crate::check::tests::found(&lab(other, repository, "[r, s3]"));
            assert!(findings.iter().all(|finding| !finding.message.contains("keeps repository")), "{repository}");
        }
    }
}
