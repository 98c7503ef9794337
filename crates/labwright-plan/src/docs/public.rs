//! The public edition: how the lab is built, for everybody. It sees `Patterns` and nothing else, and writes no digit.

use super::patterns::Patterns;
use super::{Page, page};

pub fn pages(patterns: &Patterns) -> Vec<Page> {
    vec![
        page("README.md", "How this lab is built", index(patterns)),
        page("access.md", "Access and segmentation", access(patterns)),
        page("platform.md", "Platform and applications", platform(patterns)),
        page("protection.md", "Data protection", protection(patterns)),
    ]
}

/// A number in words: digits could be somebody's address.
fn spoken(n: usize) -> &'static str {
    const WORDS: [&str; 13] =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    WORDS.get(n).copied().unwrap_or("more than a dozen")
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", spoken(n), if n == 1 { one } else { many })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The sentences that hold, as a list.
fn points(all: &[(bool, &str)]) -> String {
    all.iter().filter(|(holds, _)| *holds).map(|(_, text)| format!("- {text}\n")).collect()
}

fn index(p: &Patterns) -> String {
    let size = format!(
        "{} {} {}, described in one file that is checked before it is applied.",
        capital(&counted(p.hosts, "machine", "machines")),
        if p.hosts == 1 { "carries" } else { "carry" },
        counted(p.services, "service", "services"),
    );
    let rules = points(&[
        (p.public == 0 && !p.published_outside, "**Nothing is exposed.** No service can be reached from the internet."),
        (
            p.public > 0 && p.tunnel && !p.published_outside,
            "**No open door.** What is public leaves through an outbound tunnel; nothing listens for the internet.",
        ),
        (p.vpn && p.vpn_alone, "**One way in.** Administration goes over a private network, and nowhere else."),
        (p.zones > 0 && p.enforced, "**Denied unless declared.** What no rule allows is denied, inside a zone too."),
        (
            p.zones > 0 && !p.enforced,
            "**Ways are declared.** Who may reach whom is written down; not every machine enforces it.",
        ),
        (
            p.containers && p.apart,
            "**A room for each service.** Containers run apart from each other and meet by name, not by address.",
        ),
        (p.needs, "**Dependencies are declared.** What a service cannot work without stands in its entry."),
        (p.backed_up > 0 && p.drills, "**A copy counts once it was restored.** Restores are rehearsed on a schedule."),
        (
            p.backed_up > 0 && !p.drills && p.copies_apart,
            "**Data leaves the machine that it is made on.** It is copied on a schedule.",
        ),
    ]);
    let size = if p.sites > 1 {
        format!("{size} They stand at {}.", counted(p.sites, "site", "different sites"))
    } else {
        size
    };
    format!(
        "{size}\n\nThese pages tell the patterns and not the specifics: no names, addresses, versions or owners. What is inside is not what protects it.\n\n## Rules\n\n{rules}\n## How a request reaches a service\n\n```mermaid\n{}```\n\n## Pages\n\n- [Access and segmentation](access.md)\n- [Platform and applications](platform.md)\n- [Data protection](protection.md)\n",
        request(p)
    )
}

/// The way of a request, as a picture of roles.
fn request(p: &Patterns) -> String {
    let mut out = "flowchart LR\n".to_string();
    let mut arrow = |from: &str, to: &str| out += &format!("  {from} --> {to}\n");
    let door = if p.proxies > 0 { "door[\"reverse proxy\"]" } else { "apps[\"services\"]" };
    if p.public > 0 && p.tunnel {
        arrow("web((\"internet\"))", "edge[\"edge provider\"]");
        arrow("edge", "tunnel[\"outbound tunnel\"]");
        arrow("tunnel", door);
    }
    if p.vpn {
        arrow("admin((\"administrator\"))", "private[\"private network\"]");
        arrow("private", door);
    }
    arrow("people((\"household\"))", door);
    if p.proxies > 0 {
        arrow("door", "apps[\"services\"]");
    }
    if p.repositories > 0 && p.backed_up > 0 {
        arrow("apps", "copies[(\"copies\")]");
    }
    out
}

