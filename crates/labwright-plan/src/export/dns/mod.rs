//! What the lab's resolvers serve, for other resolvers: a zone file, AdGuard Home, Pi-hole.
//! What a format cannot say stands in it as a comment, so that nothing is lost without a word.

mod adguard;
mod pihole;
mod zone;

pub use adguard::adguard;
pub use pihole::pihole;
pub use zone::zone;

use labwright_model::snapshot::dns::{Data, DnsSnapshot, Record, in_domain};

/// The zone that a name is in, the longest that fits; `None` for names that are answered in place of the world.
fn zone_of<'a>(snapshot: &'a DnsSnapshot, name: &str) -> Option<&'a str> {
    let zones = snapshot.zones.iter().map(String::as_str).filter(|zone| in_domain(name, zone));
    zones.max_by_key(|zone| zone.len())
}

/// Type and data as a zone file has them (RFC 1035, 5.1).
fn presented(data: &Data) -> (&'static str, String) {
    match data {
        Data::Address(std::net::IpAddr::V4(address)) => ("A", address.to_string()),
        Data::Address(std::net::IpAddr::V6(address)) => ("AAAA", address.to_string()),
        Data::Cname(name) => ("CNAME", format!("{name}.")),
        Data::Ptr(name) => ("PTR", format!("{name}.")),
        Data::Txt(text) => ("TXT", strings(text)),
        Data::Mx { preference, exchange } => ("MX", format!("{preference} {exchange}.")),
        Data::Srv { priority, weight, port, target } => ("SRV", format!("{priority} {weight} {port} {target}.")),
    }
}

/// A text as quoted strings of 255 octets at most.
fn strings(text: &str) -> String {
    let quoted = |part: &[u8]| {
        let octet = |byte: &u8| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(*byte)),
            0x20..=0x7e => char::from(*byte).to_string(),
            _ => format!("\\{byte:03}"),
        };
        format!("\"{}\"", part.iter().map(octet).collect::<String>())
    };
    match text.is_empty() {
        true => "\"\"".to_string(),
        false => text.as_bytes().chunks(255).map(quoted).collect::<Vec<_>>().join(" "),
    }
}

/// A string that YAML and TOML both read as it is: JSON's form is one of theirs.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Records by name, in the order of the snapshot.
fn by_name(snapshot: &DnsSnapshot) -> impl Iterator<Item = &[Record]> {
    snapshot.records.chunk_by(|a, b| a.name == b.name)
}

#[cfg(test)]
mod tests;
