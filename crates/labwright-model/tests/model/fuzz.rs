//! Damaged labs: whatever the text, reading ends, nothing panics, and every finding points into its file.
//! Bounded and always the same; `fuzz/` at the root of the project searches without end.

use labwright_model::{Parsed, Span, parse};

use crate::support::{InMemory, texts};

const CASES: usize = 2000;

/// Marsaglia's xorshift with 64 bits of state: the same cases everywhere, every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

const INSERTS: &[&str] = &[
    "&a ",
    "*a",
    "&a [*a]",
    "<<: ",
    "<<: *a\n",
    "${",
    "${host.",
    "$${",
    "}",
    "\t",
    "\n\t",
    "\n",
    "\r\n",
    "---\n",
    "...\n",
    "{",
    "[",
    "]",
    ": ",
    "- ",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "!x ",
    "!!str ",
    "# labwright: allow ",
    "? ",
    "\u{feff}",
    "\0",
    "é",
    "\u{85}",
    "null",
    "~",
    "%YAML 1.1\n",
    "include: lab.yaml\n",
    "environments: { ? }",
    "999999999999999999999",
    "-1",
    "1e999",
    "10.0.0.0/33",
    "1EiB",
    "9999999999y",
];

fn damage(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len() + 1);
    let length = random.below(40).min(text.len() - at);
    match random.below(7) {
        0 if at < text.len() => text[at] ^= 1 << random.below(8),
        1 => drop(text.drain(at..at + length)),
        2 => {
            let copy = text[at..at + length].to_vec();
            let to = random.below(text.len() + 1);
            text.splice(to..to, copy);
        }
        3 if random.below(4) == 0 => text.truncate(at),
        4 => {
            // Whole lines change places, so that what is well-formed stands where it does not belong.
            let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
            if !lines.is_empty() {
                let line = lines.remove(random.below(lines.len()));
                lines.insert(random.below(lines.len() + 1), line);
            }
            *text = lines.concat();
        }
        _ => drop(text.splice(at..at, INSERTS[random.below(INSERTS.len())].bytes())),
    }
}

fn assert_inside(parsed: &Parsed, span: Span, what: &str) {
    if span.is_none() {
        return;
    }
    let source = parsed.sources.get(span.file).unwrap_or_else(|| panic!("{what} points into no file"));
    let text = source.text.get(span.start as usize..span.end as usize);
    assert!(text.is_some(), "{what} points to {span:?}, outside of its file or into a character");
}

fn assert_sound(bytes: &[u8]) {
    let files = InMemory([("lab.yaml".to_string(), bytes.to_vec())].into());
    let parsed = parse("lab.yaml", &files);
    for finding in &parsed.findings {
        assert!(!finding.message.is_empty() && !finding.message.contains('\n'), "{finding:?}");
        assert_inside(&parsed, finding.span, &finding.message);
        finding.related.iter().for_each(|(span, label)| assert_inside(&parsed, *span, label));
    }
    parsed.allows.iter().for_each(|allow| assert_inside(&parsed, allow.span, "an acceptance"));
    parsed.secrets.iter().for_each(|secret| assert_inside(&parsed, secret.span, "a secret"));
    if parsed.findings.is_empty() {
        let shown = parsed.show();
        let again = parse("lab.yaml", &InMemory([("lab.yaml".to_string(), shown.into_bytes())].into()));
        assert_eq!(again.findings, [], "what is shown is no lab");
        assert_eq!(again.lab, parsed.lab, "what is shown is another lab");
    }
}

#[test]
fn damaged_labs() {
    let mut random = Random(0x6c61_6277_7269_6768);
    let texts = texts();
    for case in 0..CASES {
        let mut text = texts[random.below(texts.len())].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            damage(&mut text, &mut random);
        }
        let outcome = std::panic::catch_unwind(|| assert_sound(&text));
        if outcome.is_err() {
            panic!("case {case} fails:\n{}", String::from_utf8_lossy(&text));
        }
    }
}

#[test]
fn noise() {
    let mut random = Random(42);
    for _ in 0..CASES {
        let mut text = Vec::new();
        for _ in 0..random.below(30) {
            text.extend(INSERTS[random.below(INSERTS.len())].bytes());
            text.extend(["a", "lab", " ", "x: "][random.below(4)].bytes());
        }
        assert_sound(&text);
    }
}
