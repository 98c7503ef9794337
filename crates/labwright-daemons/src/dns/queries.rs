//! A look back into the query log: what is in memory, or the files of its days.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use labwright_model::snapshot::dns::told::{Line, QueriesAsk};

use super::journal::day_of;

/// Whether a query is meant.
fn fits(line: &Line, ask: &QueriesAsk, since: Option<Timestamp>) -> bool {
    ask.client.as_ref().is_none_or(|client| line.client.as_ref() == Some(client))
        && ask.name.as_ref().is_none_or(|part| line.name.contains(part))
        && ask.outcome.as_ref().is_none_or(|outcome| line.outcome == *outcome)
        && since.is_none_or(|since| line.at.parse::<Timestamp>().is_ok_and(|at| at >= since))
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("`{text}` is no time such as `2026-11-20T14:00:00Z`"))
}

/// Those of some lines that are meant. Lines are the newest first, and so is what comes out.
pub fn of_lines(lines: Vec<Line>, ask: &QueriesAsk) -> Result<Vec<Line>, String> {
    let since = ask.since.as_deref().map(time).transpose()?;
    Ok(lines.into_iter().filter(|line| fits(line, ask, since)).take(ask.count).collect())
}

/// Those in the files of a folder that are meant, the newest first. Files are read one after the other, the newest day
/// first, and no further back than is needed.
///
/// # Errors
/// The time cannot be read, or a file cannot.
pub fn of_files(folder: &Path, since: &str, ask: &QueriesAsk) -> Result<Vec<Line>, String> {
    let since = time(since)?;
    let first = since.to_zoned(TimeZone::UTC).date();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten(),
        // None was written yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    let days = entries.filter_map(|entry| Some((day_of(&entry.file_name().to_string_lossy())?, entry.path())));
    let mut days: Vec<(Date, _)> = days.filter(|(day, _)| *day >= first).collect();
    days.sort_by(|a, b| b.cmp(a));
    let mut found = Vec::new();
    for (_, path) in days {
        let left = ask.count - found.len();
        if left == 0 {
            break;
        }
        let mut last: VecDeque<Line> = VecDeque::new();
        let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for text in BufReader::new(file).lines() {
            let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
            // A line that a full disk cut off is no query that anybody could show.
            let Ok(line) = serde_json::from_str::<Line>(&text) else { continue };
            if fits(&line, ask, Some(since)) {
                if last.len() == left {
                    last.pop_front();
                }
                last.push_back(line);
            }
        }
        found.extend(last.into_iter().rev());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: &str, client: &str, name: &str, outcome: &str) -> Line {
        Line {
            at: at.into(),
            client: Some(client.into()),
            name: name.into(),
            kind: "A".into(),
            outcome: outcome.into(),
            list: None,
            code: "NOERROR".into(),
            micros: 1,
        }
    }

    #[test]
    fn files_are_read_back_as_far_as_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        for (day, lines) in [
            ("2026-11-19", vec![line("2026-11-19T23:00:00Z", "tv", "old.example", "blocked")]),
            (
                "2026-11-20",
                vec![
                    line("2026-11-20T09:00:00Z", "tv", "early.example", "blocked"),
                    line("2026-11-20T10:00:00Z", "tv", "ads.example", "blocked"),
                    line("2026-11-20T10:00:00.5Z", "desk", "ads.example", "blocked"),
                ],
            ),
            (
                "2026-11-21",
                vec![
                    line("2026-11-21T01:00:00Z", "tv", "www.example", "cached"),
                    line("2026-11-21T02:00:00Z", "tv", "ads.example", "blocked"),
                ],
            ),
        ] {
            let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
            fs::write(folder.path().join(format!("queries-{day}.jsonl")), text + "{\"at\":\"2026-1").unwrap();
        }
        let of = |count, client: Option<&str>, outcome: Option<&str>| {
            let ask = QueriesAsk {
                count,
                client: client.map(Into::into),
                outcome: outcome.map(Into::into),
                ..QueriesAsk::default()
            };
            let found = of_files(folder.path(), "2026-11-20T10:00:00Z", &ask).unwrap();
            found.into_iter().map(|line| line.at[8..13].to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(9, None, None), "21T02 21T01 20T10 20T10");
        assert_eq!(of(9, Some("tv"), Some("blocked")), "21T02 20T10");
        assert_eq!(of(3, None, None), "21T02 21T01 20T10");
        assert!(of_files(folder.path(), "yesterday", &QueriesAsk::default()).unwrap_err().contains("is no time"));
    }
}
