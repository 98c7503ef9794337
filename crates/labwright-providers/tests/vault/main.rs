//! The provider `vault` from outside: what it makes of a lab, and what it does with a server.

mod lowering;
mod servers;
