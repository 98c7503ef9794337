//! A control group for each systemd host, in every hierarchy: hosts that share one delete each other's units.
//! No limits are set here, and none that a host sets inside is promised to hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const MOUNT: &str = "/sys/fs/cgroup";

/// Makes the groups and returns their folders; a process joins by writing 0 to `cgroup.procs` in each.
pub(crate) fn create(name: &str) -> Result<Vec<PathBuf>> {
    let roots = hierarchies();
    ensure!(!roots.is_empty(), "make control groups: there is no hierarchy under {MOUNT}");
    let make = |root: &PathBuf| {
        let group = root.join(name);
        fs::create_dir(&group).with_context(|| format!("make control group `{}`", group.display()))?;
        // A v1 cpuset starts empty and takes no process until both are set.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let value = fs::read(root.join(file)).unwrap_or_default();
            if !value.is_empty() {
                fs::write(group.join(file), value).with_context(|| format!("set `{file}` of `{}`", group.display()))?;
            }
        }
        Ok(group)
    };
    roots.iter().map(make).collect()
}

/// The names of all top-level groups, in any hierarchy.
pub(crate) fn names() -> Vec<String> {
    let folders = hierarchies().into_iter().flat_map(|root| subfolders(&root));
    let mut names: Vec<String> = folders.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    names.sort();
    names.dedup();
    names
}

/// The processes in the group of this name and below it.
pub(crate) fn processes(name: &str) -> Vec<i32> {
    fn collect(group: &Path, found: &mut Vec<i32>) {
        let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
        subfolders(group).iter().for_each(|inner| collect(inner, found));
    }
    let mut found = Vec::new();
    hierarchies().iter().for_each(|root| collect(&root.join(name), &mut found));
    found.sort_unstable();
    found.dedup();
    found
}

/// Removes the group of this name from every hierarchy; fails while a process is in it.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    fn remove_tree(group: &Path) -> io::Result<()> {
        subfolders(group).iter().try_for_each(|inner| remove_tree(inner))?;
        match fs::remove_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
    hierarchies().iter().try_for_each(|root| remove_tree(&root.join(name)))
}

/// One folder where there is only v2; with v1 one for each hierarchy (links like `cpu` to `cpu,cpuacct` left out).
fn hierarchies() -> Vec<PathBuf> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() { vec![mount.to_owned()] } else { subfolders(mount) }
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}
