//! Whatever the bytes, reading them as a lab ends and does not panic, and what is shown can be read again.
//! Runs without end: `cargo +nightly fuzz run parse`. A bounded run of the same kind is among the model's tests.

#![no_main]

use labwright_model::{Files, parse};
use libfuzzer_sys::fuzz_target;

/// The bytes as two files, so that includes are followed too: the second one follows the first NUL.
struct Bytes<'a>(&'a [u8]);

impl Files for Bytes<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let mut files = self.0.splitn(2, |byte| *byte == 0);
        let (first, second) = (files.next().unwrap_or_default(), files.next());
        match path {
            "lab.yaml" => Ok(first.to_vec()),
            _ => second.map(<[u8]>::to_vec).ok_or_else(|| "no such file".to_string()),
        }
    }

    fn list(&self, _: &str) -> Option<Vec<String>> {
        None
    }
}

fuzz_target!(|data: &[u8]| {
    let parsed = parse("lab.yaml", &Bytes(data));
    for finding in &parsed.findings {
        let inside = |span: labwright_model::Span| {
            let text = parsed.sources.get(span.file).map(|source| source.text.as_str());
            span.is_none() || text.is_some_and(|text| text.get(span.start as usize..span.end as usize).is_some())
        };
        assert!(inside(finding.span), "{finding:?}");
    }
    if parsed.findings.is_empty() {
        let shown = parsed.show();
        let again = parse("lab.yaml", &Bytes(shown.as_bytes()));
        assert!(again.findings.is_empty(), "{shown}");
    }
});
