//! The proxy as its users meet it: real clients (curl, openssl, h2load), real upstreams (nginx), a real directory (Pebble).

mod acme;
mod dns01;
mod doors;
mod exports;
mod faults;
mod handover;
mod world;
