//! Platform services: what every application leans on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::decode::{Decoder, Foreign, FromNode, Many, Table, choice, or_string, or_strings, section};
use crate::lab::{Dns, Expose, Secrets};
use crate::span::Spanned;
use crate::tree::Node;
use crate::units::{Period, Schedule, Size, Subnet};

section! {
    /// The roles that keep the lab going. Each short form names the hosts that play the role.
    pub struct Platform {
        /// Names: the lab's zone, upstreams, blocklists.
        dns: Option<Dns>,
        /// The door: names to services, certificates.
        reverse_proxy: Option<ReverseProxy>,
        /// Who may log in where.
        identity: Option<Role>,
        /// Secrets: a file in this repository, or Vault.
        secrets: Option<Secrets>,
        /// Probes, metrics, alerts.
        monitoring: Option<Monitoring>,
        /// The container registry.
        registry: Option<Registry>,
        /// Hosts that run continuous integration jobs.
        runners: Option<Role>,
        /// Traces and logs.
        telemetry: Option<Role>,
        /// Hosts that backups are kept on.
        backup: Option<Role>,
    }
}

choice! {
    /// How much people rely on it.
    pub enum Tier {
        /// An experiment (level 3a): it may break.
        Lab = "lab",
        /// Relied on (level 3b): it needs an owner, a backup and a probe.
        Production = "production",
    }
}

/// The short forms "a host's name" and "a list of hosts".
fn hosts(node: &Node, decoder: &mut Decoder<'_>) -> Option<Many<Spanned<String>>> {
    Many::from_node(node, decoder)
}

section! {
    /// A role, and the hosts that play it.
    pub struct Role {
        /// The hosts that play it.
        on: Many<Spanned<String>>,
        /// The service that is it, where it is described under `services`.
        service: Option<Spanned<String>>,
    }
    short (node, decoder) { hosts(node, decoder).map(|on| Role { on, service: None }) }
    schema or_strings
}

section! {
    /// The reverse proxy; the short form names its host.
    pub struct ReverseProxy {
        /// The hosts that it runs on.
        on: Many<Spanned<String>>,
        /// The service that is it, where another program is the proxy and is described under `services`. Labwright then
        /// runs none of its own.
        service: Option<Spanned<String>>,
        /// The program that is the proxy. `caddy`: one that is there already gets a route for each name over its admin API,
        /// and everything else of it stays as it is.
        software: ProxySoftware = ProxySoftware::Labwright,
        /// Where Caddy's admin API answers, as its own host reaches it.
        admin: Spanned<String> = "http://localhost:2019".to_string().into(),
        /// Where certificates come from: `internal`, `none` for clear text behind another door, or ACME with its settings.
        tls: Tls,
        /// The addresses that it listens on; all of its hosts' when absent.
        listen: Many<Spanned<IpAddr>>,
        /// The port for HTTP.
        http: u16 = 80,
        /// The port for HTTPS.
        https: u16 = 443,
        /// Proxies in front of it, such as a tunnel's outbound end: what they say of the client is believed. The host of
        /// `edge.public.cloudflare.tunnel` is one by itself.
        trusted: Many<Spanned<Subnet>>,
        /// Connections from `trusted` begin with a header of the PROXY protocol, version 1 or 2, which says who they are from;
        /// one without it is closed. It is what a load balancer sends that hands TCP through.
        proxy_protocol: bool,
        /// What a request may take, where a service does not say otherwise.
        limits: DoorLimits,
        /// Browsers are told to use HTTPS alone for this long.
        hsts: Option<Period>,
        /// The service that is asked whether a request may pass, for services with `door: { auth: forward }`.
        forward_auth: Option<ForwardAuth>,
        /// Whether every request becomes a line of the log.
        access_log: bool,
        /// Tells services where a visitor is: city, region, country.
        geo: Option<Geo>,
    }
    short (node, decoder) { hosts(node, decoder).map(|on| ReverseProxy { on, ..ReverseProxy::default() }) }
    schema or_strings
}

choice! {
    /// The program that is the proxy.
    pub enum ProxySoftware {
        /// Labwright's own, as a role of `labwright serve`.
        Labwright = "labwright",
        /// A Caddy that is there already, over its admin API.
        Caddy = "caddy",
    }
}

section! {
    /// The database that addresses are looked up in; the short form is the file.
    pub struct Geo {
        /// A MaxMind database (`.mmdb`), as a path on the proxy's host.
        database: Spanned<String>,
        /// When a new edition is fetched.
        refresh: Option<Spanned<Schedule>>,
        /// The licence key that it is fetched with, as a reference to a secret.
        licence: Option<Spanned<String>>,
    }
    required ["database"]
    short (node, decoder) {
        String::from_node(node, decoder)
            .map(|database| Geo { database: Spanned::new(database, node.span), ..Geo::default() })
    }
    schema or_string
}

