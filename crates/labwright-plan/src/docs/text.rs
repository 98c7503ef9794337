//! Markdown that means what it says: names and notes of the lab are text, whatever stands in them.

/// Text on one line that Markdown and HTML read as nothing but text.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            c if c.is_control() => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    out
}

/// A sentence of ours, in which names stand between backticks: those stay code, the rest is text.
pub fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // An odd one out is somebody's own.
    if parts.len().is_multiple_of(2) {
        return escaped(text);
    }
    let part = |(n, part): (usize, &&str)| match n % 2 {
        0 => spaced(part),
        _ => code(part),
    };
    parts.iter().enumerate().map(part).collect::<String>().trim().to_string()
}

/// Escaped, with the spaces at its ends.
fn spaced(text: &str) -> String {
    let (front, back) = (text.starts_with(' '), text.ends_with(' ') && !text.trim().is_empty());
    format!("{}{}{}", if front { " " } else { "" }, escaped(text), if back { " " } else { "" })
}

/// Text as code; a backtick in it cannot end it.
pub fn code(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // In a table a bar ends the cell even inside code.
    let plain = plain.replace('|', "\\|");
    match plain.contains('`') {
        true => format!("`` {plain} ``"),
        false => format!("`{plain}`"),
    }
}

/// `3 places`, `1 place`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A table; cells are Markdown already, and an empty one is a dash.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(heading.len()));
    let cell = |cell: &'_ String| if cell.is_empty() { "-".to_string() } else { cell.clone() };
    let rows = rows.iter().map(|row| {
        let cells: Vec<String> = row.iter().map(cell).collect();
        line(cells.iter().map(String::as_str).collect())
    });
    [line(heading.to_vec()), rule].into_iter().chain(rows).collect()
}

/// "a", "a and b", "a, b and c".
pub fn listed(parts: &[String]) -> String {
    joined(parts, "and")
}

/// The same with another last word.
pub fn joined(parts: &[String], word: &str) -> String {
    match parts.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
    }
}

/// A link to a service's page, from the index's folder or from a folder beside it; the name alone where it has no page.
pub fn service(name: &str, files: &[(&str, String)], folder: &str) -> String {
    match files.binary_search_by(|(other, _)| (*other).cmp(name)) {
        Ok(at) => format!("[{}]({folder}{})", escaped(name), files[at].1),
        Err(_) => escaped(name),
    }
}
