//! Storage, wherever it is mounted, takes data and copies with it.

use super::*;

#[test]
fn storage_takes_data_mounts_and_copies() {
    takes(
        STACK,
        "nas-01",
        expect![[r#"
            host nas-01: DNS, repository `nas`
            dark service films has data on `nas-01`
            degraded role DNS [left to `pve-01` alone] runs on `nas-01`
            degraded host docker-01 [loses `/mnt/media`] mounts from `nas-01`
            unprotected service wiki [only `away` keeps copies now] is backed up to `nas` on `nas-01`
            unprotected service films [if the disk is gone, so is its data] keeps its data, without a backup, on `nas-01`
        "#]],
    );
}

#[test]
fn what_containers_see_of_the_storage_goes_with_it() {
    takes(
        HOME,
        "nas",
        expect![[r#"
            host nas: 
            dark service jelly has data on `nas`
            degraded host films [loses `/srv/films`] mounts from `nas`
            degraded host nuc [loses `/mnt/media`] mounts from `nas`
            degraded service all [loses `/mnt/media`] has data on `nas`
            degraded service flicks [loses `/srv/films`] has data on `nas`
        "#]],
    );
}

/// Whatever way the machine behind a mount is written in, it is that machine; what is somebody else's is none.
#[test]
fn data_on_a_nas_by_name_address_and_volume() {
    let parsed = lab(r#"
domain: lan.example.net
compute:
  hosts:
    nas: { address: 10.0.0.5 }
    d:
      address: 10.0.0.2
      mounts:
        /mnt/a: "nas:/a"
        /mnt/b: "10.0.0.5:/b"
        /mnt/c: "nas.lan.example.net:/c"
        /mnt/d: { device: "//nas/d", fstype: cifs }
        /mnt/e: { device: "//10.0.0.5/e", fstype: cifs }
        /mnt/f: "far.example:/f"
services:
  a: { run: x, on: d, data: [/mnt/a] }
  b: { run: x, on: d, data: [/mnt/b] }
  c: { run: x, on: d, data: [/mnt/c] }
  d-smb: { run: x, on: d, data: [/mnt/d/sub] }
  e: { run: x, on: d, data: [/mnt/e] }
  far: { run: x, on: d, data: [/mnt/f] }
  nfs: { containers: { x: { image: "a:1", volumes: ["vol:/x"] } }, volumes: { vol: { driver_opts: { type: nfs, o: "addr=10.0.0.5,nfsvers=4", device: ":/f" } } }, on: d, data: [vol] }
  smb: { containers: { x: { image: "a:1", volumes: ["vol:/x"] } }, volumes: { vol: { driver_opts: { type: cifs, o: "username=u", device: "//nas/g" } } }, on: d, data: [vol] }
  own: { containers: { x: { image: "a:1", volumes: ["vol:/x"] } }, on: d, data: [vol] }
"#);
    let found = blast(&parsed, &target(&parsed, "nas").unwrap());
    let mut dark: Vec<&str> = found
        .of(Urgency::Dark)
        .filter(|affected| affected.thing.kind == Kind::Service)
        .map(|affected| affected.thing.name.as_str())
        .collect();
    dark.sort_unstable();
    assert_eq!(dark, ["a", "b", "c", "d-smb", "e", "nfs", "smb"]);
}

#[test]
fn a_repository_that_an_address_leads_to_is_on_that_host() {
    let lab = "compute: { hosts: { a: { address: 10.0.0.1 }, keeper: { address: 10.0.0.2 } } }\nservices:\n  wiki: { run: wiki, on: a, data: [/srv], backup: n }\nprotection: { repositories: { r: { url: \"rest:http://10.0.0.2:8000/\" } }, policies: { n: { to: r } } }\n";
    takes(
        lab,
        "keeper",
        expect![[r#"
        host keeper: repository `r`
        unprotected service wiki [no copy is within reach] is backed up to `r` on `keeper`
    "#]],
    );
}
