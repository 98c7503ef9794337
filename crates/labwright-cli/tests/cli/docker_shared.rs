//! Containers that share only processes or memory with another, in whose place a new one is put.

use crate::docker::{CHECK, Dock, SERVE};

/// One that is shared, one that lives among its processes and has networks of its own, one that lives among that one's, one
/// that shares its memory.
fn lab(dock: &Dock, colour: &str, watch: &str) {
    dock.lab(&format!(
        "web:
  on: here
  containers:
    app: {{ image: \"REG/app:1\", environment: {{ COLOUR: {colour} }}, stop_grace_period: 1s, ipc: shareable }}
    watch: {{ image: \"REG/{watch}\", stop_grace_period: 1s, pid: \"service:app\", hostname: watcher, volumes: [\"data:/data\"] }}
    behind: {{ image: \"REG/app:1\", stop_grace_period: 1s, pid: \"service:watch\" }}
    memory: {{ image: \"REG/{watch}\", stop_grace_period: 1s, ipc: \"service:app\" }}"
    ));
}

#[test]
fn what_shares_processes_or_memory_comes_back_with_the_new_one() {
    let dock = Dock::new();
    let good = dock.engine.publish("app:1", &[SERVE, CHECK]).unwrap();
    dock.engine.publish("app:2", &[r#"CMD ["/bin/sh","-c","echo no such option; exit 3"]"#]).unwrap();
    lab(&dock, "red", "app:1");
    dock.apply().code(0);
    dock.settled();
    dock.engine.docker(&["exec", "web-watch-1", "touch", "/data/precious"]).unwrap();
    let all = ["web-app-1", "web-behind-1", "web-memory-1", "web-watch-1"];
    let shares = |mode: &str, container: &str, other: &str| {
        let found = dock.inspect(&format!("{{{{.HostConfig.{mode}}}}}"), container);
        assert_eq!(found, format!("container:{}", dock.inspect("{{.Id}}", other)), "{container}");
        assert_eq!(dock.inspect("{{.State.Running}}", container), "true", "{container}");
    };
    // What cannot be changed as asked comes back as it was in the same apply: its processes went with the old one.
    for colour in ["green", "blue"] {
        let before = dock.inspect("{{.Id}}", "web-app-1");
        lab(&dock, colour, "app:2");
        let ran = dock.apply().code(5).says("no such option").says("reverted");
        let ran = ran.says("making `web-watch-1` again as it was").says("making `web-memory-1` again as it was");
        ran.says("making `web-behind-1` again as it was").says("with the new one of what it lives with");
        assert_ne!(dock.inspect("{{.Id}}", "web-app-1"), before);
        shares("PidMode", "web-watch-1", "web-app-1");
        shares("PidMode", "web-behind-1", "web-watch-1");
        shares("IpcMode", "web-memory-1", "web-app-1");
        assert!(dock.inspect("{{.Config.Image}}", "web-watch-1").ends_with(&good));
        // Its networks are its own still: its name in them, its host name, what it keeps.
        assert_eq!(dock.inspect("{{.Config.Hostname}}", "web-watch-1"), "watcher");
        let ping = ["exec", "web-app-1", "/bin/busybox", "ping", "-c1", "-W2", "watch"];
        dock.engine.docker(&ping).unwrap();
        dock.engine.docker(&["exec", "web-watch-1", "ls", "/data/precious"]).unwrap();
        // It sees the processes of the other.
        let seen = dock.engine.docker(&["exec", "web-watch-1", "/bin/busybox", "cat", "/proc/1/environ"]).unwrap();
        assert!(seen.contains(&format!("COLOUR={colour}")), "{seen}");
        let printed = dock.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]).unwrap();
        let mut names: Vec<&str> = printed.lines().collect();
        names.sort_unstable();
        assert_eq!(names, all);
    }
    // One that somebody stopped before stays so.
    dock.engine.docker(&["stop", "-t", "0", "web-watch-1"]).unwrap();
    lab(&dock, "white", "app:2");
    dock.apply().code(5).says("reverted");
    assert_eq!(dock.inspect("{{.State.Running}}", "web-watch-1"), "false");
    lab(&dock, "white", "app:1");
    dock.apply().code(0);
    dock.settled();
    shares("PidMode", "web-watch-1", "web-app-1");
}
