//! What a scalar is: text, number, truth; as SOPS tells them apart, writes and hashes them.
//! Encrypts nothing and knows no places.

use zeroize::Zeroizing;

use super::syntax::{Format, Scalar, Style};

/// The type that stands in `type:` of an encrypted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Str,
    Int,
    Float,
    Bool,
    Bytes,
    Time,
    Comment,
}

impl Type {
    pub const ALL: [Type; 7] = [Type::Str, Type::Int, Type::Float, Type::Bool, Type::Bytes, Type::Time, Type::Comment];

    pub fn name(self) -> &'static str {
        match self {
            Type::Str => "str",
            Type::Int => "int",
            Type::Float => "float",
            Type::Bool => "bool",
            Type::Bytes => "bytes",
            Type::Time => "time",
            Type::Comment => "comment",
        }
    }

    pub fn parse(name: &str) -> Option<Type> {
        Type::ALL.into_iter().find(|ty| ty.name() == name)
    }
}

/// A value in clear. `text` is what SOPS encrypts and hashes: `True`, `42`, `0.5`.
#[derive(PartialEq, Eq)]
pub(super) struct Value {
    pub ty: Type,
    pub text: Zeroizing<String>,
}

impl Value {
    pub fn new(ty: Type, text: impl Into<String>) -> Value {
        Value { ty, text: Zeroizing::new(text.into()) }
    }

    /// A decrypted value in the form in which it is hashed; `None` if it is not of its type.
    pub fn decrypted(ty: Type, text: Zeroizing<String>) -> Option<Value> {
        let canonical = match ty {
            Type::Int => text.parse::<i64>().ok()?.to_string(),
            Type::Float => go_float(text.parse::<f64>().ok()?),
            Type::Bool => match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => "True".to_string(),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => "False".to_string(),
                _ => return None,
            },
            _ => return Some(Value { ty, text }),
        };
        Some(Value::new(ty, canonical))
    }

    /// What a person or a program reads: `true` for `True`; a float keeps its point.
    pub fn shown(&self) -> Zeroizing<String> {
        let text = match self.ty {
            Type::Bool => self.text.to_ascii_lowercase(),
            Type::Float => match self.text.as_str() {
                "+Inf" => ".inf".to_string(),
                "-Inf" => "-.inf".to_string(),
                "NaN" => ".nan".to_string(),
                text if text.contains('.') => text.to_string(),
                text => format!("{text}.0"),
            },
            _ => return self.text.clone(),
        };
        Zeroizing::new(text)
    }
}

/// What a scalar in a file says; `None` is null, which SOPS neither encrypts nor hashes.
pub(super) fn resolve(format: Format, scalar: &Scalar) -> Option<Value> {
    let text = scalar.text.as_str();
    if scalar.style != Style::Plain {
        return Some(Value::new(Type::Str, text));
    }
    match format {
        Format::Yaml => resolve_yaml(text),
        Format::Json => resolve_json(text),
    }
}

fn resolve_json(text: &str) -> Option<Value> {
    match text {
        "null" => None,
        "true" => Some(Value::new(Type::Bool, "True")),
        "false" => Some(Value::new(Type::Bool, "False")),
        _ => match text.parse::<i64>() {
            Ok(number) => Some(Value::new(Type::Int, number.to_string())),
            Err(_) => Some(Value::new(Type::Float, go_float(text.parse().unwrap_or(f64::NAN)))),
        },
    }
}

/// A plain YAML scalar by the rules of the YAML library that SOPS uses.
fn resolve_yaml(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return None,
        "true" | "True" | "TRUE" => return Some(Value::new(Type::Bool, "True")),
        "false" | "False" | "FALSE" => return Some(Value::new(Type::Bool, "False")),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::new(Type::Float, "NaN")),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Value::new(Type::Float, "+Inf")),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::new(Type::Float, "-Inf")),
        _ => {}
    }
    if let Some(time) = timestamp(text) {
        return Some(Value::new(Type::Time, time));
    }
    if let Some(number) = integer(text) {
        return Some(Value::new(Type::Int, number.to_string()));
    }
    match float(text) {
        Some(number) => Some(Value::new(Type::Float, go_float(number))),
        None => Some(Value::new(Type::Str, text)),
    }
}

