//! The part of HCL 1 that Vault's configuration and policies are written in: blocks, attributes, strings, numbers, lists.
//! No heredocs, no interpolation, no JSON form: who needs them is told so.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Term>),
}

impl Term {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Term::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Vault reads `"true"` as it reads `true`.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self {
            Term::Flag(flag) => Some(*flag),
            Term::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A list of strings.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        match self {
            Term::List(terms) => terms.iter().map(|term| term.text().map(str::to_string)).collect(),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Attribute(String, Term),
    Block { kind: String, label: Option<String>, items: Vec<Item> },
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

/// Everything in a text, or where it stops making sense.
pub(crate) fn parse(text: &str) -> Result<Vec<Item>, String> {
    let tokens = tokens(text)?;
    let mut rest = tokens.iter().peekable();
    let items = items(&mut rest)?;
    match rest.next() {
        None => Ok(items),
        Some((line, token)) => Err(format!("line {line}: unexpected {token:?}")),
    }
}

type Tokens<'a> = Peekable<std::slice::Iter<'a, (usize, Token)>>;

fn items(rest: &mut Tokens<'_>) -> Result<Vec<Item>, String> {
    let mut all = Vec::new();
    while let Some((line, token)) = rest.peek() {
        let name = match token {
            Token::Word(name) | Token::Text(name) => name.clone(),
            Token::Mark('}') => break,
            Token::Mark(mark) => return Err(format!("line {line}: unexpected `{mark}`")),
        };
        rest.next();
        match rest.next() {
            Some((_, Token::Mark('='))) => all.push(Item::Attribute(name, term(rest)?)),
            Some((_, Token::Mark('{'))) => all.push(block(name, None, rest)?),
            Some((_, Token::Text(label))) => match rest.next() {
                Some((_, Token::Mark('{'))) => all.push(block(name, Some(label.clone()), rest)?),
                _ => return Err(format!("line {line}: `{name}` is not followed by a block")),
            },
            _ => return Err(format!("line {line}: `{name}` is followed neither by `=` nor by a block")),
        }
    }
    Ok(all)
}

fn block(kind: String, label: Option<String>, rest: &mut Tokens<'_>) -> Result<Item, String> {
    let items = items(rest)?;
    match rest.next() {
        Some((_, Token::Mark('}'))) => Ok(Item::Block { kind, label, items }),
        _ => Err(format!("block `{kind}` is not closed")),
    }
}

fn term(rest: &mut Tokens<'_>) -> Result<Term, String> {
    let Some((line, token)) = rest.next() else { return Err("the text ends before a value".to_string()) };
    match token {
        Token::Text(text) => Ok(Term::Text(text.clone())),
        Token::Word(word) if word == "true" || word == "false" => Ok(Term::Flag(word == "true")),
        Token::Word(word) => word.parse().map(Term::Number).map_err(|_| format!("line {line}: `{word}` is no value")),
        Token::Mark('[') => list(rest),
        Token::Mark(mark) => Err(format!("line {line}: unexpected `{mark}`")),
    }
}

fn list(rest: &mut Tokens<'_>) -> Result<Term, String> {
    let mut terms = Vec::new();
    loop {
        if let Some((_, Token::Mark(']'))) = rest.peek() {
            rest.next();
            return Ok(Term::List(terms));
        }
        terms.push(term(rest)?);
        match rest.next() {
            Some((_, Token::Mark(','))) => {}
            Some((_, Token::Mark(']'))) => return Ok(Term::List(terms)),
            _ => return Err("list is not closed".to_string()),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut all = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            '#' => comment(&mut chars),
            '/' if chars.peek() == Some(&'/') => comment(&mut chars),
            '"' => all.push((line, Token::Text(quoted(&mut chars, line)?))),
            '{' | '}' | '[' | ']' | '=' | ',' => all.push((line, Token::Mark(c))),
            c if c.is_alphanumeric() || c == '-' || c == '_' => {
                let mut word = c.to_string();
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || "-_.".contains(*c)) {
                    word.push(c);
                }
                all.push((line, Token::Word(word)));
            }
            other => return Err(format!("line {line}: unexpected `{other}`")),
        }
    }
    Ok(all)
}

fn comment(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| *c != '\n').is_some() {}
}

fn quoted(chars: &mut Peekable<Chars<'_>>, line: usize) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            Some('"') => return Ok(text),
            Some('\\') => match chars.next() {
                Some('n') => text.push('\n'),
                Some(c @ ('"' | '\\')) => text.push(c),
                _ => return Err(format!("line {line}: unknown escape")),
            },
            Some('\n') | None => return Err(format!("line {line}: string is not closed")),
            Some(c) => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_attributes_and_comments() {
        let text = "# a\npath \"secret/+/x*\" { // b\n capabilities = [\"read\", \"list\",]\n}\nui = true\nn = 5";
        let capabilities = Term::List(vec![Term::Text("read".to_string()), Term::Text("list".to_string())]);
        let items = vec![Item::Attribute("capabilities".to_string(), capabilities)];
        let expected = vec![
            Item::Block { kind: "path".to_string(), label: Some("secret/+/x*".to_string()), items },
            Item::Attribute("ui".to_string(), Term::Flag(true)),
            Item::Attribute("n".to_string(), Term::Number(5)),
        ];
        assert_eq!(parse(text), Ok(expected));
        for broken in ["path \"x\" {", "x", "x = ", "x = [1", "}", "x = \"a", "x = y", "x = <<EOT", "{\"path\": 1}"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }
}
