//! Several sources of lines as one, by their times, while they come.
//! Holds a bounded number of each source: who is ahead waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many of one source are held.
const HELD: usize = 256;

/// What several threads put in and one takes out, in the order of its times.
pub struct Merge<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// How long one source may hold up what the others have.
    patience: Duration,
}

struct State<T> {
    sources: Vec<Source<T>>,
    closed: bool,
}

struct Source<T> {
    held: VecDeque<(i64, Instant, T)>,
    ended: bool,
}

impl<T> Merge<T> {
    pub fn new(sources: usize, patience: Duration) -> Self {
        let sources = (0..sources).map(|_| Source { held: VecDeque::new(), ended: false }).collect();
        Merge { state: Mutex::new(State { sources, closed: false }), changed: Condvar::new(), patience }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one in, as soon as there is room. False when nobody wants any more.
    pub fn push(&self, source: usize, at: i64, what: T) -> bool {
        let mut state = self.lock();
        while !state.closed && state.sources[source].held.len() >= HELD {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.closed {
            state.sources[source].held.push_back((at, Instant::now(), what));
            self.changed.notify_all();
        }
        !state.closed
    }

    /// Nothing more comes of this source.
    pub fn end(&self, source: usize) {
        self.lock().sources[source].ended = true;
        self.changed.notify_all();
    }

    /// Nobody wants any more; whoever waits is let go.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next ones by their times, at least one and at most `most`; none when all sources have ended.
    pub fn next(&self, most: usize) -> Vec<T> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        loop {
            if state.closed {
                return Vec::new();
            }
            match state.oldest(self.patience) {
                Oldest::Is(source) => {
                    taken.extend(state.sources[source].held.pop_front().map(|(.., what)| what));
                    if taken.len() == most {
                        break;
                    }
                }
                _ if !taken.is_empty() => break,
                Oldest::Over => break,
                Oldest::Wait(limit) => {
                    state = match limit {
                        None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                        Some(limit) => {
                            self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
                        }
                    };
                }
            }
        }
        // Whoever found no room may have some now.
        self.changed.notify_all();
        taken
    }
}

enum Oldest {
    Is(usize),
    /// For so long; `None`: until something comes.
    Wait(Option<Duration>),
    /// All sources have ended.
    Over,
}

impl<T> State<T> {
    fn oldest(&self, patience: Duration) -> Oldest {
        let heads = self.sources.iter().enumerate().filter_map(|(i, source)| Some((source.held.front()?, i)));
        let Some(((_, _, _), first)) = heads.clone().min_by_key(|((at, ..), i)| (*at, *i)) else {
            return if self.sources.iter().all(|source| source.ended) { Oldest::Over } else { Oldest::Wait(None) };
        };
        if self.sources.iter().all(|source| source.ended || !source.held.is_empty()) {
            return Oldest::Is(first);
        }
        let waited = heads.map(|((_, since, _), _)| since.elapsed()).max().unwrap_or_default();
        match patience.checked_sub(waited) {
            Some(left) if !left.is_zero() => Oldest::Wait(Some(left)),
            _ => Oldest::Is(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(merge: &Merge<i64>) -> Vec<i64> {
        let mut all = Vec::new();
        loop {
            match merge.next(3) {
                next if next.is_empty() => return all,
                next => all.extend(next),
            }
        }
    }

    #[test]
    fn two_sources_come_out_in_the_order_of_their_times_however_fast_they_are() {
        let merge = Merge::new(2, Duration::from_secs(60));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..5000).for_each(|at| assert!(merge.push(0, at * 2, at * 2)));
                merge.end(0);
            });
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                (0..5000).for_each(|at| assert!(merge.push(1, at * 2 + 1, at * 2 + 1)));
                merge.end(1);
            });
            assert_eq!(all(&merge), (0..10_000).collect::<Vec<_>>());
        });
    }

    #[test]
    fn who_says_nothing_holds_nobody_up_for_long() {
        let merge = Merge::new(2, Duration::from_millis(30));
        merge.push(0, 7, 7);
        let begun = Instant::now();
        assert_eq!(merge.next(10), [7]);
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for_and_closing_lets_everybody_go() {
        let merge = Merge::new(1, Duration::ZERO);
        std::thread::scope(|scope| {
            let pushing = scope.spawn(|| (0..).take_while(|at| merge.push(0, *at, *at)).count());
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(merge.lock().sources[0].held.len(), HELD);
            merge.close();
            assert_eq!(pushing.join().unwrap(), HELD);
        });
        assert!(merge.next(1).is_empty());
    }
}
