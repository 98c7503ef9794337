//! Work that does not depend on its neighbours, shared out among the processor's cores.
//! Knows nothing of labs. What comes back is in the order of what went in, whichever thread did it.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Threads beyond this many are begun for longer than they have work.
const MOST: usize = 4;

/// What `work` makes of each item, in their order. Each thread takes the next item that nobody has taken yet. A panic of
/// `work` is passed on.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let take = || {
        let taken = || {
            let place = next.fetch_add(1, Ordering::Relaxed);
            items.get(place).map(|item| (place, item))
        };
        std::iter::from_fn(taken).map(|(place, item)| (place, work(item))).collect::<Vec<_>>()
    };
    let mut done = thread::scope(|scope| {
        let others = cores.min(items.len()).min(MOST).saturating_sub(1);
        let others: Vec<_> = (0..others).map(|_| scope.spawn(take)).collect();
        let mut done = take();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        // The first are the longest, so that others overtake them.
        let work = |item: &usize| (0..1000 - item).fold(*item, |sum, more| sum.wrapping_add(more));
        assert_eq!(side_by_side(&items, work), items.iter().map(work).collect::<Vec<_>>());
        assert_eq!(side_by_side(&[] as &[usize], work), Vec::<usize>::new());
    }

    #[test]
    #[should_panic(expected = "the seventh")]
    fn a_panic_is_passed_on() {
        side_by_side(&[7, 8], |item| assert!(*item != 7, "the seventh"));
    }
}
