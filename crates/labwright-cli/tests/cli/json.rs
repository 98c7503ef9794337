//! What `--json` prints, held against the schemas that `labwright schema` prints: every verb, in every state.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::Value;

use crate::local::desk;
use crate::secrets::feed;
use crate::world::{Desk, Ran};

fn schema(name: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_labwright")).args(["schema", name]).output().unwrap();
    assert!(output.status.success(), "there is no schema `{name}`");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Parses what was printed and holds it against the schema; each line by itself where it is a stream.
#[track_caller]
pub fn holds(name: &str, ran: &Ran) -> Vec<Value> {
    let texts: Vec<&str> =
        if matches!(name, "events" | "logs" | "up") { ran.out.lines().collect() } else { vec![ran.out.as_str()] };
    let documents: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).expect(text)).collect();
    let validator = jsonschema::validator_for(&schema(name)).unwrap();
    for document in &documents {
        let faults: Vec<String> =
            validator.iter_errors(document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        assert!(faults.is_empty(), "schema `{name}`\n{}\n{document:#}", faults.join("\n"));
    }
    assert_eq!(documents[0]["version"], 1, "`{name}` does not begin with a version: {}", documents[0]);
    documents
}

/// The one document that was printed.
#[track_caller]
fn one(name: &str, ran: Ran) -> Value {
    holds(name, &ran).remove(0)
}

/// A lab on this machine with a host that does not answer, and one that need not.
fn with_hosts_away(desk: &Desk) {
    let away = "ssh: { port: 1 }, files: { /etc/lw: { content: x } }";
    let lab = fs::read_to_string(desk.path("lab.yaml")).unwrap();
    desk.lab(&format!("{lab}    gone: {{ address: 127.0.0.1, {away} }}\n    laptop: {{ address: 127.0.0.2, {away}, intermittent: true }}\n"));
}

/// Cuts the journal of the last run on this machine, as a kill in the middle of its first step would.
fn cut_the_run_off(desk: &Desk) {
    let journals = |folder: &str| -> PathBuf {
        let entries = fs::read_dir(desk.path(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).max().unwrap()
    };
    for (folder, kept) in [("state/labs/home/journal", 2), ("state/labs/home/history", 2)] {
        let journal = journals(folder);
        let text = fs::read_to_string(&journal).unwrap();
        let lines: String = text.lines().take(kept).map(|line| format!("{line}\n")).collect();
        fs::write(journal, lines).unwrap();
    }
}

#[test]
fn findings() {
    let clean = one(
        "check",
        Desk::new("lab: home\ncompute: { hosts: { here: { local: true } } }\n").run(&["check", "--json"]).code(0),
    );
    assert_eq!(clean["findings"].as_array().map(Vec::len), Some(0));
    let faulty = "lab: home\nnonsense: 1\nnetwork: { zones: { a: { vlan: 5000 } } }\n";
    let found = one("check", Desk::new(faulty).run(&["check", "--json"]).code(3));
    assert!(found["findings"].as_array().unwrap().len() > 1);
}

#[test]
fn the_inventory_and_the_model() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/reference");
    let desk = Desk::new("lab: home\n");
    let full = one("inventory", desk.run(&["inventory", reference, "--json"]).code(0));
    assert!(full["hosts"].as_array().unwrap().len() > 3 && full["services"].as_array().unwrap().len() > 3);
    one("inventory", desk.run(&["inventory", "--format", "json"]).code(0));
    let model = one("model", desk.run(&["show", "model", reference, "--json"]).code(0));
    assert!(model["model"]["compute"]["hosts"].is_object());
    one("model", desk.run(&["show", "model", "--json"]).code(0));
}

