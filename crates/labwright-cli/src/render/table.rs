//! Plain tables: columns as wide as they must be, two spaces between them.
//! Knows nothing of what stands in them.

/// Rows under a heading; a last column may be as long as it likes.
pub fn text(heading: &[&str], rows: &[Vec<String>]) -> String {
    let columns = heading.len();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).chain([heading[i].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    let heading = line(heading.to_vec());
    std::iter::once(heading).chain(rows.iter().map(|row| line(row.iter().map(String::as_str).collect()))).collect()
}

/// The same as Markdown.
pub fn markdown(heading: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let heading_line = line(heading.iter().map(|cell| cell.to_string()).collect());
    let rule = format!("|{}\n", "---|".repeat(heading.len()));
    let rows = rows.iter().map(|row| line(row.iter().map(|cell| cell.replace('|', "\\|")).collect()));
    [heading_line, rule].into_iter().chain(rows).collect()
}
