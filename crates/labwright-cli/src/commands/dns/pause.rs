//! `labwright dns pause`, `resume`, `refresh`: what a resolver is told for a while.

use std::time::Duration;

use labwright_model::snapshot::dns::told::Ask;

use super::resolvers::Resolvers;
use crate::error::{CliError, Exit};
use crate::render::status::span;
use crate::terminal::Terminal;

/// Blocks nothing for a while: for everybody, or for one group of clients.
///
/// All resolvers of the lab pause, since clients ask any of them. Blocking goes on by itself when the time is over, when
/// `labwright dns resume` says so, and when the resolver starts anew.
#[derive(clap::Args)]
pub struct Pause {
    /// How long: a number of minutes, or a time such as `90s`, `10m`, `2h`.
    #[arg(value_name = "TIME", value_parser = length)]
    time: Duration,
    /// Only for this group, as `platform.dns.groups` calls it; `everyone` is who is in none.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    of: Resolvers,
}

/// Ends a pause: what lists have is blocked again.
#[derive(clap::Args)]
pub struct Resume {
    /// Only for this group.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    of: Resolvers,
}

/// Fetches lists of blocked names from their servers now, without waiting for `refresh`.
#[derive(clap::Args)]
pub struct Refresh {
    #[command(flatten)]
    of: Resolvers,
}

/// The longest pause: who wants more does not want the list.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

fn length(text: &str) -> Result<Duration, String> {
    let wrong = || "a number of minutes, or a time such as `90s`, `10m`, `2h`".to_string();
    let length = match text.parse::<u64>() {
        Ok(minutes) => Duration::from_secs(minutes.saturating_mul(60)),
        Err(_) => {
            let span: jiff::Span = text.parse().map_err(|_| wrong())?;
            let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
            Duration::try_from(length).map_err(|_| wrong())?
        }
    };
    match length {
        _ if length.is_zero() => Err("more than nothing; `labwright dns resume` ends a pause".into()),
        _ if length > LONGEST => {
            Err("a day at most; a list that is never wanted goes out of `platform.dns.block`".into())
        }
        _ => Ok(length),
    }
}

fn whom(group: Option<&str>) -> String {
    group.map_or("everybody".to_string(), |group| format!("`{group}`"))
}

impl Pause {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let seconds = u32::try_from(self.time.as_secs()).unwrap_or(u32::MAX);
        let said = self.of.ask(&Ask::Pause { group: self.group.clone(), seconds }, terminal)?;
        for host in said.told.keys() {
            let time = span(i64::from(seconds));
            terminal.say(&format!("`{host}` blocks nothing for {} for {time}", whom(self.group.as_deref())));
        }
        if !said.told.is_empty() {
            terminal.hint("devices remember what was blocked for up to 10 s; `labwright dns resume` ends it sooner");
        }
        Ok(said.rest(terminal))
    }
}

impl Resume {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let said = self.of.ask(&Ask::Pause { group: self.group.clone(), seconds: 0 }, terminal)?;
        for host in said.told.keys() {
            terminal.say(&format!("`{host}` blocks what its lists have for {} again", whom(self.group.as_deref())));
        }
        Ok(said.rest(terminal))
    }
}

impl Refresh {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let said = self.of.ask(&Ask::Refresh, terminal)?;
        for host in said.told.keys() {
            terminal.say(&format!("`{host}` fetches its lists"));
        }
        if !said.told.is_empty() {
            terminal.hint("`labwright dns status` says what became of each");
        }
        Ok(said.rest(terminal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_minutes_where_no_unit_is_said() {
        assert_eq!(length("5"), Ok(Duration::from_secs(300)));
        assert_eq!(length("90s"), Ok(Duration::from_secs(90)));
        assert!(length("0").unwrap_err().contains("resume"));
        assert!(length("2d").unwrap_err().contains("a day at most"));
        assert!(length("soon").unwrap_err().contains("minutes"));
    }
}
