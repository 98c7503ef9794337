//! A snapshot as requests are answered from it: looked up once, never changed, shared by all threads.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;
use labwright_model::snapshot::proxy::{self as wanted, Answer, ProxySnapshot};
use labwright_model::units::Subnet;

use super::auth::Basic;
use super::endpoint::Group;
use super::geo::Geo;
use super::metrics::Counted;
use super::rate::Rates;
use super::{Setting, Shared};

pub struct Live {
    exact: HashMap<Box<str>, usize>,
    /// By what follows the `*.`.
    wild: HashMap<Box<str>, usize>,
    pub sites: Vec<Site>,
    pub ports: HashMap<u16, PortSite>,
    pub trusted: Vec<IpNet>,
    /// The port that clear text is sent to.
    pub https: Option<u16>,
    pub forward: Option<Forward>,
    pub geo: Option<Arc<Geo>>,
    pub access_log: bool,
    /// Whether any site's TLS is handed through.
    pub passthrough: bool,
    /// Whether those that are trusted say who their connections are from.
    pub proxy_protocol: bool,
    /// The most that any site grants: what a connection is set up with before its site is known.
    pub header: usize,
    pub header_time: Duration,
}

pub struct Site {
    pub service: String,
    pub target: Target,
    /// `None`: from everywhere.
    pub from: Option<Vec<IpNet>>,
    pub expose: String,
    pub forward_auth: bool,
    pub basic: Option<Basic>,
    pub open: Vec<String>,
    pub routes: Vec<(Vec<(HeaderName, HeaderValue)>, Target)>,
    pub body: Option<u64>,
    pub header: usize,
    pub idle: Duration,
    pub time: Duration,
    pub rate: Option<(u32, Arc<Rates>)>,
    pub hsts: Option<HeaderValue>,
    pub geo: bool,
    pub clear_text: bool,
    pub passthrough: bool,
    pub proxy_protocol: bool,
    pub cors: Vec<HeaderValue>,
    pub counted: Counted,
}

pub enum Target {
    Group(Arc<Group>),
    Folder(PathBuf),
    /// Why not, and what would help.
    Nothing(String),
}

pub struct PortSite {
    pub service: String,
    pub group: Arc<Group>,
    pub from: Option<Vec<IpNet>>,
    pub proxy_protocol: bool,
}

pub struct Forward {
    pub group: Arc<Group>,
    pub path: String,
    pub pass: Vec<String>,
    pub headers: Vec<HeaderName>,
}

fn nets(nets: &[Subnet]) -> Vec<IpNet> {
    nets.iter().map(|net| net.0).collect()
}

/// Whether an address is in one of some networks; `None` lets everybody in.
pub fn lets_in(from: &Option<Vec<IpNet>>, address: IpAddr) -> bool {
    from.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&address)))
}

impl Live {
    pub fn empty() -> Live {
        Live {
            exact: HashMap::new(),
            wild: HashMap::new(),
            sites: Vec::new(),
            ports: HashMap::new(),
            trusted: Vec::new(),
            https: None,
            forward: None,
            geo: None,
            access_log: false,
            passthrough: false,
            proxy_protocol: false,
            header: 64 << 10,
            header_time: Duration::from_secs(30),
        }
    }

    /// # Errors
    /// In words: an address that is none, a credential that is not there, a name twice.
    pub fn compile(snapshot: &ProxySnapshot, setting: &Setting, shared: &Shared) -> Result<Live, String> {
        let mut live = Live::empty();
        for site in &snapshot.sites {
            let number = live.sites.len();
            for name in &site.names {
                let (map, key) = match name.strip_prefix("*.") {
                    Some(below) => (&mut live.wild, below),
                    None => (&mut live.exact, name.as_str()),
                };
                if map.insert(key.into(), number).is_some() {
                    return Err(format!("the name `{name}` stands in two sites"));
                }
            }
            let compiled =
                compile(site, setting, shared).map_err(|why| format!("site of `{}`: {why}", site.service))?;
            live.sites.push(compiled);
        }
        for port in &snapshot.ports {
            let urls: Vec<String> = port.to.iter().map(|to| format!("tcp://{to}")).collect();
            let to =
                wanted::Upstreams { service: port.service.clone(), urls, verify: "none".into(), ..Default::default() };
            let group = group(&to, shared).map_err(|why| format!("port {} of `{}`: {why}", port.port, port.service))?;
            let from = port.from.as_deref().map(nets);
            let site = PortSite { service: port.service.clone(), group, from, proxy_protocol: port.proxy_protocol };
            live.ports.insert(port.port, site);
        }
        live.trusted = nets(&snapshot.trusted);
        live.proxy_protocol = snapshot.proxy_protocol;
        live.https = snapshot.listen.https;
        live.access_log = snapshot.access_log;
        live.passthrough = live.sites.iter().any(|site| site.passthrough);
        live.header = snapshot.sites.iter().map(|site| site.limits.header as usize).max().unwrap_or(live.header);
        let slowest = snapshot.sites.iter().map(|site| Duration::from_millis(site.limits.header_time)).max();
        live.header_time = slowest.unwrap_or(live.header_time);
        live.geo = snapshot.geo.as_ref().map(|path| Arc::new(Geo::of(path.into())));
        live.forward = snapshot.forward.as_ref().map(|forward| compile_forward(forward, shared)).transpose()?;
        if live.forward.is_none()
            && let Some(site) = live.sites.iter().find(|site| site.forward_auth)
        {
            return Err(format!("`{}` asks for forward auth, and there is nobody to ask", site.service));
        }
        Ok(live)
    }

