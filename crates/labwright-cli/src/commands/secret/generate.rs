//! `labwright secret generate`: makes every declared secret that is not there yet.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use labwright_model::finding::nearest;
use labwright_model::{Finding, Findings, Parsed, Severity};
use labwright_secrets::generate::{self, Generator, Given, Made};

use super::keeper::Keeper;
use super::{Common, ask_value, generators};
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::render::findings::{self, count};
use crate::secrets;
use crate::terminal::Terminal;

/// Makes the secrets that `platform.secrets.generate` declares and the store does not hold. What is there is kept.
///
/// Where nobody is there to type, what has to be asked for is left out and told; everything else is made.
#[derive(clap::Args)]
pub struct GenerateCommand {
    /// These secrets, and what they are made from; all of them when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The lab: a file, or a folder of files.
    #[arg(long, value_name = "LAB")]
    lab: Option<PathBuf>,
    /// A file with the key that opens the store; may be given more than once.
    #[arg(long, short, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// The lab's Vault, where it has a SOPS file as well.
    #[arg(long)]
    vault: bool,
}

impl GenerateCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let (common, names) = self.parts();
        let parsed = common.parsed()?;
        sound(&parsed, terminal)?;
        let mut specs = generators(&parsed);
        if specs.is_empty() {
            let error = CliError::usage("the lab declares nothing to generate");
            return Err(error.hint("for example: `platform: { secrets: { generate: { db_password: password } } }`"));
        }
        if !names.is_empty() {
            specs = named(&specs, &names)?;
        }
        let mut keeper = common.keeper(&parsed, terminal)?;
        let asked = match std::io::stdin().is_terminal() {
            true => Vec::new(),
            false => left_out(&mut specs, keeper.as_ref())?,
        };
        let made = missing(&specs, keeper.as_ref())?;
        if made.is_empty() && asked.is_empty() {
            terminal
                .say(&format!("nothing to make: {} declared, and nothing is missing", count(specs.len(), "secret")));
            return Ok(Exit::Done);
        }
        for (name, made) in &made {
            keeper.put(name, made)?;
        }
        if !made.is_empty() {
            keeper.save()?;
            let names = made.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            terminal.say(&format!("made {names} in {}", keeper.shown()));
        }
        match asked.first() {
            None => Ok(Exit::Done),
            Some(first) => {
                let all = asked.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let error = CliError::usage(format!("nobody is there to type {all}"));
                Err(error.hint(format!("pipe it in: `labwright secret set {first} < FILE`")))
            }
        }
    }

    /// The common arguments; a first word that is a file or a folder is the lab, as with the other commands.
    fn parts(self) -> (Common, Vec<String>) {
        let mut names = self.names;
        let mut lab = self.lab;
        if lab.is_none()
            && let Some(first) = names.first().filter(|first| is_lab(first))
        {
            lab = Some(PathBuf::from(first));
            names.remove(0);
        }
        (Common { lab: LabArg { lab }, identity: self.identity, vault: self.vault }, names)
    }
}

/// A secret is made as it is declared, or not at all: what a faulty declaration meant is nobody's guess.
fn sound(parsed: &Parsed, terminal: &Terminal) -> Result<(), CliError> {
    let faulty =
        |finding: &&Finding| finding.severity == Severity::Error && finding.at.starts_with("platform.secrets.generate");
    let faults: Findings = parsed.findings.iter().filter(faulty).cloned().collect();
    if faults.is_empty() {
        return Ok(());
    }
    terminal.say(findings::text(&faults, parsed, terminal.err_color, terminal.width).trim_end());
    let error = CliError::new(Exit::Findings, "what to generate is not clear; nothing was made");
    Err(error.hint("correct the declaration above, and say it again"))
}

/// Whether a word is a lab, and no name of a secret.
fn is_lab(word: &str) -> bool {
    let path = std::path::Path::new(word);
    let ending = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    ending || word.contains('/') || path.join("lab.yaml").is_file()
}

/// The named ones of what is declared, with what they are made from.
fn named(specs: &BTreeMap<String, Generator>, names: &[String]) -> Result<BTreeMap<String, Generator>, CliError> {
    let mut all = BTreeMap::new();
    let mut next: Vec<&str> = names.iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        let Some(spec) = specs.get(name) else {
            let error = CliError::usage(format!("the lab does not declare how `{name}` is made"));
            return Err(match nearest(name, specs.keys().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("put it in by hand: `labwright secret set {name}`")),
            });
        };
        if all.insert(name.to_string(), spec.clone()).is_none() {
            next.extend(spec.source());
        }
    }
    Ok(all)
}

/// Takes out what has to be typed and is not there, and what is made from it; returns what has to be typed.
fn left_out(specs: &mut BTreeMap<String, Generator>, keeper: &dyn Keeper) -> Result<Vec<String>, CliError> {
    let mut asked = Vec::new();
    for name in specs.iter().filter(|(_, spec)| matches!(spec, Generator::Prompt { .. })).map(|(name, _)| name) {
        if keeper.kept(name).map_err(secrets::error)?.is_none() {
            asked.push(name.clone());
        }
    }
    let mut gone = asked.clone();
    while !gone.is_empty() {
        specs.retain(|name, _| !gone.contains(name));
        let from = |spec: &Generator| spec.source().is_some_and(|source| gone.iter().any(|name| name == source));
        gone = specs.iter().filter(|(_, spec)| from(spec)).map(|(name, _)| name.clone()).collect();
    }
    Ok(asked)
}

fn missing(
    specs: &BTreeMap<String, generate::Generator>,
    keeper: &dyn Keeper,
) -> Result<BTreeMap<String, Made>, CliError> {
    let existing = |name: &str| keeper.kept(name);
    let publics = |name: &str| keeper.publics(name);
    let mut prompt = |name: &str, message: &str| ask_value(name, message);
    let mut given = Given { existing: &existing, publics: &publics, prompt: &mut prompt };
    generate::missing(specs, &mut given, &mut rand::rng(), labwright_engine::now()).map_err(secrets::error)
}
