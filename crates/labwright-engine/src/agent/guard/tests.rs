//! Pending changes on a disk: confirmed, taken back, superseded, and what a killed run leaves.
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use labwright_plan::{Before, Call, Was};

use super::*;

/// A host's state, and a file whose changes are guarded. No timer runs: what fires is called.
struct Ground {
    dir: tempfile::TempDir,
}

impl Ground {
    fn new() -> Ground {
        let ground = Ground { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(ground.state()).unwrap();
        fs::write(ground.file(), "old").unwrap();
        ground
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("settings")
    }

    fn content(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn now(&self) -> WayBack {
        let there = fs::metadata(self.file()).unwrap();
        let was = Was::File {
            content: fs::read(self.file()).unwrap(),
            mode: there.mode() & 0o7777,
            uid: there.uid(),
            gid: there.gid(),
        };
        WayBack { files: vec![Before { path: self.file(), was }], ..WayBack::default() }
    }

    /// Writes a change down as `arm` does, without a timer, and makes it.
    fn change(&self, run: &str, name: &str, new: &str, way_back: WayBack) -> (String, File) {
        let run = Run { id: run.into(), by: "ola@desk".into(), plan: "p".into() };
        let ticket = record::ticket(&self.state(), &run).unwrap();
        let id = ResourceId::new("web", "host", "sshd", name);
        let record = Record { ticket: ticket.clone(), lab: "test".into(), run, id, armed: 0, within: 90, way_back };
        let awaited = record::write(&self.state(), &self.dir.path().join("memory"), &record).unwrap();
        fs::write(self.file(), new).unwrap();
        record::write_made(&self.state(), &ticket, 0).unwrap();
        (ticket, awaited)
    }

    fn simple(&self, run: &str, new: &str) -> (String, File) {
        self.change(run, "hardening", new, self.now())
    }
}

fn reverted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Reverted { .. })
}

#[test]
fn what_nobody_confirms_goes_back_with_mode_and_all() {
    let ground = Ground::new();
    fs::set_permissions(ground.file(), fs::Permissions::from_mode(0o640)).unwrap();
    let (ticket, _awaited) = ground.simple("20261121T100000.000Z", "new");
    fs::set_permissions(ground.file(), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(reverted(&fire(&ground.state(), &ticket, Fired::Timer)));
    assert_eq!(ground.content(), "old");
    assert_eq!(fs::metadata(ground.file()).unwrap().mode() & 0o7777, 0o640);
    assert!(reverted(&verdict(&ground.state(), &ticket)), "whoever waits is told");
    assert_eq!(pending(&ground.state()).unwrap(), []);
    // Fired twice, by the timer and by a boot, it does nothing more.
    fs::write(ground.file(), "newer").unwrap();
    assert!(reverted(&fire(&ground.state(), &ticket, Fired::Boot)));
    assert_eq!(ground.content(), "newer");
}

#[test]
fn what_is_confirmed_stays_whatever_fires_after_it() {
    let ground = Ground::new();
    let (ticket, _awaited) = ground.simple("20261121T100000.000Z", "new");
    assert_eq!(confirm(&ground.state(), &ticket).unwrap(), Ok(Verdict::Confirmed));
    for fired in [Fired::Timer, Fired::Boot] {
        assert_eq!(fire(&ground.state(), &ticket, fired), Verdict::Confirmed);
    }
    assert_eq!(ground.content(), "new");
    assert!(!record::folder(&ground.state(), &ticket).exists(), "nothing is left behind");
}

#[test]
fn a_change_that_is_not_made_yet_is_not_confirmed() {
    let ground = Ground::new();
    let (ticket, _awaited) = ground.simple("20261121T100000.000Z", "new");
    fs::remove_file(record::folder(&ground.state(), &ticket).join("made")).unwrap();
    assert_eq!(confirm(&ground.state(), &ticket).unwrap(), Ok(Verdict::Pending));
    assert!(reverted(&fire(&ground.state(), &ticket, Fired::Timer)), "and it still goes back");
}

#[test]
fn two_pending_changes_of_one_thing_go_back_to_what_was_before_both() {
    for first_fires in [true, false] {
        let ground = Ground::new();
        let (first, _a) = ground.simple("20261121T100000.000Z", "bad");
        let (second, _b) = ground.simple("20261121T100030.000Z", "worse");
        assert_eq!(pending(&ground.state()).unwrap().len(), 2);
        let (now, then) = if first_fires { (&first, &second) } else { (&second, &first) };
        assert!(reverted(&fire(&ground.state(), now, Fired::Timer)));
        assert_eq!(ground.content(), if first_fires { "old" } else { "bad" });
        assert!(reverted(&fire(&ground.state(), then, Fired::Timer)));
        assert_eq!(ground.content(), "old");
    }
}

#[test]
fn a_confirmed_change_is_not_taken_back_by_an_older_one() {
    let ground = Ground::new();
    let (first, _a) = ground.simple("20261121T100000.000Z", "bad");
    let (second, _b) = ground.simple("20261121T100030.000Z", "good");
    assert_eq!(confirm(&ground.state(), &second).unwrap(), Ok(Verdict::Confirmed));
    assert_eq!(fire(&ground.state(), &first, Fired::Timer), Verdict::Superseded);
    assert_eq!(ground.content(), "good");
}

#[test]
fn an_older_change_of_more_than_the_confirmed_one_takes_back_the_rest() {
    let ground = Ground::new();
    let other = ground.dir.path().join("other");
    fs::write(&other, "made").unwrap();
    let mut both = ground.now();
    both.files.push(Before { path: other.clone(), was: Was::Absent });
    let (first, _a) = ground.change("20261121T100000.000Z", "wide", "bad", both);
    let (second, _b) = ground.change("20261121T100030.000Z", "narrow", "good", ground.now());
    assert_eq!(confirm(&ground.state(), &second).unwrap(), Ok(Verdict::Confirmed));
    assert!(reverted(&fire(&ground.state(), &first, Fired::Timer)));
    assert_eq!(ground.content(), "good");
    assert!(!other.exists());
}

#[test]
fn only_what_nobody_waits_for_is_settled() {
    let ground = Ground::new();
    let (ticket, awaited) = ground.simple("20261121T100000.000Z", "new");
    assert!(pending(&ground.state()).unwrap()[0].awaited);
    assert_eq!(settle(&ground.state()).unwrap().len(), 0);
    drop(awaited);
    let settled = settle(&ground.state()).unwrap();
    assert_eq!((settled.len(), settled[0].0.ticket.as_str()), (1, ticket.as_str()));
    assert_eq!(ground.content(), "old");
}

/// Somebody may be there and confirm it; the host's own timer takes it back if not.
#[test]
fn what_may_be_waited_for_is_not_settled() {
    let ground = Ground::new();
    let (ticket, _awaited) = ground.simple("20261121T100000.000Z", "new");
    let place = ground.state().join("reverts").join(&ticket).join("awaited");
    fs::remove_file(&place).unwrap();
    std::os::unix::fs::symlink(&place, &place).unwrap();
    assert!(pending(&ground.state()).unwrap()[0].awaited);
    assert_eq!((settle(&ground.state()).unwrap().len(), ground.content().as_str()), (0, "new"));
    fs::remove_file(&place).unwrap();
    assert_eq!((settle(&ground.state()).unwrap().len(), ground.content().as_str()), (1, "old"));
}

#[test]
fn a_way_back_that_fails_says_so_and_stays_pending() {
    let ground = Ground::new();
    let mut way_back = ground.now();
    way_back.calls = vec![
        Call::new("sh", &["-c", "echo cleared >&2; exit 1"]).may_fail(),
        Call::new("sh", &["-c", "cat >&2; exit 3"]).input("the rules are gone"),
    ];
    let (ticket, _awaited) = ground.change("20261121T100000.000Z", "hardening", "new", way_back);
    let Verdict::Stuck { because } = revert(&ground.state(), &ticket, "refused") else { panic!("it went back") };
    assert!(because.contains("refused") && because.contains("the rules are gone"), "{because}");
    assert_eq!(ground.content(), "old", "what can go back has");
    assert_eq!(pending(&ground.state()).unwrap().len(), 1);
    // At a boot nothing has read the files yet, so nothing has to be run.
    assert!(reverted(&fire(&ground.state(), &ticket, Fired::Boot)));
}

#[test]
fn what_is_secret_is_kept_in_memory_only() {
    let ground = Ground::new();
    let way_back = WayBack { secret: true, ..ground.now() };
    let (ticket, _awaited) = ground.change("20261121T100000.000Z", "hardening", "new", way_back);
    let kept = ground.dir.path().join("memory/reverts").join(format!("{ticket}.json"));
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o600);
    assert!(fs::symlink_metadata(record::folder(&ground.state(), &ticket).join("record.json")).unwrap().is_symlink());
    assert!(reverted(&fire(&ground.state(), &ticket, Fired::Timer)));
    assert_eq!(ground.content(), "old");
    assert!(!kept.exists());
}

