//! Names that lists hold, by the hash of their wire form: a million of them in eleven megabytes.
//!
//! A name is its 64-bit hash (XXH3), so two names can be taken for one. With n names in the table, one look-up of a name
//! that is on no list is wrong with probability n / 2^64: for a million names 5.4e-14. A name of four labels is four
//! look-ups; a household of a million queries a day meets one wrong block in about 12,000 years. That is why names are not
//! kept to compare with. A list may be made to hit somebody's name on purpose; its author could as well write the name.

use std::collections::HashMap;

use regex::RegexSet;

use super::parse::{Rule, Scope};
use crate::dns::wire::{self, Query, hash};

/// Names that are kept of all lists together: 110 MB. A list that goes on after that is cut there, and says so.
pub const MAX_NAMES: usize = 10_000_000;
/// Expressions of all lists together: each costs time with every query that no list names.
pub const MAX_EXPRESSIONS: usize = 1_000;
/// Octets that the compiled expressions may take.
const MAX_EXPRESSION_BYTES: usize = 16 << 20;
/// Combinations of lists that can be told apart.
const MAX_SETS: usize = u16::MAX as usize;

/// Which lists say what of one name: a bit for each list.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Says {
    block: u64,
    block_below: u64,
    allow: u64,
    allow_below: u64,
}

impl Says {
    fn of(list: u8, scope: Scope, allow: bool) -> Says {
        let bit = 1 << (list & 63);
        let mut says = Says::default();
        match (scope, allow) {
            (Scope::Exact, false) => says.block = bit,
            (Scope::Below, false) => says.block_below = bit,
            (Scope::Exact, true) => says.allow = bit,
            (Scope::Below, true) => says.allow_below = bit,
        }
        says
    }

    fn and(self, other: Says) -> Says {
        Says {
            block: self.block | other.block,
            block_below: self.block_below | other.block_below,
            allow: self.allow | other.allow,
            allow_below: self.allow_below | other.allow_below,
        }
    }
}

/// What lists say of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No list has it.
    Unlisted,
    /// A list has it, and another one lets it through.
    Allowed,
    /// The list by its number, and how many labels of the name its entry does not have.
    Blocked { list: u8, skipped: u8 },
}

/// Collects what lists say. Names first come as they are read and are put in order at the end.
#[derive(Default)]
pub struct Builder {
    names: Vec<(u64, u16)>,
    sets: Vec<Says>,
    by_set: HashMap<Says, u16>,
    expressions: Vec<(String, u8, bool)>,
    /// Names that no longer fitted.
    pub cut: usize,
}

impl Builder {
    fn set(&mut self, says: Says) -> Option<u16> {
        if let Some(set) = self.by_set.get(&says) {
            return Some(*set);
        }
        let set = u16::try_from(self.sets.len()).ok().filter(|_| self.sets.len() < MAX_SETS)?;
        self.sets.push(says);
        self.by_set.insert(says, set);
        Some(set)
    }

    /// Adds one rule of a list; whether it was kept.
    pub fn add(&mut self, list: u8, rule: &Rule<'_>, always_allow: bool) -> bool {
        match rule {
            Rule::Name { name, scope, allow } => {
                let mut bytes = [0; wire::MAX_NAME];
                let Some(name) = wire_form(name, &mut bytes) else { return false };
                if self.names.len() >= MAX_NAMES {
                    self.cut += 1;
                    return false;
                }
                match self.set(Says::of(list, *scope, *allow || always_allow)) {
                    Some(set) => self.names.push((hash(name), set)),
                    None => return false,
                }
                true
            }
            Rule::Expression { expression, allow } => {
                if self.expressions.len() >= MAX_EXPRESSIONS || regex::Regex::new(expression).is_err() {
                    return false;
                }
                self.expressions.push((expression.clone(), list, *allow || always_allow));
                true
            }
        }
    }

    /// Puts everything in order. `own` has a bit for each list that is the user's own: what those say comes first.
    pub fn build(mut self, own: u64) -> Table {
        let mut names = std::mem::take(&mut self.names);
        names.sort_unstable();
        // Names that several lists have become one, in place: a second vector would double the peak.
        let mut kept = 0;
        for at in 0..names.len() {
            let (hash, set) = names[at];
            match kept {
                0 => kept = 1,
                _ if names[kept - 1].0 == hash => {
                    let both = self.sets[usize::from(names[kept - 1].1)].and(self.sets[usize::from(set)]);
                    if let Some(set) = self.set(both) {
                        names[kept - 1].1 = set;
                    }
                    continue;
                }
                _ => {
                    names[kept] = (hash, set);
                    kept += 1;
                }
            }
            names[kept - 1] = (hash, set);
        }
        names.truncate(kept);
        // Four names a bucket on the average: one cache line of hashes.
        let bits = (usize::BITS - (kept / 4).leading_zeros()).max(1);
        let shift = 64 - bits;
        let mut starts = vec![0_u32; (1 << bits) + 1];
        for (hash, _) in &names {
            starts[(hash >> shift) as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let expressions = self.expressions.iter().map(|(expression, ..)| expression.as_str());
        let set = regex::RegexSetBuilder::new(expressions).size_limit(MAX_EXPRESSION_BYTES).build();
        let (expressions, of_expressions) = match set {
            Ok(set) => (set, self.expressions.iter().map(|(_, list, allow)| (*list, *allow)).collect()),
            Err(error) => {
                tracing::warn!(%error, "the expressions of lists are too large together: none of them holds");
                (RegexSet::empty(), Vec::new())
            }
        };
        Table {
            hashes: names.iter().map(|(hash, _)| *hash).collect(),
            says: names.iter().map(|(_, set)| *set).collect(),
            starts,
            shift,
            sets: self.sets,
            expressions,
            of_expressions,
            own,
        }
    }
}

/// A written name in wire form and lower case, without an allocation.
fn wire_form<'a>(name: &[u8], bytes: &'a mut [u8; wire::MAX_NAME]) -> Option<&'a [u8]> {
    let mut at = 0;
    for label in name.split(|byte| *byte == b'.') {
        let size = u8::try_from(label.len()).ok().filter(|size| (1..=63).contains(size))?;
        *bytes.get_mut(at)? = size;
        let place = bytes.get_mut(at + 1..at + 1 + label.len())?;
        place.copy_from_slice(label);
        place.make_ascii_lowercase();
        at += 1 + label.len();
    }
    *bytes.get_mut(at)? = 0;
    bytes.get(..=at)
}

