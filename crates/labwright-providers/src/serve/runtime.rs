//! How the roles of a host's daemon fare: its unit as systemd tells of it, and each role as the daemon itself does.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use labwright_model::Parsed;
use labwright_model::snapshot::control::{Reply, Request, Status};
use labwright_model::snapshot::dns::told::{Ask, Statistics};
use labwright_model::snapshot::{DNS, PROXY};
use labwright_plan::{
    ExecAsk, Health, Line, LogsAsk, Part, ProviderError, ResourceId, Running, Runtime, Spec, State, Told, Typed,
};

use super::daemon;
use super::lower::UNIT;
use crate::host::{Units, managed};

/// The daemon of this host.
pub struct Roles;

/// A role as `status` and `logs` call it: by its place in the lab file. And what it is called there.
const NAMES: [(&str, &str, &str); 2] = [(DNS, "platform.dns", "resolver"), (PROXY, "platform.reverse_proxy", "proxy")];

/// Every role of every host.
pub fn parts(parsed: &Parsed) -> Vec<Part> {
    let hosts = parsed.lab.compute.hosts.iter().filter(|(_, entry)| managed(&entry.value));
    let of_host = |host: &String| {
        let wanted = labwright_model::snapshot::wanted(parsed, host)?;
        let roles = NAMES.iter().filter(|(role, ..)| wanted.roles.contains_key(*role));
        let part = |(_, service, name): &(&str, &str, &str)| Part {
            service: service.to_string(),
            environment: None,
            name: name.to_string(),
            id: ResourceId::new(host, "serve", "daemon", daemon::NAME),
            place: Spec::new(),
        };
        Some(roles.map(part).collect::<Vec<_>>())
    };
    hosts.filter_map(|(host, _)| of_host(host)).flatten().collect()
}

/// The unit of a part.
fn unit(part: &Part) -> Part {
    Part { id: ResourceId::new(part.id.host(), "host", "unit", UNIT), ..part.clone() }
}

impl Runtime for Roles {
    fn running(&self, parts: &[Part]) -> Vec<Running> {
        let units: Vec<Part> = parts.iter().map(unit).collect();
        let status = daemon::running();
        let mut all = Units.running(&units);
        for one in all.iter_mut().filter(|one| one.state == State::Running) {
            let role = NAMES.iter().find(|(_, service, _)| *service == one.service).map_or("", |(role, ..)| role);
            (one.health, one.says) = match &status {
                Ok(Some(status)) => fares(role, status),
                Ok(None) => (Some(Health::Starting), Some("its control socket is not there yet".into())),
                Err(error) => (Some(Health::Unhealthy), Some(error.message.clone())),
            };
        }
        all
    }

    fn logs(
        &self,
        part: &Part,
        ask: &LogsAsk,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Line),
    ) -> Result<(), ProviderError> {
        Units.logs(&unit(part), ask, stop, tell)
    }

    fn exec(
        &self,
        part: &Part,
        ask: &ExecAsk,
        typed: mpsc::Receiver<Typed>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<i64, ProviderError> {
        Units.exec(&unit(part), ask, typed, tell)
    }

    fn ask(&self, part: &Part, ask: &serde_json::Value) -> Result<serde_json::Value, ProviderError> {
        let host = part.id.host();
        let dns: Ask = serde_json::from_value(ask.clone())
            .map_err(|error| ProviderError::bug(format!("a resolver was asked what it does not know: {error}")))?;
        if daemon::running()?.is_none() {
            return Err(ProviderError::rejected(format!("the resolver of `{host}` does not run")).help(
                "`labwright apply` puts it there; `systemctl status labwright-serve` on the host says why it ended",
            ));
        }
        match daemon::ask(&Request::Dns { dns })? {
            Reply::Dns { dns } => serde_json::to_value(dns)
                .map_err(|error| ProviderError::bug(format!("what the resolver said is no JSON: {error}"))),
            Reply::Refused { reason } => Err(ProviderError::rejected(reason)),
            other => Err(ProviderError::bug(format!("the daemon answered {other:?} to a question for its resolver"))),
        }
    }
}

/// How a role does, and what there is to say of it.
fn fares(role: &str, status: &Status) -> (Option<Health>, Option<String>) {
    let has = status.snapshot.as_ref().is_some_and(|snapshot| snapshot.roles.contains_key(role));
    let faults = status.faults.join("; ");
    match (role, &status.resolver) {
        (DNS, Some(resolver)) => (Some(Health::Healthy), Some(sums(resolver))),
        _ if !faults.is_empty() => (Some(Health::Unhealthy), Some(faults)),
        _ if !has => (Some(Health::Starting), Some("it was told nothing yet: `labwright apply`".into())),
        _ => (Some(Health::Healthy), None),
    }
}

/// `1204 queries, 31 % blocked, 3 lists`
fn sums(resolver: &Statistics) -> String {
    let mut words = vec![format!("{} queries", resolver.queries)];
    if let Some(share) = (resolver.blocked * 100).checked_div(resolver.queries).filter(|share| *share > 0) {
        words.push(format!("{share} % blocked"));
    }
    let faulty = resolver.lists.iter().filter(|list| list.fault.is_some()).count();
    match (resolver.lists.len(), faulty) {
        (0, _) => {}
        (lists, 0) => words.push(format!("{lists} lists")),
        (lists, faulty) => {
            words.push(format!("{faulty} of {lists} lists not as they should be: `labwright dns status`"))
        }
    }
    if !resolver.lists_ready {
        words.push("lists are being read".into());
    }
    for paused in &resolver.paused {
        words.push(format!("nothing is blocked for `{}` for {} s more", paused.group, paused.left));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use labwright_model::snapshot::dns::told::{ListStatus, Paused};

    use super::*;

    #[test]
    fn a_resolver_in_one_line() {
        let faulty = ListStatus { fault: Some("the server answered 404".into()), ..ListStatus::default() };
        let resolver = Statistics {
            queries: 200,
            blocked: 63,
            lists: vec![ListStatus::default(), faulty],
            lists_ready: true,
            paused: vec![Paused { group: "kids".into(), left: 40 }],
            ..Statistics::default()
        };
        assert_eq!(
            sums(&resolver),
            "200 queries, 31 % blocked, 1 of 2 lists not as they should be: `labwright dns status`, nothing is blocked for \
             `kids` for 40 s more"
        );
        assert_eq!(sums(&Statistics { lists_ready: true, ..Statistics::default() }), "0 queries");
    }

    #[test]
    fn a_role_that_does_not_answer_is_not_well() {
        let fault = "the last good snapshot cannot be served: cannot answer on 0.0.0.0:53";
        let status = Status { faults: vec![fault.into()], ..Status::default() };
        assert_eq!(fares(DNS, &status), (Some(Health::Unhealthy), Some(fault.into())));
        assert_eq!(fares(DNS, &Status::default()).0, Some(Health::Starting));
    }
}
