//! Containers: owned whole, made anew when anything but their running differs.
//! What replaces one, and how it comes back, is in `replace`; when one counts as up, in `gate`.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, RemoveContainerOptions, RestartContainerOptions,
};
use labwright_plan::{
    Action, Consequence, Context, Field, Kind, Observed, OnChange, Ownership, ProviderError, Spec, Step, Value, Wanted,
};
use serde_json::Value as Json;

use super::engine::{found, json, status, told};
use super::image::Images;
use super::reference::parse;
use super::session::{Look, Saying, text};
use super::{ENGINE, adopt, culprit, form, gate, network, prepare, replace, secrets, session};

/// The kind `container`; named as in the engine.
pub const KIND: Kind = Kind {
    name: "container",
    doc: "A container. A new one takes its place when anything but its state differs, and it comes back if that one fails.",
    fields: &[
        anew("image", "What it is made from, with the digest."),
        anew("command", "What it runs, where that is not the image's own."),
        anew("entrypoint", "What runs the command, where that is not the image's own."),
        anew("environment", "Its environment beside the image's."),
        anew("ports", "Its published ports: address, port, port inside."),
        anew("mounts", "What stands at its paths."),
        anew("networks", "The networks it is in, with its names there, or the network of somebody else."),
        anew("healthcheck", "How the engine tells that it works."),
        anew("restart", "What the engine does when it ends."),
        anew("labels", "Its labels beside the image's and the tools'."),
        anew("secrets", "The files with secrets that it was made with; they are in memory alone."),
        anew("owners", "Whom those files belong to, where that is said."),
        anew("files", "The files beside its Compose file that it was made to read, with what they held."),
        anew("beside", "The containers that it lives in the network of, as they were when it was made."),
        anew("options", "All its other settings."),
        Field {
            name: "state",
            doc: "Whether it runs; `ran` for one that runs once.",
            on_change: OnChange::Update,
            consequence: Consequence::Restart,
            content: false,
        },
        told_once(
            "chosen",
            "Those of its ports whose address is left to Labwright; one that was adopted keeps what it has.",
        ),
        told_once("stack", "The stack it belongs to, for Compose's tools."),
        told_once("service", "What it is called in its stack, for Compose's tools."),
        told_once("folder", "The folder of its stack on the host, for Compose's tools."),
        told_once("probe", "What it is asked to tell that it works, where it does not tell by itself."),
        told_once("number", "Which of several containers of its service it is."),
        ENGINE,
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::Downtime,
};

const fn anew(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Replace, consequence: Consequence::Restart, content: false }
}

const fn told_once(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Ignore, consequence: Consequence::None, content: false }
}

/// The container of a name; failing that, the one that Compose knows as this service of this stack.
pub async fn look(docker: &Docker, name: &str, spec: &Spec) -> Look<Json> {
    if let Some(container) = inspect(docker, name).await? {
        return Ok(Some(container));
    }
    let (Some(stack), Some(service)) = (text(spec, "stack"), text(spec, "service")) else { return Ok(None) };
    let number = form::number(spec);
    let filters =
        [("project", stack), ("service", service), ("container-number", number.as_str()), ("oneoff", "False")];
    let labels = filters.map(|(label, value)| format!("com.docker.compose.{label}={value}")).to_vec();
    let options = ListContainersOptions {
        all: true,
        filters: Some(std::collections::HashMap::from([("label".to_string(), labels)])),
        ..Default::default()
    };
    let listed =
        docker.list_containers(Some(options)).await.map_err(|error| told("list containers like", name, error))?;
    for container in listed {
        // What a cut-off replacement left is nobody's container.
        let names = container.names.unwrap_or_default();
        let (Some(id), false) = (container.id, names.iter().any(|name| replace::is_interim(name))) else { continue };
        return inspect(docker, &id).await;
    }
    Ok(None)
}

