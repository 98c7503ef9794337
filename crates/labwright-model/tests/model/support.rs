//! From text to text: a lab in, its findings out.
//! Touch no disk: the files are a map.

use std::collections::BTreeMap;
use std::fmt::Write;

use expect_test::Expect;
use labwright_model::{Files, Finding, Parsed, parse};

/// The lab of the design's annotated example, which uses every section.
pub const WHOLE: &str = include_str!("../whole.yaml");

/// Every lab that the project shows in one file.
pub const SHOWN: &[&str] = &[
    WHOLE,
    include_str!("../../../../examples/one-machine/lab.yaml"),
    include_str!("../../../../examples/reference/lab.yaml"),
];

/// A folder under `examples/`, file by file. A test of the command line sees that every folder checks as a whole.
macro_rules! example {
    ($folder:literal: $($file:literal),*) => {
        &[$(($file, include_str!(concat!("../../../../examples/", $folder, "/", $file)))),*]
    };
}

/// Every lab that the project shows in several files: the first one includes the others.
pub const SPLIT: &[&[(&str, &str)]] = &[
    example!("family": "lab.yaml", "services.yaml", "monitoring.yaml", "protection.yaml"),
    example!("one-box": "lab.yaml", "apps.yaml", "media.yaml"),
    example!("portfolio": "lab.yaml", "edge.yaml", "platform.yaml", "data.yaml", "stack.yaml"),
];

/// Every text of every lab that the project shows.
pub fn texts() -> Vec<&'static str> {
    SHOWN.iter().copied().chain(SPLIT.iter().copied().flatten().map(|(_, text)| *text)).collect()
}

/// Files that exist only here.
#[derive(Default)]
pub struct InMemory(pub BTreeMap<String, Vec<u8>>);

impl InMemory {
    pub fn of(files: &[(&str, &str)]) -> Self {
        InMemory(files.iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).collect())
    }
}

impl Files for InMemory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| "no such file".to_string())
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let inside: Vec<&String> = self.0.keys().filter(|name| name.starts_with(&folder)).collect();
        let lab_file = |name: &&&String| name.ends_with(".yaml") && !name[folder.len()..].contains('/');
        (!inside.is_empty()).then(|| inside.iter().filter(lab_file).map(|name| name.to_string()).collect())
    }
}

/// The Compose file that the annotated example names.
pub const WIKI: (&str, &str) = ("wiki/compose.yaml", "services: { web: { image: wiki } }");

/// Reads one text as `lab.yaml`.
pub fn read(text: &str) -> Parsed {
    parse("lab.yaml", &InMemory::of(&[("lab.yaml", text), WIKI]))
}

/// Findings as a person reads them, one paragraph each.
pub fn shown(parsed: &Parsed, findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let place = |span| match parsed.place(span) {
            Some(place) => {
                format!("{}:{}:{}..{}:{}", place.file, place.line, place.column, place.end_line, place.end_column)
            }
            None => "nowhere".to_string(),
        };
        let _ = write!(out, "{} {} at {}", finding.severity.name(), finding.code, place(finding.span));
        if !finding.at.is_empty() {
            let _ = write!(out, " ({})", finding.at);
        }
        let _ = write!(out, "\n  {}\n", finding.message);
        if !finding.help.is_empty() {
            let _ = writeln!(out, "  help: {}", finding.help);
        }
        for (span, label) in &finding.related {
            let _ = writeln!(out, "  {}: {label}", place(*span));
        }
    }
    out
}

/// The findings of one text.
pub fn check(text: &str, expected: Expect) {
    let parsed = read(text);
    expected.assert_eq(&shown(&parsed, &parsed.findings));
}

/// The findings of several files, read from the first one.
pub fn check_files(files: &[(&str, &str)], expected: Expect) {
    let parsed = parse(files[0].0, &InMemory::of(files));
    expected.assert_eq(&shown(&parsed, &parsed.findings));
}

/// A lab that is read without a finding.
pub fn clean(text: &str) -> Parsed {
    let parsed = read(text);
    assert_eq!(shown(&parsed, &parsed.findings), "", "in\n{text}");
    parsed
}
