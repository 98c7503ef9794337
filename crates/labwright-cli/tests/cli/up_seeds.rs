//! Databases as Debian has them, as processes and in containers that see this machine's `/usr`: their own programs load what is
//! to be loaded.

use std::fs;
use std::process::Command;

use crate::up::{Here, until as soon};
use crate::up_containers::{Dock, until};

impl Dock {
    /// An image in which this machine's `/usr` is to be mounted.
    fn system(&self, name: &str, changes: &[&str]) {
        let root = self.desk.path("image");
        fs::create_dir_all(root.join("tmp")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        for folder in ["bin", "sbin", "lib", "lib64"] {
            if !root.join(folder).is_symlink() {
                std::os::unix::fs::symlink(format!("usr/{folder}"), root.join(folder)).unwrap();
            }
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\nmysql:x:998:998::/:/bin/sh\n",
        )
        .unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\npostgres:x:999:\nmysql:x:998:\n").unwrap();
        let tar = self.desk.path("image.tar").display().to_string();
        let packed =
            Command::new("tar").arg("-C").arg(&root).args(["--owner=0", "--group=0", "-cf", &tar, "."]).status();
        assert!(packed.unwrap().success());
        let changes: Vec<&str> = changes.iter().flat_map(|change| ["-c", *change]).collect();
        self.docker(&[&["import"], changes.as_slice(), &[&tar, &format!("127.0.0.1:5000/{name}")]].concat());
    }
}

fn needs(program: &str, package: &str) {
    assert!(std::path::Path::new(program).exists(), "needs the package `{package}`: run scripts/test-deps");
}

#[test]
fn postgresql_in_a_container_is_seeded_by_its_own_programs() {
    let programs =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let bin = programs.max().unwrap_or_else(|| panic!("needs the package `postgresql`")).display().to_string();
    let dock = Dock::new("");
    let path = format!("ENV PATH={bin}:/usr/sbin:/usr/bin");
    dock.system("postgres:17", &[&path, "VOLUME /data"]);
    let serve = "mkdir -p /data/pg && chown 999:999 /data/pg && chmod 700 /data/pg && chmod 1777 /tmp; as='setpriv --reuid=999 --regid=999 --clear-groups'; \
                 test -s /data/pg/PG_VERSION || $as initdb -N -U postgres -A trust -D /data/pg >/dev/null; \
                 exec $as postgres -D /data/pg -c listen_addresses=* -c fsync=off -c unix_socket_directories=/tmp";
    dock.services(&format!(
        "  db: {{ on: box, containers: {{ app: {{ image: REG/postgres:17, volumes: [\"/usr:/usr:ro\"], command: [/bin/sh, -c, {serve:?}] }} }}, port: app:5432, seed: [seeds/schema.sql, seeds/jobs.dump] }}\n\
         \x20 app: {{ on: box, needs: [db], run: [/bin/sleep, infinity] }}\n"
    ));
    dock.desk.write(
        "seeds/schema.sql",
        "create table place (name text primary key);\ninsert into place values ('lighthouse');\n",
    );
    dock.desk.write("seeds/jobs.dump", "this is no dump");
    dock.up(&[]).code(7).says("jobs.dump` was not loaded").says("does not appear to be a valid archive");
    let ask = |question: &str| {
        dock.docker(&[
            "exec",
            &dock.container("db", "app"),
            "psql",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-Atc",
            question,
        ])
    };
    assert_eq!(ask("select name from place"), "lighthouse");
    // A real dump, made by the database itself.
    ask("create table job (id int); insert into job values (1), (2)");
    let name = dock.container("db", "app");
    dock.docker(&[
        "exec",
        &name,
        "pg_dump",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-Fc",
        "-t",
        "job",
        "-f",
        "/tmp/job.dump",
        "postgres",
    ]);
    dock.docker(&["cp", &format!("{name}:/tmp/job.dump"), &dock.desk.path("seeds/jobs.dump").display().to_string()]);
    ask("drop table job");
    dock.run(&["down"]).code(0);
    dock.up(&[]).code(0).says("3 of 3 are well").says_not("already exists");
    assert_eq!(ask("select (select count(*) from place), (select count(*) from job)"), "1|2");
    dock.run(&["restart", "db"]).code(0);
    until("it is well again", || dock.unit("db")["phase"] == "ready" && dock.unit("db")["restarts"] == 1);
    assert_eq!(ask("select (select count(*) from place), (select count(*) from job)"), "1|2");
    dock.run(&["down"]).code(0);
}

const MARIADB: &str = "mkdir -p /data/db && chown 998:998 /data/db && chmod 1777 /tmp; cd /tmp; \
    test -d /data/db/mysql || mariadb-install-db --no-defaults --user=mysql --datadir=/data/db --auth-root-authentication-method=normal >/dev/null; \
    printf '%s\\n' \"create database if not exists shop;\" \"create user if not exists keeper@'%' identified by 'k33p';\" \
    \"grant all on shop.* to keeper@'%';\" \"create user if not exists root@'127.0.0.1' identified by '$ROOT';\" \
    \"alter user root@'127.0.0.1' identified by '$ROOT';\" \"grant all on *.* to root@'127.0.0.1';\" > /tmp/first.sql; \
    exec mariadbd --no-defaults --user=mysql --datadir=/data/db --socket=/tmp/db.sock --port=3306 --init-file=/tmp/first.sql \
    --innodb-flush-log-at-trx-commit=0 --skip-name-resolve";

#[test]
fn mariadb_in_a_container_is_seeded_by_its_own_programs() {
    needs("/usr/sbin/mariadbd", "mariadb-server-core");
    needs("/usr/bin/mariadb", "mariadb-client-core");
    let dock = Dock::new("");
    dock.system("mariadb:11", &["ENV PATH=/usr/sbin:/usr/bin", "VOLUME /data"]);
    let serve = MARIADB.replace('$', "$$").replace("$$ROOT", "r00t");
    let db = |more: &str| {
        dock.services(&format!(
            "  db: {{ on: box, containers: {{ app: {{ image: REG/mariadb:11, volumes: [\"/usr:/usr:ro\"], command: [/bin/sh, -c, {serve:?}], environment: {{ {more} }} }} }}, \
             port: app:3306, seed: [seeds/schema.sql, seeds/jobs.dump] }}\n\
             \x20 app: {{ on: box, needs: [db], run: [/bin/sleep, infinity] }}\n"
        ));
    };
    db("MARIADB_ROOT_PASSWORD: r00t, MARIADB_DATABASE: shop");
    dock.desk.write(
        "seeds/schema.sql",
        "create table place (name varchar(40) primary key);\ninsert into place values ('lighthouse');\n",
    );
    dock.desk.write("seeds/jobs.dump", "insert into nothing values (1);\n");
    dock.up(&[])
        .code(7)
        .says("jobs.dump` was not loaded: it ended with exit code 1")
        .says("Table 'shop.nothing' doesn't exist")
        .says("app is waiting")
        .says_not("r00t");
    let client = |args: &[&str]| {
        let name = dock.container("db", "app");
        let base = ["exec", "-e", "MYSQL_PWD=r00t", &name];
        dock.docker(&[base.as_slice(), args].concat())
    };
    let ask = |question: &str| {
        client(&["mariadb", "--protocol=tcp", "-h127.0.0.1", "-uroot", "-N", "-B", "shop", "-e", question])
    };
    assert_eq!(ask("select name from place"), "lighthouse");
    // A real dump, as the database's own program makes one.
    ask("create table job (id int primary key, note text); insert into job values (1, 'it''s; done'), (2, 'über')");
    let made = dock.docker(&[
        "exec", "-e", "MYSQL_PWD=r00t", &dock.container("db", "app"), "/bin/sh", "-c",
        "command -v mariadb-dump >/dev/null && exec mariadb-dump --protocol=tcp -h127.0.0.1 -uroot --default-character-set=utf8mb4 shop job || exit 0",
    ]);
    let dump = if made.is_empty() {
        "drop table if exists job;\ncreate table job (id int primary key, note text);\ninsert into job values (1,'it\\'s; done'),(2,'über');\n".to_string()
    } else {
        made
    };
    dock.desk.write("seeds/jobs.dump", dump);
    ask("drop table job");
    dock.run(&["down"]).code(0);
    dock.up(&[]).code(0).says("3 of 3 are well").says_not("already exists");
    assert_eq!(ask("select count(*) from place"), "1");
    assert_eq!(ask("select note from job where id = 1"), "it's; done");
    // As the user that the image makes, where nobody knows root's password.
    dock.run(&["down"]).code(0);
    db("MARIADB_RANDOM_ROOT_PASSWORD: \"1\", MARIADB_USER: keeper, MARIADB_PASSWORD: k33p, MARIADB_DATABASE: shop");
    dock.desk
        .write("seeds/schema.sql", "insert into place select concat('seen by ', substring_index(user(), '@', 1));\n");
    dock.up(&[]).code(0);
    assert_eq!(ask("select name from place order by name"), "lighthouse\nseen by keeper");
    dock.run(&["restart", "db"]).code(0);
    until("it is well again", || dock.unit("db")["phase"] == "ready" && dock.unit("db")["restarts"] == 1);
    assert_eq!(ask("select count(*) from place"), "2", "once for each content");
    dock.run(&["down"]).code(0);
}

#[test]
fn redis_in_a_container_is_seeded_and_a_command_that_fails_is_told() {
    needs("/usr/bin/redis-server", "redis-server");
    let dock = Dock::new("");
    dock.system("redis:8", &["ENV PATH=/usr/sbin:/usr/bin", "VOLUME /data"]);
    let serve = "cd /data; exec redis-server --bind 0.0.0.0 --save 1 1 --requirepass \"$$REDIS_PASSWORD\"";
    dock.services(&format!(
        "  cache: {{ on: box, containers: {{ app: {{ image: REG/redis:8, volumes: [\"/usr:/usr:ro\"], command: [/bin/sh, -c, {serve:?}], environment: {{ REDIS_PASSWORD: r3dis }} }} }}, \
         port: app:6379, seed: seeds/settings.redis }}\n\
         \x20 app: {{ on: box, needs: [cache], run: [/bin/sleep, infinity] }}\n"
    ));
    // Its own client goes on after a command that fails, and ends well.
    dock.desk.write("seeds/settings.redis", "SET colour \"dark blue\"\nSETT size 3\n");
    dock.up(&[])
        .code(7)
        .says("settings.redis` was not loaded: it ended with exit code 1")
        .says("unknown command 'SETT'")
        .says("app is waiting")
        .says_not("r3dis");
    dock.run(&["down"]).code(0);
    dock.desk.write(
        "seeds/settings.redis",
        "SET colour \"dark blue\"\n\nHSET page size 3 font serif\nSELECT 1\nINCR visits\n",
    );
    dock.up(&[]).code(0).says("3 of 3 are well");
    let ask = |args: &[&str]| {
        let name = dock.container("cache", "app");
        dock.docker(&[&["exec", "-e", "REDISCLI_AUTH=r3dis", &name, "redis-cli"], args].concat())
    };
    assert_eq!(ask(&["get", "colour"]), "dark blue");
    assert_eq!(ask(&["hget", "page", "font"]), "serif");
    assert_eq!(ask(&["-n", "1", "get", "visits"]), "1");
    ask(&["save"]);
    dock.run(&["down"]).code(0);
    dock.up(&[]).code(0);
    assert_eq!(ask(&["-n", "1", "get", "visits"]), "1", "once for each content and volume");
    dock.run(&["down"]).code(0);
}

#[test]
fn databases_that_run_as_processes_are_seeded_over_their_ports() {
    needs("/usr/sbin/mariadbd", "mariadb-server-core");
    needs("/usr/bin/redis-server", "redis-server");
    let here = Here::new("");
    let folder = here.desk.dir.path().display().to_string();
    let install = format!(
        "test -d $LABWRIGHT_DATA/db || mariadb-install-db --no-defaults --user=root --datadir=$LABWRIGHT_DATA/db --auth-root-authentication-method=normal >/dev/null; \
         exec mariadbd --no-defaults --user=root --datadir=$LABWRIGHT_DATA/db --socket={folder}/db.sock --bind-address=127.0.0.1 --port=\"$0\" --skip-name-resolve"
    );
    here.desk.write("db.sh", &install);
    here.desk.lab(&format!(
        "lab: test\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n\
         \x20 shop: {{ on: box, run: {{ command: [{folder}/mariadbd, \"${{port}}\"], environment: {{ MARIADB_DATABASE: test }} }}, port: 3306, seed: schema.sql }}\n\
         \x20 cache: {{ on: box, run: [redis-server, --port, \"${{port}}\", --bind, 127.0.0.1, --save, \"\", --requirepass, r3dis], port: 6379, seed: settings.redis, up: {{ environment: {{ REDIS_PASSWORD: r3dis }} }} }}\n"
    ));
    fs::rename(here.desk.path("db.sh"), here.desk.path("mariadbd")).unwrap();
    let script = format!("#!/bin/sh\nset -- \"$1\"; {}\n", install.replace("\"$0\"", "\"$1\""));
    here.desk.write("mariadbd", script);
    fs::set_permissions(here.desk.path("mariadbd"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    here.desk.write("schema.sql", "create table place (name varchar(40));\ninsert into place values ('lighthouse');\n");
    here.desk.write("settings.redis", "SET colour blue\n");
    here.up(&[]).code(0).says("4 of 4 are well");
    let ask = |program: &str, args: &[&str]| {
        let port = here.unit(if program == "redis-cli" { "cache" } else { "shop" })["port"].to_string();
        let flag = if program == "redis-cli" { "-p" } else { "-P" };
        let said = Command::new(program)
            .args(["-h", "127.0.0.1", flag, &port])
            .args(args)
            .env("REDISCLI_AUTH", "r3dis")
            .output();
        let said = said.unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_string()
    };
    assert_eq!(ask("mariadb", &["-uroot", "-N", "-B", "test", "-e", "select name from place"]), "lighthouse");
    assert_eq!(ask("redis-cli", &["get", "colour"]), "blue");
    here.desk.run(&["restart", "shop"]).code(0);
    soon("it is well again", || here.unit("shop")["phase"] == "ready" && here.unit("shop")["restarts"] == 1);
    here.down().code(0);
    here.desk.write("settings.redis", "SETT colour green\n");
    here.up(&[]).code(7).says("settings.redis` was not loaded").says("unknown command 'SETT'");
    here.down().code(0);
}
