//! `labwright docs`: the lab as Markdown pages, for its people or for everybody.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use labwright_plan::docs::{Edition, Page, docs};
use serde_json::json;

use super::reading;
use crate::error::{CliError, Exit};
use crate::lab::LabArg;
use crate::render::{findings::count, table};
use crate::terminal::Terminal;

/// Writes the lab as Markdown: inventory, address plan, network, map, a page for each service, recovery order.
///
/// The same lab gives the same pages, without a date, so they can be kept under version control. With `--out` only pages
/// that begin with this tool's marker are replaced or removed; whatever else is in the folder stays. `--public` tells the
/// patterns and no name, address, domain, version, owner, path or secret.
#[derive(clap::Args)]
pub struct DocsCommand {
    #[command(flatten)]
    lab: LabArg,
    /// Write the pages into this folder; without it, they are listed.
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    out: Option<PathBuf>,
    /// Print one page, by its path as it is listed.
    #[arg(long, value_name = "NAME")]
    page: Option<String>,
    /// The edition for everybody: the patterns, not the specifics.
    #[arg(long)]
    public: bool,
    /// Print pages, or with `--out` what was done to each, as JSON.
    #[arg(long)]
    json: bool,
}

/// What became of the pages, by path.
#[derive(Default, serde::Serialize)]
struct Done {
    written: Vec<String>,
    unchanged: Vec<String>,
    removed: Vec<String>,
}

impl DocsCommand {
    pub fn run(self, terminal: &Terminal) -> Result<Exit, CliError> {
        let parsed = reading::lab(&self.lab, terminal)?;
        let edition = if self.public { Edition::Public } else { Edition::Internal };
        let mut pages = docs(&parsed, edition);
        if let Some(folder) = &self.out {
            let done = write(folder, &pages, edition)?;
            if self.json {
                terminal.document(&done)?;
            } else {
                let list = |paths: &[String], word: &str| {
                    paths.iter().map(|path| format!("{word} {path}\n")).collect::<String>()
                };
                terminal.data(&(list(&done.written, "wrote  ") + &list(&done.removed, "removed")));
                let unchanged = count(done.unchanged.len(), "page");
                terminal.say(
                    &format!(
                        "{} written, {unchanged} as it was, {} removed in `{}`",
                        count(done.written.len(), "page"),
                        done.removed.len(),
                        folder.display()
                    )
                    .replace("pages as it was", "pages as they were"),
                );
            }
            return Ok(Exit::Done);
        }
        if let Some(name) = &self.page {
            let same = |page: &Page| page.path == *name || page.path.strip_suffix(".md") == Some(name);
            let paths: Vec<String> = pages.iter().map(|page| page.path.clone()).collect();
            pages.retain(same);
            if pages.is_empty() {
                let near = labwright_model::finding::nearest(name, paths.iter().map(String::as_str));
                let error = CliError::usage(format!("there is no page `{name}`"));
                return Err(error.hint(
                    near.map_or("`labwright docs` lists them".to_string(), |near| format!("did you mean `{near}`?")),
                ));
            }
            if !self.json {
                pages.iter().for_each(|page| terminal.data(&page.text));
                return Ok(Exit::Done);
            }
        }
        if self.json {
            terminal.document(&json!({ "pages": pages }))?;
        } else {
            let rows: Vec<Vec<String>> = pages.iter().map(|page| vec![page.path.clone(), page.title.clone()]).collect();
            terminal.data(&table::text(&["PAGE", "TITLE"], &rows));
            terminal.hint("`--page NAME` prints one, `--out DIR` writes them all");
        }
        Ok(Exit::Done)
    }
}

/// Brings a folder up to date. Everything is looked at before anything is written.
fn write(folder: &Path, pages: &[Page], edition: Edition) -> Result<Done, CliError> {
    let mut done = Done::default();
    let mut changed = Vec::new();
    for page in pages {
        let path = folder.join(&page.path);
        match whose(&path, edition).map_err(|error| cannot("read", &path, &error))? {
            Whose::Nobodys => changed.push(page),
            Whose::Ours(text) if text == page.text.as_bytes() => done.unchanged.push(page.path.clone()),
            Whose::Ours(_) => changed.push(page),
            Whose::Theirs => {
                let error = CliError::usage(format!(
                    "`{}` was not written by this command; nothing was written",
                    path.display()
                ));
                return Err(error.hint("move it away, or choose another folder with `--out`"));
            }
        }
    }
    let stale = stale(folder, pages, edition).map_err(|error| cannot("look through", folder, &error))?;
    for page in changed {
        let path = folder.join(&page.path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| cannot("make", parent, &error))?;
        replace(&path, &page.text).map_err(|error| cannot("write", &path, &error))?;
        done.written.push(page.path.clone());
    }
    for name in stale {
        let path = folder.join(&name);
        fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
        done.removed.push(name);
    }
    Ok(done)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::usage(format!("cannot {what} `{}`: {error}", path.display()))
}

enum Whose {
    Nobodys,
    Ours(Vec<u8>),
    Theirs,
}

/// A page that begins with the edition's marker is this command's; a link leads to what somebody else put there.
fn whose(path: &Path, edition: Edition) -> io::Result<Whose> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Whose::Nobodys),
        found => found?,
    };
    if !found.is_file() {
        return Ok(Whose::Theirs);
    }
    let text = fs::read(path)?;
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(if first == edition.marker().as_bytes() { Whose::Ours(text) } else { Whose::Theirs })
}

/// Pages of this edition that an earlier run wrote and that the lab no longer has: below the folder and its `services`.
fn stale(folder: &Path, pages: &[Page], edition: Edition) -> io::Result<Vec<String>> {
    let mut stale = Vec::new();
    for prefix in ["", "services/"] {
        let inside = folder.join(prefix);
        let is_folder = fs::symlink_metadata(&inside).is_ok_and(|found| found.is_dir());
        // The folder itself may be reached by a link; one inside it leads elsewhere.
        if !(is_folder || prefix.is_empty() && inside.is_dir()) {
            continue;
        }
        for entry in fs::read_dir(&inside)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            if name.ends_with(".md")
                && !pages.iter().any(|page| page.path == path)
                && let Whose::Ours(_) = whose(&inside.join(&name), edition)?
            {
                stale.push(path);
            }
        }
    }
    stale.sort();
    Ok(stale)
}

/// A page is there whole or as it was.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("md.{}", std::process::id()));
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What could not be written may not be there either.
        drop(fs::remove_file(&new));
    }
    written
}
