//! `labwright ca trust`: what this machine trusts, in a mount namespace of its own so that the real machine learns nothing.

use std::process::{Command, Stdio};

use crate::secrets_hosts::Safe;
use crate::world::Ran;

/// Where the system keeps its authorities, on tmpfs over the real places; then a script.
fn machine(safe: &Safe, script: &str) -> Ran {
    let run = safe.world.command();
    let mut command = Command::new("unshare");
    command.env_clear().envs(run.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let program = env!("CARGO_BIN_EXE_labwright");
    let all = format!(
        "set -e; cp -a /etc/ssl/certs /tmp/lw-certs.$$; mount -t tmpfs tmpfs /usr/local/share/ca-certificates; \
         mount --bind /tmp/lw-certs.$$ /etc/ssl/certs; trap 'umount /etc/ssl/certs; rm -rf /tmp/lw-certs.$$' EXIT; \
         L={program}; IN=/usr/local/share/ca-certificates/labwright-test.crt; {script}"
    );
    command.args(["--mount", "sh", "-c", &all]).current_dir(safe.world.desk.dir.path()).stdin(Stdio::null());
    command.env("HOME", safe.world.net.dir().join("home")).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.output().unwrap().into()
}

#[test]
fn this_machine_trusts_the_labs_authority_and_no_longer() {
    let safe = Safe::new();
    safe.lab(
        "    generate: { lab_ca: ca }\n",
        "  reverse_proxy: { on: gate, tls: { internal: true, key: \"${secret.lab_ca}\" } }\n\
         compute: { hosts: { gate: { address: 10.99.0.11 } } }\n",
    );
    safe.run(&["secret", "generate"]).code(0);
    let before = std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let ran = machine(
        &safe,
        "$L ca trust; openssl verify -CApath /etc/ssl/certs $IN; grep -c . $IN; \
         ls /etc/ssl/certs | grep labwright-test; $L ca trust --remove; test ! -e $IN; \
         ! ls /etc/ssl/certs | grep -q labwright-test; $L ca trust --remove",
    );
    ran.code(0)
        .says("labwright-test.crt: OK")
        .says("labwright-test.pem")
        .says("certutil -d sql:$HOME/.pki/nssdb -A -n labwright-test")
        .says("Firefox")
        .says("is no longer trusted on this machine")
        .says("this machine does not trust `test`");
    // Somebody who is not root is told so.
    let ran = machine(
        &safe,
        "$L ca trust; chmod a+rx . ; chmod a+r lab.yaml secrets.yaml; \
         setpriv --reuid=65534 --regid=65534 --clear-groups env LABWRIGHT_STATE_DIR=/tmp/nowhere $L ca trust --remove",
    );
    assert_ne!(ran.code, 0);
    ran.says("failed to change `/usr/local/share/ca-certificates/labwright-test.crt`").says("sudo labwright ca trust");
    assert_eq!(std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap(), before, "the real machine was changed");
}
