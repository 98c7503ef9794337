//! What the lab's services of containers consist of where they run, by the names that the engine knows them by.
//! Pure, and told from the lab file alone, so that a lab with a mistake elsewhere can still be looked at.

use labwright_model::Parsed;
use labwright_model::compose::Project;
use labwright_plan::{Part, ResourceId, Spec, Value};

use super::NAME;
use super::project::{container_name, many};

/// Every container of every placed service.
pub fn parts(parsed: &Parsed) -> Vec<Part> {
    let mut parts = Vec::new();
    for placement in &parsed.placements {
        let Some(project) = parsed.project(placement) else { continue };
        let containers = containers(project);
        for on in placement.entry.on.iter() {
            let host = parsed.lab.compute.hosts.get(&on.value).filter(|host| crate::host::managed(host));
            let Some(host) = host else { continue };
            for (key, number, name) in &containers {
                let mut place = Spec::from([
                    ("stack".to_string(), Value::from(project.name.as_str())),
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

/// The containers of a project: key, number, name.
fn containers(project: &Project) -> Vec<(String, u32, String)> {
    let mut all = Vec::new();
    for (key, service) in project.enabled() {
        let own = service.container_name.as_ref().map(|name| name.value.as_str());
        let named = |number| (key.clone(), number, container_name(&project.name, key, own, number));
        all.extend((1..=many(service)).map(named));
    }
    all
}
