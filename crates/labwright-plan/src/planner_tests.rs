//! The planner from text to text, with a provider made for the purpose.
//!
//! Desired: `a: x` is a file `a` with content `x`; `b: y > a` comes after `a`; `set/k: v` is a setting; `pkg/p` a package;
//! `> pkg/*` comes after every package. Observed: `a: x` is there, unmarked; `a: x *` is there and was made so; `a: z *x` was made
//! `x`; `a: - *x` is gone; `a: ?` could not be looked at; `!` holds data, `~` was adopted, `^` is in flight.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect as Golden, expect};
use labwright_model::Span;
use proptest::prelude::*;

use super::*;
use crate::error::{ErrorKind, ProviderError};
use crate::provider::{Context, Facts, Field, Input, Lowered, Observed, Refusal, Session};

struct Made;

const fn field(name: &'static str, on_change: OnChange, consequence: Consequence, content: bool) -> Field {
    Field { name, doc: "", on_change, consequence, content }
}

static FIELDS: [Field; 2] = [
    field("content", OnChange::Update, Consequence::Restart, true),
    field("type", OnChange::Replace, Consequence::Downtime, false),
];

static KINDS: [Kind; 3] = [
    Kind {
        name: "file",
        doc: "",
        fields: &FIELDS,
        ownership: Ownership::Thing,
        create: Consequence::None,
        delete: Consequence::Downtime,
    },
    Kind {
        name: "set",
        doc: "",
        fields: &FIELDS,
        ownership: Ownership::Setting,
        create: Consequence::Hot,
        delete: Consequence::Hot,
    },
    Kind {
        name: "pkg",
        doc: "",
        fields: &FIELDS,
        ownership: Ownership::Thing,
        create: Consequence::None,
        delete: Consequence::Downtime,
    },
];

impl Provider for Made {
    fn name(&self) -> &'static str {
        "made"
    }
    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }
    fn lower(&self, _: &Input<'_>, _: &mut Lowered) {}
    fn refuse(&self, resource: &Resource, _: &Facts) -> Option<Refusal> {
        (resource.id.name() == "refused").then(|| Refusal { reason: "not on this host".into(), help: String::new() })
    }
    fn connect(&self, _: &Context) -> Result<Box<dyn Session>, ProviderError> {
        Err(ProviderError::bug("nothing here touches the world"))
    }
}

static PROVIDERS: [&dyn Provider; 1] = [&Made];

fn id(text: &str) -> ResourceId {
    let (kind, name) = text.split_once('/').unwrap_or(("file", text));
    ResourceId::new("h", "made", kind, name)
}

fn content(text: &str) -> Spec {
    Spec::from([("content".to_string(), Value::from(text))])
}

fn desired(text: &str) -> Vec<Resource> {
    let one = |line: &str| {
        let (line, after) = line.split_once('>').unwrap_or((line, ""));
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let mut resource = Resource::new(id(name.trim()), Span::NONE);
        resource.spec = content(value.trim());
        resource.after = after.split_whitespace().map(id).collect();
        resource
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(one).collect()
}

fn observed(text: &str, desired: &[Resource]) -> Observation {
    let mut host = HostSeen::default();
    for resource in desired {
        host.seen.insert(resource.id.clone(), Seen::Absent);
    }
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, rest) = line.split_once(':').unwrap();
        let (value, mark) = rest.split_once('*').map_or((rest, None), |(value, mark)| (value, Some(mark.trim())));
        let flags: String = rest.chars().filter(|c| "!~^".contains(*c)).collect();
        let clean = |text: &str| text.trim().trim_end_matches(['!', '~', '^', ' ']).to_string();
        let value = clean(value);
        let seen = match value.as_str() {
            "-" => Seen::Absent,
            "?" => Seen::Unknown(ProviderError::new(ErrorKind::Unreachable, "the disk does not answer")),
            value => Seen::Present(Observed {
                spec: content(value),
                data: flags.contains('!').then(|| "12 entries".to_string()),
            }),
        };
        host.seen.insert(id(name.trim()), seen);
        if let Some(mark) = mark {
            let applied = if clean(mark).is_empty() { value } else { clean(mark) };
            let origin = if flags.contains('~') { Origin::Adopted } else { Origin::Created };
            let mark =
                Mark { origin, applied: content(&applied), after: BTreeSet::new(), in_flight: flags.contains('^') };
            host.marks.insert(id(name.trim()), mark);
        }
    }
    Observation { hosts: BTreeMap::from([("h".to_string(), Sight::Reached(Box::new(host)))]) }
}

