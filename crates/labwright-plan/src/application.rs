//! Which application an image is: most labs name an image and no catalogue entry. Knows names; judges nothing.

/// Last parts of an image's name that say nothing: what it is stands before them.
const GENERIC: &[&str] = &["server", "app", "web", "core", "api", "main", "runner", "wiki", "notes", "docker"];

/// Images whose name is another than the application's.
const ALIASES: &[(&str, &str)] = &[
    ("actualbudget", "actual"),
    ("fireflyiii", "firefly-iii"),
    ("gitlab-ce", "gitlab"),
    ("gitlab-ee", "gitlab"),
    ("goauthentik", "authentik"),
    ("homeassistant", "home-assistant"),
    ("joplinapp", "joplin"),
    ("matrix-synapse", "synapse"),
    ("pgvecto-rs", "postgres"),
    ("pgvector", "postgres"),
    ("postgis", "postgres"),
    ("requarks", "wiki-js"),
    ("seafile-mc", "seafile"),
    ("seafile-pro-mc", "seafile"),
    ("tandoorrecipes", "tandoor"),
    ("timescaledb", "postgres"),
    ("triliumnext", "trilium"),
    ("vabene1111", "tandoor"),
];

/// The application of an image, by its repository without tag: `ghcr.io/immich-app/immich-server` is `immich`,
/// `vaultwarden/server` is `vaultwarden`. An image that is none of an application (an exporter, a helper) keeps its name.
pub(crate) fn of_image(repository: &str) -> String {
    let repository = repository.to_lowercase();
    let mut parts = path(&repository).rsplit('/');
    let last = parts.next().unwrap_or_default();
    let name = match parts.next() {
        Some(owner) if GENERIC.contains(&last) => owner,
        _ => last,
    };
    let known = |name: &str| ALIASES.iter().find(|(image, _)| *image == name).map(|(_, application)| *application);
    if let Some(application) = known(name) {
        return application.to_string();
    }
    let bare = name.strip_prefix("docker-").unwrap_or(name);
    let bare = ["-server", "-docker", "-app"].iter().find_map(|end| bare.strip_suffix(end)).unwrap_or(bare);
    known(bare).unwrap_or(bare).to_string()
}

/// Whether an image runs the jobs of a forge.
pub(crate) fn is_runner(repository: &str) -> bool {
    const RUNNERS: &[&str] = &[
        "act_runner",
        "actions-runner",
        "drone-runner-docker",
        "forgejo-runner",
        "gitea-runner",
        "github-runner",
        "gitlab-runner",
        "woodpecker-agent",
    ];
    let repository = repository.to_lowercase();
    let mut parts = path(&repository).rsplit('/');
    match (parts.next(), parts.next()) {
        (Some("runner"), Some(owner)) => ["forgejo", "gitea"].contains(&owner),
        (Some(name), _) => RUNNERS.contains(&name),
        (None, _) => false,
    }
}

/// Whether an image is a registry that images are pushed to.
pub(crate) fn is_registry(repository: &str) -> bool {
    let repository = repository.to_lowercase();
    match path(&repository) {
        "registry" | "library/registry" | "distribution/distribution" => true,
        path => ["harbor-core", "zot", "zot-linux-amd64", "zot-linux-arm64"].contains(&last(path)),
    }
}

/// An image's name without the registry that it comes from: `registry.example.net/app` is `app`.
pub(crate) fn path(repository: &str) -> &str {
    match repository.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest,
        _ => repository,
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_names() {
        for (image, application) in [
            ("postgres", "postgres"),
            ("docker.io/library/mariadb", "mariadb"),
            ("ghcr.io/paperless-ngx/paperless-ngx", "paperless-ngx"),
            ("vaultwarden/server", "vaultwarden"),
            ("ghcr.io/immich-app/immich-server", "immich"),
            ("ghcr.io/immich-app/immich-machine-learning", "immich-machine-learning"),
            ("ghcr.io/immich-app/postgres", "postgres"),
            ("ghcr.io/goauthentik/server", "authentik"),
            ("lscr.io/linuxserver/nextcloud", "nextcloud"),
            ("ghcr.io/home-assistant/home-assistant", "home-assistant"),
            ("fireflyiii/core", "firefly-iii"),
            ("requarks/wiki", "wiki-js"),
            ("tomsquest/docker-radicale", "radicale"),
            ("actualbudget/actual-server", "actual"),
            ("prometheuscommunity/postgres-exporter", "postgres-exporter"),
            ("registry.example.net:5000/app", "app"),
        ] {
            assert_eq!(of_image(image), application, "{image}");
        }
    }

    #[test]
    fn runners_and_registries() {
        for image in ["code.forgejo.org/forgejo/runner", "gitlab/gitlab-runner", "myoung34/github-runner"] {
            assert!(is_runner(image), "{image}");
        }
        for image in ["task/runner", "forgejo/forgejo", "gitlab/gitlab-runner-helper", "runner"] {
            assert!(!is_runner(image), "{image}");
        }
        for image in ["registry", "docker.io/library/registry", "ghcr.io/project-zot/zot"] {
            assert!(is_registry(image), "{image}");
        }
        for image in ["registry.example.net/app", "joxit/docker-registry-ui", "schema-registry"] {
            assert!(!is_registry(image), "{image}");
        }
    }
}
