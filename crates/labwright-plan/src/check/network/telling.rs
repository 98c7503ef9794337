//! Words that the rules of the edge and of the network share: lists of names, and how grave a fault is where.

use labwright_model::lab::Tier;
use labwright_model::{Finding, Span};

/// "`a`", "`a` and `b`", "`a`, `b`, `c` and 3 more".
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] if some.len() <= 3 => format!("{} and {last}", some.join(", ")),
        all => format!("{} and {} more", all[..3].join(", "), all.len() - 3),
    }
}

/// A list as it is typed: `a`, or `[a, b]`.
pub fn typed(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// How much people rely on what a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stake {
    Lab,
    Production,
}

impl Stake {
    pub fn of(tier: Tier) -> Stake {
        if tier == Tier::Production { Stake::Production } else { Stake::Lab }
    }

    /// Advice for an experiment, a warning for what people rely on.
    pub fn finding(self, code: &'static str, at: impl Into<String>, span: Span, message: impl Into<String>) -> Finding {
        match self {
            Stake::Lab => Finding::advice(code, at, span, message),
            Stake::Production => Finding::warning(code, at, span, message),
        }
    }

    /// A warning for an experiment, an error for what people rely on.
    pub fn contradiction(
        self,
        code: &'static str,
        at: impl Into<String>,
        span: Span,
        message: impl Into<String>,
    ) -> Finding {
        match self {
            Stake::Lab => Finding::warning(code, at, span, message),
            Stake::Production => Finding::error(code, at, span, message),
        }
    }
}

/// Adds the other places of a fault that is told once; five of them are enough to see what it is about.
pub fn and_here<'a>(mut finding: Finding, places: impl IntoIterator<Item = (Span, &'a str)>, says: &str) -> Finding {
    for (span, name) in places.into_iter().take(5) {
        finding = finding.related(span, says.replace("{}", &format!("`{name}`")));
    }
    finding
}
