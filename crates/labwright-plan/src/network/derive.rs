//! What follows from the rest of the lab: who has to reach whom for what is declared to work at all.
//! Each way names what it follows from; `Matrix::derive` decides whether it may be opened without being asked for.

mod network;
mod platform;
mod services;

use labwright_model::Span;

use super::allowed::Allowed;
use super::matrix::{Grant, Matrix, Why};
use super::parties::{End, Guard};
use crate::check::network::zone_kind::ZoneKind;

/// Everything, in an order in which what is said more generally comes first.
pub(super) fn all(matrix: &mut Matrix<'_>) {
    network::names(matrix);
    network::time(matrix);
    network::addresses(matrix);
    network::vpn(matrix);
    network::administration(matrix);
    network::updates(matrix);
    services::exposed(matrix);
    services::needs(matrix);
    services::backups(matrix);
    platform::watching(matrix);
    platform::mounts(matrix);
    platform::vault(matrix);
    network::behind_tailnet(matrix);
    // Last, because it follows from what the internet may reach.
    network::hairpin(matrix);
}

/// One way that follows from something.
fn way(from: End, to: End, allowed: Allowed, why: Why, reason: impl Into<String>, span: Span) -> Grant {
    Grant { from, to, allowed, why, reason: reason.into(), span }
}

/// "`a`, `b` and 3 more".
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [one] => one.clone(),
        [a, b] => format!("{a} and {b}"),
        [a, b, c] => format!("{a}, {b} and {c}"),
        all => format!("{}, {} and {} more", all[0], all[1], all.len() - 2),
    }
}

impl<'a> Matrix<'a> {
    fn hosts_named<'n>(&self, names: impl IntoIterator<Item = &'n labwright_model::Spanned<String>>) -> Vec<usize> {
        names.into_iter().filter_map(|name| self.parties.host(name)).collect()
    }

    /// Every zone, and every host that is in none.
    fn everywhere(&self) -> Vec<End> {
        let zones = (0..self.parties.zones.len()).map(End::Zone);
        let alone = (0..self.parties.hosts.len()).filter(|host| self.parties.hosts[*host].zones.is_empty());
        zones.chain(alone.map(End::Host)).collect()
    }

    /// Hosts that Labwright logs in to.
    fn ours(&self) -> Vec<usize> {
        (0..self.parties.hosts.len()).filter(|host| self.parties.hosts[*host].guard != Guard::Foreign).collect()
    }

    fn zones_of_kind(&self, kind: ZoneKind) -> Vec<usize> {
        (0..self.parties.zones.len()).filter(|zone| self.parties.zones[*zone].kind == Some(kind)).collect()
    }

    /// The zones that people sit in: by their names, or, where no name says so, those that are not for anything else.
    fn user_zones(&self) -> Vec<usize> {
        let named = self.zones_of_kind(ZoneKind::Clients);
        if !named.is_empty() {
            return named;
        }
        self.zones_of_no_kind()
    }

    fn zones_of_no_kind(&self) -> Vec<usize> {
        (0..self.parties.zones.len()).filter(|zone| self.parties.zones[*zone].kind.is_none()).collect()
    }
}
