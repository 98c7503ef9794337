//! The body of a request, field by field, each of its type; it remembers which fields nobody asked for.
//! Wrong types are refused as the published server refuses them; unknown fields end up as warnings, as there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::reply::Fault;

#[derive(Debug, Default)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl Fields {
    pub(crate) fn read(body: &[u8]) -> Result<Fields, Fault> {
        if body.is_empty() {
            return Ok(Fields::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Fields { map, asked: RefCell::default() }),
            Ok(Value::Null) => Ok(Fields::default()),
            Ok(_) => Err(Fault::bad("failed to parse JSON input: json: cannot unmarshal into Go value of type map")),
            Err(error) => Err(Fault::bad(format!("failed to parse JSON input: {error}"))),
        }
    }

    /// Fields that were sent, but that no endpoint asked for.
    pub(crate) fn unknown(&self) -> Vec<String> {
        self.map.keys().filter(|key| !self.asked.borrow().contains(key.as_str())).cloned().collect()
    }

    /// Takes these as known, whatever they hold.
    pub(crate) fn ignore(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    pub(crate) fn get(&self, name: &'static str) -> Option<&Value> {
        self.asked.borrow_mut().insert(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(wrong(name, "string")),
        }
    }

    pub(crate) fn need(&self, name: &'static str) -> Result<String, Fault> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| Fault::bad(format!("missing {name}")))
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong(name, "bool")),
            Some(_) => Err(wrong(name, "bool")),
        }
    }

    pub(crate) fn number(&self, name: &'static str) -> Result<Option<u64>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_u64().map(Some).ok_or_else(|| wrong(name, "int")),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong(name, "int")),
            Some(_) => Err(wrong(name, "int")),
        }
    }

    /// Seconds: a number, or text like `90`, `15m`, `768h`, `7d`.
    pub(crate) fn seconds(&self, name: &'static str) -> Result<Option<u64>, Fault> {
        match self.get(name) {
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => seconds(text).map(Some).ok_or_else(|| wrong(name, "duration")),
            _ => self.number(name),
        }
    }

    /// A list, or its elements with commas between them.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Option<Vec<String>>, Fault> {
        let strings = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.split(',').map(|part| part.trim().to_string()).collect(),
            Some(Value::Array(all)) => {
                let text = |value: &Value| value.as_str().map(str::to_string).ok_or_else(|| wrong(name, "slice"));
                all.iter().map(text).collect::<Result<Vec<_>, _>>()?
            }
            Some(_) => return Err(wrong(name, "slice")),
        };
        Ok(Some(strings.into_iter().filter(|text| !text.is_empty()).collect()))
    }

    pub(crate) fn numbers(&self, name: &'static str) -> Result<Vec<u64>, Fault> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(all)) => {
                let number = |value: &Value| match value {
                    Value::String(text) => text.parse().ok(),
                    other => other.as_u64(),
                };
                all.iter().map(|value| number(value).ok_or_else(|| wrong(name, "int slice"))).collect()
            }
            Some(_) => Err(wrong(name, "int slice")),
        }
    }

    pub(crate) fn map(&self, name: &'static str) -> Result<Option<Map<String, Value>>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map.clone())),
            Some(_) => Err(wrong(name, "map")),
        }
    }

    pub(crate) fn text_map(&self, name: &'static str) -> Result<Option<BTreeMap<String, String>>, Fault> {
        let Some(map) = self.map(name)? else { return Ok(None) };
        let text = |(key, value): (String, Value)| match value {
            Value::String(text) => Ok((key, text)),
            _ => Err(Fault::bad(format!("{name} validation failed: values must be strings, `{key}` is not"))),
        };
        map.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }
}

fn wrong(name: &str, kind: &str) -> Fault {
    Fault::bad(format!("Field validation failed: error converting input for field \"{name}\": expected type '{kind}'"))
}

pub(crate) fn seconds(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
