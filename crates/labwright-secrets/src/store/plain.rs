//! The whole store in clear for an editor, and back: what did not change keeps its ciphertext.
//! Starts no editor and writes no file.

use std::collections::HashMap;
use std::ops::Range;

use crate::{ErrorKind, SecretError, SecretText};

use super::cipher::is_encrypted;
use super::document::{Document, no_random};
use super::edit::{self, Splice};
use super::leaf::{self, aad};
use super::meta;
use super::opened::{Opened, in_place};
use super::syntax;
use super::value::{self, Type, Value};

/// An encrypted comment of the file, or one that stands there in clear.
pub(super) struct Remark {
    pub span: Range<usize>,
    pub aad: String,
    /// What an encrypted one says; `None` for one in clear, or one that nothing here opens.
    pub clear: Option<Value>,
    pub text: String,
}

impl Opened {
    pub(super) fn comments(&self) -> Vec<Remark> {
        let document = &self.document;
        let starts = leaf::starts(&document.text, &document.tree);
        let block = document.tree.root.entry(meta::KEY).map(|block| block.key_span.start..block.value.span.end);
        let own = document
            .tree
            .comments
            .iter()
            .filter(|comment| !block.as_ref().is_some_and(|block| block.contains(&comment.span.start)));
        own.map(|comment| {
            let mut keys = leaf::comment_keys(&document.text, &starts, comment.span.start);
            let opens = |keys: &[&str]| {
                self.key.decrypt(&comment.text, &aad(keys)).ok().filter(|value| !value.text.contains('\n'))
            };
            let opened =
                if is_encrypted(&comment.text) { keys.iter().position(|keys| opens(keys).is_some()) } else { None };
            let keys = keys.swap_remove(opened.unwrap_or(0));
            let clear = opened.and_then(|_| opens(&keys));
            Remark { span: comment.span.clone(), aad: aad(&keys), clear, text: comment.text.to_string() }
        })
        .collect()
    }

    /// The document in clear, without its `sops` block, for an editor.
    pub fn plain_text(&self) -> Result<SecretText, SecretError> {
        let document = &self.document;
        let mut splices = Vec::new();
        for leaf in document.leaves() {
            if !document.meta.selection.encrypts(&leaf.keys) || leaf.scalar.text.is_empty() {
                continue;
            }
            if let Some(value) = document.clear(&self.key, &leaf)? {
                let text = value::write(document.format, leaf.place, &value);
                splices.push(Splice::new(leaf.span.clone(), text.as_str()));
            }
        }
        for comment in self.comments() {
            if let Some(clear) = &comment.clear {
                splices.push(Splice::new(comment.span, format!("#{}", clear.text.as_str())));
            }
        }
        splices.extend(edit::without_block(&document.text, &document.tree.root));
        Ok(SecretText::new(edit::apply(&document.text, splices)))
    }

    /// Takes an edited document over. On an error nothing has changed, and the edited text can be mended.
    pub fn replace_plain(&mut self, edited: &SecretText) -> Result<(), SecretError> {
        let document = &self.document;
        let (format, store) = (document.format, &document.name);
        let bad = |why: String, help: &str| {
            SecretError::new(ErrorKind::Malformed, format!("take over the edited `{store}`: {why}")).help(help)
        };
        let text = edited.expose();
        if text.len() > syntax::MAX_FILE_BYTES {
            return Err(bad("it is larger than 4 MiB".to_string(), "keep large files elsewhere, encrypted with `age`"));
        }
        let tree = syntax::read(format, text).map_err(|fault| {
            bad(format!("line {}: {}", syntax::line_of(text, fault.at), fault.message), &fault.help)
        })?;
        if let Some(entry) = tree.root.entry(meta::KEY) {
            let line = syntax::line_of(text, entry.key_span.start);
            return Err(bad(
                format!("line {line}: `sops` is where the store keeps its own keys"),
                "choose another name for this entry",
            ));
        }
        // Old ciphertexts by what they are signed with: any of them fits wherever the same value stands. Each is used
        // once: two equal ones in the file would tell that their values are equal.
        let mut known: HashMap<String, Vec<(Value, String, String)>> = HashMap::new();
        for leaf in document.leaves() {
            if let Some(value) = document.clear(&self.key, &leaf)? {
                let source = document.text[leaf.span.clone()].to_string();
                known.entry(aad(&leaf.keys)).or_default().push((value, leaf.scalar.text.to_string(), source));
            }
        }
        let mut old = self.comments();
        let starts = leaf::starts(text, &tree);
        let mut remarks = Vec::new();
        for comment in &tree.comments {
            let keys = leaf::comment_keys(text, &starts, comment.span.start).swap_remove(0);
            let was_clear = old.iter().any(|old| old.clear.is_none() && old.text == *comment.text);
            if !document.meta.selection.encrypts(&keys) || was_clear || comment.text.is_empty() {
                continue;
            }
            let aad = aad(&keys);
            let clear = Value::new(Type::Comment, comment.text.as_str());
            let same =
                |old: &Remark| old.aad == aad && old.clear.as_ref().is_some_and(|value| value.text == clear.text);
            let sealed = match old.iter().position(same) {
                Some(at) => old.remove(at).text,
                None => self.key.encrypt(&clear, &aad).ok_or_else(no_random)?,
            };
            remarks.push(Splice::new(comment.span.clone(), format!("#{sealed}")));
        }
        let mut splices = Vec::new();
        for leaf in leaf::leaves(format, text, &tree.root) {
            let Some(value) = value::resolve(format, leaf.scalar) else { continue };
            if !document.meta.selection.encrypts(&leaf.keys) {
                continue;
            }
            let aad = aad(&leaf.keys);
            let same = known.get_mut(&aad).and_then(|known| {
                let at = known.iter().position(|(old, ..)| *old == value)?;
                Some(known.remove(at))
            });
            let mut new = match same {
                Some((_, sealed, source)) => in_place(format, leaf.place, Some(&source), &sealed),
                None => in_place(format, leaf.place, None, &self.key.encrypt(&value, &aad).ok_or_else(no_random)?),
            };
            // A comment behind the `|` of a block stands behind the value from now on.
            for remark in remarks.extract_if(.., |remark| leaf.span.contains(&remark.span.start)) {
                new = format!("{new} {}", remark.text);
            }
            splices.push(edit::replace(text, &leaf, &new));
        }
        splices.extend(remarks);
        let sealed = edit::apply(text, splices);
        let unusual = || {
            bad(
                "its layout is unusual".to_string(),
                "begin every name at the start of its line, without braces around the whole",
            )
        };
        let sealed_tree = syntax::read(format, &sealed).map_err(|_| unusual())?;
        let block = edit::with_block(format, &sealed, &sealed_tree.root, &document.text, &document.tree.root);
        let whole = edit::apply(&sealed, vec![block.ok_or_else(unusual)?]);
        let changed = Document::parse(store, whole.as_bytes()).map_err(|_| unusual())?;
        self.same_values(&changed, text, &tree.root).then_some(()).ok_or_else(unusual)?;
        self.document = changed;
        Ok(())
    }

    /// Whether a document says in secret what a text says in clear.
    fn same_values(&self, changed: &Document, text: &str, root: &syntax::Node) -> bool {
        let clear = leaf::leaves(changed.format, text, root);
        let sealed = changed.leaves();
        clear.len() == sealed.len()
            && clear.iter().zip(&sealed).all(|(clear, sealed)| {
                let value = value::resolve(changed.format, clear.scalar);
                clear.name == sealed.name && changed.clear(&self.key, sealed).is_ok_and(|opened| opened == value)
            })
    }
}
