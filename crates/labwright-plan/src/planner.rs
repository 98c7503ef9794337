//! The one planner: desired against observed, to steps and reasons.
//! Pure and deterministic; providers describe, they never plan.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashMapExt, HashSet};

use crate::observation::{HostSeen, Mark, Observation, Origin, Sight};
use crate::order::numbered;
use crate::plan::{is_private, is_private_mode, *};
use crate::provider::{Kind, OnChange, Ownership, Provider, Seen, kind_of};
use crate::resource::{Fingerprint, Resource, ResourceId};
use crate::sealed::sealed;
use crate::select::Selection;
use crate::value::{Spec, Value};

/// What a plan is made from.
pub struct PlanInput<'a> {
    pub lab: &'a str,
    pub lab_hash: &'a str,
    pub desired: &'a [Resource],
    pub observed: &'a Observation,
    pub providers: &'a [&'static dyn Provider],
    pub options: &'a Options,
    /// Hosts for which being away is normal.
    pub intermittent: &'a BTreeSet<String>,
    /// This machine's clock, in seconds since 1970, to compare the hosts' with; `None`: not compared.
    pub clock: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub selection: Selection,
    /// Remove what is the lab's and no longer declared.
    pub prune: bool,
    /// Data that may be removed, by id.
    pub delete_data: BTreeSet<ResourceId>,
    /// Things to take over although they differ.
    pub adopt: Adopt,
    /// Let more than the brake's share of a kind go at once.
    pub release_brake: bool,
}

#[derive(Clone, Debug, Default)]
pub enum Adopt {
    /// Only what the lab file says to.
    #[default]
    AsDeclared,
    All,
    These(BTreeSet<ResourceId>),
}

/// The brake: more than this share of at least this many things of a kind is never removed at once unasked.
const BRAKE_SHARE: f64 = 0.3;
const BRAKE_FROM: usize = 10;
/// Clocks that differ by less are not worth a word.
const CLOCK_SKEW_SECONDS: i64 = 60;

struct Planner<'a> {
    input: &'a PlanInput<'a>,
    steps: BTreeMap<ResourceId, Step>,
    report: Report,
    blocked: BTreeSet<ResourceId>,
    /// Steps of each kind on each host, for "after every package of this host".
    by_kind: BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    blocked_kinds: BTreeMap<ResourceId, ResourceId>,
    /// Kinds on hosts of which this plan makes or changes any.
    makers: BTreeSet<ResourceId>,
}

/// Makes the plan.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let desired: BTreeMap<&ResourceId, &Resource> =
        input.desired.iter().map(|resource| (&resource.id, resource)).collect();
    let order = in_order(&desired);
    let selection = &input.options.selection;
    let mut selected = selection.close(&desired);
    loop {
        let mut planner = Planner {
            input,
            steps: BTreeMap::new(),
            report: Report::default(),
            blocked: BTreeSet::new(),
            by_kind: BTreeMap::new(),
            blocked_kinds: BTreeMap::new(),
            makers: BTreeSet::new(),
        };
        planner.hosts();
        planner.report.left_out = desired.len() - selected.len();
        for id in order.iter().filter(|id| selected.contains(**id)) {
            planner.declared(desired[*id]);
        }
        // What looks different after a step comes along unless it was left out by name: a container whose network is made
        // anew would be cut off from everybody.
        let made_anew = |id: &ResourceId| planner.steps.get(id).is_some_and(|step| step.action != Action::Adopt);
        let left = desired.values().filter(|resource| !selected.contains(&resource.id));
        let moved = left.filter(|resource| resource.moved_by.iter().any(made_anew));
        let moved: Vec<&ResourceId> =
            moved.map(|resource| &resource.id).filter(|id| !selection.leaves_out(id)).collect();
        if moved.is_empty() {
            planner.orphans(&desired);
            return planner.finish();
        }
        selected.extend(selection.close_over(&desired, moved));
    }
}

