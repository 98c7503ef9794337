//! Application services: what the lab is for.

use std::collections::BTreeMap;

use super::platform::{DoorLimits, Tier};
use crate::decode::{Decoder, Foreign, FromNode, Many, Table, choice, or_string, section};
use crate::span::Spanned;
use crate::tree::{Kind, Node};
use crate::units::{Period, Schedule};

section! {
    /// One service, described once. Its name, route, certificate, firewall rule, probe, alert, backup and runbook follow.
    pub struct Service {
        /// A catalogue entry that knows the application.
        catalogue("use"): Option<Spanned<String>>,
        /// A Compose file beside the lab file; it is never rewritten.
        compose: Option<Spanned<String>>,
        /// Containers, in Compose's own syntax.
        containers: Foreign,
        /// What its containers' networks are, where that is not left to Labwright, in Compose's own syntax.
        networks: Foreign,
        /// What its containers' volumes are, where that is not left to Labwright, in Compose's own syntax.
        volumes: Foreign,
        /// What its Compose project is called, where that is neither its own name nor said in its files.
        project: Option<Spanned<String>>,
        /// The folder on its hosts that relative paths of its containers are in; `/srv/labwright/NAME` when absent.
        folder: Option<Spanned<String>>,
        /// A process that systemd runs.
        run: Option<Run>,
        /// The host's own configuration runs it: a NixOS module, an appliance's own application. It says which.
        built_in: Option<Spanned<String>>,
        /// Someone else runs it.
        external: Option<External>,
        /// The hosts it runs on.
        on: Many<Spanned<String>>,
        /// `lab` for experiments, `production` for what people rely on.
        tier: Tier = Tier::Lab,
        /// Who answers for it; the lab's owner when absent.
        owner: Option<Spanned<String>>,
        /// What it is for, in a few words.
        description: Option<String>,
        /// Words to select services by.
        tags: Many<Spanned<String>>,
        /// From where it can be reached.
        expose: Expose = Expose::Nowhere,
        /// For whom it is, where the internet reaches it.
        access: Access = Access::Policy,
        /// Its names: short ones are in the lab's domain.
        url: Many<Spanned<String>>,
        /// The port its name leads to, as `container:port` or a number.
        port: Option<Spanned<String>>,
        /// A folder of pages that its name leads to: beside the lab file, or an absolute path on the proxy's host.
        site: Option<Spanned<String>>,
        /// How the reverse proxy leads to it, where `on` and `port` do not say it all.
        door: Door,
        /// Requests with certain headers go to another service; the first that matches counts.
        routes: Many<ServiceRoute>,
        /// Pages of these origins may call it, beside those of its own names.
        cors: Many<Spanned<String>>,
        /// Services it cannot work without.
        needs: Many<Spanned<String>>,
        /// Volumes and paths that hold its data.
        data: Many<Spanned<String>>,
        /// How its data is protected; the short form names a policy.
        backup: Option<Backup>,
        /// How to tell that it works.
        probe: Option<Probe>,
        /// Its traffic to the internet goes through this service, or not at all.
        egress: Option<Spanned<String>>,
        /// Environments it is placed in, with what differs in each.
        environments: EnvironmentTable,
        /// Data that is loaded once into a fresh copy, in this order: files beside the lab file that its database reads
        /// (`.sql`, `.dump`, `.redis`), and scripts.
        seed: Many<Spanned<String>>,
        /// What stands in for it on a developer's machine, with `labwright up`.
        up: Option<StandIn>,
        /// How to bring it back, in words.
        restore_notes: Option<String>,
    }
}

choice! {
    /// From where a service can be reached.
    pub enum Expose {
        /// Only by the services that need it.
        Nowhere = "nowhere",
        /// From the lab's user zones.
        Lan = "lan",
        /// From the VPN.
        Vpn = "vpn",
        /// From the internet.
        Public = "public",
    }
}

choice! {
    /// For whom a public service is.
    pub enum Access {
        /// For those whom an `access` policy under `edge.public.cloudflare`, or the lab's identity, lets in.
        Policy = "policy",
        /// For everybody: a blog, a status page. Nobody is asked who they are.
        Everyone = "everyone",
    }
}

