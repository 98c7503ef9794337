//! Rules about services.

use super::containers::containers;

mod hidden_dependency;
mod mixed_stack;
mod moving_image;
mod placement;
mod powers;
mod production;
mod shared_tag;
mod unprobed;
mod unprotected;

pub(super) mod backing;
pub(super) mod state;
pub(super) mod told;

pub use hidden_dependency::HiddenDependency;
pub use mixed_stack::MixedStack;
pub use moving_image::MovingImage;
pub use placement::PlacementRule;
pub use powers::Powers;
pub use production::Production;
pub use shared_tag::SharedTag;
pub(super) use state::{State, state};
pub use unprobed::Unprobed;
pub use unprotected::Unprotected;

/// Whether a placed service says, or its containers show, that it keeps nothing.
pub fn keeps_nothing(parsed: &labwright_model::Parsed, placement: &labwright_model::Placement) -> bool {
    let says = placement.entry.catalogue.is_some() || !placement.entry.containers.0.is_null();
    let service = ["services", placement.service.as_str()];
    let said = parsed.span_of(&[&service[..], &["data"]].concat()) != parsed.span_of(&service);
    (says || said) && state::state(parsed, placement) == state::State::Nothing
}

/// Whether all images of a service are named by digest, and not only by a tag.
pub fn names_digests(parsed: &labwright_model::Parsed, placement: &labwright_model::Placement) -> bool {
    containers(parsed, placement).all(|container| container.image().is_some_and(|image| image.has_digest))
}
