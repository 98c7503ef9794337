//! All hosts at once: links opened in parallel, everything observed in one frame a host.
//! Reads only; a host that does not answer is away, and its things are unknown.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use labwright_plan::sealed::seal;
use labwright_plan::{
    HostSeen, Observation, Pending, Provider, ProviderError, Resource, ResourceId, Secrets, Seen, Sight, Spec, Value,
    kind_of, looks_with_secrets,
};

use labwright_secrets::{SecretText, envelope};

use crate::agent::secrets::from;
use crate::link::{Address, Link, open_local, open_ssh};
use crate::protocol::{Broken, HostKey, Lease, Reply, Request, Verdict, Want};

/// Sealed secrets by host: age, in base64.
pub type Letters = BTreeMap<String, String>;

type Providers = &'static [&'static dyn Provider];

/// A host, and the way to it.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    /// Names that it had before.
    pub was: Vec<String>,
    pub way: Way,
}

#[derive(Clone, Debug)]
pub enum Way {
    /// This machine: the agent runs in process.
    Local,
    Ssh(Box<Address>),
}

/// Open links, by host.
#[derive(Default)]
pub struct Fleet {
    pub(crate) links: BTreeMap<String, Link>,
    /// The ways that they were opened by.
    pub(crate) ways: BTreeMap<String, Way>,
    /// The keys of hosts that hold secrets, as they told them.
    keys: BTreeMap<String, HostKey>,
    /// The secrets that some hosts are looked at with.
    looks: Letters,
    /// The names that some hosts had before.
    pub(crate) was: BTreeMap<String, Vec<String>>,
}

pub(crate) fn open(target: &Target, providers: Providers) -> Result<Link, ProviderError> {
    match &target.way {
        Way::Local => Ok(open_local(&target.host, providers)),
        Way::Ssh(address) => open_ssh(address),
    }
}

