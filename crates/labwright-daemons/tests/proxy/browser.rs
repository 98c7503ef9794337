//! A real browser on a name of the lab: it opens the page where it trusts the lab's authority, and nowhere else.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::world::{Daemon, Nginx, site, tool};

/// What a headless Chromium shows of a page, and what it says of that; its home holds what it trusts.
fn page(daemon: &Daemon, home: &Path, name: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .arg("120")
        .arg(tool("chromium", "chromium"))
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-extensions"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args([
            "--host-resolver-rules=MAP *.lab.test 127.0.0.1, MAP * ~NOTFOUND",
            "--dump-dom",
            "--enable-logging=stderr",
        ])
        .arg(format!("https://{name}:{}/", daemon.https))
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_browser_opens_a_page_of_the_lab_where_it_trusts_its_authority() {
    let (daemon, nginx) = (Daemon::start(), Nginx::start(""));
    daemon.apply(&daemon.snapshot(vec![site("wiki", &[nginx.url()])]));
    let home = tempfile::tempdir().unwrap();
    let stranger = page(&daemon, home.path(), "wiki.lab.test");
    assert!(!stranger.contains("from nginx"), "it was let in without trust: {stranger}");
    assert!(stranger.contains("ERR_CERT_AUTHORITY_INVALID"), "{stranger}");
    // As `labwright ca export` says for browsers: into the user's own database.
    let database = home.path().join(".pki/nssdb");
    std::fs::create_dir_all(&database).unwrap();
    let certutil = |arguments: &[&str]| {
        let mut command = Command::new(tool("certutil", "libnss3-tools"));
        command.args(["-d", &format!("sql:{}", database.display())]).args(arguments).stdin(Stdio::null());
        assert!(command.status().unwrap().success(), "certutil {arguments:?}");
    };
    certutil(&["-N", "--empty-password"]);
    certutil(&["-A", "-n", "lab", "-t", "C,,", "-i", daemon.ca().to_str().unwrap()]);
    let trusted = page(&daemon, home.path(), "wiki.lab.test");
    assert!(trusted.contains("from nginx"), "{trusted}");
}