/// Everything that the engine says about a container.
pub async fn inspect(docker: &Docker, name: &str) -> Look<Json> {
    let container = found("look at container", name, docker.inspect_container(name, None).await)?;
    // The engine also finds containers by the beginning of their ids.
    let fits = |container: &Json| {
        container["Name"].as_str().is_some_and(|known| known.trim_start_matches('/') == name) || container["Id"] == name
    };
    Ok(container.map(|container| json(&container)).filter(fits))
}

pub async fn observe(
    docker: &Docker,
    images: &Images<'_>,
    wanted: &Wanted<'_>,
    replaced: &session::Replaced,
    context: &Context,
) -> Look {
    let Some(container) = look(docker, wanted.id.name(), wanted.spec).await? else { return Ok(None) };
    let id = container["Image"].as_str().unwrap_or_default();
    let image = images.here(id).await?.unwrap_or_default();
    let mut spec = form::seen(&container, &image, wanted.spec, &context.change_key.0);
    adopt::recognise(docker, &container, wanted.spec, &context.change_key.0, &mut spec).await?;
    // A mark keeps a long name as its digest only; the container itself knows what it was made from.
    let made_from = container["Config"]["Labels"][form::IMAGE_LABEL].as_str();
    let asked = text(wanted.spec, "image").or(made_from.filter(|_| wanted.spec.contains_key("image")));
    if let Some(asked) = asked {
        // What a tag stands for is known to its own resource; where nobody can say, that one is blocked.
        let digest = images.resolve(asked).await.unwrap_or_default();
        spec.insert("image".into(), called(&container, &image, asked, &digest).into());
    }
    if let (Some(asked), Some(found)) = (text(wanted.spec, "networks"), text(&spec, "networks"))
        && means(docker, replaced, found, asked).await?
    {
        spec.insert("networks".into(), asked.into());
    }
    if let (Some(Value::Map(asked)), Some(Value::Map(found))) = (wanted.spec.get("options"), spec.get_mut("options")) {
        for shared in ["pid", "ipc"] {
            let said =
                |options: &BTreeMap<String, Value>| options.get(shared).and_then(Value::text).map(str::to_string);
            if let (Some(asked), Some(seen)) = (said(asked), said(found))
                && means(docker, replaced, &seen, &asked).await?
            {
                found.insert(shared.into(), asked.into());
            }
        }
    }
    if spec.contains_key("state") && is_cut_off(docker, &container).await? {
        spec.insert("state".into(), CUT_OFF.into());
    }
    // Of what is only marked there may be fewer fields, from an older version.
    spec.retain(|field, _| wanted.spec.is_empty() || wanted.spec.contains_key(field));
    Ok(Some(Observed { spec, data: None }))
}

/// It runs in the network of a container that has stopped, is ill, or was started again since, with a network anew.
const CUT_OFF: &str = "cut off";

