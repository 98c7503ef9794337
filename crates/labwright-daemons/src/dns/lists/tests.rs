//! Lists in the forms they are found in, and the table that they become.

use std::io::Write;
use std::time::Instant;

use labwright_model::snapshot::dns::Filter;

use super::parse::{Rule, Scope};
use super::table::Verdict;
use super::*;
use crate::dns::wire::wire;

fn rules(text: &str) -> String {
    let mut shown = Vec::new();
    let line = parse::line(text.as_bytes(), &mut |rule| {
        shown.push(match rule {
            Rule::Name { name, scope, allow } => {
                let name = String::from_utf8_lossy(name).into_owned();
                let scope = if scope == Scope::Below { "*" } else { "=" };
                format!("{}{scope}{name}", if allow { "+" } else { "-" })
            }
            Rule::Expression { expression, allow } => format!("{}/{expression}/", if allow { "+" } else { "-" }),
        });
    });
    match line {
        Line::Rules => shown.join(" "),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_form_that_lists_come_in() {
    for (text, expected) in [
        // hosts
        ("0.0.0.0 ads.example.com", "-=ads.example.com"),
        ("127.0.0.1\tAds.Example.com  b.example.com # both", "-=Ads.Example.com -=b.example.com"),
        ("::1 localhost", "Empty"),
        ("::1 ip6-localhost ip6-loopback", "Empty"),
        ("fe80::1%lo0 localhost", "NotForNames"),
        ("0.0.0.0 0.0.0.0", "Empty"),
        ("0 ads.example.com", "NotForNames"),
        ("192.168.1.5 nas.example.com", "NotForNames"),
        // names
        ("ads.example.com", "-*ads.example.com"),
        ("ads.example.com.", "-*ads.example.com"),
        ("  ads.example.com   # why", "-*ads.example.com"),
        ("*.ads.example.com", "-*ads.example.com"),
        (".ads.example.com", "-*ads.example.com"),
        ("_tracker._tcp.example.com", "-*_tracker._tcp.example.com"),
        ("bücher.example", "-*xn--bcher-kva.example"),
        ("example", "Malformed"),
        ("10.0.0.1", "NotForNames"),
        ("1.2.3.4.5", "Malformed"),
        ("ads..example.com", "Malformed"),
        // Adblock
        ("||ads.example.com^", "-*ads.example.com"),
        ("||ads.example.com", "-*ads.example.com"),
        ("||*.ads.example.com^", "-*ads.example.com"),
        ("|ads.example.com^", "-=ads.example.com"),
        ("@@||good.example.com^", "+*good.example.com"),
        ("@@|good.example.com^|", "+=good.example.com"),
        ("||ads.example.com^$important", "-*ads.example.com"),
        ("||zip^", "-*zip"),
        ("||ads.example.com^$third-party", "NotForNames"),
        ("||ads.example.com^$dnsrewrite=1.2.3.4", "NotForNames"),
        ("||ads.example.com^$badfilter", "NotForNames"),
        ("||ads.example.com/banner/*", "NotForNames"),
        ("|https://ads.example.com^", "NotForNames"),
        ("example.com##.banner", "NotForNames"),
        ("example.com#@#.banner", "NotForNames"),
        ("/banner/ads/*", "NotForNames"),
        ("-banner-ad.", "Malformed"),
        ("/^ads[0-9]+\\./", "-/(?i:^ads[0-9]+\\.)/"),
        ("@@/^ads1\\./", "+/(?i:^ads1\\.)/"),
        ("||ads*.example.com^", "-/(?i:(?:^|\\.)ads[^ ]*\\.example\\.com$)/"),
        ("||*^", "Malformed"),
        ("! Title: a list", "Empty"),
        ("[Adblock Plus 2.0]", "Empty"),
        ("# comment", "Empty"),
        ("", "Empty"),
        // dnsmasq, Unbound, response policy zones
        ("address=/ads.example.com/0.0.0.0", "-*ads.example.com"),
        ("address=/ads.example.com/", "-*ads.example.com"),
        ("local=/ads.example.com/", "-*ads.example.com"),
        ("address=/nas.example.com/192.168.1.5", "NotForNames"),
        ("server=/corp.example.com/10.0.0.1", "NotForNames"),
        ("local-zone: \"ads.example.com\" always_nxdomain", "-*ads.example.com"),
        ("ads.example.com CNAME .", "-=ads.example.com"),
        ("*.ads.example.com CNAME .", "-*ads.example.com"),
        // what is no list at all
        ("<!DOCTYPE html>", "NotForNames"),
        ("<html>", "Malformed"),
        ("some words of a page", "NotForNames"),
    ] {
        assert_eq!(rules(text), expected, "{text}");
    }
}

fn filter(lists: &[(&str, &[&str], bool)]) -> Filter {
    let list = |(name, rules, allow): &(&str, &[&str], bool)| List {
        name: name.to_string(),
        source: ListSource::Rules(rules.iter().map(|rule| rule.to_string()).collect()),
        allow: *allow,
    };
    Filter { lists: lists.iter().map(list).collect(), ..Filter::default() }
}

fn on_disk(folder: &Path, name: &str, text: &str) -> List {
    std::fs::write(folder.join(name), text).unwrap();
    List { name: name.to_string(), source: ListSource::Shipped(name.to_string()), allow: false }
}

fn verdict(table: &Table, name: &str, lists: u64) -> Verdict {
    table.verdict_of_name(&wire(name).unwrap(), lists)
}

#[test]
fn what_comes_first_when_lists_contradict_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut filter = filter(&[
        ("allow", &["let.through.example"], true),
        ("rules", &["mine.example", "@@||not.mine.example^"], false),
    ]);
    let text =
        "||through.example^\n0.0.0.0 exact.example\n@@||mine.example^\n||not.mine.example^\n@@||spared.example^\n";
    filter.lists.push(on_disk(folder.path(), "a.txt", text));
    filter.lists.push(on_disk(folder.path(), "b.txt", "spared.example\nexact.example\n"));
    let table = compile(folder.path(), &filter).table;
    let by = |list, skipped| Verdict::Blocked { list, skipped };
    for (name, lists, expected) in [
        ("through.example", 0b1111, by(2, 0)),
        ("a.b.through.example", 0b1111, by(2, 2)),
        ("let.through.example", 0b1111, Verdict::Allowed),
        ("x.let.through.example", 0b1111, Verdict::Allowed),
        // The user's own rule counts more than another list's exception, and the user's exception more than both.
        ("mine.example", 0b1111, by(1, 0)),
        ("not.mine.example", 0b1111, Verdict::Allowed),
        ("spared.example", 0b1111, Verdict::Allowed),
        ("spared.example", 0b1000, by(3, 0)),
        ("exact.example", 0b0100, by(2, 0)),
        ("below.exact.example", 0b0100, Verdict::Unlisted),
        ("below.exact.example", 0b1000, by(3, 1)),
        ("through.example", 0b1000, Verdict::Unlisted),
        ("through.example", 0, Verdict::Unlisted),
        ("example", 0b1111, Verdict::Unlisted),
        ("other.example", 0b1111, Verdict::Unlisted),
    ] {
        assert_eq!(verdict(&table, name, lists), expected, "{name} {lists:b}");
    }
}

#[test]
fn expressions_hold_and_a_broken_one_is_told() {
    let filter = filter(&[("rules", &["/^ads[0-9]+\\./", "/(/", "||track*.example^", "@@/^ads7\\./"], false)]);
    let compiled = compile(Path::new("/nonexistent"), &filter);
    assert_eq!((compiled.status[0].rules, compiled.status[0].malformed), (3, 1));
    let table = compiled.table;
    assert_eq!(verdict(&table, "ads12.example", 1), Verdict::Blocked { list: 0, skipped: 0 });
    assert_eq!(verdict(&table, "ads7.example", 1), Verdict::Allowed);
    assert_eq!(verdict(&table, "x.tracking.example", 1), Verdict::Blocked { list: 0, skipped: 0 });
    assert_eq!(verdict(&table, "xtracking.example", 1), Verdict::Unlisted);
    assert_eq!(verdict(&table, "ads12.example", 2), Verdict::Unlisted);
}

#[test]
fn a_million_names_take_less_than_twelve_megabytes_and_are_all_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for n in 0..1_000_000 {
        text.push_str(&format!("ad{n}.host{}.example\n", n % 977));
    }
    let filter = Filter { lists: vec![on_disk(folder.path(), "million", &text)], ..Filter::default() };
    let compiled = compile(folder.path(), &filter);
    assert_eq!((compiled.table.names(), compiled.status[0].rules), (1_000_000, 1_000_000));
    assert!(compiled.table.bytes() < 12 << 20, "{}", compiled.table.bytes());
    for n in (0..1_000_000).step_by(997) {
        let name = format!("www.ad{n}.host{}.example", n % 977);
        assert_eq!(verdict(&compiled.table, &name, 1), Verdict::Blocked { list: 0, skipped: 1 });
        assert_eq!(verdict(&compiled.table, &format!("no{n}.host1.example"), 1), Verdict::Unlisted);
    }
}

