//! Values with a unit or a form of their own: sizes, durations, ports, schedules, file modes.
//! Each keeps the field's standard spelling, and is shown as it would be typed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::decode::{Decoder, FromNode};
use crate::finding::nearest;
use crate::tree::{Kind, Node};

/// Gives a type that is one string in the file its `Serialize` and its JSON Schema.
macro_rules! string_form {
    ($type:ident, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "number"], "description": $description })
            }
        }
    };
}

/// A size in bytes, written `8GiB`, `512MiB`, `10GB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);
string_form!(Size, "a size with its unit: 8GiB, 512MiB, 10GB");

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: &[(&str, u64)] = &[
            ("EiB", 1 << 60),
            ("PiB", 1 << 50),
            ("TiB", 1 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("TB", 1_000_000_000_000),
            ("GB", 1_000_000_000),
            ("MB", 1_000_000),
            ("KiB", 1 << 10),
            ("kB", 1_000),
        ];
        // Exact, so that what is shown reads back as the same size.
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl FromNode for Size {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let text = node.text().filter(|text| !text.trim().parse::<f64>().is_ok_and(|n| n != 0.0));
        match text.and_then(|text| text.parse::<bytesize::ByteSize>().ok()) {
            Some(size) => Some(Size(size.as_u64())),
            None => match node.text() {
                Some(text) if is_number(text) => {
                    decoder.wrong_help(node, "a size with its unit", format!("write `{text}GiB` or `{text}MiB`"))
                }
                _ => decoder.wrong_help(node, "a size with its unit", "for example `8GiB`, `512MiB` or `10GB`"),
            },
        }
    }
}

/// The subnet of a zone, in CIDR: `10.0.20.0/24`, `fd00:20::/64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet(pub IpNet);
string_form!(Subnet, "a subnet in CIDR: 10.0.20.0/24, fd00:20::/64");

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> serde::Deserialize<'de> for Subnet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map(Subnet).map_err(|_| serde::de::Error::custom(format!("`{text}` is no subnet in CIDR")))
    }
}

impl FromNode for Subnet {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Some(net) = node.text().and_then(|text| text.parse::<IpNet>().ok()) else {
            let help = "write network and prefix length, such as `10.0.20.0/24`";
            return decoder.wrong_help(node, "a subnet", help);
        };
        if net.addr() != net.network() {
            let help = format!("host bits are set: the subnet is `{}`", net.trunc());
            return decoder.wrong_help(node, "the address of a network", help);
        }
        Some(Subnet(net))
    }
}

/// An address of an interface with the length of its network: `10.0.20.21/24`, `fd00:20::21/64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress(pub IpNet);
string_form!(InterfaceAddress, "an address with the length of its network: 10.0.20.21/24, fd00:20::21/64");

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for InterfaceAddress {
    type Err = ipnet::AddrParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(InterfaceAddress)
    }
}

impl FromNode for InterfaceAddress {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let text = node.text().unwrap_or_default();
        if let Ok(net) = text.parse() {
            return Some(net);
        }
        let help = match text.parse::<std::net::IpAddr>() {
            Ok(address) => {
                let length = if address.is_ipv4() { 24 } else { 64 };
                format!("say how large its network is: `{address}/{length}`, if it is a /{length}")
            }
            Err(_) => "write address and prefix length, such as `10.0.20.21/24`".to_string(),
        };
        decoder.wrong_help(node, "an address with the length of its network", help)
    }
}

/// A length of time, written `90s`, `3h`, `14d`, `6 months`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);
string_form!(Period, "a duration: 90s, 15m, 3h, 14d, 6 months");

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

impl FromNode for Period {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text().and_then(|text| humantime::parse_duration(text).ok()) {
            Some(duration) => Some(Period(duration)),
            None => match node.text() {
                Some(text) if is_number(text) => decoder.wrong_help(
                    node,
                    "a duration with its unit",
                    format!("write `{text}s`, `{text}h` or `{text}d`"),
                ),
                _ => {
                    decoder.wrong_help(node, "a duration with its unit", "for example `90s`, `3h`, `14d` or `6 months`")
                }
            },
        }
    }
}

/// A day, written `2026-05-01`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub jiff::civil::Date);
string_form!(Date, "a day as year, month and day: 2026-05-01");

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Date {
    type Err = String;

    /// Exactly `2026-05-01`: a time of day behind it would be dropped, so it is refused.
    fn from_str(text: &str) -> Result<Date, String> {
        let date = text.parse::<jiff::civil::Date>().ok().filter(|date| date.to_string() == text);
        date.map(Date).ok_or_else(|| format!("`{text}` is no day: write year, month and day, such as `2026-05-01`"))
    }
}

