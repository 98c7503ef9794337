//! The lab's own authority: a root that may sign names of the lab and nothing else, and leaves that live for days.
//! The root follows from its key and the lab alone, so whoever has the key can say what it is.

use std::time::Duration;

use ipnet::IpNet;
use labwright_model::snapshot::proxy as wanted;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber, date_time_ymd,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::now;
use super::shelf::Pair;

/// A leaf lives for a week: nothing that was lost is good for long, and nobody has to keep lists of what is not.
const LEAF_DAYS: i64 = 7;
const DAY: i64 = 86_400;
/// Clocks of homelabs differ: a certificate made now must be good on a device that is late.
const BACKDATED: i64 = 3600;

/// The authority, ready to sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: String,
    wanted: wanted::Authority,
}

fn params(wanted: &wanted::Authority, key: &KeyPair) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, wanted.common_name.as_str());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let subtree = |net: &IpNet| match net {
        IpNet::V4(net) => CidrSubnet::V4(net.network().octets(), net.netmask().octets()),
        IpNet::V6(net) => CidrSubnet::V6(net.network().octets(), net.netmask().octets()),
    };
    let names = wanted.domains.iter().map(|domain| GeneralSubtree::DnsName(domain.clone()));
    let networks = wanted.networks.iter().map(|net| GeneralSubtree::IpAddress(subtree(&net.0)));
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: names.chain(networks).collect(), excluded_subtrees: Vec::new() });
    // Everything follows from the key and from what it may sign: the same root wherever it is made.
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2045, 1, 1);
    let mut hasher = Sha256::new();
    hasher.update(key.public_key_raw());
    hasher.update(serde_json::to_string(&(&wanted.common_name, &wanted.domains)).map_err(|error| error.to_string())?);
    let mut serial = hasher.finalize().to_vec();
    serial.truncate(16);
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from(serial));
    Ok(params)
}

/// The certificate of an authority, as PEM, from its key. What it may sign is the same; the signature differs each time.
///
/// # Errors
/// In words: the key is none.
pub fn root(wanted: &wanted::Authority, key_pem: &str) -> Result<String, String> {
    Authority::open(wanted, key_pem, None).map(|authority| authority.pem)
}

/// A new key for an authority, as PEM.
pub fn new_key() -> Result<Zeroizing<String>, String> {
    KeyPair::generate().map(|key| Zeroizing::new(key.serialize_pem())).map_err(|error| error.to_string())
}

impl Authority {
    /// Opens an authority by its key. `kept` is its certificate as it was made before, and stays where it still fits.
    pub fn open(wanted: &wanted::Authority, key_pem: &str, kept: Option<&str>) -> Result<Authority, String> {
        let key = KeyPair::from_pem(key_pem).map_err(|error| {
            format!("the key of the lab's authority is none ({error}); it is a private key in PEM, `generate: x509_ca` makes one")
        })?;
        let params = params(wanted, &key)?;
        let fresh = params.self_signed(&key).map_err(|error| format!("the lab's authority cannot be made: {error}"))?;
        // Equal but for the signature, which is different each time: devices that trust the old one see no change.
        let same = |pem: &&str| to_be_signed(pem).is_some_and(|old| Some(old) == to_be_signed(&fresh.pem()));
        let pem = kept.filter(same).map_or_else(|| fresh.pem(), str::to_string);
        Ok(Authority { issuer: Issuer::new(params, key), pem, wanted: wanted.clone() })
    }

    /// Whether this one is what is wanted.
    pub fn is(&self, wanted: &wanted::Authority) -> bool {
        self.wanted == *wanted
    }

    /// Whether it may sign a name.
    pub fn covers(&self, name: &str) -> bool {
        let name = name.trim_start_matches("*.");
        let within =
            |domain: &String| name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        self.wanted.domains.iter().any(within)
    }

