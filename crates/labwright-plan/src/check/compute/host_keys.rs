//! LW-CMP-018: a connection that believes whoever answers.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use labwright_model::lab::Tier;
use labwright_model::{Findings, Parsed, Placement, Step, Text};

use crate::check::network::telling::Stake;
use crate::check::passage::{PROSE, joined, key, told_at};
use crate::check::{Case, Examples, Rule};

pub struct HostKeys;

const CODE: &str = "LW-CMP-018";

impl Rule for HostKeys {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a connection that believes whoever answers"
    }

    fn doc(&self) -> &'static str {
        "SSH is told not to look at the host's key: `StrictHostKeyChecking=no` (or `off`), `UserKnownHostsFile=/dev/null`, \
         `ANSIBLE_HOST_KEY_CHECKING=False`, `host_key_checking = False`. Whoever can put themselves between the two gets \
         what is sent, a backup or a token, and is obeyed in what is fetched; and nobody ever hears of it, because the one \
         line that would tell is what the option turns off. ssh_config(5): such connections \"automatically add new \
         host keys\" and \"allow connections to hosts with changed hostkeys to proceed\".\n\n\
         It is looked for in every text of the lab: settings of repositories, contents of files and units, commands, \
         environments, Compose files and their files of variables. Comments and notes for people are left alone. A warning \
         where something with `tier: production` hangs on it, else advice.\n\n\
         It comes from document 1, whose copies leave the house every night with `StrictHostKeyChecking=no`.\n\n\
         Labwright itself cannot be told so: its own connections always check (`StrictHostKeyChecking=yes`), every hop \
         included, whatever the user's SSH configuration says; `ssh: { host_key: … }` checks even the first one.\n\n\
         The way out: take the option out, and give the machine that connects the key to compare with. On the one that \
         answers, `cat /etc/ssh/ssh_host_ed25519_key.pub` shows it; on the one that connects, it is a line of \
         `/etc/ssh/ssh_known_hosts`, `NAME ssh-ed25519 AAAA…`. `StrictHostKeyChecking=accept-new` believes the first \
         time alone, and is not spoken of."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "compute:\n  hosts:\n    web:\n      address: 10.0.20.21\n      files: { /etc/ssh/ssh_config.d/lab.conf: { content: \"StrictHostKeyChecking no\\n\" } }",
            passes: "compute:\n  hosts:\n    web:\n      address: 10.0.20.21\n      files: { /etc/ssh/ssh_known_hosts: { content: \"nas ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\\n\" } }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        // Nearly no lab speaks of it at all, and what one is read from is quicker to look through than what it says.
        let Ok(words) = AhoCorasick::builder().ascii_case_insensitive(true).build(SPELLINGS) else { return };
        if !parsed.sources.iter().any(|source| words.is_match(&source.text)) {
            return;
        }
        parsed.texts(&mut |text| {
            let key = key(text.path).unwrap_or_default();
            let Some(range) = unchecked(key, text.text).filter(|_| !PROSE.contains(&key)) else { return };
            let said = match &text.text[range.clone()] {
                value if !speaks_of_it(value) => format!("{key}: {value}"),
                passage => passage.to_string(),
            };
            let message = format!("`{said}`: whoever answers is believed, and gets what is sent");
            let help = match toward(parsed, text.path) {
                Some(host) => format!(
                    "take it out, and keep the key of `{host}` where the connection begins, in `/etc/ssh/ssh_known_hosts`: \
                     `{host} ssh-ed25519 AAAA…`"
                ),
                None => "take it out, and keep the key of whom it connects to in `/etc/ssh/ssh_known_hosts`: \
                         `NAME ssh-ed25519 AAAA…`"
                    .to_string(),
            };
            let span = told_at(parsed, CODE, &text, &range);
            findings.push(stake(parsed, &text).finding(CODE, joined(text.path), span, message).help(help));
        });
    }
}

/// Parts of the options' names; ssh_config(5) minds no case.
const SPELLINGS: &[&str] = &["keychecking", "key_checking", "hostsfile"];

/// Options in small letters, and the values with which nothing is compared.
const OPTIONS: &[(&str, &[&str])] = &[
    ("stricthostkeychecking", &["no", "off", "false"]),
    ("host_key_checking", &["no", "off", "false", "0"]),
    ("userknownhostsfile", &["/dev/null"]),
];

fn speaks_of_it(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    OPTIONS.iter().any(|(option, _)| lower.contains(option))
}

/// The part of a text that turns the comparison off; the whole of it where its key is the option.
fn unchecked(key: &str, text: &str) -> Option<Range<usize>> {
    let (key, value) = (key.to_ascii_lowercase(), text.trim().to_ascii_lowercase());
    if OPTIONS.iter().any(|(option, off)| key.ends_with(option) && off.contains(&value.as_str())) {
        return Some(0..text.len());
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        // What is commented out is not done.
        if !line.trim_start().starts_with(['#', ';'])
            && let Some(range) = in_line(line)
        {
            return Some(start + range.start..start + range.end);
        }
        start += line.len();
    }
    None
}

fn in_line(line: &str) -> Option<Range<usize>> {
    let lower = line.to_ascii_lowercase();
    for (option, off) in OPTIONS {
        for (at, _) in lower.match_indices(option) {
            let after = &lower[at + option.len()..];
            let value = after.trim_start_matches([' ', '\t', '=', ':', '"', '\'']);
            let apart = after.len() - value.len();
            let length = value.find(|c: char| c.is_whitespace() || "\"'`,;)".contains(c)).unwrap_or(value.len());
            if apart > 0 && off.contains(&&value[..length]) {
                return Some(at..at + option.len() + apart + length);
            }
        }
    }
    None
}

