//! Findings that the user accepts in a comment: `# labwright: allow CODE because REASON`.
//! Does not know which findings there are; `labwright-plan` takes the accepted ones out.

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::span::Span;

/// `# labwright: allow CODE because REASON`, standing at the end of a line or alone above one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    pub code: String,
    pub reason: String,
    pub span: Span,
    /// The line (from 1) whose finding it accepts.
    pub line: usize,
}

/// The comments of one file, as they are met.
pub(crate) struct Comments<'a> {
    text: &'a str,
    /// Made when the first acceptance is met: most files have none.
    lines: Option<Lines>,
}

struct Lines {
    starts: Vec<usize>,
    /// For each line (from 0) the number (from 1) of the next one that is neither blank nor a comment.
    next: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Lines {
        let starts: Vec<usize> =
            std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        let mut next = vec![0; starts.len()];
        let mut content = starts.len();
        for line in (0..starts.len()).rev() {
            next[line] = content;
            let end = starts.get(line + 1).copied().unwrap_or(text.len());
            let words = text[starts[line]..end].trim_start();
            if !words.is_empty() && !words.starts_with('#') {
                content = line + 1;
            }
        }
        Lines { starts, next }
    }
}

impl<'a> Comments<'a> {
    pub fn new(text: &'a str) -> Self {
        Comments { text, lines: None }
    }

    /// Takes an acceptance out of a comment, or says why it cannot be read; other comments are not looked at.
    pub fn comment(&mut self, comment: &str, span: Span, findings: &mut Findings, allows: &mut Vec<Allow>) {
        let Some(rest) = comment.trim().strip_prefix("labwright:") else { return };
        let rest = rest.trim();
        let parsed = rest.strip_prefix("allow ").and_then(|rest| {
            let (code, reason) = rest.trim().split_once(char::is_whitespace)?;
            let reason = reason.trim().strip_prefix("because ")?.trim();
            (!reason.is_empty()).then_some((code, reason))
        });
        let Some((code, reason)) = parsed else {
            let message = format!("cannot read the comment `# labwright: {rest}`");
            findings.push(Finding::error(codes::BAD_ALLOW, "", span, message).help(
                "write `# labwright: allow LW-NET-003 because REASON`, at the end of the line or alone above it",
            ));
            return;
        };
        let lines = self.lines.get_or_insert_with(|| Lines::new(self.text));
        let start = span.start as usize;
        let own = lines.starts.partition_point(|&line| line <= start);
        let alone = self.text[lines.starts[own - 1]..start].trim().is_empty();
        let line = if alone { lines.next[own - 1] } else { own };
        allows.push(Allow { code: code.to_string(), reason: reason.to_string(), span, line });
    }
}
