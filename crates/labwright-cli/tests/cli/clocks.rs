//! Hosts whose clocks are wrong: told in the plan, and no reason not to apply.

use labwright_testkit::HostOptions;

use crate::json::holds;
use crate::world::World;

#[test]
fn a_host_whose_clock_is_wrong_is_named_with_its_skew_and_applied_to_all_the_same() {
    let world = World::new();
    let early = world.net.light_host_with("early", HostOptions::new().clock("+10m")).unwrap();
    let late = world.net.light_host_with("late", HostOptions::new().clock("-2h")).unwrap();
    let _right = world.net.light_host("right").unwrap();
    let host = "{ users: { ada: { uid: 7001 } }, files: { /etc/lw: { content: x, owner: ada } } }";
    world.lab(&format!("lab: test\ncompute:\n  hosts:\n    early: {host}\n    late: {host}\n    right: {host}\n"));

    let ran = world.run(&["plan"]).code(0).says("clocks differ from this machine's").says_not("right: ");
    let skew = |host: &str, word: &str| -> i64 {
        let line = ran.out.lines().find_map(|line| line.trim().strip_prefix(&format!("{host}: "))).unwrap_or("");
        let number = line.strip_suffix(&format!(" s {word}")).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("`{host}` is not said to be {word}\n{}", ran.out))
    };
    // A look takes a moment, and more of one on a busy machine.
    assert!((580..=605).contains(&skew("early", "ahead")), "{}", ran.out);
    assert!((7195..=7220).contains(&skew("late", "behind")), "{}", ran.out);
    let plan = holds("plan", &world.run(&["plan", "--json"])).remove(0);
    assert_eq!(plan["report"]["clock_skew"].as_array().map(Vec::len), Some(2), "{plan:#}");

    world.apply().code(0).says("6 of 6 steps done");
    for host in [&early, &late] {
        assert_eq!(host.ssh_stdout("stat -c %U /etc/lw").unwrap(), "ada\n");
    }
    world.apply().code(0).says("nothing to do, 6 unchanged").says("clocks differ");
    world.run(&["drift"]).code(0).says("0 drifted, 6 as applied");
    world.run(&["locks"]).code(0).says_not("held");
}
