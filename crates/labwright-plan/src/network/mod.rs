//! The network as one matrix: who may open which connection to whom, why, and what each host has to load for it.
//! Pure: everything here follows from the model alone.

pub mod allowed;
pub mod answer;
pub mod exposed;
pub mod flows;
pub mod known;
pub mod matrix;
pub mod nft;
pub mod parties;
pub mod ports;
pub mod ranges;
pub mod tailscale;
pub mod vpn_routes;
pub mod work_order;

mod derive;

pub use allowed::{Allowed, Try};
pub use matrix::{Grant, Matrix, Why, Withheld};
pub use parties::{End, Gate, Guard, HostParty, Parties, Party};