/// Runs one closure for each target, all at the same time.
pub(crate) fn everywhere<T: Send>(targets: &[Target], act: impl Fn(&Target) -> T + Sync) -> Vec<T> {
    // With nobody to wait beside, this thread does as well as one of its own, whose memory is another's to clean up.
    if let [target] = targets {
        return vec![act(target)];
    }
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = targets.iter().map(|target| scope.spawn(move || act(target))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Connects to every target and looks at every declared and every owned thing there.
pub fn observe(lab: &str, targets: &[Target], desired: &[Resource], providers: Providers) -> (Fleet, Observation) {
    let mut by_host: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for resource in desired {
        by_host.entry(resource.id.host()).or_default().push(resource);
    }
    let looks = everywhere(targets, |target| {
        let resources = by_host.get(target.host.as_str()).map_or(&[][..], Vec::as_slice);
        let mut link = open(target, providers)?;
        let seen = look(&mut link, (lab, &target.host, &target.was), resources, providers, None)?;
        Ok::<_, ProviderError>((link, seen))
    });
    let (mut fleet, mut observation) = (Fleet::default(), Observation::default());
    fleet.was = targets.iter().map(|target| (target.host.clone(), target.was.clone())).collect();
    fleet.was.retain(|_, was| !was.is_empty());
    for (target, look) in targets.iter().zip(looks) {
        let sight = match look {
            Ok((link, (seen, key))) => {
                fleet.links.insert(target.host.clone(), link);
                fleet.ways.insert(target.host.clone(), target.way.clone());
                fleet.keys.extend(key.map(|key| (target.host.clone(), key)));
                Sight::Reached(Box::new(seen))
            }
            Err(error) => Sight::Away(error),
        };
        observation.hosts.insert(target.host.clone(), sight);
    }
    (fleet, observation)
}

impl Fleet {
    /// Hosts that the program was just put on, with how many bytes that was.
    pub fn uploaded(&self) -> BTreeMap<&str, u64> {
        self.links.iter().filter_map(|(host, link)| Some((host.as_str(), link.uploaded?))).collect()
    }

    /// Gives what is desired the hashes that each host knows its secrets by. What cannot be read stays without one.
    pub fn seal(&self, desired: &mut [Resource], secrets: &Secrets) {
        for resource in desired {
            if let Some(key) = self.keys.get(resource.id.host()) {
                seal(&mut resource.spec, secrets, &key.change_key);
            }
        }
    }

    /// The secrets of each host, sealed for its key: exactly those that are named for it.
    pub fn letters(
        &self,
        lab: &str,
        named: &BTreeMap<String, BTreeSet<String>>,
        secrets: &Secrets,
    ) -> Result<Letters, ProviderError> {
        let mut letters = Letters::new();
        for (host, names) in named {
            let Some(key) = self.keys.get(host) else { continue };
            let value = |name: &String| Some((name.clone(), SecretText::new(secrets.get(name)?.to_string())));
            let values: BTreeMap<String, SecretText> = names.iter().filter_map(value).collect();
            let letter = envelope::seal(&key.recipient, lab, host, &values).map_err(from)?;
            letters.insert(host.to_string(), BASE64.encode(letter));
        }
        Ok(letters)
    }

    /// Looks a second time, with their secrets, at the hosts where something cannot be looked at without.
    pub fn observe_with_secrets(
        &mut self,
        lab: &str,
        desired: &[Resource],
        letters: &Letters,
        providers: Providers,
        observation: &mut Observation,
    ) {
        let needs = |id: &ResourceId| looks_with_secrets(providers, id);
        let of_desired = desired.iter().map(|resource| &resource.id).filter(|id| needs(id)).map(ResourceId::host);
        let mut hosts: BTreeSet<&str> = of_desired.collect();
        for host in self.links.keys() {
            let marks = observation.reached(host).map(|seen| &seen.marks);
            if marks.is_some_and(|marks| marks.keys().any(needs)) {
                hosts.insert(host);
            }
        }
        let told = |host: &&str| Some((host.to_string(), letters.get(*host)?.clone()));
        self.looks = hosts.iter().filter_map(told).collect();
        if !self.looks.is_empty() {
            let again = self.look_again(lab, desired, providers, |host, looks| looks.contains_key(host));
            observation.hosts.extend(again.hosts);
        }
    }

    /// Looks again over the open links: one round trip a host.
    pub fn observe_again(&mut self, lab: &str, desired: &[Resource], providers: Providers) -> Observation {
        self.look_again(lab, desired, providers, |_, _| true)
    }

    fn look_again(
        &mut self,
        lab: &str,
        desired: &[Resource],
        providers: Providers,
        wanted: impl Fn(&str, &Letters) -> bool,
    ) -> Observation {
        let mut by_host: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
        for resource in desired {
            by_host.entry(resource.id.host()).or_default().push(resource);
        }
        let (by_host, looks, was) = (&by_host, &self.looks, &self.was);
        let look_again = |(host, link): (&String, &mut Link)| {
            let resources = by_host.get(host.as_str()).map_or(&[][..], Vec::as_slice);
            let was = was.get(host).map_or(&[][..], Vec::as_slice);
            let sight = match look(link, (lab, host, was), resources, providers, looks.get(host)) {
                Ok((seen, _)) => Sight::Reached(Box::new(seen)),
                Err(error) => Sight::Away(error),
            };
            (host.clone(), sight)
        };
        let look_again = &look_again;
        let links = self.links.iter_mut().filter(|(host, _)| wanted(host, looks));
        let hosts = std::thread::scope(|scope| {
            let threads: Vec<_> = links.map(|link| scope.spawn(move || look_again(link))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        Observation { hosts }
    }
}

fn look(
    link: &mut Link,
    (lab, host, was): (&str, &str, &[String]),
    resources: &[&Resource],
    providers: Providers,
    letter: Option<&String>,
) -> Result<(HostSeen, Option<HostKey>), ProviderError> {
    let want = resources
        .iter()
        .map(|resource| Want { id: resource.id.clone(), spec: light(&resource.id, &resource.spec, providers) })
        .collect();
    let (lab, host, was) = (lab.to_string(), host.to_string(), was.to_vec());
    link.send(Request::Observe { lab, host, was, want, letter: letter.cloned() })?;
    match link.receive()? {
        Reply::Observed { mut seen, key } => {
            put_content_back(&mut seen, resources);
            Ok((*seen, key.map(|key| *key)))
        }
        Reply::Failed(error) => Err(error),
        _ => Err(ProviderError::bug("the agent answered something that was not asked")),
    }
}

/// The fields without their content: the agent only needs to recognise it.
fn light(id: &ResourceId, spec: &Spec, providers: Providers) -> Spec {
    let kind = kind_of(providers, id);
    let content = |name: &str| kind.and_then(|kind| kind.field(name)).is_some_and(|field| field.content);
    let value = |name: &String, value: &Value| match value.digest() {
        Some(digest) if content(name) => Value::Digest(digest),
        _ => value.clone(),
    };
    spec.iter().map(|(name, v)| (name.clone(), value(name, v))).collect()
}

/// Content that the agent left out because it is as wanted.
fn put_content_back(seen: &mut HostSeen, resources: &[&Resource]) {
    let wanted: BTreeMap<&ResourceId, &Spec> =
        resources.iter().map(|resource| (&resource.id, &resource.spec)).collect();
    for (id, seen_here) in &mut seen.seen {
        let Seen::Present(observed) = seen_here else { continue };
        for (name, value) in observed.spec.iter_mut().filter(|(_, value)| **value == Value::Same) {
            let known = wanted.get(id).copied().or_else(|| seen.marks.get(id).map(|mark| &mark.applied));
            *value = known.and_then(|spec| spec.get(name)).cloned().unwrap_or_default();
        }
    }
}

impl Fleet {
    /// Has each of these hosts take back what nobody confirmed and nobody waits for.
    pub fn settle(&mut self, hosts: &[String]) -> Answers<Vec<(Pending, Verdict)>> {
        let links = self.links.iter_mut().filter(|(host, _)| hosts.contains(host));
        let settle = |(host, link): (&String, &mut Link)| {
            let settled = link.send(Request::Settle).and_then(|()| match link.receive()? {
                Reply::Settled { settled } => Ok(settled),
                Reply::Failed(error) => Err(error),
                _ => Err(ProviderError::bug("the agent answered something that was not asked")),
            });
            (host.clone(), settled)
        };
        links.map(settle).collect()
    }
}

/// What each target answered, or why it could not be asked.
pub type Answers<T> = Vec<(String, Result<T, ProviderError>)>;

/// Who holds the lab on each target.
pub fn leases(lab: &str, targets: &[Target], providers: Providers) -> Answers<Option<Lease>> {
    let request = || Request::Lease { lab: lab.to_string() };
    ask(targets, providers, request, |reply| match reply {
        Reply::Lease { lease } => Some(lease),
        _ => None,
    })
}

/// Ends the holders; answers who they were, and whether they are gone.
pub fn break_leases(lab: &str, targets: &[Target], providers: Providers) -> Answers<Broken> {
    let request = || Request::Break { lab: lab.to_string() };
    ask(targets, providers, request, |reply| match reply {
        Reply::Broken(broken) => Some(*broken),
        _ => None,
    })
}

fn ask<T: Send>(
    targets: &[Target],
    providers: Providers,
    request: impl Fn() -> Request + Sync,
    read: impl Fn(Reply) -> Option<T> + Sync,
) -> Answers<T> {
    let answers = everywhere(targets, |target| {
        let mut link = open(target, providers)?;
        link.send(request())?;
        match link.receive()? {
            Reply::Failed(error) => Err(error),
            reply => read(reply).ok_or_else(|| ProviderError::bug("the agent answered something that was not asked")),
        }
    });
    targets.iter().map(|target| target.host.clone()).zip(answers).collect()
}
