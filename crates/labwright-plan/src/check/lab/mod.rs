//! Rules about the lab as a whole: names and circles.

mod ambiguous_name;
mod cycle;
mod name_form;
mod renamed_from;
mod tier;
mod unknown_name;

pub use ambiguous_name::AmbiguousName;
pub use cycle::Cycle;
pub use name_form::NameForm;
pub use renamed_from::RenamedFrom;
pub use tier::EverythingIsLab;
pub use unknown_name::{UnknownName, misspelt_hosts};
