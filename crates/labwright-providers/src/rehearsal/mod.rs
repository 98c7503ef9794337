//! The lab's network on this machine: a bridge for each zone, a namespace for each host, the very rulesets that an apply
//! would load, listeners on every port that is spoken of; and then everybody really tries everybody.
//!
//! Runs in namespaces that its process has to itself, so whatever ends it takes everything with it. Changes nothing outside.

mod probe;
mod stage;
mod tries;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use labwright_plan::ProviderError;
use labwright_plan::network::nft::Compiler;
use labwright_plan::network::{Matrix, Try};
use serde::Serialize;

use crate::host::command::{SHORT, run};

use stage::Stage;
use tries::{Expected, Outcome, Tried};

/// Programs that a rehearsal needs, with the Debian packages that have them.
pub const TOOLS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub zones: usize,
    pub hosts: usize,
    /// Firewalls that were loaded.
    pub rulesets: usize,
    /// Ordered pairs of machines, and tries between them.
    pub pairs: usize,
    pub tries: usize,
    pub seconds: f64,
    /// Denied by the matrix, enforced by something on the way, and through all the same.
    pub leaks: Vec<Mismatch>,
    /// Allowed by the matrix, and not through.
    pub false_blocks: Vec<Mismatch>,
    /// Allowed by the matrix, and not through, because the answer would go by the router, which saw no question.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<Mismatch>,
    /// Denied by the matrix, and nothing on the way enforces it: which pairs, and on how many ports each.
    pub unenforced: Vec<Unenforced>,
    /// What was stopped on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Ways that are open and did not work while it was stopped.
    pub lost: Vec<Mismatch>,
    /// What every single socket found, for whoever judges it by something else than the matrix.
    #[serde(skip)]
    pub sockets: Vec<Socket>,
}

/// One connection that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub from: String,
    pub to: String,
    pub address: IpAddr,
    /// `443/tcp`, `53/udp`, `icmp`.
    pub what: String,
    pub through: bool,
}

/// A pair that is not as the matrix says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mismatch {
    pub from: String,
    pub to: String,
    /// The address that was tried.
    pub address: String,
    pub ports: Vec<String>,
    /// The flow that lets it through, where one does.
    pub because: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unenforced {
    pub from: String,
    pub to: String,
    pub ports: usize,
}

/// Whether the tools are there; names all that are missing.
pub fn missing() -> Vec<String> {
    let found = |tool: &str| {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            .split(':')
            .any(|folder| Path::new(folder).join(tool).is_file())
    };
    TOOLS
        .iter()
        .filter(|(tool, _)| !found(tool))
        .map(|(tool, package)| format!("`{tool}` (package {package})"))
        .collect()
}

/// Builds the stage, lets everybody try everybody, and compares. `say` hears what goes on.
///
/// # Errors
/// `Rejected` where this machine does not let namespaces be made, or does not take a ruleset.
pub fn run_here(matrix: &Matrix<'_>, fault: Option<&str>, say: &dyn Fn(&str)) -> Result<Report, ProviderError> {
    let compiler = Compiler::new(matrix);
    run_with(matrix, fault, say, &|host| compiler.ruleset(host))
}