#[test]
fn records_are_for_root_alone_and_tickets_lead_nowhere_else() {
    let ground = Ground::new();
    let (ticket, _awaited) = ground.simple("20261121T100000.000Z", "new");
    let folder = record::folder(&ground.state(), &ticket);
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.join("record.json")).unwrap().mode() & 0o777, 0o600);
    for bad in ["../reverts", "", "x/y", "ended", "lock"] {
        assert_eq!(verdict(&ground.state(), bad), Verdict::Unknown, "{bad}");
        assert_eq!(record::read(&ground.state(), bad).unwrap(), None, "{bad}");
    }
}

#[test]
fn a_pending_change_that_cannot_be_read_is_told_and_hides_no_other() {
    let ground = Ground::new();
    let (first, _a) = ground.simple("20261121T100000.000Z", "bad");
    let folder = record::folder(&ground.state(), &first);
    let other = record::folder(&ground.state(), "20261121T100100.000Z-001");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("record.json"), "{\"ticket\":\"2026").unwrap();
    for told in [pending(&ground.state()).unwrap_err(), settle(&ground.state()).unwrap_err()] {
        let told = told.to_string();
        assert!(told.contains("waits for its confirmation cannot be read"), "{told}");
        assert!(told.contains(&format!("rm -r {}", other.display())), "{told}");
    }
    // The other one's way back is not in its way, and what goes back tells itself.
    assert!(matches!(
        revert(&ground.state(), "20261121T100100.000Z-001", "nobody confirmed it"),
        Verdict::Stuck { .. }
    ));
    assert!(reverted(&fire(&ground.state(), &first, Fired::Timer)));
    assert_eq!(ground.content(), "old");
    assert!(!folder.exists());
    fs::remove_dir_all(&other).unwrap();
    assert_eq!(pending(&ground.state()).unwrap(), []);
}

#[test]
fn a_verdict_that_cannot_be_read_takes_nothing_back() {
    let ground = Ground::new();
    let (ticket, _awaited) = ground.simple("20261121T100000.000Z", "new");
    let ended = ground.state().join("reverts/ended");
    fs::create_dir_all(&ended).unwrap();
    fs::write(ended.join(format!("{ticket}.json")), "").unwrap();
    let Verdict::Stuck { because } = verdict(&ground.state(), &ticket) else { panic!("it counts as pending") };
    assert!(because.contains(&format!("{ticket}.json")), "{because}");
    assert_eq!(pending(&ground.state()).unwrap(), []);
}
