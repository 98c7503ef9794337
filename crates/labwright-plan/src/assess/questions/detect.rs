//! If it were compromised, would I detect it?

use labwright_model::lab::{Host, Os};

use super::{Asked, Points, either};

pub fn points(asked: &Asked) -> Points {
    let mut points = Points::default();
    let entry = asked.entry();
    let platform = &asked.topology.parsed.lab.platform;
    let hosts = asked.hosts();
    let probe = match (&entry.probe, &entry.catalogue) {
        (Some(_), _) => Ok("a probe asks whether it works".to_string()),
        (None, Some(catalogue)) => Ok(format!("the catalogue entry `{}` brings a probe", catalogue.value)),
        (None, None) => Err("ask whether it works: `probe: /PATH`".to_string()),
    };
    if let Some(vendor) = asked.vendor() {
        points.must(Ok(format!("{vendor} watches it")));
        points.should(probe);
        points.should(Err(format!("have {vendor} tell you of logins that are not yours")));
        return points;
    }
    let own = asked.placement.service.as_str();
    let probers: Vec<&str> = asked.flows.probers.iter().copied().filter(|prober| *prober != own).collect();
    match &platform.monitoring {
        None if !probers.is_empty() => {
            points.must(Ok(format!("{} probes", crate::blast::listed(&probers))));
            // Whom it calls stands in its own database.
            points.should(Err(
                "say who is told: `platform: { monitoring: { on: HOST, notify: { phone: \"ntfy://ntfy.sh/TOPIC\" } } }`"
                    .to_string(),
            ));
        }
        None => points.must(Err("let something watch: `platform: { monitoring: HOST }`".to_string())),
        Some(monitoring) => {
            let watchers: Vec<&str> = monitoring.on.iter().map(|on| on.value.as_str()).collect();
            points.must(either(
                !watchers.is_empty(),
                format!("{} watches", crate::blast::listed(&watchers)),
                "say which host watches: `platform: { monitoring: HOST }`",
            ));
            let apart = watchers.iter().any(|watcher| {
                let under = asked.topology.under(watcher);
                !hosts.iter().any(|host| host == watcher || under.contains(host))
            });
            if !watchers.is_empty() && !apart {
                points.should(Err(
                    "watch it from another machine: whoever takes this one takes the watcher too".to_string()
                ));
            }
            let silent = !monitoring.routes.is_empty()
                && monitoring.routes.iter().all(|route| route.to.iter().all(|to| to.value == "none"));
            points.should(match (&asked.flows.dropped, monitoring.notify.is_empty() || silent) {
                (_, true) => {
                    Err("send alerts somewhere: `notify:` and `routes:` under `platform.monitoring`".to_string())
                }
                (Some(dropped), _) => Err(format!("let alerts through (`labwright explain LW-PLT-016`): {dropped}")),
                (None, false) => Ok("alerts reach a person".to_string()),
            });
        }
    }
    points.should(probe);
    points.should(either(
        platform.telemetry.as_ref().is_some_and(|role| {
            let elsewhere = role.on.iter().any(|on| !hosts.contains(on.value.as_str()));
            elsewhere || role.service.is_some()
        }),
        "logs are kept on another machine",
        "keep logs off the machine that writes them: `platform: { telemetry: HOST }`",
    ));
    let host_is = |name: &&str, wanted: fn(&Host) -> bool| asked.topology.host(name).is_none_or(wanted);
    let unmanaged: Vec<&str> =
        hosts.iter().copied().filter(|name| host_is(name, |host| host.os == Os::Other)).collect();
    let by_itself: Vec<&str> = hosts
        .iter()
        .copied()
        .filter(|name| !unmanaged.contains(name) && host_is(name, |host| host.os == Os::Nixos))
        .collect();
    let flakes = by_itself.iter().all(|name| host_is(name, |host| host.flake.is_some()));
    if !unmanaged.is_empty() {
        points.should(Err(format!(
            "describe {}, so that `labwright drift` sees changes there",
            crate::blast::listed(&unmanaged)
        )));
    }
    if !by_itself.is_empty() {
        // What runs on NixOS is what its configuration says; Labwright keeps nothing there itself.
        let names = crate::blast::listed(&by_itself);
        points.should(either(
            flakes,
            format!("the next build from its flake undoes what was changed by hand on {names}"),
            format!("say what {names} is built from: `flake: .#NAME`"),
        ));
    }
    if unmanaged.is_empty() && by_itself.len() < hosts.len() {
        points.should(Ok("`labwright drift` shows what was changed by hand on its hosts".to_string()));
    }
    points
}
