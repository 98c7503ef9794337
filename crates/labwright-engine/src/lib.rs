//! When and in what order: observe, apply, agent, journal, locks.
