//! The dashboard as anything that speaks HTTP meets it: what it shows, what it never shows, and whom it refuses.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::up::{Here, server, until};
use crate::world::Ran;

/// A lab of three: one breaks, one waits for it, one is fine.
pub const BROKEN: &str = "  db: { on: box, run: { command: [/bin/sh, -c, 'echo the disk is on fire >&2; exit 3'] } }\n\
    \x20 api: { on: box, run: { command: [/bin/sleep, infinity] }, needs: [db] }\n\
    \x20 fine: { on: box, run: { command: [/bin/sh, -c, 'echo \"<script>alert(1)</script>\"; printf \"\\\\033[31mred\\\\033[0m \\\\342\\\\200\\\\256turned\\\\n\"; exec sleep infinity'], environment: { MODE: plain, DB_PASSWORD: canary-one, CONNECTION: \"Host=db;Passwd=canary-two\" } } }\n";

impl Here {
    /// Where its dashboard is, without the slash at the end.
    pub fn dashboard(&self) -> String {
        let state = self.state();
        let link = state["dashboard"].as_str().unwrap_or_else(|| panic!("no dashboard: {state}"));
        link.trim_end_matches('/').to_string()
    }

    pub fn curl(&self, path: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20"]).args(arguments).arg(format!("{}{path}", self.dashboard()));
        let output = command.output().expect("missing: `curl` (package curl); run scripts/test-deps");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// The status of an answer alone.
    fn status(&self, path: &str, arguments: &[&str]) -> String {
        self.curl(path, &[&["-o", "/dev/null", "-w", "%{http_code}"], arguments].concat())
    }

    /// What stands in the forms of a page.
    fn form(&self) -> String {
        let page = self.curl("/", &[]);
        let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_string()
    }
}

#[test]
fn the_first_page_says_what_broke_and_why_and_who_waits() {
    let here = Here::new(BROKEN);
    here.up(&[]).code(7).says("dashboard  http://localhost:");
    let page = here.curl("/", &[]);
    for said in [
        "1 of 3 are well",
        "it ended with exit code 3 before it was well",
        "the disk is on fire",
        "Waiting for it:",
        "✗",
    ] {
        assert!(page.contains(said), "`{said}`: {page}");
    }
    let (broken, rest) = page.split_once("<table").unwrap();
    assert!(
        broken.contains("href=\"/unit/db\"") && broken.contains("href=\"/unit/api\"") && !broken.contains("/unit/fine")
    );
    assert!(rest.contains("waits for <a href=\"/unit/db\">"), "{rest}");
    let graph = here.curl("/graph", &[]);
    assert!(graph.contains("<svg") && graph.contains("/unit/api"), "{graph}");
    let timeline = here.curl("/timeline", &[]);
    assert!(timeline.contains("never started") && timeline.contains("was not well"), "{timeline}");
    here.desk.run(&["open", "--print"]).code(0).says(&here.dashboard());
    here.desk.run(&["open", "--print", "./lab.yaml"]).code(0).says(&here.dashboard());
    here.down().code(0);
    here.desk.run(&["open", "--print"]).code(7).says("is not up");
}

#[test]
fn what_runs_and_is_never_well_is_told_with_what_its_probe_was_answered() {
    let here = Here::new(&format!(
        "{}  behind: {{ on: box, run: {{ command: [/bin/sleep, infinity] }}, needs: [wrong] }}\n",
        server("wrong", ", probe: /no-such-page")
    ));
    here.up(&["--timeout", "1"]).code(7);
    let broken = || here.curl("/", &[]).split("<table").next().unwrap().to_string();
    until("it is slow", || broken().contains("class=\"broken"));
    let page = broken();
    for said in ["`GET /no-such-page` on port", "[STATUS] is `404`", "Waiting for it:", "href=\"/unit/behind\""] {
        assert!(page.contains(said), "{said}: {page}");
    }
    here.down().code(0);
}

#[test]
fn nothing_that_a_process_says_is_obeyed_and_no_secret_is_in_a_page() {
    let here = Here::of(&format!(
        "lab: test\nplatform: {{ secrets: {{ age: secrets.yaml }} }}\ncompute: {{ hosts: {{ box: {{ address: 10.9.9.9 }} }} }}\nservices:\n{}",
        BROKEN.replace("MODE: plain", "MODE: plain, TOP: \"a ${secret.pw} z\"")
    ));
    here.desk.run(&["secret", "init"]).code(0);
    let mut set = here.desk.command();
    set.args(["secret", "set", "pw"]);
    crate::secrets::feed(set, "canary-three").code(0);
    here.up(&[]).code(7);
    let page = here.curl("/unit/fine", &[]);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script>alert"), "{page}");
    assert!(page.contains("red \u{fffd}turned"), "{page}");
    assert!(page.contains("MODE") && page.contains("plain") && page.contains("from the secret pw"), "{page}");
    for path in ["/", "/unit/fine", "/unit/fine?q=a&stream=out", "/unit/db", "/graph", "/timeline", "/traces"] {
        let page = here.curl(path, &[]);
        assert!(!page.contains("canary"), "{path}: {page}");
        assert!(!page.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{path}");
        // No attribute may be a script, and no style stand in the page: the policy would refuse both.
        assert!(!page.contains(" onclick=") && !page.contains(" style=") && !page.contains("javascript:"), "{path}");
    }
    let headers = here.curl("/", &["-D", "-", "-o", "/dev/null"]).to_lowercase();
    for said in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "frame-ancestors 'none'",
        "nosniff",
        "no-store",
    ] {
        assert!(headers.contains(said), "{said}: {headers}");
    }
    here.down().code(0);
}

#[test]
fn logs_are_searched_and_filtered_without_a_script() {
    let says = "for n in $(seq 1 900); do echo line $n; done; sleep 0.3; echo needle one; echo needle two >&2; exec sleep infinity";
    let here = Here::new(&format!("  app: {{ on: box, run: {{ command: [/bin/sh, -c, '{says}'] }} }}\n"));
    here.up(&[]).code(0);
    until("all is said", || here.curl("/unit/app", &[]).contains("needle two"));
    let shown = |query: &str| {
        let page = here.curl(&format!("/unit/app?{query}"), &[]);
        let (_, log) = page.split_once("id=\"log\"").unwrap();
        log.split("</div>").next().unwrap().to_string()
    };
    let both = shown("q=NEEDLE");
    assert!(both.contains("needle one") && both.contains("needle two") && !both.contains("line 900"), "{both}");
    let err = shown("q=needle&stream=err");
    assert!(!err.contains("needle one") && err.contains("needle two"), "{err}");
    let all = shown("");
    assert!(all.find(">line 899<").unwrap() < all.find(">line 900<").unwrap(), "in the order in which it was said");
    // What memory has forgotten is still in the file.
    assert!(!shown("").contains(">line 3<") && shown("q=line+3").contains(">line 3<"));
    assert_eq!(here.status("/unit/none", &[]), "404");
    assert_eq!(here.status("/unit/..%2f..%2fetc%2fpasswd?q=root", &[]), "404");
    here.down().code(0);
}

#[test]
fn buttons_work_and_nobody_else_presses_them() {
    let here = Here::new("  app: { on: box, run: { command: [/bin/sleep, infinity] } }\n");
    here.up(&[]).code(0);
    let (origin, token) = (here.dashboard(), here.form());
    let act = |what: &str, token: &str, more: &[&str]| {
        let data = format!("token={token}&unit=app&what={what}");
        here.status("/act", &[&["--data", &data], more].concat())
    };
    let own = format!("Origin: {origin}");
    // A page of another site, one without an origin, one that was loaded before a restart, another name for this server.
    for (token, more, status) in [
        (token.as_str(), &["-H", "Origin: http://evil.example"][..], "403"),
        (&token, &["-H", "Origin: null"], "403"),
        (&token, &["-H", "Sec-Fetch-Site: cross-site"], "403"),
        (&token, &["-H", "Host: evil.example"], "421"),
        ("", &["-H", &own], "403"),
        ("0123", &["-H", &own], "403"),
    ] {
        assert_eq!(act("stop", token, more), status, "{more:?}");
    }
    assert_eq!(here.status("/act?what=stop&unit=app", &[]), "405");
    assert_eq!(here.status("/", &["-H", "Host: evil.example:80"]), "421");
    assert_eq!(here.status("/events?page=overview", &["-H", "Host: evil.example"]), "421");
    assert_eq!(here.unit("app")["phase"], "ready", "nothing of that did anything");

    let pid = here.pid("app");
    assert_eq!(act("restart", &token, &["-H", &own]), "303");
    until("it is another process", || here.unit("app")["phase"] == "ready" && here.pid("app") != pid);
    assert_eq!(act("stop", &token, &["-H", &own, "-H", "Sec-Fetch-Site: same-origin"]), "303");
    until("it is stopped", || here.unit("app")["phase"] == "stopped");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(here.unit("app")["phase"], "stopped", "it stays so");
    assert_eq!(act("start", &token, &["-H", &own]), "303");
    until("it runs", || here.unit("app")["phase"] == "ready");
    assert_eq!(act("burn", &token, &["-H", &own]), "400");
    assert!(
        here.curl("/act", &["--data", &format!("token={token}&unit=none&what=stop")])
            .contains("there is no `none` here")
    );
    here.down().code(0);
}

#[test]
fn changes_are_told_as_they_happen() {
    let here = Here::new("  app: { on: box, run: { command: [/bin/sh, -c, 'echo hello; exec sleep infinity'] } }\n");
    here.up(&[]).code(0);
    let follow = |query: &str| {
        let mut command = Command::new("curl");
        command.args(["-sSN", "--max-time", "20"]).arg(format!("{}/events?{query}", here.dashboard()));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        (BufReader::new(child.stdout.take().unwrap()).lines(), child)
    };
    let (mut told, mut child) = follow("page=overview");
    let mut heard = |what: &str| told.by_ref().map_while(Result::ok).any(|line| line.contains(what));
    assert!(heard("All 1 are well"));
    let began = Instant::now();
    here.desk.run(&["restart", "app"]).code(0);
    assert!(heard("restarts\\\">1"), "the row is sent again");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut told, mut child) = follow("page=unit&unit=app");
    let mut heard = |what: &str| told.by_ref().map_while(Result::ok).any(|line| line.contains(what));
    assert!(heard("hello"), "what was said before");
    here.desk.run(&["restart", "app"]).code(0);
    assert!(heard("hello"), "what is said now");
    child.kill().unwrap();
    child.wait().unwrap();
    here.down().code(0);
}

