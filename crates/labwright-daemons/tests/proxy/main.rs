//! The roles of `labwright serve` as their users meet them: real clients (curl, openssl, h2load, dig, dnsperf), real upstreams
//! (nginx, unbound), a real directory (Pebble), a real browser (Chromium).

mod acme;
mod browser;
mod dns01;
mod doors;
mod exports;
mod faults;
mod handover;
mod http2;
mod resolver;
mod told;
mod world;
