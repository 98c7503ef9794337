//! Cloudflare, API version 4: developers.cloudflare.com/api.

use http::Method;
use serde_json::{Value, json};

use super::Dns;

const API: &str = "https://api.cloudflare.com/client/v4";

async fn call(dns: &Dns, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
    let url = format!("{}{path}", dns.api(API));
    dns.client.json(method, &url, &[("authorization", &dns.bearer())], body).await
}

/// Makes a TXT record; returns the way to it.
pub async fn put(dns: &Dns, name: &str, value: &str) -> Result<String, String> {
    for zone in dns.zones(name) {
        let found = call(dns, Method::GET, &format!("/zones?name={zone}"), None).await?;
        let Some(zone) = found["result"][0]["id"].as_str() else { continue };
        let record = json!({ "type": "TXT", "name": name, "content": format!("\"{value}\""), "ttl": 60 });
        let made = call(dns, Method::POST, &format!("/zones/{zone}/dns_records"), Some(&record)).await?;
        let id = made["result"]["id"].as_str().ok_or("it made a record and does not say which")?;
        return Ok(format!("/zones/{zone}/dns_records/{id}"));
    }
    Err(format!("the token sees no zone that `{name}` is in; give it `Zone:DNS:Edit` for the zone"))
}

pub async fn take(dns: &Dns, path: &str) -> Result<(), String> {
    call(dns, Method::DELETE, path, None).await.map(drop)
}
