//! Pages of the findings that no rule makes: those of reading the text, and those of lowering.
//! The faults are found in `labwright-model` and in the providers; here is only what `explain` prints.

use labwright_model::codes;

pub(super) struct Page {
    pub code: &'static str,
    pub title: &'static str,
    pub doc: &'static str,
}

/// A file that is copied from beside the lab file cannot be read.
pub const NO_SUCH_ASSET: &str = "LW-CMP-008";
/// Something else than a public key stands where public keys belong.
pub const NOT_A_PUBLIC_KEY: &str = "LW-CMP-009";

pub(super) const PAGES: &[Page] = &[
    Page {
        code: codes::SYNTAX,
        title: "the file is not YAML",
        doc: "The text cannot be read as one YAML 1.2 document in UTF-8. Nothing after the place is looked at, so other \
              findings may follow once it is mended.\n\nUsual causes: a tab in the indentation, a missing quote, a value \
              that starts with `{`, `[`, `*` or `&` and is not quoted, a second document after `---`.\n\nBreaks it:\n\n```yaml\ncompute: {\n  hosts: { a: { address: 10.0.0.1 }\n```\n\nKeeps it:\n\n```yaml\ncompute:\n  hosts: { a: { address: 10.0.0.1 } }\n```",
    },
    Page {
        code: codes::UNKNOWN_KEY,
        title: "a key that means nothing",
        doc: "A map holds a key that Labwright does not know, so whatever was meant would silently not happen. The finding \
              names the nearest known key. `labwright schema` prints all keys; an editor that follows the first line of \
              `examples/one-machine/lab.yaml` completes them.\n\nBreaks it:\n\n```yaml\ncompute: { hosts: { a: { adress: 10.0.0.1 } } }\n```\n\nKeeps it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.1 } } }\n```",
    },
    Page {
        code: codes::DUPLICATE_KEY,
        title: "the same key twice",
        doc: "One map holds a key twice, or two files of the lab describe the same thing. YAML readers disagree on which \
              one counts, so neither is guessed: keep one.\n\nBreaks it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.1 }, a: { address: 10.0.0.2 } } }\n```\n\nKeeps it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.1 }, b: { address: 10.0.0.2 } } }\n```",
    },
    Page {
        code: codes::WRONG_VALUE,
        title: "a value of the wrong kind",
        doc: "A value is not what its key takes: a list where a name belongs, a number without its unit, an address that \
              is none. The finding says what is wanted. A tag of another program (`!secret`, `!include`) means nothing here \
              either. YAML 1.2 writes `true` and `false`; `yes`, `no`, `on` and `off` \
              are plain words.\n\nBreaks it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.300 } } }\n```\n\nKeeps it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.30 } } }\n```",
    },
    Page {
        code: codes::TOO_LARGE,
        title: "larger than a lab can be",
        doc: "A file over 4 MiB, nesting over 64 levels, or aliases that expand to more than 100,000 values. Each is far \
              above what a person writes, and each could be used to stop the tool. Split the file and `include` its parts.\n\nBreaks it:\n\n```yaml\na: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b] # and so on\n```\n\nKeeps it:\n\n```yaml\ninclude: [hosts.yaml, services.yaml]\n```",
    },
    Page {
        code: codes::INCLUDE,
        title: "an include that cannot be followed",
        doc: "`include` names a file that is not there, cannot be read, or includes the file that names it, or includes are \
              nested deeper than 32 files. As long as a file is missing, names that it may hold are not judged. Paths are \
              relative to the file that they stand in; a folder includes its `.yaml` files in lexical order.\n\nBreaks it:\n\n```yaml\ninclude: hosts.yml # the file is called hosts.yaml\n```\n\nKeeps it:\n\n```yaml\ninclude: hosts.yaml\n```",
    },
    Page {
        code: codes::MISSING_KEY,
        title: "a key is missing",
        doc: "Something is declared without a key that it cannot do without: a flow without `from` or `to`, a policy \
              without repositories.\n\nBreaks it:\n\n```yaml\nnetwork: { flows: [{ from: internet }] }\n```\n\nKeeps it:\n\n```yaml\nnetwork: { flows: [{ from: internet, to: web-01, allow: https }] }\n```",
    },
    Page {
        code: codes::BAD_REFERENCE,
        title: "a reference to nothing",
        doc: "`${…}` refers to something that the lab does not have. Known are `${host.NAME.address}`, \
              `${service.NAME.url}`, `${zone.NAME.subnet}`, `${secret.NAME}`, `${env}`, `${port}`, `${lab}` and \
              `${domain}`. A literal `${` is written `$${`.\n\nBreaks it:\n\n```yaml\nservices: { wiki: { run: \"wiki --db ${host.db-01.adress}\" } }\n```\n\nKeeps it:\n\n```yaml\nservices: { wiki: { run: \"wiki --db ${host.db-01.address}\" } }\n```",
    },
    Page {
        code: codes::BAD_ALLOW,
        title: "an acceptance that cannot be read",
        doc: "A comment starts with `# labwright:` and is not of the form `# labwright: allow CODE because REASON`. The \
              reason is not optional: it is what you will look for in a year.\n\nBreaks it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.5 } } } # labwright: allow LW-NET-001\n```\n\nKeeps it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.5 } } } # labwright: allow LW-NET-001 because the address moves with keepalived\n```",
    },
    Page {
        code: codes::STALE_ALLOW,
        title: "an acceptance that accepts nothing",
        doc: "A comment accepts a finding that is not there any more, or not on that line. It would hide the next fault of \
              the kind, so remove it. An acceptance counts for the line it stands on, or, alone on a line, for the next line.\n\nBreaks it:\n\n```yaml\n# labwright: allow LW-NET-001 because it was so once\nlab: home\n```\n\nKeeps it:\n\n```yaml\nlab: home\n```",
    },
    Page {
        code: NO_SUCH_ASSET,
        title: "a file beside the lab file that is not there",
        doc: "A host's file is a copy of a `source` that cannot be read. Paths are relative to the file that names them. \
              Found when the lab is planned: `check` looks at no file but the lab's own.\n\nBreaks it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.1, files: { /etc/motd: { source: files/modt } } } } }\n```\n\nKeeps it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.1, files: { /etc/motd: { source: files/motd } } } } }\n```",
    },
    Page {
        code: NOT_A_PUBLIC_KEY,
        title: "a key that is not a public key",
        doc: "What stands in `keys` or `authorized_keys` is not an SSH public key: a type (`ssh-ed25519`), the key in base64, \
              and a comment if you like, on one line, as in `~/.ssh/id_ed25519.pub`. Without the `.pub` it is the private \
              key, which belongs in no lab file; if one was ever saved there, make a new pair.\n\nBreaks it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.1, authorized_keys: { root: { keys: [~/.ssh/id_ed25519] } } } } }\n```\n\nKeeps it:\n\n```yaml\ncompute: { hosts: { a: { address: 10.0.0.1, authorized_keys: { root: { keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICqxxpKTSrQXgsiM5lbzMubce3sAoKbX5QRCqP5nAFpT mia@desk\"] } } } } }\n```",
    },
    Page {
        code: codes::EMPTY,
        title: "there is no lab in the file",
        doc: "The file is empty or holds only comments. The smallest lab is a name and one host:\n\n```yaml\nlab: home\n\
              compute:\n  hosts:\n    workbench: { local: true }\n```",
    },
    Page {
        code: codes::COMPOSE_FILE,
        title: "a Compose file that cannot be read",
        doc: "A service's `compose` names a file that is not there, or that file names another one (`include`, `extends`, \
              `env_file`, `label_file`) that is not. Paths in the lab file are relative to the lab file, and paths in a \
              Compose file to its project's folder, as Compose itself has it. A file of variables that need not be there is \
              written `env_file: [{ path: local.env, required: false }]`.",
    },
    Page {
        code: codes::COMPOSE_UNSUPPORTED,
        title: "a Compose key that is not supported",
        doc: "The Compose Specification has this key, and Labwright does nothing with it. It is an error and not left out \
              silently, because whoever wrote it relies on it. The finding says what to write instead. Keys that start with \
              `x-` are your own and are always left out.",
    },
    Page {
        code: codes::COMPOSE_VARIABLE,
        title: "a variable without a value",
        doc: "`${NAME}` in a Compose file has no value: Compose puts an empty text there and warns, and so does Labwright. \
              With `${NAME:?why}` it is an error. Values come from the `.env` beside the Compose file; nothing of your \
              shell's own environment is read, so that a plan is the same for everybody. A literal `$` is written `$$`.",
    },
    Page {
        code: codes::COMPOSE_EXTENDS,
        title: "`extends` or `include` that leads nowhere",
        doc: "A service extends one that is not there, or files include, or services extend, one another in a circle, or \
              deeper than 32 levels.",
    },
    Page {
        code: codes::COMPOSE_UNDECLARED,
        title: "a name that the Compose project does not declare",
        doc: "A service names a network, volume, secret, config or other service that its project does not have. Compose \
              would refuse to start it. Services under `containers` in the lab file declare networks and volumes by using \
              them.",
    },
    Page {
        code: codes::COMPOSE_BUILD,
        title: "an image that would have to be built",
        doc: "A service says how its image is built. Labwright runs images and builds none: build it where your other \
              images are built, push it to a registry, and name it under `image`. Where `image` is there as well, `build` \
              is left out, and this is only said.",
    },
    Page {
        code: codes::COMPOSE_LEGACY,
        title: "a Compose key of old",
        doc: "`version` has no effect since Compose 2. `links` and `external_links` come from before networks: containers \
              that share a network find one another by the service's name.",
    },
    Page {
        code: codes::COMPOSE_SWARM,
        title: "a key that only a swarm heeds",
        doc: "Part of `deploy` means something to Docker Swarm alone: `endpoint_mode`, `rollback_config`, `mode: global`, \
              generic resources. It is left out, as Compose leaves it out.",
    },
    Page {
        code: codes::COMPOSE_CONTRADICTION,
        title: "a Compose project that contradicts itself",
        doc: "Two values cannot both hold: `network_mode` and `networks`, a published port of a container that has another \
              one's network, one name for several containers, one port of the host for two services, a limit given twice, \
              services that wait for one another.",
    },
    Page {
        code: codes::COMPOSE_MISLEADING,
        title: "a value that means something else than it looks like",
        doc: "Compose reads YAML by older rules, and gives containers what it read: `UMASK: 002` becomes `2`, `VERSION: 1.10` \
              becomes `1.1`, `0755` becomes `493`. Quote what is meant as a text. A command in one line is read by no shell, \
              so `&&`, `|` and `>` end it. `~` is the home of whoever reads the file.",
    },
    Page {
        code: codes::COMPOSE_SECRET,
        title: "a secret where everybody can read it",
        doc: "A secret in a command or a label of a container is shown by `docker inspect` and `ps`, and stands on the engine's \
              disk: nothing is made of it. A secret is given as a file that is only in memory: most images read one where \
              the variable's name ends in `_FILE` (`POSTGRES_PASSWORD_FILE: ${secret.pg}`), and any program can read \
              `/run/secrets/NAME` of `secrets: [NAME]`. In a Compose file, `secrets: { pg: { external: true } }` is the lab's \
              secret `pg`. Its file is 0400: a `mode` that lets others read it is not followed, and that is said; `uid` says whose it is. The command of a process (`run:`) holds none either; its `environment` does, which is kept in \
              memory.",
    },
    Page {
        code: codes::SECRET_VARIABLE,
        title: "a secret in a variable of a container",
        doc: "The engine writes the variables of a container to its disk, `docker inspect` shows them, and they stand in the \
              environment of every process inside. So it is an error, and nothing is applied. Write `NAME_FILE` instead of \
              `NAME` where the image knows it: then the secret is a file in memory, and the variable its path. Some images know \
              no other way than a variable; who decides so says it on the line above, \
              `# labwright: allow LW-SVC-112 because …`, and then it is done. Labwright itself keeps no copy, then either.",
    },
];
