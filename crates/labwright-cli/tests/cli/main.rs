//! The program as its user runs it: offline, on this machine, and on real hosts over SSH.

mod adoption;
mod answers;
mod canary;
mod clocks;
mod docker;
mod editor;
mod examples;
mod faults;
mod hosts;
mod json;
mod kills;
mod local;
mod looking;
mod offline;
mod secrets;
mod secrets_hosts;
mod secrets_kills;
mod stacks;
mod systemd;
mod trace;
mod traced;
mod vault;
mod vault_pair;
mod world;
