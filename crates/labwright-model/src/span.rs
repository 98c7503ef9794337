//! Where a value stands in the user's files.
//! Does no reading: texts are handed in.

use std::ops::Deref;

use memchr::memchr_iter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

/// A half-open byte range in one source file. `Span::NONE` marks what no file says (a default).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub file: u32,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub const NONE: Span = Span { file: u32::MAX, start: 0, end: 0 };

    pub fn is_none(self) -> bool {
        self.file == u32::MAX
    }
}

/// One file of the lab as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as the user would type it.
    pub name: String,
    pub text: String,
    line_starts: Vec<u32>,
}

/// All files that one lab was read from; spans index into it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// A place as people and editors count it: lines and columns (in characters) from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
}

impl Sources {
    /// Adds a file; one that is there already with the same text is that one, so that what is read twice has one place.
    pub fn add(&mut self, name: String, text: String) -> u32 {
        if let Some(known) = self.files.iter().position(|source| source.name == name && source.text == text) {
            return known as u32;
        }
        let line_starts = std::iter::once(0).chain(memchr_iter(b'\n', text.as_bytes()).map(|i| i as u32 + 1)).collect();
        self.files.push(Source { name, text, line_starts });
        self.files.len() as u32 - 1
    }

    pub fn get(&self, file: u32) -> Option<&Source> {
        self.files.get(file as usize)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.files.iter()
    }

    /// Lines and columns of a span; `None` for `Span::NONE`.
    pub fn place(&self, span: Span) -> Option<Place> {
        let source = self.get(span.file)?;
        let (line, column) = source.position(span.start);
        let (end_line, end_column) = source.position(span.end);
        Some(Place { file: source.name.clone(), line, column, end_line, end_column })
    }
}

impl Source {
    /// Line and column (characters, both from 1) of a byte offset.
    pub fn position(&self, offset: u32) -> (usize, usize) {
        let line = self.line_starts.partition_point(|&start| start <= offset);
        let start = self.line_starts[line - 1] as usize;
        let end = (offset as usize).min(self.text.len());
        (line, self.text.get(start..end).map_or(0, |part| part.chars().count()) + 1)
    }
}

/// A value together with the place that says it.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(value: T, span: Span) -> Self {
        Spanned { value, span }
    }
}

impl<T> From<T> for Spanned<T> {
    /// A value that no file says.
    fn from(value: T) -> Self {
        Spanned { value, span: Span::NONE }
    }
}

impl<T: Default> Default for Spanned<T> {
    fn default() -> Self {
        T::default().into()
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    /// Two equal values in different places are equal.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
