//! Stores on the disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use expect_test::expect;
use labwright_secrets::store::file;

use crate::support::{again, folder, is_child, shown};

#[test]
fn replacing_keeps_mode_and_links() {
    let home = folder();
    let path = home.path().join("s.yaml");
    file::replace(&path, b"one").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = home.path().join("link.yaml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    file::replace(&link, b"two").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(file::load(&path).unwrap(), b"two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "nothing else is left behind");
}

#[test]
fn what_cannot_be_read_or_written_says_so() {
    let home = folder();
    let mut out = shown(&file::load(&home.path().join("missing.yaml")).unwrap_err());
    let large = home.path().join("large.yaml");
    fs::File::create(&large).unwrap().set_len((4 << 20) + 1).unwrap();
    out += &shown(&file::load(&large).unwrap_err());
    out += &shown(&file::replace(&home.path().join("no/folder.yaml"), b"").unwrap_err());
    out += &shown(&file::lock(&home.path().join("no/folder.yaml")).unwrap_err());
    // The name that a temporary file had is chance.
    let out = out.replace(&home.path().display().to_string(), "HOME");
    let out: Vec<&str> = out.lines().map(|line| line.split(" at path ").next().unwrap()).collect();
    expect![[r#"
        Io: failed to read `HOME/missing.yaml`: No such file or directory (os error 2)
        hint: name the store's file, or begin a store with `labwright secret init`
        Malformed: failed to read `HOME/large.yaml`: it is larger than 4 MiB
        hint: a store is for secrets; keep large files elsewhere, encrypted with `age`
        Io: failed to write `HOME/no/folder.yaml`: No such file or directory (os error 2)
        hint: the old content is untouched; look at the folder's owner, mode and free space
        Io: failed to lock `HOME/no/folder.yaml`: No such file or directory (os error 2)
        hint: look at the owner and mode of the store's folder"#]]
    .assert_eq(&out.join("\n"));
}

#[test]
fn one_writer_at_a_time() {
    let home = folder();
    let path = home.path().join("s.yaml");
    let lock = file::lock(&path).unwrap();
    let error = file::lock(&path).unwrap_err();
    let text = shown(&error)
        .replace(&home.path().display().to_string(), "HOME")
        .replace(&std::process::id().to_string(), "PID");
    expect![[r#"
        Io: failed to lock `HOME/s.yaml`: process PID is changing it
        hint: wait until it has finished, then try again
    "#]]
    .assert_eq(&text);
    drop(lock);
    drop(file::lock(&path).unwrap());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "no lock is left behind");
}

#[test]
fn locks_hold_between_processes_and_go_with_them() {
    let test = "disk::locks_hold_between_processes_and_go_with_them";
    if is_child() {
        let path = std::path::PathBuf::from(std::env::var_os("TEST_FOLDER").unwrap());
        let _lock = file::lock(&path.join("s.yaml")).unwrap();
        fs::write(path.join("locked"), "").unwrap();
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let home = folder();
    let mut child = again(test).env("TEST_FOLDER", home.path()).stdout(Stdio::null()).spawn().unwrap();
    while !home.path().join("locked").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = file::lock(&home.path().join("s.yaml")).unwrap_err();
    assert!(error.message.contains(&format!("process {} is changing it", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    file::lock(&home.path().join("s.yaml")).unwrap();
}

#[test]
fn writers_in_a_row_lose_nothing() {
    let home = folder();
    let path = home.path().join("s.yaml");
    file::replace(&path, b"0").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let lock = loop {
                        if let Ok(lock) = file::lock(&path) {
                            break lock;
                        }
                        std::thread::yield_now();
                    };
                    let count: u32 = String::from_utf8(file::load(&path).unwrap()).unwrap().parse().unwrap();
                    file::replace(&path, (count + 1).to_string().as_bytes()).unwrap();
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(file::load(&path).unwrap(), b"100");
}

#[test]
fn a_kill_leaves_the_old_or_the_new_store() {
    let test = "disk::a_kill_leaves_the_old_or_the_new_store";
    let content = |letter: u8| vec![letter; 300_000];
    if is_child() {
        let path = std::path::PathBuf::from(std::env::var_os("TEST_FOLDER").unwrap()).join("s.yaml");
        for round in 0u32.. {
            file::replace(&path, &content(b'a' + (round % 26) as u8)).unwrap();
        }
    }
    let home = folder();
    let path = home.path().join("s.yaml");
    file::replace(&path, &content(b'a')).unwrap();
    let (mut changed, mut left) = (0, 0);
    let beside = || fs::read_dir(home.path()).unwrap().count() - 1;
    for round in 0..120u64 {
        let before = file::load(&path).unwrap();
        let mut child = again(test).env("TEST_FOLDER", home.path()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(3_000 + round * 7919 % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let after = file::load(&path).unwrap();
        assert_eq!(after.len(), 300_000, "round {round}");
        assert!(after.iter().all(|byte| *byte == after[0]), "round {round}: the store is half one, half the other");
        changed += usize::from(after != before);
        assert!(beside() <= 1, "round {round}: each writer sweeps what the last one left");
        left += beside();
    }
    assert!(changed > 20, "the kills came too early to test anything: {changed}");
    assert!(left > 0, "no kill left anything to sweep");
    // What somebody writes at this moment is locked; what is another file's, or nobody's, has another name.
    let writing = fs::File::create(home.path().join(".s.yaml.labwright-Writ3r")).unwrap();
    rustix::fs::flock(&writing, rustix::fs::FlockOperation::LockExclusive).unwrap();
    for other in [".t.yaml.labwright-a1b2c3", ".s.yaml.labwright-notes.txt", ".labwright-a1b2c3"] {
        fs::write(home.path().join(other), "").unwrap();
    }
    drop(file::lock(&path).unwrap());
    assert_eq!(beside(), 4, "only what a killed writer of this file left is swept");
    drop(writing);
    drop(file::lock(&path).unwrap());
    assert_eq!(beside(), 3);
}