#[test]
fn five_million_lines_are_read_in_bounded_time_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    for n in 0..5_000_000 {
        // Half of the lines are names that another line has, or are nothing.
        match n % 4 {
            0 => writeln!(file, "0.0.0.0 h{}.example.com", n / 8).unwrap(),
            1 => writeln!(file, "||h{n}.example.net^").unwrap(),
            2 => writeln!(file, "! comment {n}").unwrap(),
            _ => writeln!(file, "{}", "x".repeat(40)).unwrap(),
        }
    }
    drop(file);
    let list = List { name: "huge".into(), source: ListSource::File(path.display().to_string()), allow: false };
    let begun = Instant::now();
    let compiled = compile(folder.path(), &Filter { lists: vec![list], ..Filter::default() });
    let status = &compiled.status[0];
    assert_eq!((status.rules, status.malformed, status.cut), (2_500_000, 1_250_000, 0));
    assert_eq!(compiled.table.names(), 1_875_000);
    assert!(compiled.table.bytes() < 24 << 20);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[test]
fn lines_without_end_and_files_without_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "first.example\n".to_string();
    text.push_str(&"a.".repeat(400_000));
    text.push_str("\nlast.example");
    let filter = Filter {
        lists: vec![
            on_disk(folder.path(), "long", &text),
            on_disk(folder.path(), "empty", ""),
            List { name: "gone".into(), source: ListSource::Shipped("gone".into()), allow: false },
            List { name: "url".into(), source: ListSource::Url("https://example.org/x".into()), allow: false },
        ],
        ..Filter::default()
    };
    let compiled = compile(folder.path(), &filter);
    assert_eq!((compiled.status[0].rules, compiled.status[0].malformed), (2, 1));
    assert_eq!(compiled.status[1], ListStatus { name: "empty".into(), ..ListStatus::default() });
    let gone = compiled.status[2].fault.clone().unwrap();
    assert!(gone.contains("/gone: No such file"), "{gone}");
    assert_eq!(compiled.status[3].fault.as_deref(), Some("it was not fetched yet"));
    assert_eq!(verdict(&compiled.table, "last.example", 1), Verdict::Blocked { list: 0, skipped: 0 });
}

#[test]
fn patience_grows_to_an_hour() {
    let all: Vec<u64> = (0..10).map(|failures| patience(failures).as_secs()).collect();
    assert_eq!(all, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
}
