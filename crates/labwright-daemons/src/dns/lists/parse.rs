//! Lists as they are found in the wild: hosts files, plain names, Adblock rules, and what dnsmasq, Unbound and response
//! policy zones read. Each line says by its own form what it is, since many lists mix them.
//!
//! What says more than a name (a path, a page's element, a kind of request) is passed over and counted.

use std::net::IpAddr;

/// What an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The name alone: that is what a hosts file says.
    Exact,
    /// The name and all below it.
    Below,
}

/// One rule of a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Rule<'a> {
    Name { name: &'a [u8], scope: Scope, allow: bool },
    Expression { expression: String, allow: bool },
}

/// Names that every hosts file begins with, and that no list means.
const OF_THE_MACHINE: &[&str] = &[
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

/// Whether a line had something that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Empty,
    Rules,
    /// A rule for browsers, or one that needs more than a name.
    NotForNames,
    /// Nothing that a list would have.
    Malformed,
}

/// Reads one line and gives its rules to `take`.
pub fn line(text: &[u8], take: &mut dyn FnMut(Rule<'_>)) -> Line {
    let text = text.trim_ascii();
    match text.first() {
        None | Some(b'#' | b'!' | b';') => return Line::Empty,
        Some(b'[') if text.ends_with(b"]") => return Line::Empty,
        _ => {}
    }
    if text.starts_with(b"@@") || text.starts_with(b"|") || text.starts_with(b"/") {
        return adblock(text, take);
    }
    if find(text, b"##").is_some() || find(text, b"#@#").is_some() || find(text, b"#?#").is_some() {
        return Line::NotForNames;
    }
    let text = match find(text, b"#") {
        Some(at) => text[..at].trim_ascii(),
        None => text,
    };
    if let Some(line) = of_a_program(text, take) {
        return line;
    }
    let mut words = text.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Line::Empty };
    if let Some(address) = address(first) {
        return hosts(address, words, take);
    }
    if let Some(second) = words.next() {
        // A response policy zone: `name CNAME .`
        return match (second.eq_ignore_ascii_case(b"cname"), words.next()) {
            (true, Some(b".")) => name(first, Scope::Exact, false, take),
            _ => Line::NotForNames,
        };
    }
    match first.ends_with(b"^") || first.contains(&b'$') || first.contains(&b'/') || first.contains(&b'=') {
        // A plain name with Adblock's end mark is common; the rest is for browsers.
        true if first.ends_with(b"^") => name(&first[..first.len() - 1], Scope::Below, false, take),
        true => Line::NotForNames,
        false => name(first, Scope::Below, false, take),
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// The address that a hosts file's line begins with.
fn address(word: &[u8]) -> Option<IpAddr> {
    let first = *word.first()?;
    if !(first.is_ascii_hexdigit() || first == b':') || word.len() > 45 {
        return None;
    }
    std::str::from_utf8(word).ok()?.split('%').next()?.parse().ok()
}

fn hosts<'a>(address: IpAddr, words: impl Iterator<Item = &'a [u8]>, take: &mut dyn FnMut(Rule<'_>)) -> Line {
    if !address.is_unspecified() && !address.is_loopback() {
        // It leads somewhere: that is a record, not a name to block.
        return Line::NotForNames;
    }
    let mut found = Line::Empty;
    for word in words {
        if OF_THE_MACHINE.iter().any(|own| word.eq_ignore_ascii_case(own.as_bytes())) {
            continue;
        }
        match name(word, Scope::Exact, false, take) {
            Line::Rules => found = Line::Rules,
            line if found == Line::Empty => found = line,
            _ => {}
        }
    }
    found
}

/// `address=/name/0.0.0.0` and its like (dnsmasq), `local-zone: "name" always_nxdomain` (Unbound).
fn of_a_program(text: &[u8], take: &mut dyn FnMut(Rule<'_>)) -> Option<Line> {
    for key in [&b"address=/"[..], b"local=/", b"server=/"] {
        if let Some(rest) = text.strip_prefix(key) {
            let mut parts = rest.split(|byte| *byte == b'/');
            let (Some(owner), target) = (parts.next(), parts.next().unwrap_or_default()) else {
                return Some(Line::Malformed);
            };
            let nowhere = target.is_empty()
                || target == b"#"
                || address(target).is_some_and(|a| a.is_unspecified() || a.is_loopback());
            return Some(if nowhere { name(owner, Scope::Below, false, take) } else { Line::NotForNames });
        }
    }
    let rest = text.strip_prefix(b"local-zone:")?.trim_ascii_start();
    let mut words = rest.split(|byte| byte.is_ascii_whitespace());
    let owner = words.next()?;
    let owner = owner.strip_prefix(b"\"").unwrap_or(owner);
    let owner = owner.strip_suffix(b"\"").unwrap_or(owner);
    Some(name(owner, Scope::Below, false, take))
}

fn adblock(text: &[u8], take: &mut dyn FnMut(Rule<'_>)) -> Line {
    let (text, allow) = match text.strip_prefix(b"@@") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    if text.first() == Some(&b'/') {
        return expression(text, allow, take);
    }
    let (pattern, options) = match text.iter().rposition(|byte| *byte == b'$') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    // Options narrow a rule to kinds of requests, which names know nothing of; these two do not.
    if options.is_some_and(|options| !options.split(|byte| *byte == b',').all(|o| o == b"important" || o == b"all")) {
        return Line::NotForNames;
    }
    let (pattern, scope) = match (pattern.strip_prefix(b"||"), pattern.strip_prefix(b"|")) {
        (Some(pattern), _) => (pattern, Scope::Below),
        (_, Some(pattern)) => (pattern, Scope::Exact),
        _ => (pattern, Scope::Below),
    };
    let pattern = pattern.strip_suffix(b"|").unwrap_or(pattern);
    let pattern = pattern.strip_suffix(b"^").unwrap_or(pattern);
    if pattern.contains(&b'/') || pattern.contains(&b':') || pattern.contains(&b'^') {
        return Line::NotForNames;
    }
    if pattern.contains(&b'*') && !pattern.starts_with(b"*.") {
        return wildcard(pattern, scope, allow, take);
    }
    match pattern.strip_prefix(b"*.").unwrap_or(pattern) {
        // A whole top-level domain is something that only Adblock's form says.
        top if is_label(top) => {
            take(Rule::Name { name: top, scope, allow });
            Line::Rules
        }
        pattern => name(pattern, scope, allow, take),
    }
}

/// `/expression/`, as Adblock and Pi-hole write it.
fn expression(text: &[u8], allow: bool, take: &mut dyn FnMut(Rule<'_>)) -> Line {
    let Some(inner) = text.strip_prefix(b"/").and_then(|text| text.strip_suffix(b"/")) else {
        return Line::NotForNames;
    };
    match std::str::from_utf8(inner) {
        Ok(inner) if !inner.is_empty() => {
            take(Rule::Expression { expression: format!("(?i:{inner})"), allow });
            Line::Rules
        }
        _ => Line::Malformed,
    }
}

/// `ads*.example.com`: a star is any number of characters.
fn wildcard(pattern: &[u8], scope: Scope, allow: bool, take: &mut dyn FnMut(Rule<'_>)) -> Line {
    let Ok(pattern) = std::str::from_utf8(pattern) else { return Line::Malformed };
    if !pattern.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Line::Malformed;
    }
    let body = pattern.split('*').map(regex::escape).collect::<Vec<_>>().join("[^ ]*");
    let before = match scope {
        Scope::Below => "(?:^|\\.)",
        Scope::Exact => "^",
    };
    take(Rule::Expression { expression: format!("(?i:{before}{body}$)"), allow });
    Line::Rules
}

fn is_label(text: &[u8]) -> bool {
    (1..=63).contains(&text.len()) && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn name(text: &[u8], scope: Scope, allow: bool, take: &mut dyn FnMut(Rule<'_>)) -> Line {
    // A star in front means all below, and lists that write it mean the name as well.
    let (text, scope) = match (text.strip_prefix(b"*."), text.strip_prefix(b".")) {
        (Some(text), _) | (_, Some(text)) => (text, Scope::Below),
        _ => (text, scope),
    };
    let text = text.strip_suffix(b".").unwrap_or(text);
    if !text.is_ascii() {
        // Names of other scripts travel as `xn--…` (RFC 5891).
        let ascii = std::str::from_utf8(text).ok().and_then(|text| hickory_proto::rr::Name::from_utf8(text).ok());
        let Some(ascii) = ascii.map(|name| name.to_ascii()) else { return Line::Malformed };
        if !is_name(ascii.trim_end_matches('.').as_bytes()) {
            return Line::Malformed;
        }
        take(Rule::Name { name: ascii.trim_end_matches('.').as_bytes(), scope, allow });
        return Line::Rules;
    }
    if !is_name(text) {
        return Line::Malformed;
    }
    take(Rule::Name { name: text, scope, allow });
    Line::Rules
}

/// A name of at least two labels that is no address.
fn is_name(text: &[u8]) -> bool {
    let (mut label, mut dots, mut digits) = (0, 0, true);
    for byte in text {
        match byte {
            b'.' if label == 0 || label > 63 => return false,
            b'.' => {
                dots += 1;
                label = 0;
            }
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') => {
                label += 1;
                digits &= byte.is_ascii_digit();
            }
            _ => return false,
        }
    }
    dots > 0 && (1..=63).contains(&label) && text.len() <= 253 && !digits
}
