//! Volumes: data. They are made and left alone; what they are made of is never changed, and none goes without being named.

use std::collections::BTreeMap;

use bollard::Docker;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;
use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, Step, Value, Wanted,
};
use serde_json::{Value as Json, json as object};

use super::engine::{found, json, status, told};
use super::options::to_value;
use super::session::{Look, text};
use super::stack::Volume;
use super::{ENGINE, culprit};

/// The kind `volume`; named as in the engine.
pub const KIND: Kind = Kind {
    name: "volume",
    doc: "A volume. It holds data: only `--delete-data` with its id removes it.",
    fields: &[
        field("driver", "What keeps it."),
        field("options", "Settings of the driver."),
        Field {
            name: "labels",
            doc: "Its labels, given when it is made.",
            on_change: OnChange::Ignore,
            consequence: Consequence::None,
            content: false,
        },
        Field {
            name: "stack",
            doc: "The stack it is made for.",
            on_change: OnChange::Ignore,
            consequence: Consequence::None,
            content: false,
        },
        ENGINE,
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::DestroysData,
};

const fn field(name: &'static str, doc: &'static str) -> Field {
    Field { name, doc, on_change: OnChange::Replace, consequence: Consequence::DestroysData, content: false }
}

/// What is asked of a volume.
pub fn lower(resource: Resource, volume: &Volume) -> Resource {
    let texts = |map: &BTreeMap<String, String>| {
        Value::Map(map.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect())
    };
    resource
        .with("driver", volume.driver.as_deref().unwrap_or("local"))
        .with("options", texts(&volume.options))
        .with_some("labels", (!volume.labels.is_empty()).then(|| texts(&volume.labels)))
}

pub async fn look(docker: &Docker, name: &str) -> Look<Json> {
    Ok(found("look at volume", name, docker.inspect_volume(name).await)?.map(|volume| json(&volume)))
}

pub async fn observe(docker: &Docker, wanted: &Wanted<'_>) -> Look {
    let Some(volume) = look(docker, wanted.id.name()).await? else { return Ok(None) };
    let spec = BTreeMap::from([
        ("driver".to_string(), Value::from(volume["Driver"].as_str().unwrap_or_default())),
        ("options".to_string(), to_value(volume["Options"].as_object().cloned().unwrap_or_default().into())),
    ]);
    Ok(Some(Observed { spec, data: data(&volume) }))
}

/// What would be lost with it. Only what can be seen to be empty is.
fn data(volume: &Json) -> Option<String> {
    let place = volume["Mountpoint"].as_str().unwrap_or_default();
    match std::fs::read_dir(place).map(Iterator::count) {
        Ok(0) => None,
        Ok(1) => Some("1 entry".into()),
        Ok(count) => Some(format!("{count} entries")),
        Err(_) => Some("whatever is in the volume".into()),
    }
}

pub async fn apply(docker: &Docker, step: &Step) -> Result<(), ProviderError> {
    let name = step.id.name();
    match step.action {
        Action::Create => {
            let field = |field: &str| step.spec.get(field).map(json).unwrap_or_default();
            let stack = text(&step.spec, "stack").unwrap_or_default();
            let short = name.strip_prefix(&format!("{stack}_")).unwrap_or(name);
            let mut body = object!({
                "Name": name, "Driver": field("driver"), "DriverOpts": field("options"),
                "Labels": step.spec.get("labels").map_or_else(|| object!({}), json),
            });
            body["Labels"]["com.docker.compose.project"] = object!(stack);
            body["Labels"]["com.docker.compose.volume"] = object!(short);
            let request: VolumeCreateRequest = serde_json::from_value(body)
                .map_err(|error| ProviderError::bug(format!("cannot spell volume `{name}`: {error}")))?;
            docker.create_volume(request).await.map_err(|error| told("make volume", name, error))?;
            Ok(())
        }
        Action::Delete => match docker.remove_volume(name, None::<RemoveVolumeOptions>).await {
            Err(error) if status(&error) != Some(404) => {
                Err(culprit::of_volume(docker, name, told("remove volume", name, error)).await)
            }
            _ => Ok(()),
        },
        _ => {
            let message =
                format!("volume `{name}` is of another make than declared, and to make it anew would lose its data");
            Err(ProviderError::rejected(message)
                .help("declare it as it is, or move its data by hand to a volume of another name"))
        }
    }
}
