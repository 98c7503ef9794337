//! The state of a host: what its files, users, units and mounts shall be.

use crate::decode::{Many, Table, or_bool, or_string, or_strings, section};
use crate::span::Spanned;
use crate::tree::Kind;
use crate::units::Mode;

section! {
    /// A file's content and permissions.
    pub struct File {
        /// What stands in it.
        content: Option<Spanned<String>>,
        /// A file beside the lab file that it is a copy of.
        source: Option<Spanned<String>>,
        /// Permission bits; 0644, and 0400 for a file that holds a secret.
        mode: Option<Spanned<Mode>>,
        /// The user that owns it; root, or whoever labwright runs as, when absent.
        owner: Option<Spanned<String>>,
        /// The group that owns it; the owner's when absent.
        group: Option<Spanned<String>>,
        /// Take the file over if it is there already and is not the lab's yet.
        adopt: bool,
        /// Paths, units or users of this host that must be in place first.
        after: Many<Spanned<String>>,
    }
}

section! {
    /// A directory's permissions. What is in it stays the user's.
    pub struct Directory {
        /// Permission bits.
        mode: Mode = Mode(0o755),
        /// The user that owns it.
        owner: Option<Spanned<String>>,
        /// The group that owns it.
        group: Option<Spanned<String>>,
        /// Take the directory over if it is there already with other permissions.
        adopt: bool,
    }
}

section! {
    /// A symbolic link; its short form is the target.
    pub struct Symlink {
        /// What it points to.
        target: Spanned<String>,
        /// Take the link over if it is there already and points elsewhere.
        adopt: bool,
    }
    required ["target"]
    short (node, decoder) {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(Symlink { target: Spanned::new(text.clone(), node.span), adopt: false }),
            _ => decoder.wrong(node, "a link's target"),
        }
    }
    schema or_string
}

section! {
    /// A group of users.
    pub struct Group {
        /// Its number; the system chooses when absent.
        gid: Option<Spanned<u32>>,
        /// A system group has a low number.
        system: bool,
    }
}

section! {
    /// A user; the short form is a list of SSH public keys.
    pub struct User {
        /// Its number; the system chooses when absent.
        uid: Option<Spanned<u32>>,
        /// Its main group; one of its own name when absent.
        group: Option<Spanned<String>>,
        /// Further groups it is in. Others that it is in already are left alone.
        groups: Many<Spanned<String>>,
        /// Its login shell.
        shell: Option<Spanned<String>>,
        /// Its home directory.
        home: Option<Spanned<String>>,
        /// Whether the home directory is made.
        create_home: bool = true,
        /// A system user has a low number and no home unless one is named.
        system: bool,
        /// The full name, or what the user is for.
        comment: Option<Spanned<String>>,
        /// SSH public keys that may log in as this user. Other keys are removed.
        keys: Many<Spanned<String>>,
        /// Change a user that is there already.
        adopt: bool,
    }
    short (node, decoder) {
        match &node.kind {
            Kind::List(_) | Kind::Scalar { .. } => {
                Many::from_node(node, decoder).map(|keys| User { keys, ..User::default() })
            }
            _ => decoder.wrong(node, "a map, or a list of SSH public keys"),
        }
    }
    schema or_strings
}

section! {
    /// SSH public keys that may log in; the short form is the list.
    pub struct Authorized {
        /// The keys, one a line as in `authorized_keys`.
        keys: Many<Spanned<String>>,
        /// Remove every other key.
        exclusive: bool,
    }
    short (node, decoder) {
        Many::from_node(node, decoder).map(|keys| Authorized { keys, exclusive: false })
    }
    schema or_strings
}

section! {
    /// A systemd unit. Its name tells its type: `backup.service`, `backup.timer`.
    pub struct Unit {
        /// The unit file. Absent: the unit comes from a package, and only its state is managed.
        content: Option<Spanned<String>>,
        /// Whether it starts at boot.
        enabled: Option<bool>,
        /// Whether it runs now.
        running: Option<bool>,
        /// Environment variables of the service. Secrets among them are kept in memory, out of the unit's own file.
        environment: Table<String>,
        /// Credentials of the service, by name: it finds each as a file in `$CREDENTIALS_DIRECTORY`.
        credentials: Table<String>,
        /// Files, by path, whose change restarts it, beside its own content and those that its content names.
        restart_on: Many<Spanned<String>>,
        /// Take the unit file over if it is there already.
        adopt: bool,
    }
}

section! {
    /// A mounted file system; the short form is what is mounted: `nas-01:/volume1/media`.
    pub struct Mount {
        /// An NFS export, `host:/path`. The host may be a name of the lab.
        nfs: Option<Spanned<String>>,
        /// A device, a label (`LABEL=…`) or anything else that `mount` takes, where it is not NFS.
        device: Option<Spanned<String>>,
        /// The file system's type, with `device`.
        fstype: Option<Spanned<String>>,
        /// Mount options, comma-separated.
        options: Option<Spanned<String>>,
        /// Mount on first use, and unmount after ten idle minutes.
        automount: bool,
    }
    short (node, decoder) {
        match &node.kind {
            Kind::Scalar { text, .. } if text.contains(":/") => {
                Some(Mount { nfs: Some(Spanned::new(text.clone(), node.span)), ..Mount::default() })
            }
            _ => decoder.wrong(node, "an NFS export such as nas-01:/volume1/media, or a map"),
        }
    }
    schema or_string
}

section! {
    /// Hardening of the SSH server; the short form `true` allows keys only.
    pub struct Sshd {
        /// No passwords: keys only.
        keys_only: bool = true,
        /// Whether root may log in, and how: `prohibit-password`, `no` or `yes`.
        permit_root_login: Option<Spanned<String>>,
        /// The only users that may log in.
        allow_users: Many<Spanned<String>>,
        /// Further settings, by OpenSSH's own names.
        settings: Table<String>,
    }
    short (node, decoder) {
        bool::from_node(node, decoder).map(|keys_only| Sshd { keys_only, ..Sshd::default() })
    }
    schema or_bool
}

impl Sshd {
    /// The port that the settings give the server, where they give it one.
    pub fn port(&self) -> Option<u16> {
        let (_, value) = self.settings.iter().find(|(key, _)| key.eq_ignore_ascii_case("port"))?;
        value.value.trim().parse().ok()
    }
}