/// The host that is connected to, where what the option belongs to says so.
fn toward<'a>(parsed: &'a Parsed, path: &[Step<'_>]) -> Option<&'a str> {
    let [Step::Key("protection"), Step::Key("repositories"), Step::Key(repository), ..] = path else { return None };
    Some(parsed.lab.protection.repositories.get(*repository)?.on.as_ref()?.value.as_str())
}

/// What hangs on the thing that a text belongs to.
fn stake(parsed: &Parsed, text: &Text<'_, '_>) -> Stake {
    let relied_on = |placement: &&Placement| placement.entry.tier == Tier::Production;
    let keeps = |placement: &Placement, repository: &str| {
        let policy = placement.entry.backup.iter().filter_map(|backup| backup.policy.as_ref());
        let mut policies = policy.filter_map(|policy| parsed.lab.protection.policies.get(&policy.value));
        policies.any(|policy| policy.to.iter().any(|to| to.value == repository))
    };
    let mut production = parsed.placements.iter().filter(relied_on);
    let grave = match text.path {
        [Step::Key("compute"), Step::Key("hosts"), Step::Key(host), ..] => {
            parsed.lab.host(host).is_some_and(|host| host.tier == Tier::Production)
                || production.any(|placement| placement.entry.on.iter().any(|on| on.value == *host))
        }
        [Step::Key("services"), Step::Key(service), ..] => production.any(|placement| placement.service == *service),
        [Step::Key("protection"), Step::Key("repositories"), Step::Key(repository), ..] => {
            production.any(|placement| keeps(placement, repository))
        }
        _ => false,
    };
    if grave { Stake::Production } else { Stake::Lab }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::check::tests::says;

    #[test]
    fn spellings_that_compare_nothing_and_those_that_do() {
        for (key, text, part) in [
            ("rsh", "ssh -i /k -o StrictHostKeyChecking=no", "StrictHostKeyChecking=no"),
            ("rsh", "ssh -oStrictHostKeyChecking=off x", "StrictHostKeyChecking=off"),
            (
                "content",
                "Host *\n  # StrictHostKeyChecking yes\n  stricthostkeychecking no\n",
                "stricthostkeychecking no",
            ),
            ("x", "ANSIBLE_HOST_KEY_CHECKING=False", "ANSIBLE_HOST_KEY_CHECKING=False"),
            ("content", "[defaults]\nhost_key_checking = False\n", "host_key_checking = False"),
            ("args", "-o UserKnownHostsFile=/dev/null", "UserKnownHostsFile=/dev/null"),
            ("ANSIBLE_HOST_KEY_CHECKING", "false", "false"),
            ("GIT_SSH_COMMAND", "ssh -o 'StrictHostKeyChecking no'", "StrictHostKeyChecking no"),
        ] {
            let found = unchecked(key, text).map(|range| text[range].to_ascii_lowercase());
            let wanted = match part.to_ascii_lowercase() {
                wanted if wanted.starts_with("ansible_") => wanted["ansible_".len()..].to_string(),
                wanted => wanted,
            };
            assert_eq!(found, Some(wanted), "{key}: {text}");
        }
        for (key, text) in [
            ("rsh", "ssh -o StrictHostKeyChecking=yes"),
            ("rsh", "ssh -o StrictHostKeyChecking=accept-new"),
            ("rsh", "ssh -o StrictHostKeyChecking=notes"),
            ("content", "# StrictHostKeyChecking no\n;host_key_checking = False"),
            ("x", "ANSIBLE_HOST_KEY_CHECKING=True"),
            ("x", "UserKnownHostsFile=/etc/ssh/known"),
            ("stricthostkeychecking", "yes"),
        ] {
            assert_eq!(unchecked(key, text), None, "{key}: {text}");
        }
    }

    #[test]
    fn by_tier_wherever_it_stands_and_not_in_notes() {
        says(
            r#"
owner: me
compute:
  hosts:
    far: { address: 203.0.113.5, description: "never StrictHostKeyChecking=no" }
    web:
      address: 10.0.0.2
      units:
        push.service: { content: "[Service]\nExecStart=rsync -e 'ssh -o StrictHostKeyChecking=no' /a far:/b\n" }
protection:
  repositories: { far: { on: far, path: /b, engine: borg, settings: { rsh: ssh -o StrictHostKeyChecking=no } } }
  policies: { nightly: { to: far, drill: weekly, keep: { daily: 7, monthly: 6 } } }
services:
  wiki: { run: wiki, on: web, tier: production, backup: nightly, data: [/w], restore_notes: x, probe: { url: "tcp://web:1" } }
  job: { run: { command: [ansible-playbook, site.yml], environment: { ANSIBLE_HOST_KEY_CHECKING: "False" } }, on: web }
  kept: { run: [git, -c, "core.sshCommand=ssh -o UserKnownHostsFile=/dev/null", pull], on: web } # labwright: allow LW-CMP-018 because it is tried
"#,
            expect![[r#"
                9:73 warning LW-CMP-018: `StrictHostKeyChecking=no`: whoever answers is believed, and gets what is sent
                    help: take it out, and keep the key of whom it connects to in `/etc/ssh/ssh_known_hosts`: `NAME ssh-ed25519 AAAA…`
                11:83 warning LW-CMP-018: `StrictHostKeyChecking=no`: whoever answers is believed, and gets what is sent
                    help: take it out, and keep the key of `far` where the connection begins, in `/etc/ssh/ssh_known_hosts`: `far ssh-ed25519 AAAA…`
                15:98 advice LW-CMP-018: `ANSIBLE_HOST_KEY_CHECKING: False`: whoever answers is believed, and gets what is sent
                    help: take it out, and keep the key of whom it connects to in `/etc/ssh/ssh_known_hosts`: `NAME ssh-ed25519 AAAA…`
            "#]],
        );
    }
}
