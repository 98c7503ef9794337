//! What `plan`, `apply`, `destroy` and `drift` have in common: the options, looking at the world, making the plan.

use std::borrow::Cow;
use std::collections::BTreeSet;

use labwright_engine::protocol::Verdict;
use labwright_engine::{Fleet, Letters, Target};
use labwright_plan::sealed::needed;
use labwright_plan::{
    Adopt, Observation, Options, Pending, Plan, PlanInput, Provider, Resource, ResourceId, Selection,
};

use crate::error::{CliError, Exit};
use crate::lab::{PROVIDERS, Ready, SshArgs};
use crate::secrets;
use crate::terminal::Terminal;

#[derive(clap::Args, Clone, Debug)]
pub struct PlanArgs {
    /// Only these: a host, an id, or the front of one (`docker-01/host/file`); `*` stands for anything.
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<String>,
    /// All but these.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Only hosts with this tag.
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Only what is placed in this environment, with what it comes after on its hosts.
    #[arg(long, value_name = "ENVIRONMENT", conflicts_with = "only")]
    pub environment: Option<String>,
    /// Also remove what is the lab's and no longer declared. Data is kept all the same.
    #[arg(long)]
    pub prune: bool,
    /// Remove this although it holds data. Name it by its id.
    #[arg(long, value_name = "ID")]
    pub delete_data: Vec<String>,
    /// Take over what is there and is not the lab's: an id, or `all`.
    #[arg(long, value_name = "ID")]
    pub adopt: Vec<String>,
    /// Let more than 30 % of ten or more things of a kind be removed at once.
    #[arg(long)]
    pub release_brake: bool,
    #[command(flatten)]
    pub ssh: SshArgs,
}

impl PlanArgs {
    pub fn options(&self, ready: &Ready) -> Result<Options, CliError> {
        let hosts = self.tag.as_deref().map(|tag| ready.tagged(tag)).transpose()?;
        let adopt = match self.adopt.iter().any(|id| id == "all") {
            true => Adopt::All,
            false if self.adopt.is_empty() => Adopt::AsDeclared,
            false => Adopt::These(ids(&self.adopt)?),
        };
        let only = match &self.environment {
            Some(environment) => of_environment(ready, environment)?,
            None => self.only.clone(),
        };
        Ok(Options {
            selection: Selection { only, exclude: self.exclude.clone(), hosts },
            prune: self.prune,
            delete_data: ids(&self.delete_data)?,
            adopt,
            release_brake: self.release_brake,
        })
    }
}

/// What is placed in an environment, as patterns of ids.
pub fn of_environment(ready: &Ready, environment: &str) -> Result<Vec<String>, CliError> {
    let declared: Vec<&str> = ready.parsed.lab.environments.iter().map(|name| name.value.as_str()).collect();
    if !declared.contains(&environment) {
        let error = CliError::usage(format!("this lab has no environment `{environment}`"));
        return Err(error.hint(match labwright_model::finding::nearest(environment, declared.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if declared.is_empty() => "declare environments: `environments: [dev, prod]`".into(),
            None => format!("it has {}", declared.join(", ")),
        }));
    }
    let desired =
        |pattern: &String| ready.desired.iter().any(|resource| Selection::covers(pattern, resource.id.as_str()));
    let patterns: Vec<String> =
        labwright_providers::docker::of_environment(&ready.parsed, environment).into_iter().filter(desired).collect();
    match patterns.is_empty() {
        true => Err(CliError::usage(format!("nothing is placed in `{environment}`"))
            .hint(format!("place a service there: `environments: [{environment}]` in the service"))),
        false => Ok(patterns),
    }
}

pub fn ids(texts: &[String]) -> Result<BTreeSet<ResourceId>, CliError> {
    let parse = |text: &String| {
        ResourceId::parse(text).ok_or_else(|| {
            CliError::usage(format!("`{text}` is not an id"))
                .hint("an id is host/provider/kind/name, as the plan prints it")
        })
    };
    texts.iter().map(parse).collect()
}

/// The world as it was seen, and the links to go on with.
pub struct World<'a> {
    pub fleet: Fleet,
    pub observed: Observation,
    /// What is desired, with the hashes that the hosts know their secrets by.
    pub desired: Cow<'a, [Resource]>,
    /// The secrets that hosts need, sealed for each.
    pub letters: Letters,
}

/// Looks at every host that the selection can mean, and at the hosts in `also`.
pub fn look<'a>(
    ready: &Ready,
    desired: &'a [Resource],
    options: &Options,
    ssh: &SshArgs,
    also: &BTreeSet<String>,
    terminal: &Terminal,
) -> Result<World<'a>, CliError> {
    for gone in ready.gone()? {
        terminal.warn(&format!("`{gone}` is no longer in the lab; what labwright made there stays as it is"));
        terminal.hint(&format!(
            "to remove it: put `{gone}` back, run `labwright destroy --only {gone}`, and take it out again"
        ));
    }
    let wanted = |host: &str| options.selection.wants_host(host) || also.contains(host);
    let targets: Vec<Target> = ready.targets(ssh, options.prune || !also.is_empty(), wanted)?;
    let (mut fleet, mut observed) = labwright_engine::observe(ready.name(), &targets, desired, PROVIDERS);
    tell_uploads(&fleet, terminal);
    means_something(ready, desired, options, &observed)?;
    tell_pending(&observed, terminal);
    let needed = needed(desired, &observed, PROVIDERS);
    let names = needed.values().flatten().map(String::as_str).collect();
    let secrets = secrets::values(ready, &names, terminal);
    let letters = fleet.letters(ready.name(), &needed, &secrets).map_err(|error| CliError::usage(error.message))?;
    fleet.observe_with_secrets(ready.name(), desired, &letters, PROVIDERS, &mut observed);
    let mut desired = Cow::Borrowed(desired);
    if !secrets.is_empty() {
        fleet.seal(desired.to_mut(), &secrets);
    }
    for provider in PROVIDERS {
        if settles(*provider, &desired) {
            provider.settle(desired.to_mut(), &mut observed);
        }
    }
    Ok(World { fleet, observed, desired, letters })
}

