//! From nodes to typed values, reporting every fault and going on.
//! Knows no key of the lab file: the `section!` and `choice!` declarations do.

mod collections;
mod declare;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

pub use collections::{Foreign, Many, Table, json};
pub(crate) use declare::{choice, section};
pub use declare::{or_bool, or_string, or_strings};

use crate::codes;
use crate::finding::{Finding, Findings, nearest};
use crate::span::{Span, Spanned};
use crate::tree::{Key, Kind, Node};

/// Where we are and what was found so far.
pub struct Decoder<'a> {
    pub findings: &'a mut Findings,
    path: Vec<Part>,
    /// The text of all keys on the path, one behind the other: a key is come by far too often to be a text of its own.
    keys: String,
    short: HashSet<String>,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    /// Its bytes among the path's keys.
    Key {
        start: usize,
        end: usize,
    },
    Entry(usize),
}

/// A type of the lab file. `None` means that a finding was reported and the default stands in.
pub trait FromNode: Sized {
    /// The words that may stand there, where only a few may.
    fn words() -> &'static [&'static str] {
        &[]
    }

    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self>;
}

/// A map of the lab file with known keys.
pub trait Section {
    /// The keys whose values are not the defaults.
    fn beyond_defaults(&self) -> Vec<&'static str>;
}

impl<'a> Decoder<'a> {
    pub fn new(findings: &'a mut Findings) -> Self {
        Decoder { findings, path: Vec::new(), keys: String::new(), short: HashSet::new() }
    }

    /// Notes which values a short form gave: those that are not the defaults.
    pub fn note_short_form(&mut self, read: &dyn Section) {
        for key in read.beyond_defaults() {
            let at = self.within(key, |d| d.at());
            self.short.insert(at);
        }
    }

    /// The paths of all values that short forms gave.
    pub fn short(self) -> HashSet<String> {
        self.short
    }

    /// The path of the value being read: `compute.hosts.docker-01.zone`.
    pub fn at(&self) -> String {
        let mut at = String::new();
        for (depth, part) in self.path.iter().enumerate() {
            if depth > 0 {
                at.push('.');
            }
            match *part {
                Part::Key { start, end } => at.push_str(&self.keys[start..end]),
                Part::Entry(number) => at.push_str(&number.to_string()),
            }
        }
        at
    }

    pub fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.under(&[key], read)
    }

    /// As `within`, several levels down.
    pub fn under<T>(&mut self, path: &[&str], read: impl FnOnce(&mut Self) -> T) -> T {
        let (depth, written) = (self.path.len(), self.keys.len());
        for key in path {
            let start = self.keys.len();
            self.keys.push_str(key);
            self.path.push(Part::Key { start, end: self.keys.len() });
        }
        let value = read(self);
        self.path.truncate(depth);
        self.keys.truncate(written);
        value
    }

    /// As `within`, for an entry of a list, from 0.
    pub fn entry<T>(&mut self, number: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(Part::Entry(number));
        let value = read(self);
        self.path.pop();
        value
    }

    /// What a person would call the value being read.
    fn what(&self) -> String {
        let key = self.path.iter().rev().find_map(|part| match *part {
            Part::Key { start, end } => Some(&self.keys[start..end]),
            Part::Entry(_) => None,
        });
        match (self.path.last(), key) {
            (Some(Part::Entry(number)), Some(key)) => format!("entry {} of `{key}`", number + 1),
            (_, Some(key)) => format!("`{key}`"),
            _ => "the lab file".into(),
        }
    }

    /// Reports a value of the wrong type or form.
    pub fn wrong<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        let found = match &node.kind {
            Kind::Scalar { text, .. } if text.is_empty() => "an empty string".to_string(),
            Kind::Scalar { text, .. } if text.chars().count() <= 40 && !text.contains(char::is_control) => {
                format!("`{text}`")
            }
            _ => node.kind_name().to_string(),
        };
        let message = format!("{} must be {wanted}, found {found}", self.what());
        self.findings.push(Finding::error(codes::WRONG_VALUE, self.at(), node.span, message));
        None
    }

    /// As `wrong`, with the fix.
    pub fn wrong_help<T>(&mut self, node: &Node, wanted: &str, help: impl Into<String>) -> Option<T> {
        let none = self.wrong(node, wanted);
        if let Some(last) = self.findings.pop() {
            self.findings.push(last.help(help));
        }
        none
    }

    /// The entries of a map whose keys are all among `known`; others are reported with the nearest known one.
    pub fn known_keys(&mut self, entries: &[(Key, Arc<Node>)], known: &[&str]) {
        for (key, node) in entries {
            if known.contains(&key.text.as_str()) {
                continue;
            }
            let place = match self.path.is_empty() {
                false => format!("in {}", self.what()),
                true => "at the top of a lab file".to_string(),
            };
            let at = self.within(&key.text, |d| d.at());
            let finding =
                Finding::error(codes::UNKNOWN_KEY, at, key.span, format!("unknown key `{}` {place}", key.text));
            let help = match nearest(&key.text, known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                // `because: music, photos and notes` within braces: the comma ends the text.
                None if node.is_null() && key.text.contains(' ') => {
                    "a comma ends a text within `{ … }`: quote the whole text, `\"…, …\"`".to_string()
                }
                None if known.is_empty() => "remove it: nothing is known here".to_string(),
                None => format!("known keys here: {}", known.join(", ")),
            };
            self.findings.push(finding.help(help));
        }
    }

    /// Reports something that is not the map it has to be.
    pub fn not_a_map<T>(&mut self, node: &Node, known: &[&str]) -> Option<T> {
        let near = node.text().and_then(|text| nearest(text.trim_end_matches(':'), known.iter().copied()));
        let help = match near {
            Some(key) => format!("write `{key}: …`, with a space after the colon"),
            None => format!("known keys here: {}", known.join(", ")),
        };
        self.wrong_help(node, "a map", help)
    }

    pub fn field<T: FromNode>(&mut self, node: Option<&Arc<Node>>, key: &str) -> Option<T> {
        let node = node?;
        if matches!(node.kind, Kind::Null) {
            return None;
        }
        self.within(key, |d| T::from_node(node, d))
    }

    /// Every key of `required` has to have a value; `words`: what may stand there, where that is one of a few.
    pub fn needs(&mut self, node: &Node, required: &[&str], words: impl Fn(&str) -> &'static [&'static str]) {
        for key in required.iter().filter(|key| node.get(key).is_none_or(|node| node.is_null())) {
            let start_only = Span { end: node.span.end.min(node.span.start + 1), ..node.span };
            let message = format!("{} needs `{key}`", self.what());
            let finding = Finding::error(codes::MISSING_KEY, self.at(), start_only, message);
            let help = match words(key) {
                [] => format!("add `{key}: …` here"),
                words @ [first, ..] => format!("add `{key}: {first}` here, or another of {}", words.join(", ")),
            };
            self.findings.push(finding.help(help));
        }
    }
}