    /// Signs a leaf for names, the first of which it is called by, and addresses.
    pub fn sign(&self, names: &[String], addresses: &[std::net::IpAddr]) -> Result<Pair, String> {
        let words = |error: rcgen::Error| format!("the lab's authority cannot sign `{}`: {error}", names.join("`, `"));
        let key = KeyPair::generate().map_err(words)?;
        let mut params = CertificateParams::default();
        let dns = |name: &String| Ia5String::try_from(name.as_str()).map(SanType::DnsName).map_err(words);
        params.subject_alt_names = names.iter().map(dns).collect::<Result<_, _>>()?;
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        params.distinguished_name = DistinguishedName::new();
        // RFC 5280 lets a common name have 64 characters; clients look at the alternative names anyway.
        if let Some(name) = names.iter().find(|name| name.len() <= 64) {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let at = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.max(0) as u64);
        params.not_before = at(now() - BACKDATED);
        params.not_after = at(now() + LEAF_DAYS * DAY);
        let mut serial: [u8; 16] = rand::random();
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from(serial.to_vec()));
        let signed = params.signed_by(&key, &self.issuer).map_err(words)?;
        Ok(Pair { key: Zeroizing::new(key.serialize_pem()), chain: signed.pem() })
    }
}

/// What a certificate says, without its signature.
fn to_be_signed(pem: &str) -> Option<Vec<u8>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    Some(parsed.tbs_certificate.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(domains: &[&str]) -> wanted::Authority {
        wanted::Authority {
            common_name: "home lab authority".into(),
            domains: domains.iter().map(|domain| domain.to_string()).collect(),
            networks: vec![labwright_model::units::Subnet("10.0.0.0/8".parse().unwrap())],
            key: None,
        }
    }

    /// OpenSSL's own judgement of a leaf, and whether it is the right host.
    fn verified(root: &str, chain: &str, name: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let (ca, leaf) = (folder.path().join("ca.pem"), folder.path().join("leaf.pem"));
        std::fs::write(&ca, root).unwrap();
        std::fs::write(&leaf, chain).unwrap();
        let output = std::process::Command::new("openssl")
            .args(["verify", "-x509_strict", "-verify_hostname", name, "-CAfile"])
            .args([&ca, &leaf])
            .output()
            .unwrap();
        output.status.success()
    }

    #[test]
    fn it_signs_the_labs_names_and_others_are_not_believed() {
        let key = new_key().unwrap();
        let authority = Authority::open(&wanted(&["lab.home.arpa"]), &key, None).unwrap();
        let own = authority.sign(&["wiki.lab.home.arpa".into(), "*.apps.lab.home.arpa".into()], &[]).unwrap();
        assert!(verified(&authority.pem, &own.chain, "wiki.lab.home.arpa"));
        assert!(verified(&authority.pem, &own.chain, "x.apps.lab.home.arpa"));
        assert!(!verified(&authority.pem, &own.chain, "other.lab.home.arpa"));
        // A key that was stolen is of no use for the bank.
        let bank = authority.sign(&["bank.example".into()], &[]).unwrap();
        assert!(!verified(&authority.pem, &bank.chain, "bank.example"));
        let (_, life) = own.certified().unwrap();
        assert!((6 * DAY..8 * DAY).contains(&(life.to - now())), "{life:?}");
    }

    #[test]
    fn the_root_stays_the_same_for_the_same_key() {
        let key = new_key().unwrap();
        let first = root(&wanted(&["lab.home.arpa"]), &key).unwrap();
        let again = Authority::open(&wanted(&["lab.home.arpa"]), &key, Some(&first)).unwrap();
        assert_eq!(again.pem, first);
        let elsewhere = root(&wanted(&["lab.home.arpa"]), &key).unwrap();
        assert_eq!(to_be_signed(&elsewhere), to_be_signed(&first));
        let wider = Authority::open(&wanted(&["lab.home.arpa", "example.net"]), &key, Some(&first)).unwrap();
        assert_ne!(wider.pem, first);
        // What was signed before is good under the new root too: the key is the same.
        let leaf = again.sign(&["a.lab.home.arpa".into()], &[]).unwrap();
        assert!(verified(&wider.pem, &leaf.chain, "a.lab.home.arpa"));
    }

    #[test]
    fn a_key_of_another_kind_is_told() {
        assert!(root(&wanted(&[]), "nonsense").unwrap_err().contains("is none"));
    }
}
