//! The SOPS store: names and values in one YAML or JSON file, encrypted value by value, as `sops` reads and writes it.
//! Touches no disk (see `file`) and no clock; what it does not change keeps every byte.

mod cipher;
mod document;
mod edit;
pub mod file;
mod json;
mod leaf;
mod meta;
mod opened;
mod plain;
pub(crate) mod syntax;
mod value;

pub use document::{Document, Name};
pub use opened::{Opened, Rekey};
pub use syntax::MAX_FILE_BYTES;
