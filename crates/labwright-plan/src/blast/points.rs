//! Single points of failure: everything that can fail alone, by what it takes with it.

use labwright_model::Parsed;
use serde::Serialize;

use super::effects::{Node, effects};
use super::spread::{Why, spread};
use super::target::things;
use super::words::about;
use super::{Kind, Thing, Urgency, World};

/// One thing, and how much falls with it. The thing itself is not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    #[serde(flatten)]
    pub thing: Thing,
    /// What it is for.
    pub about: String,
    /// Services that go dark.
    pub dark: usize,
    /// Those of them that people rely on.
    pub production: usize,
    /// Roles and zones that go dark: DNS, the proxy.
    pub roles: usize,
    pub degraded: usize,
    /// Services that lose copies, or have none.
    pub unprotected: usize,
    /// What can no longer be deployed, changed or watched.
    pub held: usize,
}

/// Every thing whose failure takes something else with it, the worst first: production, then roles and services that go
/// dark, then the rest. Zones are left out: they fail by a mistake, not alone.
pub fn single_points(parsed: &Parsed) -> Vec<Point> {
    let world = World::of(parsed);
    let mut points = Vec::new();
    for kind in [Kind::Host, Kind::Service, Kind::Site, Kind::Domain] {
        for name in things(parsed, kind) {
            // A service that nothing needs takes nothing else with it, and most are such.
            if kind == Kind::Service && !matters(&world, name) {
                continue;
            }
            let point = count(&world, Thing { kind, name: name.to_string() });
            if point.dark + point.roles + point.unprotected + point.held > 0 {
                points.push(point);
            }
        }
    }
    points.sort_by_cached_key(|point| {
        let Point { thing, dark, production, roles, degraded, unprotected, held, .. } = point.clone();
        let most = std::cmp::Reverse;
        (most(production), most(dark + roles), most(unprotected), most(held), most(degraded), thing)
    });
    points
}

fn matters(world: &World, service: &str) -> bool {
    let needed = world.service(service).iter().any(|n| !world.dependents[*n].is_empty());
    needed
        || world.roles.iter().any(|role| role.service == Some(service))
        || world.placed.iter().any(|placed| {
            let through = placed.egress.iter().chain(&placed.dumps).flatten();
            through.into_iter().any(|n| world.placed[*n].placement.service == service)
        })
}

fn count(world: &World, thing: Thing) -> Point {
    let down = spread(world, &thing);
    let about = about(world, &thing);
    let (mut dark, mut production, mut roles, mut degraded, mut unprotected, mut held) = (0, 0, 0, 0, 0, 0);
    for hit in effects(world, &down) {
        match (hit.urgency, hit.node) {
            (Urgency::Dark, _) if hit.why == Why::Itself => {}
            (Urgency::Dark, Node::Placed(n)) => {
                dark += 1;
                production += usize::from(world.placed[n].production());
            }
            (Urgency::Dark, Node::Role(_) | Node::Zone(_)) => roles += 1,
            (Urgency::Dark, _) => {}
            (Urgency::Degraded, _) => degraded += 1,
            (Urgency::Unprotected, _) => unprotected += 1,
            (Urgency::Held, _) => held += 1,
        }
    }
    Point { thing, about, dark, production, roles, degraded, unprotected, held }
}
