//! The query log: a file of JSON lines for each day, kept for as many days as the lab says; the recent queries and the top
//! lists of the last day, in memory.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use labwright_model::snapshot::dns::told::{Line, Top};

use super::stats::{NO_LIST, Outcome, Query};
use super::wire::{Code, shown};

/// Queries that are kept in memory for looking at.
const RECENT: usize = 1000;
/// Names and clients that one hour's counts hold.
const COUNTED: usize = 2000;
const HOURS: usize = 24;
/// What a day's file is called, before and behind its day.
const FRONT: &str = "queries-";
const END: &str = ".jsonl";
/// Octets of one day's file; a flood must not fill the disk.
const MAX_DAY: u64 = 256 << 20;

/// The day whose queries a file of this name holds.
pub fn day_of(name: &str) -> Option<jiff::civil::Date> {
    name.strip_prefix(FRONT)?.strip_suffix(END)?.parse().ok()
}

/// Counts of one hour. When there are too many kinds, all counts go down together and the rare ones fall out
/// (Misra and Gries, 1982): what is frequent stays, with a count that is a little low.
#[derive(Default)]
struct Counts {
    of: HashMap<String, u64>,
}

impl Counts {
    fn add(&mut self, what: String) {
        if let Some(count) = self.of.get_mut(&what) {
            *count += 1;
            return;
        }
        if self.of.len() >= COUNTED {
            self.of.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
            return;
        }
        self.of.insert(what, 1);
    }
}

/// What one hour's queries were about.
#[derive(Default)]
struct Hour {
    number: u64,
    names: Counts,
    blocked: Counts,
    clients: Counts,
}

/// How queries are to be kept.
#[derive(Clone, Default)]
pub struct Keeping {
    /// 0 keeps no files.
    pub days: u32,
    pub clients: bool,
    pub names: HashMap<IpAddr, String>,
    pub lists: Vec<String>,
}

pub struct Journal {
    folder: PathBuf,
    file: Option<(String, BufWriter<File>, u64)>,
    /// The day whose old files were removed last.
    swept: String,
    recent: VecDeque<Line>,
    hours: VecDeque<Hour>,
    /// Said once for each time that the disk fails.
    failing: bool,
}

impl Journal {
    pub fn new(folder: &Path) -> Journal {
        Journal {
            folder: folder.to_path_buf(),
            file: None,
            swept: String::new(),
            recent: VecDeque::with_capacity(RECENT),
            hours: VecDeque::new(),
            failing: false,
        }
    }

    /// Takes in one query.
    pub fn add(&mut self, query: &Query, keeping: &Keeping) {
        let line = line(query, keeping);
        let number = query.at / 3_600_000;
        if self.hours.back().is_none_or(|hour| hour.number < number) {
            self.hours.push_back(Hour { number, ..Hour::default() });
            while self.hours.len() > HOURS {
                self.hours.pop_front();
            }
        }
        if let Some(hour) = self.hours.back_mut() {
            if query.outcome == Outcome::Blocked {
                hour.blocked.add(line.name.clone());
            } else {
                hour.names.add(line.name.clone());
            }
            if let Some(client) = &line.client {
                hour.clients.add(client.clone());
            }
        }
        if keeping.days > 0 {
            match self.write(&line) {
                Ok(()) => self.failing = false,
                Err(error) if !self.failing => {
                    self.failing = true;
                    tracing::warn!(folder = %self.folder.display(), %error, "queries are not written down");
                }
                Err(_) => {}
            }
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(line);
    }

    fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let day = line.at.get(..10).unwrap_or_default();
        if self.file.as_ref().is_none_or(|(of, ..)| of != day) {
            fs::create_dir_all(&self.folder)?;
            let path = self.folder.join(format!("{FRONT}{day}{END}"));
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            let length = file.metadata()?.len();
            self.file = Some((day.to_string(), BufWriter::new(file), length));
        }
        let Some((_, file, length)) = &mut self.file else { return Ok(()) };
        if *length > MAX_DAY {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        *length += bytes.len() as u64;
        file.write_all(&bytes)
    }

    /// Puts what was written on its way to the disk.
    pub fn flush(&mut self) {
        if let Some((_, file, _)) = &mut self.file
            && let Err(error) = file.flush()
        {
            tracing::warn!(%error, "queries are not written down");
            self.file = None;
        }
    }

    /// The same, and once a day removes files that are too old.
    pub fn settle(&mut self, days: u32, today: &str) {
        self.flush();
        if self.swept != today {
            self.swept = today.to_string();
            self.sweep(days, today);
        }
    }

    fn sweep(&self, days: u32, today: &str) {
        let Ok(today) = today.parse::<jiff::civil::Date>() else { return };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Some(day) = day_of(&entry.file_name().to_string_lossy()) else { continue };
            let age = today.since(day).map_or(0, |span| span.get_days());
            if age > i32::try_from(days).unwrap_or(i32::MAX)
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(file = %entry.path().display(), %error, "an old query log cannot be removed");
            }
        }
    }

    /// The last queries, the newest first.
    pub fn recent(&self, count: usize) -> Vec<Line> {
        self.recent.iter().rev().take(count).cloned().collect()
    }

    /// The most frequent of the last day.
    pub fn top(&self, count: usize) -> Top {
        let of = |counts: fn(&Hour) -> &Counts| {
            let mut sum: HashMap<&str, u64> = HashMap::new();
            for (what, number) in self.hours.iter().flat_map(|hour| &counts(hour).of) {
                *sum.entry(what).or_default() += number;
            }
            let mut all: Vec<(String, u64)> =
                sum.into_iter().map(|(what, number)| (what.to_string(), number)).collect();
            all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            all.truncate(count);
            all
        };
        Top { names: of(|hour| &hour.names), blocked: of(|hour| &hour.blocked), clients: of(|hour| &hour.clients) }
    }
}

