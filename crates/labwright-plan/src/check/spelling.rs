//! Whether one name is a misspelling of another, or simply another name.
//! Stricter than `finding::nearest`, which only has to find the best guess for a name that is known to be wrong.

/// The name among `known` that `typed` is a misspelling of. `dns-02` is none of `dns-01`, and `db-01` none of `dc-01`:
/// machines are numbered, and short words lie close together.
pub fn misspelling<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().find(|known| *known != typed && is_misspelling(typed, known))
}

fn is_misspelling(typed: &str, known: &str) -> bool {
    let (typed, known) = (typed.to_lowercase(), known.to_lowercase());
    let (a, b) = (words(&typed), words(&known));
    // Only separators or capitals differ: `docker01`, `Docker-01`.
    if a.concat() == b.concat() {
        return true;
    }
    if a.len() != b.len() {
        return false;
    }
    let mut differing = a.iter().zip(&b).filter(|(x, y)| x != y);
    let (Some((x, y)), None) = (differing.next(), differing.next()) else { return false };
    match (x.parse::<u64>(), y.parse::<u64>()) {
        // `docker-1` is `docker-01`, and `docker-2` is another one.
        (Ok(x), Ok(y)) => x == y,
        (Err(_), Err(_)) => x.len().max(y.len()) >= 4 && one_edit_apart(x, y),
        _ => false,
    }
}

/// The runs of letters and of digits in a name.
fn words(name: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let kind = |c: char| (c.is_ascii_digit(), c.is_alphanumeric());
        let end = rest.find(|c| kind(c) != kind(first)).unwrap_or(rest.len());
        if first.is_alphanumeric() {
            words.push(&rest[..end]);
        }
        rest = &rest[end..];
    }
    words
}

/// Whether one letter too many, too few or wrong, or two that changed places, tell the words apart.
fn one_edit_apart(x: &str, y: &str) -> bool {
    let (x, y): (Vec<char>, Vec<char>) = (x.chars().collect(), y.chars().collect());
    let start = x.iter().zip(&y).take_while(|(a, b)| a == b).count();
    let (x, y) = (&x[start..], &y[start..]);
    let end = x.iter().rev().zip(y.iter().rev()).take_while(|(a, b)| a == b).count();
    let (x, y) = (&x[..x.len() - end], &y[..y.len() - end]);
    match (x, y) {
        ([_], [_]) | ([_], []) | ([], [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings() {
        for (typed, known) in [
            ("docker-1", "docker-01"),
            ("docker01", "docker-01"),
            ("Docker-01", "docker-01"),
            ("dokcer-01", "docker-01"),
            ("doker-01", "docker-01"),
            ("gatewway", "gateway"),
            ("home-asistant", "home-assistant"),
            ("homeassistant", "home-assistant"),
        ] {
            assert_eq!(misspelling(typed, [known]), Some(known), "{typed} {known}");
            assert_eq!(misspelling(known, [typed]), Some(typed), "{known} {typed}");
        }
    }

    #[test]
    fn other_names() {
        for (a, b) in [
            ("dns-01", "dns-02"),
            ("dns-01", "nas-01"),
            ("db-01", "dc-01"),
            ("node-a", "node-b"),
            ("pve1", "pve11"),
            ("docker-01", "docker"),
            ("media", "mail"),
            ("proxy-01", "proxy-10"),
            ("nas", "nas"),
            ("", "a"),
            ("web-old-01", "web-01"),
        ] {
            assert_eq!(misspelling(a, [b]), None, "{a} {b}");
        }
    }
}
