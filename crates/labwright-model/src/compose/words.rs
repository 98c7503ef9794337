//! A command as one line, split into its words as Compose splits it.
//! Starts no shell: what only a shell understands is reported.

/// The words of a command line, and where reading ended before the end of the line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    pub words: Vec<String>,
    /// What only a shell understands (`&`, `|`, `>`): it and everything behind it is not part of the command.
    pub ignored: Option<char>,
}

/// `None`: a quote is not closed, or a parenthesis stands outside quotes.
pub fn split(line: &str) -> Option<Words> {
    let mut words = Words::default();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut escaped = false;
    for c in line.chars() {
        let mut push = |c: char| word.get_or_insert_default().push(c);
        match (quote, c) {
            _ if escaped => {
                push(match c {
                    't' => '\t',
                    'n' => '\n',
                    c => c,
                });
                escaped = false;
            }
            (None | Some('"' | '`'), '\\') => escaped = true,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '`') => {
                quote = Some(c);
                push(c);
            }
            (Some('`'), '`') => {
                quote = None;
                push(c);
            }
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => push(c),
            (None, ' ' | '\t' | '\r' | '\n') => words.words.extend(word.take()),
            (None, ';' | '&' | '|' | '<' | '>') => {
                // The number of a file descriptor belongs to the redirection.
                if c == '>' && word.as_ref().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
                    word = None;
                }
                words.words.extend(word.take());
                words.ignored = Some(c);
                return Some(words);
            }
            (None, '(') => return None,
            (None, _) => push(c),
        }
    }
    if quote.is_some() || escaped {
        return None;
    }
    words.words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_compose_has_them() {
        for (line, expected) in [
            ("nginx -g 'daemon off;'", vec!["nginx", "-g", "daemon off;"]),
            ("a \"b c\"'d' e\\ f ''", vec!["a", "b cd", "e f", ""]),
            ("", vec![]),
            ("  x\n y ", vec!["x", "y"]),
            ("sh -c \"echo \\\"x\\\" | cat\"", vec!["sh", "-c", "echo \"x\" | cat"]),
        ] {
            assert_eq!(
                split(line).unwrap(),
                Words { words: expected.into_iter().map(Into::into).collect(), ignored: None }
            );
        }
        let cut = split("a b && c").unwrap();
        assert_eq!((cut.words.join(" "), cut.ignored), ("a b".into(), Some('&')));
        for line in ["'x", "\"x", "x\\", "echo (x)"] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}
