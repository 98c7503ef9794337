//! What is ready, and whose turn is next: the state of one board.
//! Waits for nothing and runs nothing.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use labwright_plan::ResourceId;

/// More workers would only wait for the same disk, dpkg or systemd.
pub const WORKERS: usize = 4;
/// Steps that only wait for something cost a thread each.
pub const WAITERS: usize = 64;
/// As many are prepared at the same time: what can be begun must not wait for them.
const PREPARERS: usize = 2;

/// What a worker does next.
pub enum Turn {
    Make(usize),
    Prepare(usize),
}

pub struct State<'a> {
    /// For each step, how many of its needs have not ended; needs elsewhere count.
    pub waiting: Vec<usize>,
    pub ready: BTreeSet<usize>,
    /// As `ready`: those that only wait for something, with how long the chain of steps behind each is. The longest is begun
    /// first: the last of all cannot come before it.
    pub ready_to_wait: BTreeSet<(Reverse<usize>, usize)>,
    pub chains: Vec<usize>,
    /// Which steps only wait, once somebody works on the board.
    pub waits: Vec<bool>,
    /// For each step that may be prepared: those of its needs that even that waits for. `None`: it may not, or its turn for it
    /// has come.
    pub unprepared: Vec<Option<Vec<&'a ResourceId>>>,
    pub ready_to_prepare: BTreeSet<(Reverse<usize>, usize)>,
    pub preparing: BTreeSet<usize>,
    pub prepared: BTreeSet<usize>,
    pub running: usize,
    /// How many workers are at something that is work, and how many wait.
    pub busy: usize,
    pub idle: usize,
    /// Why a step will not run, once that is known.
    pub doomed: HashMap<usize, String>,
    pub left: usize,
    pub stopped: Option<String>,
}

impl State<'_> {
    /// Before anybody works on the board; `waiting` says for each step how many of its needs have not ended.
    pub fn new(waiting: Vec<usize>) -> Self {
        let count = waiting.len();
        State {
            ready: (0..count).filter(|i| waiting[*i] == 0).collect(),
            waiting,
            ready_to_wait: BTreeSet::new(),
            chains: vec![0; count],
            waits: Vec::new(),
            unprepared: Vec::new(),
            ready_to_prepare: BTreeSet::new(),
            preparing: BTreeSet::new(),
            prepared: BTreeSet::new(),
            running: 0,
            busy: 0,
            idle: 0,
            doomed: HashMap::new(),
            left: count,
            stopped: None,
        }
    }

    pub fn make_ready(&mut self, step: usize) {
        self.unprepare(step);
        // It is ready once that has ended.
        if self.preparing.contains(&step) {
            return;
        }
        match self.waits.get(step) {
            Some(true) => self.ready_to_wait.insert((Reverse(self.chains[step]), step)),
            _ => self.ready.insert(step),
        };
    }

    /// It will not be prepared any more.
    pub fn unprepare(&mut self, step: usize) {
        if let Some(unprepared) = self.unprepared.get_mut(step) {
            *unprepared = None;
            self.ready_to_prepare.remove(&(Reverse(self.chains[step]), step));
        }
    }

    /// One of the needs of a step that may be prepared has ended.
    pub fn nearer(&mut self, step: usize, need: &ResourceId) {
        let Some(Some(left)) = self.unprepared.get_mut(step) else { return };
        left.retain(|other| *other != need);
        if left.is_empty() {
            self.unprepared[step] = None;
            self.ready_to_prepare.insert((Reverse(self.chains[step]), step));
        }
    }

    /// The next step that there is room for: what takes long by itself is begun first, and what can be begun comes before
    /// what can be prepared.
    pub fn next(&mut self) -> Option<Turn> {
        let wait = if self.idle < WAITERS { self.ready_to_wait.pop_first() } else { None };
        let make = wait.map(|(_, step)| step);
        let make = make.or_else(|| if self.busy < WORKERS { self.ready.pop_first() } else { None });
        make.map(Turn::Make).or_else(|| {
            let room = self.preparing.len() < PREPARERS;
            let (_, step) = room.then(|| self.ready_to_prepare.pop_first()).flatten()?;
            self.preparing.insert(step);
            Some(Turn::Prepare(step))
        })
    }

    /// How many steps could be begun now.
    pub fn room(&self) -> usize {
        let waits = self.ready_to_wait.len().min(WAITERS.saturating_sub(self.idle));
        let works = self.ready.len().min(WORKERS.saturating_sub(self.busy));
        waits + works + self.ready_to_prepare.len().min(PREPARERS.saturating_sub(self.preparing.len()))
    }
}
