//! Values as text: findings, plans, results. One place for each.
//! Prints nothing; the commands do.

pub mod assess;
pub mod blast;
pub mod diff;
pub mod findings;
pub mod lines;
pub mod markdown;
pub mod network;
pub mod plan;
pub mod progress;
pub mod rehearsal;
pub mod status;
pub mod table;
pub mod yaml;
