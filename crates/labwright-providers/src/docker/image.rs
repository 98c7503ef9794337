//! Images: which one a tag stands for is found out when the plan is made, and that very one is fetched.
//! Removes none: what an old container needs to come back is still there.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bollard::Docker;
use bollard::query_parameters::{CreateImageOptions, TagImageOptions};
use futures_util::StreamExt;
use labwright_plan::{
    Consequence, ErrorKind, Field, Fingerprint, Kind, Observation, Observed, OnChange, Ownership, ProviderError,
    Resource, Seen, Sight, Spec, Step, Value, Wanted,
};
use serde_json::Value as Json;

use super::engine::{found, json, told};
use super::reference::parse;
use super::session::{Look, Saying, text};
use super::{ENGINE, NAME, adopt};

/// The kind `image`; named as the lab names it.
pub const KIND: Kind = Kind {
    name: "image",
    doc: "An image, fetched by its digest. None is ever removed.",
    fields: &[DIGEST, PLATFORM, ENGINE],
    ownership: Ownership::Setting,
    create: Consequence::None,
    delete: Consequence::None,
};

const DIGEST: Field = Field {
    name: "digest",
    doc: "What its registry knows it by; the engine's own id of an image that no registry has.",
    on_change: OnChange::Update,
    consequence: Consequence::None,
    content: false,
};

const PLATFORM: Field = Field {
    name: "platform",
    doc: "The platform that it is fetched for, where that is not the host's own.",
    on_change: OnChange::Ignore,
    consequence: Consequence::None,
    content: false,
};

/// The field of an observation that says which digest a tag stands for today.
const AVAILABLE: &str = "available";

/// What images are here, and what their registries say, asked once each.
pub struct Images<'a> {
    docker: &'a Docker,
    resolved: RefCell<BTreeMap<String, Result<String, ProviderError>>>,
    inspected: RefCell<BTreeMap<String, Option<Json>>>,
}

impl<'a> Images<'a> {
    pub fn new(docker: &'a Docker) -> Self {
        Images { docker, resolved: RefCell::default(), inspected: RefCell::default() }
    }

    /// An image that is here, by any of its names.
    pub async fn here(&self, name: &str) -> Look<Json> {
        if let Some(known) = self.inspected.borrow().get(name) {
            return Ok(known.clone());
        }
        let image = found("look at image", name, self.docker.inspect_image(name).await)?.map(|image| json(&image));
        self.inspected.borrow_mut().insert(name.to_string(), image.clone());
        Ok(image)
    }

    /// The image of a digest that is here: one that a registry knows by it, or one that has it as its id.
    pub async fn by_digest(&self, repository: &str, digest: &str) -> Look<Json> {
        match self.here(&format!("{repository}@{digest}")).await? {
            Some(image) => Ok(Some(image)),
            None => Ok(self.here(digest).await?.filter(|image| image["Id"] == digest)),
        }
    }

    /// The digest that a name stands for: its own, its registry's, or, where no registry answers, that of what is here.
    pub async fn resolve(&self, name: &str) -> Result<String, ProviderError> {
        let reference = parse(name);
        if let Some(digest) = reference.digest {
            return Ok(digest.to_string());
        }
        if let Some(known) = self.resolved.borrow().get(name) {
            return known.clone();
        }
        let resolved = self.ask(name).await;
        self.resolved.borrow_mut().insert(name.to_string(), resolved.clone());
        resolved
    }

    async fn ask(&self, name: &str) -> Result<String, ProviderError> {
        let refused = match self.docker.inspect_registry_image(name, None).await {
            Ok(answer) => match json(&answer)["Descriptor"]["digest"].as_str() {
                Some(digest) => return Ok(digest.to_string()),
                None => ProviderError::rejected(format!("the registry of `{name}` gave no digest")),
            },
            Err(error) => told("ask the registry for", name, error),
        };
        if let Some(image) = self.here(name).await? {
            return Ok(digest_of(&image, parse(name).repository));
        }
        let message = format!("{}, and no image of that name is here", refused.message);
        Err(ProviderError::new(ErrorKind::Unreachable, message).help(format!(
            "is the name right, and does the host reach its registry? `docker pull {name}` there says more"
        )))
    }

    /// What an image is called by where it runs: the digest that is wanted, if it has that one, or its own.
    pub fn called(image: &Json, repository: &str, wanted: &str) -> String {
        match has(image, repository, wanted) {
            true => wanted.to_string(),
            false => digest_of(image, repository),
        }
    }
}

fn has(image: &Json, repository: &str, digest: &str) -> bool {
    image["Id"] == digest || digests(image, repository).any(|known| known == digest)
}

fn digests<'a>(image: &'a Json, repository: &'a str) -> impl Iterator<Item = &'a str> {
    let all = image["RepoDigests"].as_array().into_iter().flatten().filter_map(Json::as_str);
    all.filter_map(|known| known.split_once('@')).filter(move |(name, _)| *name == repository).map(|(_, digest)| digest)
}

/// What an image's registry knows it by; the engine's own id of one that no registry has.
pub fn digest_of(image: &Json, repository: &str) -> String {
    let known = digests(image, repository).next().map(str::to_string);
    known.unwrap_or_else(|| image["Id"].as_str().unwrap_or_default().to_string())
}

/// What is here of the image, and, where no digest is asked for yet, which one its tag stands for.
pub async fn observe(images: &Images<'_>, wanted: &Wanted<'_>) -> Look {
    let name = wanted.id.name();
    let reference = parse(name);
    let mut spec = Spec::new();
    let digest = match text(wanted.spec, "digest") {
        Some(digest) => digest.to_string(),
        None => {
            let available = images.resolve(name).await?;
            spec.insert(AVAILABLE.into(), available.as_str().into());
            available
        }
    };
    let here = match images.by_digest(reference.repository, &digest).await? {
        Some(_) => Some(digest),
        None => images.here(name).await?.map(|image| digest_of(&image, reference.repository)),
    };
    if let Some(here) = here {
        spec.insert("digest".into(), here.into());
    }
    Ok(Some(Observed { spec, data: None }))
}

