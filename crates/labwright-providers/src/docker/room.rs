//! Room for networks: an engine has about thirty by itself, each far larger than a service needs. A small one is found here
//! where nobody on this machine is yet, nor in the lab. Takes nothing itself: the engine does, and says where it cannot.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use bollard::Docker;
use bollard::query_parameters::ListNetworksOptions;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use labwright_plan::{ErrorKind, ProviderError, ResourceId, Spec, Value};
use serde_json::Value as Json;
use tokio::sync::Mutex;

use super::engine::{json, told};
use super::network::{self, APART};
use super::session::Saying;
use crate::host::command::{SHORT, run};

/// Bits of a network's prefix: sixty-one containers and this machine.
const PREFIX: u8 = 26;
/// Somebody else may have taken the same room in the same moment.
pub const ATTEMPTS: usize = 5;

/// Those that choose here do so one after the other: two at once would choose the same.
pub type Turn = Mutex<()>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// Blocks that are tried: those of 172.16.0.0/12 that an engine takes last by itself, then some that few have.
fn blocks() -> impl Iterator<Item = Ipv4Net> {
    let first = (16..=30).rev().map(|second| (172, second));
    let then = (250..=254).rev().map(|second| (10, second));
    first.chain(then).filter_map(|(first, second)| Ipv4Net::new(Ipv4Addr::new(first, second, 0, 0), 16).ok())
}

fn overlaps(room: &IpNet, other: &IpNet) -> bool {
    room.contains(other) || other.contains(room)
}

/// The first room that nothing of what is taken reaches into.
pub fn free(taken: &[IpNet]) -> Option<IpNet> {
    let mut rooms = blocks().flat_map(|block| block.subnets(PREFIX).into_iter().flatten()).map(IpNet::V4);
    rooms.find(|room| !taken.iter().any(|other| overlaps(room, other)))
}

/// As `free`, of an engine's own /48 of unique local addresses, which follows from its id as RFC 4193 asks: nobody else has it.
fn free_v6(taken: &[IpNet], engine: &str) -> Option<IpNet> {
    let hash = blake3::hash(engine.as_bytes());
    let global = hash.as_bytes().first_chunk::<6>().map(|bytes| bytes.map(u16::from))?;
    let [a, b, c, d, e, _] = global;
    let room = |number| {
        let address = Ipv6Addr::new(0xfd00 | a, b << 8 | c, d << 8 | e, number, 0, 0, 0, 0);
        Ipv6Net::new(address, 64).ok().map(IpNet::V6)
    };
    let mut rooms = (0..=u16::MAX).filter_map(room);
    rooms.find(|room| !taken.iter().any(|other| overlaps(room, other)))
}

pub fn nothing_left() -> ProviderError {
    ProviderError::rejected("no addresses are left for a network of containers on this machine").help(
        "`docker network prune` removes networks that nothing is in; or say which are free, in the Compose file: \
         `networks: { default: { ipam: { config: [{ subnet: 10.200.0.0/26 }] } } }`",
    )
}

/// As engines say it: Docker's "Pool overlaps with other one on this address space", Podman's "is already used on the host".
pub fn is_taken(error: &ProviderError) -> bool {
    ["overlap", "already used"].iter().any(|words| error.message.contains(words)) && !is_out(error)
}

/// Whether an engine has no room by itself: Docker before 28, Docker since, Podman.
pub fn is_out(error: &ProviderError) -> bool {
    let said =
        ["non-overlapping IPv", "predefined address pools have been fully subnetted", "could not find free subnet"];
    error.kind == ErrorKind::Rejected && said.iter().any(|words| error.message.contains(words))
}

