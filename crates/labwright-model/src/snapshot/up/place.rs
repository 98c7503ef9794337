//! From a lab whose hosts are all this machine to what is started there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::{Containers, DOORS, Directory, LeftOut, NAMES, Probe, Process, Ready, Restart, Seeds, Unit, Up, What};
use crate::compose::Project;
use crate::here::Ports;
use crate::lab::{Restarts, Run, Service};
use crate::snapshot::{dns, proxy};
use crate::{Parsed, Placement, reference};

/// What runs here of a lab that was read with `parse_here`. `folder` is that of the lab file, absolute.
pub fn place(parsed: &Parsed, ports: &Ports, folder: &str) -> Up {
    let mut up = Up { lab: parsed.lab.lab.value.clone(), environment: ports.environment.clone(), ..Up::default() };
    let context = Context { parsed, ports, folder };
    let placements: Vec<&Placement> =
        parsed.placements.iter().filter(|placement| ports.wanted.contains(&placement.service)).collect();
    for placement in &placements {
        match context.unit(placement, &mut up.notes) {
            Ok(units) => up.units.extend(units),
            Err(left_out) => up.left_out.push(left_out),
        }
    }
    context.without(&placements, &mut up);
    context.seeds_first(&mut up.units);
    context.names(&mut up);
    context.doors(&mut up);
    context.beyond(&mut up);
    for (service, said, here) in &ports.moved {
        up.notes.push(format!("`{service}` has port {here} here instead of {said}"));
    }
    up
}

/// What conditions ask of that only the real lab has: its certificates, domains and addresses.
const OF_REAL_LAB: [&str; 4] = ["[CERTIFICATE_EXPIRATION]", "[DOMAIN_EXPIRATION]", "[IP]", "[DNS_RCODE]"];

fn of_real_lab(entry: &Service) -> impl Iterator<Item = &str> {
    let all = entry.probe.iter().flat_map(|probe| probe.expect.iter()).map(|condition| condition.value.as_str());
    all.filter(|condition| OF_REAL_LAB.iter().any(|word| condition.contains(word)))
}

/// The conditions that can be judged here; where none of those that are said can, it has to answer well at least.
fn expected(entry: &Service) -> Vec<String> {
    let all = entry.probe.iter().flat_map(|probe| probe.expect.iter()).map(|condition| &condition.value);
    let here: Vec<String> =
        all.filter(|condition| OF_REAL_LAB.iter().all(|word| !condition.contains(word))).cloned().collect();
    let said = entry.probe.as_ref().is_some_and(|probe| !probe.expect.is_empty());
    if said && here.is_empty() { vec!["[STATUS] == 200".to_string()] } else { here }
}

struct Context<'a> {
    parsed: &'a Parsed,
    ports: &'a Ports,
    folder: &'a str,
}

fn left_out(what: &str, reason: impl Into<String>, help: impl Into<String>, fault: bool) -> LeftOut {
    LeftOut { what: what.to_string(), reason: reason.into(), help: help.into(), fault }
}

/// The containers of a service.
fn containers(placement: &Placement, project: &Project, up: &crate::lab::StandIn) -> Containers {
    let keys: Vec<String> = project.enabled().map(|(key, _)| key.clone()).collect();
    let said = placement.entry.port.as_ref().map(|port| port.value.as_str()).unwrap_or_default();
    let (key, port) = said.rsplit_once(':').map_or((None, said), |(key, port)| (Some(key), port));
    let same = keys.iter().find(|key| **key == placement.service);
    let only = keys.first().filter(|_| keys.len() == 1);
    let key = key.or(only.or(same).map(String::as_str)).map(str::to_string);
    let door = key.zip(port.parse().ok()).filter(|(key, _)| keys.contains(key));
    Containers { keys, door, stop_within: up.stop_within.0.as_millis() as u64 }
}

/// What an image is called, without where it comes from and which one it is: `postgres`.
fn program_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image).rsplit('/').next().unwrap_or(image);
    name.split(':').next().unwrap_or(name)
}

fn is_database(program: &str) -> bool {
    const KNOWN: &[&str] =
        &["postgres", "pgvector", "postgis", "timescale", "mysql", "mariadb", "redis", "valkey", "mssql"];
    KNOWN.iter().any(|known| program.contains(known))
}

fn seeds_unit(service: &str, seeds: Seeds) -> Unit {
    Unit {
        name: seeds_of(service),
        what: What::Seeds(Box::new(seeds)),
        needs: vec![service.to_string()],
        ready: Ready::Ended,
        port: None,
        links: Vec::new(),
    }
}

