//! The names of images, taken apart: which part says what runs, and whether that changes by itself.

/// The name of an image, taken apart: `registry/repository:tag@digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    pub text: &'a str,
    pub repository: &'a str,
    pub tag: Option<&'a str>,
    pub has_digest: bool,
}

/// Tags that are moved to whatever was built last. `stable` of one day is not `stable` of the next.
const MOVING: &[&str] = &[
    "latest",
    "stable",
    "main",
    "master",
    "mainline",
    "edge",
    "nightly",
    "rolling",
    "develop",
    "development",
    "dev",
    "beta",
    "testing",
    "unstable",
    "canary",
    "snapshot",
    "current",
    "release",
    "lts",
    "alpine",
    "slim",
];

impl<'a> Image<'a> {
    pub fn parse(text: &'a str) -> Option<Image<'a>> {
        // Compose puts its own variables in later: what the name will be is not known here.
        if text.trim().is_empty() || text.contains('$') {
            return None;
        }
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        // A registry's port is no tag.
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match name[last..].find(':') {
            Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..])),
            None => (name, None),
        };
        Some(Image { text, repository, tag, has_digest: digest.is_some() })
    }

    /// The program's name: `home-assistant` of `ghcr.io/home-assistant/home-assistant:2026.3`.
    pub fn program(&self) -> &'a str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// Whether what the name stands for changes by itself. A tag with a digit in it is taken for a version.
    pub fn is_moving(&self) -> bool {
        let word = |tag: &str| tag.split(['-', '_', '.']).next().is_some_and(|first| MOVING.contains(&first));
        let moves = |tag: &str| !tag.contains(|c: char| c.is_ascii_digit()) && word(tag);
        !self.has_digest && self.tag.is_none_or(moves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_apart() {
        let image = |text| Image::parse(text).unwrap();
        for text in ["nginx", "nginx:latest", "host:5000/app", "a/b:main", "a:latest-alpine", "x/y:release"] {
            assert!(image(text).is_moving(), "{text}");
        }
        for text in ["nginx:1", "host:5000/app:2026.3", "a@sha256:0", "a:latest@sha256:0", "a:main-3f2a1c", "a:prod"] {
            assert!(!image(text).is_moving(), "{text}");
        }
        assert_eq!(image("host:5000/app:2").repository, "host:5000/app");
        assert_eq!((image("ghcr.io/x/app:2@sha256:0").program(), image("nginx").program()), ("app", "nginx"));
        assert_eq!((Image::parse("app:${TAG}"), Image::parse(" ")), (None, None));
    }
}
