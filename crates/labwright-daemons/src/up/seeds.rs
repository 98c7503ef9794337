//! Data that is loaded once: which files are still to be loaded into what, and by which program. What was loaded is noted
//! beside the data itself, so a fresh copy of it is loaded anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use labwright_model::snapshot::up::Seeds;

/// Where it is noted, in the folder of the data: a hash and a name a line.
const NOTED: &str = ".labwright-seeds";

/// One file that is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub file: PathBuf,
    /// BLAKE3 of its content, in hex.
    pub hash: String,
    pub command: Vec<String>,
    /// What the command reads from its standard input.
    pub stdin: Option<PathBuf>,
    pub environment: BTreeMap<String, String>,
    /// Whether the command runs in the container of its database.
    pub inside: bool,
    /// Where it is noted once it is loaded.
    noted: PathBuf,
}

impl Step {
    /// Notes that it is loaded.
    ///
    /// # Errors
    /// It will be loaded again, and why.
    pub fn note(&self) -> Result<(), String> {
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&self.noted);
        let line = format!("{} {}\n", self.hash, self.file.display());
        open.and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all())).map_err(|error| {
            format!(
                "it is loaded, and that could not be noted in `{}`: {error}; it would be again",
                self.noted.display()
            )
        })
    }
}

/// What is still to be loaded, in order. `own` is the unit's own folder of data; `copy` says which copy of the data a
/// container has, where that is not in a folder of this machine.
///
/// # Errors
/// A file that cannot be read, or that no program is known for.
pub fn open(seeds: &Seeds, own: &Path, copy: Option<&str>) -> Result<Vec<Step>, String> {
    let said = seeds.data.as_ref().map(PathBuf::from).filter(|data| data.is_dir());
    let noted = match copy {
        Some(copy) => own.join(format!("{NOTED}-{}", &blake3::hash(copy.as_bytes()).to_hex()[..16])),
        None => said.unwrap_or_else(|| own.to_path_buf()).join(NOTED),
    };
    let loaded = match std::fs::read_to_string(&noted) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        // Not knowing is no reason to load everything a second time.
        Err(error) => return Err(format!("cannot tell what is loaded: `{}`: {error}", noted.display())),
    };
    let loaded: BTreeSet<&str> = loaded.lines().filter_map(|line| line.split(' ').next()).collect();
    let mut steps = Vec::new();
    for file in &seeds.files {
        let path = PathBuf::from(file);
        let content = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("there is no `{file}`"),
            _ => format!("cannot read `{file}`: {error}"),
        })?;
        let hash = blake3::hash(&content).to_hex().to_string();
        if !loaded.contains(hash.as_str()) {
            let within = seeds.container.is_some().then(|| inside(seeds, &path)).transpose()?.flatten();
            let is_inside = within.is_some();
            let (command, stdin) = within.map_or_else(|| command(seeds, &path), |command| Ok((command, true)))?;
            let environment = environment(seeds);
            steps.push(Step {
                inside: is_inside,
                stdin: stdin.then(|| path.clone()),
                file: path,
                hash,
                command,
                environment,
                noted: noted.clone(),
            });
        }
    }
    Ok(steps)
}

/// The command that loads a file, and whether it reads it from its standard input.
fn command(seeds: &Seeds, file: &Path) -> Result<(Vec<String>, bool), String> {
    let shown = file.display().to_string();
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    let program = Path::new(&seeds.program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let port = || {
        seeds.port.map(|port| port.to_string()).ok_or_else(|| {
            format!("`{shown}` is loaded over the port of `{}`, and it has none: add `port: 5432`", seeds.into)
        })
    };
    let is = |names: &[&str]| names.iter().any(|name| program.starts_with(name));
    let (postgres, mysql, redis) =
        (is(&["postgres", "postmaster"]), is(&["mysqld", "mariadbd"]), is(&["redis-server", "valkey-server"]));
    match extension.as_str() {
        "sql" if postgres => {
            let to = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port()?, "-f", &shown];
            Ok((words(&to), false))
        }
        "dump" if postgres => {
            let variables = environment(seeds);
            let database = variables.get("PGDATABASE").map_or("postgres", String::as_str);
            let to = [
                "pg_restore",
                "--no-owner",
                "--exit-on-error",
                "-h",
                "127.0.0.1",
                "-p",
                &port()?,
                "-d",
                database,
                &shown,
            ];
            Ok((words(&to), false))
        }
        "sql" | "dump" if mysql => {
            // Its password is in a variable (`environment`).
            let client = if is(&["mariadbd"]) { "mariadb" } else { "mysql" };
            let user = user_of_mysql(seeds).unwrap_or("root");
            let mut to = words(&[client, "--protocol=tcp", "-h", "127.0.0.1", "-P", &port()?, "-u", user]);
            to.extend(first_of(seeds, &["MYSQL_DATABASE", "MARIADB_DATABASE"]).map(str::to_string));
            Ok((to, true))
        }
        // `redis-cli` that reads commands line by line ends well whatever they answer; `--pipe` counts what failed.
        "redis" if redis => Ok((words(&["redis-cli", "--pipe", "-h", "127.0.0.1", "-p", &port()?]), true)),
        _ if std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o111 != 0) => {
            Ok((vec![shown], false))
        }
        "sh" => Ok((words(&["/bin/sh", &shown]), false)),
        _ => Err(format!(
            "nothing is known that loads `{shown}` into `{program}`; a script that does it can stand there instead: it finds the \
             port in `LABWRIGHT_PORT`"
        )),
    }
}