/// How a name of seeds is made from that of what they are for.
fn seeds_of(service: &str) -> String {
    format!("{service}-seeds")
}

impl Context<'_> {
    /// A path beside the lab file, absolute.
    fn beside(&self, path: &str) -> String {
        let path = reference::unescape(path);
        match path.starts_with('/') {
            true => path,
            false if path == "." => self.folder.to_string(),
            false => format!("{}/{}", self.folder, path.trim_start_matches("./")),
        }
    }

    fn unit(&self, placement: &Placement, notes: &mut Vec<String>) -> Result<Vec<Unit>, LeftOut> {
        let (name, entry) = (&placement.service, &placement.entry);
        let up = entry.up.clone().unwrap_or_default();
        if up.skip {
            return Err(left_out(name, "its entry says `up: { skip: true }`", "", false));
        }
        if let Some((port, who)) = self.ports.clashes.get(name) {
            let reason = format!("it has port {port}, which is taken here by {who}");
            let help = format!("write `${{port}}` in its command, so that it can have another here; or end {who}");
            return Err(left_out(name, reason, help, true));
        }
        let needs: Vec<String> = entry.needs.iter().map(|need| need.value.clone()).collect();
        let port = self.ports.services.get(name).copied();
        let link = |port: u16| format!("http://localhost:{port}/");
        let unit = |what, ready| Unit {
            name: name.clone(),
            what,
            needs: needs.clone(),
            ready,
            port,
            links: port.filter(|_| !entry.url.is_empty()).map(link).into_iter().collect(),
        };
        if let Some(run) = &entry.run {
            if let Some(user) = run.user.as_ref().filter(|_| up.run.is_none()) {
                notes.push(format!("`{name}` runs as you here, not as `{}`", user.value));
            }
            let process = self.process(run, &up);
            for condition in of_real_lab(entry) {
                notes.push(format!("`{condition}` of `{name}` is not asked here: it is of the real lab"));
            }
            let seeds = self.seeds(placement, &process);
            let ready = self.ready(placement, port, process.restart == Restart::No)?;
            let mut units = vec![unit(What::Process(Box::new(process)), ready)];
            units.extend(seeds);
            return Ok(units);
        }
        if let Some(site) = &entry.site {
            let pages = What::Pages { folder: self.beside(site) };
            return Ok(vec![Unit {
                needs: [needs.clone(), vec![DOORS.to_string()]].concat(),
                ..unit(pages, Ready::Started)
            }]);
        }
        let instead = "say what stands in for it: `up: { run: [PROGRAM, …] }`, or `up: { skip: true }`";
        if let Some(project) = self.parsed.project(placement) {
            if let Some(gateway) = entry.egress.as_ref().filter(|_| up.image.is_none()) {
                let reason = format!(
                    "its traffic may leave through `{}` or not at all, and nothing sees to that here",
                    gateway.value
                );
                return Err(left_out(name, reason, instead, true));
            }
            if let Some(why) = &self.ports.no_engine {
                return Err(left_out(name, format!("it runs in containers, and {why}"), instead, true));
            }
            let containers = containers(placement, project, &up);
            for condition in of_real_lab(entry) {
                notes.push(format!("`{condition}` of `{name}` is not asked here: it is of the real lab"));
            }
            let ready = self.ready(placement, port, false)?;
            if ready == Ready::Notify {
                let reason = "`up.ready: notify` is for processes: what is in a container is not heard";
                return Err(left_out(name, reason, "give it a health check, or `up: { ready: /healthz }`", true));
            }
            let seeds = self.seeds_inside(placement, project, &containers);
            let mut units = vec![unit(What::Containers(Box::new(containers)), ready)];
            units.extend(seeds);
            return Ok(units);
        }
        Err(match (&entry.external, &entry.built_in) {
            (Some(external), _) => {
                let who = external.provider.as_ref().map_or("somebody else", |provider| provider.value.as_str());
                left_out(name, format!("{who} runs it, not the lab"), "", false)
            }
            (None, Some(built_in)) => {
                let reason = format!("the configuration of its host runs it (`{}`)", built_in.value);
                left_out(name, reason, instead, true)
            }
            _ => left_out(name, "nothing in the lab says what it is made of", instead, true),
        })
    }

    fn process(&self, run: &Run, up: &crate::lab::StandIn) -> Process {
        let mut command: Vec<String> = run.command.iter().map(|word| reference::unescape(word)).collect();
        if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
            *program = self.beside(program);
        }
        let directory = match (&up.directory, &run.directory) {
            (Some(said), _) => Some(Directory { path: self.beside(said), must: true }),
            (None, Some(said)) => Some(Directory { path: self.beside(said), must: up.run.is_some() }),
            (None, None) if up.run.is_some() => Some(Directory { path: self.folder.to_string(), must: true }),
            (None, None) => None,
        };
        let mut environment = run.environment.clone();
        environment.extend(up.environment.clone());
        for value in environment.values_mut() {
            // Where a secret is referred to, what is escaped stays so until it is put in.
            if reference::secrets(value).is_empty() {
                *value = reference::unescape(value);
            }
        }
        Process {
            command,
            directory,
            environment,
            restart: match run.restart {
                Restarts::Always => Restart::Always,
                Restarts::OnFailure => Restart::OnFailure,
                Restarts::No => Restart::No,
            },
            watch: up.watch.iter().map(|glob| self.beside(glob)).collect(),
            rebuild: up.rebuild.iter().map(|word| reference::unescape(word)).collect(),
            stop_within: up.stop_within.0.as_millis() as u64,
        }
    }

    fn ready(&self, placement: &Placement, port: Option<u16>, once: bool) -> Result<Ready, LeftOut> {
        let (name, entry) = (&placement.service, &placement.entry);
        let said = entry.up.as_ref().and_then(|up| up.ready.as_ref()).map(|ready| ready.value.as_str());
        let probe = |path: String| {
            let probe = entry.probe.clone().unwrap_or_default();
            Ready::Probe(Probe {
                path,
                expect: expected(entry),
                timeout: probe.timeout.0.as_millis() as u64,
                every: probe.every.0.as_millis() as u64,
            })
        };
        let own = || {
            let path = entry.probe.as_ref().and_then(|probe| probe.path.as_ref());
            match (port, path) {
                (Some(_), Some(path)) => probe(reference::unescape(path)),
                (Some(_), None) => Ready::Port,
                (None, _) if once => Ready::Ended,
                (None, _) => Ready::Started,
            }
        };
        let with_port = |ready: Ready| match port {
            Some(_) => Ok(ready),
            None => Err(left_out(
                name,
                format!("`up.ready: {}` asks for its port, and it has none here", said.unwrap_or_default()),
                "add `port: 8080`, or `up: { port: 8080 }`",
                true,
            )),
        };
        match said {
            None | Some("healthy") => Ok(own()),
            Some("started") => Ok(Ready::Started),
            Some("ended") => Ok(Ready::Ended),
            Some("notify") => Ok(Ready::Notify),
            Some("port") => with_port(Ready::Port),
            Some(path) if path.starts_with('/') => with_port(probe(path.to_string())),
            Some(other) => Err(left_out(
                name,
                format!("`up.ready: {other}` is not known"),
                "write `healthy`, `port`, `started`, `ended`, `notify`, or a path such as `/healthz`",
                true,
            )),
        }
    }

    fn seeds(&self, placement: &Placement, process: &Process) -> Option<Unit> {
        let (name, entry) = (&placement.service, &placement.entry);
        if entry.seed.is_empty() {
            return None;
        }
        let seeds = Seeds {
            into: name.clone(),
            files: entry.seed.iter().map(|file| self.beside(file)).collect(),
            data: entry.data.iter().find(|path| path.starts_with('/')).map(|path| path.value.clone()),
            program: process.command.first().cloned().unwrap_or_default(),
            port: self.ports.services.get(name).copied(),
            environment: process.environment.clone(),
            container: None,
        };
        Some(seeds_unit(name, seeds))
    }

    /// Seeds of a database in a container, which its own programs there load.
    fn seeds_inside(&self, placement: &Placement, project: &Project, containers: &Containers) -> Option<Unit> {
        let (name, entry) = (&placement.service, &placement.entry);
        if entry.seed.is_empty() {
            return None;
        }
        // The one that the service's port leads to, or that is a database by its image, or the first.
        let image =
            |key: &str| project.services.get(key)?.image.as_ref().map(|image| program_of(&image.value).to_string());
        let database = containers.keys.iter().find(|key| image(key).is_some_and(|image| is_database(&image)));
        let door = containers.door.as_ref().map(|(key, _)| key);
        let key = database.or(door).or(containers.keys.first())?.clone();
        let service = project.services.get(&key)?;
        let said = service.environment.iter();
        let said = said.filter_map(|(name, value)| Some((name.clone(), value.value.clone()?)));
        let seeds = Seeds {
            into: name.clone(),
            files: entry.seed.iter().map(|file| self.beside(file)).collect(),
            data: None,
            program: image(&key).unwrap_or_default(),
            port: containers.door.as_ref().map(|(_, port)| *port),
            environment: said.collect(),
            container: Some(key),
        };
        Some(seeds_unit(name, seeds))
    }

    /// What cannot run without something that is not here is not here either, unless that is somebody else's to run.
    fn without(&self, placements: &[&Placement], up: &mut Up) {
        let names: BTreeSet<&str> = placements.iter().map(|placement| placement.service.as_str()).collect();
        loop {
            let faults: BTreeMap<String, String> = up
                .left_out
                .iter()
                .filter(|left| left.fault)
                .map(|left| (left.what.clone(), left.reason.clone()))
                .collect();
            let lost = up.units.iter().find_map(|unit| {
                unit.needs.iter().find(|need| faults.contains_key(*need)).map(|need| (unit.name.clone(), need.clone()))
            });
            let Some((name, need)) = lost else { break };
            up.units.retain(|unit| unit.name != name);
            if names.contains(name.as_str()) {
                let help =
                    format!("bring `{need}` here, or start without it: `needs` says what it cannot work without");
                up.left_out.push(left_out(&name, format!("it needs `{need}`, which is left out"), help, true));
            }
        }
        let here: BTreeSet<String> = up.units.iter().map(|unit| unit.name.clone()).collect();
        for unit in &mut up.units {
            unit.needs.retain(|need| here.contains(need) || need == DOORS);
        }
    }

    /// Whoever needs a unit with seeds needs them as well.
    fn seeds_first(&self, units: &mut [Unit]) {
        let seeded: BTreeSet<String> = units
            .iter()
            .filter_map(|unit| match &unit.what {
                What::Seeds(seeds) => Some(seeds.into.clone()),
                _ => None,
            })
            .collect();
        for unit in units {
            let more: Vec<String> =
                unit.needs.iter().filter(|need| seeded.contains(*need)).map(|need| seeds_of(need)).collect();
            unit.needs.extend(more.into_iter().filter(|seeds| *seeds != unit.name));
        }
    }

    fn names(&self, up: &mut Up) {
        let Some(declared) = &self.parsed.lab.platform.dns else { return };
        let on = declared.on.first().map_or("", |on| on.value.as_str());
        let Some(mut snapshot) = dns::dns(self.parsed, on) else { return };
        // Who asks is this machine alone.
        snapshot.access.networks.clear();
        let lists = dns::shipped(self.parsed).into_iter().map(|(path, name)| (self.beside(path), name)).collect();
        let port = self.ports.dns;
        up.units.push(Unit {
            name: NAMES.to_string(),
            what: What::Names { port, snapshot: Box::new(snapshot), lists },
            needs: Vec::new(),
            ready: Ready::Started,
            port: Some(port),
            links: Vec::new(),
        });
    }

    fn doors(&self, up: &mut Up) {
        let host = proxy::routed(self.parsed).and_then(|proxy| proxy.on.first());
        let Some(host) = host else {
            let pages = |unit: &Unit| matches!(unit.what, What::Pages { .. });
            for unit in up.units.iter().filter(|unit| pages(unit)) {
                let help = "name the host that runs the lab's proxy: `platform: { reverse_proxy: HOST }`";
                let reason = "it is a folder of pages, and the lab has no reverse proxy to answer with them";
                up.left_out.push(left_out(&unit.name, reason, help, true));
            }
            up.units.retain(|unit| !pages(unit));
            return;
        };
        let mut doors = proxy::proxy(self.parsed, host);
        doors.listen.addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        doors.listen.http = self.ports.http;
        doors.listen.https = doors.listen.https.map(|_| self.ports.https);
        // The internet's authorities do not know this machine, and nothing here may need a secret of the lab's.
        doors.certificates.acme = None;
        doors.certificates.authority.key = None;
        doors.certificates.authority.domains.push("localhost".into());
        for name in doors.sites.iter().flat_map(|site| &site.names) {
            let name = name.trim_start_matches("*.");
            let domains = &doors.certificates.authority.domains;
            if !domains.iter().any(|domain| name == domain || name.ends_with(&format!(".{domain}"))) {
                doors.certificates.authority.domains.push(name.to_string());
            }
        }
        doors.certificates.authority.domains.sort();
        (doors.geo, doors.forward) = (None, None);
        doors.trusted.clear();
        doors.ports.clear();
        let (scheme, port) = match doors.listen.https {
            Some(port) => ("https", port),
            None => ("http", doors.listen.http),
        };
        let domain = format!(".{}", self.parsed.lab.domain.value.to_lowercase());
        let mut taken: BTreeSet<String> = doors.sites.iter().flat_map(|site| site.names.clone()).collect();
        doors.sites.retain(|site| up.units.iter().any(|unit| unit.name == site.service));
        let mut asked = false;
        for site in &mut doors.sites {
            site.answer = self.answer(&site.service, up, &site.answer);
            for route in &mut site.routes {
                let service = match &route.answer {
                    proxy::Answer::Upstreams(upstreams) => upstreams.service.clone(),
                    _ => continue,
                };
                route.answer = self.answer(&service, up, &route.answer);
            }
            asked |= site.auth.forward || !site.auth.basic.is_empty();
            site.auth = proxy::Auth::default();
            (site.from, site.hsts, site.geo, site.passthrough) = (None, None, false, false);
            let links = site.names.iter().filter(|name| !name.starts_with('*'));
            let mut links: Vec<String> = links.map(|name| format!("{scheme}://{name}:{port}/")).collect();
            // Browsers take every name below `localhost` for this machine (RFC 6761, 6.3), with no resolver of the lab's.
            let local: Vec<String> = site
                .names
                .iter()
                .filter_map(|name| name.strip_suffix(&domain).filter(|short| !short.contains('*')))
                .map(|short| format!("{short}.localhost"))
                .filter(|name| taken.insert(name.clone()))
                .collect();
            links.extend(local.iter().map(|name| format!("{scheme}://{name}:{port}/")));
            site.names.extend(local);
            if let Some(unit) = up.units.iter_mut().find(|unit| unit.name == site.service) {
                unit.links = links;
            }
        }
        if asked {
            up.notes
                .push("nobody is asked who they are: the doors are open to this machine, and to nobody else".into());
        }
        up.units.push(Unit {
            name: DOORS.to_string(),
            port: Some(port),
            what: What::Doors(Box::new(doors)),
            needs: Vec::new(),
            ready: Ready::Started,
            links: Vec::new(),
        });
    }

    /// What answers for a service here.
    fn answer(&self, service: &str, up: &Up, before: &proxy::Answer) -> proxy::Answer {
        let unit = up.units.iter().find(|unit| unit.name == service);
        match unit.map(|unit| (&unit.what, unit.port)) {
            Some((What::Pages { folder }, _)) => proxy::Answer::Folder(folder.clone()),
            Some((_, Some(port))) => {
                let mut upstreams = match before {
                    proxy::Answer::Upstreams(upstreams) => upstreams.clone(),
                    _ => proxy::Upstreams { service: service.to_string(), ..proxy::Upstreams::default() },
                };
                upstreams.urls = vec![format!("http://127.0.0.1:{port}")];
                upstreams.verify = "system".into();
                proxy::Answer::Upstreams(upstreams)
            }
            Some((_, None)) => proxy::Answer::Nothing(format!(
                "`{service}` runs here without a port; give it one: `up: {{ port: 8080 }}`"
            )),
            None => proxy::Answer::Nothing(format!("`{service}` is not here: `labwright ps` says why")),
        }
    }

    /// What no one machine has.
    fn beyond(&self, up: &mut Up) {
        let lab = &self.parsed.lab;
        let mut leave = |what: &str, reason: &str| up.left_out.push(left_out(what, reason, "", false));
        if !lab.compute.proxmox.is_empty() || lab.compute.hosts.values().any(|host| host.vm.is_some()) {
            leave("virtual machines", "what would run in them runs on this machine");
        }
        if !lab.network.zones.is_empty() || lab.edge.router.is_some() {
            leave("network zones", "there is one machine, and everything on it listens to it alone");
        }
        if lab.edge.vpn.is_some() {
            leave("VPN", "nobody else comes in");
        }
        if lab.edge.public.is_some() {
            leave("public entry", "no tunnel and no public name leads to this machine");
        }
        let elsewhere = self.ports.elsewhere.join("`, `");
        if !elsewhere.is_empty() {
            let environment = self.ports.environment.as_deref().unwrap_or_default();
            leave(&format!("`{elsewhere}`"), &format!("not in the environment `{environment}`"));
        }
    }
}
