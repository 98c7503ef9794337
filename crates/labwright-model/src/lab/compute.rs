//! Compute: physical hosts, hypervisors, virtual machines, container hosts.

use std::net::IpAddr;

use super::host_state::{Authorized, Directory, File, Group, Mount, Sshd, Symlink, Unit, User};
use super::interface::Interface;
use super::network::Firewall;
use super::platform::Tier;
use crate::decode::{Many, Table, choice, or_string, section};
use crate::span::Spanned;
use crate::tree::Kind;
use crate::units::{Period, Schedule, Size};

section! {
    /// What services run on.
    pub struct Compute {
        /// Hosts that are Proxmox hypervisors.
        proxmox: Many<Spanned<String>>,
        /// Hosts that run containers.
        docker_hosts: Many<Spanned<String>>,
        /// Every machine of the lab.
        hosts: Table<Host>,
        /// Rings of updates: the first ring first, each after the one before it has proven well.
        updates: Table<UpdateRing>,
        /// How long a change that may cut the way to a host waits for a new connection to confirm it. Without one it goes
        /// back by itself.
        confirm_within: Period = Period(std::time::Duration::from_secs(90)),
    }
}

section! {
    /// Hosts that are updated together.
    pub struct UpdateRing {
        /// The hosts, with the services on them.
        hosts: Many<Spanned<String>>,
        /// When it is their turn.
        schedule: Option<Spanned<Schedule>>,
        /// What is updated.
        what: Many<UpdateKind> = Many(vec![UpdateKind::Packages, UpdateKind::Images]),
        /// How long the ring before must have been well.
        wait: Period = Period(std::time::Duration::from_secs(86400)),
        /// Whether a snapshot is taken first, where there is a hypervisor to take one.
        snapshot: bool = true,
    }
    required ["hosts"]
}

choice! {
    /// What an update brings up to date.
    pub enum UpdateKind {
        /// The host's own packages.
        Packages = "packages",
        /// The images of containers.
        Images = "images",
        /// What else the lab pins by version: catalogue entries, flakes, plugins.
        Dependencies = "dependencies",
    }
}

section! {
    /// A machine: physical, virtual or rented.
    pub struct Host {
        /// The zone that the host is in.
        zone: Option<Spanned<String>>,
        /// Names that it had before: what the lab owns there under one of them stays the lab's, and is not touched. Needed for
        /// one `labwright apply`; it may stay for as long as you like.
        renamed_from: Many<Spanned<String>>,
        /// Its addresses, the preferred one first; they are tried in this order.
        address: Many<Spanned<IpAddr>>,
        /// Where it stands: a building, a provider. Hosts of one site fail together.
        site: Option<Spanned<String>>,
        /// What else it fails together with: a power strip, a disk shelf.
        failure_domain: Many<Spanned<String>>,
        /// Who answers for it; the lab's owner when absent.
        owner: Option<Spanned<String>>,
        /// From whom the machine is rented, where its hardware is somebody else's.
        provider: Option<Spanned<String>>,
        /// `lab` for experiments, `production` for what people rely on.
        tier: Tier = Tier::Lab,
        /// What it is for, in a few words.
        description: Option<String>,
        /// Words to select hosts by: `labwright apply --tag WORD`.
        tags: Many<Spanned<String>>,
        /// The operating system.
        os: Os = Os::Debian,
        /// The processor cores that it has, for a machine that others run on.
        cores: Option<Spanned<u16>>,
        /// The memory that it has, for a machine that others run on.
        memory: Option<Spanned<Size>>,
        /// The disk space that it has, for a machine that others run on.
        disk: Option<Spanned<Size>>,
        /// The flake that describes a NixOS host.
        flake: Option<Spanned<String>>,
        /// Being away is normal for it (a laptop): skipped when unreachable and shown as debt.
        intermittent: bool,
        /// This is the machine that labwright runs on: no SSH, the agent runs in process.
        local: bool,
        /// The zones it routes between, for a router.
        routes: Many<Spanned<String>>,
        /// Whether it denies what no flow allows; as `network` says when absent.
        firewall: Option<Spanned<Firewall>>,
        /// The policy by which the whole machine is copied, services and all.
        backup: Option<Spanned<String>>,
        /// How to bring it back, in words.
        restore_notes: Option<String>,
        /// The virtual machine that the host is.
        vm: Option<Guest>,
        /// The Linux container on a hypervisor that the host is.
        lxc: Option<Guest>,
        /// How it is reached.
        ssh: Ssh,
        /// The host name it gives itself; its name in the lab when absent and anything else is set on it.
        hostname: Option<Spanned<String>>,
        /// Debian packages that are installed.
        packages: Many<Spanned<String>>,
        /// Groups, by name.
        groups: Table<Group>,
        /// Users, by name.
        users: Table<User>,
        /// SSH keys that may log in, by user, for users that the lab does not own.
        authorized_keys: Table<Authorized>,
        /// Directories, by path.
        directories: Table<Directory>,
        /// Files, by path.
        files: Table<File>,
        /// Symbolic links, by path.
        symlinks: Table<Symlink>,
        /// Systemd units, by name.
        units: Table<Unit>,
        /// File systems that are mounted, by path.
        mounts: Table<Mount>,
        /// Network interfaces whose addresses and routes the lab sets, by the name that the kernel gives them. A change that
        /// cuts the host off goes back by itself.
        interfaces: Table<Interface>,
        /// Kernel parameters, by name.
        sysctl: Table<Sysctl>,
        /// The socket that its Docker engine listens at, where that is not `/var/run/docker.sock`.
        docker_socket: Option<Spanned<String>>,
        /// Hardening of the SSH server.
        sshd: Option<Spanned<Sshd>>,
    }
}