fn integer(text: &str) -> Option<i64> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return None;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let signed = if negative { format!("-{digits}") } else { digits.to_string() };
    i64::from_str_radix(&signed, radix).ok()
}

fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let known = digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-_".contains(&byte));
    let numeral = digits.strip_prefix('.').unwrap_or(digits).starts_with(|c: char| c.is_ascii_digit());
    if known && numeral { text.replace('_', "").parse().ok() } else { None }
}

/// A date or a time of day, as SOPS hashes it.
fn timestamp(text: &str) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits != 4 || text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && text.len() == 10
    {
        return Some(format!("{date}T00:00:00Z"));
    }
    if let Ok(pieces) = jiff::fmt::temporal::DateTimeParser::new().parse_pieces(text) {
        let time = pieces.time()?;
        let at = pieces.date().to_datetime(time);
        return Some(match pieces.to_numeric_offset() {
            Some(offset) if offset.seconds() != 0 => format!("{at}{offset:?}"),
            _ => format!("{at}Z"),
        });
    }
    None
}

/// A float as Go's `strconv.FormatFloat(x, 'f', -1, 64)` writes it.
fn go_float(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".to_string(),
        f64::INFINITY => "+Inf".to_string(),
        f64::NEG_INFINITY => "-Inf".to_string(),
        _ => number.to_string(),
    }
}

/// How a scalar is written, at a place where the file's own layout decides.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// JSON, and inside brackets in YAML.
    Flow,
    /// In a block; a text of several lines is indented so far.
    Block { indent: usize },
    /// In a block, with something behind it on its line.
    Line,
}

/// A value as text of the file, so that reading it again gives the same value.
pub(super) fn write(format: Format, place: Place, value: &Value) -> Zeroizing<String> {
    let shown = value.shown();
    let plain = match (format, value.ty) {
        (_, Type::Int | Type::Bool) => true,
        // JSON has no word for what is no number.
        (_, Type::Float) => format == Format::Yaml || !shown.contains(['n', 'f']),
        (Format::Yaml, Type::Time) => true,
        (Format::Yaml, Type::Str) => is_plain(&shown),
        _ => false,
    };
    if plain {
        return shown;
    }
    if let (Format::Yaml, Place::Block { indent }) = (format, place)
        && let Some(block) = literal(&shown, indent)
    {
        return block;
    }
    quoted(&shown)
}

/// A key as text of the file.
pub(super) fn write_key(format: Format, key: &str) -> String {
    if format == Format::Yaml && is_plain(key) { key.to_string() } else { quoted(key).to_string() }
}

/// Whether a text needs no quotes, wherever it stands; rather too few than one too many.
fn is_plain(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "_./+=@-".contains(c);
    let lower = text.to_ascii_lowercase();
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/')
        && text.split(' ').all(|part| !part.is_empty() && part.chars().all(word))
        && !matches!(lower.as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null")
        && !text.starts_with(|c: char| c.is_ascii_digit() && text.contains([':', '_']))
        && matches!(resolve_yaml(text), Some(Value { ty: Type::Str, .. }))
}

/// A text in double quotes, readable as JSON and as YAML.
fn quoted(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 2 + 2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || matches!(c as u32, 0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A text of several lines as a block, if that shows it exactly.
fn literal(text: &str, indent: usize) -> Option<Zeroizing<String>> {
    let (body, header) = match text.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (text, "|-"),
    };
    let exact = body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body
            .chars()
            .all(|c| c == '\n' || (c >= ' ' && !matches!(c as u32, 0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe..)))
        && body.lines().all(|line| !line.ends_with(' '));
    if !exact {
        return None;
    }
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 16 + body.lines().count() * indent));
    out.push_str(header);
    for line in body.lines() {
        out.push('\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
    }
    Some(out)
}
