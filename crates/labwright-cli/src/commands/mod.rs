//! The command tree: one file a command, and its line here.

mod agent;
mod apply;
mod assess;
mod blast;
mod by_hand;
mod ca;
mod check;
mod completions;
mod destroy;
mod dns;
mod docs;
mod drift;
mod exec;
mod explain;
mod exposed;
mod flows;
mod graph;
mod here;
mod history;
mod import;
mod inventory;
mod locks;
mod logs;
mod looking;
mod plan;
mod planning;
mod proxy;
mod reach;
mod reading;
mod rehearse;
mod schema;
mod secret;
mod serve;
mod show;
mod status;
mod supervise;
mod up;
mod update;
mod vpn;

use std::process::ExitCode;

pub use status::{Beyond, Row};

use crate::error::CliError;
use crate::terminal::Terminal;

#[derive(clap::Subcommand)]
pub enum Command {
    Check(check::Check),
    Explain(explain::Explain),
    Plan(plan::PlanCommand),
    Apply(apply::Apply),
    Drift(drift::DriftCommand),
    Status(status::Status),
    Logs(logs::Logs),
    Exec(exec::Exec),
    Import(import::Import),
    Update(update::Update),
    Destroy(destroy::Destroy),
    History(history::History),
    Locks(locks::Locks),
    Secret(secret::Secret),
    Vpn(vpn::Vpn),
    Show(show::Show),
    Inventory(inventory::Inventory),
    Assess(assess::Assess),
    Blast(blast::BlastCommand),
    Graph(graph::GraphCommand),
    Flows(flows::FlowsCommand),
    Reach(reach::Reach),
    Exposed(exposed::ExposedCommand),
    Rehearse(rehearse::Rehearse),
    Docs(docs::DocsCommand),
    Dns(dns::DnsCommand),
    Proxy(proxy::Proxy),
    Ca(ca::Ca),
    Schema(schema::SchemaCommand),
    Completions(completions::Completions),
    Up(up::Up),
    Down(here::Down),
    Ps(here::Ps),
    Restart(here::Restart),
    Stop(by_hand::Stop),
    Start(by_hand::Start),
    Open(here::Open),
    Serve(serve::Serve),
    Agent(agent::Agent),
    Supervise(supervise::Supervise),
}

impl Command {
    pub fn run(self, terminal: &Terminal) -> Result<ExitCode, CliError> {
        let exit = match self {
            Command::Check(command) => command.run(terminal),
            Command::Explain(command) => command.run(terminal),
            Command::Plan(command) => command.run(terminal),
            Command::Apply(command) => command.run(terminal),
            Command::Drift(command) => command.run(terminal),
            Command::Status(command) => command.run(terminal),
            Command::Logs(command) => command.run(terminal),
            // The one verb whose exit code is not its own.
            Command::Exec(command) => return command.run(terminal),
            Command::Import(command) => command.run(terminal),
            Command::Update(command) => command.run(terminal),
            Command::Destroy(command) => command.run(terminal),
            Command::History(command) => command.run(terminal),
            Command::Locks(command) => command.run(terminal),
            Command::Secret(command) => command.run(terminal),
            Command::Vpn(command) => command.run(terminal),
            Command::Show(command) => command.run(terminal),
            Command::Inventory(command) => command.run(terminal),
            Command::Assess(command) => command.run(terminal),
            Command::Blast(command) => command.run(terminal),
            Command::Graph(command) => command.run(terminal),
            Command::Flows(command) => command.run(terminal),
            Command::Reach(command) => command.run(terminal),
            Command::Exposed(command) => command.run(terminal),
            Command::Rehearse(command) => command.run(terminal),
            Command::Docs(command) => command.run(terminal),
            Command::Dns(command) => command.run(terminal),
            Command::Proxy(command) => command.run(terminal),
            Command::Ca(command) => command.run(terminal),
            Command::Schema(command) => command.run(terminal),
            Command::Completions(command) => command.run(terminal),
            Command::Serve(command) => command.run(terminal),
            Command::Agent(command) => command.run(terminal),
            Command::Up(command) => command.run(terminal),
            Command::Down(command) => command.run(terminal),
            Command::Ps(command) => command.run(terminal),
            Command::Restart(command) => command.run(terminal),
            Command::Stop(command) => command.run(terminal),
            Command::Start(command) => command.run(terminal),
            Command::Open(command) => command.run(terminal),
            Command::Supervise(command) => command.run(terminal),
        };
        exit.map(ExitCode::from)
    }
}
