//! Values with Compose's own forms: switches, sizes, times, commands, names with values.
//! Each is shown as `docker compose config` shows it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::words;
use crate::codes;
use crate::decode::{Decoder, FromNode};
use crate::finding::Finding;
use crate::span::Spanned;
use crate::tree::{Kind, Node};

/// The text of a plain value as Compose reads it: its YAML knows octal numbers and underscores in numbers.
pub(super) fn plain_text(text: &str) -> Cow<'_, str> {
    match text {
        "True" | "TRUE" => return Cow::Borrowed("true"),
        "False" | "FALSE" => return Cow::Borrowed("false"),
        _ => {}
    }
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Cow::Borrowed(text);
    }
    let digits = bare.replace('_', "");
    let number = match digits.get(..2).unwrap_or_default() {
        "0x" => i128::from_str_radix(&digits[2..], 16).ok(),
        "0o" => i128::from_str_radix(&digits[2..], 8).ok(),
        "0b" => i128::from_str_radix(&digits[2..], 2).ok(),
        _ if digits.starts_with('0') && digits.len() > 1 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            i128::from_str_radix(&digits, 8).ok().or_else(|| digits.parse().ok())
        }
        _ => digits.parse().ok(),
    };
    if let Some(number) = number.filter(|number| *number <= i128::from(u64::MAX)) {
        let sign = if text.starts_with('-') && number != 0 { "-" } else { "" };
        return Cow::Owned(format!("{sign}{number}"));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Cow::Owned(go_float(number)),
        _ => Cow::Borrowed(text),
    }
}

/// A number with a fraction or an exponent as Go prints it: short, and from a million on with an exponent.
fn go_float(number: f64) -> String {
    let exponent = format!("{number:e}");
    let (digits, power) = exponent.split_once('e').unwrap_or((&exponent, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    match power {
        -4..6 => number.to_string(),
        _ => format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs()),
    }
}

/// The text of a value that may be a number or a boolean. What becomes another text is reported.
pub(super) fn text_of(node: &Node, decoder: &mut Decoder<'_>) -> Option<String> {
    match &node.kind {
        Kind::Scalar { text, plain: true } => {
            let read = plain_text(text);
            if read != *text {
                let message = format!("`{text}` is no text to Compose, which makes `{read}` of it");
                let finding = Finding::warning(codes::COMPOSE_MISLEADING, decoder.at(), node.span, message);
                decoder.findings.push(finding.help(format!("quote it if you mean the text: `\"{text}\"`")));
            }
            Some(read.into_owned())
        }
        Kind::Scalar { text, .. } => Some(text.clone()),
        _ => decoder.wrong(node, "a text, a number or a boolean"),
    }
}

/// True or false, also as `yes` and `"true"`, which variables give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Flag(pub bool);

impl FromNode for Flag {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text().unwrap_or_default().to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(Flag(true)),
            "false" | "n" | "no" | "off" => Some(Flag(false)),
            _ => decoder.wrong(node, "true or false"),
        }
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Whole(pub i64);

impl FromNode for Whole {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let text = match &node.kind {
            Kind::Scalar { text, plain: true } => plain_text(text),
            _ => Cow::Borrowed(node.text().unwrap_or_default()),
        };
        match text.parse() {
            Ok(number) => Some(Whole(number)),
            Err(_) => decoder.wrong(node, "a whole number"),
        }
    }
}

/// A number of processors: `0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema)]
pub struct Decimal(pub f64);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            true => serializer.serialize_i64(self.0 as i64),
            false => serializer.serialize_f64(self.0),
        }
    }
}

impl FromNode for Decimal {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text().and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite()) {
            Some(number) => Some(Decimal(number)),
            None => decoder.wrong_help(node, "a number", "for example `0.5` or `2`"),
        }
    }
}

/// A size in bytes, written `64m`, `1.5gb`, or a number; -1 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct Bytes(pub i64);

impl Bytes {
    /// Units are powers of 1024, with or without `b` or `ib`.
    pub fn parse(text: &str) -> Option<Bytes> {
        if let Ok(number) = text.parse() {
            return Some(Bytes(number));
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number: f64 = text[..end].parse().ok()?;
        let unit = text[end..].strip_prefix(' ').unwrap_or(&text[end..]).to_ascii_lowercase();
        let power = match unit.trim_end_matches('b').trim_end_matches('i') {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            "p" => 50,
            _ => return None,
        };
        let bytes = number * (1_u64 << power) as f64;
        (matches!(unit.len(), 0..=3) && bytes < i64::MAX as f64).then_some(Bytes(bytes as i64))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl FromNode for Bytes {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text().and_then(Bytes::parse) {
            Some(size) => Some(size),
            None => decoder.wrong_help(node, "a size", "for example `512m`, `2g` or a number of bytes"),
        }
    }
}

/// A length of time, written `90s`, `1m30s`, `1.5h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct Time(pub Duration);

impl Time {
    pub fn parse(text: &str) -> Option<Time> {
        if text == "0" {
            return Some(Time::default());
        }
        let mut rest = text;
        let mut nanos = 0.0_f64;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let number: f64 = rest[..end].parse().ok()?;
            rest = &rest[end..];
            let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let unit = match &rest[..end] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                "d" => 86_400e9,
                "w" => 604_800e9,
                _ => return None,
            };
            nanos += number * unit;
            rest = &rest[end..];
        }
        // Compose counts nanoseconds in 64 bits.
        (!text.is_empty() && nanos < i64::MAX as f64).then(|| Time(Duration::from_nanos(nanos.round() as u64)))
    }
}