fn make(want: &[Resource], seen: &Observation, options: &Options) -> Plan {
    let away = BTreeSet::new();
    plan(&PlanInput {
        lab: "l",
        lab_hash: "hash",
        desired: want,
        observed: seen,
        providers: &PROVIDERS,
        options,
        intermittent: &away,
        clock: None,
    })
}

fn text(plan: &Plan) -> String {
    let short = |id: &ResourceId| id.as_str().replace("h/made/", "").replace("file/", "");
    let mut out = String::new();
    for step in &plan.steps {
        let needs: Vec<String> = step.needs.iter().map(short).collect();
        let needs = if needs.is_empty() { String::new() } else { format!(" > {}", needs.join(" ")) };
        let expect = if matches!(step.expect, Expect::AfterStep { .. }) { " (known after packages)" } else { "" };
        out += &format!(
            "{} {}{needs} [{}] {}{expect}\n",
            step.action.word(),
            short(&step.id),
            step.consequence,
            step.because
        );
    }
    for blocked in &plan.report.blocked {
        out += &format!(
            "blocked {} {:?}: {}\n",
            short(&blocked.id),
            blocked.why,
            blocked.reason.replace("h/made/file/", "")
        );
    }
    for kept in &plan.report.kept {
        out += &format!("kept {}: {}\n", short(&kept.id), kept.reason.replace("h/made/file/", ""));
    }
    out + &format!("{} unchanged\n", plan.report.unchanged)
}

#[track_caller]
fn check(want: &str, seen: &str, options: Options, golden: Golden) {
    let want = desired(want);
    golden.assert_eq(&text(&make(&want, &observed(seen, &want), &options)));
}

fn prune() -> Options {
    Options { prune: true, ..Options::default() }
}

#[test]
fn what_is_not_there_is_created_in_order() {
    check(
        "b: y > a\na: x\nc: z > b a",
        "",
        Options::default(),
        expect![[r#"
        create a [none] not there
        create b > a [none] not there
        create c > a b [none] not there
        0 unchanged
    "#]],
    );
}

#[test]
fn what_a_step_moves_is_looked_at_before_that_step_and_not_after_it() {
    let mut want = desired("gate: new\nbehind: new > gate\nother: new > gate");
    want.iter_mut().filter(|r| r.id == id("behind")).for_each(|r| r.moved_by = BTreeSet::from([id("gate")]));
    let make = |seen: &str| make(&want, &observed(seen, &want), &Options::default());
    let expects = |plan: &Plan| -> Vec<bool> {
        plan.steps.iter().map(|step| matches!(step.expect, Expect::AfterStep { .. })).collect()
    };
    let plan = make("gate: old *\nbehind: old *\nother: old *");
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.name()).collect();
    assert_eq!((ids, expects(&plan)), (vec!["gate", "behind", "other"], vec![false, true, false]));
    // Where nothing moves it, it has to be as it was seen.
    assert_eq!(expects(&make("gate: new *\nbehind: old *\nother: new *")), [false]);
}

#[test]
fn what_a_chosen_step_moves_comes_along_with_what_it_comes_after() {
    let mut want = desired("gate: new\nimage: new\nbehind: new > gate image\nbeside: new > behind\nother: new");
    for (name, mover) in [("behind", "gate"), ("beside", "behind")] {
        want.iter_mut().filter(|r| r.id == id(name)).for_each(|r| r.moved_by = BTreeSet::from([id(mover)]));
    }
    let names = |seen: &str, only: &str, exclude: &[&str]| -> String {
        let of = |name: &str| id(name).to_string();
        let selection = Selection {
            only: vec![of(only)],
            exclude: exclude.iter().copied().map(of).collect(),
            ..Selection::default()
        };
        let plan = make(&want, &observed(seen, &want), &Options { selection, ..Options::default() });
        let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.name()).collect();
        format!("{}; {} left out", ids.join(" "), plan.report.left_out)
    };
    let all = "gate: old *\nimage: old *\nbehind: old *\nbeside: old *\nother: old *";
    assert_eq!(names(all, "gate", &[]), "gate image behind beside; 1 left out");
    assert_eq!(names(all, "other", &[]), "other; 4 left out");
    // Left out by name is left out, and what nothing moves stays out.
    assert_eq!(names(all, "gate", &["behind"]), "gate; 4 left out");
    assert_eq!(names(&all.replace("gate: old", "gate: new"), "gate", &[]), "; 4 left out");
}

