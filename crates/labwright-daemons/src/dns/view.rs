//! What is served at one moment: never changed, only exchanged for another one as a whole.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use labwright_model::snapshot::dns::{Blocked, DnsSnapshot, Filter, MAX_LISTS, Net};

use super::forward::{Forwarder, Trust};
use super::journal::Keeping;
use super::lists::Compiled;
use super::wire::wire;
use super::zone::Zones;

pub struct View {
    pub generation: u64,
    pub snapshot: Arc<DnsSnapshot>,
    pub zones: Arc<Zones>,
    pub forwarder: Arc<Forwarder>,
    pub filter: Arc<Filtering>,
    pub keeping: Arc<Keeping>,
    /// Domains whose names may lead to private addresses, in wire form.
    private: Arc<Vec<Vec<u8>>>,
}

/// Lists, and for whom they hold. Its numbers of lists are those of its own table.
#[derive(Default)]
pub struct Filtering {
    pub filter: Filter,
    pub compiled: Compiled,
    /// Subnets with the number of their group, the narrowest first.
    nets: Vec<(Net, usize)>,
    /// The lists of each group, a bit each.
    masks: Vec<u64>,
    /// Until when nothing is blocked for a group, in seconds of the resolver's clock.
    paused: Vec<AtomicU32>,
    everyone: Option<usize>,
}

impl Filtering {
    /// Puts lists to work; pauses that were on go on.
    pub fn new(filter: Filter, compiled: Compiled, before: &Filtering) -> Filtering {
        let mut nets: Vec<(Net, usize)> = Vec::new();
        for (number, group) in filter.groups.iter().enumerate() {
            nets.extend(group.clients.iter().map(|net| (*net, number)));
        }
        nets.sort_by_key(|(net, _)| std::cmp::Reverse(net.bits));
        let mask = |lists: &Vec<usize>| lists.iter().fold(0, |mask, list| mask | 1 << (list & (MAX_LISTS - 1)));
        let paused = |name: &str| {
            let at = before.filter.groups.iter().position(|group| group.name == name);
            AtomicU32::new(at.and_then(|at| before.paused.get(at)).map_or(0, |until| until.load(Ordering::Relaxed)))
        };
        Filtering {
            masks: filter.groups.iter().map(|group| mask(&group.lists)).collect(),
            paused: filter.groups.iter().map(|group| paused(&group.name)).collect(),
            everyone: filter.groups.iter().position(|group| group.clients.is_empty()),
            nets,
            compiled,
            filter,
        }
    }

    fn group(&self, client: IpAddr) -> Option<usize> {
        if self.nets.is_empty() {
            return self.everyone;
        }
        let narrowest = self.nets.iter().find(|(net, _)| net.contains(client)).map(|(_, group)| *group);
        narrowest.or(self.everyone)
    }

    /// The lists that hold for a client now, a bit each.
    pub fn lists_for(&self, client: IpAddr, now: u32) -> u64 {
        let Some(group) = self.group(client) else { return 0 };
        match self.paused.get(group).is_some_and(|until| until.load(Ordering::Relaxed) > now) {
            true => 0,
            false => self.masks.get(group).copied().unwrap_or(0),
        }
    }

    /// Blocks nothing until a time of the resolver's clock: for one group, or for everybody. Whether there is such a group.
    pub fn pause(&self, group: Option<&str>, until: u32) -> bool {
        let mut found = false;
        for (known, paused) in self.filter.groups.iter().zip(&self.paused) {
            if group.is_none_or(|group| group == known.name) {
                paused.store(until, Ordering::Relaxed);
                found = true;
            }
        }
        found
    }

    /// Until when each group is paused, where it is.
    pub fn pauses(&self, now: u32) -> Vec<(String, u32)> {
        let all = self.filter.groups.iter().zip(&self.paused);
        let left = all.map(|(group, paused)| (group.name.clone(), paused.load(Ordering::Relaxed).saturating_sub(now)));
        left.filter(|(_, left)| *left > 0).collect()
    }
}

impl View {
    /// Makes a view of a snapshot; lists of before hold until those of the snapshot have been read.
    ///
    /// # Errors
    /// Why the snapshot cannot be served, in words.
    pub fn new(generation: u64, snapshot: DnsSnapshot, trust: &Trust, before: Option<&View>) -> Result<View, String> {
        if snapshot.filter.lists.len() > MAX_LISTS {
            let count = snapshot.filter.lists.len();
            return Err(format!(
                "there are {count} lists, and one resolver tells {MAX_LISTS} apart: put some together"
            ));
        }
        let lists = snapshot.filter.lists.len();
        if snapshot.filter.groups.iter().flat_map(|group| &group.lists).any(|list| *list >= lists) {
            return Err("a group has a list that the snapshot does not have".into());
        }
        let zones = Arc::new(Zones::new(&snapshot, generation)?);
        let forwarder = match before.filter(|before| before.snapshot.forward == snapshot.forward) {
            Some(before) => before.forwarder.clone(),
            None => Arc::new(Forwarder::new(&snapshot.forward, trust)?),
        };
        let private = snapshot.filter.private_answers.iter().filter_map(|domain| wire(domain)).collect();
        Ok(View {
            generation,
            zones,
            forwarder,
            filter: before.map_or_else(Arc::default, |before| before.filter.clone()),
            keeping: Arc::new(keeping(&snapshot, before.map(|before| &*before.filter))),
            private: Arc::new(private),
            snapshot: Arc::new(snapshot),
        })
    }

    /// The same with other lists.
    pub fn with(&self, filter: Arc<Filtering>) -> View {
        View {
            generation: self.generation,
            snapshot: self.snapshot.clone(),
            zones: self.zones.clone(),
            forwarder: self.forwarder.clone(),
            keeping: Arc::new(keeping(&self.snapshot, Some(&filter))),
            private: self.private.clone(),
            filter,
        }
    }

    pub fn blocked(&self) -> Blocked {
        self.snapshot.filter.blocked
    }

    /// Whether a client is of the lab: of its subnets or of any private network.
    pub fn admits(&self, client: IpAddr) -> bool {
        super::resolve::is_inside(client) || self.snapshot.access.networks.iter().any(|net| net.contains(client))
    }

    /// Whether a name may lead to a private address.
    pub fn may_lead_inside(&self, name: &[u8]) -> bool {
        self.private.iter().any(|domain| {
            // In wire form a domain ends like the names in it, and a label's length stands before the match.
            let mut rest = name;
            while let Some((size, after)) = rest.split_first().filter(|(size, _)| **size > 0) {
                if rest == &domain[..] {
                    return true;
                }
                rest = after.get(usize::from(*size)..).unwrap_or_default();
            }
            false
        })
    }
}

fn keeping(snapshot: &DnsSnapshot, filter: Option<&Filtering>) -> Keeping {
    Keeping {
        days: snapshot.log.keep_days,
        clients: snapshot.log.clients,
        names: snapshot.clients.iter().map(|client| (client.address, client.name.clone())).collect(),
        lists: filter
            .map_or_else(Vec::new, |filter| filter.filter.lists.iter().map(|list| list.name.clone()).collect()),
    }
}