/// As `run_here`, with the rulesets of whoever asks: a net that is never made to fail is none.
///
/// # Errors
/// As `run_here`.
pub fn run_with(
    matrix: &Matrix<'_>,
    fault: Option<&str>,
    say: &dyn Fn(&str),
    ruleset: &dyn Fn(usize) -> String,
) -> Result<Report, ProviderError> {
    let begun = Instant::now();
    private_run()?;
    let stage = Stage::of(matrix);
    if stage.nodes.is_empty() {
        return Err(ProviderError::rejected(
            "there is nothing to rehearse: no zone has a subnet, and no host an address",
        )
        .help("give zones `subnet: …` and hosts `zone: …` and `address: …`"));
    }
    say(&format!("{} machines in {} networks", stage.nodes.len(), stage.segments));
    stage.build()?;
    let mut rulesets = 0;
    for node in &stage.nodes {
        if let Some(host) = node.guarded {
            load(&node.namespace, &ruleset(host))?;
            rulesets += 1;
        }
    }
    say(&format!("{rulesets} firewalls loaded"));
    let expected = Expected::of(matrix, &stage);
    say(&format!("{} tries between {} pairs", expected.tries.len(), expected.pairs));
    let stopped = match fault {
        Some(fault) => Some(stage.stop(fault)?),
        None => None,
    };
    let outcomes = probe::all(&stage, &expected, stopped)?;
    let mut report = compare(matrix, &stage, &expected, &outcomes, fault);
    report.zones = matrix.parties.zones.len();
    report.hosts = matrix.parties.hosts.len();
    report.rulesets = rulesets;
    report.sockets = sockets(&stage, &expected, &outcomes);
    report.pairs = expected.pairs;
    report.tries = expected.tries.len();
    report.seconds = (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    Ok(report)
}

fn sockets(stage: &Stage, expected: &Expected, outcomes: &[Outcome]) -> Vec<Socket> {
    let socket = |(tried, outcome): (&Tried, &Outcome)| Socket {
        from: stage.nodes[tried.from].name.clone(),
        to: stage.nodes[tried.to].name.clone(),
        address: tried.address,
        what: tried.what.to_string(),
        through: *outcome == Outcome::Through,
    };
    expected.tries.iter().zip(outcomes).map(socket).collect()
}

/// A `/run` of our own, in the mount namespace that we have to ourselves: names of namespaces stand there.
fn private_run() -> Result<(), ProviderError> {
    run("mount", &["-t", "tmpfs", "labwright", "/run"], SHORT)?.require().map_err(not_allowed)?;
    fs::create_dir_all("/run/netns").map_err(|error| not_allowed(ProviderError::rejected(error.to_string())))
}

fn not_allowed(error: ProviderError) -> ProviderError {
    ProviderError::rejected(format!(
        "this machine does not let the rehearsal have its own namespaces: {}",
        error.message
    ))
    .help("run it as root, or on a machine that allows user namespaces (`sysctl user.max_user_namespaces`)")
}

/// Loads a ruleset in a namespace, as an apply would: checked, then all at once.
fn load(namespace: &str, ruleset: &str) -> Result<(), ProviderError> {
    let path = format!("/run/{namespace}.nft");
    fs::write(&path, ruleset).map_err(|error| ProviderError::rejected(format!("cannot write `{path}`: {error}")))?;
    let net = format!("--net=/run/netns/{namespace}");
    for check in [true, false] {
        let args =
            [&[net.as_str(), "--", "nft"][..], if check { &["--check"][..] } else { &[] }, &["-f", &path]].concat();
        run("nsenter", &args, SHORT)?.require()?;
    }
    Ok(())
}

/// What is told together: the kind of mismatch, from which node to which, at which address, and why it should be otherwise.
type Between = (u8, usize, usize, String, String);

fn compare(
    matrix: &Matrix<'_>,
    stage: &Stage,
    expected: &Expected,
    outcomes: &[Outcome],
    fault: Option<&str>,
) -> Report {
    let mut report = Report { fault: fault.map(str::to_string), ..Report::default() };
    let mut found: BTreeMap<Between, BTreeSet<String>> = BTreeMap::new();
    let mut open: BTreeMap<(usize, usize), BTreeSet<Try>> = BTreeMap::new();
    for (tried, outcome) in expected.tries.iter().zip(outcomes) {
        let Tried { from, to, address, what, allowed, enforced, reliable, unanswered } = tried;
        let kind = match (allowed, outcome) {
            (true, Outcome::Through) | (false, Outcome::Blocked) => continue,
            (false, Outcome::Through) if *enforced => 0,
            (false, Outcome::Through) => {
                open.entry((*from, *to)).or_default().insert(*what);
                continue;
            }
            (true, Outcome::Blocked) if *unanswered && fault.is_none() => 3,
            (true, Outcome::Blocked) if !reliable => continue,
            // What a machine without cables does not open is no news.
            (true, Outcome::Blocked) if fault == Some(stage.nodes[*from].name.as_str()) => continue,
            (true, Outcome::Blocked) if fault.is_some() => 2,
            (true, Outcome::Blocked) => 1,
        };
        let because = stage.grant(matrix, tried).map(|grant| {
            let place = matrix.place(grant.span);
            if place.is_empty() { grant.reason.clone() } else { format!("{} ({place})", grant.reason) }
        });
        let key = (kind, *from, *to, address.to_string(), because.unwrap_or_default());
        found.entry(key).or_default().insert(what.to_string());
    }
    for ((kind, from, to, address, because), ports) in found {
        let mismatch = Mismatch {
            from: stage.nodes[from].name.clone(),
            to: stage.nodes[to].name.clone(),
            address,
            ports: ports.into_iter().collect(),
            because,
        };
        match kind {
            0 => report.leaks.push(mismatch),
            1 => report.false_blocks.push(mismatch),
            3 => report.unanswered.push(mismatch),
            _ => report.lost.push(mismatch),
        }
    }
    let name = |node: usize| stage.nodes[node].name.clone();
    report.unenforced = open
        .into_iter()
        .map(|((from, to), ports)| Unenforced { from: name(from), to: name(to), ports: ports.len() })
        .collect();
    report
}
