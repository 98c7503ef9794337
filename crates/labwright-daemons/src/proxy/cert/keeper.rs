//! Sees to it that every name has a certificate, and that each is renewed in time; and looks after upstreams and the geo
//! database meanwhile. One thread: nothing here is urgent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use labwright_model::snapshot::control;
use labwright_model::snapshot::proxy::{Acme, ProxySnapshot};
use tokio::sync::mpsc;

use super::super::live::Live;
use super::super::{Setting, Shared, health};
use super::acme::{Directory, Refusal};
use super::authority::{Authority, new_key};
use super::dns01::Dns;
use super::now;
use super::shelf::{self, Life, Pair};
use crate::serve::write_whole;

const INTERNAL: &str = "internal";
/// The first wait after a failure; each further one doubles it.
const FIRST: i64 = 60;
const LONGEST: i64 = 6 * 3600;
/// Let's Encrypt gives an account five failed tries a name and hour: whoever is limited waits that long at least.
const LIMITED: i64 = 3600;

/// What is known of one certificate.
struct Entry {
    names: Vec<String>,
    issuer: String,
    life: Option<Life>,
    next: i64,
    attempts: u32,
    error: Option<String>,
}

#[derive(Default)]
struct Kept {
    entries: Vec<Entry>,
    authority: Option<Arc<Authority>>,
    acme: Option<Acme>,
    faults: BTreeMap<&'static str, String>,
}

enum Message {
    Look,
    Watch(Arc<Live>),
}

/// The way to the thread that keeps certificates.
pub struct Keeper {
    setting: Arc<Setting>,
    shared: Arc<Shared>,
    kept: Arc<Mutex<Kept>>,
    queue: mpsc::UnboundedSender<Message>,
}

