//! Effects in words: chains of reasons, what is left, what to do.

use super::effects::{Hit, Node, copies_left, untold_receivers, why_dark};
use super::spread::{Down, Why};
use super::world::{RoleKind, World, split};
use super::{Affected, Blast, Kind, Link, Thing, Urgency};

/// The whole answer, sorted.
pub(super) fn told(world: &World, down: &Down, mut hits: Vec<Hit>, fails: &Thing) -> Blast {
    hits.sort_by_cached_key(|hit| {
        let production = matches!(hit.node, Node::Placed(n) if world.placed[n].production());
        (hit.urgency, room(hit.node), !production, name(world, hit.node))
    });
    let words = Words { world, down };
    let (mut then, mut affected, mut down_itself) = (None, Vec::new(), Vec::new());
    for hit in hits {
        let told = words.affected(hit);
        // What is only cut off is there again with whatever led to it.
        let cut_off = matches!(
            hit.why,
            Why::Closed(..)
                | Why::ProxyClosed(..)
                | Why::Apart(..)
                | Why::Through(_)
                | Why::Egress(_)
                | Why::Door(_)
                | Why::Uplink(_)
                | Why::Across(_)
                | Why::Tunnel(_)
        );
        if hit.urgency == Urgency::Dark && !cut_off && !down_itself.contains(&told.thing) {
            down_itself.push(told.thing.clone());
        }
        if hit.urgency == Urgency::Dark && hit.why == Why::Itself {
            then = then.or(told.then);
        } else {
            affected.push(told);
        }
    }
    let recovery = recovery(world, &down_itself);
    Blast { fails: fails.clone(), about: about(world, fails), then, affected, recovery }
}

/// What is down, as the lab file orders it. What the order leaves out is left out.
fn recovery(world: &World, down: &[Thing]) -> Vec<Thing> {
    let order = world.parsed.lab.protection.recovery.iter();
    let mut things: Vec<Thing> = Vec::new();
    for name in order {
        let means = |thing: &&Thing| {
            let placed = thing.name.strip_prefix(name.value.as_str()).is_some_and(|rest| rest.starts_with(" ("));
            match thing.kind {
                Kind::Host => thing.name == name.value,
                Kind::Service => thing.name == name.value || placed,
                _ => false,
            }
        };
        let mut meant: Vec<Thing> = down.iter().filter(means).cloned().collect();
        meant.sort();
        things.extend(meant.into_iter().filter(|thing| !things.contains(thing)).collect::<Vec<_>>());
    }
    if things.len() < 2 { Vec::new() } else { things }
}

/// Roles first: they say why the rest is as it is. Numbers of roles and zones keep their order.
fn room(node: Node) -> (u8, usize) {
    match node {
        Node::Role(n) => (0, n),
        Node::Zone(n) => (1, n),
        Node::Receiver(_) | Node::Heartbeat => (0, usize::MAX - 2),
        Node::Certificates => (0, usize::MAX - 1),
        Node::Updates => (0, usize::MAX),
        Node::Controller(_) => (2, 0),
        Node::Host(_) => (3, 0),
        Node::Placed(_) => (4, 0),
    }
}

fn name(world: &World, node: Node) -> String {
    match node {
        Node::Role(n) => world.roles[n].kind.word().to_string(),
        Node::Zone(n) => world.zones[n].to_string(),
        Node::Host(n) | Node::Controller(n) => world.hosts[n].to_string(),
        Node::Placed(n) => world.placed[n].name(),
        Node::Receiver(n) => format!("alerts to {}", world.receivers[n].name),
        Node::Heartbeat => "heartbeat".to_string(),
        Node::Certificates => "certificates".to_string(),
        Node::Updates => "updates".to_string(),
    }
}

