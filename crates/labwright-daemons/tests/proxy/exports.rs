//! The same doors for other proxies, read by those themselves.

use std::process::Command;

use labwright_daemons::proxy::export::{caddy, traefik};
use labwright_model::snapshot::proxy::{Acme, Answer, Auth, Forward, Port, Route, Upstreams};

use crate::world::{Daemon, site, site_of, tool};

#[test]
fn caddy_reads_its_file_and_traefiks_is_whole() {
    let daemon = Daemon::start();
    let mut full = site("full", &["http://10.0.0.1:80".into(), "http://10.0.0.2:80".into()]);
    full.names.push("*.apps.lab.test".into());
    full.from = Some(vec![labwright_model::units::Subnet("10.0.0.0/8".parse().unwrap())]);
    full.auth = Auth { forward: true, ..Auth::default() };
    (full.hsts, full.limits.body, full.limits.rate) = (Some(60), Some(1 << 20), Some(5));
    let answer = site("other", &["https://10.0.0.3:8443".into()]).answer;
    full.routes = vec![Route { headers: [("x-mode".to_string(), "micro".to_string())].into(), answer }];
    let mut through = site("through", &["https://10.0.0.4:443".into()]);
    through.passthrough = true;
    let sites = vec![
        full,
        through,
        site_of("pages", Answer::Folder("/srv/pages".into())),
        site_of("nowhere", Answer::Nothing("nothing says which port".into())),
    ];
    let mut snapshot = daemon.snapshot(sites);
    snapshot.forward = Some(Forward {
        to: Upstreams { service: "auth".into(), urls: vec!["http://10.0.0.5:9091".into()], ..Default::default() },
        path: "/api/authz/forward-auth".into(),
        pass: vec![],
        headers: vec!["Remote-User".into()],
    });
    snapshot.ports = vec![Port {
        service: "db".into(),
        port: 5432,
        to: vec!["10.0.0.6:5432".into()],
        from: None,
        proxy_protocol: false,
    }];
    for acme in [None, Some("https://acme.test/dir")] {
        snapshot.certificates.acme = acme.map(|directory| Acme {
            directory: directory.into(),
            email: Some("ada@lab.test".into()),
            directory_ca: None,
            wildcard: vec![],
            dns: None,
            binding: None,
        });
        let file = daemon.folder.path().join("Caddyfile");
        std::fs::write(&file, caddy(&snapshot)).unwrap();
        let read = Command::new(tool("caddy", "caddy"))
            .args(["adapt", "--adapter", "caddyfile", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success(), "{said}\n{}", caddy(&snapshot));
        let adapted = String::from_utf8(read.stdout).unwrap();
        for part in ["10.0.0.1:80", "10.0.0.3:8443", "x-mode", "/srv/pages", "Remote-User", "max-age=60"] {
            assert!(adapted.to_ascii_lowercase().contains(&part.to_ascii_lowercase()), "{part} is not in {adapted}");
        }
        let text = traefik(&snapshot);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let router = &value["http"]["routers"]["full-lab-test"];
        assert_eq!(router["rule"], "Host(`full.lab.test`) || HostRegexp(`^[^.]+\\.apps\\.lab\\.test$`)");
        let used: Vec<&str> = router["middlewares"].as_array().unwrap().iter().filter_map(|one| one.as_str()).collect();
        assert!(used.iter().all(|name| value["http"]["middlewares"].get(name).is_some()), "{text}");
        assert_eq!(value["tcp"]["routers"]["through-lab-test"]["tls"]["passthrough"], true);
        assert_eq!(value["x-labwright"]["left out"].as_array().unwrap().len(), 2, "{text}");
    }
}
