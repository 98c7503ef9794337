//! Proofs by DNS: one TXT record for each name, put where the domain's provider is, and taken away again.

mod acme_dns;
mod cloudflare;
mod desec;
mod rfc2136;

use labwright_model::snapshot::proxy as wanted;
use zeroize::Zeroizing;

use super::super::Setting;
use super::super::client::Client;

/// The providers that are known, as the lab file spells them.
pub const PROVIDERS: &[&str] = &["cloudflare", "desec", "rfc2136", "acme-dns"];

/// A provider, ready to be asked.
pub struct Dns {
    wanted: wanted::Dns01,
    token: Zeroizing<String>,
    client: Client,
}

/// A record that was made, and what it takes to take it away.
pub struct Record {
    name: String,
    value: String,
    /// What the provider calls it.
    id: Option<String>,
}

impl Dns {
    /// # Errors
    /// In words: nobody knows the provider, or something that it needs is not there.
    pub fn open(wanted: &wanted::Dns01, setting: &Setting) -> Result<Dns, String> {
        if !PROVIDERS.contains(&wanted.provider.as_str()) {
            return Err(format!(
                "nothing here knows how to prove names at `{}`; known are `{}`",
                wanted.provider,
                PROVIDERS.join("`, `")
            ));
        }
        let needs: &[(&str, bool)] = match wanted.provider.as_str() {
            "rfc2136" => &[("server", wanted.server.is_some()), ("key", wanted.key.is_some())],
            "acme-dns" => &[
                ("server", wanted.server.is_some()),
                ("account", wanted.account.is_some()),
                ("subdomain", wanted.subdomain.is_some()),
            ],
            _ => &[],
        };
        let missing = needs.iter().find(|(_, there)| !there).map(|(need, _)| *need);
        let missing = missing.or(wanted.token.is_none().then_some("token"));
        if let Some(missing) = missing {
            return Err(format!(
                "proofs at `{}` need `{missing}`; write it under `platform.reverse_proxy.tls.proof`",
                wanted.provider
            ));
        }
        let token = setting.credential(wanted.token.as_deref().unwrap_or_default())?;
        Ok(Dns { wanted: wanted.clone(), token, client: Client::trusting("system")? })
    }

    /// How long a record takes until everybody sees it.
    pub fn wait(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.wanted.wait)
    }

    /// Makes the record that proves a name.
    ///
    /// # Errors
    /// The provider's own text.
    pub async fn put(&self, domain: &str, value: &str) -> Result<Record, String> {
        let name = format!("_acme-challenge.{}", domain.trim_start_matches("*."));
        let made = match self.wanted.provider.as_str() {
            "cloudflare" => cloudflare::put(self, &name, value).await.map(Some),
            "desec" => desec::put(self, &name, value).await.map(|()| None),
            "acme-dns" => acme_dns::put(self, value).await.map(|()| None),
            _ => rfc2136::put(self, &name, value).await.map(|()| None),
        };
        let told = |why| format!("no proof of `{domain}` at `{}`: {why}", self.wanted.provider);
        made.map(|id| Record { name, value: value.to_string(), id }).map_err(told)
    }

    /// Takes a record away. That it cannot is no fault of the certificate.
    pub async fn take(&self, record: &Record) {
        let taken = match self.wanted.provider.as_str() {
            "cloudflare" => cloudflare::take(self, record.id.as_deref().unwrap_or_default()).await,
            "desec" => desec::take(self, &record.name, &record.value).await,
            "rfc2136" => rfc2136::take(self, &record.name, &record.value).await,
            // acme-dns keeps the last two by itself.
            _ => Ok(()),
        };
        if let Err(why) = taken {
            tracing::warn!(name = record.name, why, "a record that proved a name could not be taken away");
        }
    }

    fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", *self.token))
    }

    /// The names above a name, itself first, that could be the zone it is in.
    fn zones<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        match &self.wanted.zone {
            Some(zone) => vec![zone.trim_end_matches('.')],
            None => {
                let labels = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
                labels.filter(|zone| zone.contains('.')).collect()
            }
        }
    }

    /// The address of an API: the provider's own, or the one that the lab names.
    fn api(&self, own: &str) -> String {
        self.wanted.server.clone().unwrap_or_else(|| own.to_string()).trim_end_matches('/').to_string()
    }
}
