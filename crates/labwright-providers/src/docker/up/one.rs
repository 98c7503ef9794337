//! One container: made from its image, started, and waited for until it is up.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use labwright_plan::{ProviderError, ResourceId, Spec, Value};
use serde_json::Value as Json;
use tokio::net::TcpStream;

use super::super::gate::{self, Goal};
use super::super::session::text;
use super::super::{NAME, container, culprit};
use super::attend::Hub;
use super::unit::{change, fresh, is_current, laid};
use super::{LABEL, Made, Stack, fixed, ground, lines, lower, secrets};

/// What cannot run at all ends within this.
const RUNS: [u64; 4] = [15, 25, 40, 60];
/// A connection to a container of this machine that takes longer is none.
const CONNECT: Duration = Duration::from_millis(500);
/// How long a port may take to be opened.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause before the next attempt is this part of the time since the start.
const PART: u32 = 40;
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(500);

/// Why a container is not up.
pub enum Fault {
    /// It could not be made or started.
    Made(ProviderError),
    /// It ran, and did not come up.
    Ran(String),
}

impl Fault {
    /// In words, in which the container is called as in its file.
    pub fn words(&self, name: &str, key: &str) -> String {
        match self {
            Fault::Made(error) if error.help.is_empty() => error.message.clone(),
            Fault::Made(error) => format!("{} ({})", error.message, error.help),
            Fault::Ran(why) => why.replace(name, key),
        }
    }
}

/// Makes a container, without starting it. Returns the engine's number of it.
pub async fn made(hub: &Rc<Hub>, stack: &Stack, made: &Made, tell: &dyn Fn(&str)) -> Result<String, ProviderError> {
    let cell = hub
        .units
        .borrow_mut()
        .get_mut(&stack.unit)
        .and_then(|state| Some(fresh(&mut state.containers.get_mut(&made.name)?.made)))
        .unwrap_or_default();
    let id = cell.get_or_init(async || make(hub, stack, made, tell).await).await.clone();
    hub.show(&stack.unit);
    id
}

async fn make(hub: &Rc<Hub>, stack: &Stack, made: &Made, tell: &dyn Fn(&str)) -> Result<String, ProviderError> {
    let (image, named) = ground::image(hub, made, tell).await?;
    let _turn = hub.making.acquire().await.map_err(|error| ProviderError::bug(error.to_string()))?;
    laid(hub, stack).await?;
    let gateway = ground::gateway(hub, made);
    let mut spec = made.spec.clone();
    spec.insert("image".into(), named.into());
    lower::put_gateway(&mut spec, gateway);
    fixed::name(hub, &made.name, &mut spec);
    name_volumes(hub, stack, made, &image, &mut spec).await?;
    let places = secrets::write(hub, made, &mut spec)?;
    let id = ResourceId::new("here", NAME, "container", &made.name);
    let saying = hub.saying(&id);
    if hub.ended.get() {
        return Err(ProviderError::rejected("everything is ending"));
    }
    // One of our own that was left is not in the way.
    if let Some(found) = container::inspect(&hub.docker, &made.name).await? {
        ground::is_ours(hub, "container", &made.name, &found["Config"]["Labels"])?;
        container::remove(&hub.docker, found["Id"].as_str().unwrap_or(&made.name)).await?;
    }
    let id = container::make(&hub.docker, &made.name, &made.name, &spec, &Default::default(), &saying).await?;
    let options = spec.get("options").map(super::super::engine::json).unwrap_or_default();
    let user = options["user"].as_str().or(image["Config"]["User"].as_str()).unwrap_or_default();
    secrets::hand_over(&hub.docker, &id, user, &places).await?;
    ground::be_met(hub, stack, &made.name, &id).await?;
    Ok(id)
}