impl<T: FromNode> FromNode for Option<T> {
    fn words() -> &'static [&'static str] {
        T::words()
    }

    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        T::from_node(node, decoder).map(Some)
    }
}

impl<T: FromNode> FromNode for Box<T> {
    fn words() -> &'static [&'static str] {
        T::words()
    }

    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        T::from_node(node, decoder).map(Box::new)
    }
}

impl<T: FromNode> FromNode for Spanned<T> {
    fn words() -> &'static [&'static str] {
        T::words()
    }

    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        T::from_node(node, decoder).map(|value| Spanned::new(value, node.span))
    }
}

impl FromNode for String {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(text.clone()),
            Kind::List(items) if items.len() == 1 => {
                decoder.wrong_help(node, "a string", "write the value without the brackets")
            }
            Kind::Null => {
                decoder.wrong_help(node, "a string", "write the value behind the `:`, or `\"\"` for an empty one")
            }
            _ => decoder.wrong(node, "a string"),
        }
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, plain: true } if text == "true" => Some(true),
            Kind::Scalar { text, plain: true } if text == "false" => Some(false),
            Kind::Scalar { text, plain: true } if matches!(text.as_str(), "yes" | "on") => {
                decoder.wrong_help(node, "true or false", "YAML 1.2 writes `true`")
            }
            Kind::Scalar { text, plain: true } if matches!(text.as_str(), "no" | "off") => {
                decoder.wrong_help(node, "true or false", "YAML 1.2 writes `false`")
            }
            _ => decoder.wrong(node, "true or false"),
        }
    }
}

macro_rules! parsed_scalar {
    ($($type:ty => $wanted:literal),* $(,)?) => { $(
        impl FromNode for $type {
            fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
                match node.text().and_then(|text| text.parse().ok()) {
                    Some(value) => Some(value),
                    None => decoder.wrong(node, $wanted),
                }
            }
        }
    )* };
}
parsed_scalar! {
    u8 => "a number from 0 to 255",
    u16 => "a number from 0 to 65535",
    u32 => "a whole number",
    u64 => "a whole number",
}

impl FromNode for IpAddr {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let wanted = "an IP address such as 10.0.20.21";
        let text = node.text().unwrap_or_default();
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => match text.split_once('/').filter(|(address, _)| address.parse::<IpAddr>().is_ok()) {
                Some((address, _)) => decoder.wrong_help(
                    node,
                    wanted,
                    format!("write `{address}`; how large the network is stands in the zone's `subnet`"),
                ),
                None if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => decoder.wrong_help(
                    node,
                    wanted,
                    "an IPv4 address has four numbers, each from 0 to 255, without leading zeros",
                ),
                None => decoder.wrong_help(node, wanted, "write the IPv4 or IPv6 address; a name is not looked up"),
            },
        }
    }
}
