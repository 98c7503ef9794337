//! A resource: one outside thing, by id, and what it should be.
//! Knows no product: kinds are described by the provider that owns them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use labwright_model::Span;
use serde::{Deserialize, Deserializer, Serialize};

use crate::value::{Spec, hash_spec};

/// `host/provider/kind/name`: `docker-01/host/file//etc/motd`. The name may hold slashes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ResourceId(Arc<str>);

impl ResourceId {
    pub fn new(host: &str, provider: &str, kind: &str, name: &str) -> Self {
        ResourceId(format!("{host}/{provider}/{kind}/{name}").into())
    }

    /// Stands for every resource of a kind on a host, as something to come after.
    pub fn all(host: &str, provider: &str, kind: &str) -> Self {
        ResourceId::new(host, provider, kind, "*")
    }

    pub fn parse(text: &str) -> Option<Self> {
        (text.splitn(4, '/').filter(|part| !part.is_empty()).count() == 4).then(|| ResourceId(text.into()))
    }

    fn part(&self, n: usize) -> &str {
        self.0.splitn(4, '/').nth(n).unwrap_or_default()
    }

    pub fn host(&self) -> &str {
        self.part(0)
    }

    pub fn provider(&self) -> &str {
        self.part(1)
    }

    pub fn kind(&self) -> &str {
        self.part(2)
    }

    pub fn name(&self) -> &str {
        self.part(3)
    }

    pub fn is_all(&self) -> bool {
        self.0.ends_with("/*") && self.name() == "*"
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ResourceId::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not host/provider/kind/name")))
    }
}

/// What one outside thing should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resource {
    pub id: ResourceId,
    /// The fields that the lab declares; only these are owned.
    pub spec: Spec,
    /// What must be in place first.
    pub after: BTreeSet<ResourceId>,
    /// The lab file says to take it over if it is there and is not the lab's.
    pub adopt: bool,
    /// Where the lab file says so.
    #[serde(skip)]
    pub span: Span,
}

impl Resource {
    pub fn new(id: ResourceId, span: Span) -> Self {
        Resource { id, spec: Spec::new(), after: BTreeSet::new(), adopt: false, span }
    }

    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<crate::Value>) -> Self {
        self.spec.insert(field.to_string(), value.into());
        self
    }

    #[must_use]
    pub fn with_some(self, field: &str, value: Option<impl Into<crate::Value>>) -> Self {
        match value {
            Some(value) => self.with(field, value),
            None => self,
        }
    }
}

/// BLAKE3 over what was seen of a resource. Equal exactly when nothing that is looked at has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    pub fn of(spec: &Spec) -> Self {
        let mut hasher = blake3::Hasher::new();
        hash_spec(spec, &mut hasher);
        Fingerprint(hasher.finalize().to_hex()[..32].to_string())
    }

    pub fn absent() -> Self {
        Fingerprint("absent".into())
    }
}

impl Fingerprint {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