/// What an image keeps in volumes without a name has one here: it stays when the lab is down, and is found again.
async fn name_volumes(
    hub: &Hub,
    stack: &Stack,
    made: &Made,
    image: &Json,
    spec: &mut Spec,
) -> Result<(), ProviderError> {
    let targets: Vec<String> =
        image["Config"]["Volumes"].as_object().into_iter().flatten().map(|(target, _)| target.clone()).collect();
    for target in targets {
        let Some(Value::List(mounts)) = spec.get_mut("mounts") else { return Ok(()) };
        let is = |mount: &Value| mount.text().is_some_and(|text| text.split(':').nth(1) == Some(target.as_str()));
        if mounts.iter().any(is) {
            continue;
        }
        let stem = made.name.trim_end_matches("-1");
        let name = format!("{stem}{}", target.replace('/', "_"));
        mounts.push(format!("{name}:{target}").into());
        let labels = Value::Map([(format!("{LABEL}.unit"), Value::from(stack.unit.as_str()))].into());
        let volume = Spec::from([
            ("driver".to_string(), Value::from("local")),
            ("options".to_string(), Value::Map(Default::default())),
            ("labels".to_string(), labels),
        ]);
        ground::one_volume(hub, &name, &volume).await?;
    }
    Ok(())
}

/// Starts a container, and waits until it is up.
pub async fn bring(hub: &Rc<Hub>, stack: &Stack, one: &Made, attempt: u64) -> Result<(), Fault> {
    let unit = stack.unit.as_str();
    let id = ResourceId::new("here", NAME, "container", &one.name);
    let say = |text: &str| hub.saying(&id).say(text);
    let mut number = made(hub, stack, one, &say).await.map_err(Fault::Made)?;
    if !is_current(hub, unit, attempt) {
        return Ok(());
    }
    let there = container::inspect(&hub.docker, &number).await.map_err(Fault::Made)?;
    if !is_current(hub, unit, attempt) {
        return Ok(());
    }
    if there.is_none() {
        // Somebody removed it by hand.
        change(hub, unit, &one.name, |one| one.made = Default::default());
        number = made(hub, stack, one, &say).await.map_err(Fault::Made)?;
    }
    ground::meet(hub, stack).await.map_err(Fault::Made)?;
    change(hub, unit, &one.name, |one| (one.word, one.waiting, one.code) = ("starting", true, None));
    {
        let _turn = hub.turns.acquire().await.map_err(|error| Fault::Made(ProviderError::bug(error.to_string())))?;
        if !is_current(hub, unit, attempt) {
            return Ok(());
        }
        if let Err(error) = container::start(&hub.docker, &number, &one.name).await {
            return Err(Fault::Made(culprit::of_port(&hub.docker, &one.spec, error).await));
        }
    }
    let prefix = (stack.containers.len() > 1).then(|| one.key.clone());
    change(hub, unit, &one.name, |state| {
        let told = state.told.clone();
        let follow = lines::follow(hub.clone(), unit.to_string(), prefix, number.clone(), told);
        state.log = Some(tokio::task::spawn_local(follow));
    });
    if !stack.once {
        up(hub, unit, one, &number, &id).await?;
    }
    // What ended in this very moment was heard by whoever waited.
    let inspect = container::inspect(&hub.docker, &number).await.map_err(Fault::Made)?.unwrap_or_default();
    let state = &inspect["State"];
    let code = state["ExitCode"].as_i64().unwrap_or_default();
    let runs = state["Running"] == true;
    if !runs && code != 0 {
        return Err(Fault::Ran(ended(&one.key, code, state)));
    }
    let word = match state["Health"]["Status"].as_str() {
        _ if !runs => "ended",
        Some("healthy" | "starting") => "healthy",
        _ => "running",
    };
    let shall_stay = one.spec.contains_key("probe") && !is_once(one) && !stack.once;
    let stays = !one.restart.starts_with("on-failure") && one.restart != "no";
    if !runs && (shall_stay || (stays && !is_once(one) && !stack.once)) {
        return Err(Fault::Ran(ended(&one.key, code, state)));
    }
    change(hub, unit, &one.name, |one| {
        (one.word, one.up, one.waiting, one.code) = (word, true, false, (!runs).then_some(code));
    });
    Ok(())
}

