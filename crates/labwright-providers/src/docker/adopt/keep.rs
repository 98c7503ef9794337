//! What a container that was adopted keeps although Labwright would choose otherwise: the image that its tag stood for,
//! and the address that its ports are bound to. It was taken over as it runs, and whoever means otherwise says so.

use std::collections::BTreeMap;

use labwright_plan::{Observation, Origin, Resource, ResourceId, Seen, Sight, Value};

use super::super::NAME;
use super::super::session::text;

/// What ports without an address are bound to by everybody else.
const EVERYWHERE: [&str; 2] = ["0.0.0.0", "[::]"];

/// Puts it into what is desired. `digests`: what tags stand for, by host and name.
pub fn keep(desired: &mut [Resource], observed: &mut Observation, digests: &mut BTreeMap<(String, String), String>) {
    let mut kept_images: Vec<(ResourceId, String)> = Vec::new();
    let containers =
        desired.iter_mut().filter(|resource| (resource.id.provider(), resource.id.kind()) == (NAME, "container"));
    for resource in containers {
        let Some((seen, adopted)) = seen(observed, &resource.id) else { continue };
        let Some(adopted) = adopted else { continue };
        if adopted == Adopted::Now
            && let (Some(asked), Some(runs)) = (text(&resource.spec, "image"), text(seen, "image"))
            && let Some(digest) = runs.strip_prefix(asked).and_then(|rest| rest.strip_prefix('@'))
            && let Some(known) = digests.get_mut(&(resource.id.host().to_string(), asked.to_string()))
        {
            if known != digest {
                kept_images.push((ResourceId::new(resource.id.host(), NAME, "image", asked), digest.to_string()));
            }
            *known = digest.to_string();
        }
        let list = |spec: &labwright_plan::Spec, field: &str| -> Vec<String> {
            let all = spec.get(field).and_then(Value::list).unwrap_or_default();
            all.iter().filter_map(Value::text).map(str::to_string).collect()
        };
        let (ports, chosen, bound) =
            (list(&resource.spec, "ports"), list(&resource.spec, "chosen"), list(seen, "ports"));
        let kept = |port: &String| match chosen.contains(port) && !bound.contains(port) {
            true => everywhere(port).into_iter().find(|other| bound.contains(other)).unwrap_or_else(|| port.clone()),
            false => port.clone(),
        };
        let mut ports: Vec<String> = ports.iter().map(kept).collect();
        ports.sort();
        if resource.spec.contains_key("ports") {
            resource.spec.insert("ports".into(), ports.into_iter().collect());
        }
    }
    // What runs is here, whatever its tag stands for by now: that is what will be seen when it is looked for by its digest.
    for (id, digest) in kept_images {
        if let Some(Sight::Reached(host)) = observed.hosts.get_mut(id.host())
            && let Some(Seen::Present(found)) = host.seen.get_mut(&id)
        {
            found.spec.insert("digest".into(), digest.into());
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Adopted {
    /// By this plan, if by any.
    Now,
    Before,
}

/// What was seen of a container that is there, and whether it is one that was made by somebody else.
fn seen<'a>(observed: &'a Observation, id: &ResourceId) -> Option<(&'a labwright_plan::Spec, Option<Adopted>)> {
    let Sight::Reached(host) = observed.hosts.get(id.host())? else { return None };
    let Seen::Present(found) = host.seen.get(id)? else { return None };
    let adopted = match host.marks.get(id) {
        None => Some(Adopted::Now),
        Some(mark) if mark.origin == Origin::Adopted => Some(Adopted::Before),
        Some(_) => None,
    };
    Some((&found.spec, adopted))
}

/// The same port, bound to every address: `0.0.0.0:8080:80/tcp`.
fn everywhere(port: &str) -> Vec<String> {
    let mut parts = port.rsplitn(3, ':');
    match (parts.next(), parts.next()) {
        (Some(target), Some(published)) => EVERYWHERE.map(|address| format!("{address}:{published}:{target}")).to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_at_every_address() {
        assert_eq!(everywhere("10.0.0.5:8080:80/tcp"), ["0.0.0.0:8080:80/tcp", "[::]:8080:80/tcp"]);
        assert_eq!(everywhere("[fe80::1]:53:53/udp")[0], "0.0.0.0:53:53/udp");
    }
}
