//! LW-CMP-005: state of a host that says too much, too little, or where it is nothing.

use std::collections::BTreeMap;

use labwright_model::lab::Host;
use labwright_model::{Finding, Findings, Parsed, Span};

use crate::check::{Examples, Rule};

pub struct HostState;

const CODE: &str = "LW-CMP-005";
const UNIT_TYPES: &[&str] = &["service", "timer", "socket", "path", "mount", "automount", "target", "slice", "swap"];

impl Rule for HostState {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "host state that cannot be made"
    }

    fn doc(&self) -> &'static str {
        "- A file has both `content` and `source`, or neither.\n\
         - A mount has both `nfs` and `device`, or neither.\n\
         - A unit's name has no type (`backup.service`, `backup.timer`), so systemd would not know it.\n\
         - A path does not start with `/`, or holds `..`.\n\
         - One path is declared as two kinds of thing.\n\nThe way out stands in the finding."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/motd: { mode: \"0644\" }",
            passes: "compute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/motd: { content: hello, mode: \"0644\" }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        for (name, host) in parsed.lab.compute.hosts.iter() {
            let mut fault = |key: String, span: Span, message: String, help: &str| {
                findings.push(Finding::error(CODE, format!("compute.hosts.{name}.{key}"), span, message).help(help));
            };
            for (path, file) in host.files.iter() {
                let key = format!("files.{path}");
                match (&file.content, &file.source) {
                    (None, None) => fault(
                        key,
                        file.span,
                        format!("file `{path}` has no content"),
                        "give it `content: …`, or `source: FILE` beside the lab file; an empty file has `content: \"\"`",
                    ),
                    (Some(_), Some(source)) => fault(
                        key,
                        source.span,
                        format!("file `{path}` has `content` and `source`"),
                        "keep one of the two",
                    ),
                    _ => {}
                }
            }
            for (path, mount) in host.mounts.iter() {
                let key = format!("mounts.{path}");
                match (&mount.nfs, &mount.device) {
                    (None, None) => fault(
                        key,
                        mount.span,
                        format!("nothing is mounted at `{path}`"),
                        "give it `nfs: host:/path`, or `device: …`",
                    ),
                    (Some(_), Some(device)) => {
                        fault(key, device.span, format!("two things are mounted at `{path}`"), "keep `nfs` or `device`")
                    }
                    _ => {}
                }
            }
            for (unit, entry) in host.units.iter() {
                let known =
                    unit.rsplit_once('.').is_some_and(|(stem, kind)| !stem.is_empty() && UNIT_TYPES.contains(&kind));
                if !known {
                    fault(
                        format!("units.{unit}"),
                        entry.span,
                        format!("`{unit}` does not say what type of unit it is"),
                        &format!("write `{unit}.service`, or another type: timer, socket, path, mount, target"),
                    );
                }
            }
            for (kind, path, span) in paths(host) {
                if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                    fault(
                        format!("{kind}.{path}"),
                        span,
                        format!("`{path}` is not a whole path"),
                        "write it from `/` on, without `..`",
                    );
                }
            }
            let mut first: BTreeMap<&str, &str> = BTreeMap::new();
            for (kind, path, span) in paths(host).into_iter().filter(|(kind, ..)| *kind != "mounts") {
                match first.insert(path.trim_end_matches('/'), kind) {
                    Some(other) if other != kind => {
                        fault(
                            format!("{kind}.{path}"),
                            span,
                            format!("`{path}` is declared under `{other}` and under `{kind}`"),
                            "it can be one of them",
                        );
                    }
                    _ => {}
                }
            }
        }
    }
}

fn paths(host: &Host) -> Vec<(&'static str, &str, Span)> {
    fn of<'a, T>(
        kind: &'static str,
        table: &'a labwright_model::Table<T>,
    ) -> impl Iterator<Item = (&'static str, &'a str, Span)> {
        table.iter().map(move |(path, entry)| (kind, path.as_str(), entry.span))
    }
    let files = of("files", &host.files).chain(of("directories", &host.directories));
    files.chain(of("symlinks", &host.symlinks)).chain(of("mounts", &host.mounts)).collect()
}
