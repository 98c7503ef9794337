//! deSEC, API version 1: desec.readthedocs.io. A record set is changed as a whole, so others' values are kept.

use http::Method;
use serde_json::{Value, json};

use super::Dns;

const API: &str = "https://desec.io/api/v1";

async fn call(dns: &Dns, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let token = zeroize::Zeroizing::new(format!("Token {}", *dns.token));
    let url = format!("{}{path}", dns.api(API));
    dns.client.json(method, &url, &[("authorization", &token)], body).await
}

/// The zone of a name, and what stands before it.
async fn zone<'a>(dns: &Dns, name: &'a str) -> Result<(String, &'a str), String> {
    let owned = match &dns.wanted.zone {
        Some(zone) => zone.clone(),
        None => {
            let found = call(dns, Method::GET, &format!("/domains/?owns_qname={name}"), None).await?;
            found[0]["name"]
                .as_str()
                .ok_or_else(|| format!("the account has no domain that `{name}` is in"))?
                .to_string()
        }
    };
    let before =
        name.strip_suffix(&owned).ok_or_else(|| format!("`{name}` is not in `{owned}`"))?.trim_end_matches('.');
    Ok((owned, before))
}

async fn change(dns: &Dns, name: &str, change: impl FnOnce(&mut Vec<String>)) -> Result<(), String> {
    let (zone, before) = zone(dns, name).await?;
    let set = format!("/domains/{zone}/rrsets/{before}/TXT/");
    let there = call(dns, Method::GET, &set, None).await.unwrap_or(Value::Null);
    let texts = there["records"].as_array().into_iter().flatten();
    let mut records: Vec<String> = texts.filter_map(|text| text.as_str().map(str::to_string)).collect();
    change(&mut records);
    // An hour is the least that deSEC lets a record live.
    let body = json!([{ "subname": before, "type": "TXT", "ttl": 3600, "records": records }]);
    call(dns, Method::PUT, &format!("/domains/{zone}/rrsets/"), Some(&body)).await.map(drop)
}

pub async fn put(dns: &Dns, name: &str, value: &str) -> Result<(), String> {
    change(dns, name, |records| records.push(format!("\"{value}\""))).await
}

pub async fn take(dns: &Dns, name: &str, value: &str) -> Result<(), String> {
    change(dns, name, |records| records.retain(|record| record.trim_matches('"') != value)).await
}
