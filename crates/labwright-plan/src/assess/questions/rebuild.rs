//! Can I rebuild it from documentation?

use labwright_model::lab::Os;

use super::{Asked, Points, either};
use crate::check::containers::containers;
use crate::check::names_digests;

pub fn points(asked: &Asked) -> Points {
    let mut points = Points::default();
    let entry = asked.entry();
    if let Some(vendor) = asked.vendor() {
        points.must(Ok(format!("{vendor} runs it")));
        points.should(Err(
            "its settings stand nowhere but there: write down which ones matter, or export them".to_string()
        ));
        return points;
    }
    let what = match (&entry.catalogue, &entry.compose, &entry.run) {
        (Some(catalogue), ..) => Some(format!("the catalogue entry `{}` says what runs", catalogue.value)),
        (_, Some(compose), _) => Some(format!("`{}` says what runs", compose.value)),
        (_, _, Some(_)) => Some("the file says which process runs".to_string()),
        _ if entry.built_in.is_some() => {
            entry.built_in.as_ref().map(|what| format!("the configuration of its host runs it: `{}`", what.value))
        }
        _ if !entry.containers.0.is_null() => Some("the file says which containers run".to_string()),
        _ => None,
    };
    points.must(what.ok_or("say what runs: `use`, `compose`, `containers`, `run` or `built_in`".to_string()));
    if entry.external.is_none() {
        let hosts = asked.hosts();
        let lab = asked.topology.parsed;
        let bare: Vec<&str> = hosts
            .iter()
            .copied()
            .filter(|host| {
                lab.implied.iter().any(|implied| implied == host)
                    || asked.topology.host(host).is_none_or(|host| host.os == Os::Other)
            })
            .collect();
        points.must(either(
            !hosts.is_empty() && bare.is_empty(),
            format!("{} in the file", if hosts.len() == 1 { "its host is" } else { "its hosts are" }),
            match bare.is_empty() {
                true => "say where it runs: `on: HOST`".to_string(),
                false => format!("describe {} under `compute.hosts`", crate::blast::listed(&bare)),
            },
        ));
        let by_hand: Vec<&str> = hosts
            .iter()
            .copied()
            .filter(|name| {
                let host = asked.topology.host(name);
                let guest = host.and_then(|host| host.vm.iter().chain(&host.lxc).next());
                let described = host.is_some_and(|host| host.flake.is_some());
                guest.is_some_and(|guest| guest.image.is_none()) && !described
            })
            .collect();
        if !by_hand.is_empty() {
            points.should(Err(format!("say which image {} is made from: `image:`", crate::blast::listed(&by_hand))));
        }
    }
    let floating = floating(asked);
    if !entry.containers.0.is_null() {
        points.should(either(
            floating.is_empty(),
            match names_digests(asked.topology.parsed, asked.placement) {
                true => "its images are pinned by their digests",
                false => "its images name their versions; a tag can be pushed again",
            },
            format!("pin the images, or a rebuild gets others: {}", crate::blast::listed(&floating)),
        ));
    }
    points.should(either(
        entry.description.is_some() || entry.catalogue.is_some(),
        "what it is for is written down",
        "say what it is for: `description:`",
    ));
    points.should(either(
        entry.restore_notes.is_some() || entry.catalogue.is_some(),
        "the last steps are written down",
        "write down what is left to do by hand: `restore_notes:`",
    ));
    points
}

/// Images without a tag, or with one that moves.
fn floating<'a>(asked: &Asked<'a>) -> Vec<&'a str> {
    let images = containers(asked.topology.parsed, asked.placement).filter_map(|container| container.image());
    images.filter(|image| image.is_moving()).map(|image| image.text).collect()
}