/// Gives tags the digests that were seen for them, in images and in the containers that are made from them.
pub fn settle(desired: &mut [Resource], observed: &mut Observation) {
    let mut digests: BTreeMap<(String, String), String> = BTreeMap::new();
    for (host, sight) in &mut observed.hosts {
        let Sight::Reached(host_seen) = sight else { continue };
        for (id, seen) in &mut host_seen.seen {
            if let Seen::Present(observed) = seen
                && id.provider() == NAME
                && let Some(Value::Text(digest)) = observed.spec.remove(AVAILABLE)
            {
                digests.insert((host.clone(), id.name().to_string()), digest);
            }
        }
    }
    adopt::keep(desired, observed, &mut digests);
    for resource in desired.iter_mut().filter(|resource| resource.id.provider() == NAME) {
        let host = resource.id.host().to_string();
        match resource.id.kind() {
            "image" if !resource.spec.contains_key("digest") => {
                if let Some(digest) = digests.get(&(host, resource.id.name().to_string())) {
                    resource.spec.insert("digest".into(), digest.as_str().into());
                }
            }
            "container" => {
                let Some(name) = text(&resource.spec, "image").map(str::to_string) else { continue };
                if let Some(digest) = digests.get(&(host, name.clone())) {
                    resource.spec.insert("image".into(), format!("{name}@{digest}").into());
                }
            }
            _ => {}
        }
    }
    settle_beside(desired);
}

/// Gives containers that live in the network of others the fingerprints of those: a new one there is a new one here.
fn settle_beside(desired: &mut [Resource]) {
    let container = |resource: &&Resource| resource.id.provider() == NAME && resource.id.kind() == "container";
    let own = |resource: &Resource| {
        let mut spec = resource.spec.clone();
        spec.remove("beside");
        Fingerprint::of(&spec).as_str()[..16].to_string()
    };
    // Another stack's is named with it: `STACK/SERVICE`.
    let key = |resource: &Resource, service: &str| match service.contains('/') {
        true => format!("{}/{service}", resource.id.host()),
        false => format!("{}/{}/{service}", resource.id.host(), text(&resource.spec, "stack").unwrap_or_default()),
    };
    let mut known: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for resource in desired.iter().filter(container) {
        let others = match resource.spec.get("beside") {
            Some(Value::Map(others)) => others.keys().map(|other| key(resource, other)).collect(),
            _ => Vec::new(),
        };
        known.insert(key(resource, text(&resource.spec, "service").unwrap_or_default()), (own(resource), others));
    }
    // What others live beside counts as well, as far as it goes; a circle was a finding.
    let whole = |start: &str| {
        let (mut all, mut left) = (BTreeMap::new(), vec![start.to_string()]);
        while let Some(next) = left.pop() {
            if let Some((own, others)) = known.get(&next).filter(|_| !all.contains_key(&next)) {
                all.insert(next, own.clone());
                left.extend(others.iter().cloned());
            }
        }
        let all: Spec = all.into_iter().map(|(name, own)| (name, own.into())).collect();
        Value::from(&Fingerprint::of(&all).as_str()[..16])
    };
    for resource in desired.iter_mut().filter(|resource| container(&&**resource)) {
        let places: Vec<(String, String)> = match resource.spec.get("beside") {
            Some(Value::Map(others)) if !others.is_empty() => {
                others.keys().map(|other| (other.clone(), key(resource, other))).collect()
            }
            _ => continue,
        };
        let beside = places.into_iter().map(|(other, place)| (other, whole(&place))).collect();
        resource.spec.insert("beside".into(), Value::Map(beside));
    }
}

/// Fetches the image of the digest that the plan was made with.
pub async fn apply(docker: &Docker, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let name = step.id.name();
    let reference = parse(name);
    let digest = text(&step.spec, "digest")
        .ok_or_else(|| ProviderError::bug(format!("nobody said which digest `{name}` stands for")))?;
    let whole = format!("{}@{digest}", reference.repository);
    let images = Images::new(docker);
    if images.by_digest(reference.repository, digest).await?.is_none() {
        saying.say(&format!("fetching `{whole}`"));
        let options = CreateImageOptions {
            from_image: Some(reference.repository.into()),
            tag: Some(digest.into()),
            platform: text(&step.spec, "platform").unwrap_or_default().into(),
            ..Default::default()
        };
        let mut pull = docker.create_image(Some(options), None, None);
        while let Some(part) = pull.next().await {
            let part = part.map_err(|error| not_fetched(&whole, told("fetch image", &whole, error)))?;
            if let Some(fault) = part.error_detail.and_then(|fault| fault.message) {
                return Err(not_fetched(
                    &whole,
                    ProviderError::rejected(format!("cannot fetch image `{whole}`: {fault}")),
                ));
            }
        }
    }
    if reference.digest.is_none() && docker.inspect_image(&whole).await.is_ok() {
        let options = TagImageOptions { repo: Some(reference.repository.into()), tag: Some(reference.tag.into()) };
        docker.tag_image(&whole, Some(options)).await.map_err(|error| told("name image", name, error))?;
    }
    Ok(())
}

fn not_fetched(whole: &str, error: ProviderError) -> ProviderError {
    match error.help.is_empty() {
        true => error.help(format!("does the host reach the registry? `docker pull {whole}` there says more")),
        false => error,
    }
}