/// Makes a network: with room of the engine's own while it has some, then with one that is found here. What the lab says of
/// its addresses is left as it is.
pub async fn create(docker: &Docker, id: &ResourceId, spec: &Spec, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let asks = |field: &str, unsaid: bool| match spec.get(field) {
        Some(Value::Bool(asked)) => *asked,
        _ => unsaid,
    };
    let (v4, v6) = (asks("ipv4", true), asks("ipv6", false));
    let is_ours_to_choose = may_choose(spec);
    let mut chosen = BTreeSet::new();
    let mut turn = None;
    let mut attempt = 0;
    loop {
        let mut spec = spec.clone();
        if !chosen.is_empty() {
            if turn.is_none() {
                turn = Some(saying.room.lock().await);
            }
            let rooms = choose(docker, &spec, &chosen).await?;
            let names = rooms.iter().map(|room| format!("`{room}`")).collect::<Vec<_>>().join(" and ");
            saying.say(&format!("the engine has no address pool left; `{}` gets {names}", id.name()));
            spec.insert("subnets".into(), subnets(&rooms));
        }
        let error = match network::create(docker, id, &spec).await {
            Err(error) if is_ours_to_choose => error,
            made => return made,
        };
        // The newer words do not say of which family: that of which there are always few comes first.
        let lacks = match error.message.contains("IPv6") || !v4 || chosen.contains(&Family::V4) {
            true => Family::V6,
            false => Family::V4,
        };
        let asked = if lacks == Family::V4 { v4 } else { v6 };
        attempt += 1;
        let again = is_taken(&error) && !chosen.is_empty() && attempt < ATTEMPTS;
        let another = is_out(&error) && asked && chosen.insert(lacks);
        if !another && !again {
            return Err(error);
        }
    }
}

/// Whether the lab leaves the addresses of a network to others, and it is one that has this machine in it.
pub fn may_choose(spec: &Spec) -> bool {
    let said = ["subnets", "ipam_driver", "ipam_options"].iter().any(|field| spec.contains_key(*field));
    !said && spec.get("driver").and_then(Value::text) == Some("bridge")
}

pub fn subnets(rooms: &[IpNet]) -> Value {
    let subnet = |room: &IpNet| Value::Map([("Subnet".to_string(), Value::from(room.to_string()))].into());
    Value::List(rooms.iter().map(subnet).collect())
}

async fn choose(docker: &Docker, spec: &Spec, families: &BTreeSet<Family>) -> Result<Vec<IpNet>, ProviderError> {
    let mut taken = taken(docker).await?;
    taken.extend(apart(spec)?);
    let mut rooms = Vec::new();
    if families.contains(&Family::V4) {
        rooms.push(free(&taken).ok_or_else(nothing_left)?);
    }
    if families.contains(&Family::V6) {
        let info = docker.info().await.map_err(|error| told("ask for the id of", "the engine", error))?;
        let id = info.id.ok_or_else(|| ProviderError::rejected("the engine does not say its id"))?;
        rooms.push(free_v6(&taken, &id).ok_or_else(nothing_left)?);
    }
    Ok(rooms)
}

/// What the lab says that a network is not to reach into.
pub fn apart(spec: &Spec) -> Result<Vec<IpNet>, ProviderError> {
    let said = spec.get(APART).and_then(Value::list).unwrap_or_default();
    let read = |subnet: &Value| subnet.text().and_then(|text| text.parse().ok());
    said.iter()
        .map(|one| read(one).ok_or_else(|| ProviderError::bug("a subnet of the lab came as no subnet")))
        .collect()
}

/// Where the engine has networks, and where this machine is and its routes lead beside the default.
///
/// # Errors
/// The engine's own. What cannot be read is not room.
pub async fn taken(docker: &Docker) -> Result<Vec<IpNet>, ProviderError> {
    let networks = docker.list_networks(None::<ListNetworksOptions>).await;
    let networks = json(&networks.map_err(|error| told("list networks of", "the engine", error))?);
    let pools = networks.as_array().into_iter().flatten().flat_map(|network| network["IPAM"]["Config"].as_array());
    let said = pools.flatten().filter_map(|pool| pool["Subnet"].as_str()).filter(|subnet| !subnet.is_empty());
    let mut taken = Vec::new();
    for subnet in said {
        taken.push(subnet.parse().map_err(|_| {
            ProviderError::rejected(format!("the engine has a network in `{subnet}`, which is no subnet"))
                .help("`docker network inspect $(docker network ls -q)` shows whose it is")
        })?);
    }
    taken.extend(of_this_machine()?);
    Ok(taken)
}