fn locked(kept: &Mutex<Kept>) -> std::sync::MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    pub fn start(setting: Arc<Setting>, shared: Arc<Shared>) -> Keeper {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (queue, messages) = mpsc::unbounded_channel();
        let thread = Work { setting: setting.clone(), shared: shared.clone(), kept: kept.clone() };
        let started = std::thread::Builder::new().name("keeper".into()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, thread.run(messages)),
                Err(error) => tracing::error!(%error, "nobody keeps the certificates"),
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "nobody keeps the certificates");
        }
        Keeper { setting, shared, kept, queue }
    }

    /// Gives every name of a snapshot a certificate to begin with.
    ///
    /// # Errors
    /// In words: the authority's key is not there or is none, a provider of DNS is not known. Nothing has changed then.
    pub fn configure(&self, snapshot: &ProxySnapshot, tls: bool) -> Result<(), String> {
        let mut kept = locked(&self.kept);
        if !tls {
            kept.entries.clear();
            kept.acme = None;
            self.shared.certs.keep(&[]);
            return Ok(());
        }
        let authority = self.authority(snapshot, kept.authority.as_ref())?;
        if let Some(dns) = snapshot.certificates.acme.as_ref().and_then(|acme| acme.dns.as_ref()) {
            Dns::open(dns, &self.setting)?;
        }
        let addresses = &snapshot.listen.addresses;
        let loopback = ["127.0.0.1", "::1"].iter().filter_map(|text| text.parse().ok());
        let addresses: Vec<_> = addresses.iter().copied().chain(loopback).collect();
        let first = snapshot.certificates.authority.domains.first().cloned().into_iter().collect::<Vec<_>>();
        self.shared.certs.put_default(authority.sign(&first, &addresses)?.certified()?.0);
        let mut entries: Vec<Entry> = Vec::new();
        let before = std::mem::take(&mut kept.entries);
        for (issuer, names) in sets(snapshot) {
            let old = before.iter().find(|entry| entry.issuer == issuer && entry.names == names);
            entries.push(self.entry(&mut kept, &authority, issuer, names, old));
        }
        let names: Vec<String> = entries.iter().flat_map(|entry| entry.names.clone()).collect();
        kept.entries = entries;
        kept.authority = Some(authority);
        kept.acme = snapshot.certificates.acme.clone();
        drop(kept);
        self.shared.certs.keep(&names);
        let _ = self.queue.send(Message::Look);
        Ok(())
    }

    /// One certificate: what is kept where that is good, else one of the lab's own, which stands in for others too.
    fn entry(
        &self,
        kept: &mut Kept,
        authority: &Authority,
        issuer: String,
        names: Vec<String>,
        old: Option<&Entry>,
    ) -> Entry {
        let work = Work { setting: self.setting.clone(), shared: self.shared.clone(), kept: self.kept.clone() };
        let path = work.path(&issuer, &names);
        let mut entry = Entry { names, issuer, life: None, next: 0, attempts: 0, error: None };
        if let Some(old) = old {
            (entry.next, entry.attempts, entry.error) = (old.next, old.attempts, old.error.clone());
        }
        // A leaf of another root than the one that devices are told to trust is no good.
        let fits = |pair: &Pair| entry.issuer != INTERNAL || authority_signed(authority, pair);
        let found = shelf::get(&path).filter(fits).and_then(|pair| pair.certified().ok());
        match found.filter(|(_, life)| life.to > now()) {
            Some((certified, life)) => {
                self.shared.certs.put(&entry.names, &certified);
                entry.life = Some(life);
                entry.next = entry.next.max(life.renew());
            }
            None => match work.sign(authority, &entry.names) {
                Ok((pair, certified, life)) => {
                    self.shared.certs.put(&entry.names, &certified);
                    if entry.issuer == INTERNAL {
                        entry.life = Some(life);
                        entry.next = life.renew();
                        entry.error = work.keep(kept, &path, &pair);
                    }
                }
                Err(why) => entry.error = Some(why),
            },
        }
        count(&self.shared, &entry);
        entry
    }

    /// The lab's own authority, from the credential that the snapshot names, or from a key that is made and kept here.
    fn authority(&self, snapshot: &ProxySnapshot, before: Option<&Arc<Authority>>) -> Result<Arc<Authority>, String> {
        let wanted = &snapshot.certificates.authority;
        if let Some(before) = before.filter(|before| before.is(wanted)) {
            return Ok(before.clone());
        }
        let folder = &self.setting.state;
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot make `{}`: {error}", folder.display()))?;
        let key = match &wanted.key {
            Some(credential) => self.setting.credential(credential)?,
            None => {
                let path = folder.join("authority.key");
                match std::fs::read_to_string(&path) {
                    Ok(key) => zeroize::Zeroizing::new(key),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        let key = new_key()?;
                        write_whole(&path, key.as_bytes(), 0o600).map_err(|error| {
                            format!("the key of the lab's authority cannot be kept in `{}`: {error}", path.display())
                        })?;
                        key
                    }
                    Err(error) => return Err(format!("cannot read `{}`: {error}", path.display())),
                }
            }
        };
        let path = folder.join("authority.pem");
        let there = match std::fs::read_to_string(&path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // Another certificate in its place would be one that nobody trusts yet.
            Err(error) => return Err(format!("cannot read `{}`: {error}", path.display())),
        };
        let authority = Authority::open(wanted, &key, there.as_deref())?;
        if there.as_deref() != Some(authority.pem.as_str()) {
            write_whole(&path, authority.pem.as_bytes(), 0o644)
                .map_err(|error| format!("the lab's authority cannot be kept in `{}`: {error}", path.display()))?;
        }
        Ok(Arc::new(authority))
    }

    /// Looks after the upstreams of a snapshot from now on.
    pub fn watch(&self, live: Arc<Live>) {
        let _ = self.queue.send(Message::Watch(live));
    }

    pub fn faults(&self) -> Vec<String> {
        let kept = locked(&self.kept);
        let of = |entry: &Entry| {
            let why = entry.error.as_ref()?;
            let names = entry.names.join("`, `");
            Some(match entry.life {
                Some(_) => format!("the certificate of `{names}` could not be renewed: {why}"),
                None => format!("no certificate for `{names}`: {why}; one of the lab's own stands in for it"),
            })
        };
        kept.faults.values().cloned().chain(kept.entries.iter().filter_map(of)).collect()
    }

    pub fn certificates(&self) -> Vec<control::Certificate> {
        let kept = locked(&self.kept);
        let of = |entry: &Entry| control::Certificate {
            names: entry.names.clone(),
            issuer: entry.issuer.clone(),
            not_after: entry.life.map(|life| life.to),
            next: Some(entry.next),
            error: entry.error.clone(),
        };
        kept.entries.iter().map(of).collect()
    }

    pub fn authority_pem(&self) -> Option<String> {
        locked(&self.kept).authority.as_ref().map(|authority| authority.pem.clone())
    }
}