fn access(p: &Patterns) -> String {
    let zones = match p.zones {
        0 => "The network is not told apart.".to_string(),
        n => format!(
            "The network has {}; what crosses from one to another is listed, rule by rule.",
            counted(n, "zone", "zones")
        ),
    };
    let list = points(&[
        (p.router && p.enforced, "One router stands between the zones and applies the matrix."),
        (p.router && !p.enforced, "One router stands between the zones."),
        (p.flows_have_reasons, "Every rule carries its reason."),
        (!p.wide_flows && p.zones > 0, "No rule lets everything through to another zone."),
        (p.vpn, "Administrators come over a private network."),
        (p.over_vpn > 0, "Some services answer on that private network alone."),
        (p.keys_only, "Machines take keys and no passwords."),
        (p.tunnel, "Public traffic leaves through a tunnel that is opened from inside."),
        (p.standby, "A static copy of the front page elsewhere takes over when the lab is down."),
        (p.egress, "Some services reach the internet through one gateway alone, or not at all."),
    ]);
    format!("{zones}\n\n{list}")
}

fn platform(p: &Patterns) -> String {
    let list = points(&[
        (p.hypervisors > 1, "Hypervisors carry the machines; there is more than one."),
        (p.hypervisors == 1, "A hypervisor carries the machines."),
        (p.guests, "Virtual machines are made from images, and can be made anew."),
        (p.container_hosts > 0 && p.containers_alone, "Containers run on machines of their own."),
        (p.container_hosts > 0 && !p.containers_alone, "Containers run beside other things."),
        (p.resolvers > 1, "Names are answered by more than one resolver."),
        (p.resolvers == 1, "Names are answered by a resolver of our own."),
        (p.blocklists, "The resolver leaves trackers and advertisements unanswered."),
        (p.proxies > 0, "Applications stand behind a reverse proxy that ends encryption."),
        (p.own_certificates, "Certificates come from an authority of our own."),
        (p.identity, "Who may log in where is kept in one place."),
        (p.secrets_file, "Secrets are encrypted beside the description and opened on their machine alone."),
        (p.secrets_server, "Secrets are kept by a server that hands out each to whom it is meant for."),
        (p.monitoring, "Machines and services are watched."),
        (p.alerts, "Alerts reach a person."),
        (p.registry, "Images come from a registry of our own."),
        (p.runners, "Builds run where they are in nobody's way."),
        (p.telemetry, "Logs and traces leave the machine that writes them."),
        (p.environments, "What is tried out and what is relied on are separate copies."),
        (p.processes, "Some services run as plain processes."),
    ]);
    let services = match p.services {
        0 => String::new(),
        n => {
            let rest = if p.production + p.external < n { "; the rest may break" } else { "" };
            let (relied, others) = (are(p.production), are(p.external));
            format!(
                "\n## Responsibility\n\nOf {}, {relied} relied on and {others} run by others{rest}.\n",
                counted(n, "service", "services")
            )
        }
    };
    format!("{list}{services}")
}

fn are(n: usize) -> String {
    match n {
        0 => "none is".to_string(),
        1 => "one is".to_string(),
        n => format!("{} are", spoken(n)),
    }
}

fn protection(p: &Patterns) -> String {
    let share = match (p.backed_up, p.services.saturating_sub(p.external)) {
        (0, _) => "Nothing is backed up by declaration.",
        (some, all) if some >= all => "Every service is backed up.",
        (some, all) if some * 2 >= all => "Most services are backed up.",
        _ => "Some services are backed up.",
    };
    let list = points(&[
        (p.backed_up > 0 && p.repositories > 1, "Copies go to more than one place."),
        (
            p.backed_up > 0 && p.repositories_elsewhere,
            "One of the copies is kept elsewhere, where no single accident reaches both.",
        ),
        (p.backed_up > 0 && p.repositories > 0 && p.encrypted, "Copies are encrypted before they leave."),
        (
            p.backed_up > 0 && p.repositories > 0 && !p.encrypted,
            "Not every copy is declared as encrypted before it leaves.",
        ),
        (p.backed_up > 0 && p.drills, "Restores are rehearsed on a schedule."),
        (p.backed_up > 0 && p.proof, "A proof that is too old counts as none."),
        (p.offline, "One copy is not connected to anything."),
    ]);
    format!("{share}\n\n{list}")
}