/// The command in the database's own container that loads a file from its standard input. `None`: a program of this machine
/// does, over the port. Passwords are read there, from where the image has them, and stand in no argument.
fn inside(seeds: &Seeds, file: &Path) -> Result<Option<Vec<String>>, String> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    let is = |names: &[&str]| names.iter().any(|name| seeds.program.contains(name));
    let (postgres, mysql) = (is(&["postgres", "pgvector", "postgis", "timescale"]), is(&["mysql", "mariadb"]));
    let (redis, mssql) = (is(&["redis", "valkey"]), is(&["mssql", "server"]));
    let shell = |script: String| Ok(Some(vec!["/bin/sh".to_string(), "-c".into(), script]));
    let port = |usual: u16| seeds.port.unwrap_or(usual);
    let postgres_to = |usual: u16| {
        format!(
            "export PGUSER=\"${{POSTGRES_USER:-postgres}}\"; export PGDATABASE=\"${{POSTGRES_DB:-$PGUSER}}\"; \
             [ -n \"$POSTGRES_PASSWORD_FILE\" ] && POSTGRES_PASSWORD=$(cat \"$POSTGRES_PASSWORD_FILE\"); \
             export PGPASSWORD=\"$POSTGRES_PASSWORD\" PGHOST=127.0.0.1 PGPORT={}; ",
            port(usual)
        )
    };
    match extension.as_str() {
        "sql" if postgres => shell(postgres_to(5432) + "exec psql -X -q -v ON_ERROR_STOP=1 -f -"),
        "dump" if postgres => {
            shell(postgres_to(5432) + "exec pg_restore --no-owner --exit-on-error -d \"$PGDATABASE\"")
        }
        // Root by its password; without one that is known, as the user that the image makes, where it makes one.
        "sql" | "dump" if mysql => shell(format!(
            "p=\"${{MYSQL_ROOT_PASSWORD:-$MARIADB_ROOT_PASSWORD}}\"; \
             f=\"${{MYSQL_ROOT_PASSWORD_FILE:-$MARIADB_ROOT_PASSWORD_FILE}}\"; [ -n \"$f\" ] && p=$(cat \"$f\"); \
             u=root; o=\"${{MYSQL_USER:-$MARIADB_USER}}\"; \
             if [ -z \"$p\" ] && [ -n \"$o\" ] && [ -z \"$MYSQL_ALLOW_EMPTY_PASSWORD$MARIADB_ALLOW_EMPTY_ROOT_PASSWORD\" ]; then u=$o; \
             p=\"${{MYSQL_PASSWORD:-$MARIADB_PASSWORD}}\"; f=\"${{MYSQL_PASSWORD_FILE:-$MARIADB_PASSWORD_FILE}}\"; \
             [ -n \"$f\" ] && p=$(cat \"$f\"); fi; \
             export MYSQL_PWD=\"$p\"; c=mysql; command -v mysql >/dev/null || c=mariadb; \
             exec $c --protocol=tcp -h 127.0.0.1 -P {} -u \"$u\" ${{MYSQL_DATABASE:-$MARIADB_DATABASE}}",
            port(3306)
        )),
        "sql" if mssql => shell(format!(
            "export SQLCMDPASSWORD=\"${{MSSQL_SA_PASSWORD:-$SA_PASSWORD}}\"; c=/opt/mssql-tools18/bin/sqlcmd; \
             [ -x $c ] || c=/opt/mssql-tools/bin/sqlcmd; exec $c -C -b -S 127.0.0.1,{} -U sa -i /dev/stdin",
            port(1433)
        )),
        "redis" if redis => shell(format!(
            "f=\"${{REDIS_PASSWORD_FILE:-$VALKEY_PASSWORD_FILE}}\"; [ -n \"$f\" ] && REDIS_PASSWORD=$(cat \"$f\"); \
             p=\"${{REDISCLI_AUTH:-${{REDIS_PASSWORD:-$VALKEY_PASSWORD}}}}\"; [ -z \"$p\" ] || export REDISCLI_AUTH=\"$p\"; \
             c=redis-cli; command -v redis-cli >/dev/null || c=valkey-cli; exec $c --pipe -h 127.0.0.1 -p {}",
            port(6379)
        )),
        "sh" => Ok(Some(vec!["/bin/sh".into(), "-s".into()])),
        _ if std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o111 != 0) => Ok(None),
        _ => Err(format!(
            "nothing is known that loads `{}` into `{}`; a script that does it can stand there instead: one that ends in \
             `.sh` runs in the container",
            file.display(),
            seeds.program
        )),
    }
}