/// What all lists say, for all groups: a group is a set of lists.
pub struct Table {
    hashes: Vec<u64>,
    says: Vec<u16>,
    /// Where the names begin whose hash begins with the bucket's number.
    starts: Vec<u32>,
    shift: u32,
    sets: Vec<Says>,
    expressions: RegexSet,
    of_expressions: Vec<(u8, bool)>,
    own: u64,
}

impl Default for Table {
    fn default() -> Self {
        Builder::default().build(0)
    }
}

impl Table {
    /// How many names there are.
    pub fn names(&self) -> usize {
        self.hashes.len()
    }

    pub fn expressions(&self) -> usize {
        self.of_expressions.len()
    }

    /// Octets of memory, expressions aside.
    pub fn bytes(&self) -> usize {
        self.hashes.len() * 8 + self.says.len() * 2 + self.starts.len() * 4 + self.sets.len() * size_of::<Says>()
    }

    fn find(&self, hash: u64) -> Option<Says> {
        let bucket = (hash >> self.shift) as usize;
        let (from, to) = (*self.starts.get(bucket)? as usize, *self.starts.get(bucket + 1)? as usize);
        let at = self.hashes.get(from..to)?.iter().position(|known| *known == hash)?;
        self.sets.get(usize::from(*self.says.get(from + at)?)).copied()
    }

    /// What the lists in `lists`, a bit each, say of a query's name. The user's own lists come first; in each kind what
    /// lets a name through counts more.
    pub fn verdict(&self, query: &Query, lists: u64) -> Verdict {
        self.verdict_of(lists, query.labels(), |skipped| query.from_label(skipped).1, || wire::shown(query.name()))
    }

    /// The same for a name in wire form and lower case.
    pub fn verdict_of_name(&self, name: &[u8], lists: u64) -> Verdict {
        let mut starts = Vec::new();
        let mut at = 0;
        while let Some(size) = name.get(at).filter(|size| **size > 0) {
            starts.push(at);
            at += usize::from(*size) + 1;
        }
        self.verdict_of(lists, starts.len(), |skipped| hash(&name[starts[skipped]..]), || wire::shown(name))
    }

    fn verdict_of(
        &self,
        lists: u64,
        labels: usize,
        hash: impl Fn(usize) -> u64,
        text: impl FnOnce() -> String,
    ) -> Verdict {
        if lists == 0 {
            return Verdict::Unlisted;
        }
        let mut blocked: Option<(u64, u8)> = None;
        let mut own_block: Option<(u64, u8)> = None;
        let (mut allow, mut own_allow) = (0, 0);
        if !self.hashes.is_empty() {
            for skipped in 0..labels {
                let Some(says) = self.find(hash(skipped)) else { continue };
                let here = skipped == 0;
                let block = (says.block_below | if here { says.block } else { 0 }) & lists;
                let allows = (says.allow_below | if here { says.allow } else { 0 }) & lists;
                let skipped = skipped as u8;
                if block & self.own != 0 {
                    own_block = own_block.or(Some((block & self.own, skipped)));
                }
                if block != 0 {
                    blocked = blocked.or(Some((block, skipped)));
                }
                own_allow |= allows & self.own;
                allow |= allows;
            }
        }
        if !self.of_expressions.is_empty() {
            for at in self.expressions.matches(&text()) {
                let (list, is_allow) = self.of_expressions[at];
                let bit = (1 << (list & 63)) & lists;
                match is_allow {
                    _ if bit == 0 => {}
                    true => {
                        allow |= bit;
                        own_allow |= bit & self.own;
                    }
                    false => {
                        blocked = blocked.or(Some((bit, 0)));
                        if bit & self.own != 0 {
                            own_block = own_block.or(Some((bit, 0)));
                        }
                    }
                }
            }
        }
        let by = |(bits, skipped): (u64, u8)| Verdict::Blocked { list: bits.trailing_zeros() as u8, skipped };
        match (own_allow, own_block, allow, blocked) {
            (1.., ..) => Verdict::Allowed,
            (_, Some(own), ..) => by(own),
            (_, _, 1.., Some(_)) => Verdict::Allowed,
            (_, _, _, Some(block)) => by(block),
            _ => Verdict::Unlisted,
        }
    }
}
