//! Waits until units that were told to start or stop have done so, all together, and says why one has not.
//! Starts nothing again: what systemd gives up on is given up.

use std::time::{Duration, Instant};

use labwright_plan::{ErrorKind, Progress, ProviderError, ResourceId};

use super::systemd::{self, State};

/// As long as a start may take. A slower one goes on by itself; the next plan sees how it ended.
const LIMIT: Duration = Duration::from_secs(30);
/// A program that reads its configuration and gives up is gone within this; one that says itself when it is ready is not doubted.
const DOUBT: Duration = Duration::from_millis(400);
/// Who waits longer is told what for.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    Runs,
    Stopped,
}

/// A unit that is waited for.
#[derive(Clone, Debug)]
pub struct Pending {
    pub id: ResourceId,
    pub unit: String,
    pub goal: Goal,
}

/// One answer for each unit, in order.
pub fn wait(pending: &[Pending], progress: &dyn Progress) -> Vec<Result<(), ProviderError>> {
    let mut answers: Vec<Option<Result<(), ProviderError>>> = pending.iter().map(|_| None).collect();
    let mut first_seen: Vec<Option<(Instant, u32)>> = pending.iter().map(|_| None).collect();
    let (begun, mut told) = (Instant::now(), false);
    let mut pause = Duration::from_millis(10);
    loop {
        let open: Vec<usize> = (0..pending.len()).filter(|i| answers[*i].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let names: Vec<String> = open.iter().map(|i| pending[*i].unit.clone()).collect();
        let states = systemd::show(&names);
        let over = begun.elapsed() > LIMIT;
        for i in open {
            let unit = &pending[i];
            let judged = match states.as_ref().map_err(Clone::clone).and_then(|states| states.get(&unit.unit)) {
                Err(error) => Some(Err(error)),
                Ok(state) => judge(unit, state, &mut first_seen[i]).or_else(|| over.then(|| Err(late(unit, state)))),
            };
            answers[i] = judged;
        }
        if !told && begun.elapsed() > PATIENCE {
            told = true;
            for unit in pending.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(unit, _)| unit) {
                let what = if unit.goal == Goal::Runs { "runs" } else { "has stopped" };
                progress.say(&unit.id, &format!("waiting until `{}` {what}, up to {} s", unit.unit, LIMIT.as_secs()));
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    answers.into_iter().flatten().collect()
}

/// `None`: not decided yet. `first` remembers when the unit was first seen running, and how often it had been restarted.
fn judge(unit: &Pending, state: &State, first: &mut Option<(Instant, u32)>) -> Option<Result<(), ProviderError>> {
    let active = state.active.as_str();
    if unit.goal == Goal::Stopped {
        return (matches!(active, "inactive" | "failed") && !state.busy).then_some(Ok(()));
    }
    match active {
        // systemd starts it again until its limit is reached: only then is it known to have failed.
        "failed" if !state.busy => Some(Err(failed(unit, &format!("failed ({})", state.result)))),
        "inactive" if !state.busy => Some(Err(ended(unit, state))),
        "active" | "reloading" | "refreshing" => {
            let doubted = unit.unit.ends_with(".service") && matches!(state.kind.as_str(), "simple" | "exec" | "idle");
            let (since, restarts) = *first.get_or_insert_with(|| (Instant::now(), state.restarts));
            if restarts != state.restarts {
                *first = None;
                return None;
            }
            (!doubted || since.elapsed() > DOUBT).then_some(Ok(()))
        }
        _ => None,
    }
}

/// It is neither running nor failed, and nothing is going on with it any more.
fn ended(unit: &Pending, state: &State) -> ProviderError {
    let name = &unit.unit;
    if state.condition_failed {
        return ProviderError::rejected(format!("`{name}` was not started: a `Condition…=` of its own is not met"))
            .help(format!("`systemctl status {name}` on the host names it"));
    }
    if state.kind == "oneshot" {
        return ProviderError::rejected(format!("`{name}` ran to its end, and so it does not run"))
            .help("a oneshot goes on only with `RemainAfterExit=yes`; else leave `running` out, or put it on the unit's timer");
    }
    failed(unit, "ended right after its start")
}

fn late(unit: &Pending, state: &State) -> ProviderError {
    let what = if unit.goal == Goal::Runs { "does not run" } else { "has not stopped" };
    let message = format!("is `{}` ({}): it still {what} after {} s", state.active, state.sub, LIMIT.as_secs());
    ProviderError { kind: ErrorKind::Timeout, ..failed(unit, &message) }
}

fn failed(unit: &Pending, how: &str) -> ProviderError {
    let said = systemd::last_words(&unit.unit);
    let said = if said.is_empty() { String::new() } else { format!("; its log ends:\n{said}") };
    ProviderError::rejected(format!("`{}` {how}{said}", unit.unit))
        .help(format!("`journalctl -u {}` on the host shows more", unit.unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(active: &str, kind: &str) -> State {
        State { active: active.into(), kind: kind.into(), ..State::default() }
    }

    fn unit(goal: Goal) -> Pending {
        Pending { id: ResourceId::new("web", "host", "unit", "a.service"), unit: "a.service".into(), goal }
    }

    #[test]
    fn a_unit_that_tells_when_it_is_ready_is_believed_at_once() {
        for kind in ["notify", "forking", "dbus", "oneshot"] {
            assert_eq!(judge(&unit(Goal::Runs), &state("active", kind), &mut None), Some(Ok(())), "{kind}");
        }
    }

    #[test]
    fn a_plain_program_is_looked_at_twice() {
        let mut first = None;
        assert_eq!(judge(&unit(Goal::Runs), &state("active", "simple"), &mut first), None);
        first = Some((Instant::now().checked_sub(2 * DOUBT).unwrap(), 0));
        assert_eq!(judge(&unit(Goal::Runs), &state("active", "simple"), &mut first), Some(Ok(())));
        let again = State { restarts: 1, ..state("active", "simple") };
        assert_eq!(judge(&unit(Goal::Runs), &again, &mut first), None);
    }

    #[test]
    fn a_unit_that_is_being_started_is_waited_for() {
        for active in ["activating", "deactivating"] {
            assert_eq!(judge(&unit(Goal::Runs), &state(active, "notify"), &mut None), None);
        }
        let queued = State { busy: true, ..state("inactive", "simple") };
        assert_eq!(judge(&unit(Goal::Runs), &queued, &mut None), None);
        assert_eq!(judge(&unit(Goal::Stopped), &queued, &mut None), None);
        assert_eq!(judge(&unit(Goal::Stopped), &state("failed", "simple"), &mut None), Some(Ok(())));
    }

    #[test]
    fn a_oneshot_that_ended_is_told_apart_from_a_failure() {
        let answer = judge(&unit(Goal::Runs), &state("inactive", "oneshot"), &mut None);
        assert_eq!(answer.unwrap().unwrap_err().message, "`a.service` ran to its end, and so it does not run");
    }
}
