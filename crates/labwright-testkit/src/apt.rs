//! An apt repository on the controller, so that installs and upgrades are real, offline and the same every time.
//! It is unsigned (`trusted=yes`) and flat: no suites, no components. There is one per lab.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::host::Host;
use crate::lab::TestLab;
use crate::network::CONTROLLER;
use crate::package::Package;
use crate::run::{run, tool};

const PORT: u16 = 8000;

/// A repository that lasts as long as its lab.
#[derive(Debug)]
pub struct AptRepo {
    folder: PathBuf,
    scratch: PathBuf,
}

impl AptRepo {
    /// Starts to serve an empty repository at [`AptRepo::url`].
    pub fn new(lab: &TestLab) -> Result<Self> {
        let repo = Self { folder: lab.dir().join("apt"), scratch: lab.dir().join("apt-scratch") };
        fs::create_dir(&repo.folder).context("make the folder of the repository: is there one already?")?;
        repo.index()?;
        lab.serve(PORT, &repo.folder)?;
        Ok(repo)
    }

    pub fn url(&self) -> String {
        format!("http://{CONTROLLER}:{PORT}")
    }

    /// Builds the package and puts it into the repository, beside other versions of it. Hosts see it after `apt-get update`.
    pub fn publish(&self, package: &Package) -> Result<()> {
        package.build(&self.folder, &self.scratch)?;
        self.index()
    }

    /// Makes this the only source of the host, and updates its lists.
    pub fn enable_on(&self, host: &Host) -> Result<()> {
        host.write("/etc/apt/sources.list", format!("deb [trusted=yes] {} ./\n", self.url()))?;
        // A light host has this machine's other sources and its proxy, which do not exist in the lab.
        host.write(
            "/etc/apt/apt.conf.d/99testkit",
            "Acquire::http::Proxy \"DIRECT\";\nAcquire::Languages \"none\";\n",
        )?;
        run(host.inside("sh")?.args(["-c", "rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*"]))?;
        run(host.inside("apt-get")?.args(["-q", "-o", "APT::Update::Error-Mode=any", "update"])).map(drop)
    }

    fn index(&self) -> Result<()> {
        let ftparchive = |what: &str| run(tool("apt-ftparchive").current_dir(&self.folder).args([what, "."]));
        for file in ["Packages", "Release"] {
            // Release covers what lies in the folder, so the old one must not lie there.
            let old = self.folder.join("Release");
            if old.exists() {
                fs::remove_file(old)?;
            }
            let content =
                ftparchive(&file.to_lowercase()).with_context(|| format!("write `{file}` of the repository"))?;
            fs::write(self.folder.join(file), content)?;
        }
        Ok(())
    }
}
