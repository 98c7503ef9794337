//! If it were compromised, would I detect it?

use labwright_model::lab::Os;

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
    match &platform.monitoring {
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
            points.should(either(
                !monitoring.notify.is_empty() && !silent,
                "alerts reach a person",
                "send alerts somewhere: `notify:` and `routes:` under `platform.monitoring`",
            ));
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
    let unmanaged: Vec<&str> = hosts
        .iter()
        .copied()
        .filter(|host| asked.topology.host(host).is_none_or(|host| matches!(host.os, Os::Other | Os::Nixos)))
        .collect();
    if !hosts.is_empty() {
        points.should(either(
            unmanaged.is_empty(),
            "`labwright drift` shows what was changed by hand on its hosts",
            format!("describe {}, so that `labwright drift` sees changes there", crate::blast::listed(&unmanaged)),
        ));
    }
    points
}