fn authority_signed(authority: &Authority, pair: &Pair) -> bool {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let (Ok(root), Ok(leaf)) = (
        CertificateDer::from_pem_slice(authority.pem.as_bytes()),
        CertificateDer::from_pem_slice(pair.chain.as_bytes()),
    ) else {
        return false;
    };
    let (Ok((_, root)), Ok((_, leaf))) =
        (x509_parser::parse_x509_certificate(&root), x509_parser::parse_x509_certificate(&leaf))
    else {
        return false;
    };
    let of_root = root.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    let of_leaf = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        }
        _ => None,
    });
    of_root == of_leaf && leaf.issuer() == root.subject()
}

/// Which certificates a snapshot needs: by issuer, sets of names.
fn sets(snapshot: &ProxySnapshot) -> BTreeSet<(String, Vec<String>)> {
    let mut sets = BTreeSet::new();
    for site in snapshot.sites.iter().filter(|site| !site.passthrough) {
        let Some(acme) = &snapshot.certificates.acme else {
            sets.insert((INTERNAL.to_string(), site.names.clone()));
            continue;
        };
        for name in &site.names {
            let covered = |domain: &&String| {
                name == *domain
                    || name
                        .strip_suffix(domain.as_str())
                        .is_some_and(|rest| rest.matches('.').count() == 1 && rest.ends_with('.'))
            };
            let names = match acme.wildcard.iter().find(covered) {
                Some(domain) => vec![format!("*.{domain}"), domain.clone()],
                // One for each: a name that cannot be proven keeps no other from having one.
                None => vec![name.clone()],
            };
            sets.insert((acme.directory.clone(), names));
        }
    }
    sets
}

fn count(shared: &Shared, entry: &Entry) {
    let labels = vec![("name".to_string(), entry.names.first().cloned().unwrap_or_default())];
    if let Some(life) = entry.life {
        shared.metrics.certificate_ends.get_or_create(&labels).set(life.to);
    }
}

/// What the thread works with.
struct Work {
    setting: Arc<Setting>,
    shared: Arc<Shared>,
    kept: Arc<Mutex<Kept>>,
}

type Signed = (Pair, Arc<rustls::sign::CertifiedKey>, Life);

impl Work {
    fn path(&self, issuer: &str, names: &[String]) -> PathBuf {
        shelf::path(&self.setting.state, issuer, names)
    }

    fn sign(&self, authority: &Authority, names: &[String]) -> Result<Signed, String> {
        let pair = authority.sign(names, &[])?;
        let (certified, life) = pair.certified()?;
        Ok((pair, certified, life))
    }

    /// Keeps a certificate on the disk. What is wrong if it cannot be: it is in use all the same.
    fn keep(&self, kept: &mut Kept, path: &std::path::Path, pair: &Pair) -> Option<String> {
        match shelf::put(path, pair) {
            Ok(()) => {
                kept.faults.remove("disk");
                None
            }
            Err(error) => {
                let why = format!("it is in use, and cannot be kept in `{}`: {error}", path.display());
                kept.faults.insert("disk", format!("a certificate cannot be kept: {error}; make room on the disk"));
                Some(why)
            }
        }
    }

