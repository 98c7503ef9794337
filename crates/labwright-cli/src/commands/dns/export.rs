//! `labwright dns export`: the same names, lists and upstreams for another resolver.

use labwright_model::snapshot::dns;
use labwright_plan::export::dns::{adguard, pihole, zone};

use crate::commands::reading;
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::terminal::Terminal;

/// Prints what the lab's resolvers serve in another program's own format.
///
/// What a format cannot say stands in it as a comment. Nothing is asked and nothing is changed.
#[derive(clap::Args)]
pub struct Export {
    /// A zone file (BIND, Knot, NSD, CoreDNS), `AdGuardHome.yaml`, or `pihole.toml`.
    #[arg(value_enum, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    lab: LabArg,
    /// The resolver whose part is printed; the first one when absent.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// One zone alone, for `zone`.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// The serial number of the zones, for `zone`: each edition needs a higher one.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    serial: u32,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Zone,
    Adguard,
    Pihole,
}

impl Export {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab(&self.lab, terminal)?;
        let Some(resolvers) = parsed.lab.platform.dns.as_ref().map(|dns| &dns.on) else {
            return Err(CliError::new(Exit::Findings, "find a resolver: the lab has none")
                .hint("say who answers: `platform: { dns: HOST }`"));
        };
        let host = match self.host.as_deref() {
            Some(host) if resolvers.iter().any(|on| on.value == host) => host,
            Some(host) => {
                let known: Vec<&str> = resolvers.iter().map(|on| on.value.as_str()).collect();
                return Err(CliError::usage(format!("find `{host}` among the lab's resolvers"))
                    .hint(format!("they are: {}", known.join(", "))));
            }
            None => resolvers.first().map_or("", |on| &on.value),
        };
        let Some(snapshot) = dns::dns(&parsed, host) else {
            return Err(CliError::bug("a resolver without a snapshot"));
        };
        match self.format {
            Format::Zone => {
                let text = zone(&snapshot, self.zone.as_deref(), self.serial)
                    .map_err(|error| CliError::usage(format!("export a zone: {error}")))?;
                terminal.data(&text);
            }
            Format::Adguard => terminal.data(&adguard(&snapshot)),
            Format::Pihole => terminal.data(&pihole(&snapshot)),
        }
        Ok(Exit::Done)
    }
}
