//! Whatever the bytes, reading them as a Compose project ends and does not panic, and every finding has a place.
//! Runs without end: `cargo +nightly fuzz run compose`. A bounded run of the same kind is among the model's tests.

#![no_main]

use labwright_model::compose::{Environment, Project, Reading};
use labwright_model::{Files, Sources, Span};
use libfuzzer_sys::fuzz_target;

/// The bytes as three files: what every include names, what every `.env` is, and the project's own.
struct Bytes<'a>(&'a [u8]);

impl Files for Bytes<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let files: Vec<&[u8]> = self.0.splitn(3, |byte| *byte == 0).collect();
        let number = match path {
            "compose.yaml" => 0,
            path if path.ends_with("env") => 1,
            _ => 2,
        };
        files.get(number).map(|file| file.to_vec()).ok_or_else(|| "no such file".to_string())
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fuzz_target!(|data: &[u8]| {
    let (mut sources, mut allows, mut findings) = (Sources::default(), Vec::new(), Vec::new());
    let mut reading = Reading {
        files: &Bytes(data),
        environment: &Environment::default(),
        sources: &mut sources,
        allows: &mut allows,
        findings: &mut findings,
        at: &[],
        placed: None,
    };
    let project = Project::read("fuzz", &["compose.yaml"], Span::NONE, &mut reading);
    let _ = project.map(|project| project.to_canonical_json());
    for finding in &findings {
        let text = sources.get(finding.span.file).map(|source| source.text.as_str());
        let inside = text.is_some_and(|text| text.get(finding.span.start as usize..finding.span.end as usize).is_some());
        assert!(finding.span.is_none() || inside, "{finding:?}");
    }
});
