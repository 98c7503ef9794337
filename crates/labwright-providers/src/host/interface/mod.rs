//! Addresses and routes of a network interface: in the kernel, and where the host's own network service reads them at boot.
//! Brings no interface about and names none; what the network gives by itself, as a router's IPv6 announcements do, stays.

mod ifupdown;
mod keeper;
mod live;
mod networkd;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use labwright_model::Spanned;
use labwright_model::lab::Interface;
use labwright_plan::network::vpn_routes;
use labwright_plan::{
    Action, Call, Consequence, Doors, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, Spec, Step,
    Value, Wanted,
};

use super::lower::{Ground, sorted};
use super::session::{Here, Look, Saying};
use live::Live;

/// The kind `interface`; named as the kernel names it.
pub const KIND: Kind = Kind {
    name: "interface",
    doc: "The addresses and routes of a network interface, now and after every boot.",
    fields: &[
        field("addresses", "Its addresses, each with the length of its network."),
        field("gateway", "The routers that lead everywhere else over it."),
        field("routes", "Further networks, each with the router that leads there."),
        field("dns", "The resolvers that are asked over it."),
        field("up", "Whether it is up."),
        field("persisted", "That it is so after a boot as well: systemd-networkd or ifupdown has it."),
    ],
    // There is nothing to take over: an interface has addresses, whoever gave them to it.
    ownership: Ownership::Setting,
    create: Consequence::CutsManagement,
    delete: Consequence::None,
};

const fn field(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Update, consequence: Consequence::CutsManagement, content: false }
}

/// How long the host's network service may take until the kernel has what was asked for.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

/// What an interface shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// `10.0.20.21/24`, sorted.
    pub addresses: Vec<String>,
    pub gateway: Vec<String>,
    /// By network: the router, and the metric behind it where there is one: `10.0.20.254 metric 100`.
    pub routes: BTreeMap<String, String>,
    pub dns: Vec<String>,
}

impl Setup {
    fn of(spec: &Spec) -> Setup {
        let list = |field: &str| {
            let items = spec.get(field).and_then(Value::list).unwrap_or_default();
            items.iter().filter_map(Value::text).map(str::to_string).collect()
        };
        let routes = match spec.get("routes") {
            Some(Value::Map(routes)) => {
                routes.iter().filter_map(|(net, via)| Some((net.clone(), via.text()?.to_string()))).collect()
            }
            _ => BTreeMap::new(),
        };
        Setup { addresses: list("addresses"), gateway: list("gateway"), routes, dns: list("dns") }
    }

    /// Of one family: addresses, gateway.
    pub fn family(&self, six: bool) -> (Vec<&str>, Option<&str>) {
        let of = |text: &&String| text.contains(':') == six;
        (
            self.addresses.iter().filter(of).map(String::as_str).collect(),
            self.gateway.iter().find(of).map(String::as_str),
        )
    }
}

/// Router and metric of a route as it is spelled.
pub fn way(route: &str) -> (&str, Option<&str>) {
    route.split_once(" metric ").map_or((route, None), |(via, metric)| (via, Some(metric)))
}

/// One resource for each declared interface.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    sorted(&ground.host.interfaces).into_iter().map(|(name, entry)| one(ground, name, entry)).collect()
}

fn one(ground: &Ground<'_>, name: &str, entry: &Spanned<Interface>) -> Resource {
    let list = |mut items: Vec<String>| {
        items.sort_unstable();
        items.dedup();
        items.into_iter().collect::<Value>()
    };
    let texts = |items: &[Spanned<IpAddr>]| items.iter().map(|item| item.value.to_string()).collect::<Vec<_>>();
    let route = |(net, route): (&String, &Spanned<labwright_model::lab::Route>)| {
        let via = route.via.as_ref()?.value;
        let metric = route.metric.as_ref().map(|metric| metric.value);
        Some((live::network(net), Value::Text(live::spelled(&via.to_string(), metric.map(u64::from)))))
    };
    // Where a VPN ends beside the router, the way back into it leads there.
    let implied = vpn_routes::implied(ground.parsed, ground.name, ground.host);
    let mut routes: BTreeMap<String, Value> = entry.routes.iter().filter_map(route).collect();
    for one in implied.into_iter().filter(|one| one.interface == name) {
        routes.insert(live::network(&one.to.to_string()), Value::Text(live::spelled(&one.via.to_string(), None)));
    }
    let resource = ground
        .resource("interface", name, entry.span)
        .with("addresses", list(entry.addresses.iter().map(|address| address.value.to_string()).collect()))
        .with("gateway", list(texts(&entry.gateway)))
        .with("routes", Value::Map(routes))
        .with("up", true)
        .with("persisted", true);
    // Their order is the order in which they are asked.
    resource.with_some("dns", (!entry.dns.is_empty()).then(|| texts(&entry.dns).into_iter().collect::<Value>()))
}

pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Look {
    let name = wanted.id.name();
    let live = live::required(name)?;
    // What is asked for, or was: that is what the host's network service has to have.
    let mut asked = Spec::new();
    for field in ["addresses", "gateway", "routes", "dns"] {
        if let Some(value) = here.asked(wanted, field) {
            asked.insert(field.to_string(), value.clone());
        }
    }
    let setup = Setup::of(&asked);
    let persisted = keeper::of(here, name)?.has(name, &setup)?;
    let list = |items: Vec<String>| items.into_iter().collect::<Value>();
    let spec = Spec::from([
        ("addresses".to_string(), list(live.addresses)),
        ("gateway".to_string(), list(live.gateway)),
        ("routes".to_string(), Value::Map(live.routes.into_iter().map(|(net, via)| (net, Value::Text(via))).collect())),
        // Who answers for names is not the interface's to say: it is so where it was written so.
        ("dns".to_string(), list(if persisted { setup.dns } else { Vec::new() })),
        ("up".to_string(), live.up.into()),
        ("persisted".to_string(), persisted.into()),
    ]);
    Ok(Some(Observed { spec, data: None }))
}

