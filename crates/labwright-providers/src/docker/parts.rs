//! What the lab's services of containers consist of where they run, by the names that the engine knows them by.
//! Pure, and told from the lab file alone, so that a lab with a mistake elsewhere can still be looked at.

use labwright_model::{Parsed, Placement};
use labwright_plan::{Part, ResourceId, Spec, Value};

use super::NAME;

/// Every container of every placed service.
pub fn parts(parsed: &Parsed) -> Vec<Part> {
    let mut parts = Vec::new();
    for placement in &parsed.placements {
        let containers = containers(placement);
        let stack = stack_name(placement);
        for on in placement.entry.on.iter() {
            let Some(host) = parsed.lab.compute.hosts.get(&on.value) else { continue };
            for (key, number, name) in &containers {
                let mut place = Spec::from([
                    ("stack".to_string(), Value::from(stack.as_str())),
                    ("service".to_string(), Value::from(key.as_str())),
                    ("number".to_string(), Value::Int(i64::from(*number))),
                ]);
                if let Some(socket) = &host.docker_socket {
                    place.insert("engine".into(), socket.value.as_str().into());
                }
                parts.push(Part {
                    service: placement.service.clone(),
                    environment: placement.environment.clone(),
                    name: if *number > 1 { format!("{key}-{number}") } else { key.clone() },
                    id: ResourceId::new(&on.value, NAME, "container", name),
                    place,
                });
            }
        }
    }
    parts
}

fn stack_name(placement: &Placement) -> String {
    match &placement.environment {
        Some(environment) => format!("{}-{environment}", placement.service),
        None => placement.service.clone(),
    }
}

/// The containers of a service: key, number, name.
fn containers(placement: &Placement) -> Vec<(String, u32, String)> {
    let stack = stack_name(placement);
    let all = placement.entry.containers.0.as_object().into_iter().flatten();
    let one = |(key, fields): (&String, &serde_json::Value)| {
        let own = fields.get("container_name").and_then(serde_json::Value::as_str);
        (key.clone(), 1, own.map_or_else(|| format!("{stack}-{key}-1"), str::to_string))
    };
    all.map(one).collect()
}