fn first_of<'a>(seeds: &'a Seeds, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| seeds.environment.get(*name)).map(String::as_str)
}

/// Who loads data into MySQL, where that is not root: the user that is said, where root's password is not.
fn user_of_mysql(seeds: &Seeds) -> Option<&str> {
    match first_of(seeds, &["MYSQL_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD"]) {
        Some(_) => None,
        None => first_of(seeds, &["MYSQL_USER", "MARIADB_USER"]),
    }
}

/// The variables of a unit, with those that the programs of its database read.
fn environment(seeds: &Seeds) -> BTreeMap<String, String> {
    let mut all = seeds.environment.clone();
    for (of_server, of_client) in [
        ("POSTGRES_USER", "PGUSER"),
        ("POSTGRES_PASSWORD", "PGPASSWORD"),
        ("POSTGRES_DB", "PGDATABASE"),
        ("MYSQL_ROOT_PASSWORD", "MYSQL_PWD"),
        ("MARIADB_ROOT_PASSWORD", "MYSQL_PWD"),
        ("REDIS_PASSWORD", "REDISCLI_AUTH"),
    ] {
        if let Some(value) = seeds.environment.get(of_server).cloned() {
            all.entry(of_client.to_string()).or_insert(value);
        }
    }
    if user_of_mysql(seeds).is_some()
        && let Some(value) = first_of(seeds, &["MYSQL_PASSWORD", "MARIADB_PASSWORD"])
    {
        all.entry("MYSQL_PWD".to_string()).or_insert(value.to_string());
    }
    if let Some(port) = seeds.port {
        all.insert("LABWRIGHT_PORT".into(), port.to_string());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_is_loaded_once_for_each_copy_of_the_data() {
        let folder = tempfile::tempdir().unwrap();
        let (file, data) = (folder.path().join("a.sql"), folder.path().join("data"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(&file, "select 1;").unwrap();
        let seeds = Seeds {
            into: "db".into(),
            files: vec![file.display().to_string()],
            program: "/usr/lib/postgresql/15/bin/postgres".into(),
            port: Some(5433),
            environment: BTreeMap::from([("POSTGRES_USER".into(), "me".into())]),
            ..Seeds::default()
        };
        let steps = open(&seeds, &data, None).unwrap();
        assert_eq!(steps[0].command[..2], ["psql", "-X"]);
        assert_eq!(steps[0].environment["PGUSER"], "me");
        steps[0].note().unwrap();
        assert_eq!(open(&seeds, &data, None), Ok(Vec::new()));
        std::fs::write(&file, "select 2;").unwrap();
        assert_eq!(open(&seeds, &data, None).unwrap().len(), 1, "other content");
        std::fs::write(&file, "select 1;").unwrap();
        std::fs::remove_dir_all(&data).unwrap();
        assert_eq!(open(&seeds, &data, None).unwrap().len(), 1, "a fresh copy");
    }

    #[test]
    fn what_nothing_loads_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("old.bak");
        std::fs::write(&file, "x").unwrap();
        let seeds = Seeds { files: vec![file.display().to_string()], program: "app".into(), ..Seeds::default() };
        assert!(open(&seeds, folder.path(), None).unwrap_err().contains("a script that does it"));
        let seeds = Seeds { files: vec!["/no/such.sql".into()], ..Seeds::default() };
        assert_eq!(open(&seeds, folder.path(), None).unwrap_err(), "there is no `/no/such.sql`");
    }
}
