//! Names of images: registry and repository, tag, digest.
//! Pure; spelled as the engine spells them where it lists digests.

/// An image as somebody named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// As the engine's lists have it: `busybox`, `ghcr.io/app`, `127.0.0.1:5000/app`.
    pub repository: &'a str,
    pub tag: &'a str,
    /// `sha256:…`
    pub digest: Option<&'a str>,
}

/// Takes a name apart. The tag is `latest` where none is given.
pub fn parse(name: &str) -> Reference<'_> {
    let (tagged, digest) = match name.split_once('@') {
        Some((tagged, digest)) => (tagged, Some(digest)),
        None => (name, None),
    };
    let from = tagged.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match tagged[from..].rfind(':') {
        Some(colon) => (&tagged[..from + colon], &tagged[from + colon + 1..]),
        None => (tagged, "latest"),
    };
    let repository = repository.strip_prefix("docker.io/").unwrap_or(repository);
    let repository = repository.strip_prefix("library/").unwrap_or(repository);
    Reference { repository, tag, digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parts = |name| {
            let found = parse(name);
            format!("{} {} {}", found.repository, found.tag, found.digest.unwrap_or("-"))
        };
        assert_eq!(parts("busybox"), "busybox latest -");
        assert_eq!(parts("docker.io/library/busybox:1.36"), "busybox 1.36 -");
        assert_eq!(parts("127.0.0.1:5000/team/app"), "127.0.0.1:5000/team/app latest -");
        assert_eq!(parts("127.0.0.1:5000/app:2@sha256:ab"), "127.0.0.1:5000/app 2 sha256:ab");
    }
}