section! {
    /// Where certificates come from.
    pub struct Tls {
        /// A certificate authority of the lab's own.
        internal: bool = true,
        /// An ACME directory: `letsencrypt`, `letsencrypt-staging`, or a URL.
        acme: Option<Spanned<String>>,
        /// The provider of DNS-01 challenges, needed for wildcards.
        dns01: Option<Spanned<String>>,
        /// How the provider of DNS-01 challenges is reached.
        proof: DnsProof,
        /// The account at a commercial authority that certificates are got under (External Account Binding, RFC 8555, 7.3.4).
        /// `zerossl` needs one.
        account: Option<AcmeAccount>,
        /// A PEM file on the proxy's host with the authority that signs the ACME directory's own certificate.
        directory_ca: Option<Spanned<String>>,
        /// The private key of the lab's own authority, as a reference to a secret (`generate: { lab_ca: ca }`). When
        /// absent, the proxy's host makes one and keeps it.
        key: Option<Spanned<String>>,
        /// No TLS at all: something in front of the proxy sees to it.
        off: bool,
        /// Domains of which one certificate covers every name; they need `dns01`.
        wildcard: Many<Spanned<String>>,
        /// The address that the authority writes to.
        email: Option<Spanned<String>>,
    }
    short (node, decoder) {
        match node.text() {
            Some("internal") => Some(Tls::default()),
            Some("none") => Some(Tls { internal: false, off: true, ..Tls::default() }),
            Some(acme) => Some(Tls { internal: false, acme: Some(Spanned::new(acme.to_string(), node.span)), ..Tls::default() }),
            None => decoder.wrong(node, "`internal`, `none`, an ACME directory, or a map"),
        }
    }
    schema or_string
}

section! {
    /// An account at a commercial authority, as its pages give it out for ACME clients.
    pub struct AcmeAccount {
        /// Its id (`kid`, "EAB key identifier").
        id: Spanned<String>,
        /// Its key in base64url ("EAB HMAC key"), as a reference to a secret.
        key: Spanned<String>,
    }
    required ["id", "key"]
}

section! {
    /// How the provider of DNS-01 challenges is reached. What is needed differs: `cloudflare` and `desec` take a `token`;
    /// `rfc2136` takes `server`, `key` and `token` (the key's secret); `acme-dns` takes `server`, `account`, `subdomain` and
    /// `token` (its password).
    pub struct DnsProof {
        /// The API token, the password or the key's secret, as a reference to a secret. For `cloudflare` it is that of
        /// `edge.public.cloudflare` when absent.
        token: Option<Spanned<String>>,
        /// The name server that takes updates, as `address:port`; or the address of the acme-dns server.
        server: Option<Spanned<String>>,
        /// The name of the TSIG key.
        key: Option<Spanned<String>>,
        /// The algorithm of the TSIG key.
        algorithm: TsigAlgorithm = TsigAlgorithm::HmacSha256,
        /// The user name of the acme-dns account.
        account: Option<Spanned<String>>,
        /// The subdomain of the acme-dns account.
        subdomain: Option<Spanned<String>>,
        /// The DNS zone that records are made in; found from the name when absent.
        zone: Option<Spanned<String>>,
        /// How long after a record was made the authority is told to look.
        wait: Period = Period(std::time::Duration::from_secs(10)),
    }
}

choice! {
    /// The algorithm of a TSIG key.
    pub enum TsigAlgorithm {
        HmacSha256 = "hmac-sha256",
        HmacSha384 = "hmac-sha384",
        HmacSha512 = "hmac-sha512",
    }
}

section! {
    /// What one request may take.
    pub struct DoorLimits {
        /// The largest body of a request; no limit when absent.
        body: Option<Size>,
        /// The largest head of a request: its line and its headers together.
        header: Option<Size>,
        /// How long the whole head of a request may take to come.
        header_time: Option<Period>,
        /// How long a side may say nothing in the middle of a body.
        idle: Option<Period>,
        /// How long the service may take until its answer begins.
        time: Option<Period>,
        /// Requests a second that one client may make, on average; bursts of ten seconds' worth pass.
        rate: Option<u32>,
    }
}

section! {
    /// The service that is asked whether a request may pass; the short form names it.
    pub struct ForwardAuth {
        /// The service that is asked: an Authelia or Authentik of this lab.
        service: Option<Spanned<String>>,
        /// Its whole address, where it is not a service of this lab: `http://host:port`.
        url: Option<Spanned<String>>,
        /// The path that is asked: Authelia's `/api/authz/forward-auth`, Authentik's `/outpost.goauthentik.io/auth/caddy`.
        path: Spanned<String> = "/api/authz/forward-auth".to_string().into(),
        /// Paths of every protected name that the service itself answers, such as Authentik's `/outpost.goauthentik.io/`.
        pass: Many<Spanned<String>>,
        /// Headers of its answer that the protected service gets to see. A client's own of these names are taken out.
        headers: Many<Spanned<String>> = Many(
            ["Remote-User", "Remote-Groups", "Remote-Email", "Remote-Name", "X-Authentik-Username", "X-Authentik-Groups",
             "X-Authentik-Email", "X-Authentik-Name", "X-Authentik-Uid"].iter().map(|name| name.to_string().into()).collect()
        ),
    }
    short (node, decoder) {
        String::from_node(node, decoder)
            .map(|service| ForwardAuth { service: Some(Spanned::new(service, node.span)), ..ForwardAuth::default() })
    }
    schema or_string
}

