//! Paths as text: one spelling for each, and which of them a text mentions.
//! Looks at no disk.

use std::borrow::Cow;
use std::collections::BTreeSet;

use labwright_plan::Refusal;

/// One spelling for each path: no doubled slash, none at the end.
pub fn normal(path: &str) -> Cow<'_, str> {
    if !path.contains("//") && (path.len() == 1 || !path.ends_with('/')) {
        return Cow::Borrowed(path);
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let start = if path.starts_with('/') { "/" } else { "" };
    Cow::Owned(format!("{start}{}", parts.join("/")))
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

/// The paths that a text speaks of, to be asked about many of them.
pub struct Mentions<'t> {
    text: &'t str,
    exact: BTreeSet<&'t str>,
    folders: BTreeSet<&'t str>,
}

impl<'t> Mentions<'t> {
    /// Splits a text at whatever cannot be part of a path.
    pub fn of(text: &'t str) -> Self {
        let mut mentions = Mentions { text, exact: BTreeSet::new(), folders: BTreeSet::new() };
        for word in text.split(|c| !is_path_char(c)) {
            // A full stop at the end of a sentence is no part of a path.
            let word = word.strip_suffix('.').unwrap_or(word);
            // `-` is how units say "if it is there": `EnvironmentFile=-/etc/app.env`.
            let starts = word.match_indices('/').map(|(at, _)| at).filter(|at| *at == 0 || word[..*at].ends_with('-'));
            for path in starts.map(|at| &word[at..]) {
                mentions.exact.insert(path);
                mentions.folders.extend(above(path).chain([path]));
            }
        }
        mentions
    }

    /// Whether the text speaks of exactly this path: not of a longer one that starts or ends alike.
    pub fn has(&self, path: &str) -> bool {
        self.exact.contains(path) || (is_odd(path) && self.text.contains(path))
    }

    /// Whether the text speaks of this folder, or of something in it.
    pub fn has_folder(&self, path: &str) -> bool {
        self.folders.contains(path) || (is_odd(path) && self.text.contains(path))
    }
}

/// Whether a text speaks of exactly this name: not of a longer one that starts or ends alike.
pub fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let part = |c: Option<char>| c.is_some_and(is_path_char);
        !part(text[..at].chars().next_back()) && !part(text[at + name.len()..].chars().next())
    })
}

/// Words do not end where such a path does; it is looked for as it stands.
fn is_odd(path: &str) -> bool {
    !path.chars().all(is_path_char)
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
        let unit = "EnvironmentFile=-/etc/app.env\nExecStart=/opt/app/bin/app --config=/etc/app.yaml,/etc/x.\n\
                    WorkingDirectory=/srv/my app\n";
        let mentions = Mentions::of(unit);
        for path in ["/etc/app.env", "/opt/app/bin/app", "/etc/app.yaml", "/etc/x", "/srv/my app"] {
            assert!(mentions.has(path), "{path}");
        }
        for path in ["/etc/app", "/opt/app", "/app/bin/app", "/etc/app.yam", "/bin/app"] {
            assert!(!mentions.has(path), "{path}");
        }
        assert!(mentions.has_folder("/opt/app") && mentions.has_folder("/etc") && !mentions.has_folder("/op"));
        assert!(names("Requires=web.socket b", "web.socket") && !names("Requires=my-web.socket", "web.socket"));
    }
}
