//! The rules: what a lab must not say. Pure, offline, one file a rule.
//! A rule judges the whole lab; faults of the text itself were found when it was read.

use labwright_model::{Finding, Findings, Parsed, Severity, codes, finding, side_by_side};

mod case;
pub(crate) mod containers;
mod format;
mod image;
mod passage;
mod references;
mod sources;
mod spelling;

mod compute;
mod edge;
mod lab;
pub(crate) mod network;
mod platform;
mod protection;
mod services;

pub use case::Case;
pub use format::{NO_SUCH_ASSET, NOT_A_PUBLIC_KEY};
pub use platform::{secret_in_the_clear, secret_is_used};

/// One rule. Its page, its examples and its code live in its file.
pub trait Rule: Sync {
    /// Stable: `LW-NET-003`.
    fn code(&self) -> &'static str;
    /// A few words.
    fn title(&self) -> &'static str;
    /// What it means, why it matters, where it comes from, the way out. Markdown.
    fn doc(&self) -> &'static str;
    /// A lab that breaks it, and the same lab mended.
    fn examples(&self) -> Examples;
    fn check(&self, case: &Case<'_>, findings: &mut Findings);
}

/// Two labs: the first breaks the rule, the second does not.
pub struct Examples {
    pub fails: &'static str,
    pub passes: &'static str,
}

/// Every rule, in the order of the layers.
pub const RULES: &[&dyn Rule] = &[
    &lab::UnknownName,
    &lab::AmbiguousName,
    &lab::NameForm,
    &lab::Cycle,
    &lab::RenamedFrom,
    &edge::PublicWithoutAccess,
    &edge::PublicName,
    &edge::ManagementReachable,
    &edge::AdministrationPastVpn,
    &edge::Certificate,
    &edge::SecondDomain,
    &edge::OneName,
    &edge::NoWayIn,
    &edge::Door,
    &edge::NamelessRecord,
    &edge::ToldProxy,
    &edge::AdminPage,
    &edge::SharedPort,
    &edge::MeshCoordination,
    &network::DuplicateAddress,
    &network::Vlan,
    &network::OverlappingSubnets,
    &network::AddressOutsideZone,
    &network::UndecidedPair,
    &network::Inward,
    &network::FlatZone,
    &network::HostNetworking,
    &network::PublishedEverywhere,
    &network::AddressForName,
    &network::EverythingBetween,
    &network::Egress,
    &network::NotEnforced,
    &network::NotOpened,
    &network::ForeignRouter,
    &network::LockedOut,
    &network::InterfaceSetup,
    &network::Nameless,
    &network::VpnZone,
    &network::VpnWayBack,
    &compute::ZoneOfHost,
    &compute::HostAddress,
    &compute::OnlyARole,
    &compute::LocalHost,
    &compute::HostKeys,
    &compute::HostState,
    &compute::UnmanagedHost,
    &compute::SecretInState,
    &compute::SinglePoint,
    &compute::SharedFallback,
    &compute::MixedHost,
    &compute::RunnerHost,
    &compute::Overcommit,
    &compute::IntermittentHost,
    &compute::HostOwner,
    &compute::Autostart,
    &platform::UndecidedRole,
    &platform::UndefinedSecret,
    &platform::UnusedSecret,
    &platform::SharedSecret,
    &platform::PlaintextSecret,
    &platform::UnownedKey,
    &platform::NoRecoveryKey,
    &platform::UnusableStore,
    &platform::SenselessGenerator,
    &platform::DnsBootstrap,
    &platform::SecretsBootstrap,
    &platform::BackupBootstrap,
    &platform::Watcher,
    &platform::OneResolver,
    &platform::RegistryUpkeep,
    &platform::SilentAlerts,
    &platform::RecoveryOrder,
    &platform::UnservableRecord,
    &platform::UnaskableUpstream,
    &platform::BlockedName,
    &platform::SecondResolver,
    &platform::ToldResolver,
    &services::PlacementRule,
    &services::Unprotected,
    &services::Production,
    &services::HiddenDependency,
    &services::MixedStack,
    &services::MovingImage,
    &services::SharedTag,
    &services::Unprobed,
    &services::Powers,
    &protection::SharedFate,
    &protection::SnapshotAsBackup,
    &protection::TooFewCopies,
    &protection::NoDrill,
    &protection::ProofExpires,
    &protection::ShortRetention,
    &protection::LockedPassphrase,
    &protection::OfflineCopy,
    &protection::OverdueCopy,
    &protection::UnusedProtection,
    &protection::Unencrypted,
    &protection::CopiedAsFiles,
    // Last: it reads what the others found.
    &lab::EverythingIsLab,
];

/// All findings of a lab, sorted, with those taken out that the user accepted in a comment.
pub fn check(parsed: &Parsed) -> Findings {
    judge(&Case::of(parsed))
}

/// As `check`, for whoever goes on with what the rules made of the lab.
pub fn judge(case: &Case<'_>) -> Findings {
    settled(case, None, found(case))
}

/// As `judge`, with what whoever runs containers found in the same lab, accepted and told like the rest.
pub fn judge_with(case: &Case<'_>, of_containers: Findings) -> Findings {
    settled(case, Some(of_containers), found(case))
}

/// As `judge_with`, one rule after the other, with somebody around each who may look at a clock, which nothing here may.
/// What several rules share is made within the first of them that asks for it.
pub fn judge_watched(
    case: &Case<'_>,
    of_containers: Findings,
    around: &mut dyn FnMut(&'static str, &mut dyn FnMut()),
) -> Findings {
    let mut findings = case.parsed.findings.clone();
    if !case.parsed.incomplete {
        for rule in RULES {
            around(rule.code(), &mut || rule.check(case, &mut findings));
        }
    }
    settled(case, Some(of_containers), findings)
}

/// From how much text on the rules of a lab are shared out: a smaller lab is judged before a thread has begun.
const SHARED_OUT: usize = 64 << 10;

/// What was found when the lab was read, and what each rule finds, in their order.
fn found(case: &Case<'_>) -> Findings {
    let mut findings = case.parsed.findings.clone();
    // Names that a missing file holds would look unknown.
    if case.parsed.incomplete {
        return findings;
    }
    let Some((last, others)) = RULES.split_last() else { return findings };
    let text: usize = case.parsed.sources.iter().map(|source| source.text.len()).sum();
    if text < SHARED_OUT {
        others.iter().for_each(|rule| rule.check(case, &mut findings));
    } else {
        let judge = |rule: &&dyn Rule| {
            let mut findings = Findings::new();
            rule.check(case, &mut findings);
            findings
        };
        findings.extend(side_by_side(others, judge).into_iter().flatten());
    }
    last.check(case, &mut findings);
    findings
}

/// All findings but those that are accepted, sorted.
fn settled(case: &Case<'_>, of_containers: Option<Findings>, mut findings: Findings) -> Findings {
    let parsed = case.parsed;
    let whole = of_containers.is_some();
    let (acceptable, fixed): (Findings, Findings) =
        of_containers.into_iter().flatten().partition(|finding| CONTAINERS.contains(&finding.code));
    findings.extend(acceptable);
    let judged = |code: &str| {
        let dated = parsed.as_of.is_some() || !DATED.contains(&code);
        let contained = whole || !CONTAINERS.contains(&code);
        dated && contained && !LOWERING.contains(&code)
    };
    accept(parsed, &mut findings, &fixed, &judged);
    findings.extend(fixed);
    finding::sort(&mut findings);
    findings
}

/// What a rule says first of a lab, accepted or not: what a page praises must not be what a rule finds.
pub(crate) fn says(parsed: &Parsed, code: &str) -> Option<String> {
    let rule = RULES.iter().find(|rule| rule.code() == code)?;
    let mut findings = Findings::new();
    rule.check(&Case::of(parsed), &mut findings);
    findings.into_iter().next().map(|finding| finding.message)
}

pub(crate) use network::is_public;
pub(crate) use platform::is_prober;
pub(crate) use protection::places::repository_hosts;
pub(crate) use protection::policies::of as policy_of;
pub(crate) use protection::says_no_encryption;
pub(crate) use services::{keeps_nothing, names_digests};

/// Codes of findings that only lowering makes: without it nobody can say that an acceptance of one is stale.
const LOWERING: &[&str] = &[format::NO_SUCH_ASSET, format::NOT_A_PUBLIC_KEY];

/// Codes of findings that only who runs containers makes, and that may be accepted: as with those of lowering.
const CONTAINERS: &[&str] = &[codes::SECRET_VARIABLE];

/// Codes of findings that need to know the day; without it they are neither made nor missed.
pub const DATED: &[&str] = &[protection::OVERDUE];

/// Findings of lowering, with those taken out that the user accepted in a comment.
pub fn lowered(parsed: &Parsed, mut findings: Findings) -> Findings {
    let (mut acceptable, fixed): (Findings, Findings) =
        findings.drain(..).partition(|finding| LOWERING.contains(&finding.code) || CONTAINERS.contains(&finding.code));
    let judged = |code: &str| LOWERING.contains(&code) || CONTAINERS.contains(&code);
    accept(parsed, &mut acceptable, &fixed, &judged);
    acceptable.extend(fixed);
    acceptable
}

/// Takes out what is accepted at its place; an acceptance that accepts nothing is a finding itself. What is `fixed` no
/// comment accepts: nothing can be made of what it tells of.
fn accept(parsed: &Parsed, findings: &mut Findings, fixed: &Findings, judged: &dyn Fn(&str) -> bool) {
    for allow in parsed.allows.iter().filter(|allow| judged(&allow.code)) {
        let before = findings.len();
        let meant = |finding: &Finding| {
            let here = parsed.place(finding.span).is_some_and(|place| place.line == allow.line)
                && finding.span.file == allow.span.file;
            here && finding.code == allow.code
        };
        findings.retain(|finding| !meant(finding));
        // What could not be judged cannot be gone either.
        if findings.len() < before || parsed.incomplete {
            continue;
        }
        if fixed.iter().any(meant) {
            let message = format!("`{}` cannot be accepted: nothing can be made of what it tells of", allow.code);
            let stale = Finding::error(codes::STALE_ALLOW, "", allow.span, message);
            findings.push(stale.help("mend what it tells of, and remove the comment"));
            continue;
        }
        let message = format!("nothing to accept here: `{}` is not found on line {}", allow.code, allow.line);
        let known = is_known(&allow.code);
        let mut stale = Finding::warning(codes::STALE_ALLOW, "", allow.span, message);
        stale.help = match known {
            true => {
                "the fault is gone or stands on another line: remove the comment, or move it to the line of the fault"
                    .into()
            }
            false => {
                let codes = all_codes();
                match finding::nearest(&allow.code, codes.iter().copied()) {
                    Some(near) => format!("there is no `{}`; did you mean `{near}`?", allow.code),
                    None => format!("there is no `{}`; `labwright explain` lists all codes", allow.code),
                }
            }
        };
        stale.severity = if known { Severity::Warning } else { Severity::Error };
        findings.push(stale);
    }
}

fn is_known(code: &str) -> bool {
    all_codes().contains(&code)
}

/// Every code that a finding can have.
pub fn all_codes() -> Vec<&'static str> {
    format::PAGES.iter().map(|page| page.code).chain(RULES.iter().map(|rule| rule.code())).collect()
}

/// The page of a code, as Markdown; `None` for an unknown one.
pub fn explain(code: &str) -> Option<String> {
    let code = code.to_ascii_uppercase();
    if let Some(page) = format::PAGES.iter().find(|page| page.code == code) {
        return Some(format!("# {}: {}\n\n{}\n", page.code, page.title, page.doc.trim()));
    }
    let rule = RULES.iter().find(|rule| rule.code() == code)?;
    let Examples { fails, passes } = rule.examples();
    Some(format!(
        "# {}: {}\n\n{}\n\nBreaks it:\n\n```yaml\n{}\n```\n\nKeeps it:\n\n```yaml\n{}\n```\n{}",
        rule.code(),
        rule.title(),
        rule.doc().trim(),
        fails.trim(),
        passes.trim(),
        sources::named(rule.doc())
    ))
}

/// Code and title of every finding there is, for listings.
pub fn titles() -> Vec<(&'static str, &'static str)> {
    format::PAGES
        .iter()
        .map(|page| (page.code, page.title))
        .chain(RULES.iter().map(|rule| (rule.code(), rule.title())))
        .collect()
}

#[cfg(test)]
mod helps;
#[cfg(test)]
mod tests;
