//! Rules about the platform's roles.

mod undecided_role;

pub use undecided_role::UndecidedRole;
