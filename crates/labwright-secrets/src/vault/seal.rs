//! The part of a server's configuration that lets another server open it.
//! The token is not in it: it comes to the process as `VAULT_TOKEN`, from a file only root can read.

use std::fmt::Write as _;

/// `seal "transit"` for the server at `address`, as it stands in the configuration of the server that is opened by it.
/// `tls_skip` leaves that server's certificate unchecked: whoever stands in between then gets the token.
/// `ca_file` is a path on the host of the server that is opened: who signed the other one's certificate.
pub fn stanza(address: &str, key_name: &str, mount: &str, ca_file: Option<&str>, tls_skip: TlsSkip) -> String {
    let mount = format!("{}/", mount.trim_matches('/'));
    let mut text = String::from("seal \"transit\" {\n");
    let trusted = ca_file.map(|file| ("tls_ca_cert", file));
    let settings = [("address", address), ("key_name", key_name), ("mount_path", &mount)];
    for (name, value) in settings.into_iter().chain(trusted) {
        let _ = writeln!(text, "  {name:<15} = {}", quoted(value));
    }
    if tls_skip == TlsSkip::Yes {
        text.push_str("  tls_skip_verify = true\n");
    }
    text.push_str("}\n");
    text
}

/// Whether the certificate of the other server is left unchecked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsSkip {
    #[default]
    No,
    Yes,
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
