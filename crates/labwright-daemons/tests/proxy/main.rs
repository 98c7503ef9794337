//! The roles of `labwright serve` as their users meet them: real clients (curl, openssl, h2load, dig, dnsperf), real upstreams
//! (nginx, unbound), a real directory (Pebble).

mod acme;
mod dns01;
mod doors;
mod exports;
mod faults;
mod handover;
mod resolver;
mod world;
