//! Long sentences on a narrow terminal: broken between words, and indented.
//! Knows nothing of what they say.

/// Text broken so that no line is wider than `width`, where words allow; what stands between backticks is one word, so that
/// it can be copied. `first` begins the first line, and each further line is indented as deep as `first` is wide.
pub fn wrapped(first: &str, text: &str, width: usize) -> String {
    let indent = first.chars().count();
    let mut out = String::from(first);
    let mut used = indent;
    for (n, word) in words(text).into_iter().enumerate() {
        let length = word.chars().count();
        if n > 0 && used + 1 + length > width && used > indent {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = indent;
        } else if n > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(&word);
        used += length;
    }
    out.push('\n');
    out
}

fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for piece in text.split_whitespace() {
        match words.last_mut().filter(|_| inside) {
            Some(word) => {
                word.push(' ');
                word.push_str(piece);
            }
            None => words.push(piece.to_string()),
        }
        inside ^= piece.matches('`').count() % 2 == 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_not_inside_code() {
        assert_eq!(
            wrapped("  - ", "keep logs elsewhere: `telemetry: HOST` or so", 24),
            "  - keep logs elsewhere:\n    `telemetry: HOST` or\n    so\n"
        );
        assert_eq!(wrapped("- ", "one-word-that-is-far-too-long", 10), "- one-word-that-is-far-too-long\n");
    }
}
