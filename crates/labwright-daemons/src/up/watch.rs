//! Files whose change restarts a unit. The kernel tells of changes; nothing is looked at meanwhile.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Watches until it goes.
pub struct Watch(#[expect(dead_code, reason = "it is kept for its end")] RecommendedWatcher);

/// Tells of each change of a file that one of the globs (absolute) takes.
///
/// # Errors
/// A glob that is none, or a folder that cannot be watched.
pub fn watch(globs: &[String], tell: impl Fn(&Path) + Send + 'static) -> Result<Watch, String> {
    let mut set = GlobSetBuilder::new();
    let mut folders: Vec<(PathBuf, RecursiveMode)> = Vec::new();
    for glob in globs {
        let built = GlobBuilder::new(glob).literal_separator(true).build();
        set.add(built.map_err(|error| format!("`watch: {glob}` is no glob: {}", error.kind()))?);
        folders.push(base(glob));
    }
    let set: GlobSet = set.build().map_err(|error| error.to_string())?;
    let heard = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        // That somebody reads a file is no change of it.
        if matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)) {
            event.paths.iter().filter(|path| set.is_match(path)).take(1).for_each(|path| tell(path));
        }
    };
    let mut watcher =
        notify::recommended_watcher(heard).map_err(|error| format!("changes of files cannot be watched: {error}"))?;
    for (folder, mode) in folders {
        if !folder.is_dir() {
            return Err(format!("the folder `{}` of its `watch` is not there", folder.display()));
        }
        watcher.watch(&folder, mode).map_err(|error| format!("`{}` cannot be watched: {error}", folder.display()))?;
    }
    Ok(Watch(watcher))
}

/// The folder that a glob begins in, and whether what is below its folders counts as well.
fn base(glob: &str) -> (PathBuf, RecursiveMode) {
    let special = |part: &str| part.contains(['*', '?', '[', '{']);
    let parts: Vec<&str> = glob.split('/').collect();
    let fixed = parts.iter().take_while(|part| !special(part)).count().min(parts.len() - 1);
    let mode = if parts.len() - fixed > 1 { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
    let folder = parts[..fixed].join("/");
    (PathBuf::from(if folder.is_empty() { "/" } else { &folder }), mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_begin_in_a_folder() {
        for (glob, folder, mode) in [
            ("/a/b/c.toml", "/a/b", RecursiveMode::NonRecursive),
            ("/a/b/*.rs", "/a/b", RecursiveMode::NonRecursive),
            ("/a/**/*.rs", "/a", RecursiveMode::Recursive),
            ("/a/*/c.rs", "/a", RecursiveMode::Recursive),
        ] {
            assert_eq!(base(glob), (PathBuf::from(folder), mode), "{glob}");
        }
    }

    #[test]
    fn changes_that_are_meant_are_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let (send, told) = std::sync::mpsc::channel();
        let glob = format!("{}/**/*.rs", folder.path().display());
        let _watch = watch(&[glob], move |path| drop(send.send(path.to_path_buf()))).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        std::fs::write(folder.path().join("src/main.rs"), "x").unwrap();
        let path = told.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(path, folder.path().join("src/main.rs"));
        assert!(watch(&["/no/such/*.rs".into()], |_| {}).err().unwrap().contains("is not there"));
    }
}