section! {
    /// Probes, metrics and alerts; the short form names the host.
    pub struct Monitoring {
        /// The hosts that watch.
        on: Many<Spanned<String>>,
        /// Receivers of alerts, by name, as Apprise URLs.
        notify: Table<String>,
        /// A sign of life for somebody outside, who calls when it stops: a dead man's switch.
        heartbeat: Option<Heartbeat>,
        /// Which alert goes to which receiver; the first that matches counts.
        routes: Many<AlertRoute>,
        /// Alert rules beside the built-in ones.
        alerts: Table<AlertRule>,
        /// How alerts are gathered into messages, and what those say.
        messages: AlertMessages,
        /// Further targets that Prometheus scrapes.
        scrape: Table<ScrapeTarget>,
        /// Grafana's dashboards beside the built-in ones: a file beside the lab file, or a number at grafana.com.
        dashboards: Table<String>,
    }
    short (node, decoder) { hosts(node, decoder).map(|on| Monitoring { on, ..Monitoring::default() }) }
    schema or_strings
}

section! {
    /// A sign of life of monitoring itself; the short form is where it goes.
    pub struct Heartbeat {
        /// The address that is called, outside of the lab: Healthchecks, Dead Man's Snitch, Uptime Kuma elsewhere. It is often
        /// a secret: `${secret.heartbeat}`.
        to: Spanned<String>,
        /// How often it is sent. Whoever gets it waits a little longer than that before they call.
        every: Spanned<Period> = Period(std::time::Duration::from_secs(300)).into(),
    }
    required ["to"]
    short (node, decoder) {
        String::from_node(node, decoder).map(|to| Heartbeat { to: Spanned::new(to, node.span), ..Heartbeat::default() })
    }
    schema or_string
}

section! {
    /// Where matching alerts go.
    pub struct AlertRoute {
        /// Labels that an alert must have.
        labels("match"): BTreeMap<String, String>,
        /// The receivers; `none` drops the alert.
        to: Many<Spanned<String>>,
        /// How often an alert that stays is sent again.
        repeat: Option<Period>,
    }
    required ["to"]
}

section! {
    /// How alerts become messages.
    pub struct AlertMessages {
        /// Labels by which alerts are gathered into one message.
        group_by: Many<Spanned<String>> = Many(vec!["alertname".to_string().into(), "instance".to_string().into()]),
        /// How long a first message waits for others of its group.
        wait: Period = Period(std::time::Duration::from_secs(30)),
        /// How soon a group that has changed is told again.
        interval: Period = Period(std::time::Duration::from_secs(300)),
        /// Whether it is told when an alert is over.
        resolved: bool = true,
        /// The title, in Alertmanager's templates.
        title: Option<Spanned<String>>,
        /// The text, in Alertmanager's templates.
        body: Option<Spanned<String>>,
    }
}

section! {
    /// An alert rule in PromQL.
    pub struct AlertRule {
        /// The expression; the alert fires while it returns something.
        expr: Spanned<String>,
        /// How long it must hold.
        for_("for"): Option<Period>,
        /// The severity label.
        severity: Spanned<String> = "warning".to_string().into(),
        /// The one line that a person reads.
        summary: Option<String>,
        /// What more there is to know.
        description: Option<String>,
    }
    required ["expr"]
}

section! {
    /// Something that Prometheus scrapes.
    pub struct ScrapeTarget {
        /// `host:port`, several if need be.
        targets: Many<Spanned<String>>,
        /// The path of the metrics.
        path: Spanned<String> = "/metrics".to_string().into(),
        /// A bearer token, as a reference to a secret.
        token: Option<Spanned<String>>,
        /// Labels that every sample gets.
        labels: BTreeMap<String, String>,
    }
    required ["targets"]
}

section! {
    /// The container registry; the short form names its host.
    pub struct Registry {
        /// The host it runs on.
        on: Many<Spanned<String>>,
        /// Its names: short ones are in the lab's domain.
        url: Many<Spanned<String>>,
        /// From where it can be reached.
        expose: Expose = Expose::Lan,
        /// When unused layers are removed.
        garbage_collect: Option<Spanned<Schedule>>,
        /// The disk use that raises an alert.
        watch_disk: Option<Size>,
        /// Upstream registries that are cached.
        cache: Many<Spanned<String>>,
        /// Settings of the registry, by its own names.
        settings: Foreign,
    }
    short (node, decoder) { hosts(node, decoder).map(|on| Registry { on, ..Registry::default() }) }
    schema or_strings
}
