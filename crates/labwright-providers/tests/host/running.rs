//! From a lab to what runs on its hosts and who may log in, as text.
//! No resource is built by hand here.

use expect_test::expect;

use crate::lowering::{check, check_host};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMf8gA4bG6gCWPvZX0dTyLx2IDyN9XoAYrnfWTrvqGEQ stian@laptop";

#[test]
fn units_know_their_files_users_and_companions() {
    check_host(
        "users: { app: {} }
files:
  /etc/app.env: { content: \"A=1\\n\" }
  /etc/app: { content: \"not mentioned\" }
  /usr/local/bin/backup: { content: \"#!/bin/sh\\n\", mode: \"0755\" }
  /etc/extra: { content: x }
units:
  app.service:
    content: |
      [Service]
      User=app
      EnvironmentFile=-/etc/app.env
      ExecStart=/usr/bin/app
      [Install]
      WantedBy=multi-user.target
    enabled: true
    running: true
    restart_on: [/etc/extra, /etc/undeclared]
  backup.service: { content: \"[Service]\\nExecStart=/usr/local/bin/backup\\n\" }
  backup.timer: { content: \"[Timer]\\nOnCalendar=daily\\n\", running: true, enabled: true }
  web.socket: { content: \"[Socket]\\nListenStream=80\\n\", running: true }
  web.service: { content: \"[Unit]\\nRequires=web.socket\\n[Service]\\nExecStart=/usr/local/bin/backup\\n\" }
  cron.service: { running: false }",
        expect![[r##"
            web/host/file//etc/app
              content: "not mentioned"
              mode: "0644"
              type: "file"
            web/host/file//etc/app.env
              content: "A=1\n"
              mode: "0644"
              type: "file"
            web/host/file//etc/extra
              content: "x"
              mode: "0644"
              type: "file"
            web/host/file//usr/local/bin/backup
              content: "#!/bin/sh\n"
              mode: "0755"
              type: "file"
            web/host/unit/app.service
              content: "[Service]\nUser=app\nEnvironmentFile=-/etc/app.env\nExecStart=/usr/bin/app\n[Install]\nWantedBy=multi-user.target\n"
              enabled: true
              inputs: {/etc/app.env: digest of 4 bytes, /etc/extra: digest of 1 bytes}
              running: true
              after web/host/file//etc/app.env
              after web/host/file//etc/extra
              after web/host/user/app
            web/host/unit/backup.service
              content: "[Service]\nExecStart=/usr/local/bin/backup\n"
              after web/host/file//usr/local/bin/backup
            web/host/unit/backup.timer
              content: "[Timer]\nOnCalendar=daily\n"
              enabled: true
              inputs: {}
              running: true
              after web/host/unit/backup.service
            web/host/unit/cron.service
              running: false
            web/host/unit/web.service
              content: "[Unit]\nRequires=web.socket\n[Service]\nExecStart=/usr/local/bin/backup\n"
              after web/host/file//usr/local/bin/backup
            web/host/unit/web.socket
              content: "[Socket]\nListenStream=80\n"
              inputs: {}
              running: true
              after web/host/file//usr/local/bin/backup
            web/host/user/app
              create_home: true
        "##]],
    );
}

#[test]
fn mounts_are_named_by_address_and_come_after_their_folders() {
    check(
        "compute:
  hosts:
    nas-01: { address: [10.0.0.5, 10.0.1.5] }
    nas-02: { address: \"fd00::5\" }
    web:
      packages: [nfs-common]
      mounts:
        /mnt/media: nas-01:/volume1/media
        /mnt/media/six: { nfs: \"nas-02:/x\", options: \"ro\", automount: true }
        /mnt/other: { nfs: \"elsewhere.example:/x\" }
        /srv/disk: { device: LABEL=data, fstype: ext4 }
        /srv/nothing: {}
      directories: { /mnt: {}, /mnt/media: {}, /mnt/media/six/sub: {} }
      files: { /srv/disk/marker: { content: x } }
",
        expect![[r#"
            web/host/directory//mnt
              mode: "0755"
              type: "directory"
              after web/host/package/*
            web/host/directory//mnt/media
              mode: "0755"
              type: "directory"
              after web/host/directory//mnt
              after web/host/mount//mnt/media
              after web/host/package/*
            web/host/directory//mnt/media/six/sub
              mode: "0755"
              type: "directory"
              after web/host/mount/*
              after web/host/mount//mnt/media/six
              after web/host/package/*
            web/host/file//srv/disk/marker
              content: "x"
              mode: "0644"
              type: "file"
              after web/host/mount/*
              after web/host/mount//srv/disk
              after web/host/package/*
            web/host/mount//mnt/media
              active: true
              automount: nothing
              enabled: true
              mount: "[Unit]\nDescription=10.0.0.5:/volume1/media on /mnt/media\n\n[Mount]\nWhat=10.0.0.5:/volume1/media\nWhere=/mnt/media\nType=nfs\nTimeoutSec=30\n\n[Install]\nWantedBy=remote-fs.target\n"
              after web/host/directory//mnt
              after web/host/package/*
            web/host/mount//mnt/media/six
              active: true
              automount: "[Unit]\nDescription=/mnt/media/six on first use\n\n[Automount]\nWhere=/mnt/media/six\nTimeoutIdleSec=600\n\n[Install]\nWantedBy=remote-fs.target\n"
              enabled: true
              mount: "[Unit]\nDescription=[fd00::5]:/x on /mnt/media/six\n\n[Mount]\nWhat=[fd00::5]:/x\nWhere=/mnt/media/six\nType=nfs\nOptions=ro\nTimeoutSec=30\n\n[Install]\nWantedBy=remote-fs.target\n"
              after web/host/directory//mnt/media
              after web/host/mount//mnt/media
              after web/host/package/*
            web/host/mount//mnt/other
              active: true
              automount: nothing
              enabled: true
              mount: "[Unit]\nDescription=elsewhere.example:/x on /mnt/other\n\n[Mount]\nWhat=elsewhere.example:/x\nWhere=/mnt/other\nType=nfs\nTimeoutSec=30\n\n[Install]\nWantedBy=remote-fs.target\n"
              after web/host/directory//mnt
              after web/host/package/*
            web/host/mount//srv/disk
              active: true
              automount: nothing
              enabled: true
              mount: "[Unit]\nDescription=LABEL=data on /srv/disk\n\n[Mount]\nWhat=LABEL=data\nWhere=/srv/disk\nType=ext4\nTimeoutSec=30\n\n[Install]\nWantedBy=local-fs.target\n"
              after web/host/package/*
            web/host/mount//srv/nothing
              after web/host/package/*
            web/host/package/nfs-common
              installed: true
        "#]],
    );
}

#[test]
fn keys_of_users_and_of_others_are_told_apart() {
    check_host(
        &format!(
            "users: {{ stian: [\"{KEY}\"], kari: {{ keys: [\"{KEY}\"], adopt: true, home: /srv/kari }}, plain: {{}} }}
directories: {{ /srv: {{}}, /srv/kari: {{ owner: kari }} }}
authorized_keys:
  root: [\"{KEY}\"]
  pi: {{ keys: [\"{KEY}\"], exclusive: true }}
  none: []"
        ),
        expect![[r#"
            web/host/authorized_keys/kari (adopt)
              exclusive: true
              keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMf8gA4bG6gCWPvZX0dTyLx2IDyN9XoAYrnfWTrvqGEQ stian@laptop"]
              after web/host/directory//srv/kari
              after web/host/user/kari
            web/host/authorized_keys/pi
              exclusive: true
              keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMf8gA4bG6gCWPvZX0dTyLx2IDyN9XoAYrnfWTrvqGEQ stian@laptop"]
            web/host/authorized_keys/root (adopt)
              exclusive: false
              keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMf8gA4bG6gCWPvZX0dTyLx2IDyN9XoAYrnfWTrvqGEQ stian@laptop"]
            web/host/authorized_keys/stian
              exclusive: true
              keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMf8gA4bG6gCWPvZX0dTyLx2IDyN9XoAYrnfWTrvqGEQ stian@laptop"]
              after web/host/user/stian
            web/host/directory//srv
              mode: "0755"
              type: "directory"
            web/host/directory//srv/kari
              mode: "0755"
              owner: "kari"
              type: "directory"
              after web/host/directory//srv
              after web/host/user/kari
            web/host/user/kari (adopt)
              create_home: false
              home: "/srv/kari"
              after web/host/directory//srv
            web/host/user/plain
              create_home: true
            web/host/user/stian
              create_home: true
        "#]],
    );
}

#[test]
fn what_is_no_public_key_is_a_finding_that_does_not_repeat_it() {
    check_host(
        "users: { stian: [ssh-ed25519 AAAA] }
authorized_keys:
  root:
    - |
      -----BEGIN OPENSSH PRIVATE KEY-----
      b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
      -----END OPENSSH PRIVATE KEY-----",
        expect![[r#"
            web/host/user/stian
              create_home: true
            error LW-CMP-009 8:13 compute.hosts.web.authorized_keys.root: a PRIVATE key stands among the public keys of `root`; take it out of the file and out of its history, and make a new pair with `ssh-keygen -t ed25519`: whoever read this file has it; what belongs here is the line in the `.pub` file
            error LW-CMP-009 4:24 compute.hosts.web.users.stian.keys: what stands among the keys of `stian` is not an SSH public key; paste the whole line of a `.pub` file: `ssh-ed25519 AAAA… comment`
        "#]],
    );
}

#[test]
fn hardening_says_what_follows_from_it() {
    check_host(
        "sshd: true",
        expect![[r##"
        web/host/sshd/hardening
          content: "# Written by labwright from the lab file; changes made here are undone.\nKbdInteractiveAuthentication no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPubkeyAuthentication yes\n"
    "##]],
    );
    check_host(
        "sshd: { permit_root_login: \"no\", allow_users: [stian, kari], settings: { MaxAuthTries: 3, passwordauthentication: \"yes\" } }",
        expect![[r##"
            web/host/sshd/hardening
              content: "# Written by labwright from the lab file; changes made here are undone.\nAllowUsers stian kari\nKbdInteractiveAuthentication no\nMaxAuthTries 3\npasswordauthentication yes\nPermitRootLogin no\nPubkeyAuthentication yes\n"
        "##]],
    );
    check_host("sshd: false", expect![[r#""#]]);
}

#[test]
fn settings_of_a_host() {
    check_host(
        "hostname: web.lab.home.arpa
sysctl: { net.ipv4.ip_forward: 1, net.ipv4.tcp_rmem: \"4096   131072\\t6291456\" }",
        expect![[r#"
            web/host/hostname/hostname
              hostname: "web.lab.home.arpa"
              hosts: true
              persisted: true
            web/host/sysctl/net.ipv4.ip_forward
              persisted: true
              value: "1"
            web/host/sysctl/net.ipv4.tcp_rmem
              persisted: true
              value: "4096 131072 6291456"
        "#]],
    );
    check_host(
        "hostname: web\nfiles: { /etc/hosts: { content: \"127.0.0.1 localhost\\n\" } }",
        expect![[r#"
        web/host/file//etc/hosts
          content: "127.0.0.1 localhost\n"
          mode: "0644"
          type: "file"
        web/host/hostname/hostname
          hostname: "web"
          persisted: true
    "#]],
    );
}
