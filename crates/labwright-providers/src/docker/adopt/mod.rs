//! Stacks that run already and become the lab's: what the lab would say of them, and how they are taken over as they run.
//! Makes no change itself; what it says is text for a person to read, and what it keeps is how things are.

mod entry;
mod given;
mod here;
mod keep;
mod rebuilt;

pub use entry::{Known, of_project};
pub use given::recognise;
pub use here::here;
pub use keep::keep;
