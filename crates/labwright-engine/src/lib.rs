//! When, and in what order: observe everything, apply a plan, remember what was done.
//!
//! Knows no product: providers are handed in. Threads and blocking I/O; a link is one connection and one channel.

pub mod agent;
mod apply;
mod clock;
mod confirm;
mod fleet;
mod frame;
pub mod history;
mod link;
mod merge;
pub mod protocol;
mod running;

pub use apply::{Outcomes, Sink, Stop, Terms, apply};
pub use clock::{now, run_id};
pub use fleet::{Answers, Fleet, Letters, Target, Way, break_leases, leases, observe};
pub use link::Address;
pub use running::{Fared, Said, StopLogs, Word, ask, exec, found, logs, running};