#[test]
fn answers_about_small_and_large_labs() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/reference");
    let desk = Desk::new("lab: home\ncompute: { hosts: { here: { local: true } } }\n");
    let full = one("assess", desk.run(&["assess", reference, "--json"]).code(0));
    assert_eq!(full["services"][0]["answers"].as_array().map(Vec::len), Some(4));
    one("assess", desk.run(&["assess", "--json"]).code(0));
    let pve = one("blast", desk.run(&["blast", "pve-01", reference, "--json"]).code(0));
    assert_eq!(pve["affected"][0]["name"], "DNS");
    one("blast", desk.run(&["blast", "git", reference, "--format", "json"]).code(0));
    one("blast", desk.run(&["blast", "here", "--json"]).code(0));
    let all = one("points", desk.run(&["blast", "--all", reference, "--json"]).code(0));
    assert!(all["points"].as_array().unwrap().len() > 3);
    one("points", desk.run(&["blast", "--all", "--json"]).code(0));
    for by in ["layer", "zone", "domain"] {
        one("graph", desk.run(&["graph", reference, "--by", by, "--json"]).code(0));
        one("graph", desk.run(&["graph", "--by", by, "--format", "json"]).code(0));
    }
    let flows = one("flows", desk.run(&["flows", reference, "--json"]).code(0));
    assert!(flows["pairs"].as_array().unwrap().len() > 5 && flows["guards"].as_array().unwrap().len() > 5);
    one("flows", desk.run(&["flows", "--format", "json"]).code(0));
    one("work-order", desk.run(&["flows", reference, "--export", "json"]).code(0));
    one("work-order", desk.run(&["flows", "--export", "json"]).code(0));
    let reach = one("reach", desk.run(&["reach", "guest", "pve-01:22", reference, "--json"]).code(3));
    assert_eq!(reach["allowed"], false);
    one("reach", desk.run(&["reach", "clients", "git", reference, "--json"]).code(0));
    one("exposed", desk.run(&["exposed", reference, "--json"]).code(0));
    one("docs", desk.run(&["docs", reference, "--json"]).code(0));
    one("docs", desk.run(&["docs", reference, "--public", "--json"]).code(0));
    one("docs", desk.run(&["docs", reference, "--page", "services/git", "--json"]).code(0));
    let written = one("written", desk.run(&["docs", reference, "--out", "pages", "--json"]).code(0));
    assert!(written["written"].as_array().unwrap().len() > 7);
    one("written", desk.run(&["docs", "--out", "pages", "--json"]).code(0));
}

#[test]
fn desired_and_observed() {
    let desk = desk();
    desk.write("key", "by hand\n");
    let lab = fs::read_to_string(desk.path("lab.yaml")).unwrap();
    let key = desk.path("key").display().to_string();
    desk.lab(
        &lab.replace("      files:\n", &format!("      files:\n        {key}: {{ content: x, mode: \"0600\" }}\n")),
    );
    let desired = one("desired", desk.run(&["show", "desired", "--json"]).code(0));
    assert_eq!(desired["resources"].as_array().unwrap().len(), 5);
    one("observed", desk.run(&["show", "observed"]).code(0));
    desk.run(&["apply", "--yes"]).code(5);
    let observed = one("observed", desk.run(&["show", "observed", "--json"]).code(0));
    assert_eq!(observed["hosts"]["here"]["reached"]["marks"].as_object().unwrap().len(), 4);
    cut_the_run_off(&desk);
    let observed = one("observed", desk.run(&["show", "observed"]).code(0));
    assert!(observed["hosts"]["here"]["reached"]["interrupted"].is_object());
    with_hosts_away(&desk);
    let observed = one("observed", desk.run(&["show", "observed"]).code(6));
    assert!(observed["hosts"]["gone"]["away"].is_object());
}

