//! LW-CMP-005: state of a host that says too much, too little, or where it is nothing.

use std::collections::BTreeMap;

use labwright_model::lab::Host;
use labwright_model::{Finding, Findings, Parsed, Span};

use crate::check::{Case, Examples, Rule};

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
         - The content of a file is gone: the lines below `content: |` were taken out, and what is on the host would be \
         replaced by nothing, a secret too. A file that is meant to be empty has `content: \"\"`.\n\
         - A mount has both `nfs` and `device`, or neither.\n\
         - A unit's name has no type (`backup.service`, `backup.timer`), so systemd would not know it.\n\
         - A path does not start with `/`, or holds `..`.\n\
         - One path is declared as two kinds of thing.\n\n\
         It comes from the manuals: systemd.unit(5) tells types of units by the ends of their names, and mount(8) \
         takes one source for one place. hashicorp/terraform-provider-local#122 is of one who gave a file no \
         content at all.\n\n\
         The way out stands in the finding."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/motd: { mode: \"0644\" }",
            passes: "compute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /etc/motd: { content: hello, mode: \"0644\" }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
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
                    (Some(content), None) if content.is_empty() && !is_said_to_be_empty(parsed, content.span) => fault(
                        key,
                        content.span,
                        format!("the content of file `{path}` is gone: nothing stands behind `content:`"),
                        "write what it holds, take the file out of the lab to leave it as it is, or say `content: \"\"` to empty it",
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

/// Whether the file says that there is nothing, by a pair of quotes, and it is not that something was taken out.
fn is_said_to_be_empty(parsed: &Parsed, span: Span) -> bool {
    let source = parsed.sources.get(span.file).map_or("", |source| source.text.as_str());
    source.get(span.start as usize..).is_none_or(|rest| rest.starts_with(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn content_that_was_taken_out_is_no_empty_file() {
        says(
            "compute:\n  hosts:\n    desk:\n      local: true\n      files:\n        /gone:\n          content: |\n          owner: ada\n        /folded: { mode: \"0400\", content: }\n        /empty: { content: \"\" }\n        /none: { content: '' }\n",
            expect![[r#"
                8:11 error LW-CMP-005: the content of file `/gone` is gone: nothing stands behind `content:`
                    help: write what it holds, take the file out of the lab to leave it as it is, or say `content: ""` to empty it
                9:9 error LW-CMP-005: file `/folded` has no content
                    help: give it `content: …`, or `source: FILE` beside the lab file; an empty file has `content: ""`
            "#]],
        );
    }

    #[test]
    fn everything_that_cannot_be_made() {
        says(
            r#"
compute:
  hosts:
    desk:
      local: true
      files:
        /both: { content: a, source: b }
        /none: {}
        /empty: { content: "" }
        relative/path: { content: a }
        /a/../b: { content: a }
        /twice: { content: a }
      directories:
        /twice/: {}
        ~/x: {}
      symlinks:
        link: /target
        /fine: ../relative
      mounts:
        /m1: { nfs: "nas:/x", device: /dev/sda1 }
        /m2: { automount: true }
        m3: "nas:/x"
      units:
        backup: { content: x }
        backup.timer: { enabled: true }
        getty@tty1.service: { enabled: true }
        my.unit: { enabled: true }
        .service: { enabled: true }
"#,
            expect![[r#"
                7:38 error LW-CMP-005: file `/both` has `content` and `source`
                    help: keep one of the two
                8:9 error LW-CMP-005: file `/none` has no content
                    help: give it `content: …`, or `source: FILE` beside the lab file; an empty file has `content: ""`
                10:9 error LW-CMP-005: `relative/path` is not a whole path
                    help: write it from `/` on, without `..`
                11:9 error LW-CMP-005: `/a/../b` is not a whole path
                    help: write it from `/` on, without `..`
                14:9 error LW-CMP-005: `/twice/` is declared under `files` and under `directories`
                    help: it can be one of them
                15:9 error LW-CMP-005: `~/x` is not a whole path
                    help: write it from `/` on, without `..`
                17:9 error LW-CMP-005: `link` is not a whole path
                    help: write it from `/` on, without `..`
                20:39 error LW-CMP-005: two things are mounted at `/m1`
                    help: keep `nfs` or `device`
                21:9 error LW-CMP-005: nothing is mounted at `/m2`
                    help: give it `nfs: host:/path`, or `device: …`
                22:9 error LW-CMP-005: `m3` is not a whole path
                    help: write it from `/` on, without `..`
                24:9 error LW-CMP-005: `backup` does not say what type of unit it is
                    help: write `backup.service`, or another type: timer, socket, path, mount, target
                27:9 error LW-CMP-005: `my.unit` does not say what type of unit it is
                    help: write `my.unit.service`, or another type: timer, socket, path, mount, target
                28:9 error LW-CMP-005: `.service` does not say what type of unit it is
                    help: write `.service.service`, or another type: timer, socket, path, mount, target
            "#]],
        );
    }
}
