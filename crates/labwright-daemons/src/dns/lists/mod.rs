//! What is not answered: lists of names from rules, files and URLs, as one table in memory.
//!
//! One thread reads and fetches; the table that is in use is never touched, only exchanged. Local names are answered
//! before, and without, any of this.

pub mod fetch;
pub mod parse;
pub mod table;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use labwright_model::snapshot::dns::told::ListStatus;
use labwright_model::snapshot::dns::{Filter, List, ListSource};

use parse::Line;
use table::{Builder, Table};

/// Octets of the longest line that is read.
const MAX_LINE: usize = 4096;

/// Everything that lists say, and what became of each.
#[derive(Default)]
pub struct Compiled {
    pub table: Table,
    pub status: Vec<ListStatus>,
}

/// The file that a list is read from; rules have none.
pub fn file(folder: &Path, list: &List) -> Option<PathBuf> {
    match &list.source {
        ListSource::Url(url) => Some(fetch::path(folder, url)),
        ListSource::File(path) => Some(PathBuf::from(path)),
        ListSource::Shipped(name) => Some(folder.join(name)),
        ListSource::Rules(_) => None,
    }
}

/// When the files of lists were last written: what changes when a list has to be read again.
pub fn editions(folder: &Path, filter: &Filter) -> Vec<Option<SystemTime>> {
    let written = |list: &List| file(folder, list)?.metadata().ok()?.modified().ok();
    filter.lists.iter().map(written).collect()
}

/// Reads all lists from disk. A list that is not there is told in its status and holds nothing.
pub fn compile(folder: &Path, filter: &Filter) -> Compiled {
    let mut builder = Builder::default();
    let mut status = Vec::new();
    let mut own = 0_u64;
    for (number, list) in filter.lists.iter().enumerate() {
        let bit = number as u8 & 63;
        let mut of = ListStatus { name: list.name.clone(), ..ListStatus::default() };
        let before = builder.cut;
        match (&list.source, file(folder, list)) {
            (ListSource::Rules(rules), _) => {
                own |= 1 << bit;
                for rule in rules {
                    read_line(rule.as_bytes(), bit, list.allow, &mut builder, &mut of);
                }
            }
            (source, Some(path)) => {
                if let Err(error) = read(&path, bit, list.allow, &mut builder, &mut of) {
                    of.fault = Some(match (source, error.kind()) {
                        (ListSource::Url(_), std::io::ErrorKind::NotFound) => "it was not fetched yet".to_string(),
                        _ => format!("{}: {error}", path.display()),
                    });
                }
                if let ListSource::Url(url) = source {
                    of.checked = fetch::kept(folder, url).map(|kept| kept.checked);
                }
            }
            (_, None) => {}
        }
        of.cut = builder.cut - before;
        of.malformed -= of.cut.min(of.malformed);
        if of.cut > 0 {
            of.fault = Some(format!("{} names do not fit: {} are kept of all lists", of.cut, table::MAX_NAMES));
        }
        status.push(of);
    }
    Compiled { table: builder.build(own), status }
}

fn read(path: &Path, list: u8, allow: bool, builder: &mut Builder, status: &mut ListStatus) -> std::io::Result<()> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut long = Vec::new();
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let taken = buffer.len();
        let mut rest = buffer;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if long.is_empty() {
                read_line(&rest[..end], list, allow, builder, status);
            } else {
                join(&mut long, &rest[..end]);
                read_line(&long, list, allow, builder, status);
                long.clear();
            }
            rest = &rest[end + 1..];
        }
        join(&mut long, rest);
        file.consume(taken);
    }
    read_line(&long, list, allow, builder, status);
    Ok(())
}

/// Puts the parts of a line together; one that is longer than any rule is kept too long, and so malformed.
fn join(line: &mut Vec<u8>, part: &[u8]) {
    let room = (MAX_LINE + 1).saturating_sub(line.len());
    line.extend(&part[..part.len().min(room)]);
}

fn read_line(text: &[u8], list: u8, allow: bool, builder: &mut Builder, status: &mut ListStatus) {
    let (mut kept, mut lost) = (0, 0);
    let line = match text.len() > MAX_LINE {
        true => Line::Malformed,
        false => parse::line(text, &mut |rule| match builder.add(list, &rule, allow) {
            true => kept += 1,
            false => lost += 1,
        }),
    };
    status.rules += kept;
    match line {
        Line::NotForNames => status.passed_over += 1,
        Line::Malformed => status.malformed += 1,
        Line::Rules if lost > 0 => status.malformed += lost,
        Line::Rules | Line::Empty => {}
    }
}

/// How long to wait before a list is tried again that could not be fetched: from half a minute, doubled, to an hour.
pub fn patience(failures: u32) -> Duration {
    Duration::from_secs((30_u64 << failures.min(7)).min(3600))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
