//! From the lab to the daemons of its hosts: program, unit, credentials, the pages of static sites, lists of names, and what
//! each is told. Pure: files beside the lab file are handed in.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use labwright_model::lab::{Host, Unit};
use labwright_model::snapshot::dns::is_resolver;
use labwright_model::snapshot::proxy::{Led, claims, folder_on_host, is_proxy, lead};
use labwright_model::snapshot::{self, control};
use labwright_model::{Finding, Parsed, Span, Spanned, beside};
use labwright_plan::{Input, Lowered, Resource, ResourceId};

use super::program::{PATH, THIS};
use super::{daemon, program};
use crate::host::{NO_SUCH_ASSET, content, managed};

/// The unit of the daemon.
pub const UNIT: &str = "labwright-serve.service";
/// Where `/healthz` and `/metrics` answer, for this host alone.
const OBSERVE: &str = "127.0.0.1:9353";

fn unit() -> String {
    let folder = control::FOLDER;
    format!(
        "# Written by labwright.\n\
         [Unit]\n\
         Description=Labwright: what this host does for the lab\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=notify\n\
         NotifyAccess=main\n\
         ExecStart={PATH} serve --observe {OBSERVE}\n\
         Restart=always\n\
         RestartSec=1\n\
         TimeoutStopSec=30\n\
         # Sockets outlive a crash and a restart: nobody is refused meanwhile, and what is asked meanwhile waits.\n\
         FileDescriptorStoreMax=1024\n\
         LimitNOFILE=524288\n\
         DynamicUser=yes\n\
         User={folder}\n\
         StateDirectory={folder}\n\
         StateDirectoryMode=0700\n\
         RuntimeDirectory={folder}\n\
         RuntimeDirectoryMode=0700\n\
         RuntimeDirectoryPreserve=restart\n\
         UMask=0077\n\
         AmbientCapabilities=CAP_NET_BIND_SERVICE\n\
         CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ProtectHome=read-only\n\
         PrivateTmp=yes\n\
         PrivateDevices=yes\n\
         ProtectClock=yes\n\
         ProtectControlGroups=yes\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelTunables=yes\n\
         RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         LockPersonality=yes\n\
         MemoryDenyWriteExecute=yes\n\
         SystemCallArchitectures=native\n\
         SystemCallFilter=@system-service\n\
         SystemCallErrorNumber=EPERM\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// Where the lab says that a host has a role.
fn span(parsed: &Parsed, host: &str) -> Span {
    let platform = &parsed.lab.platform;
    let proxies = platform.reverse_proxy.iter().filter(|_| is_proxy(parsed, host)).flat_map(|proxy| proxy.on.iter());
    let resolvers = platform.dns.iter().flat_map(|dns| dns.on.iter());
    proxies.chain(resolvers).filter(|on| on.value == host).map(|on| on.span).next().unwrap_or(Span::NONE)
}

/// A host with the unit and the credentials of its daemon.
pub fn implied<'a>(parsed: &Parsed, name: &str, host: Cow<'a, Host>) -> Cow<'a, Host> {
    if snapshot::wanted(parsed, name).is_none() {
        return host;
    }
    let mut host = host.into_owned();
    let span = span(parsed, name);
    // What the lab file says of this unit itself counts.
    let unit_entry = || {
        let content = Some(Spanned::new(unit(), span));
        Spanned::new(Unit { content, enabled: Some(true), running: Some(true), ..Unit::default() }, span)
    };
    let entry = host.units.0.entry(UNIT.into()).or_insert_with(unit_entry);
    for (credential, text) in snapshot::credentials(parsed, name) {
        entry.value.credentials.0.entry(credential).or_insert_with(|| Spanned::new(text, span));
    }
    Cow::Owned(host)
}

/// What is read beside the lab file, as `Input::assets` is keyed: folders of pages, each with a slash at its end, which
/// stands for its files, and lists of names that are not answered.
pub fn assets(parsed: &Parsed) -> Vec<String> {
    let folders = folders(parsed).into_iter().map(|folder| folder.asset);
    let lists = lists(parsed).into_iter().map(|list| list.asset);
    folders.chain(lists).collect::<BTreeSet<String>>().into_iter().collect()
}

struct List {
    /// Beside the lab file.
    asset: String,
    /// What it is called on its hosts.
    name: String,
    span: Span,
}

/// The lists beside the lab file that the lab's own resolvers read.
fn lists(parsed: &Parsed) -> Vec<List> {
    if snapshot::dns::declared(parsed).is_none() {
        return Vec::new();
    }
    let list = |(text, name): (&Spanned<String>, String)| {
        let from = parsed.sources.get(text.span.file).map_or("", |file| file.name.as_str());
        List { asset: beside(from, text), name, span: text.span }
    };
    snapshot::dns::shipped(parsed).into_iter().map(list).collect()
}

struct Folder<'a> {
    service: &'a str,
    /// Beside the lab file, with a slash at its end.
    asset: String,
    span: Span,
}

/// The static sites whose pages are beside the lab file.
fn folders(parsed: &Parsed) -> Vec<Folder<'_>> {
    if snapshot::proxy::routed(parsed).is_none() {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let claims = claims(parsed).into_iter().filter(|claim| seen.insert(claim.placement.service.as_str()));
    let folder = |claim: snapshot::proxy::Claim<'_>| {
        let site = claim.placement.entry.site.as_ref()?;
        let Led::Folder(folder) = lead(parsed, claim.placement, "") else { return None };
        if folder.starts_with('/') {
            return None;
        }
        let from = parsed.sources.get(site.span.file).map_or("", |file| file.name.as_str());
        let service = parsed.lab.services.get_key_value(&claim.placement.service)?.0;
        let asset = format!("{}/", beside(from, folder.trim_start_matches("./").trim_end_matches('/')));
        Some(Folder { service, asset, span: site.span })
    };
    claims.filter_map(folder).collect()
}

