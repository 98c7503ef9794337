//! Rules about services.

mod placement;

pub use placement::PlacementRule;
