//! LW-LAB-104: things that wait for each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use labwright_model::{Finding, Findings, Parsed, Span};

use crate::check::references::jump_host;
use crate::check::{Case, Examples, Rule};
use crate::order::{numbered, topological};

pub struct Cycle;

const CODE: &str = "LW-LAB-104";

/// A kind of dependency: who needs whom, and where that is said.
#[derive(Default)]
struct Needs<'a> {
    arrows: Vec<(&'a str, &'a str, Span)>,
}

/// One circle, beginning with its first name in the alphabet, and the place of each arrow.
type Circle = (Vec<String>, Vec<Span>);

impl<'a> Needs<'a> {
    fn add(&mut self, from: &'a str, to: &'a str, span: Span) {
        self.arrows.push((from, to, span));
    }

    /// Whether nothing goes round: asked first, because it nearly never does.
    fn is_straight(&self) -> bool {
        let mut numbers: HashMap<&str, usize> = HashMap::with_capacity(self.arrows.len());
        let mut needs: Vec<Vec<usize>> = Vec::new();
        for (from, to, _) in &self.arrows {
            let mut number = |name| {
                *numbers.entry(name).or_insert_with(|| {
                    needs.push(Vec::new());
                    needs.len() - 1
                })
            };
            let (from, to) = (number(from), number(to));
            needs[from].push(to);
        }
        numbered(&needs).len() == needs.len()
    }

    /// A circle for each knot: what is left when its first arrow is gone may hold another one.
    fn circles(self) -> Vec<Circle> {
        if self.is_straight() {
            return Vec::new();
        }
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut places: BTreeMap<(&str, &str), Span> = BTreeMap::new();
        for (from, to, span) in self.arrows {
            edges.entry(to.to_string()).or_default();
            edges.entry(from.to_string()).or_default().insert(to.to_string());
            places.entry((from, to)).or_insert(span);
        }
        let mut circles = Vec::new();
        while let Err(mut circle) = topological(&edges) {
            let first = (0..circle.len()).min_by_key(|i| &circle[*i]).unwrap_or_default();
            circle.rotate_left(first);
            let arrows = circle.iter().zip(circle.iter().cycle().skip(1));
            let place = |(from, to): (&String, &String)| places.get(&(from.as_str(), to.as_str())).copied();
            let places = arrows.map(|arrow| place(arrow).unwrap_or(Span::NONE)).collect();
            for name in &circle {
                edges.remove(name);
            }
            circles.push((circle, places));
        }
        circles
    }
}

fn report(what: &str, section: &str, (circle, places): &Circle, help: &str, findings: &mut Findings) {
    let way = circle.iter().chain(circle.first()).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ");
    let first = circle.first().map_or("", String::as_str);
    let place = places.first().copied().unwrap_or(Span::NONE);
    let message = format!("{what} in a circle: {way}");
    let mut finding = Finding::error(CODE, format!("{section}.{first}"), place, message).help(help);
    for (name, place) in circle.iter().zip(places).skip(1) {
        finding = finding.related(*place, format!("the way on from `{name}`"));
    }
    findings.push(finding);
}

impl Rule for Cycle {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "things that wait for each other"
    }

    fn doc(&self) -> &'static str {
        "Services need each other in a circle, virtual machines run on each other, SSH goes through hosts that are reached \
         through each other, or files come after each other. Nothing could ever be first.\n\n\
         Services are looked at in each environment by itself. The finding shows the whole circle, and where each of its \
         arrows stands.\n\n\
         It comes from document 4, whose services start in the order of their needs, and from \
         compose-spec/compose-go#188: Compose files whose services wait for each other were taken for valid.\n\n\
         The way out: take one of the arrows out. Where two services really use each other, one of them usually starts \
         without the other and only works better with it: that is no need."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "services:\n  a: { external: x.example, needs: [b] }\n  b: { external: y.example, needs: [a] }",
            passes: "services:\n  a: { external: x.example, needs: [b] }\n  b: { external: y.example }",
        }
    }

    fn check(&self, case: &Case<'_>, findings: &mut Findings) {
        let parsed = case.parsed;
        let hosts = &parsed.lab.compute.hosts;
        // What goes round in several environments is one fault.
        let mut told: Vec<(Circle, Vec<Option<&str>>)> = Vec::new();
        for (environment, needs) in services(parsed) {
            for circle in needs.circles() {
                match told.iter_mut().find(|((other, _), _)| *other == circle.0) {
                    Some((_, environments)) => environments.push(environment),
                    None => told.push((circle, vec![environment])),
                }
            }
        }
        for (circle, environments) in told {
            let placed = parsed.placements.iter().filter(|placement| Some(&placement.service) == circle.0.first());
            let everywhere = environments.contains(&None) || environments.len() == placed.count();
            let what = match environments.iter().flatten().next() {
                Some(environment) if !everywhere => format!("in `{environment}`, services need each other"),
                _ => "services need each other".to_string(),
            };
            let help = "take one `needs` or `egress` out: one of them must start without the other";
            report(&what, "services", &circle, help, findings);
        }
        let (mut machines, mut jumps) = (Needs::default(), Needs::default());
        for (name, host) in hosts.iter() {
            for on in host.vm.iter().chain(&host.lxc).flat_map(|guest| guest.on.iter()) {
                machines.add(name, on, on.span);
            }
            for jump in host.ssh.jump.iter() {
                if let Some(over) = jump_host(jump).filter(|over| hosts.contains_key(*over)) {
                    jumps.add(name, over, jump.span);
                }
            }
            let mut files = Needs::default();
            for (path, file) in host.files.iter() {
                file.after.iter().for_each(|after| files.add(path, after, after.span));
            }
            let section = format!("compute.hosts.{name}.files");
            for circle in files.circles() {
                report("files come after each other", &section, &circle, "take one `after` out", findings);
            }
        }
        for circle in machines.circles() {
            let help = "a hypervisor is not its own guest: correct one `on`";
            report("machines run on each other", "compute.hosts", &circle, help, findings);
        }
        for circle in jumps.circles() {
            report("hosts are reached through each other", "compute.hosts", &circle, "take one `jump` out", findings);
        }
    }
}