fn line(query: &Query, keeping: &Keeping) -> Line {
    let client = || keeping.names.get(&query.client).cloned().unwrap_or_else(|| query.client.to_string());
    let at = i64::try_from(query.at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    Line {
        at: at.unwrap_or_default().to_string(),
        client: keeping.clients.then(client),
        name: shown(&query.name),
        kind: hickory_proto::rr::RecordType::from(query.kind).to_string(),
        outcome: query.outcome.word().to_string(),
        list: (query.list != NO_LIST).then(|| keeping.lists.get(usize::from(query.list)).cloned()).flatten(),
        code: Code::word(query.code).to_string(),
        micros: query.micros,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(day: u64, name: &[u8], outcome: Outcome) -> Query {
        Query {
            at: day * 86_400_000,
            client: [10, 0, 30, 7].into(),
            outcome,
            list: 0,
            code: 0,
            kind: 1,
            micros: 12,
            name: name.to_vec(),
        }
    }

    fn keeping(days: u32) -> Keeping {
        Keeping {
            days,
            clients: true,
            names: HashMap::from([([10, 0, 30, 7].into(), "phone".to_string())]),
            lists: vec!["ads.txt".into()],
        }
    }

    #[test]
    fn lines_say_who_asked_what_and_old_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(folder.path());
        for day in [20_000, 20_001, 20_005] {
            journal.add(&query(day, b"\x03ads\x07example\x00", Outcome::Blocked), &keeping(2));
        }
        journal.settle(2, "2024-10-09");
        let mut files: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, ["queries-2024-10-09.jsonl"]);
        let text = fs::read_to_string(folder.path().join(&files[0])).unwrap();
        assert_eq!(
            text,
            "{\"at\":\"2024-10-09T00:00:00Z\",\"client\":\"phone\",\"name\":\"ads.example\",\"type\":\"A\",\
             \"outcome\":\"blocked\",\"list\":\"ads.txt\",\"code\":\"NOERROR\",\"micros\":12}\n"
        );
        assert_eq!(journal.top(5).blocked, [("ads.example".to_string(), 3)]);
        assert_eq!(journal.top(5).clients, [("phone".to_string(), 3)]);
        assert_eq!(journal.recent(2).len(), 2);
    }

    #[test]
    fn nothing_is_written_when_nothing_is_to_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(&folder.path().join("log"));
        let quiet = Keeping { clients: false, ..keeping(0) };
        journal.add(&query(20_000, b"\x01a\x00", Outcome::Local), &quiet);
        journal.settle(0, "2024-10-04");
        assert!(!folder.path().join("log").exists());
        assert_eq!(journal.recent(1)[0].client, None);
    }

    #[test]
    fn frequent_names_stay_when_there_are_too_many() {
        let mut counts = Counts::default();
        for round in 0..20_000 {
            counts.add("often".into());
            counts.add(format!("rare-{round}"));
        }
        assert!(counts.of.len() <= COUNTED);
        assert!(counts.of["often"] > 5_000);
    }
}
