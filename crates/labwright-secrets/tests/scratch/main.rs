//! The secrets crate from outside: stores, keys, rules, envelopes, the disk.

#[path = "../secrets/support.rs"]
mod support;

#[path = "../secrets/canary.rs"]
mod canary;
#[path = "../secrets/disk.rs"]
mod disk;
#[path = "../secrets/edits.rs"]
mod edits;
#[path = "../secrets/envelopes.rs"]
mod envelopes;
#[path = "../secrets/errors.rs"]
mod errors;
#[path = "../secrets/interop.rs"]
mod interop;
#[path = "../secrets/keys.rs"]
mod keys;
#[path = "../secrets/properties.rs"]
mod properties;
#[path = "../secrets/rules.rs"]
mod rules;
#[path = "../secrets/stores.rs"]
mod stores;

