//! The thread that sees to lists: reads them when a snapshot comes, fetches them when they are due, reads them again when
//! their files change. Answers never wait for it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use labwright_model::snapshot::dns::{Filter, ListSource};

use super::answer::Core;
use super::lists::fetch::{self, Fetched, Fetcher};
use super::lists::table::Verdict;
use super::lists::{compile, editions, patience};
use super::view::{Filtering, View};
use super::wire::shown;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(3);

/// What the thread is told.
pub enum Told {
    /// There is another snapshot.
    Look,
    /// Fetch all lists now.
    Fetch,
    End,
}

struct Keeper {
    folder: PathBuf,
    fetcher: Fetcher,
    /// When a list is fetched next, and how often that failed in a row.
    due: HashMap<String, (Instant, u32)>,
    faults: HashMap<String, String>,
    editions: Vec<Option<SystemTime>>,
    filter: Option<Filter>,
}

/// Sees to lists until it is told to end, or until nobody serves any more.
pub fn keep(core: &Weak<Core>, folder: PathBuf, fetcher: Fetcher, told: &Receiver<Told>) {
    if let Err(error) = std::fs::create_dir_all(&folder) {
        tracing::warn!(folder = %folder.display(), %error, "the folder of lists cannot be made: lists of URLs will not hold");
    }
    fetch::tidy(&folder);
    let mut keeper =
        Keeper { folder, fetcher, due: HashMap::new(), faults: HashMap::new(), editions: Vec::new(), filter: None };
    loop {
        let Some(core) = core.upgrade() else { return };
        keeper.read(&core);
        if keeper.fetch(&core) {
            keeper.read(&core);
        }
        drop(core);
        match told.recv_timeout(keeper.nap()) {
            Ok(Told::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Told::Fetch) => keeper.due.values_mut().for_each(|(due, _)| *due = Instant::now()),
            Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Keeper {
    /// Reads all lists anew if the snapshot or one of the files is another.
    fn read(&mut self, core: &Arc<Core>) {
        let filter = core.view().snapshot.filter.clone();
        let editions = editions(&self.folder, &filter);
        let known = self.filter.as_ref() == Some(&filter) && self.editions == editions;
        if known && !self.told_of_new_fault(core) {
            return;
        }
        let begun = Instant::now();
        let mut compiled = compile(&self.folder, &filter);
        for (list, status) in filter.lists.iter().zip(&mut compiled.status) {
            if let ListSource::Url(url) = &list.source
                && let Some(fault) = self.faults.get(url)
            {
                status.fault = Some(fault.clone());
            }
        }
        let millis = begun.elapsed().as_millis();
        let (names, expressions) = (compiled.table.names(), compiled.table.expressions());
        let put = |view: &View| -> Result<Option<View>, ()> {
            // Another snapshot may have come while these were read: its lists are next.
            if view.snapshot.filter != filter {
                return Ok(None);
            }
            let filtering = Filtering::new(filter.clone(), std::mem::take(&mut compiled), &view.filter);
            Ok(Some(view.with(Arc::new(filtering))))
        };
        if core.exchange(put) == Ok(true) {
            tracing::info!(lists = filter.lists.len(), names, expressions, millis, "lists are in use");
            self.filter = Some(filter);
            self.editions = editions;
            tell_of_own_names(&core.view());
        }
    }

    /// Whether a fetch failed, or came right again, since lists were read: their status has to say so.
    fn told_of_new_fault(&self, core: &Arc<Core>) -> bool {
        let view = core.view();
        let lists = view.snapshot.filter.lists.iter().zip(&view.filter.compiled.status);
        lists.into_iter().any(|(list, status)| match &list.source {
            ListSource::Url(url) => match self.faults.get(url) {
                Some(fault) => status.fault.as_ref() != Some(fault),
                None => false,
            },
            _ => false,
        })
    }

    /// Fetches what is due; whether anything is to be read again.
    fn fetch(&mut self, core: &Arc<Core>) -> bool {
        let filter = core.view().snapshot.filter.clone();
        let refresh = Duration::from_secs(u64::from(filter.refresh.max(60)));
        let urls = filter.lists.iter().filter_map(|list| match &list.source {
            ListSource::Url(url) => Some(url.clone()),
            _ => None,
        });
        let urls: Vec<String> = urls.collect();
        self.due.retain(|url, _| urls.contains(url));
        self.faults.retain(|url, _| urls.contains(url));
        let mut read = false;
        for url in urls {
            let (due, failures) = self.due.get(&url).copied().unwrap_or_else(|| {
                let age = fetch::kept(&self.folder, &url).map(|kept| fetch::now().saturating_sub(kept.checked));
                let left = age.map_or(Duration::ZERO, |age| refresh.saturating_sub(Duration::from_secs(age)));
                (Instant::now() + left, 0)
            });
            if due > Instant::now() {
                self.due.insert(url, (due, failures));
                continue;
            }
            let next = match self.fetcher.fetch(&url) {
                Ok(fetched) => {
                    read |= self.faults.remove(&url).is_some() || fetched == Fetched::New;
                    tracing::info!(list = %url, new = fetched == Fetched::New, "fetched");
                    (Instant::now() + refresh, 0)
                }
                Err(error) => {
                    tracing::warn!(list = %url, %error, "not fetched; what is kept of it goes on holding");
                    read |= self.faults.insert(url.clone(), error.clone()).as_deref() != Some(&error);
                    (Instant::now() + patience(failures), failures + 1)
                }
            };
            self.due.insert(url, next);
        }
        if read {
            // The same names with another status are put in place as well.
            self.filter = None;
        }
        read
    }

    fn nap(&self) -> Duration {
        let next = self.due.values().map(|(due, _)| due.saturating_duration_since(Instant::now())).min();
        next.unwrap_or(LOOK).clamp(Duration::from_millis(50), LOOK)
    }
}

/// Lists that have names of the lab have no say over them; whoever wonders finds it here.
fn tell_of_own_names(view: &View) {
    for name in view.zones.names() {
        if let Verdict::Blocked { list, .. } = view.filter.compiled.table.verdict_of_name(name, u64::MAX) {
            let list = view.filter.filter.lists.get(usize::from(list)).map_or("", |list| &list.name);
            tracing::warn!(name = %shown(name), list, "a list blocks a name of the lab; it is answered all the same");
        }
    }
}