/// "`a`", "`a` and `b`", "`a`, `b` and `c`".
pub fn list(names: &[&str], last: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

fn link(one: &str, many: &str, rest: &str) -> Link {
    Link { one: format!("{one} {rest}"), many: format!("{many} {rest}") }
}

struct Words<'w, 'a> {
    world: &'w World<'a>,
    down: &'w Down,
}

impl Words<'_, '_> {
    fn affected(&self, hit: Hit) -> Affected {
        let world = self.world;
        let kind = match hit.node {
            Node::Role(_) | Node::Receiver(_) | Node::Heartbeat | Node::Certificates | Node::Updates => Kind::Role,
            Node::Zone(_) => Kind::Zone,
            Node::Host(_) | Node::Controller(_) => Kind::Host,
            Node::Placed(_) => Kind::Service,
        };
        let mut because = Vec::new();
        self.chain(hit.node, hit.why, &mut because);
        Affected {
            urgency: hit.urgency,
            thing: Thing { kind, name: name(world, hit.node) },
            production: matches!(hit.node, Node::Placed(n) if world.placed[n].production()),
            what: self.what(hit),
            because,
            then: self.then(hit),
        }
    }

    /// From a thing to what fails. Every step leads to something that went down earlier, so it ends.
    fn chain(&self, node: Node, why: Why, out: &mut Vec<Link>) {
        let world = self.world;
        let host = |n: usize| format!("`{}`", world.hosts[n]);
        let placed = |n: usize| format!("`{}`", world.placed[n].name());
        let zone = |n: usize| format!("`{}`", world.zones[n]);
        let link = match why {
            Why::Itself => return,
            Why::Guest(on) => link("is a guest of", "are guests of", &host(on)),
            Why::InZone => link("is in", "are in", "that zone"),
            Why::AtSite => link("stands", "stand", "at that site"),
            Why::InDomain => link("is in", "are in", "that failure domain"),
            Why::On(_) => {
                let hosts: Vec<&str> = self.lost(node).into_iter().map(|n| world.hosts[n]).collect();
                link("runs on", "run on", &list(&hosts, "and"))
            }
            Why::Needs(other) => link("needs", "need", &placed(other)),
            Why::Apart(other, across, router) => {
                let rest = format!("{} across zones, and only {} routes {}", placed(other), host(router), zone(across));
                link("needs", "need", &rest)
            }
            Why::DataOn(from) => link("has", "have", &format!("data on {}", host(from))),
            Why::Egress(through) => {
                link("reaches", "reach", &format!("the internet through {} alone", placed(through)))
            }
            Why::Through(role) => {
                let role = world.roles[role].kind;
                match role {
                    RoleKind::Dns => link("is", "are", "found by name through DNS"),
                    _ => link("is", "are", &format!("reached through the {}", role.word())),
                }
            }
            Why::Closed(closed, router) => match node {
                Node::Zone(_) => link("is", "are", &format!("routed by {}", host(router))),
                _ => link("is", "are", &format!("in {}, which {} routes", zone(closed), host(router))),
            },
            Why::ProxyClosed(closed, router) => {
                let rest =
                    format!("reached through the reverse proxy in {}, which {} routes", zone(closed), host(router));
                link("is", "are", &rest)
            }
            Why::Service(n) => link("is", "are", &format!("the service {}", placed(n))),
            Why::Mounts(from) => link("mounts", "mount", &format!("from {}", host(from))),
            Why::Jump(through) => link("is", "are", &format!("reached through {}", host(through))),
            Why::Copies(repository, on) => {
                link("is", "are", &format!("backed up to `{}` on {}", world.repositories[repository].name, host(on)))
            }
            Why::CopiesBehind(repository, router) => {
                let name = world.repositories[repository].name;
                link("is", "are", &format!("backed up to `{name}`, across {}", host(router)))
            }
            Why::NoCopy(on) => link("keeps", "keep", &format!("its data, without a backup, on {}", host(on))),
            Why::Door(asked) => link("asks", "ask", &format!("{} at the door", placed(asked))),
            Why::Uplink(None) => match node {
                Node::Placed(n) if world.placed[n].placement.entry.external.is_some() => {
                    link("is", "are", "on the internet, at somebody else's")
                }
                Node::Host(_) => link("is", "are", "at the other end of the uplink"),
                Node::Placed(n) if !world.placed[n].is_from_outside() => {
                    link("has a name", "have names", "that a resolver on the internet answers")
                }
                Node::Placed(_) => link("is", "are", "reached over the uplink"),
                _ => link("needs", "need", "the uplink"),
            },
            Why::Uplink(Some(router)) => match node {
                Node::Placed(n) if world.placed[n].placement.entry.external.is_some() => {
                    link("is", "are", &format!("on the internet, across {}", host(router)))
                }
                _ => link("reaches", "reach", &format!("the internet through {}", host(router))),
            },
            Why::Across(other) => link("needs", "need", &format!("{} at the other end of the uplink", placed(other))),
            Why::CopiesBeyond(repository) => {
                let name = world.repositories[repository].name;
                link("is", "are", &format!("backed up to `{name}`, at the other end of the uplink"))
            }
            Why::CopiesOver(repository, role) => {
                let (name, role) = (world.repositories[repository].name, world.roles[role].kind.word());
                link("is", "are", &format!("backed up to `{name}`, found through the {role}"))
            }
            Why::MountsOver(from, role) => {
                let role = world.roles[role].kind.word();
                link("mounts", "mount", &format!("from {}, found through the {role}", host(from)))
            }
            Why::Tunnel(role) => {
                link("sends", "send", &format!("all traffic through the {}", world.roles[role].kind.word()))
            }
            Why::Told(through) => link("goes", "go", &format!("through {}", placed(through))),
            Why::ToldOn(on) => link("goes", "go", &format!("to {}", host(on))),
            Why::Dumps(of) => link("has", "have", &format!("its database in {}", placed(of))),
        };
        out.push(link);
        let next = match why {
            Why::Guest(n)
            | Why::On(n)
            | Why::DataOn(n)
            | Why::Mounts(n)
            | Why::Jump(n)
            | Why::NoCopy(n)
            | Why::Closed(_, n)
            | Why::ProxyClosed(_, n)
            | Why::Apart(_, _, n)
            | Why::Copies(_, n)
            | Why::CopiesBehind(_, n)
            | Why::ToldOn(n)
            | Why::Uplink(Some(n)) => self.down.hosts[n].map(|why| (Node::Host(n), why)),
            Why::Needs(n) | Why::Egress(n) | Why::Service(n) | Why::Dumps(n) | Why::Door(n) => {
                self.down.placed[n].map(|why| (Node::Placed(n), why))
            }
            Why::Told(n) => why_dark(world, self.down, n).map(|why| (Node::Placed(n), why)),
            Why::Through(n) | Why::CopiesOver(_, n) | Why::MountsOver(_, n) | Why::Tunnel(n) => {
                self.down.roles[n].map(|why| (Node::Role(n), why))
            }
            Why::Across(_) | Why::CopiesBeyond(_) | Why::Uplink(None) => None,
            Why::Itself | Why::InZone | Why::AtSite | Why::InDomain => None,
        };
        let Some((next, reason)) = next else { return };
        let several = if let Why::On(_) = why { self.lost(node) } else { Vec::new() };
        if several.iter().any(|host| self.down.hosts[*host] != Some(reason)) {
            return;
        }
        let at = out.len();
        self.chain(next, reason, out);
        if let (true, Some(link)) = (several.len() > 1, out.get_mut(at)) {
            link.one.clone_from(&link.many);
        }
    }

    /// The hosts of a thing that are down.
    fn lost(&self, node: Node) -> Vec<usize> {
        let hosts = match node {
            Node::Placed(n) => &self.world.placed[n].hosts,
            Node::Role(n) => &self.world.roles[n].hosts,
            _ => return Vec::new(),
        };
        hosts.iter().copied().filter(|host| self.down.hosts[*host].is_some()).collect()
    }

    fn what(&self, hit: Hit) -> String {
        let world = self.world;
        let left = |hosts: &[usize]| -> Option<String> {
            let names: Vec<&str> = self.down.left(hosts)?.iter().map(|n| world.hosts[*n]).collect();
            Some(list(&names, "and"))
        };
        match (hit.node, hit.why) {
            (Node::Role(n), Why::Uplink(_)) if world.roles[n].kind == RoleKind::Dns => {
                format!("answers for `{}` alone: no other name is found", world.parsed.lab.domain.value)
            }
            (Node::Role(n), Why::Uplink(_)) if world.roles[n].kind == RoleKind::Monitoring => {
                "blind to all that is on this side, and calls it down".to_string()
            }
            (Node::Receiver(n), _) => self.untold(n),
            (Node::Heartbeat, _) => "it stops, and whoever waits for it calls".to_string(),
            (Node::Certificates, _) => {
                let authority = world.authority.unwrap_or_default();
                format!("none is renewed by `{authority}`: names go dark one by one when theirs run out")
            }
            (Node::Updates, _) => {
                "no image and no package is fetched: what runs goes on, nothing new is deployed".to_string()
            }
            (Node::Host(_), Why::Uplink(_)) => "cannot be changed or looked at from here".to_string(),
            (Node::Host(n), Why::MountsOver(from, _)) => {
                let paths = world.mounts[n].iter().filter(|(_, host)| *host == from).map(|(path, _)| *path);
                format!("loses {} when the VPN has to be found anew", list(&paths.collect::<Vec<_>>(), "and"))
            }
            (Node::Placed(n), Why::Uplink(_)) if world.placed[n].is_from_outside() && hit.urgency == Urgency::Dark => {
                match world.placed[n].named_here && world.roles.iter().any(|role| role.kind == RoleKind::Dns) {
                    true => "from outside; at home its name still leads to it".to_string(),
                    false => "from outside".to_string(),
                }
            }
            (Node::Placed(_), Why::Uplink(_)) if hit.urgency == Urgency::Degraded => {
                "no way to the internet".to_string()
            }
            (Node::Placed(_), Why::Through(role)) if hit.urgency == Urgency::Degraded => {
                format!("nobody new can log in while {} is away", world.roles[role].kind.word())
            }
            (Node::Placed(n), Why::Door(_)) if hit.urgency == Urgency::Degraded => {
                let open = world.placed[n].placement.entry.door.auth.open.iter().map(|path| path.value.as_str());
                format!("nobody gets in but to {}", list(&open.collect::<Vec<_>>(), "and"))
            }
            (Node::Role(n), Why::Through(_)) => self.loss(world.roles[n].kind),
            (Node::Role(n), _) if self.down.roles[n].is_none() => {
                format!("left to {} alone", left(&world.roles[n].hosts).unwrap_or_default())
            }
            (Node::Role(n), Why::Closed(..)) if world.roles[n].kind == RoleKind::Monitoring => {
                "half blind: it sees its own zone alone, and no alert leaves it".to_string()
            }
            (Node::Role(n), _) => self.loss(world.roles[n].kind),
            (Node::Zone(n), _) => match left(&world.routers[n]) {
                Some(left) => format!("routed by {left} alone"),
                None => self.cut_off(n),
            },
            (Node::Controller(_), _) => "Labwright runs there: nothing is planned or applied from it".to_string(),
            (Node::Host(n), Why::Mounts(from)) => {
                let paths = world.mounts[n].iter().filter(|(_, host)| *host == from).map(|(path, _)| *path);
                format!("loses {}", list(&paths.collect::<Vec<_>>(), "and"))
            }
            (Node::Host(_), Why::Tunnel(_)) => "no way to the internet or to another network".to_string(),
            (Node::Placed(_), Why::Tunnel(_)) if hit.urgency == Urgency::Degraded => {
                "no way to the internet".to_string()
            }
            (Node::Host(_), Why::Jump(_)) => "cannot be changed or looked at".to_string(),
            (Node::Placed(_), Why::Egress(_)) => "no way to the internet".to_string(),
            (Node::Placed(n), Why::On(_)) if hit.urgency == Urgency::Degraded => {
                format!("runs on {} alone", left(&world.placed[n].hosts).unwrap_or_default())
            }
            (Node::Placed(n), Why::DataOn(from)) if hit.urgency == Urgency::Degraded => {
                let paths = world.placed[n].beside.iter().filter(|(host, _)| *host == from).map(|(_, path)| *path);
                format!("loses {}", list(&paths.collect::<Vec<_>>(), "and"))
            }
            (Node::Placed(_), Why::NoCopy(_)) => "if the disk is gone, so is its data".to_string(),
            (Node::Placed(_), Why::Dumps(_)) => "its database cannot be dumped".to_string(),
            (Node::Placed(n), Why::Copies(..) | Why::CopiesBehind(..) | Why::CopiesBeyond(_) | Why::CopiesOver(..)) => {
                let left = copies_left(world, self.down, n);
                match left.is_empty() {
                    true => "no copy is within reach".to_string(),
                    false => format!("only {} keeps copies now", self.repositories(&left, "and")),
                }
            }
            _ => String::new(),
        }
    }

    /// What it means that a zone is not routed, and what is in it.
    fn cut_off(&self, zone: usize) -> String {
        let world = self.world;
        let leads = |host: &usize| {
            self.down.hosts[*host].is_none()
                && world.feet[*host].contains(&zone)
                && (0..world.zones.len()).any(|other| other != zone && world.routers[other].contains(host))
        };
        if let Some(host) = (0..world.hosts.len()).find(leads) {
            let routed = (0..world.zones.len()).filter(|other| world.routers[*other].contains(&host));
            let routed: Vec<&str> = routed.map(|zone| world.zones[zone]).collect();
            return format!("cut off from the rest; `{}` still leads to {}", world.hosts[host], list(&routed, "and"));
        }
        let inside = |n: &usize| world.zone[*n] == Some(zone) && self.down.hosts[*n].is_none();
        let services: Vec<&str> = (0..world.hosts.len())
            .filter(inside)
            .flat_map(|host| &world.on[host])
            .filter(|n| self.down.placed[**n].is_none() && !world.placed[**n].is_reached())
            .map(|n| world.placed[*n].placement.service.as_str())
            .collect();
        let zones = self.world.private.iter().filter(|private| !**private).count();
        match services.len() {
            _ if zones < 2 => "cut off: nothing gets in or out".to_string(),
            0 => "cut off: nothing gets in or out".to_string(),
            1..=3 => {
                format!("cut off: nothing gets in or out, and so nobody elsewhere reaches {}", list(&services, "and"))
            }
            more => format!("cut off: nothing gets in or out, and so nobody elsewhere reaches {more} services there"),
        }
    }

    /// Who else is told of alerts, when somebody is not.
    fn untold(&self, receiver: usize) -> String {
        let receivers = &self.world.receivers;
        let gone = untold_receivers(self.world, self.down);
        let left: Vec<&str> =
            (0..receivers.len()).filter(|n| *n != receiver && !gone.contains(n)).map(|n| receivers[n].name).collect();
        match left.is_empty() {
            true => "no alert gets there, and nobody else is told".to_string(),
            false => format!("no alert gets there; still told: {}", list(&left, "and")),
        }
    }

    fn repositories(&self, numbers: &[usize], last: &str) -> String {
        list(&numbers.iter().map(|n| self.world.repositories[*n].name).collect::<Vec<_>>(), last)
    }

    /// What it means that nobody plays a role.
    fn loss(&self, kind: RoleKind) -> String {
        match kind {
            RoleKind::Router => {
                let world = self.world;
                let others: Vec<&str> = (0..world.zones.len())
                    .flat_map(|zone| &world.routers[zone])
                    .filter(|host| self.down.hosts[**host].is_none())
                    .map(|host| world.hosts[*host])
                    .collect();
                match others.first() {
                    None => "nothing crosses between zones or to the internet".to_string(),
                    Some(other) => {
                        format!("nothing gets to the internet; between zones `{other}` still routes its own")
                    }
                }
            }
            RoleKind::Dns => format!("no name of `{}` resolves", self.world.parsed.lab.domain.value),
            RoleKind::ReverseProxy => "no name leads to its service".to_string(),
            RoleKind::Identity => "nobody new can log in where it is asked".to_string(),
            RoleKind::Vpn => match list(&self.world.tunnelled_devices, "and") {
                devices if devices.is_empty() => "no way in for administration from outside".to_string(),
                devices => format!(
                    "no way in for administration from outside; {devices}: no internet until the VPN is switched off there"
                ),
            },
            RoleKind::Tunnel => "the internet reaches nothing here".to_string(),
            RoleKind::Backup => "what it keeps is out of reach".to_string(),
            RoleKind::Monitoring => match self.world.parsed.lab.platform.monitoring.as_ref() {
                Some(monitoring) if monitoring.heartbeat.is_some() => {
                    "blind: nothing is probed and no alert is sent; its heartbeat stops, and whoever waits for it calls"
                        .to_string()
                }
                _ => "blind: nothing is probed and no alert is sent".to_string(),
            },
            RoleKind::Coordination => {
                "who is connected stays so for a while; after a restart nobody finds the others".to_string()
            }
            RoleKind::Vault => "no secret is handed out: what needs one cannot be deployed or started anew".to_string(),
            RoleKind::Unseal => "the secrets store stays sealed after its next start".to_string(),
            RoleKind::Registry => {
                "no image is pushed or pulled: what runs goes on, nothing new is deployed".to_string()
            }
            RoleKind::Runners => "nothing is built or deployed by itself".to_string(),
            RoleKind::Telemetry => "no traces and no logs are kept".to_string(),
        }
    }

    fn then(&self, hit: Hit) -> Option<String> {
        let world = self.world;
        match hit.node {
            Node::Role(n) if world.roles[n].kind == RoleKind::Tunnel && hit.urgency == Urgency::Dark => {
                let public = world.parsed.lab.edge.public.as_ref()?.cloudflare.as_ref()?;
                let standby = public.standby.as_ref()?;
                let records: Vec<&str> = standby.records.iter().map(|record| record.value.as_str()).collect();
                Some(format!("point {} at the standby `{}`", list(&records, "and"), standby.pages.as_ref()?.value))
            }
            Node::Placed(n) if hit.urgency == Urgency::Dark => {
                let left = self.repositories(&copies_left(world, self.down, n), "or");
                match hit.why {
                    Why::Itself => {
                        let notes = world.placed[n].placement.entry.restore_notes.as_deref().map(str::trim);
                        let from = (!left.is_empty()).then(|| format!("restore from {left}"));
                        let parts: Vec<&str> = from.as_deref().into_iter().chain(notes).collect();
                        (!parts.is_empty()).then(|| parts.join(": "))
                    }
                    // A machine that is only cut off still has the data.
                    Why::On(host) if !left.is_empty() && self.down.hosts[host] != Some(Why::InZone) => {
                        Some(format!("if its data is lost, restore from {left}"))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// What a thing is for.
pub(super) fn about(world: &World, thing: &Thing) -> String {
    let lab = &world.parsed.lab;
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let mut parts = Vec::new();
    match thing.kind {
        Kind::Host => {
            let Some(n) = world.host(&thing.name) else { return String::new() };
            if let Some(on) = world.guests.iter().position(|guests| guests.contains(&n)) {
                parts.push(format!("guest of `{}`", world.hosts[on]));
            }
            if !world.guests[n].is_empty() {
                parts.push(count(world.guests[n].len(), "guest", "guests"));
            }
            let roles = world.roles.iter().filter(|role| role.hosts.contains(&n));
            parts.extend(roles.map(|role| role.kind.word().to_string()));
            let repositories = world.repositories.iter().filter(|repository| repository.host == Some(n));
            parts.extend(repositories.map(|repository| format!("repository `{}`", repository.name)));
            if !world.on[n].is_empty() {
                parts.push(count(world.on[n].len(), "service", "services"));
            }
        }
        Kind::Service => {
            let name = split(&thing.name).map_or(thing.name.as_str(), |(service, _)| service);
            let Some(service) = lab.services.get(name) else { return String::new() };
            parts.push(service.tier.word().to_string());
            parts.extend(service.owner.iter().map(|owner| format!("owner `{}`", owner.value)));
        }
        Kind::Zone => {
            let here =
                lab.compute.hosts.values().filter(|host| host.zone.as_ref().is_some_and(|z| z.value == thing.name));
            parts.push(count(here.count(), "host", "hosts"));
        }
        Kind::Site => {
            let here =
                lab.compute.hosts.values().filter(|host| host.site.as_ref().is_some_and(|s| s.value == thing.name));
            parts.push(count(here.count(), "host", "hosts"));
        }
        Kind::Domain => {
            let here =
                lab.compute.hosts.values().filter(|host| host.failure_domain.iter().any(|d| d.value == thing.name));
            parts.push(count(here.count(), "host", "hosts"));
        }
        Kind::Role => {}
        Kind::Internet => parts.push("the uplink".to_string()),
    }
    parts.join(", ")
}

/// "`a`", "`a` and `b`", "`a`, `b` and `c`".
pub(crate) fn listed(names: &[&str]) -> String {
    list(names, "and")
}