/// Every resource after what it comes after. Cycles were findings; what is left of one goes by name.
fn in_order<'a>(desired: &BTreeMap<&'a ResourceId, &'a Resource>) -> Vec<&'a ResourceId> {
    // Numbers in the order of the names stand for the ids: names are long and begin alike.
    let ids: Vec<&ResourceId> = desired.keys().copied().collect();
    let numbers: HashMap<&ResourceId, usize> = ids.iter().enumerate().map(|(number, id)| (*id, number)).collect();
    let mut kinds: HashMap<ResourceId, Vec<usize>> = HashMap::new();
    let wanted_kinds: HashSet<&ResourceId> =
        desired.values().flat_map(|r| r.after.iter()).filter(|id| id.is_all()).collect();
    if !wanted_kinds.is_empty() {
        for (number, id) in ids.iter().enumerate() {
            kinds.entry(ResourceId::all(id.host(), id.provider(), id.kind())).or_default().push(number);
        }
    }
    let needs = |resource: &&Resource| -> Vec<usize> {
        let mut all = Vec::with_capacity(resource.after.len());
        for need in &resource.after {
            match need.is_all() {
                true => all.extend(kinds.get(need).into_iter().flatten().copied()),
                false => all.extend(numbers.get(need).copied()),
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    };
    let order = numbered(&desired.values().map(needs).collect::<Vec<_>>());
    match order.len() == ids.len() {
        true => order.into_iter().map(|number| ids[number]).collect(),
        false => ids,
    }
}

impl Planner<'_> {
    fn hosts(&mut self) {
        let mut resources: BTreeMap<&str, usize> = BTreeMap::new();
        for resource in self.input.desired {
            *resources.entry(resource.id.host()).or_default() += 1;
        }
        for (host, sight) in &self.input.observed.hosts {
            match sight {
                Sight::Away(error) => self.report.away.push(Away {
                    host: host.clone(),
                    intermittent: self.input.intermittent.contains(host),
                    reason: error.message.clone(),
                    help: error.help.clone(),
                    resources: resources.get(host.as_str()).copied().unwrap_or_default(),
                }),
                Sight::Reached(seen) => {
                    if let Some(interrupted) = &seen.interrupted {
                        self.report.interrupted.push((host.clone(), interrupted.clone()));
                    }
                    let skew = self.input.clock.map_or(0, |clock| seen.facts.clock - clock);
                    if skew.abs() > CLOCK_SKEW_SECONDS {
                        self.report.clock_skew.push((host.clone(), skew));
                    }
                }
            }
        }
    }

    fn block(&mut self, id: &ResourceId, why: Why, reason: impl Into<String>, help: impl Into<String>) {
        self.blocked.insert(id.clone());
        self.blocked_kinds.insert(ResourceId::all(id.host(), id.provider(), id.kind()), id.clone());
        self.report.blocked.push(Blocked { id: id.clone(), why, reason: reason.into(), help: help.into() });
    }

    fn declared(&mut self, resource: &Resource) {
        let id = &resource.id;
        let Some(host) = self.input.observed.reached(id.host()) else { return };
        let Some(kind) = kind_of(self.input.providers, id) else {
            return self.block(
                id,
                Why::Refused,
                format!("no provider has the kind `{}`", id.kind()),
                "this is a fault of labwright's own",
            );
        };
        let unknown = sealed(&resource.spec).into_iter().find(|content| content.hash.is_none());
        if let Some(content) = unknown {
            let reason = format!("it holds {content}, which cannot be read");
            return self.block(id, Why::Unknown, reason, "`labwright secret doctor` says why");
        }
        let provider = self.input.providers.iter().find(|provider| provider.name() == id.provider());
        if let Some(refusal) = provider.and_then(|provider| provider.refuse(resource, &host.facts)) {
            return self.block(id, Why::Refused, refusal.reason, refusal.help);
        }
        let blocker = resource.after.iter().find_map(|need| match need.is_all() {
            true => self.blocked_kinds.get(need).cloned(),
            false => self.blocked.contains(need).then(|| need.clone()),
        });
        if let Some(blocker) = blocker {
            return self.block(id, Why::Dependency, format!("it comes after `{blocker}`, which is blocked"), "");
        }
        match host.seen.get(id) {
            None => self.block(id, Why::Unknown, "it was not looked at", "plan again"),
            Some(Seen::Unknown(error)) => self.block(
                id,
                Why::Unknown,
                format!("it could not be looked at: {}", error.message),
                error.help.clone(),
            ),
            Some(Seen::Absent) => {
                // What is found by its own value (a token, a name that its address holds) is not there as soon as it is declared
                // otherwise: nobody removed it.
                let because = match host.marks.get(id) {
                    Some(mark) if !mark.in_flight && same_spec(kind, &mark.applied, &resource.spec) => {
                        "it is gone since the last apply"
                    }
                    Some(mark) if !mark.in_flight => "not there as it is declared now",
                    _ => "not there",
                };
                let changes =
                    resource.spec.iter().map(|(field, value)| change(field, Value::Null, value.clone())).collect();
                self.step(resource, Action::Create, kind.create, because.into(), changes, Fingerprint::absent());
            }
            Some(Seen::Present(observed)) => self.present(resource, kind, host, &observed.spec),
        }
    }

    fn present(&mut self, resource: &Resource, kind: &Kind, host: &HostSeen, observed: &Spec) {
        let id = &resource.id;
        let mark = host.marks.get(id);
        let changes = differences(kind, &resource.spec, observed);
        if changes.is_empty() {
            let renamed = host.renamed.get(id);
            let settled = mark.is_some_and(|mark| !mark.in_flight && same_spec(kind, &mark.applied, &resource.spec));
            if settled && renamed.is_none() {
                self.report.unchanged += 1;
                return;
            }
            let because = match (mark, renamed) {
                (_, Some(old)) => format!("it is the lab's under the name `{}`, and stays as it is", old.host()),
                (None, _) if kind.ownership == Ownership::Thing => {
                    "it is there and as declared; it becomes the lab's".to_string()
                }
                _ => "it is already as declared".to_string(),
            };
            let fingerprint = Fingerprint::of(observed);
            return self.step(resource, Action::Adopt, Consequence::None, because, changes, fingerprint);
        }
        let names = changes.iter().map(|change| change.field.as_str()).collect::<Vec<_>>().join(", ");
        let settled = mark.is_some_and(|mark| !mark.in_flight);
        let by_hand: Vec<&Change> = changes
            .iter()
            .filter(|change| settled && host.changed_by_hand(id, &change.field, &change.before))
            .collect();
        let taken_over = mark.is_none() && kind.ownership == Ownership::Thing;
        if taken_over && !self.may_adopt(resource) {
            let reason = format!("it is there, is not the lab's, and differs in {names}");
            return self.block(
                id,
                Why::Conflict,
                reason,
                format!("to take it over: `labwright apply --adopt {id}`, or `adopt: true` on it in the lab file"),
            );
        }
        let replace = changes
            .iter()
            .any(|change| kind.field(&change.field).is_some_and(|field| field.on_change == OnChange::Replace));
        let action = if replace { Action::Replace } else { Action::Update };
        let consequence = changes
            .iter()
            .filter_map(|change| kind.field(&change.field))
            .map(|field| field.consequence)
            .max()
            .unwrap_or_default();
        let provider = self.input.providers.iter().find(|provider| provider.name() == id.provider());
        let consequence =
            consequence.max(provider.map_or(Consequence::None, |provider| provider.price(resource, &changes)));
        let because = match () {
            () if taken_over => format!("taken over; {names} differs"),
            () if by_hand.is_empty() => format!("{names} differs"),
            () => {
                let (hands, edits): (Vec<&Change>, Vec<&Change>) =
                    changes.iter().partition(|change| by_hand.contains(change));
                let names = |changes: &[&Change]| {
                    changes.iter().map(|change| change.field.as_str()).collect::<Vec<_>>().join(", ")
                };
                let gone = hands.iter().all(|change| change.before == Value::Null);
                let hands =
                    format!("{} {}", names(&hands), if gone { "is gone" } else { "changed since the last apply" });
                if edits.is_empty() { hands } else { format!("{hands}; {} differs", names(&edits)) }
            }
        };
        let foretold = provider.and_then(|provider| provider.foretell(resource, action, observed));
        let because = foretold.map_or(because.clone(), |foretold| format!("{because}; {foretold}"));
        self.step(resource, action, consequence, because, changes, Fingerprint::of(observed));
    }

    fn may_adopt(&self, resource: &Resource) -> bool {
        resource.adopt
            || match &self.input.options.adopt {
                Adopt::AsDeclared => false,
                Adopt::All => true,
                Adopt::These(ids) => ids.contains(&resource.id),
            }
    }

    fn step(
        &mut self,
        resource: &Resource,
        action: Action,
        consequence: Consequence,
        because: String,
        changes: Vec<Change>,
        seen: Fingerprint,
    ) {
        let id = resource.id.clone();
        let needs: BTreeSet<ResourceId> = resource
            .after
            .iter()
            .flat_map(|need| match self.by_kind.get(need) {
                Some(steps) if need.is_all() => steps.iter().cloned().collect::<Vec<_>>(),
                _ => self.steps.contains_key(need).then(|| need.clone()).into_iter().collect(),
            })
            .collect();
        // A package may bring the very file, user or unit that comes after it: only then is it known what is there.
        // One that is only adopted brings nothing.
        let maker = resource.after.iter().find(|need| need.is_all() && self.makers.contains(*need));
        let mover = resource.moved_by.iter().find(|id| self.steps.contains_key(*id));
        let expect = match maker.or(mover) {
            Some(maker) => Expect::AfterStep { steps: maker.clone(), seen },
            None => Expect::Fingerprint(seen),
        };
        if action != Action::Adopt {
            self.makers.insert(ResourceId::all(id.host(), id.provider(), id.kind()));
        }
        self.by_kind.entry(ResourceId::all(id.host(), id.provider(), id.kind())).or_default().insert(id.clone());
        let (spec, after) = (resource.spec.clone(), resource.after.clone());
        let hidden = is_private(&spec) || changes.iter().any(was_private);
        let changes = if hidden { changes.into_iter().map(without_content).collect() } else { changes };
        self.steps.insert(id.clone(), Step { id, action, consequence, because, spec, changes, needs, after, expect });
    }

    /// What is the lab's and no longer declared. Kept unless pruning is asked for; data is kept even then.
    fn orphans(&mut self, desired: &BTreeMap<&ResourceId, &Resource>) {
        let observed = self.input.observed;
        let mut going: BTreeMap<ResourceId, (Step, &Mark)> = BTreeMap::new();
        let mut of_kind: BTreeMap<ResourceId, usize> = BTreeMap::new();
        for (host, sight) in &observed.hosts {
            let Sight::Reached(seen) = sight else { continue };
            for (id, mark) in &seen.marks {
                // A host that was renamed, or two names for one machine: the other name's things are not this one's to remove.
                if id.host() != host {
                    let reason = format!("it was made for `{}`, and this host is `{host}` now", id.host());
                    self.report.kept.push(Kept { id: id.clone(), reason });
                    continue;
                }
                *of_kind.entry(ResourceId::all(id.host(), id.provider(), id.kind())).or_default() += 1;
                if desired.contains_key(id) || !self.input.options.selection.wants(id) {
                    continue;
                }
                match self.orphan(id, mark, seen) {
                    Ok(step) => drop(going.insert(id.clone(), (step, mark))),
                    Err(reason) => self.report.kept.push(Kept { id: id.clone(), reason }),
                }
            }
        }
        self.brake(&mut going, &of_kind);
        // What was made after something is removed before it.
        let mut before: BTreeMap<ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        for (id, (_, mark)) in &going {
            for need in &mark.after {
                before.entry(need.clone()).or_default().insert(id.clone());
            }
        }
        // So is what stays and is changed: until then it uses what it was made after, as a container its networks.
        let mut users: BTreeMap<&ResourceId, BTreeSet<ResourceId>> = BTreeMap::new();
        for (host, sight) in &observed.hosts {
            let Sight::Reached(seen) = sight else { continue };
            let changed = |id: &ResourceId| {
                let step = self.steps.get(id).filter(|_| id.host() == host);
                step.is_some_and(|step| matches!(step.action, Action::Update | Action::Replace))
            };
            for (id, mark) in seen.marks.iter().filter(|(id, _)| changed(id)) {
                for need in mark.after.iter().filter(|need| going.contains_key(*need)) {
                    users.entry(need).or_default().insert(id.clone());
                }
            }
        }
        for (id, (mut step, _)) in going.clone() {
            let kind = ResourceId::all(id.host(), id.provider(), id.kind());
            let dependents = [before.get(&id), before.get(&kind)];
            step.needs = dependents
                .into_iter()
                .flatten()
                .flatten()
                .filter(|other| going.contains_key(*other))
                .chain(users.get(&id).into_iter().flatten())
                .cloned()
                .collect();
            self.steps.insert(id, step);
        }
    }

    fn orphan(&self, id: &ResourceId, mark: &Mark, seen: &HostSeen) -> Result<Step, String> {
        let step = |action, consequence, because: &str, seen: Fingerprint| Step {
            id: id.clone(),
            action,
            consequence,
            because: because.into(),
            spec: Spec::new(),
            changes: Vec::new(),
            needs: BTreeSet::new(),
            after: BTreeSet::new(),
            expect: Expect::Fingerprint(seen),
        };
        let Some(kind) = kind_of(self.input.providers, id) else {
            return Err("this version of labwright does not know its kind".into());
        };
        let observed = match seen.seen.get(id) {
            Some(Seen::Absent) => {
                return Ok(step(
                    Action::Release,
                    Consequence::None,
                    "no longer declared, and already gone",
                    Fingerprint::absent(),
                ));
            }
            Some(Seen::Present(observed)) => observed,
            Some(Seen::Unknown(error)) => return Err(format!("it could not be looked at: {}", error.message)),
            None => return Err("it was not looked at".into()),
        };
        if !self.input.options.prune {
            return Err("no longer declared; `--prune` removes it".into());
        }
        let fingerprint = Fingerprint::of(&observed.spec);
        if mark.origin == Origin::Adopted || kind.ownership == Ownership::Setting {
            return Ok(step(
                Action::Release,
                Consequence::None,
                "no longer declared; it was there before the lab and stays",
                fingerprint,
            ));
        }
        let named = self.input.options.delete_data.contains(id);
        match &observed.data {
            Some(data) if !named => {
                Err(format!("no longer declared, and it holds data: {data}; `--delete-data {id}` removes it"))
            }
            Some(_) => Ok(step(
                Action::Delete,
                Consequence::DestroysData,
                "no longer declared, and named by `--delete-data`",
                fingerprint,
            )),
            // What was begun on a thing that was never finished may be anything; otherwise what it was last made to be is known.
            None if mark.in_flight && mark.applied.is_empty() && !named => Err(format!(
                "no longer declared, and an interrupted run left it unclear; `--delete-data {id}` removes it"
            )),
            None => {
                let edited = differences(kind, &mark.applied, &observed.spec);
                if !edited.is_empty() && !named {
                    let names = edited.iter().map(|change| change.field.as_str()).collect::<Vec<_>>().join(", ");
                    return Err(format!(
                        "no longer declared, and its {names} changed since the last apply; `--delete-data {id}` removes it"
                    ));
                }
                Ok(step(Action::Delete, kind.delete, "no longer declared", fingerprint))
            }
        }
    }

    fn brake(&mut self, going: &mut BTreeMap<ResourceId, (Step, &Mark)>, of_kind: &BTreeMap<ResourceId, usize>) {
        if self.input.options.release_brake {
            return;
        }
        let deletes = |going: &BTreeMap<ResourceId, (Step, &Mark)>, all: &ResourceId| {
            let same = |id: &&ResourceId| {
                id.host() == all.host() && id.provider() == all.provider() && id.kind() == all.kind()
            };
            going
                .iter()
                .filter(|(_, (step, _))| step.action == Action::Delete)
                .map(|(id, _)| id)
                .filter(same)
                .cloned()
                .collect::<Vec<_>>()
        };
        for (all, total) in of_kind {
            let deletes = deletes(going, all);
            if *total < BRAKE_FROM || (deletes.len() as f64) <= BRAKE_SHARE * *total as f64 {
                continue;
            }
            let reason = format!("{} of {total} resources `{all}` would be removed at once", deletes.len());
            for id in deletes {
                let held = going.remove(&id);
                self.block(&id, Why::Brake, reason.clone(), "if you mean it: `--release-brake`");
                self.hold(going, &id, held);
            }
        }
    }

    /// What stays keeps what it stands on: a folder does not go while a file in it stays.
    fn hold(
        &mut self,
        going: &mut BTreeMap<ResourceId, (Step, &Mark)>,
        stays: &ResourceId,
        held: Option<(Step, &Mark)>,
    ) {
        let mut open: Vec<(ResourceId, &Mark)> = held.map(|(_, mark)| (stays.clone(), mark)).into_iter().collect();
        while let Some((stays, mark)) = open.pop() {
            for need in &mark.after {
                let goes = going.get(need).is_some_and(|(step, _)| step.action == Action::Delete);
                if let Some((_, under)) = goes.then(|| going.remove(need)).flatten() {
                    self.block(need, Why::Dependency, format!("`{stays}`, which stays, is made after it"), "");
                    open.push((need.clone(), under));
                }
            }
        }
    }

    fn finish(self) -> Plan {
        let numbers: HashMap<&ResourceId, usize> =
            self.steps.keys().enumerate().map(|(number, id)| (id, number)).collect();
        let needs = |step: &Step| step.needs.iter().filter_map(|need| numbers.get(need).copied()).collect();
        let mut order = numbered(&self.steps.values().map(needs).collect::<Vec<_>>());
        if order.len() < self.steps.len() {
            order = (0..self.steps.len()).collect();
        }
        let mut steps: Vec<Option<Step>> = self.steps.into_values().map(Some).collect();
        let steps = order.into_iter().filter_map(|number| steps[number].take()).collect();
        let (lab, lab_hash) = (self.input.lab.to_string(), self.input.lab_hash.to_string());
        let mut plan = Plan { version: PLAN_VERSION, id: String::new(), lab, lab_hash, steps, report: self.report };
        plan.derive_id();
        plan
    }
}

fn change(field: &str, before: Value, after: Value) -> Change {
    Change { field: field.to_string(), before, after }
}

/// Whether a file stops being private with this change: what stood in it is still its owner's.
fn was_private(change: &Change) -> bool {
    change.field == "mode" && is_private_mode(&change.before)
}

/// The same change with content as digests.
pub(crate) fn without_content(change: Change) -> Change {
    let digest = |value: Value| match change.field.as_str() {
        "content" => value.digest().map_or(value, Value::Digest),
        _ => value,
    };
    Change { before: digest(change.before), after: digest(change.after), field: change.field }
}

/// The declared fields that are not as declared. Fields that nobody declared are nobody's business.
pub fn differences(kind: &Kind, wanted: &Spec, observed: &Spec) -> Vec<Change> {
    let compared = |name: &&String| kind.field(name).is_none_or(|field| field.on_change.is_compared());
    wanted
        .iter()
        .filter(|(name, _)| compared(name))
        .filter_map(|(name, value)| {
            let seen = observed.get(name).unwrap_or(&Value::Null);
            (!value.same(seen)).then(|| change(name, seen.clone(), value.clone()))
        })
        .collect()
}

fn same_spec(kind: &Kind, applied: &Spec, wanted: &Spec) -> bool {
    let counts = |name: &str| kind.field(name).is_none_or(|field| field.on_change != OnChange::Hint);
    let of = |spec: &Spec| spec.keys().filter(|name| counts(name)).count();
    let mut fields = wanted.iter().filter(|(name, _)| counts(name));
    of(applied) == of(wanted)
        && fields.all(|(name, value)| applied.get(name).is_some_and(|applied| applied.same(value)))
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