fn of_this_machine() -> Result<Vec<IpNet>, ProviderError> {
    let told = |family: &str| {
        let said = run("ip", &["-json", family, "route", "show", "table", "all"], SHORT)?.require()?.stdout;
        // An empty table is no text at all.
        read_routes(if said.trim().is_empty() { "[]" } else { &said })
    };
    match (told("-4"), told("-6")) {
        (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
        // Without iproute2, the kernel itself tells what its main table has.
        _ => {
            let path = "/proc/net/route";
            let text = std::fs::read_to_string(path).map_err(|error| {
                ProviderError::rejected(format!("cannot tell which addresses are taken here: `{path}`: {error}"))
                    .help("install `iproute2`, or say the subnet of the network yourself")
            })?;
            Ok(main_table(&text))
        }
    }
}

/// As `ip -json route show table all` tells them. What leads nowhere on purpose is nobody's.
fn read_routes(text: &str) -> Result<Vec<IpNet>, ProviderError> {
    let routes: Vec<Json> = serde_json::from_str(text).map_err(|error| {
        ProviderError::rejected(format!("what `ip -json route show table all` says is not understood: {error}"))
    })?;
    let nowhere = ["blackhole", "unreachable", "prohibit", "throw", "multicast"];
    let leads = |route: &&Json| route["type"].as_str().is_none_or(|kind| !nowhere.contains(&kind));
    let to = |route: &Json| {
        let to = route["dst"].as_str().filter(|to| *to != "default")?;
        to.parse::<IpNet>().ok().or_else(|| to.parse::<std::net::IpAddr>().ok().map(IpNet::from))
    };
    Ok(routes.iter().filter(leads).filter_map(to).filter(|net| net.prefix_len() > 0).collect())
}

/// The networks that routes lead to: destination and mask in hexadecimal, in the machine's own order of bytes; proc(5).
fn main_table(text: &str) -> Vec<IpNet> {
    let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (to, mask) = (address(fields.get(1)?)?, address(fields.get(7)?)?);
        Ipv4Net::with_netmask(to, mask).ok().filter(|net| net.prefix_len() > 0).map(IpNet::V4)
    };
    text.lines().skip(1).filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn room_is_where_nobody_is() {
        assert_eq!(free(&[]), Some(net("172.30.0.0/26")));
        assert_eq!(free(&[net("172.30.0.0/26"), net("172.30.0.64/28")]), Some(net("172.30.0.128/26")));
        assert_eq!(free(&[net("172.30.0.0/16"), net("172.28.0.0/15")]), Some(net("172.27.0.0/26")));
        assert_eq!(free(&[net("172.16.0.0/12")]), Some(net("10.254.0.0/26")));
        assert_eq!(free(&[net("172.16.0.0/12"), net("10.0.0.0/8")]), None);
    }

    #[test]
    fn an_engine_has_its_own_unique_local_addresses() {
        let first = free_v6(&[], "engine-1").unwrap();
        assert!(net("fd00::/8").contains(&first) && first.prefix_len() == 64, "{first}");
        assert_eq!(free_v6(&[], "engine-1"), Some(first));
        let next = free_v6(&[first], "engine-1").unwrap();
        assert!(!overlaps(&first, &next) && free_v6(&[], "engine-2") != Some(first));
        let whole = Ipv6Net::new(first.addr().to_string().parse().unwrap(), 48).unwrap();
        assert!(IpNet::V6(whole.trunc()).contains(&next), "{next} is in the same /48 as {first}");
        assert_eq!(free_v6(&[net("fc00::/7")], "engine-1"), None);
    }

    #[test]
    fn routes_of_all_tables_are_taken_and_those_to_nowhere_are_not() {
        let text = r#"[{"dst":"default","gateway":"10.0.0.1","dev":"eth0"},{"dst":"10.0.0.0/24","dev":"eth0"},
            {"dst":"100.64.0.7","dev":"tailscale0","table":"52"},{"type":"local","dst":"10.0.0.5","dev":"eth0"},
            {"type":"blackhole","dst":"172.16.0.0/12"},{"type":"unreachable","dst":"default"},{"dst":"fd00:20::/64"}]"#;
        let found = read_routes(text).unwrap();
        assert_eq!(found, ["10.0.0.0/24", "100.64.0.7/32", "10.0.0.5/32", "fd00:20::/64"].map(net));
        assert!(read_routes("Object \"-json\" is unknown").unwrap_err().message.contains("not understood"));
    }

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        if cfg!(target_endian = "big") {
            return;
        }
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t00001EAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(main_table(text), [net("172.30.0.0/16")]);
    }

    #[test]
    fn an_engine_without_room_is_told_from_one_where_the_room_is_taken() {
        let error = |said: &str| ProviderError::rejected(format!("cannot make network `a_default`: {said}"));
        let v4 = "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network";
        for said in [v4, &v4.replace("IPv4", "IPv6"), "all predefined address pools have been fully subnetted"] {
            assert!(is_out(&error(said)) && !is_taken(&error(said)), "{said}");
        }
        let taken = error("Pool overlaps with other one on this address space");
        assert!(is_taken(&taken) && !is_out(&taken));
    }
}