section! {
    /// How the reverse proxy leads to a service.
    pub struct Door {
        /// Where it answers, several if need be: `http://host:port`, `https://host:port`, or `h2c://host:port` for HTTP/2 in
        /// clear text, as gRPC has it. From `on` and `port` when absent.
        to: Many<Spanned<String>>,
        /// Whose word is enough for a certificate of its own: `system`, `none` (not looked at), or a PEM file on the
        /// proxy's host.
        verify: Spanned<String> = "system".to_string().into(),
        /// The path that tells whether it is well; the probe's when absent.
        health: Option<Spanned<String>>,
        /// Who may in: `forward` asks the proxy's `forward_auth`; `basic` knows users and their passwords' bcrypt hashes.
        auth: DoorAuth,
        /// What a request may take.
        limits: DoorLimits,
        /// Browsers are told to use HTTPS alone for this long; the proxy's own setting when absent.
        hsts: Option<Period>,
        /// Its TLS is not ended at the proxy: connections for its names are handed through as they are.
        passthrough: bool,
        /// Ports of the proxy's host that are handed through to it as plain TCP: `5432`, or `15432:5432` where they differ.
        tcp: Many<Spanned<String>>,
        /// With `passthrough` and `tcp`: each connection to it begins with a header of the PROXY protocol, version 2, which says
        /// who it is from.
        proxy_protocol: bool,
        /// It is told where a visitor is, in the headers `X-Geo-Country`, `X-Geo-Region`, `X-Geo-City`, `X-Geo-Latitude` and
        /// `X-Geo-Longitude`.
        geo: bool,
        /// Clear text is answered too, instead of being sent to HTTPS.
        clear_text: bool,
    }
}

section! {
    /// Who may in; the short form is `forward`.
    pub struct DoorAuth {
        /// The proxy's `forward_auth` is asked.
        forward: bool,
        /// Users, and their passwords' bcrypt hashes as `htpasswd -B` makes them, or references to secrets that hold them.
        basic: BTreeMap<String, String>,
        /// Paths that everybody may see, with all that is below them.
        open: Many<Spanned<String>>,
    }
    short (node, decoder) {
        match node.text() {
            Some("forward") => Some(DoorAuth { forward: true, ..DoorAuth::default() }),
            _ => decoder.wrong(node, "`forward`, or a map with `forward`, `basic` and `open`"),
        }
    }
    schema or_string
}

section! {
    /// Where requests with certain headers go.
    pub struct ServiceRoute {
        /// Headers that a request must have, by name.
        headers: BTreeMap<String, String>,
        /// The service that answers it.
        to: Spanned<String>,
    }
    required ["headers", "to"]
}

section! {
    /// A process that systemd runs.
    pub struct Run {
        /// The program and its arguments.
        command: Many<Spanned<String>>,
        /// The user it runs as.
        user: Option<Spanned<String>>,
        /// Its working directory.
        directory: Option<Spanned<String>>,
        /// Its environment.
        environment: BTreeMap<String, String>,
        /// When it is started again after its end.
        restart: Restarts = Restarts::Always,
    }
    required ["command"]
    short (node, decoder) {
        Many::from_node(node, decoder).map(|command| Run { command, ..Run::default() })
    }
    schema crate::decode::or_strings
}

section! {
    /// What stands in for a service where `labwright up` runs the lab on one machine.
    pub struct StandIn {
        /// It is left out, and what needs it is started without it.
        skip: bool,
        /// An image that runs instead of it.
        image: Option<Spanned<String>>,
        /// A process that runs instead of it; its `user` and `restart` count as in `run`.
        run: Option<Run>,
        /// The folder that the process runs in, beside the lab file; a folder of its own, or for `up.run` the lab's, when
        /// absent. Its variable `LABWRIGHT_DATA` says where its own is, whose content stays.
        directory: Option<Spanned<String>>,
        /// Variables that are added to the process's own.
        environment: BTreeMap<String, String>,
        /// The port that it has here, where that is not `port`.
        port: Option<Spanned<u16>>,
        /// When what needs it may start: `healthy` (its probe answers, or its port takes connections), `port`, `started`,
        /// `ended` (it did its work and went), `notify` (it says so itself, as for systemd), or a path that answers well.
        ready: Option<Spanned<String>>,
        /// Files beside the lab file, as globs: a change of one restarts it.
        watch: Many<Spanned<String>>,
        /// A command that is run before it is restarted for a change. Where it fails, what runs goes on.
        rebuild: Many<Spanned<String>>,
        /// How long it may take to end before it is killed.
        stop_within: Period = Period(std::time::Duration::from_secs(10)),
    }
}