#[test]
fn plans_with_steps_empty_blocked_kept_away_and_interrupted() {
    let desk = desk();
    let plan = |args: &[&str], code| one("plan", desk.run(&[&["plan", "--json"], args].concat()).code(code));
    let lab = fs::read_to_string(desk.path("lab.yaml")).unwrap();
    assert_eq!(plan(&[], 0)["steps"].as_array().unwrap().len(), 4);
    assert_eq!(plan(&["--only", "*motd"], 0)["report"]["left_out"], 2);
    one("plan", desk.run(&["show", "plan"]).code(0));
    desk.run(&["plan", "--out", "saved.json"]).code(0);
    let saved = fs::read_to_string(desk.path("saved.json")).unwrap();
    one("plan", Ran { code: 0, out: saved, err: String::new() });

    fs::create_dir(desk.path("things")).unwrap();
    fs::write(desk.path("things/motd"), b"not \xff text\n").unwrap();
    let blocked = plan(&[], 0);
    let why = |n: usize| blocked["report"]["blocked"][n]["why"].as_str().unwrap_or_default().to_string();
    assert_eq!((why(0).as_str(), why(1).as_str()), ("conflict", "dependency"), "{blocked:#}");
    let adopted = plan(&["--adopt", "all"], 0);
    assert!(adopted.to_string().contains("$bytes"), "{adopted:#}");

    desk.run(&["apply", "--yes", "--adopt", "all"]).code(0);
    assert_eq!(plan(&[], 0)["report"]["unchanged"], 4);
    desk.lab("lab: home\ncompute: { hosts: { here: { local: true } } }\n");
    assert_eq!(plan(&[], 0)["report"]["kept"].as_array().unwrap().len(), 4);
    assert!(!plan(&["--prune"], 0)["steps"].as_array().unwrap().is_empty());

    desk.lab(&lab);
    with_hosts_away(&desk);
    let away = plan(&[], 6);
    assert_eq!(away["report"]["away"].as_array().unwrap().len(), 2);
    cut_the_run_off(&desk);
    let interrupted = plan(&[], 6);
    assert_eq!(interrupted["report"]["interrupted"][0][0], "here", "{interrupted:#}");
}

#[test]
fn drift_in_every_state() {
    let desk = desk();
    let drift = |args: &[&str], code| one("drift", desk.run(&[&["drift", "--json"], args].concat()).code(code));
    assert_eq!(drift(&[], 0)["drift"]["steady"], 0);
    desk.run(&["apply", "--yes"]).code(0);
    assert_eq!(drift(&[], 0)["drift"]["steady"], 4);
    fs::write(desk.path("things/motd"), "by hand\n").unwrap();
    fs::remove_file(desk.path("things/copy")).unwrap();
    let found = drift(&[], 4);
    assert_eq!(
        (&found["drift"]["drifted"][0]["what"], &found["drift"]["drifted"][1]["what"]),
        (&"removed".into(), &"changed".into()),
        "{found:#}"
    );
    cut_the_run_off(&desk);
    assert_eq!(drift(&[], 4)["drift"]["drifted"][0]["what"], "unfinished");
    with_hosts_away(&desk);
    assert_eq!(drift(&[], 4)["drift"]["away"].as_array().unwrap().len(), 2);
}

#[test]
fn the_events_of_apply_and_destroy() {
    let desk = desk();
    let events = |args: &[&str], code| holds("events", &desk.run(&[args, &["--json"]].concat()).code(code));
    let last = |events: &[Value]| events.last().unwrap()["result"]["outcomes"].as_array().unwrap().len();
    let all = events(&["apply", "--yes"], 0);
    assert_eq!((&all[0]["begin"]["verb"], &all[0]["begin"]["lab"]), (&"apply".into(), &"home".into()));
    assert!(all[1]["plan"].is_object() && last(&all) == 4, "{all:#?}");
    assert_eq!(events(&["apply", "--yes"], 0).len(), 2, "nothing to do");
    let lab = fs::read_to_string(desk.path("lab.yaml")).unwrap();
    // Nobody can make files there: one step fails, and one that comes after it is skipped.
    desk.lab(
        &lab.replace("      symlinks:\n", "        /proc/lw/file: { content: x }\n      symlinks:\n")
            .replace("      directories:\n", "      directories:\n        /proc/lw: {}\n"),
    );
    let failed = events(&["apply", "--yes"], 5);
    let outcomes = failed.last().unwrap()["result"]["outcomes"].to_string();
    assert!(outcomes.contains("failed") && outcomes.contains("skipped"), "{outcomes}");
    desk.write("things/precious", "data\n");
    let destroyed = events(&["destroy", "--yes"], 5);
    assert_eq!(destroyed[0]["begin"]["verb"], "destroy");
    assert!(!destroyed[1]["plan"]["report"]["kept"].as_array().unwrap().is_empty());
}

