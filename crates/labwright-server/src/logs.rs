//! Lines that units said: the last of them, those that are looked for in the whole file, and those that come.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use labwright_model::snapshot::up::control::{Line, Source};
use serde::Deserialize;

/// So many lines are shown at once.
pub const SHOWN: usize = 500;
/// A line in a file is no longer than the supervisor makes it.
const LONGEST: u64 = 64 << 10;

/// Which lines are wanted.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Filter {
    /// Text that is in the line, whatever its case.
    #[serde(default)]
    pub q: String,
    /// `out`, `err`, `log` or `note`; all when empty.
    #[serde(default)]
    pub stream: String,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        self.q.is_empty() && self.stream.is_empty()
    }

    pub fn takes(&self, line: &Line) -> bool {
        (self.stream.is_empty() || self.stream == word(line.source))
            && (self.q.is_empty() || line.text.to_lowercase().contains(&self.q.to_lowercase()))
    }
}

pub fn word(source: Source) -> &'static str {
    match source {
        Source::Out => "out",
        Source::Err => "err",
        Source::Log => "log",
        Source::Note => "note",
    }
}

/// The last lines in a unit's files that the filter takes, oldest first, and how many it took in all. Reads both files, which
/// the supervisor keeps below 8 MiB each, and holds no more than what is shown.
pub fn search(folder: &Path, unit: &str, filter: &Filter) -> (Vec<Line>, usize) {
    let mut found = std::collections::VecDeque::new();
    let mut count = 0;
    for name in [format!("{unit}.log.1"), format!("{unit}.log")] {
        let Ok(file) = File::open(folder.join(name)) else { continue };
        let mut file = BufReader::new(file);
        loop {
            let mut bytes = Vec::new();
            match (&mut file).take(LONGEST).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let Some(line) = parse(unit, &String::from_utf8_lossy(&bytes)) else { continue };
            if filter.takes(&line) {
                count += 1;
                found.push_back(line);
                if found.len() > SHOWN {
                    found.pop_front();
                }
            }
        }
    }
    (found.into(), count)
}

/// A line of a file: `2026-01-02T03:04:05.678Z out TEXT`.
fn parse(unit: &str, text: &str) -> Option<Line> {
    let mut parts = text.trim_end_matches('\n').splitn(3, ' ');
    let at = parts.next()?.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    let source = match parts.next()? {
        "out" => Source::Out,
        "err" => Source::Err,
        "log" => Source::Log,
        "---" => Source::Note,
        _ => return None,
    };
    Some(Line { unit: unit.to_string(), at, source, text: parts.next().unwrap_or_default().to_string() })
}

/// Text from outside as a page may show it: no control character, and nothing that turns the direction of reading.
pub fn plain(text: &str) -> String {
    let hidden = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
    };
    text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_reads_both_files_and_keeps_the_last() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("db.log.1"), "2026-01-02T03:04:05.678Z err old Fault\nrubbish\n").unwrap();
        let many: String = (0..700).map(|n| format!("2026-01-02T03:04:06.000Z out line {n} fault\n")).collect();
        std::fs::write(folder.path().join("db.log"), format!("{many}2026-01-02T03:04:07.000Z --- it ended\n")).unwrap();
        let filter = |q: &str, stream: &str| Filter { q: q.into(), stream: stream.into() };
        let (lines, count) = search(folder.path(), "db", &filter("FAULT", ""));
        assert_eq!((lines.len(), count), (SHOWN, 701));
        assert_eq!(lines[SHOWN - 1].text, "line 699 fault");
        let (lines, count) = search(folder.path(), "db", &filter("", "err"));
        assert_eq!((lines[0].text.as_str(), lines[0].at, count), ("old Fault", 1_767_323_045_678, 1));
        assert_eq!(search(folder.path(), "db", &filter("ended", "note")).1, 1);
        assert_eq!(search(folder.path(), "none", &filter("", "out")), (Vec::new(), 0));
    }

    #[test]
    fn nothing_turns_the_direction_of_reading() {
        assert_eq!(plain("a\u{202e}b\u{1b}[31m\tc\0"), "a\u{fffd}b\u{fffd}[31m\tc\u{fffd}");
    }
}
