//! Rules about services.

mod hidden_dependency;
mod mixed_stack;
mod moving_image;
mod placement;
mod powers;
mod production;
mod shared_tag;
mod unprobed;
mod unprotected;

mod backing;
mod stack;
mod state;
pub(super) mod told;

pub use hidden_dependency::HiddenDependency;
pub use mixed_stack::MixedStack;
pub use moving_image::MovingImage;
pub use placement::PlacementRule;
pub use powers::Powers;
pub use production::Production;
pub use shared_tag::SharedTag;
pub use unprobed::Unprobed;
pub use unprotected::Unprotected;