choice! {
    /// When a process is started again after its end.
    pub enum Restarts {
        /// Always.
        Always = "always",
        /// When it failed.
        OnFailure = "on-failure",
        /// Never: it does its work and ends. With `labwright up`, what needs it waits for that where it has no port.
        No = "no",
    }
}

section! {
    /// A service that someone else runs; the short form names who.
    pub struct External {
        /// Who runs it.
        provider: Option<Spanned<String>>,
        /// The responsibility level that remains: 0 SaaS, 1 hosted platform, 2 rented machine.
        level: u8,
    }
    short (node, decoder) {
        String::from_node(node, decoder).map(|provider| External { provider: Some(Spanned::new(provider, node.span)), level: 0 })
    }
    schema or_string
}

section! {
    /// How a service's data is protected.
    pub struct Backup {
        /// The policy under `protection`.
        policy: Option<Spanned<String>>,
        /// Databases that are dumped first, by a name for the dump.
        dump: Table<Dump>,
        /// Commands on the service's host before and after.
        hooks: Hooks,
        /// Paths that are left out.
        exclude: Many<Spanned<String>>,
    }
    short (node, decoder) {
        String::from_node(node, decoder).map(|policy| Backup { policy: Some(Spanned::new(policy, node.span)), ..Backup::default() })
    }
    schema or_string
}

section! {
    /// A database dump.
    pub struct Dump {
        /// The service that is the database.
        service: Option<Spanned<String>>,
        /// The database's name.
        database: Option<Spanned<String>>,
        /// The user that dumps it.
        user: Option<Spanned<String>>,
    }
}

section! {
    /// Commands around a backup.
    pub struct Hooks {
        /// Run first; a failure stops the backup.
        before: Many<Spanned<String>>,
        /// Run after a backup that succeeded, before `after`.
        success: Many<Spanned<String>>,
        /// Run last, whatever happened.
        after: Many<Spanned<String>>,
    }
}

section! {
    /// How to tell that a service works; the short form is the path that is asked for.
    pub struct Probe {
        /// The path that is asked for.
        path: Option<Spanned<String>>,
        /// The whole address, where it is not the service's own.
        url: Option<Spanned<String>>,
        /// Conditions in Gatus' language.
        expect: Many<Spanned<String>> = Many(vec!["[STATUS] == 200".to_string().into()]),
        /// How often.
        every: Period = Period(std::time::Duration::from_secs(60)),
        /// How long one probe may take.
        timeout: Period = Period(std::time::Duration::from_secs(10)),
        /// When it is asked, where that is not all the time.
        schedule: Option<Spanned<Schedule>>,
    }
    short (node, decoder) {
        String::from_node(node, decoder).map(|path| Probe { path: Some(Spanned::new(path, node.span)), ..Probe::default() })
    }
    schema or_string
}

/// The environments of a service: a list of names, or a map of what differs in each.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(transform = crate::decode::or_strings)]
pub struct EnvironmentTable(pub Table<Foreign>);

impl std::ops::Deref for EnvironmentTable {
    type Target = Table<Foreign>;
    fn deref(&self) -> &Table<Foreign> {
        &self.0
    }
}

impl FromNode for EnvironmentTable {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        if let Kind::Map(_) = node.kind {
            return Table::from_node(node, decoder).map(EnvironmentTable);
        }
        let names: Many<Spanned<String>> = Many::from_node(node, decoder)?;
        let entry = |name: Spanned<String>| (name.value, Spanned::new(Foreign::default(), name.span));
        Some(EnvironmentTable(Table(names.0.into_iter().map(entry).collect())))
    }
}
