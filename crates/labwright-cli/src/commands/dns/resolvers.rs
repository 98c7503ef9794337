//! The lab's resolvers as they run: which are meant, and what all of them are asked.

use std::collections::BTreeMap;

use labwright_model::lab::DnsSoftware;
use labwright_model::snapshot::dns;
use labwright_model::snapshot::dns::told::{Ask, Told};
use labwright_plan::{ErrorKind, Part, ProviderError};

use crate::commands::looking;
use crate::error::{CliError, Exit};
use crate::lab::{LabOption, PROVIDERS, SshArgs};
use crate::terminal::Terminal;

/// Which resolvers are meant, and the way to them.
#[derive(clap::Args)]
pub struct Resolvers {
    /// Only the resolver on this host; all of the lab's when absent.
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    #[command(flatten)]
    lab: LabOption,
    #[command(flatten)]
    ssh: SshArgs,
}

/// What the resolvers said, by host.
pub struct Said {
    pub told: BTreeMap<String, Told>,
    pub away: BTreeMap<String, ProviderError>,
}

impl Resolvers {
    /// Asks all of them the same.
    pub fn ask(&self, ask: &Ask, terminal: &Terminal) -> Result<Said, CliError> {
        let looked = looking::read(&self.lab, terminal)?;
        let Some(declared) = &looked.parsed.lab.platform.dns else {
            return Err(CliError::new(Exit::Findings, "find a resolver: the lab has none")
                .hint("say who answers: `platform: { dns: HOST }`"));
        };
        if declared.software != DnsSoftware::Labwright {
            let program = declared.software.word();
            return Err(CliError::usage(format!(
                "`{program}` answers for this lab, which is no resolver of Labwright's"
            ))
            .hint("its own page shows its queries; `labwright plan` shows which of the lab's names differ there"));
        }
        if dns::declared(&looked.parsed).is_none() {
            let service = declared.service.as_ref().map_or("", |service| &service.value);
            return Err(CliError::usage(format!(
                "`{service}` answers for this lab, which is no resolver of Labwright's"
            ))
            .hint(format!("`labwright status {service}` and `labwright logs {service}` show it")));
        }
        let of_dns = |part: &&Part| part.service == "platform.dns";
        let all: Vec<&Part> = looked.parts.iter().filter(of_dns).collect();
        let meant = all.iter().filter(|part| self.on.as_ref().is_none_or(|on| part.id.host() == on));
        let parts: Vec<Part> = meant.map(|part| (*part).clone()).collect();
        if parts.is_empty() {
            let known: Vec<&str> = all.iter().map(|part| part.id.host()).collect();
            let error = match &self.on {
                Some(on) => CliError::usage(format!("find `{on}` among the lab's resolvers")),
                None => CliError::usage("none of the lab's resolvers is on a host that Labwright changes"),
            };
            return Err(match known.is_empty() {
                true => error.hint("hosts with `os: other` or `os: nixos` run what they do by themselves"),
                false => error.hint(format!("they are: {}", known.join(", "))),
            });
        }
        let targets = looked.targets(&parts, &self.ssh)?;
        let ask = serde_json::to_value(ask).map_err(|error| CliError::bug(error.to_string()))?;
        let mut said = Said { told: BTreeMap::new(), away: BTreeMap::new() };
        for (host, answer) in labwright_engine::ask(&targets, &parts, &ask, PROVIDERS) {
            let told = answer.and_then(|answer| {
                serde_json::from_value::<Told>(answer)
                    .map_err(|error| ProviderError::bug(format!("a resolver said what is not understood: {error}")))
            });
            match told {
                Ok(told) => drop(said.told.insert(host, told)),
                Err(error) => drop(said.away.insert(host, error)),
            }
        }
        Ok(said)
    }
}

impl Said {
    /// Warns of resolvers that said nothing, or that they cannot; the exit code of the whole.
    pub fn rest(&self, terminal: &Terminal) -> Exit {
        for (host, error) in &self.away {
            let what = match error.kind {
                ErrorKind::Rejected => "cannot do that",
                _ => "did not answer",
            };
            terminal.warn(&format!("the resolver on `{host}` {what}: {}", error.message));
            if !error.help.is_empty() {
                terminal.hint(&error.help);
            }
        }
        let rejected = self.away.values().all(|error| error.kind == ErrorKind::Rejected);
        match (self.away.is_empty(), self.told.is_empty() && !rejected) {
            (true, _) => Exit::Done,
            (false, true) => Exit::Unreachable,
            (false, false) => Exit::Partly,
        }
    }
}
