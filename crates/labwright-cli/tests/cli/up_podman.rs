//! A lab on this machine whose engine is Podman, which speaks Docker's language at its socket.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::up::until;
use crate::world::{Desk, Ran};

/// Podman's service in namespaces of its own, with a lab beside it.
struct Pod {
    desk: Desk,
    holder: Child,
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(self.run("labwright", &["down", "--kill"]));
        drop(self.run("podman", &["rm", "--all", "--force", "--time", "0"]));
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

impl Pod {
    fn new(lab: &str) -> Pod {
        for (program, package) in [
            ("/usr/bin/podman", "podman"),
            ("/usr/lib/podman/netavark", "netavark"),
            ("/usr/lib/podman/aardvark-dns", "aardvark-dns"),
        ] {
            assert!(std::path::Path::new(program).exists(), "needs the package `{package}`: run scripts/test-deps");
        }
        let desk = Desk::new(&format!(
            "lab: test\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{lab}"
        ));
        desk.write(
            "containers.conf",
            "[network]\nnetwork_backend = \"netavark\"\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n",
        );
        let at = |name: &str| desk.path(name).display().to_string();
        let script = format!(
            "ip link set lo up && mkdir -p {0} && mount -t tmpfs tmpfs /run && mkdir -p /run/lock && exec podman --root {1} --runroot {0} \
             --network-config-dir {2} system service --time 0 unix://{3}",
            at("pods/run"),
            at("pods/root"),
            at("pods/net"),
            at("podman.sock")
        );
        let log = std::fs::File::create(desk.path("podman.log")).unwrap();
        let holder = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script])
            .env("CONTAINERS_CONF", at("containers.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let pod = Pod { desk, holder };
        until("Podman answers", || pod.run("docker", &["version"]).code == 0);
        pod
    }

    fn inside(&self) -> Command {
        let children = format!("/proc/{0}/task/{0}/children", self.holder.id());
        let child =
            std::fs::read_to_string(children).unwrap().split_whitespace().next().unwrap_or_default().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &child, "--net", "--mount", "--pid", "--", "env", "-C"]).arg(self.desk.dir.path());
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Ran {
        let at = |name: &str| self.desk.path(name).display().to_string();
        let mut command = self.inside();
        match program {
            "labwright" => command.arg(env!("CARGO_BIN_EXE_labwright")),
            "podman" => command.args([
                "podman",
                "--root",
                &at("pods/root"),
                "--runroot",
                &at("pods/run"),
                "--network-config-dir",
                &at("pods/net"),
            ]),
            other => command.arg(other),
        };
        command.args(args).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", at("home")).env("COLUMNS", "160").env("LABWRIGHT_STATE_DIR", at("state"));
        command.env("CONTAINERS_CONF", at("containers.conf"));
        // Found where Podman of a user has its socket, without a word.
        match program {
            "labwright" => command.env("XDG_RUNTIME_DIR", at("user")),
            _ => command.env("DOCKER_HOST", format!("unix://{}", at("podman.sock"))),
        };
        command.stdin(Stdio::null()).output().unwrap().into()
    }

    fn container(&self, unit: &str) -> String {
        self.run("docker", &["ps", "-q", "--filter", &format!("name={unit}-up-[0-9a-f]*-app-1")]).out.trim().to_string()
    }

    fn reaches(&self, container: &str, address: &str) -> bool {
        self.run("docker", &["exec", container, "/bin/nc", "-w", "1", address, "80", "-e", "/bin/sleep", "0"]).code == 0
    }
}

fn image(pod: &Pod) {
    let root: PathBuf = pod.desk.path("image");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in ["sh", "sleep", "cat", "nc", "httpd", "wget"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let tar = pod.desk.path("image.tar").display().to_string();
    assert!(Command::new("tar").arg("-C").arg(&root).args(["-cf", &tar, "."]).status().unwrap().success());
    pod.run("docker", &["import", &tar, "docker.io/library/pages:1"]).code(0);
}

#[test]
fn podman_runs_what_docker_does_and_whoever_is_needed_is_found() {
    let serve = "command: [/bin/sh, -c, \"trap 'exit 0' TERM; httpd -f -p 80 -h / & wait\"]";
    let pod = Pod::new(&format!(
        "  own: {{ on: box, run: {{ command: [python3, -m, http.server, --bind, 127.0.0.1, \"${{port}}\"] }} }}\n\
         \x20 web: {{ on: box, containers: {{ app: {{ image: docker.io/library/pages:1, {serve}, volumes: [\"data:/data\"] }}, side: {{ image: docker.io/library/pages:1, {serve} }} }}, port: app:80 }}\n\
         \x20 api: {{ on: box, needs: [web, own], containers: {{ app: {{ image: docker.io/library/pages:1, {serve}, environment: {{ OWN: \"${{service.own.url}}\" }} }} }} }}\n\
         \x20 alone: {{ on: box, containers: {{ app: {{ image: docker.io/library/pages:1, {serve} }} }} }}\n"
    ));
    image(&pod);
    std::fs::create_dir_all(pod.desk.path("user/podman")).unwrap();
    std::os::unix::fs::symlink(pod.desk.path("podman.sock"), pod.desk.path("user/podman/podman.sock")).unwrap();
    pod.run("labwright", &["up", "--wait"]).code(0).says("4 of 4 are well").says_not("do not reach");
    let (api, alone) = (pod.container("api"), pod.container("alone"));
    assert!(pod.reaches(&api, "web"));
    let web = pod.container("web");
    assert!(pod.reaches(&web, "side"), "in one service they meet");
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let addresses = pod.run("docker", &["inspect", "-f", format, &web]).out;
    for address in addresses.split_whitespace() {
        assert!(!pod.reaches(&alone, address), "{address}");
    }
    let hosts = |container: &str| pod.run("docker", &["exec", container, "/bin/cat", "/etc/hosts"]).out;
    assert!(!hosts(&alone).contains("web") && !hosts(&alone).contains("\town"), "{}", hosts(&alone));
    assert!(!hosts(&api).contains("side"), "{}", hosts(&api));
    let gateway =
        hosts(&api).lines().find(|line| line.ends_with("\town")).unwrap().split('\t').next().unwrap().to_string();
    let url = pod.run("docker", &["exec", &api, "/bin/sh", "-c", "echo $OWN"]).out;
    let url = url.trim().replace("own", &gateway);
    pod.run("docker", &["exec", &api, "/bin/wget", "-q", "-O-", &url]).code(0).says("Directory listing");
    assert_ne!(pod.run("docker", &["exec", &alone, "/bin/wget", "-q", "-O-", &url]).code, 0);
    pod.run("labwright", &["stop", "web"]).code(0).says("`api` needs `web`, and goes on without");
    pod.run("labwright", &["start", "web"]).code(0).says("web: ready");
    until("what is made anew is found again", || pod.reaches(&api, "web"));
    pod.run("labwright", &["down"]).code(0);
    assert_eq!(pod.run("docker", &["ps", "-aq"]).out, "");
    assert_eq!(pod.run("docker", &["network", "ls", "-q", "--filter", "label=dev.labwright.up"]).out, "");
}