/// The daemon of every host that has one.
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    let parsed = input.parsed;
    for (host, entry) in parsed.lab.compute.hosts.iter().collect::<BTreeMap<_, _>>() {
        let Some(wanted) = snapshot::wanted(parsed, host).filter(|_| managed(&entry.value)) else { continue };
        let span = span(parsed, host);
        let program = ResourceId::new(host, "serve", "program", PATH);
        let unit = ResourceId::new(host, "host", "unit", UNIT);
        // A unit is started only where there is something to start.
        for resource in out.resources.iter_mut().filter(|resource| resource.id == unit) {
            resource.after.insert(program.clone());
        }
        let mut pages = if is_proxy(parsed, host) { pages(input, host, out) } else { Vec::new() };
        if is_resolver(parsed, host) {
            pages.extend(list_files(input, host, out));
        }
        let mut daemon = Resource::new(ResourceId::new(host, "serve", "daemon", daemon::NAME), span)
            .with("serves", daemon::serves(&wanted));
        daemon.after.extend([program.clone(), unit]);
        daemon.after.extend(pages.iter().map(|page| page.id.clone()));
        out.resources.extend(pages);
        out.resources.push(Resource::new(program, span).with(program::VERSION.name, THIS));
        out.resources.push(daemon);
    }
}

/// Lists beside the lab file, as files of a resolver's host.
fn list_files(input: &Input<'_>, host: &str, out: &mut Lowered) -> Vec<Resource> {
    let lists = lists(input.parsed);
    let Some(first) = lists.first() else { return Vec::new() };
    let folder = snapshot::dns::folder(&input.parsed.lab.lab);
    let id = |kind: &str, path: &str| ResourceId::new(host, "host", kind, path);
    let directory =
        |path: &str| Resource::new(id("directory", path), first.span).with("type", "directory").with("mode", "0755");
    let mut of_lab = directory(&folder);
    of_lab.after.insert(id("directory", snapshot::dns::LISTS));
    let mut files = vec![directory(snapshot::dns::LISTS), of_lab];
    for List { asset, name, span } in &lists {
        let bytes = match input.assets.get(asset) {
            Some(Ok(bytes)) => bytes,
            other => {
                let why = other.and_then(|read| read.as_ref().err()).map_or("no such file", String::as_str);
                let message = format!("cannot read `{asset}`, a list of names that are not answered: {why}");
                let finding = Finding::error(NO_SUCH_ASSET, "platform.dns.block", *span, message);
                out.findings.push(finding.help(
                    "put the file there, or correct the path: it is relative to the file that `block` stands in. A list on the \
                     resolver's own host begins with `/`, one on the web with `https://`",
                ));
                continue;
            }
        };
        let mut file = Resource::new(id("file", &format!("{folder}/{name}")), *span)
            .with("content", content::value(bytes.clone()))
            .with("type", "file")
            .with("mode", "0644");
        file.after.insert(id("directory", &folder));
        files.push(file);
    }
    files
}

/// The pages of all static sites, as files of a proxy's host.
pub fn pages(input: &Input<'_>, host: &str, out: &mut Lowered) -> Vec<Resource> {
    let mut pages: BTreeMap<ResourceId, Resource> = BTreeMap::new();
    let id = |kind: &str, path: &str| ResourceId::new(host, "host", kind, path);
    for Folder { service, asset, span } in folders(input.parsed) {
        let root = folder_on_host(input.parsed, service, "");
        let files = input.assets.range(asset.clone()..).take_while(|(path, _)| path.starts_with(&asset));
        let mut count = 0;
        for (path, bytes) in files {
            let below = &path[asset.len()..];
            let bytes = match bytes {
                Ok(bytes) if !below.is_empty() => bytes,
                Ok(_) => continue,
                Err(why) => {
                    let message = format!("cannot read `{path}`, of the site of `{service}`: {why}");
                    let at = format!("services.{service}.site");
                    out.findings.push(Finding::error(NO_SUCH_ASSET, at, span, message).help(
                        "put the folder there, or correct the path: it is relative to the file that `site` stands in",
                    ));
                    count += 1;
                    continue;
                }
            };
            count += 1;
            let target = format!("{root}/{below}");
            let mut parent = None;
            // Every folder on the way, the outermost first.
            for (at, _) in target.match_indices('/').filter(|(at, _)| *at >= snapshot::proxy::SITES.len()) {
                let folder = id("directory", &target[..at]);
                let mut resource = Resource::new(folder.clone(), span).with("type", "directory").with("mode", "0755");
                resource.after.extend(parent.replace(folder.clone()));
                pages.entry(folder).or_insert(resource);
            }
            let mut file = Resource::new(id("file", &target), span)
                .with("content", content::value(bytes.clone()))
                .with("type", "file")
                .with("mode", "0644");
            file.after.extend(parent);
            pages.insert(file.id.clone(), file);
        }
        if count == 0 {
            let message = format!("there is no page in `{asset}`, the site of `{service}`");
            let finding = Finding::error(NO_SUCH_ASSET, format!("services.{service}.site"), span, message);
            out.findings.push(finding.help("put an `index.html` there"));
        }
    }
    pages.into_values().collect()
}
