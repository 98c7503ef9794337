//! The host provider from the outside: from a lab to resources, and from resources to files on a real file system.
//! Nothing here changes this machine: whatever needs root or systemd is tested in containers.

mod files;
mod lowering;
mod running;
mod world;
