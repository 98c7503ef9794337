//! Changes of one resource, field by field; content as a unified diff.

use labwright_plan::{Change, Value};
use similar::TextDiff;

/// Longer diffs are cut, and say so.
const DIFF_LINES: usize = 60;

/// Lines without indentation. `full` cuts nothing.
pub fn lines(change: &Change, full: bool) -> Vec<String> {
    match (&change.before, &change.after) {
        (Value::Text(before), Value::Text(after)) if is_content(before) || is_content(after) => {
            unified(before, after, full)
        }
        (Value::Digest(before), Value::Digest(after)) if before != after => {
            vec![format!(
                "{}: {} -> {} bytes, not shown (private, or too large)",
                change.field, before.bytes, after.bytes
            )]
        }
        // A secret that is there and is not the one that is wanted: that it differs is all that anybody is told.
        (Value::Secret(before), Value::Secret(after)) if before.pieces.is_empty() => {
            vec![format!("{}: {after}, changed (not shown)", change.field)]
        }
        (Value::Secret(before), Value::Secret(after)) if after.pieces.is_empty() => {
            vec![format!("{}: {before} -> changed (not shown)", change.field)]
        }
        (Value::Null, Value::Null) => Vec::new(),
        (Value::Null, Value::Digest(after)) => {
            vec![format!("{}: {} bytes, not shown (private, or too large)", change.field, after.bytes)]
        }
        (Value::Null, after) => vec![format!("{}: {after}", change.field)],
        (Value::Map(before), Value::Map(after)) => {
            let changed = after.iter().filter(|(key, value)| before.get(*key).is_none_or(|old| !old.same(value)));
            let gone = before.keys().filter(|key| !after.contains_key(*key));
            let gone = gone.map(|key| format!("{}: `{key}` goes", change.field));
            changed.map(|(key, _)| format!("{}: `{key}` changes", change.field)).chain(gone).collect()
        }
        (before, after) => vec![format!("{}: {before} -> {after}", change.field)],
    }
}

fn is_content(text: &str) -> bool {
    text.contains('\n') || text.chars().count() > 60
}

fn unified(before: &str, after: &str, full: bool) -> Vec<String> {
    let diff = TextDiff::from_lines(before, after);
    let text = diff.unified_diff().context_radius(2).header("now", "planned").to_string();
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    if !full && lines.len() > DIFF_LINES {
        let cut = lines.len() - DIFF_LINES;
        lines.truncate(DIFF_LINES);
        lines.push(format!("… {cut} more lines; --full shows them"));
    }
    lines
}