#[test]
fn histories_of_none_of_some_and_of_runs_that_were_cut_off() {
    let desk = desk();
    one("history", desk.run(&["history", "--json"]).code(0));
    desk.run(&["apply", "--yes"]).code(0);
    one("history", desk.run(&["history", "--json"]).code(0));
    assert_eq!(one("run", desk.run(&["history", "--run", "last", "--json"]).code(0))["lab"], "home");
    cut_the_run_off(&desk);
    let cut = one("run", desk.run(&["history", "--run", "last", "--json"]).code(0));
    assert!(cut["ended"].is_null() && cut["steps"][3]["outcome"].is_null());
}

/// A process that holds the lab's lock, and says so as `program`.
struct Holder(Child);

impl Holder {
    fn new(desk: &Desk, program: &str) -> Holder {
        let folder = desk.path("state/labs/home");
        fs::create_dir_all(&folder).unwrap();
        let child = Command::new("flock").arg("--no-fork").arg(folder.join("lock")).args([program, "60"]).spawn();
        let holder = Holder(child.unwrap());
        let lease = format!(
            "{{\"run\":{{\"id\":\"20260101T000000.000Z\",\"by\":\"ola@desk\",\"plan\":\"p\"}},\"pid\":{},\"acquired\":0,\"expires\":{}}}",
            holder.0.id(),
            i64::MAX
        );
        fs::write(folder.join("lease.json"), lease).unwrap();
        while !desk.run(&["locks"]).out.contains("held") {}
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // One that was ended already is as good as one that ends here.
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

#[test]
fn locks_free_held_ended_and_not_ended() {
    let desk = Desk::new("lab: home\ncompute:\n  hosts:\n    here: { local: true }\n");
    let locks = |args: &[&str], code| one("locks", desk.run(&[&["locks", "--json"], args].concat()).code(code));
    assert!(locks(&[], 0)["locks"][0]["lease"].is_null());
    assert_eq!(locks(&["--break", "here"], 0)["locks"][0]["ended"], true);

    let stranger = Holder::new(&desk, "sleep");
    assert_eq!(locks(&[], 0)["locks"][0]["lease"]["run"]["by"], "ola@desk");
    let stayed = locks(&["--break", "here"], 5);
    assert_eq!(
        (&stayed["locks"][0]["ended"], &stayed["locks"][0]["now"]["pid"]),
        (&false.into(), &stranger.0.id().into())
    );
    desk.run(&["locks", "--break", "here"])
        .code(5)
        .says("not ended, and still held")
        .says(&format!("did not end: process {}", stranger.0.id()));
    drop(stranger);

    let program = desk.path("labwright-holder").display().to_string();
    fs::copy("/bin/sleep", &program).unwrap();
    let holder = Holder::new(&desk, &program);
    desk.run(&["locks", "--break", "here"]).code(0).says("ended, and gone");
    desk.run(&["locks"]).code(0).says("free");
    drop(holder);

    with_hosts_away(&desk);
    assert!(locks(&[], 6)["locks"][1]["error"].is_object());
}

/// A store with one secret, which a host and a service refer to, and one that is not made yet.
fn with_secrets() -> Desk {
    let desk = Desk::new(
        "lab: home\nplatform: { secrets: { age: secrets.yaml, generate: { later: password } } }\ncompute:\n  hosts:\n    here:\n      local: true\n      files: { /tmp/lw-never: { content: \"key=${secret.a}\" } }\nservices:\n  web: { on: here, containers: { web: { image: web, environment: { KEY_FILE: \"${secret.a}\" } } } }\n",
    );
    desk.run(&["secret", "init"]).code(0);
    feed(
        {
            let mut set = desk.command();
            set.args(["secret", "set", "a"]);
            set
        },
        "a value",
    )
    .code(0);
    desk
}

#[test]
fn secrets_are_told_by_name_in_lists_plans_and_complaints() {
    let desk = with_secrets();
    let list = one("secrets", desk.run(&["secret", "list", "--json"]).code(0));
    assert_eq!(
        (&list["secrets"][0]["hosts"][0], &list["secrets"][0]["services"][0], &list["secrets"][1]["state"]),
        (&"here".into(), &"service web".into(), &"not there".into()),
        "{list:#}"
    );
    assert_eq!(
        one("secrets", desk.run(&["secret", "list", "--host", "here", "--json"]).code(0))["secrets"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let complaints = one("doctor", desk.run(&["secret", "doctor", "--json"]).code(3));
    assert_eq!(complaints["complaints"][1]["about"], "later", "{complaints:#}");
    let sealed = |document: &Value| {
        document.to_string().contains("{\"$secret\":{\"pieces\":[{\"text\":\"key=\"},{\"secret\":\"a\"}]")
    };
    let plan = one("plan", desk.run(&["plan", "--json"]).code(0));
    assert!(sealed(&plan) && plan.to_string().contains("\"hash\""), "{plan:#}");
    assert!(sealed(&one("desired", desk.run(&["show", "desired", "--json"]).code(0))));
    for ran in [
        desk.run(&["plan", "--json"]),
        desk.run(&["secret", "list", "--json"]),
        desk.run(&["secret", "doctor", "--json"]),
    ] {
        ran.says_not("a value");
    }
}

/// The schemas are worth something only if they refuse what they do not know.
#[test]
fn a_field_that_no_schema_knows_is_refused() {
    let desk = desk();
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/reference");
    let documents = [
        ("plan", desk.run(&["plan", "--json"])),
        ("events", desk.run(&["apply", "--yes", "--json"])),
        ("observed", desk.run(&["show", "observed", "--json"])),
        ("desired", desk.run(&["show", "desired", "--json"])),
        ("drift", desk.run(&["drift", "--json"])),
        ("history", desk.run(&["history", "--json"])),
        ("run", desk.run(&["history", "--run", "last", "--json"])),
        ("locks", desk.run(&["locks", "--json"])),
        ("inventory", desk.run(&["inventory", "--json"])),
        ("model", desk.run(&["show", "model", "--json"])),
        ("assess", desk.run(&["assess", reference, "--json"])),
        ("blast", desk.run(&["blast", "docker-01", reference, "--json"])),
        ("points", desk.run(&["blast", "--all", reference, "--json"])),
        ("graph", desk.run(&["graph", reference, "--json"])),
        ("flows", desk.run(&["flows", reference, "--json"])),
        ("work-order", desk.run(&["flows", reference, "--export", "json"])),
        ("reach", desk.run(&["reach", "clients", "git", reference, "--json"])),
        ("exposed", desk.run(&["exposed", reference, "--json"])),
        ("docs", desk.run(&["docs", reference, "--public", "--json"])),
        ("written", desk.run(&["docs", reference, "--out", "pages", "--json"])),
        ("check", Desk::new("lab: home\nnonsense: 1\n").run(&["check", "--json"])),
        ("secrets", with_secrets().run(&["secret", "list", "--json"])),
        ("doctor", with_secrets().run(&["secret", "doctor", "--json"])),
        ("plan", with_secrets().run(&["plan", "--json"])),
    ];
    for (name, ran) in documents {
        let validator = jsonschema::validator_for(&schema(name)).unwrap();
        for document in holds(name, &ran) {
            let places = objects(&document, String::new());
            assert!(!places.is_empty());
            for place in places {
                let mut more = document.clone();
                let object = more.pointer_mut(&place).and_then(Value::as_object_mut).unwrap();
                object.insert("unheard_of".into(), serde_json::json!({ "$unheard": 1 }));
                assert!(!validator.is_valid(&more), "`{name}` takes a field that it does not know at `{place}`");
            }
        }
    }
}

/// Pointers to every object. Maps of the lab file, whose keys are the user's own names, are passed over.
fn objects(value: &Value, at: String) -> Vec<String> {
    let below =
        |key: &str, value: &Value| objects(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")));
    match value {
        Value::Object(fields) => {
            let own = (!at.starts_with("/model/")).then(|| at.clone());
            own.into_iter().chain(fields.iter().flat_map(|(key, value)| below(key, value))).collect()
        }
        Value::Array(items) => items.iter().enumerate().flat_map(|(n, item)| below(&n.to_string(), item)).collect(),
        _ => Vec::new(),
    }
}