    /// The site of a name, in lower case: its own, or that of the wildcard right above it.
    pub fn site(&self, name: &str) -> Option<&Site> {
        let wild = || self.wild.get(name.split_once('.')?.1);
        let number = self.exact.get(name).or_else(wild)?;
        self.sites.get(*number)
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        let targets = self
            .sites
            .iter()
            .flat_map(|site| std::iter::once(&site.target).chain(site.routes.iter().map(|(_, target)| target)));
        let groups = targets.filter_map(|target| match target {
            Target::Group(group) => Some(group),
            _ => None,
        });
        groups
            .chain(self.ports.values().map(|port| &port.group))
            .chain(self.forward.iter().map(|forward| &forward.group))
    }
}

fn group(upstreams: &wanted::Upstreams, shared: &Shared) -> Result<Arc<Group>, String> {
    let endpoints: Result<Vec<_>, String> =
        upstreams.urls.iter().map(|url| shared.endpoint(url, &upstreams.verify)).collect();
    let endpoints = endpoints?;
    if endpoints.is_empty() {
        return Err(format!("nothing says where `{}` answers", upstreams.service));
    }
    Ok(Arc::new(Group {
        service: upstreams.service.clone(),
        endpoints,
        health: upstreams.health.clone(),
        needs: upstreams.needs.clone(),
    }))
}

fn compile_target(answer: &Answer, shared: &Shared) -> Result<Target, String> {
    Ok(match answer {
        Answer::Upstreams(upstreams) => Target::Group(group(upstreams, shared)?),
        Answer::Folder(folder) => Target::Folder(folder.into()),
        Answer::Nothing(why) => Target::Nothing(why.clone()),
    })
}

fn compile_forward(forward: &wanted::Forward, shared: &Shared) -> Result<Forward, String> {
    let header = |name: &String| name.parse().map_err(|_| format!("`{name}` is no header's name"));
    Ok(Forward {
        group: group(&forward.to, shared)?,
        path: forward.path.clone(),
        pass: forward.pass.clone(),
        headers: forward.headers.iter().map(header).collect::<Result<_, _>>()?,
    })
}

fn compile(site: &wanted::Site, setting: &Setting, shared: &Shared) -> Result<Site, String> {
    let route = |route: &wanted::Route| {
        let header = |(name, value): (&String, &String)| {
            let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header's name"))?;
            let value: HeaderValue = value.parse().map_err(|_| format!("`{value}` is no header's value"))?;
            Ok((name, value))
        };
        let headers = route.headers.iter().map(header).collect::<Result<Vec<_>, String>>()?;
        Ok((headers, compile_target(&route.answer, shared)?))
    };
    let hash = |(user, credential): (&String, &String)| Ok((user.clone(), setting.credential(credential)?));
    let hashes = site.auth.basic.iter().map(hash).collect::<Result<Vec<_>, String>>()?;
    let origin = |origin: &String| origin.parse().map_err(|_| format!("`{origin}` is no origin"));
    Ok(Site {
        service: site.service.clone(),
        target: compile_target(&site.answer, shared)?,
        from: site.from.as_deref().map(nets),
        expose: site.expose.clone(),
        forward_auth: site.auth.forward,
        basic: if hashes.is_empty() { None } else { Some(Basic::of(&site.service, hashes)?) },
        open: site.auth.open.clone(),
        routes: site.routes.iter().map(route).collect::<Result<_, String>>()?,
        body: site.limits.body,
        header: site.limits.header as usize,
        idle: Duration::from_millis(site.limits.idle),
        time: Duration::from_millis(site.limits.time),
        rate: site.limits.rate.map(|rate| (rate, shared.rates(&site.service))),
        hsts: site.hsts.and_then(|seconds| HeaderValue::from_str(&format!("max-age={seconds}")).ok()),
        geo: site.geo,
        clear_text: site.clear_text,
        passthrough: site.passthrough,
        proxy_protocol: site.proxy_protocol,
        cors: site.cors.iter().map(origin).collect::<Result<_, String>>()?,
        counted: shared.metrics.counted(&site.service),
    })
}
