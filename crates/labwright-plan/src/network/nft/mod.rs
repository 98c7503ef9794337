//! From the matrix to the text that `nft -f` loads: one table for each host, `inet labwright`, and nothing outside of it.
//! Pure. Rules do not grow with the lab: who may do what stands in sets, and a packet is looked up once.

mod chains;
mod forward;
mod keys;
mod sets;

use std::fmt::Write;

use super::matrix::Matrix;
use super::ranges::Family;

pub use forward::{Conflict, Forwarded, forwards};

use keys::Cells;
use sets::{Direction, Open};

/// What the table is called. Nothing else of the host's firewall is touched.
pub const TABLE: &str = "labwright";

/// Compiles hosts of one matrix; what they share is made once.
pub struct Compiler<'m, 'a> {
    matrix: &'m Matrix<'a>,
    cells: Cells<'m>,
    lab: String,
}

/// A table that is being written.
struct Page<'m, 'a> {
    matrix: &'m Matrix<'a>,
    host: usize,
    routes: bool,
    /// Who may open connections to the host, and to whom it may.
    inward: Open<'m>,
    outward: Open<'m>,
    out: String,
}

impl<'m, 'a> Compiler<'m, 'a> {
    pub fn new(matrix: &'m Matrix<'a>) -> Self {
        let mut lab = "\n\t# Every address of the lab; what is outside of it is the internet.\n".to_string();
        for family in Family::ALL {
            let parts = sets::by_zone(matrix, family, matrix.parties.lab_ranges(family));
            sets::set(&mut lab, &format!("lab{}", family.digit()), sets::address(family), true, &parts);
        }
        Compiler { matrix, cells: Cells::of(matrix), lab }
    }

    /// The ruleset of a host. A router forwards between zones and to the internet as well, and the end of a VPN what is the
    /// VPN's.
    pub fn ruleset(&self, host: usize) -> String {
        let parties = &self.matrix.parties;
        let routes = parties.guarding_router() == Some(host);
        let mut page = Page {
            matrix: self.matrix,
            host,
            routes,
            inward: self.cells.of_host(self.matrix, host, Direction::In),
            outward: self.cells.of_host(self.matrix, host, Direction::Out),
            out: String::new(),
        };
        let (lab, name) = (&parties.lab().lab.value, parties.hosts[host].name);
        let _ = write!(
            page.out,
            "#!/usr/sbin/nft -f\n\
             # The firewall of `{name}` in the lab `{lab}`, made by labwright from its flows; changes made here are undone.\n\
             # What is not allowed below is denied, over IPv6 as over IPv4. `labwright flows --to {name}` tells why each\n\
             # way is open; every element of a set names its flow and the line of the lab file.\n\
             \n\
             table inet {TABLE}\n\
             delete table inet {TABLE}\n\
             \n\
             table inet {TABLE} {{\n\
             \tcomment \"lab {lab}, host {name}\"\n"
        );
        page.out += &self.lab;
        // What the lab file gives no address has one by DHCP, of whatever family there is.
        let leased = parties.hosts[host].addresses.is_empty();
        let addressed = Family::ALL.map(|family| leased || parties.host_addresses(host, family).next().is_some());
        let (inward, outward) = (std::mem::take(&mut page.inward), std::mem::take(&mut page.outward));
        inward.sets(&mut page.out, "Who may open connections to this host.");
        outward.sets(&mut page.out, "To whom this host may open connections.");
        page.inward = inward;
        page.outward = outward;
        // A VPN that ends elsewhere than at the router passes through the host where it ends.
        let gates = parties.gates.iter().filter(|gate| !routes && gate.host == host);
        let about: Vec<usize> = gates.map(|gate| gate.zone).collect();
        let ways = (routes || !about.is_empty()).then(|| {
            let ways = forward::Ways::of(self.matrix, &self.cells, host, &about);
            ways.sets(&mut page.out);
            ways
        });
        let (forwarded, _) = if routes { forwards(self.matrix) } else { Default::default() };
        forward::maps(&mut page.out, &forwarded);
        page.watched();
        page.spoofed();
        page.input(addressed);
        page.output(addressed);
        page.forward(ways.as_ref(), addressed);
        page.denied();
        if routes {
            forward::translation(&mut page.out, self.matrix, &forwarded);
        }
        page.out += "}\n";
        page.out
    }
}

/// The ruleset of one host; `None` where the lab has no such host.
pub fn ruleset(matrix: &Matrix<'_>, host: &str) -> Option<String> {
    let host = matrix.parties.host(host)?;
    Some(Compiler::new(matrix).ruleset(host))
}

#[cfg(test)]
mod tests;
