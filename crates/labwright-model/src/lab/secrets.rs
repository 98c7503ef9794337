//! Where secrets are kept, who may read them, and how those are made that a person need not choose.

use crate::decode::{Many, Table, choice, or_string, section};
use crate::span::Spanned;
use crate::units::Period;

section! {
    /// Where secrets are kept.
    pub struct Secrets {
        /// A SOPS file beside the lab file, encrypted to age keys.
        age: Option<Spanned<String>>,
        /// A Vault or OpenBao server.
        vault: Option<Vault>,
        /// Who may read the store: age or SSH public keys, by the name of whoever holds them.
        admins: Table<Many<Spanned<String>>>,
        /// An age public key whose private half is kept offline. The store is always encrypted to it as well.
        recovery: Option<Spanned<String>>,
        /// Secrets that are made and not chosen.
        generate: Table<Generate>,
        /// How old a secret may become before `labwright secret doctor` asks for a new one.
        rotate_after: Option<Period>,
    }
    short (node, decoder) {
        String::from_node(node, decoder)
            .map(|age| Secrets { age: Some(Spanned::new(age, node.span)), ..Secrets::default() })
    }
    schema or_string
}

section! {
    /// A Vault or OpenBao server.
    pub struct Vault {
        /// The host it runs on.
        on: Option<Spanned<String>>,
        /// How it is unsealed: `transit`, or by hand when absent.
        unseal: Option<Spanned<String>>,
        /// The host whose transit engine unseals it.
        with: Option<Spanned<String>>,
        /// Its address; `https://` and the host's own address with port 8200 when absent.
        url: Option<Spanned<String>>,
        /// Where its key-value engine (version 2) is mounted.
        mount: Spanned<String> = "secret".to_string().into(),
        /// The folder in it that holds this lab's secrets; the lab's name when absent.
        folder: Option<Spanned<String>>,
        /// A certificate authority to trust for it, as a PEM file beside the lab file.
        ca: Option<Spanned<String>>,
        /// The namespace, where the server has them.
        namespace: Option<Spanned<String>>,
        /// The secret with a token that may write policies, as `${secret.NAME}`. With it, every host and service that
        /// reads secrets of this server gets a policy for exactly those.
        token: Option<Spanned<String>>,
        /// The address of the server that unseals it; made from `with` like `url` from `on` when absent.
        with_url: Option<Spanned<String>>,
        /// The secret with a root token of the server that unseals it.
        with_token: Spanned<String> = "${secret.vault_with_token}".to_string().into(),
        /// The secret that becomes the token which the server unseals itself with: any text that nobody guesses, such as
        /// a generated one.
        unseal_token: Spanned<String> = "${secret.vault_unseal_token}".to_string().into(),
        /// The transit key that its seal is encrypted with.
        key: Spanned<String> = "autounseal".to_string().into(),
        /// The file with its seal. The server has to read it: `vault server -config=FOLDER` reads every file of a folder.
        config: Spanned<String> = "/etc/vault.d/seal.hcl".to_string().into(),
        /// The systemd unit that it runs as.
        unit: Spanned<String> = "vault.service".to_string().into(),
    }
}

/// The address of a server at a name or IP address that says nothing else about it.
pub fn https(host: &str, port: u16) -> String {
    if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") }
}

impl Vault {
    /// Where a secret is kept below the mount, and in which field: `a` is `value` of `FOLDER/a`, `a.b` is `b` of it.
    pub fn place(&self, lab: &str, name: &str) -> (String, String) {
        let folder = self.folder.as_ref().map_or(lab, |folder| folder.value.trim_matches('/'));
        let (path, field) = name.rsplit_once('.').unwrap_or((name, "value"));
        let path = path.replace('.', "/");
        let path = if folder.is_empty() { path } else { format!("{folder}/{path}") };
        (path, field.to_string())
    }

    /// The secrets that setting the server up needs, by name.
    pub fn secrets(&self) -> Vec<&str> {
        let pair = [&self.with_token, &self.unseal_token].into_iter().filter(|_| self.unseal.is_some());
        pair.chain(&self.token).flat_map(|text| crate::reference::secrets(text)).collect()
    }
}

choice! {
    /// How a secret is made.
    pub enum GenerateKind {
        /// Letters and digits, or another alphabet.
        Password = "password",
        /// Random bytes in hexadecimal.
        Hex = "hex",
        /// Random bytes in base64.
        Base64 = "base64",
        /// A random UUID.
        Uuid = "uuid",
        /// An SSH key pair (ed25519).
        SshKey = "ssh-key",
        /// A WireGuard key pair.
        WireGuard = "wireguard",
        /// An age key pair.
        AgeKey = "age-key",
        /// A certificate authority of the lab's own.
        Ca = "ca",
        /// A certificate signed by such an authority.
        Certificate = "certificate",
        /// A line for an htpasswd file: a user and the bcrypt hash of another secret.
        Htpasswd = "htpasswd",
        /// The bcrypt hash of another secret.
        Bcrypt = "bcrypt",
        /// Asked of a person: it comes from elsewhere.
        Ask = "ask",
    }
}

section! {
    /// How a secret is made; the short form is the kind alone.
    pub struct Generate {
        /// What is made.
        kind: GenerateKind = GenerateKind::Password,
        /// Characters of a password.
        length: Option<Spanned<u32>>,
        /// Characters that a password is made of: `alphanumeric`, `letters`, `digits`, `symbols`, or the characters themselves.
        alphabet: Option<Spanned<String>>,
        /// Random bytes of `hex` and `base64`.
        bytes: Option<Spanned<u32>>,
        /// Names and addresses that a certificate is for.
        names: Many<Spanned<String>>,
        /// The certificate authority that signs a certificate: another secret of this table.
        ca: Option<Spanned<String>>,
        /// Days that a certificate is valid.
        days: Option<Spanned<u32>>,
        /// The secret that `htpasswd` and `bcrypt` are made from.
        of: Option<Spanned<String>>,
        /// The user of an htpasswd line.
        user: Option<Spanned<String>>,
        /// The comment of an SSH key, the common name of an authority, or what to ask for.
        comment: Option<Spanned<String>>,
        /// How old it may become, where that differs from the others.
        rotate_after: Option<Period>,
    }
    required ["kind"]
    short (node, decoder) { GenerateKind::from_node(node, decoder).map(|kind| Generate { kind, ..Generate::default() }) }
    schema or_string
}
