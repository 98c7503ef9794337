//! The reverse proxy of one host: names, where they lead, who may in, and where certificates come from.
//! Derived from the lab alone; what cannot be derived is a site that says so, never a site that is missing.

mod access;
mod door;
mod sites;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::lab::{AcmeAccount, DnsProof, DoorLimits, ProxySoftware, ReverseProxy, Tls};
use crate::units::Subnet;
use crate::{Parsed, Spanned, reference};

pub use access::{LOOPBACK, is_vpn, private, zones};
pub use door::{Led, NoWay, lead};
pub use sites::{Claim, SITES, claims, folder_on_host, full_name};

/// What a proxy does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxySnapshot {
    pub listen: Listen,
    /// Proxies in front of this one.
    pub trusted: Vec<Subnet>,
    pub certificates: Certificates,
    /// What each name leads to; every name stands in one site alone.
    pub sites: Vec<Site>,
    /// Ports that are handed through.
    pub ports: Vec<Port>,
    /// Who is asked about requests of sites with `auth.forward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// The MaxMind database, as a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geo: Option<String>,
    pub access_log: bool,
    /// Connections of those that are trusted begin with a header of the PROXY protocol.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
}

/// Where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Empty: all addresses.
    pub addresses: Vec<IpAddr>,
    pub http: u16,
    /// `None`: no TLS.
    pub https: Option<u16>,
}

/// Where certificates come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// The lab's own authority signs what no ACME directory is asked for.
    pub authority: Authority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<Acme>,
}

/// The lab's own authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    pub common_name: String,
    /// The domains that it may sign names in, and nothing else.
    pub domains: Vec<String>,
    /// The networks that it may sign addresses of.
    pub networks: Vec<Subnet>,
    /// The credential with its private key; `None`: the daemon makes a key and keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An ACME directory (RFC 8555).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// Its address.
    pub directory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A PEM file with the authority of the directory's own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_ca: Option<String>,
    /// Domains of which one wildcard certificate covers every name.
    pub wildcard: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns01>,
    /// The account that one of ours is bound to (RFC 8555, 7.3.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// An account at an authority, and the credential with its key in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    pub id: String,
    pub key: String,
}

/// How DNS-01 challenges are answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns01 {
    /// `cloudflare`, `desec`, `rfc2136`, `acme-dns`.
    pub provider: String,
    /// The credential with its token, password or key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub algorithm: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Seconds until the authority is told to look.
    pub wait: u64,
}

/// Names, and what they lead to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    pub service: String,
    /// In full, in lower case; the first label may be `*`.
    pub names: Vec<String>,
    pub answer: Answer,
    /// The networks that requests may come from; `None`: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<Subnet>>,
    /// Why just those: `lan`, `vpn`, `public`, `nowhere`.
    pub expose: String,
    pub auth: Auth,
    /// Where requests with certain headers go instead; the first that fits counts.
    pub routes: Vec<Route>,
    pub limits: Limits,
    /// Seconds of `Strict-Transport-Security`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts: Option<u64>,
    pub geo: bool,
    pub clear_text: bool,
    /// Its TLS is handed through as it is.
    pub passthrough: bool,
    /// What is handed through begins with a header of the PROXY protocol.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// Origins whose pages may call it.
    pub cors: Vec<String>,
}

/// What answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    Upstreams(Upstreams),
    /// A folder on this host.
    Folder(String),
    /// Nothing can: why, and what would help, in words.
    Nothing(String),
}

/// Places where one service answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstreams {
    pub service: String,
    /// `http://host:port`, `https://host:port`, `h2c://host:port`; equal in rank.
    pub urls: Vec<String>,
    /// `system`, `none`, or a PEM file.
    pub verify: String,
    /// The path that tells whether one is well; a connection is enough when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// What the service cannot work without, and where that would answer.
    pub needs: Vec<Need>,
}

/// Something that a service needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    pub service: String,
    /// `host:port`, where that is known.
    pub at: Vec<String>,
}

/// Requests with these headers go there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub headers: BTreeMap<String, String>,
    pub answer: Answer,
}