    async fn run(self, mut messages: mpsc::UnboundedReceiver<Message>) {
        let mut watched: Option<Arc<Live>> = None;
        let mut tick = tokio::time::interval(health::EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let work = Arc::new(self);
        // Orders take minutes, and upstreams are looked at meanwhile.
        let (look, mut looks) = mpsc::unbounded_channel();
        let orders = work.clone();
        tokio::task::spawn_local(async move {
            while looks.recv().await.is_some() {
                while looks.try_recv().is_ok() {}
                orders.due().await;
            }
        });
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Look) => drop(look.send(())),
                    Some(Message::Watch(live)) => watched = Some(live),
                    None => return,
                },
                _ = tick.tick() => {
                    let _ = look.send(());
                    if let Some(live) = &watched {
                        health::look(live).await;
                        live.geo.iter().for_each(|geo| geo.refresh());
                    }
                }
            }
        }
    }

    /// Gets every certificate whose time has come.
    async fn due(&self) {
        loop {
            let (job, acme, authority) = {
                let kept = locked(&self.kept);
                let due = kept.entries.iter().find(|entry| entry.next <= now());
                let Some(entry) = due else { return };
                let job = (entry.issuer.clone(), entry.names.clone(), entry.attempts);
                (job, kept.acme.clone(), kept.authority.clone())
            };
            let (issuer, names, attempt) = job;
            let got = match (issuer.as_str(), authority, acme) {
                (INTERNAL, Some(authority), _) => authority.sign(&names, &[]).map_err(Refusal::from),
                (_, _, Some(acme)) => self.ask(&acme, &names, attempt).await,
                _ => Err("nobody signs it any more".to_string().into()),
            };
            self.note(&issuer, &names, got);
        }
    }

    async fn ask(&self, acme: &Acme, names: &[String], attempt: u32) -> Result<Pair, Refusal> {
        std::fs::create_dir_all(&self.setting.state)
            .map_err(|error| format!("cannot make `{}`: {error}", self.setting.state.display()))?;
        let dns = acme.dns.as_ref().map(|dns| Dns::open(dns, &self.setting)).transpose()?;
        let directory = Directory::open(acme, &self.setting).await?;
        directory.order(names, &self.shared.certs, dns.as_ref(), attempt).await
    }

    /// Puts a certificate into use, or notes why there is none and when it is tried again.
    fn note(&self, issuer: &str, names: &[String], got: Result<Pair, Refusal>) {
        let mut kept = locked(&self.kept);
        let path = self.path(issuer, names);
        let used = got.and_then(|pair| {
            let (certified, life) = pair.certified().map_err(|why| format!("what it gave is no good: {why}"))?;
            Ok((pair, certified, life))
        });
        // A snapshot that came meanwhile may want it no more.
        let Some(at) = kept.entries.iter().position(|entry| entry.issuer == issuer && entry.names == names) else {
            return;
        };
        match used {
            Ok((pair, certified, life)) => {
                self.shared.certs.put(names, &certified);
                let error = self.keep(&mut kept, &path, &pair);
                tracing::info!(names = names.join(" "), issuer, until = life.to, "a certificate is in use");
                let entry = &mut kept.entries[at];
                (entry.life, entry.next, entry.attempts, entry.error) = (Some(life), life.renew(), 0, error);
                count(&self.shared, entry);
            }
            Err(refusal) => {
                let entry = &mut kept.entries[at];
                let wait = wait(entry.attempts, &refusal);
                tracing::error!(names = names.join(" "), issuer, why = refusal.words, seconds = wait, "no certificate");
                entry.attempts += 1;
                entry.next = now() + wait;
                entry.error = Some(refusal.words);
                let labels = vec![("name".to_string(), names.first().cloned().unwrap_or_default())];
                self.shared.metrics.certificate_errors.get_or_create(&labels).inc();
            }
        }
    }
}

/// Seconds until the next try: what the directory asks for, else twice as long as before; spread, so that many labs do not
/// come at once.
fn wait(attempts: u32, refusal: &Refusal) -> i64 {
    // A nonce that has grown old is no fault of anybody: RFC 8555, 6.5 has the request repeated.
    if refusal.words.ends_with("(badNonce)") && attempts < 10 {
        return 1;
    }
    let doubled = (FIRST << attempts.min(16)).min(LONGEST);
    let least = if refusal.limited { doubled.max(LIMITED) } else { doubled };
    let asked = refusal.wait.and_then(|wait| i64::try_from(wait).ok()).unwrap_or(0);
    let spread = rand::random::<u64>() % (least as u64 / 10).max(1);
    least.max(asked) + spread as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_limits_are_kept() {
        let plain = Refusal::from("no".to_string());
        assert!((60..=66).contains(&wait(0, &plain)));
        assert!((120..=132).contains(&wait(1, &plain)));
        assert!((LONGEST..=LONGEST + LONGEST / 10).contains(&wait(60, &plain)));
        let limited = Refusal { limited: true, ..plain.clone() };
        assert!(wait(0, &limited) >= LIMITED);
        let told = Refusal { wait: Some(86_400), ..limited };
        assert!(wait(0, &told) >= 86_400);
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds() {
        assert_eq!(Life { from: 0, to: 90 }.renew(), 60);
    }
}
