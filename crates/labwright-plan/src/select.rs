//! Which part of the lab a run is about: `--only`, `--exclude`, `--tag`.
//! Matches ids; what a tag means was resolved to hosts before.

use std::collections::{BTreeMap, BTreeSet};

use crate::resource::{Resource, ResourceId};

/// Patterns are ids, parts of ids from the front (`docker-01`, `docker-01/host/file`), with `*` for anything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub only: Vec<String>,
    pub exclude: Vec<String>,
    /// Hosts that carry the tag asked for; `None`: no tag was asked for.
    pub hosts: Option<BTreeSet<String>>,
}

impl Selection {
    pub fn is_everything(&self) -> bool {
        self.only.is_empty() && self.exclude.is_empty() && self.hosts.is_none()
    }

    /// Whether an id is meant, what it comes after aside.
    pub fn wants(&self, id: &ResourceId) -> bool {
        (self.only.is_empty() || self.only.iter().any(|pattern| matches(pattern, id.as_str())))
            && !self.leaves_out(id)
            && self.hosts.as_ref().is_none_or(|hosts| hosts.contains(id.host()))
    }

    /// Whether an id was left out by name.
    pub(crate) fn leaves_out(&self, id: &ResourceId) -> bool {
        self.exclude.iter().any(|pattern| matches(pattern, id.as_str()))
    }

    /// Whether a pattern means this id, or everything on this host.
    pub fn covers(pattern: &str, text: &str) -> bool {
        matches(pattern, text)
    }

    /// Whether anything on a host can be meant: hosts that cannot are not even connected to.
    pub fn wants_host(&self, host: &str) -> bool {
        // A `*` may stand for slashes too, so what follows the first one says nothing about the host.
        let first = |pattern: &String| match pattern.split('/').next().unwrap_or(pattern).split_once('*') {
            Some((front, _)) => host.starts_with(front),
            None => pattern.split('/').next() == Some(host),
        };
        (self.only.is_empty() || self.only.iter().any(first))
            && !self.exclude.iter().any(|pattern| !pattern.contains('/') && matches(pattern, host))
            && self.hosts.as_ref().is_none_or(|hosts| hosts.contains(host))
    }

    /// The declared ids that are meant, with everything on the same host that they come after.
    pub(crate) fn close(&self, desired: &BTreeMap<&ResourceId, &Resource>) -> BTreeSet<ResourceId> {
        if self.is_everything() {
            return desired.keys().map(|id| (*id).clone()).collect();
        }
        self.close_over(desired, desired.keys().copied().filter(|id| self.wants(id)).collect())
    }

    /// These, with everything on the same host that they come after.
    pub(crate) fn close_over<'a>(
        &self,
        desired: &BTreeMap<&'a ResourceId, &'a Resource>,
        mut open: Vec<&'a ResourceId>,
    ) -> BTreeSet<ResourceId> {
        let mut chosen = BTreeSet::new();
        while let Some(id) = open.pop() {
            let Some(resource) = desired.get(id) else { continue };
            if chosen.insert(id.clone()) {
                let here = |need: &&ResourceId| need.host() == id.host() && !need.is_all() && !self.leaves_out(need);
                open.extend(resource.after.iter().filter(here));
            }
        }
        chosen
    }
}

/// A pattern covers the id it spells, and everything below it.
fn matches(pattern: &str, text: &str) -> bool {
    let covers = |pattern: &str, text: &str| glob(pattern.as_bytes(), text.as_bytes());
    covers(pattern, text) || covers(&format!("{pattern}/*"), text)
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        Some((byte, rest)) => text.first() == Some(byte) && glob(rest, &text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_is_below_them() {
        for (pattern, id, covered) in [
            ("docker-01", "docker-01/host/file//etc/motd", true),
            ("docker-0", "docker-01/host/file//etc/motd", false),
            ("docker-*", "docker-01/host/file//etc/motd", true),
            ("*/host/file", "docker-01/host/file//etc/motd", true),
            ("docker-01/host/file//etc", "docker-01/host/file//etc/motd", true),
            ("docker-01/host/file//etc/mo", "docker-01/host/file//etc/motd", false),
            ("*motd", "docker-01/host/file//etc/motd", true),
        ] {
            assert_eq!(matches(pattern, id), covered, "{pattern} {id}");
        }
    }
}
