//! JSON text as nodes that know their place.
//! As strict as the standard says: what this reads, everything reads the same way.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::syntax::{Entry, Fault, Kind, MAX_DEPTH, Node, Scalar, Style};

pub(super) fn read(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.blank();
    if reader.at == text.len() {
        let kind = Kind::Map { entries: Vec::new(), flow: true };
        return Ok(Node { span: text.len()..text.len(), kind });
    }
    let root = reader.value()?;
    reader.blank();
    if reader.at < text.len() {
        return Err(reader.fault("text follows the closing brace"));
    }
    match root.kind {
        Kind::Map { .. } => Ok(root),
        _ => Err(Fault::new(root.span.start, "the file is not an object of names", "write `{\"name\": \"value\"}`")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn fault(&self, message: &str) -> Fault {
        Fault::new(self.at, message, "JSON needs double quotes, commas between entries and none after the last")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, message: &str) -> Result<(), Fault> {
        self.blank();
        if self.peek() != Some(byte) {
            return Err(self.fault(message));
        }
        self.at += 1;
        self.blank();
        Ok(())
    }

    fn value(&mut self) -> Result<Node, Fault> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.map()?,
            Some(b'[') => self.list()?,
            Some(b'"') => Kind::Scalar(Scalar { text: self.string()?, style: Style::Text }),
            _ => Kind::Scalar(Scalar { text: self.word()?, style: Style::Plain }),
        };
        Ok(Node { span: start..self.at, kind })
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Fault::too_deep(self.at)) } else { Ok(()) }
    }

    fn map(&mut self) -> Result<Kind, Fault> {
        self.deeper()?;
        self.at += 1;
        self.blank();
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                let start = self.at;
                if self.peek() != Some(b'"') {
                    return Err(self.fault("a name in double quotes is missing"));
                }
                let key = self.string()?.to_string();
                let key_span = start..self.at;
                if !seen.insert(key.clone()) {
                    return Err(Fault::twice(start, &key));
                }
                self.expect(b':', "a `:` is missing")?;
                let value = self.value()?;
                entries.push(Entry { key, key_span, value });
                if self.ends(b'}', "a `,` or the closing `}` is missing")? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Kind::Map { entries, flow: true })
    }

    fn list(&mut self) -> Result<Kind, Fault> {
        self.deeper()?;
        self.at += 1;
        self.blank();
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                items.push(self.value()?);
                if self.ends(b']', "a `,` or the closing `]` is missing")? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Kind::List { items, flow: true })
    }

    /// Whether the collection ends here; otherwise a comma was passed.
    fn ends(&mut self, close: u8, message: &str) -> Result<bool, Fault> {
        self.blank();
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            _ => self.expect(b',', message).map(|()| false),
        }
    }

    fn string(&mut self) -> Result<Zeroizing<String>, Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(0..=0x1f) => return Err(self.fault("a control character stands in a text")),
                Some(_) => self.at += 1,
                None => {
                    self.at = start;
                    return Err(self.fault("a quote is not closed"));
                }
            }
        }
        self.at += 1;
        // The quotes delimit a JSON string exactly, so the escapes are left to a reader that knows them all.
        let text = self.text.get(start..self.at).and_then(|text| serde_json::from_str::<String>(text).ok());
        text.map(Zeroizing::new).ok_or_else(|| {
            self.at = start;
            self.fault("an escape in this text is unknown")
        })
    }

    fn word(&mut self) -> Result<Zeroizing<String>, Fault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        if !matches!(word, "null" | "true" | "false") && serde_json::from_str::<serde_json::Number>(word).is_err() {
            self.at = start;
            return Err(self.fault("a value is missing here, or not JSON"));
        }
        Ok(Zeroizing::new(word.to_string()))
    }
}
