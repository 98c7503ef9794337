//! The program `labwright`: arguments, words, exit codes, wiring.
//! Holds no logic of a homelab: what a lab is, what should change and how it is done are other crates.

mod commands;
mod error;
mod lab;
mod raw;
mod render;
mod schemas;
mod secrets;
mod terminal;
mod up;
mod vault;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;
use crate::terminal::{Color, Terminal};

/// A plan is many small values on two threads, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One file describes a homelab; this checks it, plans it, applies it and watches it drift.
///
/// LAB is a lab file or a folder of them; without it, `lab.yaml` here or in a folder above. Data goes to standard
/// output, everything else to standard error. Exit codes: 0 done, 1 internal error, 2 wrong usage or unreadable file,
/// 3 findings, 4 changes or drift, 5 partly done, 6 something was unreachable, 7 something is not healthy. `exec` ends
/// with the exit code of its command.
#[derive(Parser)]
#[command(name = "labwright", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to use colour. Nothing depends on it.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
}

fn main() -> ExitCode {
    // Secrets are in this memory: it goes into no core dump, and no other program of the same user looks into it. A kernel
    // that cannot do that is no reason to do nothing.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.color);
    let ended = cli.command.run(&terminal);
    lab::sweep();
    match ended {
        Ok(exit) => exit,
        Err(error) => terminal.fail(&error).into(),
    }
}
