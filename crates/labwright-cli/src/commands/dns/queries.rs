//! `labwright dns queries`: who asked what, and what became of it.

use jiff::Timestamp;
use labwright_model::snapshot::dns::told::{Ask, Line, OUTCOMES, QueriesAsk, Told};
use serde_json::json;

use super::resolvers::Resolvers;
use crate::commands::looking::ago;
use crate::error::{CliError, Exit};
use crate::render::table;
use crate::terminal::Terminal;

/// Shows queries of late, the newest last: who asked what, and what became of it.
///
/// Those in memory are the last thousand of each resolver; with `--since` its log is read, as far back as
/// `platform.dns.log.keep` reaches.
#[derive(clap::Args)]
pub struct Queries {
    /// Only names with this in them.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The last ones, so many of each resolver.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    count: usize,
    /// Only of this client: its name in the lab, or its address.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only what was blocked.
    #[arg(long)]
    blocked: bool,
    /// Only with this outcome: `local`, `blocked`, `cached`, `stale`, `forwarded`, `failed`, `refused`, `limited`, …
    #[arg(long, value_name = "OUTCOME", conflicts_with = "blocked", value_parser = outcome)]
    outcome: Option<String>,
    /// Nothing from before: a time ago (`10m`, `2h`, `1d`), or a time (`2026-11-20T14:00:00Z`).
    #[arg(long, value_name = "WHEN", value_parser = ago)]
    since: Option<i64>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    of: Resolvers,
}

fn outcome(text: &str) -> Result<String, String> {
    match OUTCOMES.contains(&text) {
        true => Ok(text.to_string()),
        false => Err(format!("one of {}", OUTCOMES.join(", "))),
    }
}

impl Queries {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let since = self.since.and_then(|nanos| Timestamp::from_nanosecond(nanos.into()).ok());
        let ask = Ask::Queries(QueriesAsk {
            count: self.count,
            client: self.client,
            name: self.name.map(|name| name.trim_end_matches('.').to_lowercase()),
            outcome: if self.blocked { Some("blocked".into()) } else { self.outcome },
            since: since.map(|since| since.to_string()),
        });
        let said = self.of.ask(&ask, terminal)?;
        let of_host = |(host, told): (&String, &Told)| match told {
            Told::Queries(lines) => lines.iter().map(|line| (host.clone(), line.clone())).collect(),
            _ => Vec::new(),
        };
        let mut lines: Vec<(String, Line)> = said.told.iter().flat_map(of_host).collect();
        lines.sort_by_cached_key(|(_, line)| line.at.parse::<Timestamp>().unwrap_or_default());
        if self.json {
            let rows = lines.iter().map(|(host, line)| json!({ "resolver": host, "query": line }));
            terminal.document(&json!({ "queries": rows.collect::<Vec<_>>(), "away": said.away }))?;
        } else {
            terminal.data(&text(&lines, said.told.len() + said.away.len()));
            if lines.is_empty() {
                terminal.say("no such query of late");
            }
        }
        Ok(said.rest(terminal))
    }
}

const HEADING: [&str; 8] = ["AT", "RESOLVER", "CLIENT", "NAME", "TYPE", "OUTCOME", "MS", "BY"];

fn text(lines: &[(String, Line)], resolvers: usize) -> String {
    if lines.is_empty() {
        return String::new();
    }
    // Who answered is told where there are several.
    let shown = |column: &usize| resolvers > 1 || HEADING[*column] != "RESOLVER";
    let columns: Vec<usize> = (0..HEADING.len()).filter(shown).collect();
    let heading: Vec<&str> = columns.iter().map(|column| HEADING[*column]).collect();
    let row = |(host, line): &(String, Line)| {
        let at = line.at.parse::<Timestamp>().map(|at| format!("{at:.3}")).unwrap_or_else(|_| line.at.clone());
        let outcome = match line.code.as_str() {
            "NOERROR" => line.outcome.clone(),
            code => format!("{} {code}", line.outcome),
        };
        let all = [
            at,
            host.clone(),
            line.client.clone().unwrap_or_else(|| "-".into()),
            line.name.clone(),
            line.kind.clone(),
            outcome,
            format!("{:.1}", f64::from(line.micros) / 1000.0),
            line.list.clone().unwrap_or_default(),
        ];
        columns.iter().map(|column| all[*column].clone()).collect()
    };
    table::text(&heading, &lines.iter().map(row).collect::<Vec<Vec<String>>>())
}
