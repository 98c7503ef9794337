//! A lab: a network of its own with a controller in it, to which a test adds hosts. Dropping it ends and removes everything.
//! How a host of each kind is started is in `light` and `systemd`.

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::host::{Host, POWER_OFF, Shared};
use crate::http::Server;
use crate::network::CONTROLLER;
use crate::options::{HostOptions, Kind};
use crate::site::Site;
use crate::{leftovers, light, missing, network, seed, systemd};

/// The first host is 10.99.0.11.
const FIRST_ADDRESS: u8 = 11;
const LAST_ADDRESS: u8 = 250;

/// A private network for one test. Hosts may be started on several threads at once.
#[derive(Debug)]
pub struct TestLab {
    site: Arc<Site>,
    next_address: AtomicU8,
    hosts: Mutex<Vec<Host>>,
    servers: Mutex<Vec<Arc<Server>>>,
}

impl TestLab {
    /// Makes the network and the controller's keys and files, after it has removed what labs of killed processes left.
    /// Fails, naming all that is missing, where a tool is not installed.
    pub fn new() -> Result<Self> {
        missing::check()?;
        leftovers::sweep();
        let (id, dir) = leftovers::new_lab()?;
        Self::build(&id, &dir).inspect_err(|_| {
            let _ = leftovers::remove(&id);
        })
    }

    fn build(id: &str, dir: &Path) -> Result<Self> {
        let site = Site::new(id.to_owned(), dir.to_owned())?;
        network::make_switch(&site.switch())?;
        network::attach(&site.switch(), "ctl", &site.controller(), CONTROLLER)?;
        let next_address = AtomicU8::new(FIRST_ADDRESS);
        Ok(Self { site: Arc::new(site), next_address, hosts: Mutex::default(), servers: Mutex::default() })
    }

    /// The lab's own folder; it goes with the lab.
    pub fn dir(&self) -> &Path {
        &self.site.dir
    }

    /// What to give to `ssh -F`: one `Host` entry for each host of the lab.
    pub fn ssh_config(&self) -> &Path {
        &self.site.ssh_config
    }

    pub fn known_hosts(&self) -> &Path {
        &self.site.known_hosts
    }

    /// A command that runs on the controller: in its network namespace, with PATH, LANG=C.UTF-8 and HOME=`<dir>/home` as its
    /// whole environment. The mounts and processes are the machine's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.site.command(program)
    }

    /// A host without systemd: sshd on an overlay of this machine's programs, /etc and /var. Fast; each has its own packages,
    /// users, files, processes, and network. See [`TestLab::light_host_with`].
    pub fn light_host(&self, name: &str) -> Result<Host> {
        self.light_host_with(name, HostOptions::new())
    }

    pub fn light_host_with(&self, name: &str, options: HostOptions) -> Result<Host> {
        self.start(name, Kind::Light, &options)
    }

    /// A Debian 12 host with systemd, in systemd-nspawn. The first one on a machine makes the root file system (20 to 60 s).
    pub fn systemd_host(&self, name: &str) -> Result<Host> {
        self.systemd_host_with(name, HostOptions::new())
    }

    pub fn systemd_host_with(&self, name: &str, options: HostOptions) -> Result<Host> {
        self.start(name, Kind::Systemd, &options)
    }

    fn start(&self, name: &str, kind: Kind, options: &HostOptions) -> Result<Host> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            (1..=32).contains(&name.len()) && name.bytes().all(is_plain),
            "name a host `{name}`: 1 to 32 of a-z, 0-9 and -"
        );
        options.check(kind)?;
        let dir = self.dir().join("hosts").join(name);
        fs::create_dir(&dir).with_context(|| format!("make folder of host `{name}`: is there one of that name?"))?;
        let number = self.next_address.fetch_add(1, Ordering::Relaxed);
        ensure!(number <= LAST_ADDRESS, "start host `{name}`: the lab has no more addresses");

        let address = Ipv4Addr::new(10, 99, 0, number);
        let (plug, namespace) = (format!("h{number}"), format!("{}-h{number}", self.site.id));
        network::attach(&self.site.switch(), &plug, &namespace, address)?;
        let public_key = seed::write(&dir, name, kind, options, &self.site.key())?;
        self.site.add_to_ssh_config(name, address, options.port, options.user_name())?;
        self.site.trust(address, options.port, &public_key)?;
        let cell = match kind {
            Kind::Light => light::start(&dir, name, &namespace, options)?,
            Kind::Systemd => systemd::start(&dir, name, &format!("{}-{name}", self.site.id), &namespace, options)?,
        };
        let host = Host(Arc::new(Shared {
            name: name.to_owned(),
            kind,
            address,
            port: options.port,
            disk_is_limited: options.disk_mib.is_some(),
            plug,
            dir,
            site: Arc::clone(&self.site),
            cell: Mutex::new(Some(cell)),
        }));
        // Before the wait, so that a host that does not come up is ended with the lab like any other.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(host.clone());
        host.wait_until_ready()?;
        Ok(host)
    }

    /// Serves the files in `folder` over HTTP at the controller's address until the lab is dropped.
    pub(crate) fn serve(&self, port: u16, folder: &Path) -> Result<()> {
        let server = Server::start(&self.site.controller(), (CONTROLLER, port).into(), folder)?;
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(server));
        Ok(())
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let hosts = self.hosts.get_mut().unwrap_or_else(PoisonError::into_inner);
        // All are asked first, so that they power off at the same time.
        hosts.iter().for_each(Host::ask_to_power_off);
        let deadline = Instant::now() + POWER_OFF;
        hosts.iter().for_each(|host| host.end_by(deadline));
        self.servers.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        // Nobody could act on an error here; what is left is swept by the next lab after this process.
        let _ = leftovers::remove(&self.site.id);
    }
}