/// The first look at a host leaves the program there, a plan's too; whoever plans hears of it.
fn tell_uploads(fleet: &Fleet, terminal: &Terminal) {
    let uploaded = fleet.uploaded();
    let Some(bytes) = uploaded.values().next() else { return };
    let hosts: Vec<String> = uploaded.keys().map(|host| format!("`{host}`")).collect();
    terminal.say(&format!(
        "put this program on {} to look from there ({} MB, in /var/lib/labwright/bin, or ~/.cache/labwright/bin without root); nothing else was written",
        hosts.join(", "),
        bytes.div_ceil(1_000_000)
    ));
}

/// Whether a provider has anything in this lab: a copy of all that is desired is made only for those.
fn settles(provider: &dyn Provider, desired: &[Resource]) -> bool {
    provider.name() != "host" && desired.iter().any(|resource| resource.id.provider() == provider.name())
}

impl World<'_> {
    /// Before anything is applied: what an earlier run left unconfirmed goes back at once, instead of in the middle of this one.
    pub fn settle(&mut self, ready: &Ready, terminal: &Terminal) -> Result<(), CliError> {
        let left = |host: &&String| {
            let pending = self.observed.reached(host).map(|seen| &seen.pending);
            pending.is_some_and(|pending| pending.iter().any(|pending| !pending.awaited))
        };
        let hosts: Vec<String> = self.observed.hosts.keys().filter(left).cloned().collect();
        if hosts.is_empty() {
            return Ok(());
        }
        for (host, settled) in self.fleet.settle(&hosts) {
            for (pending, verdict) in settled.map_err(CliError::from)? {
                match verdict {
                    Verdict::Stuck { because } => {
                        let message = format!(
                            "what {} left unconfirmed on `{host}` could not be taken back: {because}",
                            pending.by
                        );
                        return Err(CliError::new(Exit::Partly, message)
                            .hint("nothing more was changed; look at it on the host"));
                    }
                    Verdict::Reverted { .. } => {
                        terminal.say(&format!("`{}`: what {} left unconfirmed is taken back", pending.id, pending.by));
                    }
                    // Somebody else came to it first.
                    Verdict::Confirmed | Verdict::Superseded | Verdict::Pending | Verdict::Unknown => {}
                }
            }
        }
        self.observed = self.fleet.observe_again(ready.name(), &self.desired, PROVIDERS);
        Ok(())
    }
}

/// Says which changes still wait for their confirmation.
fn tell_pending(observed: &Observation, terminal: &Terminal) {
    for (host, pending) in observed.hosts.keys().filter_map(|host| Some((host, &observed.reached(host)?.pending))) {
        for Pending { id, by, left, .. } in pending {
            let when = if *left > 0 { format!("in {left} s") } else { "any moment".to_string() };
            terminal.warn(&format!("`{id}`, changed by {by} on `{host}`, is not confirmed yet: it goes back {when}"));
        }
    }
}

/// A pattern or id that fits nothing is a typing error: with `--exclude`, a dangerous one.
fn means_something(
    ready: &Ready,
    desired: &[Resource],
    options: &Options,
    observed: &Observation,
) -> Result<(), CliError> {
    let hosts: Vec<&str> = ready.parsed.lab.compute.hosts.keys().map(String::as_str).collect();
    let marks = || observed.hosts.keys().filter_map(|host| observed.reached(host)).flat_map(|host| host.marks.keys());
    let fits = |pattern: &str| {
        hosts.iter().any(|host| Selection::covers(pattern, host))
            || ready.desired.iter().chain(desired).any(|resource| Selection::covers(pattern, resource.id.as_str()))
            || marks().any(|id| Selection::covers(pattern, id.as_str()))
    };
    let selection = &options.selection;
    let named = match &options.adopt {
        Adopt::These(ids) => ids.iter().collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let ids = named.into_iter().chain(&options.delete_data).map(ResourceId::as_str);
    let patterns = selection.only.iter().chain(&selection.exclude).map(String::as_str);
    match patterns.chain(ids).find(|pattern| !fits(pattern)) {
        None => Ok(()),
        Some(pattern) => {
            let error = CliError::usage(format!("`{pattern}` fits nothing in this lab"));
            let near =
                labwright_model::finding::nearest(pattern.split('/').next().unwrap_or(pattern), hosts.iter().copied());
            Err(error.hint(
                near.map_or("`labwright show desired` lists every id".into(), |near| format!("did you mean `{near}`?")),
            ))
        }
    }
}

pub fn make(ready: &Ready, desired: &[Resource], observed: &Observation, options: &Options) -> Plan {
    labwright_plan::plan(&PlanInput {
        lab: ready.name(),
        lab_hash: &ready.hash,
        desired,
        observed,
        providers: PROVIDERS,
        options,
        intermittent: &ready.intermittent(),
        clock: Some(labwright_engine::now().as_second()),
    })
}

/// What a plan without a run ends with.
pub fn exit(plan: &Plan, changes: Exit) -> Exit {
    match plan {
        plan if plan.is_partial() => Exit::Unreachable,
        plan if !plan.is_empty() || !plan.report.blocked.is_empty() => changes,
        _ => Exit::Done,
    }
}