/// Who may in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub forward: bool,
    /// Users, and the credential with the bcrypt hash of each one's password.
    pub basic: BTreeMap<String, String>,
    /// Paths that everybody may see.
    pub open: Vec<String>,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    pub to: Upstreams,
    pub path: String,
    pub pass: Vec<String>,
    pub headers: Vec<String>,
}

/// What a request may take: bytes, and milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<u64>,
    pub header: u64,
    pub header_time: u64,
    pub idle: u64,
    pub time: u64,
    /// Requests a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

impl Default for Limits {
    /// 64 KiB of head as nginx and HAProxy have it, 30 s for it, 60 s of silence, 60 s until an answer begins.
    fn default() -> Self {
        Limits { body: None, header: 64 << 10, header_time: 30_000, idle: 60_000, time: 60_000, rate: None }
    }
}

impl Limits {
    /// The first of several that says something counts, for each limit by itself.
    pub fn of(all: &[&DoorLimits]) -> Limits {
        let default = Limits::default();
        let millis = |of: fn(&DoorLimits) -> Option<crate::units::Period>, default: u64| {
            all.iter().find_map(|limits| of(limits)).map_or(default, |period| period.0.as_millis() as u64)
        };
        Limits {
            body: all.iter().find_map(|limits| limits.body).map(|size| size.0),
            header: all.iter().find_map(|limits| limits.header).map_or(default.header, |size| size.0),
            header_time: millis(|limits| limits.header_time, default.header_time),
            idle: millis(|limits| limits.idle, default.idle),
            time: millis(|limits| limits.time, default.time),
            rate: all.iter().find_map(|limits| limits.rate),
        }
    }
}

/// A port that is handed through as plain TCP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    pub service: String,
    pub port: u16,
    /// `host:port`.
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<Subnet>>,
    /// Each connection begins with a header of the PROXY protocol.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
}

/// The lab's proxy, where it is Labwright's own.
pub fn declared(parsed: &Parsed) -> Option<&ReverseProxy> {
    routed(parsed).filter(|proxy| proxy.software == ProxySoftware::Labwright)
}

/// The lab's proxy, where Labwright says what each name leads to: its own, or one that is told over an API.
pub fn routed(parsed: &Parsed) -> Option<&ReverseProxy> {
    let own = |proxy: &&ReverseProxy| proxy.service.is_none() || proxy.software != ProxySoftware::Labwright;
    parsed.lab.platform.reverse_proxy.as_ref().filter(own)
}

/// Whether a host runs the lab's proxy.
pub fn is_proxy(parsed: &Parsed, host: &str) -> bool {
    declared(parsed).is_some_and(|proxy| proxy.on.iter().any(|on| on.value == host))
}

/// What the proxy on a host does, whichever program it is. Empty where the host runs none.
pub fn proxy(parsed: &Parsed, host: &str) -> ProxySnapshot {
    let runs = |proxy: &&ReverseProxy| proxy.on.iter().any(|on| on.value == host);
    let Some(proxy) = routed(parsed).filter(runs) else { return ProxySnapshot::default() };
    let sites = sites::sites(parsed, proxy, host);
    let https = !proxy.tls.off;
    ProxySnapshot {
        listen: Listen {
            addresses: proxy.listen.iter().map(|address| address.value).collect(),
            http: proxy.http,
            https: https.then_some(proxy.https),
        },
        trusted: access::trusted(parsed, proxy),
        certificates: certificates(parsed, &proxy.tls, &sites),
        ports: sites::ports(parsed, host),
        sites,
        forward: sites::forward(parsed, proxy, host),
        geo: proxy.geo.as_ref().map(|geo| geo.database.value.clone()),
        access_log: proxy.access_log,
        proxy_protocol: proxy.proxy_protocol,
    }
}

