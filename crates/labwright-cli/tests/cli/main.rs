//! The program as its user runs it: offline, on this machine, and on real hosts over SSH.

mod faults;
mod hosts;
mod kills;
mod local;
mod offline;
mod systemd;
mod world;
