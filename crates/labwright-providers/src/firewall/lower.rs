//! From the lab to the ruleset of each host that enforces it, and to the package that it needs.

use std::borrow::Cow;

use labwright_model::lab::Host;
use labwright_model::{Parsed, Span, Spanned};
use labwright_plan::network::nft::Compiler;
use labwright_plan::network::{Guard, HostParty};
use labwright_plan::{Input, Lowered, Resource, ResourceId};

use super::through;

/// The Debian package that has `nft`.
pub const PACKAGE: &str = "nftables";

/// The ruleset of every host that is asked to enforce.
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    if !asked(input.parsed) {
        return;
    }
    let matrix = input.case.matrix();
    let compiler = Compiler::new(matrix);
    for (number, host) in matrix.parties.hosts.iter().enumerate() {
        if host.guard != Guard::Enforced {
            continue;
        }
        let span = span(input.parsed, host.entry);
        let id = ResourceId::new(host.name, "firewall", "ruleset", labwright_plan::network::nft::TABLE);
        let mut resource = Resource::new(id, span).with("content", compiler.ruleset(number)).with("loaded", true);
        // Packages first: whatever is fetched for this run is fetched by the rules that were there before.
        resource.after.insert(ResourceId::all(host.name, "host", "package"));
        // An SSH server that moves is followed: by the rules that are there now it is let in where it goes, and the new ones
        // know that place alone. A router's rules close the old way to others, so they come after those that stay; of those
        // that really move `through` turns the order round.
        let all = matrix.parties.guarding_router() == Some(number);
        let moves = matrix.parties.hosts.iter().filter(|other| all || other.name == host.name);
        let moves = moves.filter(|other| other.entry.sshd.as_ref().is_some_and(|sshd| sshd.value.port().is_some()));
        let moves: Vec<&HostParty<'_>> = moves.collect();
        resource.after.extend(moves.iter().map(|other| through::sshd(other.name)));
        let behind = moves.iter().filter(|other| other.name != host.name);
        out.resources.push(resource.with_some("through", through::field(behind.copied())));
    }
}

/// Whether any host enforces: the matrix of a lab that does not ask for it is not made for nothing.
fn asked(parsed: &Parsed) -> bool {
    parsed.lab.network.firewall.is_some() || parsed.lab.compute.hosts.values().any(|host| host.firewall.is_some())
}

fn span(parsed: &Parsed, host: &Host) -> Span {
    host.firewall.as_ref().or(parsed.lab.network.firewall.as_ref()).map_or(Span::NONE, |firewall| firewall.span)
}

/// The host with what enforcing implies: a program that loads rulesets.
pub fn implied<'a>(parsed: &Parsed, host: Cow<'a, Host>) -> Cow<'a, Host> {
    use labwright_model::lab::Firewall;
    let said = host.firewall.as_ref().or(parsed.lab.network.firewall.as_ref()).map(|firewall| firewall.value);
    if said != Some(Firewall::Enforce) || host.packages.iter().any(|package| package.value == PACKAGE) {
        return host;
    }
    let span = span(parsed, &host);
    let mut host = host.into_owned();
    host.packages.0.push(Spanned::new(PACKAGE.to_string(), span));
    Cow::Owned(host)
}