/// Whether it does its work and ends, and others wait for that.
pub fn is_once(made: &Made) -> bool {
    text(&made.spec, "state") == Some("ran")
}

/// How a container ended, in words.
pub fn ended(key: &str, code: i64, state: &Json) -> String {
    let more = match (state["OOMKilled"] == true, state["Error"].as_str().filter(|error| !error.is_empty())) {
        (true, _) => ": it had no memory left",
        (false, Some(error)) => return format!("`{key}` ended with exit code {code}: {error}"),
        (false, None) => "",
    };
    format!("`{key}` ended with exit code {code}{more}")
}

/// Waits until a container that was started is up: as its health check tells, or as its port does, or as long as what cannot
/// run at all takes to end.
async fn up(hub: &Rc<Hub>, unit: &str, made: &Made, number: &str, id: &ResourceId) -> Result<(), Fault> {
    let inspect = container::inspect(&hub.docker, number).await.map_err(Fault::Made)?.unwrap_or_default();
    let health = inspect["State"]["Health"].is_object() && inspect["State"]["Health"]["Status"] != "none";
    if is_once(made) || health {
        let goal = if is_once(made) { Goal::Ran } else { Goal::Up };
        let waited = gate::wait(&hub.docker, number, goal, &hub.saying(id)).await;
        return waited.map_err(|error| Fault::Ran(error.message));
    }
    let over = || hub.units.borrow().get(unit).and_then(|state| state.containers.get(&made.name)?.code);
    let door = text(&made.spec, "probe").and_then(|port| port.parse::<u16>().ok());
    let Some((port, address)) = door.zip(address(&inspect)) else {
        for pause in RUNS {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if over().is_some() {
                return Ok(());
            }
        }
        return Ok(());
    };
    let begun = Instant::now();
    let mut told = false;
    while over().is_none() {
        if connects(address, port, made).await {
            return Ok(());
        }
        if !told && begun.elapsed() > Duration::from_secs(1) {
            told = true;
            hub.saying(id).say(&format!("nothing takes connections on port {port} of `{}` yet", made.key));
        }
        if begun.elapsed() > PATIENCE {
            let limit = PATIENCE.as_secs();
            return Err(Fault::Ran(format!("`{}` takes no connections on port {port} after {limit} s", made.key)));
        }
        tokio::time::sleep((begun.elapsed() / PART).clamp(SHORTEST, LONGEST)).await;
    }
    Ok(())
}

fn address(inspect: &Json) -> Option<IpAddr> {
    let networks = inspect["NetworkSettings"]["Networks"].as_object().into_iter().flat_map(|all| all.values());
    networks.filter_map(|network| network["IPAddress"].as_str()?.parse().ok()).next()
}

async fn connects(address: IpAddr, port: u16, made: &Made) -> bool {
    let to = async |address: SocketAddr| tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
    match to((address, port).into()).await {
        Ok(Ok(_)) => true,
        // It is there, and does not listen.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => false,
        // An engine without root has its networks where this machine does not reach them; what it publishes it does.
        Ok(Err(_)) | Err(_) => {
            let ports = made.spec.get("ports").and_then(Value::list).unwrap_or_default();
            let here = ports.iter().filter_map(Value::text).find_map(|text| {
                let mut parts = text.split('/').next()?.rsplit(':');
                let (inside, here) = (parts.next()?.parse::<u16>().ok()?, parts.next()?.parse::<u16>().ok()?);
                (inside == port).then_some(here)
            });
            match here {
                Some(here) => matches!(to((std::net::Ipv4Addr::LOCALHOST, here).into()).await, Ok(Ok(_))),
                None => false,
            }
        }
    }
}
