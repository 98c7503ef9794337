//! Zone files (RFC 1035, 5), as BIND, Knot, NSD and CoreDNS read them.

use std::fmt::Write;

use labwright_model::snapshot::dns::{DnsSnapshot, Record};

use super::{presented, zone_of};

/// Zone files of all zones, one behind the other, or of the one that is named. `serial` is the SOA's; whoever serves the file
/// raises it with each edition.
///
/// # Errors
/// The zones that there are, where none has this name.
pub fn zone(snapshot: &DnsSnapshot, only: Option<&str>, serial: u32) -> Result<String, String> {
    let wanted = only.map(|name| name.trim_end_matches('.').to_lowercase());
    let zones: Vec<&str> = snapshot
        .zones
        .iter()
        .map(String::as_str)
        .filter(|zone| wanted.as_deref().is_none_or(|name| name == *zone))
        .collect();
    if zones.is_empty() {
        let known = snapshot.zones.iter().map(|zone| format!("`{zone}`")).collect::<Vec<_>>().join(", ");
        return Err(format!("no zone `{}`; the zones are {known}", wanted.unwrap_or_default()));
    }
    let mut text = String::new();
    for zone in zones {
        let of_zone: Vec<&Record> =
            snapshot.records.iter().filter(|record| zone_of(snapshot, &record.name) == Some(zone)).collect();
        if !text.is_empty() {
            text.push('\n');
        }
        one(&mut text, snapshot, zone, &of_zone, serial);
    }
    let elsewhere: Vec<&Record> =
        snapshot.records.iter().filter(|record| zone_of(snapshot, &record.name).is_none()).collect();
    if only.is_none() && !elsewhere.is_empty() {
        text.push_str(
            "\n; Names that are answered in place of the world. They are in no zone of the lab; a server of zones needs one\n\
             ; for each, a resolver an override.\n",
        );
        for record in elsewhere {
            let (kind, data) = presented(&record.data);
            let _ = writeln!(text, ";{}. {} IN {kind} {data}", record.name, record.ttl);
        }
    }
    Ok(text)
}

fn one(text: &mut String, snapshot: &DnsSnapshot, zone: &str, records: &[&Record], serial: u32) {
    let domain = snapshot.zones.first().map_or(zone, String::as_str);
    let server = snapshot.servers.first().map_or(domain, String::as_str);
    let negative = snapshot.negative_ttl;
    let _ = writeln!(text, "$ORIGIN {zone}.\n$TTL {negative}");
    let _ = writeln!(text, "@ 3600 IN SOA {server}. hostmaster.{domain}. {serial} 3600 600 604800 {negative}");
    for server in &snapshot.servers {
        let _ = writeln!(text, "@ 3600 IN NS {server}.");
    }
    for record in records {
        let (kind, data) = presented(&record.data);
        let owner = match record.name.strip_suffix(zone) {
            Some("") => "@",
            Some(below) => below.trim_end_matches('.'),
            None => &record.name,
        };
        let _ = writeln!(text, "{owner} {} IN {kind} {data}", record.ttl);
    }
}
