//! The one place that reads the clock.

use jiff::Timestamp;

pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A run's id: sorts by time and is readable, `20261120T120433.512Z`.
pub fn run_id() -> String {
    now().strftime("%Y%m%dT%H%M%S%.3fZ").to_string()
}