impl FromNode for Date {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text().and_then(|text| text.parse().ok()) {
            Some(date) => Some(date),
            None => decoder.wrong_help(node, "a day", "write year, month and day, such as `2026-05-01`"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// What a flow allows: `any`, `icmp`, `443/tcp`, `8000-8010/udp`, or a service name such as `https`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    #[default]
    Any,
    Icmp,
    /// First and last port, and the protocol; `None` is TCP and UDP. The name is kept as it was typed.
    Ports {
        first: u16,
        last: u16,
        protocol: Option<Protocol>,
        name: Option<String>,
    },
}
string_form!(
    Traffic,
    "any, icmp, a port with its protocol (443/tcp, 8000-8010/udp), or a service name (https, ssh, dns)"
);

/// Service names as `/etc/services` has them, and the everyday ones that people use for them.
const SERVICES: &[(&str, u16, Option<Protocol>)] = &[
    ("ssh", 22, Some(Protocol::Tcp)),
    ("smtp", 25, Some(Protocol::Tcp)),
    ("dns", 53, None),
    ("domain", 53, None),
    ("dhcp", 67, Some(Protocol::Udp)),
    ("bootps", 67, Some(Protocol::Udp)),
    ("tftp", 69, Some(Protocol::Udp)),
    ("http", 80, Some(Protocol::Tcp)),
    ("ntp", 123, Some(Protocol::Udp)),
    ("imap", 143, Some(Protocol::Tcp)),
    ("snmp", 161, Some(Protocol::Udp)),
    ("ldap", 389, Some(Protocol::Tcp)),
    ("https", 443, Some(Protocol::Tcp)),
    ("microsoft-ds", 445, Some(Protocol::Tcp)),
    ("smb", 445, Some(Protocol::Tcp)),
    ("submissions", 465, Some(Protocol::Tcp)),
    ("syslog", 514, Some(Protocol::Udp)),
    ("ipp", 631, Some(Protocol::Tcp)),
    ("ldaps", 636, Some(Protocol::Tcp)),
    ("rsync", 873, Some(Protocol::Tcp)),
    ("imaps", 993, Some(Protocol::Tcp)),
    ("mqtt", 1883, Some(Protocol::Tcp)),
    ("nfs", 2049, None),
    ("mysql", 3306, Some(Protocol::Tcp)),
    ("rdp", 3389, Some(Protocol::Tcp)),
    ("mdns", 5353, Some(Protocol::Udp)),
    ("postgresql", 5432, Some(Protocol::Tcp)),
    ("amqp", 5672, Some(Protocol::Tcp)),
    ("vnc", 5900, Some(Protocol::Tcp)),
    ("redis", 6379, Some(Protocol::Tcp)),
    ("proxmox", 8006, Some(Protocol::Tcp)),
    ("secure-mqtt", 8883, Some(Protocol::Tcp)),
    ("prometheus", 9090, Some(Protocol::Tcp)),
    ("node-exporter", 9100, Some(Protocol::Tcp)),
    ("wireguard", 51820, Some(Protocol::Udp)),
];

impl FromStr for Traffic {
    /// The nearest service name, where one is near.
    type Err = Option<&'static str>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "any" {
            return Ok(Traffic::Any);
        }
        if text == "icmp" || text == "ping" {
            return Ok(Traffic::Icmp);
        }
        if let Some((name, port, protocol)) = SERVICES.iter().find(|(name, ..)| *name == text) {
            return Ok(Traffic::Ports { first: *port, last: *port, protocol: *protocol, name: Some(name.to_string()) });
        }
        let unknown = || nearest(text, SERVICES.iter().map(|(name, ..)| *name));
        let (ports, protocol) = match text.split_once('/') {
            Some((ports, "tcp")) => (ports, Some(Protocol::Tcp)),
            Some((ports, "udp")) => (ports, Some(Protocol::Udp)),
            Some(_) => return Err(None),
            None => (text, None),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { return Err(unknown()) };
        if first == 0 || last < first {
            return Err(None);
        }
        Ok(Traffic::Ports { first, last, protocol, name: None })
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Traffic::Any => write!(f, "any"),
            Traffic::Icmp => write!(f, "icmp"),
            Traffic::Ports { name: Some(name), .. } => write!(f, "{name}"),
            Traffic::Ports { first, last, protocol, .. } => {
                write!(f, "{first}")?;
                if last != first {
                    write!(f, "-{last}")?;
                }
                match protocol {
                    Some(Protocol::Tcp) => write!(f, "/tcp"),
                    Some(Protocol::Udp) => write!(f, "/udp"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl FromNode for Traffic {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let wanted = "a port with its protocol, a service name, `icmp` or `any`";
        match node.text().map(str::parse::<Traffic>) {
            Some(Ok(traffic)) => Some(traffic),
            Some(Err(Some(name))) => decoder.wrong_help(node, wanted, format!("did you mean `{name}`?")),
            _ => decoder.wrong_help(node, wanted, "for example `443/tcp`, `8000-8010/udp`, `https` or `icmp`"),
        }
    }
}

/// When something runs: `03:15` every day, a cron line, or a systemd calendar expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(pub String);
string_form!(Schedule, "HH:MM every day, a cron line (15 3 * * *), or a systemd calendar expression (Sun *-*-* 03:15)");

impl Default for Schedule {
    fn default() -> Self {
        Schedule("03:00".into())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromNode for Schedule {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text() {
            Some(text) if is_schedule(text) => Some(Schedule(text.to_string())),
            _ => decoder.wrong_help(
                node,
                "a time, a cron line or a systemd calendar expression",
                "for example \"03:15\", \"15 3 * * 0\" or \"Sun *-*-* 03:15\"",
            ),
        }
    }
}

fn is_schedule(text: &str) -> bool {
    const WORDS: &[&str] =
        &["minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "annually"];
    let time = |text: &str| {
        let numbers: Vec<_> =
            text.split(':').map(|part| (part.len() <= 2).then(|| part.parse::<u8>().ok()).flatten()).collect();
        matches!(numbers[..], [Some(h), Some(m)] if h < 24 && m < 60)
            || matches!(numbers[..], [Some(h), Some(m), Some(s)] if h < 24 && m < 60 && s < 60)
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let cron = |field: &&str| {
        !field.is_empty()
            && field.chars().all(|c| c.is_ascii_alphanumeric() || "*/,-?#".contains(c))
            && field.starts_with(|c: char| c == '*' || c.is_ascii_digit() || c.is_ascii_alphabetic())
    };
    let calendar = |field: &&str| {
        field.chars().all(|c| c.is_ascii_alphanumeric() || "*/,-:.~".contains(c))
            && (field.contains(['*', '-', ':', ',']) || field.len() == 3)
    };
    match fields[..] {
        [one] => WORDS.contains(&one) || time(one) || (one.contains('*') && calendar(&one)),
        [_, _] | [_, _, _] => fields.iter().all(calendar),
        [_, _, _, _, _] => fields.iter().all(cron),
        _ => false,
    }
}

/// Permission bits, written as a quoted octal string: `"0644"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(pub u32);
string_form!(Mode, "permission bits as a quoted octal string: \"0644\"");

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromNode for Mode {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let wanted = "permission bits such as \"0644\"";
        match &node.kind {
            Kind::Scalar { text, .. } => match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
                // 420 is 0644 as a tool writes it that took it for a decimal number.
                Ok(_) if text == "420" => decoder.wrong_help(node, wanted, "420 is \"0644\" in decimal: write that"),
                Ok(bits) if bits <= 0o7777 && text.len() >= 3 => Some(Mode(bits)),
                _ => decoder.wrong_help(node, wanted, "write it in octal, quoted: \"0644\""),
            },
            _ => decoder.wrong(node, wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_shown_as_it_is_typed() {
        for text in ["any", "icmp", "https", "443/tcp", "8000-8010/udp", "51820"] {
            assert_eq!(text.parse::<Traffic>().map(|t| t.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("htps".parse::<Traffic>(), Err(Some("https")));
        for text in ["0/tcp", "9-3/tcp", "70000/tcp", "443/sctp", ""] {
            assert!(text.parse::<Traffic>().is_err(), "{text}");
        }
    }

    #[test]
    fn schedules_in_the_three_usual_forms() {
        for text in ["03:15", "15 3 * * *", "*/5 * * * 1-5", "Sun *-*-* 03:15", "daily", "*-*-01 04:00:00"] {
            assert!(is_schedule(text), "{text}");
        }
        for text in ["25:00", "3.15", "", "every day", "1 2 3 4 5 6", "tomorrow"] {
            assert!(!is_schedule(text), "{text}");
        }
    }
}
