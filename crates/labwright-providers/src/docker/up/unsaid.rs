//! Who points to a service without saying that it needs it: on its host the two would not meet, and so they do not here. That is
//! told at once, instead of by a connection that fails.

use std::collections::BTreeMap;

use super::super::services::Placed;

/// One note for each service that a variable of another one's containers points to. `others`: all services that are here.
pub fn notes(placed: &[Placed<'_>], others: &[String]) -> Vec<String> {
    let mut notes: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for one in placed {
        let containers = one.stack().into_iter().flat_map(|stack| stack.containers.iter());
        for (key, container) in containers {
            let own = |name: &str| {
                name == one.service || one.stack().is_some_and(|stack| stack.containers.contains_key(name))
            };
            for (variable, value) in container.environment.iter().chain(&container.secret_environment) {
                let found = others.iter().filter(|other| hosts(value).any(|host| host == **other));
                for other in found.filter(|other| !own(other) && !needs(one, other) && !meets(one, other, placed)) {
                    notes.entry((one.service, other)).or_insert_with(|| {
                        format!(
                            "`{variable}` of `{key}` in `{0}` points to `{other}`, and `{0}` does not say that it needs it: they do not \
                             meet, here or on their hosts; add `needs: [{other}]` to `{0}`",
                            one.service
                        )
                    });
                }
            }
        }
    }
    notes.into_values().collect()
}

fn needs(one: &Placed<'_>, other: &str) -> bool {
    one.entry.needs.iter().any(|need| need.value == other)
}

/// Whether files put both into one network.
fn meets(one: &Placed<'_>, other: &str, placed: &[Placed<'_>]) -> bool {
    let stacks = placed.iter().filter(|placed| placed.service == other).filter_map(Placed::stack);
    one.stack().is_some_and(|own| stacks.into_iter().any(|stack| super::super::lower::meet(own, stack)))
}

/// The hosts that a value names: those of its addresses, and what stands before its port where that is all of it.
fn hosts(value: &str) -> impl Iterator<Item = &str> {
    let of_url = value.split("://").skip(1).map(|rest| {
        let whole = rest.split(['/', '?', '#', ' ', ',', ';']).next().unwrap_or_default();
        whole.rsplit('@').next().unwrap_or_default()
    });
    let is_host = |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let bare = value.rsplit_once(':').filter(|(host, port)| port.parse::<u16>().is_ok() && is_host(host));
    let bare = bare.map(|(host, _)| host);
    of_url.map(|host| host.split(':').next().unwrap_or_default()).chain(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_stand_in_addresses_and_before_ports() {
        let all = |value: &'static str| hosts(value).collect::<Vec<_>>();
        assert_eq!(all("postgres://app:pw@db:5432/app"), ["db"]);
        assert_eq!(all("http://api/, http://web:80"), ["api", "web"]);
        assert_eq!(all("cache:6379"), ["cache"]);
        assert!(all("plain text: nothing").is_empty());
    }
}
