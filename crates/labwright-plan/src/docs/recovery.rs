//! In which order everything comes back: DNS, identity, secrets and backup first, each behind what it stands on; then the
//! rest by what it needs.

use std::collections::BTreeSet;

use labwright_model::lab::Tier;

use super::text::{escaped, listed, service as link};
use crate::topology::Topology;

/// Roles in the order in which they are wanted, with the reason.
const ROLES: &[(&str, &str, &str)] = &[
    ("edge.router", "router", "without it nothing reaches another zone"),
    ("platform.dns", "DNS", "every other way begins with a name"),
    ("platform.identity", "identity", "whoever brings the rest back must be let in"),
    ("platform.secrets.vault", "secrets store", "nothing else starts without its secrets"),
    ("platform.backup", "backup target", "everything after this is restored from it"),
    ("edge.vpn", "VPN", "the way in for whoever helps from elsewhere"),
    ("platform.reverse_proxy", "reverse proxy", "names lead to services through it"),
    ("platform.monitoring", "monitoring", "it tells what is still missing"),
    ("platform.registry", "registry", "images for what is made anew"),
    ("edge.public.cloudflare.tunnel", "tunnel", "the way in from the internet"),
    ("platform.telemetry", "telemetry", "traces and logs"),
    ("platform.runners", "runners", "builds can wait"),
];

pub fn recovery(topology: &Topology, files: &[(&str, String)]) -> String {
    let mut order = Order { topology, files, done: BTreeSet::new(), lines: Vec::new() };
    let declared = &topology.parsed.lab.protection.recovery;
    for name in declared.iter() {
        order.named(name);
    }
    let secrets = topology.parsed.lab.platform.secrets.as_ref().and_then(|secrets| secrets.age.as_ref());
    for (role, word, because) in ROLES {
        order.role(role, word, because);
        if let (&"platform.identity", Some(file)) = (role, secrets) {
            order.lines.push(format!("**secrets**: the file {} and a key that opens it", super::text::code(file)));
        }
        if *role == "platform.backup" {
            order.repositories();
        }
    }
    let mut hosts: Vec<&str> = topology.parsed.lab.compute.hosts.keys().map(String::as_str).collect();
    hosts.sort_by_key(|host| (topology.host(host).map(|host| host.tier) != Some(Tier::Production), *host));
    let mut services: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    services.sort_by_key(|name| (topology.service(name).map(|service| service.tier) != Some(Tier::Production), *name));
    services.into_iter().for_each(|service| order.service(service, ""));
    hosts.into_iter().for_each(|host| order.host(host));
    let numbered = order.lines.iter().enumerate().map(|(n, line)| format!("{}. {line}\n", n + 1));
    let by = match declared.is_empty() {
        true => {
            "DNS, identity, secrets and backup come first, each behind the machines that it stands on; then services that people rely on, each behind what it needs."
        }
        false => {
            "The first ones are in the order that the lab file gives (`protection.recovery`), each behind what it stands on and needs; then the roles, and the rest."
        }
    };
    format!(
        "What stands below comes back after what stands above it. {by}\n\n{}\nWhen all of it is back: `labwright drift` and `labwright plan` should have nothing to say.\n",
        numbered.collect::<String>()
    )
}

struct Order<'t, 'a> {
    topology: &'t Topology<'a>,
    files: &'t [(&'a str, String)],
    /// `host/…`, `service/…`: what has its line, or is about to get it.
    done: BTreeSet<String>,
    lines: Vec<String>,
}

impl Order<'_, '_> {
    /// What the file names: a host, a service, or both.
    fn named(&mut self, name: &str) {
        if self.topology.host(name).is_some() {
            self.host(name);
        }
        self.service(name, "");
    }

    fn role(&mut self, role: &str, word: &str, because: &str) {
        let hosts = self.topology.hosts_with(role);
        let platform = &self.topology.parsed.lab.platform;
        let entry = match role {
            "platform.identity" => platform.identity.as_ref(),
            "platform.backup" => platform.backup.as_ref(),
            "platform.telemetry" => platform.telemetry.as_ref(),
            "platform.runners" => platform.runners.as_ref(),
            _ => None,
        };
        let service = match role {
            "platform.dns" => platform.dns.as_ref().and_then(|dns| dns.service.as_ref()),
            "platform.reverse_proxy" => platform.reverse_proxy.as_ref().and_then(|proxy| proxy.service.as_ref()),
            _ => entry.and_then(|entry| entry.service.as_ref()),
        };
        hosts.iter().for_each(|host| self.host(host));
        if let Some(service) = service {
            self.service(service, "");
        }
        let mut on: Vec<String> = hosts.iter().map(|host| escaped(host)).collect();
        on.extend(service.map(|service| link(service, self.files, "services/")));
        if !on.is_empty() {
            self.lines.push(format!("**{word}** on {}: {because}", listed(&on)));
        }
    }

    fn repositories(&mut self) {
        let protection = &self.topology.parsed.lab.protection;
        let mut names: Vec<&String> = protection.repositories.keys().collect();
        names.sort();
        for name in names {
            let repository = &protection.repositories[name];
            if let Some(on) = &repository.on {
                self.host(on);
            }
            let place = match &repository.on {
                Some(on) => format!(" on {}", escaped(on)),
                None => ", which is elsewhere".to_string(),
            };
            let passphrase = match repository.passphrase {
                Some(_) => ", with its passphrase from the secrets store or the recovery sheet",
                None => "",
            };
            self.lines.push(format!("repository {}{place}{passphrase}", escaped(name)));
        }
    }

    fn host(&mut self, name: &str) {
        if !self.done.insert(format!("host/{name}")) {
            return;
        }
        let under = self.topology.under(name);
        if let Some(on) = under.first() {
            self.host(on);
        }
        let on = under.first().map(|on| format!(", a guest of {}", escaped(on))).unwrap_or_default();
        let site = self.topology.site(name).map(|site| format!(", at {}", escaped(site))).unwrap_or_default();
        self.lines.push(format!("host {}{on}{site}", escaped(name)));
    }

    fn service(&mut self, name: &str, because: &str) {
        let Some(entry) = self.topology.service(name) else { return };
        if !self.done.insert(format!("service/{name}")) {
            return;
        }
        for host in self.topology.hosts_of(name) {
            self.host(host);
        }
        for need in self.topology.needs(name) {
            self.service(need, &format!(", which {} needs", escaped(name)));
        }
        let how = match &entry.external {
            Some(external) => {
                format!(": run by {}", external.provider.as_ref().map_or("others".to_string(), |who| escaped(who)))
            }
            None if entry.backup.is_some() => ": restore its data, then start it".to_string(),
            None => ": start it".to_string(),
        };
        let production = if entry.tier == Tier::Production { " (production)" } else { "" };
        self.lines.push(format!("service {}{production}{because}{how}", link(name, self.files, "services/")));
    }
}
