//! The way back from a change that may cut the way in, as plain data: a provider says it, the engine keeps it and goes it.
//! Nothing here reads or writes; it must make sense to a program that knows no provider, after a reboot.

use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What was there before a step, and what makes it count again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayBack {
    /// Files as they are before the step, in the order in which they are put back.
    pub files: Vec<Before>,
    /// What is run once the files are back, in this order. After a reboot the files are back before anything reads them, so
    /// only that is run which says `at_boot`.
    pub calls: Vec<Call>,
    /// Whether any of it holds a secret: then it is kept in memory only, and a reboot leaves nothing to go back from.
    #[serde(default)]
    pub secret: bool,
    /// Whether what the step changes outlives a reboot by itself. With a secret way back it then stays as the step made it,
    /// and that is told.
    #[serde(default)]
    pub outlives: bool,
}

/// One path, as it is before a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub path: PathBuf,
    pub was: Was,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Was {
    Absent,
    File {
        #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Link {
        target: PathBuf,
    },
}

/// A program to run: no shell, so nothing in it is read twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub program: String,
    pub args: Vec<String>,
    /// What it reads from its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Whether the way back goes on as if nothing were, should it fail: it only clears the way for what follows.
    #[serde(default)]
    pub may_fail: bool,
    /// Whether it is run at the next start as well, where a reboot need not have taken what it undoes: a container may keep
    /// its network's rules.
    #[serde(default)]
    pub at_boot: bool,
}

impl Call {
    pub fn new(program: &str, args: &[&str]) -> Call {
        let args = args.iter().map(|arg| arg.to_string()).collect();
        Call { program: program.to_string(), args, input: None, may_fail: false, at_boot: false }
    }

    #[must_use]
    pub fn input(mut self, input: impl Into<String>) -> Call {
        self.input = Some(input.into());
        self
    }

    #[must_use]
    pub fn at_boot(mut self) -> Call {
        self.at_boot = true;
        self
    }

    #[must_use]
    pub fn may_fail(mut self) -> Call {
        self.may_fail = true;
        self
    }
}

/// Where a host takes connections for its management once a step is made, as the new configuration says. Empty: where it
/// did before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Ports of the SSH server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64.decode(text).map_err(serde::de::Error::custom)
}
