//! Paths as text: one spelling for each, and which of them a text mentions.
//! Looks at no disk.

use labwright_plan::Refusal;

/// One spelling for each path: no doubled slash, none at the end.
pub fn normal(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let start = if path.starts_with('/') { "/" } else { "" };
    format!("{start}{}", parts.join("/"))
}

/// Why a path cannot be a resource's; `None`: it can.
pub fn fault(path: &str) -> Option<Refusal> {
    let refusal = |reason: String, help: &str| Some(Refusal { reason, help: help.into() });
    if !path.starts_with('/') {
        return refusal(format!("`{path}` is not an absolute path"), "start it with `/`");
    }
    if path == "/" {
        return refusal("`/` is not labwright's to change".into(), "name a path below it");
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return refusal(format!("`{path}` goes through `.` or `..`"), "write the path that it leads to");
    }
    if path.chars().any(char::is_control) {
        return refusal(format!("{path:?} holds a control character"), "name it without");
    }
    None
}

/// The folders above a path, the nearest first, without `/` itself.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rfind('/').map(|at| &path[..at]), |path| path.rfind('/').map(|at| &path[..at]))
        .filter(|path| !path.is_empty())
}

/// Whether a text speaks of exactly this path: not of a longer one that starts or ends alike.
pub fn mentions(text: &str, path: &str) -> bool {
    mentions_where(text, path, |next| !is_path_char(next))
}

/// Whether a text speaks of this folder, or of something in it.
pub fn mentions_folder(text: &str, path: &str) -> bool {
    mentions_where(text, path, |next| next == '/' || !is_path_char(next))
}

fn mentions_where(text: &str, path: &str, may_follow: impl Fn(char) -> bool) -> bool {
    text.match_indices(path).any(|(at, _)| {
        // `-` is how units say "if it is there": `EnvironmentFile=-/etc/app.env`.
        let before = text[..at].chars().next_back().is_none_or(|c| !is_path_char(c) || c == '-');
        let after = &text[at + path.len()..];
        // A full stop at the end of a sentence or line is no part of a path.
        let after = if after.starts_with(". ") || after.starts_with(".\n") || after == "." { "" } else { after };
        before && after.chars().next().is_none_or(&may_follow)
    })
}

fn is_path_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '@' | '+' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for (typed, spelled) in [("/srv//data/", "/srv/data"), ("/", "/"), ("etc/motd", "etc/motd"), ("/a", "/a")] {
            assert_eq!(normal(typed), spelled);
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        assert_eq!(fault("/etc/motd"), None);
        for path in ["etc/motd", "/", "/srv/../etc/shadow", "/srv/./x", "/srv/a\nb", ""] {
            assert!(fault(path).is_some(), "{path:?}");
        }
    }

    #[test]
    fn folders_above_come_nearest_first() {
        assert_eq!(above("/a/b/c").collect::<Vec<_>>(), ["/a/b", "/a"]);
        assert_eq!(above("/a").count(), 0);
    }

    #[test]
    fn only_the_path_itself_is_a_mention() {
        let unit = "EnvironmentFile=-/etc/app.env\nExecStart=/opt/app/bin/app --config=/etc/app.yaml,/etc/x.\n";
        for path in ["/etc/app.env", "/opt/app/bin/app", "/etc/app.yaml", "/etc/x"] {
            assert!(mentions(unit, path), "{path}");
        }
        for path in ["/etc/app", "/opt/app", "/app/bin/app", "/etc/app.yam"] {
            assert!(!mentions(unit, path), "{path}");
        }
        assert!(mentions_folder(unit, "/opt/app") && mentions_folder(unit, "/etc") && !mentions_folder(unit, "/op"));
    }
}
