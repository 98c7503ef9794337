//! A folder with a lab file, a clean environment, and the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use labwright_testkit::TestLab;

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn code(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit code\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, what: &str) -> Ran {
        let all = format!("{}{}", self.out, self.err);
        assert!(all.contains(what), "`{what}` is not said\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says_not(self, what: &str) -> Ran {
        let all = format!("{}{}", self.out, self.err);
        assert!(!all.contains(what), "`{what}` is said\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Without hosts: a folder, and the program in a clean environment.
pub struct Desk {
    pub dir: tempfile::TempDir,
}

impl Desk {
    pub fn new(lab: &str) -> Desk {
        let desk = Desk { dir: tempfile::tempdir().unwrap() };
        desk.lab(lab);
        desk
    }

    pub fn lab(&self, lab: &str) {
        self.write("lab.yaml", lab);
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self) -> Command {
        clean(Command::new(env!("CARGO_BIN_EXE_labwright")), self.dir.path())
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command().args(args).output().unwrap().into()
    }
}

fn clean(mut command: Command, dir: &Path) -> Command {
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", dir.join("home")).env("COLUMNS", "100");
    command.env("LABWRIGHT_STATE_DIR", dir.join("state")).current_dir(dir).stdin(Stdio::null());
    command
}

/// With hosts: the program runs on the controller of a test lab.
pub struct World {
    pub net: TestLab,
    pub desk: Desk,
}

impl World {
    pub fn new() -> World {
        World { net: TestLab::new().unwrap(), desk: Desk::new("lab: test\n") }
    }

    pub fn lab(&self, lab: &str) {
        self.desk.lab(lab);
    }

    pub fn command(&self) -> Command {
        let mut command = self.net.command(env!("CARGO_BIN_EXE_labwright"));
        command.env("COLUMNS", "100").env("LABWRIGHT_STATE_DIR", self.desk.path("state"));
        command.current_dir(self.desk.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs a verb with this lab's SSH configuration.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.with_ssh(args).output().unwrap().into()
    }

    /// Runs a verb that asks no host.
    pub fn run_offline(&self, args: &[&str]) -> Ran {
        self.command().args(args).output().unwrap().into()
    }

    pub fn with_ssh(&self, args: &[&str]) -> Command {
        let mut command = self.command();
        command.args(args).arg("--ssh-config").arg(self.net.ssh_config());
        command
    }

    pub fn apply(&self) -> Ran {
        self.run(&["apply", "--yes"])
    }
}
