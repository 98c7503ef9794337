//! What the kernel has: the table as `nft` lists it, without what packets leave in it.
//! A table is recognised by what it looked like right after it was loaded; whoever changes a rule by hand changes that.

use std::time::Duration;

use labwright_plan::ProviderError;
use labwright_plan::network::nft::TABLE;

use crate::host::command::{Output, run};

/// Rulesets of large labs take a moment.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The table as it is loaded, or `None` where there is none.
pub fn listing() -> Result<Option<String>, ProviderError> {
    let output = run("nft", &["--stateless", "list", "table", "inet", TABLE], LIMIT)?;
    if output.ok() {
        return Ok(Some(lasting(&output.stdout)));
    }
    match is_absent(&output) {
        true => Ok(None),
        false => Err(output.error().help("look at it by hand: `nft list ruleset`")),
    }
}

fn is_absent(output: &Output) -> bool {
    output.stderr.contains("No such file or directory") || output.stderr.contains("does not exist")
}

/// A listing without what packets and time put into sets and take out again. The sets themselves stay: rules name them.
fn lasting(listing: &str) -> String {
    let mut kept = String::new();
    let (mut fleeting, mut skipping) = (false, false);
    for line in listing.lines() {
        fleeting |= ["\tset denied", "\tset moving"].iter().any(|set| line.starts_with(set));
        skipping |= fleeting && line.trim_start().starts_with("elements =");
        if !skipping {
            kept.push_str(line);
            kept.push('\n');
        }
        skipping &= !line.trim_end().ends_with('}');
        fleeting &= line != "\t}";
    }
    kept
}

/// What a listing is recognised by.
pub fn fingerprint(listing: &str) -> String {
    // The kernel keeps the elements of a set in an order of its own, which need not be the same after a reboot.
    let mut words: Vec<&str> = listing.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    blake3::hash(words.join("\n").as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packets_leave_and_the_order_of_elements_are_no_change() {
        let one = "table inet labwright {\n\tset denied4 {\n\t\ttype ipv4_addr . ipv4_addr\n\t\telements = { 1.1.1.1 . 2.2.2.2 expires 1h }\n\t}\n\tset a {\n\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n}\n";
        let other = "table inet labwright {\n\tset denied4 {\n\t\ttype ipv4_addr . ipv4_addr\n\t}\n\tset a {\n\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n}\n";
        assert_eq!(lasting(one), lasting(other));
        assert!(lasting(one).contains("set denied4") && !lasting(one).contains("1.1.1.1"), "{}", lasting(one));
        assert!(lasting(one).contains("10.0.0.2"));
        let many = one
            .replace("1.1.1.1 . 2.2.2.2 expires 1h }", "1.1.1.1 . 2.2.2.2 expires 1h,\n\t\t\t     3.3.3.3 . 2.2.2.2 }");
        assert_eq!(lasting(&many), lasting(one));
        assert_eq!(fingerprint("{ a,\n b }"), fingerprint("{ a, b }"));
        assert_ne!(fingerprint(one), fingerprint(&one.replace("10.0.0.2", "10.0.0.3")));
    }
}
