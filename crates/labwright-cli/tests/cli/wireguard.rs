//! The lab's VPN on real hosts: keys made, delivered and in no file; a handshake and a ping; changes taken back.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use labwright_testkit::{Host, HostOptions};

use crate::reverts::{APPLY, apply_hanging, armed, begun, inside, wait_until};
use crate::secrets_hosts::Safe;

const GENERATE: &str = "    generate: { wireguard: wireguard, wireguard_far: wireguard, wireguard_phone: wireguard }\n";

/// A VPN with an endpoint on `hub`; of its peers one is a host of the lab, and one a phone.
fn vpn(more: &str) -> String {
    format!(
        "edge:\n  vpn:\n    wireguard:\n      on: hub\n      key: ${{secret.wireguard}}\n      peers:\n        far: {{ address: 10.8.0.2, key: \"${{secret.wireguard_far}}\", on: far }}\n        phone: {{ address: 10.8.0.3, key: \"${{secret.wireguard_phone}}\"{more} }}\n\
         network:\n  zones:\n    lan: {{ subnet: 10.99.0.0/24 }}\n    vpn: {{ subnet: 10.8.0.0/24, interface: wg0 }}\n\
         compute:\n  confirm_within: 30s\n  hosts:\n    hub: {{ zone: lan, address: 10.99.0.11 }}\n    far: {{ zone: lan, address: 10.99.0.12 }}\n"
    )
}

fn host(safe: &Safe, name: &str) -> Host {
    // The machine under the tests may have no WireGuard in its kernel: then the program stands in for it, as on any host.
    let options = HostOptions::new().nspawn_arg("--bind=/dev/net/tun");
    let host = safe.world.net.systemd_host_with(name, options).unwrap();
    for program in ["wg", "wireguard-go"] {
        let bytes = std::fs::read(format!("/usr/bin/{program}"))
            .unwrap_or_else(|error| panic!("missing: `{program}`; run scripts/test-deps: {error}"));
        host.write(&format!("/usr/local/bin/{program}"), bytes).unwrap();
        inside(&host, &format!("chmod 755 /usr/local/bin/{program}"));
    }
    // Where containers may not set kernel parameters, the host of this test still may.
    inside(&host, "mount -o remount,bind,rw /proc/sys");
    // As packages they count as installed: what is tested is what is made with them.
    inside(
        &host,
        "printf 'Package: wireguard-tools\\nStatus: install ok installed\\nVersion: 1\\nArchitecture: all\\nMaintainer: t <t@t>\\nDescription: t\\n\\n' >>/var/lib/dpkg/status",
    );
    host
}

/// Whether SSH answers there, which takes packets both ways; the first ones wait for the handshake.
fn reaches(host: &Host, address: &str) -> bool {
    let knock = format!(
        "for i in 1 2 3 4 5 6; do timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/22' 2>/dev/null && echo yes && exit; done"
    );
    inside(host, &knock) == "yes\n"
}

