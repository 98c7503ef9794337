//! Who stands in the way: the engine says that a port is taken or a volume is in use, and not by whom.
//! Adds to an error what can be found out; where nothing can, the error is as it was.

use bollard::Docker;
use bollard::query_parameters::ListContainersOptions;
use labwright_plan::{ProviderError, Spec, Value};

use super::sockets;

/// A refusal to start a container, with the name of whoever has its port.
pub async fn of_port(docker: &Docker, spec: &Spec, error: ProviderError) -> ProviderError {
    let taken = ["port is already allocated", "address already in use"];
    if !taken.iter().any(|what| error.message.contains(what)) {
        return error;
    }
    let ports = spec.get("ports").and_then(Value::list).unwrap_or_default();
    for port in ports.iter().filter_map(Value::text) {
        // `ADDRESS:PORT:INSIDE/PROTOCOL`; the address may have colons of its own.
        let (said, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let Some(number) = said.rsplit(':').nth(1).and_then(|number| number.parse::<u16>().ok()) else { continue };
        // The engine names the port where it can tell.
        let named = error.message.contains(&format!(":{number} ")) || error.message.contains(&format!(":{number}:"));
        if ports.len() > 1 && !named {
            continue;
        }
        let by = match container_with(docker, number, protocol).await {
            Some(name) => format!("container `{name}`"),
            None => match sockets::listener(number, protocol == "udp") {
                Ok(Some(program)) => program,
                Ok(None) => continue,
                Err(why) => {
                    let message = format!("{}; who has port {number} cannot be told: {why}", error.message);
                    let help = "`sudo ss -ltnup` on the host names who listens where";
                    return ProviderError { message, ..error }.help(help);
                }
            },
        };
        let help = format!("{by} has port {number}/{protocol}: stop it, or choose another port in `ports`");
        return ProviderError { message: format!("{}: {by} has port {number}", error.message), ..error }.help(help);
    }
    error
}

/// A running container that publishes a port.
async fn container_with(docker: &Docker, number: u16, protocol: &str) -> Option<String> {
    let running = docker.list_containers(None::<ListContainersOptions>).await.ok()?;
    running.into_iter().find_map(|container| {
        let ports = container.ports.unwrap_or_default();
        let has = ports.iter().any(|port| {
            let kind = port.typ.map(|kind| kind.to_string()).unwrap_or_default();
            port.public_port == Some(number) && kind.eq_ignore_ascii_case(protocol)
        });
        has.then(|| named(container.names)).flatten()
    })
}

/// A refusal to remove a volume, with the names of the containers that use it.
pub async fn of_volume(docker: &Docker, volume: &str, error: ProviderError) -> ProviderError {
    if !error.message.contains("volume is in use") {
        return error;
    }
    let filters = std::collections::HashMap::from([("volume".to_string(), vec![volume.to_string()])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    let users = docker.list_containers(Some(options)).await.unwrap_or_default();
    let names: Vec<String> =
        users.into_iter().filter_map(|container| named(container.names)).map(|name| format!("`{name}`")).collect();
    match names.is_empty() {
        true => error,
        false => {
            let message = format!("cannot remove volume `{volume}`: {} still has it", names.join(", "));
            let help = "containers that the lab does not know are stopped and removed by hand, or adopted; its data is as it was";
            ProviderError { message, ..error }.help(help)
        }
    }
}

fn named(names: Option<Vec<String>>) -> Option<String> {
    names?.first().map(|name| name.trim_start_matches('/').to_string())
}
