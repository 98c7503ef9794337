//! The resolver's own clock: seconds since it started, which no change of the machine's time disturbs.

use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Seconds. It begins at one, so that nothing has happened at zero.
    pub fn now(self) -> u32 {
        u32::try_from(self.0.elapsed().as_secs()).unwrap_or(u32::MAX - 1).saturating_add(1)
    }

    pub fn micros(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