impl std::fmt::Display for Time {
    /// As Go prints it: `1m30s`, `1h0m0s`, `1.5s`, `500ms`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = self.0.as_nanos();
        let small = [(1_u128, "ns"), (1_000, "µs"), (1_000_000, "ms")];
        if nanos == 0 {
            return f.write_str("0s");
        }
        if let Some((unit, name)) = small.iter().rev().find(|(unit, _)| nanos < 1_000_000_000 && nanos >= *unit) {
            return write!(f, "{}{name}", nanos as f64 / *unit as f64);
        }
        let seconds = self.0.as_secs();
        if seconds >= 3600 {
            write!(f, "{}h", seconds / 3600)?;
        }
        if seconds >= 60 {
            write!(f, "{}m", seconds / 60 % 60)?;
        }
        let fraction = format!("{:09}", self.0.subsec_nanos());
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{}s", seconds % 60),
            fraction => write!(f, "{}.{fraction}s", seconds % 60),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromNode for Time {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text().map(|text| (text, Time::parse(text))) {
            Some((_, Some(time))) => Some(time),
            Some((text, None)) if text.parse::<f64>().is_ok() => {
                decoder.wrong_help(node, "a duration with its unit", format!("write `{text}s`"))
            }
            _ => decoder.wrong_help(node, "a duration with its unit", "for example `30s`, `1m30s` or `500ms`"),
        }
    }
}

/// Permission bits, in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub struct Bits(pub u32);

impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0{:o}", self.0))
    }
}

impl FromNode for Bits {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let bits = match &node.kind {
            // Without quotes and without its zero it is a decimal number, as in any YAML.
            Kind::Scalar { text, plain: true } => plain_text(text).parse().ok(),
            Kind::Scalar { text, .. } => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
            _ => None,
        };
        match bits.filter(|bits| *bits <= 0o7777) {
            Some(bits) => Some(Bits(bits)),
            None => decoder.wrong_help(node, "permission bits", "write them in octal, quoted: \"0444\""),
        }
    }
}

/// A program and its arguments. One text is split into words; no shell reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Command(pub Vec<String>);

impl FromNode for Command {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Kind::Scalar { text, .. } = &node.kind else {
            return List::<String>::from_node(node, decoder).map(|list| Command(list.0));
        };
        let Some(split) = words::split(text) else {
            let help = "close every quote, and quote parentheses; or write a list: `[program, argument]`";
            return decoder.wrong_help(node, "a command", help);
        };
        if let Some(ignored) = split.ignored {
            let message = format!("no shell reads this command: Compose leaves out everything from `{ignored}` on");
            let finding = Finding::error(codes::COMPOSE_MISLEADING, decoder.at(), node.span, message);
            decoder.findings.push(finding.help("write `[sh, -c, \"…\"]`, or quote the character"));
        }
        Some(Command(split.words))
    }
}

/// A list that is written as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T> std::ops::Deref for List<T> {
    type Target = Vec<T>;
    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: FromNode> FromNode for List<T> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            let help = node.text().map_or(String::new(), |text| format!("write `[{text}]`"));
            return decoder.wrong_help(node, "a list", help);
        };
        let item = |(number, item): (usize, &Arc<Node>)| {
            decoder.within(&number.to_string(), |decoder| T::from_node(item, decoder))
        };
        Some(List(items.iter().enumerate().filter_map(item).collect()))
    }
}

/// A list of texts in which each counts once; a single text is a list of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Texts(pub Vec<Spanned<String>>);

impl std::ops::Deref for Texts {
    type Target = Vec<Spanned<String>>;
    fn deref(&self) -> &Vec<Spanned<String>> {
        &self.0
    }
}

impl FromNode for Texts {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Scalar { .. } => {
                return text_of(node, decoder).map(|text| Texts(vec![Spanned::new(text, node.span)]));
            }
            _ => return decoder.wrong(node, "a list of texts"),
        };
        let mut texts = IndexMap::new();
        for item in items {
            if let Some(text) = text_of(item, decoder) {
                texts.entry(text).or_insert(item.span);
            }
        }
        Some(Texts(texts.into_iter().map(|(text, span)| Spanned::new(text, span)).collect()))
    }
}

/// As `Texts`, where Compose takes no single text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Listed(pub Texts);

impl std::ops::Deref for Listed {
    type Target = Texts;
    fn deref(&self) -> &Texts {
        &self.0
    }
}

impl FromNode for Listed {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text() {
            Some(text) => decoder.wrong_help(node, "a list", format!("write `[{text}]`")),
            None => Texts::from_node(node, decoder).map(Listed),
        }
    }
}

