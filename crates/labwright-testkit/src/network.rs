//! A network of its own: a bridge in one namespace, the controller and each host in others, at 10.99.0.0/24.
//! There is no way out: no route, no address and no interface in the machine's own namespace.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{process, thread};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::run::{feed, run, tool};

pub(crate) const CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Where `ip netns add` puts the names.
pub(crate) const NAMES: &str = "/run/netns";

pub(crate) fn path(namespace: &str) -> PathBuf {
    Path::new(NAMES).join(namespace)
}

/// Makes the namespace of the bridge.
pub(crate) fn make_switch(switch: &str) -> Result<()> {
    run(tool("ip").args(["netns", "add", switch]))?;
    batch(switch, "link set lo up\nlink add br0 type bridge\nlink set br0 up\n")
}

/// Makes `namespace` with an `eth0` at `address` that is plugged into the bridge as `port`.
pub(crate) fn attach(switch: &str, port: &str, namespace: &str, address: Ipv4Addr) -> Result<()> {
    run(tool("ip").args(["netns", "add", namespace]))?;
    batch(
        switch,
        &format!("link add {port} type veth peer name eth0 netns {namespace}\nlink set {port} master br0 up\n"),
    )?;
    batch(namespace, &format!("link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\n"))
}

/// Pulls the cable: packets get lost and nobody refuses a connection, as with a machine that is off.
pub(crate) fn unplug(switch: &str, port: &str, controller: &str) -> Result<()> {
    batch(switch, &format!("link set {port} down\n"))?;
    // Else the controller would trust for some seconds that it still knows where the host is.
    batch(controller, "neigh flush dev eth0\n")
}

pub(crate) fn plug(switch: &str, port: &str) -> Result<()> {
    batch(switch, &format!("link set {port} up\n"))
}

/// The pids of the processes in any of the namespaces, this one never among them.
pub(crate) fn processes(namespaces: &[String]) -> Vec<i32> {
    let inode = |path: &Path| fs::metadata(path).ok().map(|file| file.ino());
    let wanted: Vec<u64> = namespaces.iter().filter_map(|name| inode(&path(name))).collect();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_in =
        |pid: &u32| inode(Path::new(&format!("/proc/{pid}/ns/net"))).is_some_and(|inode| wanted.contains(&inode));
    let others = pids.filter(|pid| *pid != process::id()).filter(is_in);
    others.filter_map(|pid| i32::try_from(pid).ok()).collect()
}

fn batch(namespace: &str, lines: &str) -> Result<()> {
    feed(tool("ip").args(["-n", namespace, "-batch", "-"]), lines.as_bytes())
        .map(drop)
        .with_context(|| format!("set up namespace `{namespace}`"))
}

/// Does `work` on a thread inside the namespace. Sockets made there stay in it, on whatever thread they are used.
pub(crate) fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let enter_and_work = || {
        enter(&path(namespace))?;
        work()
    };
    thread::scope(|scope| scope.spawn(enter_and_work).join())
        .unwrap_or_else(|_| Err(anyhow!("work in namespace `{namespace}`: it panicked")))
}

/// Takes this thread, and those that it starts, into a network namespace for good.
pub(crate) fn enter(namespace: &Path) -> Result<()> {
    let file = File::open(namespace).with_context(|| format!("open namespace `{}`", namespace.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("enter namespace `{}`", namespace.display()))
}
