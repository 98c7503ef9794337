//! `labwright dns status`: what the lab's resolvers did since they were started.

use labwright_model::snapshot::dns::told::{Ask, Statistics, Told};
use serde_json::json;

use super::resolvers::Resolvers;
use crate::error::{CliError, Exit};
use crate::render::findings::count;
use crate::render::status::span;
use crate::terminal::Terminal;

/// Shows what the lab's resolvers did since they were started: queries and what became of them, lists, upstreams, and who
/// and what was asked for most in the last day.
#[derive(clap::Args)]
pub struct Status {
    /// How many of the most frequent names and clients are shown.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    top: usize,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    of: Resolvers,
}

impl Status {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let said = self.of.ask(&Ask::Statistics { tops: self.top }, terminal)?;
        let resolvers = said.told.iter().filter_map(|(host, told)| match told {
            Told::Statistics(statistics) => Some((host, statistics)),
            _ => None,
        });
        if self.json {
            let resolvers: serde_json::Map<String, serde_json::Value> =
                resolvers.map(|(host, statistics)| (host.clone(), json!(statistics))).collect();
            terminal.document(&json!({ "resolvers": resolvers, "away": said.away }))?;
        } else {
            let pages: Vec<String> = resolvers.map(|(host, statistics)| text(host, statistics)).collect();
            terminal.data(&pages.join("\n"));
        }
        Ok(said.rest(terminal))
    }
}

/// What an outcome is called here, the most telling first.
const WORDS: [(&str, &str); 10] = [
    ("blocked", "blocked"),
    ("local", "the lab's own"),
    ("cached", "remembered"),
    ("stale", "remembered, past their time"),
    ("forwarded", "asked elsewhere"),
    ("failed", "failed"),
    ("refused", "refused"),
    ("limited", "over the limit"),
    ("malformed", "malformed"),
    ("special", "special"),
];

fn text(host: &str, of: &Statistics) -> String {
    let up = span(i64::try_from(of.up).unwrap_or(i64::MAX));
    let mut out = format!("{host}: generation {}, up {up}, on {}\n", of.generation, of.listening.join(" and "));
    let mut line = |what: &str, text: String| out.push_str(&format!("  {what:<10} {text}\n"));
    let share = |number: u64| match number * 100 / of.queries.max(1) {
        0 => number.to_string(),
        percent => format!("{number} ({percent} %)"),
    };
    let outcomes = WORDS.iter().filter_map(|(outcome, word)| Some((*of.outcomes.get(*outcome)?, *word)));
    let outcomes: Vec<String> =
        outcomes.filter(|(number, _)| *number > 0).map(|(number, word)| format!("{} {word}", share(number))).collect();
    line(
        "queries",
        match outcomes.is_empty() {
            true => "none yet".into(),
            false => format!("{}: {}", of.queries, outcomes.join(", ")),
        },
    );
    line("names", count(of.local_names, "name") + " of the lab");
    if !of.lists_ready {
        line("lists", "being read".into());
    }
    for list in &of.lists {
        let mut text = format!("{}: {}", list.name, count(list.rules, "rule"));
        if list.malformed > 0 {
            text += &format!(", {} not understood", count(list.malformed, "line"));
        }
        if let Some(fault) = &list.fault {
            text += &format!("; {fault}");
        }
        line("list", text);
    }
    for paused in &of.paused {
        line("paused", format!("nothing is blocked for `{}` for {} more", paused.group, span(paused.left.into())));
    }
    for upstream in &of.upstreams {
        let took = match upstream.micros {
            0 => String::new(),
            micros => format!(", {:.1} ms", f64::from(micros) / 1000.0),
        };
        line("upstream", format!("{}: {} asked, {} failed{took}", upstream.upstream, upstream.asked, upstream.failed));
    }
    let tops = [("top names", &of.top.names), ("top blocked", &of.top.blocked), ("top clients", &of.top.clients)];
    for (what, all) in tops.into_iter().filter(|(_, all)| !all.is_empty()) {
        let all: Vec<String> = all.iter().map(|(name, number)| format!("{name} ({number})")).collect();
        line(what, all.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use labwright_model::snapshot::dns::told::{ListStatus, Paused, Top, UpstreamStatus};

    use super::*;

    #[test]
    fn a_resolver_as_a_page() {
        let list = |name: &str, rules, fault: Option<&str>| ListStatus {
            name: name.into(),
            rules,
            fault: fault.map(Into::into),
            ..ListStatus::default()
        };
        let of = Statistics {
            generation: 4,
            listening: vec!["0.0.0.0:53".into(), "[::]:53".into()],
            up: 7300,
            queries: 1000,
            blocked: 310,
            outcomes: [("blocked", 310), ("cached", 600), ("local", 89), ("failed", 1)]
                .map(|(word, number)| (word.to_string(), number))
                .into(),
            top: Top { names: vec![("www.example.org".into(), 40)], ..Top::default() },
            lists: vec![list("ads.txt", 12, None), list("https://example.net/l", 0, Some("the server answered 404"))],
            lists_ready: true,
            listed: 12,
            local_names: 20,
            paused: vec![Paused { group: "kids".into(), left: 600 }],
            upstreams: vec![UpstreamStatus { upstream: "tls://9.9.9.9".into(), asked: 70, failed: 2, micros: 14_250 }],
        };
        expect![[r#"
            dns-01: generation 4, up 2 h, on 0.0.0.0:53 and [::]:53
              queries    1000: 310 (31 %) blocked, 89 (8 %) the lab's own, 600 (60 %) remembered, 1 failed
              names      20 names of the lab
              list       ads.txt: 12 rules
              list       https://example.net/l: 0 rules; the server answered 404
              paused     nothing is blocked for `kids` for 10 min more
              upstream   tls://9.9.9.9: 70 asked, 2 failed, 14.2 ms
              top names  www.example.org (40)
        "#]]
        .assert_eq(&text("dns-01", &of));
    }
}
