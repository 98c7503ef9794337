//! A small Debian package: files, perhaps a systemd unit, built into a `.deb` that apt installs, upgrades and removes.
//! It is always of architecture `all` and holds nothing compiled.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::run::{run, tool};

/// What goes into a package.
#[derive(Clone, Debug)]
pub struct Package {
    name: String,
    version: String,
    depends: Vec<String>,
    files: Vec<(String, Vec<u8>, u32)>,
    unit: Option<String>,
}

impl Package {
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), depends: vec![], files: vec![], unit: None }
    }

    /// A file of mode 0644 at the absolute `path`. One under /etc becomes a conffile, as in Debian's own packages.
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), content.as_ref().to_vec(), 0o644));
        self
    }

    /// A file of mode 0755.
    pub fn executable(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), content.as_ref().to_vec(), 0o755));
        self
    }

    /// A systemd unit such as `demo.service`. Installing the package enables and starts it, an upgrade restarts it, removing
    /// the package stops it; where no systemd runs, it is only enabled.
    pub fn unit(mut self, name: &str, text: &str) -> Self {
        self.unit = Some(name.to_owned());
        self.file(&format!("/lib/systemd/system/{name}"), text)
    }

    /// A dependency as in a control file, such as `other (>= 1.2)`.
    pub fn depends(mut self, relation: &str) -> Self {
        self.depends.push(relation.to_owned());
        self
    }

    /// Builds the package in `folder`, with `scratch` (made, then removed) for the tree it is built from.
    pub(crate) fn build(&self, folder: &Path, scratch: &Path) -> Result<PathBuf> {
        let (name, version) = (&self.name, &self.version);
        let described = || format!("build package `{name}` {version}");
        // As in Debian, the file's name leaves out the version's epoch.
        let plain_version = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
        let deb = folder.join(format!("{name}_{plain_version}_all.deb"));
        self.lay_out(scratch).with_context(described)?;
        // gzip, since the default would spend most of a test's time compressing.
        run(tool("dpkg-deb").args(["--root-owner-group", "-Zgzip", "-b"]).arg(scratch).arg(&deb))
            .with_context(described)?;
        fs::remove_dir_all(scratch).with_context(described)?;
        Ok(deb)
    }

    fn lay_out(&self, tree: &Path) -> Result<()> {
        let put = |path: &Path, content: &[u8], mode: u32| -> Result<()> {
            let folder = path.parent().context("find the folder of a file")?;
            fs::create_dir_all(folder)?;
            fs::write(path, content)?;
            Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
        };
        for (path, content, mode) in &self.files {
            let relative = path.strip_prefix('/').with_context(|| format!("put `{path}`: it is not absolute"))?;
            put(&tree.join(relative), content, *mode)?;
        }
        let control = tree.join("DEBIAN");
        put(&control.join("control"), self.control().as_bytes(), 0o644)?;
        let conffiles = self.files.iter().filter(|(path, ..)| path.starts_with("/etc/"));
        let conffiles: String = conffiles.map(|(path, ..)| format!("{path}\n")).collect();
        if !conffiles.is_empty() {
            put(&control.join("conffiles"), conffiles.as_bytes(), 0o644)?;
        }
        if let Some(unit) = &self.unit {
            ensure!(!unit.contains(char::is_whitespace), "name a unit `{unit}`: it has a space");
            for (script, body) in [("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)] {
                put(&control.join(script), format!("#!/bin/sh\nset -e\nunit={unit}\n{body}").as_bytes(), 0o755)?;
            }
        }
        // dpkg takes folders as they are here, and the tests may run with any umask.
        set_folder_modes(tree)
    }

    fn control(&self) -> String {
        let depends =
            if self.depends.is_empty() { String::new() } else { format!("Depends: {}\n", self.depends.join(", ")) };
        format!(
            "Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: Labwright testkit <root@localhost>\n{depends}\
             Description: package made for a test\n",
            self.name, self.version
        )
    }
}

fn set_folder_modes(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            set_folder_modes(&entry.path())?;
        }
    }
    Ok(())
}

// Like the scripts of Debian's own packages: enabled only by the first install, so that a user's choice to disable the unit
// outlives an upgrade, and started through what respects policy-rc.d.

const POSTINST: &str = r#"if [ "$1" = configure ]; then
  if [ -z "$2" ] && command -v systemctl >/dev/null; then
    systemctl --quiet enable "$unit"
  fi
  if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload
    if [ -n "$2" ]; then action=restart; else action=start; fi
    deb-systemd-invoke "$action" "$unit" >/dev/null || true
  fi
fi
"#;

const PRERM: &str = r#"if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  deb-systemd-invoke stop "$unit" >/dev/null || true
fi
"#;

const POSTRM: &str = r#"if [ "$1" = purge ]; then
  rm -f /etc/systemd/system/*.wants/"$unit"
fi
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload || true
fi
"#;