/// Who needs whom, in each environment: what is true in `dev` and what is true in `prod` make no circle together.
fn services(parsed: &Parsed) -> Vec<(Option<&str>, Needs<'_>)> {
    let mut environments: Vec<Option<&str>> = vec![None];
    for placement in &parsed.placements {
        let environment = placement.environment.as_deref();
        if !environments.contains(&environment) {
            environments.push(environment);
        }
    }
    let in_environment = |environment: Option<&str>| {
        let mut needs = Needs::default();
        for placement in &parsed.placements {
            // A service of no environment stands beside every one.
            let there = placement.environment.is_none() || placement.environment.as_deref() == environment;
            for need in placement.entry.needs.iter().chain(&placement.entry.egress).filter(|_| there) {
                needs.add(&placement.service, need, need.span);
            }
        }
        needs
    };
    environments.into_iter().map(|environment| (environment, in_environment(environment))).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::check::tests::says;

    #[test]
    fn environments_are_looked_at_one_by_one() {
        says(
            r#"
environments: [dev, prod]
services:
  a: { external: x, environments: { dev: { needs: [b] }, prod: } }
  b: { external: x, environments: { dev: , prod: { needs: [a] } } }
"#,
            expect![[""]],
        );
        says(
            r#"
environments: [dev, prod]
services:
  a: { external: x, environments: { dev: { needs: [b] }, prod: } }
  b: { external: x, needs: [a] }
"#,
            expect![[r#"
                4:52 error LW-LAB-104: in `dev`, services need each other in a circle: `a` → `b` → `a`
                    help: take one `needs` or `egress` out: one of them must start without the other
                    5:29: the way on from `b`
            "#]],
        );
        says(
            r#"
environments: [dev, prod]
services:
  a: { external: x, needs: [b], environments: [dev, prod] }
  b: { external: x, needs: [a], environments: [dev, prod] }
"#,
            expect![[r#"
                4:29 error LW-LAB-104: services need each other in a circle: `a` → `b` → `a`
                    help: take one `needs` or `egress` out: one of them must start without the other
                    5:29: the way on from `b`
            "#]],
        );
    }

    #[test]
    fn every_circle_is_shown_with_all_its_arrows() {
        says(
            r#"
compute:
  hosts:
    pve-01: { address: 10.0.0.1, vm: { on: pve-02 } }
    pve-02: { address: 10.0.0.2, lxc: { on: pve-01 } }
    loop: { address: 10.0.0.3, vm: { on: loop } }
    a: { address: 10.0.0.4, ssh: { jump: ["root@b:22"] } }
    b:
      address: 10.0.0.5
      ssh: { jump: [outside, a] }
      files:
        /a: { content: x, after: [/b] }
        /b: { content: x, after: [/c, root] }
        /c: { content: x, after: [/a] }
services:
  gw: { external: x, needs: [dns] }
  dns: { external: x, egress: gw }
  one: { external: x, needs: [two] }
  two: { external: x, needs: [other, one] }
  other: { external: x }
"#,
            expect![[r#"
                4:44 error LW-LAB-104: machines run on each other in a circle: `pve-01` → `pve-02` → `pve-01`
                    help: a hypervisor is not its own guest: correct one `on`
                    5:45: the way on from `pve-02`
                6:42 error LW-LAB-104: machines run on each other in a circle: `loop` → `loop`
                    help: a hypervisor is not its own guest: correct one `on`
                7:43 error LW-LAB-104: hosts are reached through each other in a circle: `a` → `b` → `a`
                    help: take one `jump` out
                    10:30: the way on from `b`
                12:35 error LW-LAB-104: files come after each other in a circle: `/a` → `/b` → `/c` → `/a`
                    help: take one `after` out
                    13:35: the way on from `/b`
                    14:35: the way on from `/c`
                17:31 error LW-LAB-104: services need each other in a circle: `dns` → `gw` → `dns`
                    help: take one `needs` or `egress` out: one of them must start without the other
                    16:30: the way on from `gw`
                18:31 error LW-LAB-104: services need each other in a circle: `one` → `two` → `one`
                    help: take one `needs` or `egress` out: one of them must start without the other
                    19:38: the way on from `two`
            "#]],
        );
    }

    #[test]
    fn a_long_way_that_does_not_come_back() {
        says(
            r#"
services:
  a: { external: x, needs: [b, c] }
  b: { external: x, needs: [c] }
  c: { external: x, needs: [d] }
  d: { external: x }
"#,
            expect![[""]],
        );
    }
}