/// Writes it down for the host's network service, makes it so, and waits until the kernel has it.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    if step.action == Action::Delete {
        return Ok(());
    }
    let (name, setup) = (step.id.name(), Setup::of(&step.spec));
    let keeper = keeper::of(here, name)?;
    keeper.write(here, name, &setup, saying)?;
    keeper.make(name, &setup)?;
    let since = Instant::now();
    loop {
        let now = live::required(name)?;
        if now.is(&setup) {
            return Ok(());
        }
        if since.elapsed() > SETTLES_WITHIN {
            return Err(ProviderError::rejected(format!(
                "`{name}` did not become what it shall be within {} s: {}",
                SETTLES_WITHIN.as_secs(),
                now.differs(&setup)
            ))
            .help(keeper.help(name)));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Where the host is reached once its own address, by which we came, is no longer there. Known before anything is touched:
/// afterwards nothing more goes over that connection.
pub fn doors_ahead(here: &Here, step: &Step) -> Result<Option<Doors>, ProviderError> {
    let Some(server) = here.context.via.server.filter(|_| step.action != Action::Delete) else { return Ok(None) };
    let (name, setup) = (step.id.name(), Setup::of(&step.spec));
    let plain = |address: &String| address.split('/').next()?.parse::<IpAddr>().ok();
    let stands = live::required(name)?.addresses.iter().filter_map(plain).any(|own| own == server);
    let mut new: Vec<IpAddr> = setup.addresses.iter().filter_map(plain).collect();
    if !stands || new.contains(&server) {
        return Ok(None);
    }
    new.sort_by_key(|address| address.is_ipv4() != server.is_ipv4());
    Ok(Some(Doors { addresses: new, ports: Vec::new() }))
}

/// Sets addresses to exactly these, sparing what the network gives by itself. At a boot (`$4`) the host's own service is about
/// to set them, and what others are there is only taken away: a container may keep its network over a reboot.
const RESTORE: &str = r#"
dev=$1 addresses=$2 state=$3 when=$4
set_all() {
    [ "$when" = boot ] && return
    for address in $addresses; do ip address replace "$address" dev "$dev" || exit 1; done
}
if [ "$when" != boot ]; then
    for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        missing=
        for address in $addresses; do
            ip -o address show dev "$dev" | grep -qF " $address " || missing=yes
        done
        [ -n "$missing" ] || break
        sleep 0.1
    done
fi
set_all
ip -o address show dev "$dev" scope global 2>/dev/null | while read -r _ _ family address rest; do
    case " $addresses " in *" $address "*) continue ;; esac
    case "$family $rest" in "inet6 "*dynamic* | "inet6 "*temporary*) continue ;; esac
    ip address delete "$address" dev "$dev"
done
set_all
[ "$when" = boot ] || ip link set dev "$dev" "$state"
"#;

/// The files that say what the interface is after a boot, and what makes the kernel have it as it has it now.
pub fn way_back(here: &Here, step: &Step) -> Result<(Vec<PathBuf>, Vec<Call>), ProviderError> {
    let name = step.id.name();
    let keeper = keeper::of(here, name)?;
    let live = live::required(name)?;
    let mut calls = keeper.back(name)?;
    let (addresses, state) = (live.addresses.join(" "), if live.up { "up" } else { "down" });
    let script = |when: &str| Call::new("sh", &["-c", RESTORE, "sh", name, &addresses, state, when]);
    calls.push(script("now"));
    // What the change adds is not the old state's.
    let (new, kept) = (Setup::of(&step.spec), live.kept_routes(name)?);
    for (net, via) in new.routes.iter().filter(|(net, _)| !live.routes.contains_key(*net)) {
        calls.push(Call::new("ip", &["route", "delete", net, "via", way(via).0, "dev", name]).may_fail());
    }
    for gateway in new.gateway.iter().filter(|gateway| !live.gateway.contains(gateway)) {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        calls.push(Call::new("ip", &[family, "route", "delete", "default", "via", gateway, "dev", name]).may_fail());
    }
    for route in &kept {
        let words: Vec<&str> = route.iter().map(String::as_str).collect();
        calls.push(Call::new("ip", &words));
    }
    calls.push(script("boot").at_boot().may_fail());
    Ok((keeper.files(name)?, calls))
}

impl Live {
    /// Whether it is exactly this.
    fn is(&self, setup: &Setup) -> bool {
        self.up && self.addresses == setup.addresses && self.gateway == setup.gateway && self.routes == setup.routes
    }

    fn differs(&self, setup: &Setup) -> String {
        let shown = |items: &[String]| if items.is_empty() { "none".to_string() } else { items.join(", ") };
        let routes = |routes: &BTreeMap<String, String>| {
            shown(&routes.iter().map(|(net, via)| format!("{net} via {via}")).collect::<Vec<_>>())
        };
        let mut parts = Vec::new();
        let pairs = [
            ("addresses", shown(&self.addresses), shown(&setup.addresses)),
            ("gateway", shown(&self.gateway), shown(&setup.gateway)),
            ("routes", routes(&self.routes), routes(&setup.routes)),
        ];
        for (what, has, wanted) in pairs.iter().filter(|(_, has, wanted)| has != wanted) {
            parts.push(format!("its {what}: {has}, and not {wanted}"));
        }
        if !self.up {
            parts.push("it is down".to_string());
        }
        parts.join("; ")
    }
}
