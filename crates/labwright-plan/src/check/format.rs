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
              that starts with `{`, `[`, `*` or `&` and is not quoted, a second document after `---`.",
    },
    Page {
        code: codes::UNKNOWN_KEY,
        title: "a key that means nothing",
        doc: "A map holds a key that Labwright does not know, so whatever was meant would silently not happen. The finding \
              names the nearest known key. `labwright schema` prints all keys; an editor that follows the first line of \
              `examples/starter/lab.yaml` completes them.",
    },
    Page {
        code: codes::DUPLICATE_KEY,
        title: "the same key twice",
        doc: "One map holds a key twice, or two files of the lab describe the same thing. YAML readers disagree on which \
              one counts, so neither is guessed: keep one.",
    },
    Page {
        code: codes::WRONG_VALUE,
        title: "a value of the wrong kind",
        doc: "A value is not what its key takes: a list where a name belongs, a number without its unit, an address that \
              is none. The finding says what is wanted. A tag of another program (`!secret`, `!include`) means nothing here \
              either. YAML 1.2 writes `true` and `false`; `yes`, `no`, `on` and `off` \
              are plain words.",
    },
    Page {
        code: codes::TOO_LARGE,
        title: "larger than a lab can be",
        doc: "A file over 4 MiB, nesting over 64 levels, or aliases that expand to more than 100,000 values. Each is far \
              above what a person writes, and each could be used to stop the tool. Split the file and `include` its parts.",
    },
    Page {
        code: codes::INCLUDE,
        title: "an include that cannot be followed",
        doc: "`include` names a file that is not there, cannot be read, or includes the file that names it, or includes are \
              nested deeper than 32 files. As long as a file is missing, names that it may hold are not judged. Paths are \
              relative to the file that they stand in; a folder includes its `.yaml` files in lexical order.",
    },
    Page {
        code: codes::MISSING_KEY,
        title: "a key is missing",
        doc: "Something is declared without a key that it cannot do without: a flow without `from` or `to`, a policy \
              without repositories.",
    },
    Page {
        code: codes::BAD_REFERENCE,
        title: "a reference to nothing",
        doc: "`${…}` refers to something that the lab does not have. Known are `${host.NAME.address}`, \
              `${service.NAME.url}`, `${zone.NAME.subnet}`, `${secret.NAME}`, `${env}`, `${port}`, `${lab}` and \
              `${domain}`. A literal `${` is written `$${`.",
    },
    Page {
        code: codes::BAD_ALLOW,
        title: "an acceptance that cannot be read",
        doc: "A comment starts with `# labwright:` and is not of the form `# labwright: allow CODE because REASON`. The \
              reason is not optional: it is what you will look for in a year.",
    },
    Page {
        code: codes::STALE_ALLOW,
        title: "an acceptance that accepts nothing",
        doc: "A comment accepts a finding that is not there any more, or not on that line. It would hide the next fault of \
              the kind, so remove it. An acceptance counts for the line it stands on, or, alone on a line, for the next line.",
    },
    Page {
        code: NO_SUCH_ASSET,
        title: "a file beside the lab file that is not there",
        doc: "A host's file is a copy of a `source` that cannot be read. Paths are relative to the file that names them. \
              Found when the lab is planned: `check` looks at no file but the lab's own.",
    },
    Page {
        code: NOT_A_PUBLIC_KEY,
        title: "a key that is not a public key",
        doc: "What stands in `keys` or `authorized_keys` is not an SSH public key: a type (`ssh-ed25519`), the key in base64, \
              and a comment if you like, on one line, as in `~/.ssh/id_ed25519.pub`. Without the `.pub` it is the private \
              key, which belongs in no lab file; if one was ever saved there, make a new pair.",
    },
    Page {
        code: codes::EMPTY,
        title: "there is no lab in the file",
        doc: "The file is empty or holds only comments. The smallest lab is a name and one host:\n\n```yaml\nlab: home\n\
              compute:\n  hosts:\n    workbench: { local: true }\n```",
    },
];
