//! A resource: one outside thing, by id, and what it should be.
//! Knows no product: kinds are described by the provider that owns them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use labwright_model::Span;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::value::{Spec, encode_spec};

/// `host/provider/kind/name`: `docker-01/host/file//etc/motd`. The name may hold slashes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    text: Arc<str>,
    /// Where the first three parts end: ids are taken apart far more often than they are made.
    ends: [u32; 3],
}

impl ResourceId {
    pub fn new(host: &str, provider: &str, kind: &str, name: &str) -> Self {
        let host_end = host.len();
        let provider_end = host_end + 1 + provider.len();
        let ends = [host_end as u32, provider_end as u32, (provider_end + 1 + kind.len()) as u32];
        ResourceId { text: [host, "/", provider, "/", kind, "/", name].concat().into(), ends }
    }

    /// Stands for every resource of a kind on a host, as something to come after.
    pub fn all(host: &str, provider: &str, kind: &str) -> Self {
        ResourceId::new(host, provider, kind, "*")
    }

    pub fn parse(text: &str) -> Option<Self> {
        let mut slashes = text.match_indices('/').map(|(at, _)| at);
        let (host, provider, kind) = (slashes.next()?, slashes.next()?, slashes.next()?);
        let whole = host > 0 && provider > host + 1 && kind > provider + 1 && text.len() > kind + 1;
        whole.then(|| ResourceId { text: text.into(), ends: [host, provider, kind].map(|end| end as u32) })
    }

    fn part(&self, n: usize) -> &str {
        let start = if n == 0 { 0 } else { self.ends[n - 1] as usize + 1 };
        let end = self.ends.get(n).map_or(self.text.len(), |end| *end as usize);
        &self.text[start..end]
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

    /// The same thing of a host under another name.
    pub fn on(&self, host: &str) -> Self {
        ResourceId::new(host, self.provider(), self.kind(), self.name())
    }

    pub fn is_all(&self) -> bool {
        self.name() == "*"
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Serialize for ResourceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AnyId)
    }
}

struct AnyId;

impl Visitor<'_> for AnyId {
    type Value = ResourceId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host/provider/kind/name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ResourceId, E> {
        ResourceId::parse(text).ok_or_else(|| E::custom(format!("`{text}` is not host/provider/kind/name")))
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
    /// What it looks different after: a container that lives in the network of one that is made anew. It is looked at before
    /// their steps, and not once more after them.
    #[serde(skip)]
    pub moved_by: BTreeSet<ResourceId>,
    /// The lab file says to take it over if it is there and is not the lab's.
    pub adopt: bool,
    /// Where the lab file says so.
    #[serde(skip)]
    pub span: Span,
}

impl Resource {
    pub fn new(id: ResourceId, span: Span) -> Self {
        Resource { id, spec: Spec::new(), after: BTreeSet::new(), moved_by: BTreeSet::new(), adopt: false, span }
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
        let mut encoded = Vec::new();
        encode_spec(spec, &mut encoded);
        Fingerprint(const_hex::encode(&blake3::hash(&encoded).as_bytes()[..16]))
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
