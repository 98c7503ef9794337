//! The secrets crate from outside: stores, keys, rules, envelopes, the disk.

mod support;

mod canary;
mod disk;
mod edits;
mod envelopes;
mod errors;
mod generate;
mod interop;
mod keys;
mod properties;
mod rules;
mod stores;
mod vault;