async fn is_cut_off(docker: &Docker, container: &Json) -> Result<bool, ProviderError> {
    let mode = container["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
    let (Some(other), true) = (mode.strip_prefix("container:"), container["State"]["Running"] == true) else {
        return Ok(false);
    };
    let Some(other) = inspect(docker, other).await? else { return Ok(true) };
    // RFC 3339 in UTC with as many digits as are needed: without the `Z` texts are in the order of time.
    let started = |container: &Json| {
        container["State"]["StartedAt"].as_str().unwrap_or_default().trim_end_matches('Z').to_string()
    };
    Ok(form::state(&other) != "running" || started(&other) > started(container))
}

/// Whether what the engine says a container shares, `container:ID`, is what was asked for, `container:NAME`.
async fn means(docker: &Docker, replaced: &session::Replaced, found: &str, asked: &str) -> Result<bool, ProviderError> {
    let Some(id) = found.strip_prefix("container:") else { return Ok(false) };
    Ok(lives_with(docker, id, asked).await? || lived_with(replaced, id, asked))
}

/// Whether the container of an id is the one that `container:NAME` means today: the engine keeps the id, the lab the name.
async fn lives_with(docker: &Docker, id: &str, asked: &str) -> Result<bool, ProviderError> {
    let Some(other) = inspect(docker, id).await? else { return Ok(false) };
    let label =
        |label: &str| other["Config"]["Labels"][format!("com.docker.compose.{label}")].as_str().unwrap_or_default();
    let of_stack = format!("container:{}-{}-{}", label("project"), label("service"), label("container-number"));
    let name = other["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    Ok(asked.strip_prefix("container:") == Some(name) || asked == of_stack)
}

/// Whether that was so until this very run put another container in its place.
fn lived_with(replaced: &session::Replaced, id: &str, asked: &str) -> bool {
    let replaced = replaced.lock().unwrap_or_else(PoisonError::into_inner);
    replaced.get(id).is_some_and(|name| asked.strip_prefix("container:") == Some(name))
}

/// What a container's image is called: as it is asked for, where it is another one of the same repository.
fn called(container: &Json, image: &Json, asked: &str, digest: &str) -> String {
    let of = |name: &str| {
        let name = name.split('@').next().unwrap_or(name);
        match image.is_null() {
            // Somebody removed it under the running container.
            true => format!("{name}@{}", container["Image"].as_str().unwrap_or_default()),
            false => format!("{name}@{}", Images::called(image, parse(name).repository, digest)),
        }
    };
    let made_from = container["Config"]["Image"].as_str().unwrap_or_default();
    // By the name that it was made with: another tag is another wish, and nothing that was changed by hand.
    let label = container["Config"]["Labels"][form::IMAGE_LABEL].as_str().filter(|name| !name.is_empty());
    let (made, wish) = (parse(made_from), parse(asked));
    let same_tag = label.is_some() || made.digest.is_some() || made.tag == wish.tag;
    let same = (made.repository == wish.repository && same_tag) || made_from.starts_with("sha256:");
    of(if same || image.is_null() { label.unwrap_or(asked) } else { made_from })
}

pub async fn apply(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    if step.action == Action::Delete {
        replace::clear(docker, name).await?;
        if let Some(container) = look(docker, name, &step.spec).await? {
            let id = container["Id"].as_str().unwrap_or(name);
            replace::stop(docker, id, saying).await?;
            remove(docker, id).await?;
        }
        return secrets::sweep(saying.context, name, None);
    }
    let made = up(docker, step, saying).await;
    // What came back has what it had; what nobody has any more goes.
    if made.is_ok() {
        secrets::sweep(saying.context, name, Some(&step.spec))?;
    }
    made
}

async fn up(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    if let Some(made) = prepare::take(docker, step, saying).await? {
        match made.old {
            None => return create(docker, step, Some(made.id), saying).await,
            Some(old) => {
                if let Some(old) = inspect(docker, &old).await? {
                    return replace::replace(docker, step, &old, Some(made.id), saying).await;
                }
            }
        }
    }
    replace::clear(docker, name).await?;
    match look(docker, name, &step.spec).await? {
        None => create(docker, step, None, saying).await,
        Some(container) if step.action == Action::Update => bring_up(docker, step, &container, saying).await,
        Some(container) => replace::replace(docker, step, &container, None, saying).await,
    }
}

/// Makes it under its own name, unless one was made for it already, and waits until it is up.
async fn create(docker: &Docker, step: &Step, made: Option<String>, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    let turn = saying.starting.turn();
    let id = match made {
        Some(made) => {
            if let Err(error) = replace::rename(docker, &made, name).await {
                remove(docker, &made).await?;
                return Err(error);
            }
            made
        }
        None => make(docker, name, name, &step.spec, &BTreeMap::new(), saying).await?,
    };
    if let Err(error) = start(docker, &id, name).await {
        // It never ran: nothing is to be learned from it, and its name is free for the next attempt.
        remove(docker, &id).await?;
        return Err(culprit::of_port(docker, &step.spec, error).await);
    }
    drop(turn);
    gate::wait(docker, &id, gate::Goal::of(&step.spec), saying).await
}

/// Refuses to start again what would be cut off as before: the container whose network it lives in has to be well first.
async fn can_live_there(docker: &Docker, name: &str, container: &Json) -> Result<(), ProviderError> {
    let mode = container["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
    let other = inspect(docker, mode.trim_start_matches("container:")).await?;
    let state = other.as_ref().map_or_else(|| "gone".to_string(), form::state);
    if state == "running" {
        return Ok(());
    }
    let other = other.as_ref().and_then(|other| other["Name"].as_str()).unwrap_or(mode).trim_start_matches('/');
    let message = format!("`{name}` lives in the network of container `{other}`, which is {state}");
    Err(ProviderError::rejected(message)
        .help(format!("mend that one first: `docker logs {other}` on the host says more")))
}

/// What is stopped is started; what is sick is started again.
async fn bring_up(docker: &Docker, step: &Step, container: &Json, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let (name, id) = (step.id.name(), container["Id"].as_str().unwrap_or_default());
    match form::state(container).as_str() {
        "running" if is_cut_off(docker, container).await? => {
            can_live_there(docker, name, container).await?;
            saying.say("starting it again: the network that it lives in was made anew");
            restart(docker, id, name).await?;
        }
        "running" => {}
        "paused" => docker.unpause_container(id).await.map_err(|error| told("go on with container", name, error))?,
        "unhealthy" | "restarting" => {
            saying.say("starting it again");
            restart(docker, id, name).await?;
        }
        _ => {
            if let Err(error) = start(docker, id, name).await {
                return Err(culprit::of_port(docker, &step.spec, error).await);
            }
        }
    }
    gate::wait(docker, id, gate::Goal::of(&step.spec), saying).await
}

/// Waits for one that is as declared until it is up. One that has run for a while has shown that already.
pub async fn settle(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let Some(container) = look(docker, step.id.name(), &step.spec).await? else { return Ok(()) };
    if form::state(&container) != "running" || gate::has_lasted(&container, gate::Goal::of(&step.spec)) {
        return Ok(());
    }
    let id = container["Id"].as_str().unwrap_or_default();
    gate::wait(docker, id, gate::Goal::of(&step.spec), saying).await
}

/// Makes a container and puts it into its networks, without starting it. Returns its id.
pub async fn make(
    docker: &Docker,
    name: &str,
    made_as: &str,
    spec: &Spec,
    carried: &BTreeMap<String, String>,
    saying: &Saying<'_>,
) -> Result<String, ProviderError> {
    let image = image_of(docker, spec, name).await?;
    let secrets = secrets::write(saying.context, name, spec)?;
    let environment = secrets::environment(saying.context, name, spec)?;
    let body = form::body(spec, name, &image, carried, &secrets, &environment);
    tell_of_folders(&body, saying);
    can_all(docker, name, &body)?;
    let body: ContainerCreateBody = serde_json::from_value(body)
        .map_err(|error| ProviderError::bug(format!("cannot spell container `{name}`: {error}")))?;
    let platform = spec.get("options").map(json).and_then(|options| Some(options["platform"].as_str()?.to_string()));
    let options = CreateContainerOptions { name: Some(made_as.into()), platform: platform.unwrap_or_default() };
    let made =
        docker.create_container(Some(options), body).await.map_err(|error| told("make container", name, error))?;
    if let Some(Value::Map(networks)) = spec.get("networks") {
        for (other, endpoint) in networks.iter().skip(1) {
            if let Err(error) = network::join(docker, other, &made.id, form::endpoint(endpoint)).await {
                remove(docker, &made.id).await?;
                return Err(error);
            }
        }
    }
    let handed = secrets::hand_over(saying.context, docker, name, &made.id, spec, &image).await;
    if let Err(error) = handed {
        remove(docker, &made.id).await?;
        return Err(error);
    }
    Ok(made.id)
}

/// The version of the API from which on each setting means anything; older engines leave it out without a word.
const SINCE: &[(&str, usize, &str)] =
    &[("/HostConfig/Annotations", 43, "annotations"), ("/Healthcheck/StartInterval", 44, "healthcheck.start_interval")];

/// Refuses what the engine would leave out in silence.
fn can_all(docker: &Docker, name: &str, body: &Json) -> Result<(), ProviderError> {
    let version = docker.client_version();
    let has = |minor| (version.major_version, version.minor_version) >= (1, minor);
    let late = |said: &str, minor: usize| {
        let message = format!("the engine knows no `{said}` yet, which container `{name}` asks for");
        Err(ProviderError::rejected(message).help(format!(
            "it speaks version {}.{} of Docker's API and that came with 1.{minor}: take it out, or update the engine",
            version.major_version, version.minor_version
        )))
    };
    if let Some((_, minor, said)) =
        SINCE.iter().find(|(at, minor, _)| !has(*minor) && !body.pointer(at).is_none_or(Json::is_null))
    {
        return late(said, *minor);
    }
    let mut mounts = body["HostConfig"]["Mounts"].as_array().into_iter().flatten();
    if !has(45) && mounts.any(|mount| mount["VolumeOptions"]["Subpath"].is_string()) {
        return late("volume.subpath", 45);
    }
    let mut endpoints =
        body["NetworkingConfig"]["EndpointsConfig"].as_object().into_iter().flat_map(|all| all.values());
    if !has(48) && endpoints.any(|endpoint| !endpoint["GwPriority"].is_null()) {
        return late("gw_priority", 48);
    }
    Ok(())
}

/// Says which paths of the host are not there: the engine makes folders of them, whatever was meant.
pub fn tell_of_folders(body: &Json, saying: &Saying<'_>) {
    let binds = body["HostConfig"]["Binds"].as_array().into_iter().flatten().filter_map(Json::as_str);
    for path in binds.filter_map(|bind| bind.split(':').next()).filter(|path| path.starts_with('/')) {
        if !std::path::Path::new(path).exists() {
            saying.say(&format!("`{path}` is not there: the engine makes an empty folder of it"));
        }
    }
}

/// The name that the engine knows the container's image by.
async fn image_of(docker: &Docker, spec: &Spec, name: &str) -> Result<String, ProviderError> {
    let asked = text(spec, "image").unwrap_or_default();
    let reference = parse(asked);
    let digest = reference
        .digest
        .ok_or_else(|| ProviderError::bug(format!("nobody said which digest the image of `{name}` has")))?;
    let whole = format!("{}@{digest}", reference.repository);
    let known = found("look at image", &whole, docker.inspect_image(&whole).await)?;
    Ok(if known.is_some() { whole } else { digest.to_string() })
}

pub async fn restart(docker: &Docker, id: &str, name: &str) -> Result<(), ProviderError> {
    let options = None::<RestartContainerOptions>;
    docker.restart_container(id, options).await.map_err(|error| told("restart container", name, error))
}

pub async fn start(docker: &Docker, id: &str, name: &str) -> Result<(), ProviderError> {
    docker.start_container(id, None).await.map_err(|error| told("start container", name, error))
}

/// Removes a container. Its volumes stay, those without a name too.
pub async fn remove(docker: &Docker, id: &str) -> Result<(), ProviderError> {
    remove_with(docker, id, false).await
}

/// Removes a container that never ran, with the volumes that were made for it alone and have no name: nobody wrote to them.
pub async fn remove_unused(docker: &Docker, id: &str) -> Result<(), ProviderError> {
    remove_with(docker, id, true).await
}

async fn remove_with(docker: &Docker, id: &str, v: bool) -> Result<(), ProviderError> {
    let options = RemoveContainerOptions { force: true, v, ..Default::default() };
    match docker.remove_container(id, Some(options)).await {
        Err(error) if status(&error) != Some(404) => Err(told("remove container", id, error)),
        _ => Ok(()),
    }
}