#[test]
fn what_differs_is_updated_and_the_reason_tells_hands_from_edits() {
    check(
        "a: new\nb: x\nc: x\nd: x\ne: new",
        "a: old *\nb: hand *x\nc: - *x\nd: x *\ne: - *old",
        Options::default(),
        expect![[r#"
        update a [restart] content differs
        update b [restart] content changed since the last apply
        create c [none] it is gone since the last apply
        create e [none] not there as it is declared now
        1 unchanged
    "#]],
    );
}

#[test]
fn what_reads_otherwise_because_it_is_wanted_otherwise_was_changed_by_nobody() {
    let want = desired("a: new\nb: new\nc: new");
    let mut seen = observed("a: read *old\nb: read *old\nc: read *old", &want);
    let Some(Sight::Reached(host)) = seen.hosts.get_mut("h") else { panic!("no host") };
    // Read by what was applied, one is as it was made, and the other is not; of the third nobody could say.
    host.as_applied = [("a", "old"), ("b", "hand")].map(|(name, text)| (id(name), content(text))).into();
    let plan = make(&want, &seen, &Options::default());
    let because: Vec<&str> = plan.steps.iter().map(|step| step.because.as_str()).collect();
    let by_hand = "content changed since the last apply";
    assert_eq!(because, ["content differs", by_hand, by_hand]);
    let drift = crate::drift::drift(&seen, &want, &PROVIDERS);
    let drifted: Vec<&str> = drift.drifted.iter().map(|drifted| drifted.id.name()).collect();
    assert_eq!((drifted, drift.steady), (vec!["b", "c"], 1));
}

#[test]
fn what_is_not_ours_is_a_conflict_unless_it_is_as_declared_or_named() {
    check(
        "a: x\nb: y\nset/k: v",
        "a: x\nb: other\nset/k: w",
        Options::default(),
        expect![[r#"
        adopt a [none] it is there and as declared; it becomes the lab's
        update set/k [restart] content differs
        blocked b Conflict: it is there, is not the lab's, and differs in content
        0 unchanged
    "#]],
    );
    let adopt = Options { adopt: Adopt::These(BTreeSet::from([id("b")])), ..Options::default() };
    check(
        "a: x\nb: y",
        "a: other\nb: other",
        adopt,
        expect![[r#"
        update b [restart] taken over; content differs
        blocked a Conflict: it is there, is not the lab's, and differs in content
        0 unchanged
    "#]],
    );
}

#[test]
fn unknown_is_not_absent_and_blocks_what_comes_after() {
    check(
        "a: x\nb: y > a\nc: z\nrefused: r",
        "a: ? *x",
        Options::default(),
        expect![[r#"
        create c [none] not there
        blocked a Unknown: it could not be looked at: the disk does not answer
        blocked b Dependency: it comes after `a`, which is blocked
        blocked refused Refused: not on this host
        0 unchanged
    "#]],
    );
    check(
        "",
        "a: ? *x",
        prune(),
        expect![[r#"
        kept a: it could not be looked at: the disk does not answer
        0 unchanged
    "#]],
    );
}

#[test]
fn behind_a_package_what_is_there_is_known_only_afterwards() {
    check(
        "pkg/p: 1\na: x > pkg/*\nb: y > pkg/*",
        "b: y *",
        Options::default(),
        expect![[r#"
        create pkg/p [none] not there
        create a > pkg/p [none] not there (known after packages)
        1 unchanged
    "#]],
    );
}

#[test]
fn what_is_dropped_is_kept_until_pruning_is_asked_for() {
    check(
        "",
        "a: x *",
        Options::default(),
        expect![[r#"
        kept a: no longer declared; `--prune` removes it
        0 unchanged
    "#]],
    );
    let seen = "a: x *\nb: x *~\nc: x *!\nd: hand *x\ne: - *x\nf: x *^\nset/k: v *";
    check(
        "",
        seen,
        prune(),
        expect![[r#"
            delete a [downtime] no longer declared
            release b [none] no longer declared; it was there before the lab and stays
            release e [none] no longer declared, and already gone
            delete f [downtime] no longer declared
            release set/k [none] no longer declared; it was there before the lab and stays
            kept c: no longer declared, and it holds data: 12 entries; `--delete-data c` removes it
            kept d: no longer declared, and its content changed since the last apply; `--delete-data d` removes it
            0 unchanged
        "#]],
    );
    // Begun on a thing that was never finished: nobody knows what it is.
    let mut seen = observed("f: half *", &[]);
    let Some(Sight::Reached(host)) = seen.hosts.get_mut("h") else { panic!() };
    *host.marks.get_mut(&id("f")).unwrap() =
        Mark { origin: Origin::Created, applied: Spec::new(), after: BTreeSet::new(), in_flight: true };
    assert!(text(&make(&[], &seen, &prune())).contains("an interrupted run left it unclear"));
    let named = Options { delete_data: BTreeSet::from([id("c")]), ..prune() };
    check(
        "",
        "c: x *!",
        named,
        expect![[r#"
        delete c [destroys-data] no longer declared, and named by `--delete-data`
        0 unchanged
    "#]],
    );
}

#[test]
fn the_brake_holds_until_it_is_released() {
    let seen: String = (0..10).map(|i| format!("f{i}: x *\n")).collect();
    let want: String = (0..6).map(|i| format!("f{i}: x\n")).collect();
    let want = desired(&want);
    let plan = make(&want, &observed(&seen, &want), &prune());
    assert!(plan.steps.is_empty() && plan.report.blocked.iter().all(|blocked| blocked.why == Why::Brake));
    assert_eq!(plan.report.blocked.len(), 4);
    let released = Options { release_brake: true, ..prune() };
    assert_eq!(make(&want, &observed(&seen, &want), &released).count(Action::Delete), 4);
}

#[test]
fn what_the_brake_keeps_keeps_what_it_stands_on() {
    let want = [];
    // The folder is of a kind of its own, which the brake lets go: one thing is no landslide.
    let seen: String = (0..12).map(|i| format!("f{i}: x *\n")).chain(["pkg/folder: x *\n".to_string()]).collect();
    let mut seen = observed(&seen, &want);
    let Some(Sight::Reached(host)) = seen.hosts.get_mut("h") else { panic!() };
    let folder = id("pkg/folder");
    host.marks.get_mut(&id("f3")).unwrap().after.insert(folder.clone());
    let plan = make(&want, &seen, &prune());
    let blocked = plan.report.blocked.iter().find(|blocked| blocked.id == folder);
    assert_eq!(blocked.map(|blocked| blocked.why), Some(Why::Dependency), "{:?}", plan.report);
    assert!(plan.steps.is_empty());
}

#[test]
fn what_was_made_after_is_removed_before() {
    let want = [];
    let mut seen = observed("a: x *\nb: y *", &want);
    let Some(Sight::Reached(host)) = seen.hosts.get_mut("h") else { panic!() };
    host.marks.get_mut(&id("b")).unwrap().after.insert(id("a"));
    expect![[r#"
        delete b [downtime] no longer declared
        delete a > b [downtime] no longer declared
        0 unchanged
    "#]]
    .assert_eq(&text(&make(&want, &seen, &prune())));
}

#[test]
fn what_something_used_goes_once_that_has_been_changed() {
    let want = desired("b: new\nc: z");
    let mut seen = observed("a: x *\nb: y *\nc: z *", &want);
    let Some(Sight::Reached(host)) = seen.hosts.get_mut("h") else { panic!() };
    for user in ["b", "c"] {
        host.marks.get_mut(&id(user)).unwrap().after.insert(id("a"));
    }
    expect![[r#"
        update b [restart] content differs
        delete a > b [downtime] no longer declared
        1 unchanged
    "#]]
    .assert_eq(&text(&make(&want, &seen, &prune())));
}

#[test]
fn a_step_that_was_cut_off_is_taken_up_again() {
    check(
        "a: x\nb: y\nc: z",
        "a: half *^\nb: y *^\nc: - *^",
        Options::default(),
        expect![[r#"
        update a [restart] content differs
        adopt b [none] it is already as declared
        create c [none] not there
        0 unchanged
    "#]],
    );
}

#[test]
fn a_selection_brings_what_it_comes_after() {
    let only = Options {
        selection: Selection { only: vec!["h/made/file/b".into()], ..Selection::default() },
        ..Options::default()
    };
    check(
        "a: x\nb: y > a\nc: z",
        "",
        only,
        expect![[r#"
        create a [none] not there
        create b > a [none] not there
        0 unchanged
    "#]],
    );
}

#[test]
fn a_clock_that_is_off_is_told() {
    let away = BTreeSet::new();
    let mut seen = observed("", &[]);
    if let Some(Sight::Reached(host)) = seen.hosts.get_mut("h") {
        host.facts.clock = 1000;
    }
    let input = PlanInput {
        lab: "l",
        lab_hash: "",
        desired: &[],
        observed: &seen,
        providers: &PROVIDERS,
        options: &Options::default(),
        intermittent: &away,
        clock: Some(400),
    };
    assert_eq!(plan(&input).report.clock_skew, [("h".to_string(), 600)]);
}

#[test]
fn private_content_is_not_in_the_changes() {
    let mut want = desired("a: canary");
    want[0].spec.insert("mode".into(), "0600".into());
    let plan = make(&want, &observed("", &want), &Options::default());
    let changes = serde_json::to_string(&plan.steps[0].changes).unwrap();
    assert!(!changes.contains("canary"), "{changes}");
    assert_eq!(plan.steps[0].spec["content"], Value::from("canary"), "the step itself still says what to write");
}

/// Resources with random needs among earlier ones.
fn graphs() -> impl Strategy<Value = Vec<Resource>> {
    proptest::collection::vec((0u8..3, proptest::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..20).prop_map(
        |nodes| {
            let name = |i: usize| format!("n{i}");
            nodes
                .iter()
                .enumerate()
                .map(|(i, (text, needs))| {
                    let mut resource = Resource::new(id(&name(i)), Span::NONE);
                    resource.spec = content(&format!("c{text}"));
                    resource.after =
                        needs.iter().filter(|_| i > 0).map(|need| id(&name(need.index(i.max(1))))).collect();
                    resource
                })
                .collect()
        },
    )
}

/// The world after a plan was applied in full.
fn applied(plan: &Plan, mut seen: Observation) -> Observation {
    let Some(Sight::Reached(host)) = seen.hosts.get_mut("h") else { return seen };
    for step in &plan.steps {
        match step.action {
            Action::Delete | Action::Release => {
                host.marks.remove(&step.id);
            }
            _ => {
                let mark = Mark {
                    origin: Origin::Created,
                    applied: step.spec.clone(),
                    after: step.after.clone(),
                    in_flight: false,
                };
                host.marks.insert(step.id.clone(), mark);
                host.seen.insert(step.id.clone(), Seen::Present(Observed { spec: step.spec.clone(), data: None }));
            }
        }
    }
    seen
}

proptest! {
    #[test]
    fn the_plan_after_an_apply_is_empty(want in graphs(), before in graphs()) {
        let all = Options { adopt: Adopt::All, ..prune() };
        let start = observed("", &want);
        let first = make(&before, &observed("", &before), &all);
        let mut world = applied(&first, observed("", &before));
        if let (Some(Sight::Reached(world)), Some(Sight::Reached(start))) = (world.hosts.get_mut("h"), start.hosts.get("h")) {
            for (id, seen) in &start.seen {
                world.seen.entry(id.clone()).or_insert_with(|| seen.clone());
            }
        }
        let released = Options { release_brake: true, ..all };
        let second = make(&want, &world, &released);
        let after = applied(&second, world);
        prop_assert_eq!(make(&want, &after, &released).steps, Vec::new());
    }

    #[test]
    fn the_order_of_the_file_does_not_matter(want in graphs(), seed in any::<u64>()) {
        let mut shuffled = want.clone();
        shuffled.sort_by_key(|resource| blake3::hash(format!("{seed}{}", resource.id).as_bytes()).as_bytes().to_owned());
        let seen = observed("", &want);
        prop_assert_eq!(make(&want, &seen, &Options::default()), make(&shuffled, &seen, &Options::default()));
    }

    #[test]
    fn every_step_comes_after_what_it_needs(want in graphs()) {
        let plan = make(&want, &observed("", &want), &Options::default());
        let place = |id: &ResourceId| plan.steps.iter().position(|step| step.id == *id).unwrap();
        for step in &plan.steps {
            prop_assert!(step.needs.iter().all(|need| place(need) < place(&step.id)));
        }
        let text = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