#[test]
fn many_tabs_are_bounded_and_hold_nobody_up() {
    let here =
        Here::new("  loud: { on: box, run: { command: [/bin/sh, -c, 'exec yes a line that says nothing at all'] } }\n");
    here.up(&[]).code(0);
    let url = format!("{}/events?page=unit&unit=loud", here.dashboard());
    // Most of them never read: that is what a tab does that is asleep.
    let tabs: Vec<_> = (0..70)
        .map(|_| {
            use std::io::Write;
            let host = url.trim_start_matches("http://").split('/').next().unwrap();
            let mut stream = std::net::TcpStream::connect(host).unwrap();
            write!(stream, "GET /events?page=unit&unit=loud HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
            stream
        })
        .collect();
    until("no more are taken", || here.status("/events?page=overview", &["--max-time", "2"]) == "503");
    std::thread::sleep(Duration::from_secs(3));
    assert!(here.curl("/", &[]).contains("All 1 are well"));
    let pid = here.state()["pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok()).unwrap();
    assert!(resident < 400_000, "{resident} kB");
    drop(tabs);
    until("whoever has gone is forgotten", || {
        here.status("/events?page=overview", &["--max-time", "1"]).contains("200")
    });
    here.down().code(0);
}

#[test]
fn it_gives_way_or_says_who_is_there() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let here = Here::new("  app: { on: box, run: { command: [/bin/sleep, infinity] } }\n");
    here.up(&["--dashboard", &port]).code(0).says("there is no dashboard: it cannot listen on").says_not("  dashboard");
    here.desk.run(&["open", "--print"]).code(2).says("is up without a dashboard");
    here.down().code(0);
    here.up(&["--dashboard", "off"]).code(0).says_not("dashboard");
    here.down().code(0);
    here.up(&["--dashboard", "nowhere"]).code(2).says("write `off`, a port, or an address and a port");
    // Two labs, one default.
    let other = Here::new("  app: { on: box, run: { command: [/bin/sleep, infinity] } }\n");
    here.up(&[]).code(0);
    other.up(&[]).code(0);
    assert_ne!(here.dashboard(), other.dashboard());
}

/// In a network namespace of its own, where an address that is not loopback reaches nobody else.
#[test]
fn beyond_this_machine_it_asks_for_a_token() {
    let here = Here::new("  app: { on: box, run: { command: [/bin/sleep, infinity] } }\n");
    let script = "set -e; ip link set lo up; ip address add 10.66.0.1/32 dev lo; lab=$1; at=http://10.66.0.1:8600\n\
        $lab up --wait --dashboard 10.66.0.1:8600; link=$($lab open --print); jar=$(mktemp)\n\
        status() { curl -s -o /dev/null -w '%{http_code} ' \"$@\"; }\n\
        echo \"$link\" | grep -q \"^$at/?token=[0-9a-f]\\{64\\}$\"\n\
        status $at/; status $at/events?page=overview; status $at/style.css; status \"$at/?token=guess\"; status -c $jar \"$link\"; status -b $jar $at/\n\
        status -b $jar -H 'Host: evil.example' $at/; status -b $jar -H 'Origin: http://evil.example' -d token=x $at/act\n\
        $lab ps --json | grep -q 'token=' && echo 'the token is told'; $lab down";
    let mut command = here.desk.command();
    let program = command.get_program().to_owned();
    command = {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", script, "sh"]).arg(program).current_dir(here.desk.dir.path()).env_clear();
        unshare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        unshare
    };
    let ran: Ran = command.output().unwrap().into();
    let ran = ran.code(0).says("401 401 401 401 303 200 401 403").says_not("the token is told");
    assert!(!ran.err.contains("token="), "{}", ran.err);
}

/// Served pages for the tests in a browser.
pub fn with_pages() -> Here {
    let here = Here::new(&format!("{BROKEN}{}", server("pages", ", url: pages, probe: /")));
    here.up(&[]).code(7);
    here
}