/// Names with values: a map, or a list of `NAME=value`. A name alone has no value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Pairs(pub IndexMap<String, Spanned<Option<String>>>);

impl std::ops::Deref for Pairs {
    type Target = IndexMap<String, Spanned<Option<String>>>;
    fn deref(&self) -> &IndexMap<String, Spanned<Option<String>>> {
        &self.0
    }
}

impl FromNode for Pairs {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let mut pairs = IndexMap::new();
        match &node.kind {
            Kind::Map(entries) => {
                for (key, node) in entries {
                    let value = match node.is_null() {
                        true => None,
                        false => match decoder.within(&key.text, |d| text_of(node, d)) {
                            Some(text) => Some(text),
                            None => continue,
                        },
                    };
                    let span = if node.is_null() { key.span } else { node.span };
                    pairs.insert(key.text.clone(), Spanned::new(value, span));
                }
            }
            Kind::List(items) => {
                for item in items {
                    let Some(text) = item.text() else {
                        let help = "write `NAME=value` in a list, or leave out the dashes";
                        decoder.wrong_help::<()>(item, "a list of `NAME=value`", help);
                        continue;
                    };
                    let (name, value) = match text.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_string())),
                        None => (text, None),
                    };
                    pairs.insert(name.to_string(), Spanned::new(value, item.span));
                }
            }
            _ => return decoder.wrong(node, "a map, or a list of `NAME=value`"),
        }
        Some(Pairs(pairs))
    }
}

/// Names with their addresses for `/etc/hosts`: a map, or a list of `name=address` or `name:address`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct ExtraHosts(pub IndexMap<String, Vec<Spanned<String>>>);

impl Serialize for ExtraHosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let line = |(name, addresses): (&String, &Vec<Spanned<String>>)| {
            addresses.iter().map(|address| format!("{name}={}", address.value)).collect::<Vec<_>>()
        };
        let mut lines: Vec<String> = self.0.iter().flat_map(line).collect();
        lines.sort_unstable();
        lines.serialize(serializer)
    }
}

impl FromNode for ExtraHosts {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let mut hosts: IndexMap<String, Vec<Spanned<String>>> = IndexMap::new();
        let mut add = |name: &str, addresses: &str, node: &Node| {
            let of_host = hosts.entry(name.to_string()).or_default();
            for address in addresses.split(',') {
                let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
                if !of_host.iter().any(|known| known.value == bare) {
                    of_host.push(Spanned::new(bare.to_string(), node.span));
                }
            }
        };
        match &node.kind {
            Kind::Map(entries) => {
                for (key, value) in entries {
                    let addresses: Vec<String> = match &value.kind {
                        Kind::List(items) => items.iter().filter_map(|item| text_of(item, decoder)).collect(),
                        _ => text_of(value, decoder).into_iter().collect(),
                    };
                    addresses.iter().for_each(|address| add(&key.text, address, value));
                }
            }
            Kind::List(items) => {
                for item in items {
                    let text = item.text().unwrap_or_default();
                    match text.split_once('=').or_else(|| text.split_once(':')) {
                        Some((name, addresses)) if !name.is_empty() => add(name, addresses, item),
                        _ => decoder
                            .wrong_help::<()>(item, "a name and an address", "write `nas=10.0.20.5`")
                            .unwrap_or(()),
                    }
                }
            }
            _ => return decoder.wrong(node, "a list of `name=address`"),
        }
        Some(ExtraHosts(hosts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_go_shows_them() {
        for (text, shown) in [
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1s500ms", "1.5s"),
            ("500ms", "500ms"),
            ("1.5h", "1h30m0s"),
            ("2d", "48h0m0s"),
            ("0s", "0s"),
            ("1500us", "1.5ms"),
        ] {
            assert_eq!(Time::parse(text).map(|time| time.to_string()).as_deref(), Some(shown), "{text}");
        }
        for text in ["", "5", "s", "1x", "999999999h"] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("64m", 64 << 20),
            ("1g", 1 << 30),
            ("1.5GB", 3 << 29),
            ("512 KiB", 512 << 10),
            ("100", 100),
            ("-1", -1),
            ("5b", 5),
        ] {
            assert_eq!(Bytes::parse(text), Some(Bytes(bytes)), "{text}");
        }
        for text in ["", "m", "1x", "1.2.3k", "1e30g"] {
            assert_eq!(Bytes::parse(text), None, "{text}");
        }
    }

    #[test]
    fn plain_numbers_as_compose_reads_them() {
        for (text, read) in [
            ("002", "2"),
            ("0755", "493"),
            ("08", "8"),
            ("0x1F", "31"),
            ("1_000", "1000"),
            ("1.50", "1.5"),
            ("-05", "-5"),
            ("1.2.3", "1.2.3"),
            ("10.0.0.1", "10.0.0.1"),
            ("22:22", "22:22"),
            ("True", "true"),
            ("yes", "yes"),
            ("5m", "5m"),
        ] {
            assert_eq!(plain_text(text), read, "{text}");
        }
    }
}
