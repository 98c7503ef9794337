//! One order at an ACME directory (RFC 8555): from names to a certificate, with the proofs that the directory asks for.
//! What the directory says when it will not is kept in its own words.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use hyper::body::Bytes;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error,
    ExternalAccountKey, HttpClient, Identifier, NewAccount, NewOrder, OrderStatus, Problem, RetryPolicy,
};
use labwright_model::snapshot::proxy as wanted;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use zeroize::Zeroizing;

use super::super::Setting;
use super::super::client::Client;
use super::dns01::{Dns, Record};
use super::shelf::Pair;
use super::store::Store;
use crate::serve::write_whole;

/// How long a directory may take to look at proofs, and to sign.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In the directory's own words, where it said any.
    pub words: String,
    /// Seconds that it asks to wait, where it does.
    pub wait: Option<u64>,
    /// It is asked too often.
    pub limited: bool,
}

impl From<String> for Refusal {
    fn from(words: String) -> Self {
        Refusal { words, wait: None, limited: false }
    }
}

/// A directory, and the account there.
pub struct Directory {
    account: Account,
    /// The last `Retry-After` that it sent, in seconds.
    after: Arc<AtomicU64>,
}

struct Http {
    client: Client,
    after: Arc<AtomicU64>,
}

impl HttpClient for Http {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, after) = (self.client.clone(), self.after.clone());
        Box::pin(async move {
            let response = client.send(request).await.map_err(|why| Error::Other(why.into()))?;
            if matches!(response.status().as_u16(), 429 | 503) {
                let seconds = response.headers().get(http::header::RETRY_AFTER);
                let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
                after.store(seconds, Ordering::Relaxed);
            }
            let (parts, body) = response.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// The key of an account at the authority: base64url, as its pages show it, with or without padding.
fn binding_of(binding: &wanted::Binding, setting: &Setting) -> Result<ExternalAccountKey, String> {
    let text = setting.credential(&binding.key)?;
    let plain = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    let key = Zeroizing::new(BASE64URL.decode(Zeroizing::new(plain).as_bytes()).map_err(|_| {
        "the key of the ACME account is not base64url; write it as the authority's page shows it".to_string()
    })?);
    Ok(ExternalAccountKey::new(binding.id.clone(), &key))
}

/// A problem as its sender put it.
fn of_problem(problem: &Problem) -> String {
    let mut text = problem.detail.clone().unwrap_or_else(|| "it does not say why".to_string());
    for sub in &problem.subproblems {
        text.push_str("; ");
        text.push_str(&sub.to_string());
    }
    if let Some(kind) = &problem.r#type {
        let kind = kind.rsplit(':').next().unwrap_or(kind);
        text.push_str(&format!(" ({kind})"));
    }
    text
}

impl Directory {
    fn refusal(&self, error: &Error) -> Refusal {
        refusal(error, &self.after)
    }

    /// Opens the account that is kept, or makes one, bound to the one at the authority where the lab names it.
    ///
    /// # Errors
    /// The directory cannot be reached, or wants no account of ours, or the disk does not keep it.
    pub async fn open(wanted: &wanted::Acme, setting: &Setting) -> Result<Directory, Refusal> {
        let folder = &setting.state;
        let after = Arc::new(AtomicU64::new(0));
        let client = Client::trusting(wanted.directory_ca.as_deref().unwrap_or("system"))?;
        let builder = || Account::builder_with_http(Box::new(Http { client: client.clone(), after: after.clone() }));
        let host = wanted.directory.split('/').nth(2).unwrap_or("directory").replace(':', "_");
        // Bound to another account it is another one.
        let bound =
            wanted.binding.as_ref().map(|binding| blake3::hash(binding.id.as_bytes()).to_hex()[..8].to_string());
        let path = folder.join(format!("account-{host}{}.json", bound.map(|id| format!("-{id}")).unwrap_or_default()));
        if let Ok(text) = std::fs::read(&path).map(Zeroizing::new) {
            let kept: Result<AccountCredentials, _> = serde_json::from_slice(&text);
            let kept = kept.map_err(|error| format!("the account in `{}` cannot be read: {error}", path.display()))?;
            match builder().from_credentials(kept).await {
                Ok(account) => return Ok(Directory { account, after }),
                // A directory that has forgotten the account gets a new one.
                Err(Error::Api(problem))
                    if problem.r#type.as_deref().is_some_and(|kind| kind.ends_with("accountDoesNotExist")) => {}
                Err(error) => return Err(refusal(&error, &after)),
            }
        }
        let contact = wanted.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let binding = wanted.binding.as_ref().map(|binding| binding_of(binding, setting)).transpose()?;
        let made = builder().create(&new, wanted.directory.clone(), binding.as_ref()).await;
        let (account, credentials) = made.map_err(|error| refusal(&error, &after))?;
        let text = Zeroizing::new(serde_json::to_vec(&credentials).map_err(|error| error.to_string())?);
        write_whole(&path, &text, 0o600)
            .map_err(|error| format!("the account cannot be kept in `{}`: {error}", path.display()))?;
        Ok(Directory { account, after })
    }

    /// Gets a certificate for some names. `attempt` says how often it was tried: where there are two ways to prove a name,
    /// they are tried in turn.
    pub async fn order(
        &self,
        names: &[String],
        store: &Store,
        dns: Option<&Dns>,
        attempt: u32,
    ) -> Result<Pair, Refusal> {
        let mut proofs = Proofs::default();
        let ended = self.prove(names, store, dns, attempt, &mut proofs).await;
        store.take_proofs(&proofs.tokens, &proofs.names);
        if let Some(dns) = dns {
            for record in &proofs.records {
                dns.take(record).await;
            }
        }
        ended
    }

    async fn prove(
        &self,
        names: &[String],
        store: &Store,
        dns: Option<&Dns>,
        attempt: u32,
        proofs: &mut Proofs,
    ) -> Result<Pair, Refusal> {
        let told = |error: Error| self.refusal(&error);
        let identifiers: Vec<Identifier> = names.iter().map(|name| Identifier::Dns(name.clone())).collect();
        let mut order = self.account.new_order(&NewOrder::new(&identifiers)).await.map_err(told)?;
        let mut all = order.authorizations();
        while let Some(authorization) = all.next().await {
            let mut authorization = authorization.map_err(told)?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => {
                    return Err(format!("the directory's leave for a name is `{other:?}` before it was asked").into());
                }
            }
            let identifier = authorization.identifier();
            let (name, wildcard) = match identifier.identifier {
                Identifier::Dns(name) => (name.clone(), identifier.wildcard),
                other => return Err(format!("the directory asks about `{other:?}`, which is no name").into()),
            };
            let ways = match dns {
                Some(_) => &[ChallengeType::Dns01][..],
                None if wildcard => {
                    return Err(format!("`*.{name}` takes a proof by DNS, and no `dns01` is set up").into());
                }
                None => &[ChallengeType::Http01, ChallengeType::TlsAlpn01][..],
            };
            let offered: Vec<ChallengeType> = ways
                .iter()
                .filter(|way| authorization.challenges.iter().any(|challenge| challenge.r#type == **way))
                .cloned()
                .collect();
            let Some(way) = offered.get(attempt as usize % offered.len().max(1)).cloned() else {
                return Err(format!("the directory takes no proof of `{name}` that can be given here").into());
            };
            let Some(mut challenge) = authorization.challenge(way.clone()) else { continue };
            let proof = challenge.key_authorization();
            match way {
                ChallengeType::Http01 => {
                    store.put_http_proof(challenge.token.clone(), proof.as_str().to_string());
                    proofs.tokens.push(challenge.token.clone());
                }
                ChallengeType::TlsAlpn01 => {
                    store.put_tls_proof(name.clone(), tls_proof(&name, proof.digest().as_ref())?);
                    proofs.names.push(name.clone());
                }
                _ => {
                    let Some(dns) = dns else { continue };
                    proofs.records.push(dns.put(&name, &proof.dns_value()).await?);
                    tokio::time::sleep(dns.wait()).await;
                }
            }
            challenge.set_ready().await.map_err(told)?;
        }
        let policy = RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(PATIENCE);
        if order.poll_ready(&policy).await.map_err(told)? == OrderStatus::Invalid {
            return Err(self.invalid(&mut order).await);
        }
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(|error| error.to_string())?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(|error| error.to_string())?;
        order.finalize_csr(request.der()).await.map_err(told)?;
        let chain = order.poll_certificate(&policy).await.map_err(told)?;
        Ok(Pair { key: Zeroizing::new(key.serialize_pem()), chain })
    }

    /// What the directory found wrong, name by name.
    async fn invalid(&self, order: &mut instant_acme::Order) -> Refusal {
        let mut words = Vec::new();
        let mut limited = false;
        let mut all = order.authorizations();
        while let Some(Ok(mut authorization)) = all.next().await {
            if authorization.refresh().await.is_err() {
                continue;
            }
            let name = authorization.identifier().to_string();
            for challenge in &authorization.challenges {
                if let Some(problem) = &challenge.error {
                    limited |= is_limited(problem);
                    words.push(format!("`{name}`: {}", of_problem(problem)));
                }
            }
        }
        if words.is_empty() {
            let own = order.state().error.as_ref().map(of_problem);
            words.push(own.unwrap_or_else(|| "the directory calls the order invalid, and does not say why".into()));
        }
        Refusal { words: words.join("; "), wait: None, limited }
    }
}

fn is_limited(problem: &Problem) -> bool {
    problem.status == Some(429) || problem.r#type.as_deref().is_some_and(|kind| kind.ends_with("rateLimited"))
}

fn refusal(error: &Error, after: &AtomicU64) -> Refusal {
    let after = Some(after.swap(0, Ordering::Relaxed)).filter(|seconds| *seconds > 0);
    match error {
        Error::Api(problem) => {
            let words = of_problem(problem);
            let wait = after.or_else(|| until(&words));
            Refusal { limited: is_limited(problem), wait, words }
        }
        Error::Timeout(_) => Refusal {
            words: format!("the directory did not come to an end within {} s", PATIENCE.as_secs()),
            wait: after,
            limited: false,
        },
        other => Refusal { words: other.to_string(), wait: after, limited: false },
    }
}

/// Seconds until the time that a limit is said to last, as Let's Encrypt writes it: `retry after 2026-01-31 12:00:00 UTC`.
fn until(words: &str) -> Option<u64> {
    let (_, rest) = words.split_once("retry after ")?;
    let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", rest.get(..19)?).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    u64::try_from(time - super::now()).ok()
}

/// What has to be taken away again.
#[derive(Default)]
struct Proofs {
    tokens: Vec<String>,
    names: Vec<String>,
    records: Vec<Record>,
}

/// The certificate that is a proof; RFC 8737.
fn tls_proof(name: &str, digest: &[u8]) -> Result<Arc<rustls::sign::CertifiedKey>, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut params = CertificateParams::new(vec![name.to_string()]).map_err(|error| error.to_string())?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let signed = params.self_signed(&key).map_err(|error| error.to_string())?;
    let pair = Pair { key: Zeroizing::new(key.serialize_pem()), chain: signed.pem() };
    pair.proof().map(|(certified, _)| certified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_a_certificate_that_only_the_directory_understands() {
        let proof = tls_proof("wiki.lab.test", &[7; 32]).unwrap();
        assert_eq!(proof.cert.len(), 1);
    }

    #[test]
    fn a_limit_says_until_when() {
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600);
        let soon = soon.strftime("%Y-%m-%d %H:%M:%S");
        let words =
            format!("too many certificates (5) already issued, retry after {soon} UTC: see https://letsencrypt.org");
        let seconds = until(&words).unwrap();
        assert!((3590..=3600).contains(&seconds), "{seconds}");
        assert_eq!(until("too many certificates"), None);
        assert_eq!(until("retry after soon"), None);
    }
}