choice! {
    /// The operating system of a host.
    pub enum Os {
        Debian = "debian",
        Ubuntu = "ubuntu",
        Nixos = "nixos",
        Proxmox = "proxmox",
        /// Labwright changes nothing on it.
        Other = "other",
    }
}

section! {
    /// A kernel parameter's value; its short form is the value.
    pub struct Sysctl {
        /// The value, as `sysctl` prints it.
        value: Spanned<String>,
    }
    required ["value"]
    short (node, decoder) {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(Sysctl { value: Spanned::new(text.clone(), node.span) }),
            _ => decoder.wrong(node, "a kernel parameter's value"),
        }
    }
    schema or_string
}

section! {
    /// A virtual machine or container on a hypervisor.
    pub struct Guest {
        /// The hypervisor it runs on.
        on: Option<Spanned<String>>,
        /// The image or template it is made from.
        image: Option<Spanned<String>>,
        /// Processor cores.
        cores: u16 = 1,
        /// Memory.
        memory: Size = Size(1 << 30),
        /// The size of its first disk.
        disk: Size = Size(8 << 30),
        /// The storage that the disk is on.
        storage: Option<Spanned<String>>,
        /// Whether it starts with its hypervisor.
        autostart: bool = true,
        /// Devices passed through, by slot: `usb0: 1cf1:0030`.
        devices: Table<String>,
        /// The hypervisor's id of it, where it matters.
        id: Option<Spanned<u32>>,
    }
    required ["on"]
}

section! {
    /// How a host is reached. The user's own SSH configuration holds; this adds to it.
    pub struct Ssh {
        /// The user to log in as; root, or one that may use `sudo` without a password.
        user: Option<Spanned<String>>,
        /// The port of the SSH server.
        port: Option<Spanned<u16>>,
        /// Hosts to go through, first one first: names of the lab, or `user@host:port`.
        jump: Many<Spanned<String>>,
        /// A private key to log in with, as a path on this machine.
        identity: Option<Spanned<String>>,
        /// How long a change that may cut this way waits for its confirmation; as `compute.confirm_within` when absent.
        confirm_within: Option<Spanned<Period>>,
        /// The host's public key, `ssh-ed25519 AAAA…`, so that even the first connection is checked.
        host_key: Many<Spanned<String>>,
    }
}
