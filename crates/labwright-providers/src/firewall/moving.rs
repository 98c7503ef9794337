//! A hole for an SSH server that moves: from where the run comes, to where the server goes, and closed by time itself.
//! Whether the server stays there is for the confirmation to say; the ruleset that is loaded then knows its new port.

use std::net::IpAddr;

use labwright_plan::ProviderError;
use labwright_plan::network::nft::TABLE;

use super::loaded::listing;
use super::ruleset::has_nft;
use crate::host::command::{SHORT, run};

/// Longer than any window that somebody waits for.
const OPEN_FOR: &str = "1h";

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    Open,
    /// No ruleset of ours is loaded.
    NoFirewall,
    /// The ruleset that is loaded has no place for it: an older labwright made it.
    NoPlace,
}

/// Lets this one address in at a TCP port, for a while.
pub fn let_in(client: IpAddr, port: u16) -> Result<Hole, ProviderError> {
    open(if client.is_ipv4() { "moving4" } else { "moving6" }, &format!("{client} . {port}"))
}

/// Lets this one address through to a TCP port of another one, for a while. Both are of one family.
pub fn let_through(client: IpAddr, to: IpAddr, port: u16) -> Result<Hole, ProviderError> {
    let set = if client.is_ipv4() { "moving_through4" } else { "moving_through6" };
    open(set, &format!("{client} . {to} . {port}"))
}

fn open(set: &str, what: &str) -> Result<Hole, ProviderError> {
    if !has_nft() {
        return Ok(Hole::NoFirewall);
    }
    let Some(table) = listing()? else { return Ok(Hole::NoFirewall) };
    if !table.contains(&format!("set {set} {{")) {
        return Ok(Hole::NoPlace);
    }
    let element = format!("{{ {what} timeout {OPEN_FOR} }}");
    run("nft", &["add", "element", "inet", TABLE, set, &element], SHORT)?.require()?;
    Ok(Hole::Open)
}
