//! acme-dns: github.com/joohoi/acme-dns. The name itself leads there by a CNAME that its owner made once.

use http::Method;
use serde_json::json;

use super::Dns;

pub async fn put(dns: &Dns, value: &str) -> Result<(), String> {
    let wanted = &dns.wanted;
    let body = json!({ "subdomain": wanted.subdomain, "txt": value });
    let account = wanted.account.as_deref().unwrap_or_default();
    let headers = [("x-api-user", account), ("x-api-key", dns.token.as_str())];
    dns.client.json(Method::POST, &format!("{}/update", dns.api("")), &headers, Some(&body)).await.map(drop)
}