fn certificates(parsed: &Parsed, tls: &Tls, sites: &[Site]) -> Certificates {
    let lab = &parsed.lab;
    let mut domains = vec![lab.domain.value.to_lowercase()];
    if tls.acme.is_none() {
        // Names outside of the lab's domain, which somebody declared, are the authority's as well, and nothing below them.
        for name in sites.iter().flat_map(|site| &site.names) {
            let name = name.trim_start_matches("*.");
            if !domains.iter().any(|domain| name == domain || name.ends_with(&format!(".{domain}"))) {
                domains.push(name.to_string());
            }
        }
    }
    domains.sort();
    let mut networks: Vec<Subnet> = zones(lab).flat_map(|(_, zone)| zone.subnet.iter().map(|net| net.value)).collect();
    networks.extend(private());
    networks.sort();
    networks.dedup();
    let authority = Authority {
        common_name: format!("{} lab authority", lab.lab.value),
        domains,
        networks,
        key: tls.key.as_ref().map(|_| CREDENTIAL_AUTHORITY.to_string()),
    };
    let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| reference::unescape(text));
    let binding =
        |account: &AcmeAccount| Binding { id: reference::unescape(&account.id), key: CREDENTIAL_BINDING.to_string() };
    let acme = tls.acme.as_ref().map(|directory| Acme {
        binding: tls.account.as_ref().map(binding),
        directory: directory_of(directory),
        email: text(&tls.email),
        directory_ca: text(&tls.directory_ca),
        wildcard: tls.wildcard.iter().map(|domain| domain.trim_start_matches("*.").to_lowercase()).collect(),
        dns: tls.dns01.as_ref().map(|provider| Dns01 {
            provider: provider.value.clone(),
            token: proof_token(parsed, &tls.proof).map(|_| CREDENTIAL_DNS.to_string()),
            server: text(&tls.proof.server),
            key: text(&tls.proof.key),
            algorithm: tls.proof.algorithm.word().to_string(),
            account: text(&tls.proof.account),
            subdomain: text(&tls.proof.subdomain),
            zone: text(&tls.proof.zone),
            wait: tls.proof.wait.0.as_secs(),
        }),
    });
    Certificates { authority, acme }
}

/// The address of an ACME directory by its short name.
pub fn directory_of(name: &str) -> String {
    match name {
        "letsencrypt" => "https://acme-v02.api.letsencrypt.org/directory".to_string(),
        "letsencrypt-staging" => "https://acme-staging-v02.api.letsencrypt.org/directory".to_string(),
        "zerossl" => "https://acme.zerossl.com/v2/DV90".to_string(),
        url => url.to_string(),
    }
}

fn proof_token<'a>(parsed: &'a Parsed, proof: &'a DnsProof) -> Option<&'a Spanned<String>> {
    let cloudflare = parsed.lab.edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
    let at_cloudflare = declared(parsed)
        .and_then(|proxy| proxy.tls.dns01.as_ref())
        .is_some_and(|provider| provider.value == "cloudflare");
    proof.token.as_ref().or_else(|| cloudflare.filter(|_| at_cloudflare)?.token.as_ref())
}

const CREDENTIAL_AUTHORITY: &str = "proxy.authority";
const CREDENTIAL_DNS: &str = "proxy.dns01";
const CREDENTIAL_BINDING: &str = "proxy.acme-account";

/// The name of the credential with the hash of a user's password.
pub(crate) fn basic_credential(service: &str, user: &str) -> String {
    // Credentials are files in one folder: what means something in a path, or is no letter of a user's name, is spelled out.
    let spelled: String = user
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => (byte as char).to_string(),
            other => format!("_{other:02x}"),
        })
        .collect();
    format!("proxy.basic.{service}.{spelled}")
}

/// What the proxy reads from secrets: by credential, the text of the lab file.
pub fn credentials(parsed: &Parsed) -> BTreeMap<String, String> {
    let Some(proxy) = declared(parsed) else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    if let Some(key) = &proxy.tls.key {
        all.insert(CREDENTIAL_AUTHORITY.to_string(), key.value.clone());
    }
    if let Some(token) = proof_token(parsed, &proxy.tls.proof).filter(|_| proxy.tls.dns01.is_some()) {
        all.insert(CREDENTIAL_DNS.to_string(), token.value.clone());
    }
    if let Some(account) = proxy.tls.account.as_ref().filter(|_| proxy.tls.acme.is_some()) {
        all.insert(CREDENTIAL_BINDING.to_string(), account.key.value.clone());
    }
    for claim in claims(parsed) {
        for (user, hash) in &claim.placement.entry.door.auth.basic {
            all.insert(basic_credential(&claim.placement.service, user), hash.clone());
        }
    }
    all
}