#[test]
fn two_hosts_meet_over_a_vpn_whose_keys_stand_in_no_file() {
    let safe = Safe::new();
    let (hub, far) = (host(&safe, "hub"), host(&safe, "far"));
    safe.lab(GENERATE, &vpn(""));
    safe.world.run(&["plan"]).code(3).says("`labwright secret generate`");
    safe.run(&["secret", "generate"]).code(0);
    safe.world.run(&["plan"]).code(0).says("interface wg0 [cuts-management]");
    safe.world.run(&APPLY).code(0);
    safe.world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    // SSH over the VPN, both ways: packets go and come.
    assert!(
        reaches(&far, "10.8.0.1"),
        "{}",
        inside(&far, "wg show wg0; ip address; ip route; journalctl -n 20 --no-pager")
    );
    assert!(reaches(&hub, "10.8.0.2"));
    assert!(inside(&hub, "wg show wg0 latest-handshakes").lines().any(|line| !line.ends_with("\t0")));
    assert_eq!(inside(&hub, "cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    let key = safe.get("wireguard");
    let found = inside(&hub, &format!("grep -rlF '{key}' /etc /var /root /run /tmp /home 2>/dev/null"));
    assert_eq!(found, "", "the private key is in a file");
    // A change by hand is seen and undone.
    inside(&hub, "wg set wg0 listen-port 4000");
    safe.world.run(&["plan"]).code(0).says("port: 4000 -> 51820");
    safe.world.run(&APPLY).code(0);
    // After a reboot it is there again, out of what is sealed to the host.
    hub.reboot().unwrap();
    assert!(reaches(&far, "10.8.0.1"), "{}", inside(&hub, "systemctl status labwright-secrets --no-pager; wg show"));
    safe.world.run(&["plan", "--exit-code"]).code(0).says("nothing to do");
    assert_eq!(armed(&hub), "");
}

#[test]
fn a_change_of_the_vpn_that_nobody_confirms_goes_back() {
    let safe = Safe::new();
    let (hub, far) = (host(&safe, "hub"), host(&safe, "far"));
    safe.lab(GENERATE, &vpn(""));
    safe.run(&["secret", "generate"]).code(0);
    safe.world.run(&APPLY).code(0);
    // Where peers call from is no setting.
    let state =
        || inside(&hub, "wg showconf wg0 | grep -v ^Endpoint | sort; ip -o address show dev wg0 | awk '{print $4}'");
    let before = state();
    // Another address for the endpoint; and whoever would confirm it is gone.
    safe.lab(GENERATE, &vpn("").replace("on: hub", "on: hub\n      address: 10.8.0.9").replace("30s", "8s"));
    let mut run = begun(apply_hanging(&safe.world).args(["--only", "hub"]), &hub);
    run.kill().unwrap();
    hub.inside("pkill").unwrap().args(["-KILL", "-f", "agent --via"]).status().unwrap();
    run.wait().unwrap();
    assert!(inside(&hub, "ls -l /var/lib/labwright/reverts/2*/record.json").contains("-> /run/labwright/reverts/"));
    assert_ne!(state(), before);
    wait_until("the old interface is back", 30, || state() == before);
    wait_until("nothing is armed any more", 10, || armed(&hub).is_empty());
    assert!(reaches(&far, "10.8.0.1"));
}

#[test]
fn a_rotation_that_a_reboot_cuts_off_comes_back_with_old_settings_and_old_key() {
    let safe = Safe::new();
    let (hub, far) = (host(&safe, "hub"), host(&safe, "far"));
    safe.lab(GENERATE, &vpn(""));
    safe.run(&["secret", "generate"]).code(0);
    safe.world.run(&APPLY).code(0);
    let state = || {
        inside(
            &hub,
            "wg showconf wg0 | grep -v ^Endpoint | sort; ip -o address show dev wg0 scope global | awk '{print $4}'",
        )
    };
    let (before, old_key) = (state(), safe.get("wireguard"));
    assert!(before.contains(&format!("PrivateKey = {old_key}")), "{before}");
    // A new pair of keys and another address, on the endpoint alone; and whoever would confirm it is gone.
    safe.lab("", "compute: {}\n");
    safe.run(&["secret", "remove", "wireguard"]).code(0);
    safe.lab(GENERATE, &vpn(""));
    safe.run(&["secret", "generate"]).code(0);
    let new_key = safe.get("wireguard");
    assert_ne!(old_key, new_key);
    safe.lab(GENERATE, &vpn("").replace("on: hub", "on: hub\n      address: 10.8.0.9").replace("30s", "3600s"));
    let mut run = begun(apply_hanging(&safe.world).args(["--only", "hub"]), &hub);
    run.kill().unwrap();
    run.wait().unwrap();
    let between = state();
    assert!(between.contains(&new_key) && between.contains("10.8.0.9"), "{between}");
    hub.reboot().unwrap();
    wait_until("the old interface is back", 30, || state() == before);
    wait_until("nothing is armed any more", 10, || armed(&hub).is_empty());
    assert!(reaches(&far, "10.8.0.1"), "{}", inside(&hub, "wg show wg0; journalctl -b -n 30 --no-pager"));
    // And once more: the next boot is no other.
    hub.reboot().unwrap();
    wait_until("it is still the old one", 30, || state() == before);
    for key in [&old_key, &new_key] {
        let found = inside(&hub, &format!("grep -rlF '{key}' /etc /var /root /tmp /home 2>/dev/null"));
        assert_eq!(found, "", "a private key is in a file");
    }
    // The same change, and somebody there to confirm it.
    safe.world.run(&["apply", "--yes", "--approve", "cuts-management", "--only", "hub"]).code(0);
    assert!(state().contains(&new_key));
    assert_eq!(
        inside(&hub, "ls /var/lib/labwright/labs/test | grep before"),
        "",
        "nothing is made of the old key any more"
    );
    hub.reboot().unwrap();
    wait_until("the new one is there after a boot", 30, || state().contains(&new_key));
}

#[test]
fn a_device_gets_its_configuration_and_a_key_only_for_its_own_eyes() {
    let safe = Safe::new();
    safe.lab(GENERATE, &vpn(", full_tunnel: true"));
    safe.run(&["secret", "generate"]).code(0);
    let key = safe.get("wireguard_phone");
    safe.run(&["vpn", "client", "phone"])
        .code(0)
        .says("PrivateKey = (kept back)")
        .says("Address = 10.8.0.3/32")
        .says("AllowedIPs = 0.0.0.0/0, ::/0")
        .says("Endpoint = 10.99.0.11:51820")
        .says_not(&key);
    safe.run(&["vpn", "client", "phone", "--split"]).code(0).says("AllowedIPs = 10.8.0.0/24, 10.99.0.0/24");
    for shown in ["--qr", "--reveal"] {
        safe.run(&["vpn", "client", "phone", shown]).code(2).says("to a terminal only").says_not(&key);
    }
    safe.run(&["vpn", "client", "phone", "--out", "phone.conf"]).code(0).says_not(&key);
    let path = safe.world.desk.path("phone.conf");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(&format!("PrivateKey = {key}\n")), "{text}");
    safe.run(&["vpn", "client", "phone", "--out", "phone.conf"]).code(2).says("name another file");
    safe.run(&["vpn", "client", "tablet"]).code(2).says("the peers are far, phone");
    // On a terminal, which `script` makes, the picture is drawn.
    let program = env!("CARGO_BIN_EXE_labwright");
    let drawn = |flag: &str| {
        let line = format!("{program} vpn client phone {flag}");
        let mut command: Command = safe.world.net.command("script");
        command.current_dir(safe.world.desk.dir.path()).args(["-qec", &line, "/dev/null"]);
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    };
    assert!(drawn("--qr").contains('▀'), "no picture");
    assert!(drawn("--reveal").contains(&key));
}
