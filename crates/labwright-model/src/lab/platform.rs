//! Platform services: what every application leans on.

use std::collections::BTreeMap;

use crate::decode::{Decoder, Foreign, FromNode, Many, Table, choice, or_string, or_strings, section};
use crate::lab::{Dns, Expose, Secrets};
use crate::span::Spanned;
use crate::tree::Node;
use crate::units::{Period, Schedule, Size};

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
        /// Where certificates come from: `internal`, or ACME with its settings.
        tls: Tls,
        /// Tells services where a visitor is: city, region, country.
        geo: Option<Geo>,
    }
    short (node, decoder) { hosts(node, decoder).map(|on| ReverseProxy { on, ..ReverseProxy::default() }) }
    schema or_strings
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
        /// Domains of which one certificate covers every name; they need `dns01`.
        wildcard: Many<Spanned<String>>,
        /// The address that the authority writes to.
        email: Option<Spanned<String>>,
    }
    short (node, decoder) {
        match node.text() {
            Some("internal") => Some(Tls::default()),
            Some(acme) => Some(Tls { internal: false, acme: Some(Spanned::new(acme.to_string(), node.span)), ..Tls::default() }),
            None => decoder.wrong(node, "`internal`, an ACME directory, or a map"),
        }
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
