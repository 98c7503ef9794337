//! Lists from a web server that is well, changes its mind, goes away, or is no server of lists; and a kill in between.

use std::io::{BufRead, BufReader};

use super::*;

/// What the server says to the next request, and what it was asked.
#[derive(Default)]
struct Site {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// Octets after which it stops sending and waits.
    stalls_after: Option<usize>,
    requests: Vec<String>,
}

struct Web {
    address: SocketAddr,
    site: Arc<Mutex<Site>>,
}

impl Web {
    fn new() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let site = Arc::new(Mutex::new(Site::default()));
        let shared = site.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut request).unwrap() > 2 {}
                let (head, body, stalls) = {
                    let mut site = shared.lock().unwrap();
                    site.requests.push(request.to_lowercase());
                    let known = site.headers.contains("etag: \"one\"") && request.contains("\"one\"");
                    let status = if known { 304 } else { site.status };
                    let body = if known { Vec::new() } else { site.body.clone() };
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{}\r\n",
                        site.headers
                    );
                    (head, body, site.stalls_after)
                };
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&body[..stalls.unwrap_or(body.len())]);
                if stalls.is_some() {
                    std::thread::sleep(Duration::from_secs(30));
                }
            }
        });
        Web { address, site }
    }

    fn says(&self, status: u16, headers: &str, body: impl Into<Vec<u8>>) {
        let mut site = self.site.lock().unwrap();
        (site.status, site.headers, site.body) = (status, headers.to_string(), body.into());
    }

    fn url(&self) -> String {
        format!("http://{}/list.txt", self.address)
    }

    fn requests(&self) -> usize {
        self.site.lock().unwrap().requests.len()
    }
}

fn with_url(mut snapshot: DnsSnapshot, url: &str) -> DnsSnapshot {
    snapshot.filter.lists = vec![List { name: "web".into(), source: ListSource::Url(url.into()), allow: false }];
    snapshot.filter.groups[0].lists = vec![0];
    snapshot
}

fn status(lab: &Lab) -> ListStatus {
    lab.server.lists()[0].clone()
}

#[test]
fn a_list_is_fetched_kept_and_asked_for_again_only_if_it_changed() {
    let web = Web::new();
    web.says(200, "content-type: text/plain\r\netag: \"one\"\r\n", "ads.example\n");
    let lab = Lab::new(with_url(snapshot(&[]), &web.url()));
    lab.wait("the list", || status(&lab).rules == 1);
    assert_eq!(lab.short("ads.example"), "0.0.0.0");
    lab.server.refresh_lists();
    lab.wait("a second request", || web.requests() == 2);
    assert!(web.site.lock().unwrap().requests[1].contains("if-none-match: \"one\""));
    web.says(200, "etag: \"two\"\r\n", "ads.example\nmore.example\n");
    lab.server.refresh_lists();
    lab.wait("the new edition", || status(&lab).rules == 2);
    assert_eq!(lab.short("more.example"), "0.0.0.0");
    // Another run has it from disk, before and without any server.
    let folder = lab.folder.path().to_path_buf();
    let Lab { server, folder: kept, .. } = lab;
    server.stop(Duration::from_secs(1));
    let asked = web.requests();
    let sockets = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let server = Server::start(sockets, with_url(snapshot(&[]), &web.url()), &folder).unwrap();
    let begun = Instant::now();
    while !server.lists_are_ready() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!((server.lists()[0].rules, web.requests()), (2, asked));
    drop((server, kept));
}

#[test]
fn what_is_no_list_is_refused_and_the_old_one_goes_on_holding() {
    let web = Web::new();
    web.says(200, "", "ads.example\n");
    let lab = Lab::new(with_url(snapshot(&[]), &web.url()));
    lab.wait("the list", || status(&lab).rules == 1);
    for (code, headers, body, fault) in [
        (404, "", "gone", "the server answered 404"),
        (503, "", "", "the server answered 503"),
        (
            200,
            "content-type: text/html; charset=utf-8\r\n",
            "ads.example\n",
            "it is a web page (text/html), not a list",
        ),
        (200, "", "\n <!DOCTYPE html><html>\nlogin.example\n", "it is a web page, not a list"),
        (200, "", "", "it is empty"),
        (200, "", "\u{1f}\u{8b}\0\0binary", "it is no text; a packed list has to be unpacked by its server"),
        (200, "", "dear user\nthis service has moved\nto a new home\n", "nothing in it looks like a name or a rule"),
    ] {
        web.says(code, headers, body);
        lab.server.refresh_lists();
        lab.wait(fault, || status(&lab).fault.as_deref() == Some(fault));
        assert_eq!((status(&lab).rules, lab.short("ads.example")), (1, "0.0.0.0".to_string()), "{fault}");
    }
    web.says(200, "", "new.example\n");
    lab.server.refresh_lists();
    lab.wait("the list to be well again", || status(&lab).fault.is_none());
    assert_eq!(lab.short("new.example"), "0.0.0.0");
}

#[test]
fn a_server_that_cannot_be_reached_is_told_and_tried_again() {
    let url = format!("http://127.0.0.1:{}/list.txt", free_port("127.0.0.1"));
    let lab = Lab::new(with_url(snapshot(&[]), &url));
    lab.wait("the fault", || status(&lab).fault.as_deref().is_some_and(|fault| fault.contains("refused")));
    assert_eq!(lab.short("nas.lab.home.arpa"), "10.0.20.5");
}

#[test]
fn the_address_of_a_list_server_is_asked_of_the_upstreams_and_not_of_this_machine() {
    let web = Web::new();
    web.says(200, "", "lists.example\nads.example\n");
    let fake = Fake::answering("127.0.0.1", [127, 0, 0, 1], 300);
    let url = format!("http://lists.example:{}/list.txt", web.address.port());
    let lab = Lab::new(with_url(snapshot(&[fake.address]), &url));
    lab.wait("the list", || status(&lab).rules == 2);
    assert_eq!(lab.short("ads.example"), "0.0.0.0");
    // It blocks its own server; the resolver finds it all the same.
    lab.server.refresh_lists();
    lab.wait("a second request", || web.requests() == 2);
    assert_eq!(status(&lab).fault, None);
}

#[test]
fn local_names_are_answered_before_any_list_is_there() {
    let web = Web::new();
    web.says(200, "", "ads.example\n".repeat(1000));
    web.site.lock().unwrap().stalls_after = Some(100);
    let begun = Instant::now();
    let lab = Lab::new(with_url(snapshot(&[]), &web.url()));
    assert_eq!(lab.short("nas.lab.home.arpa"), "10.0.20.5");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    lab.wait("the request", || web.requests() == 1);
    assert_eq!(status(&lab).fault.as_deref(), Some("it was not fetched yet"));
}

/// Set for the process that is killed in the test below.
const CHILD: &str = "LABWRIGHT_TEST_FETCH";

#[test]
fn a_kill_in_the_middle_of_a_fetch_leaves_the_old_list_whole() {
    let web = Web::new();
    web.says(200, "", "old.example\n");
    let lab = Lab::new(with_url(snapshot(&[]), &web.url()));
    lab.wait("the list", || status(&lab).rules == 1);
    let Lab { server, folder, .. } = lab;
    server.stop(Duration::from_secs(1));
    web.says(200, "", "new.example\n".repeat(100_000));
    web.site.lock().unwrap().stalls_after = Some(600_000);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dns::tests::fetching::fetches_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD, format!("{} {}", web.url(), folder.path().display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    let half = || {
        let entries = std::fs::read_dir(folder.path()).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".half-")).count()
    };
    let begun = Instant::now();
    let large = || {
        let entries = std::fs::read_dir(folder.path()).unwrap().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).any(|about| about.len() > 500_000)
    };
    while half() == 0 || !large() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the child did not begin to fetch");
        std::thread::sleep(Duration::from_millis(5));
    }
    // SIGKILL, by `Child::kill`.
    drop(running);
    assert_eq!(half(), 1);
    web.site.lock().unwrap().stalls_after = None;
    web.says(500, "", "");
    let sockets = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let address = sockets[0].0.local_addr().unwrap();
    let server = Server::start(sockets, with_url(snapshot(&[]), &web.url()), folder.path()).unwrap();
    let lab = Lab { server, address, folder };
    lab.wait("lists", || lab.server.lists_are_ready());
    assert_eq!(status(&lab).rules, 1);
    assert_eq!(lab.short("old.example"), "0.0.0.0");
    let left = std::fs::read_dir(lab.folder.path()).unwrap().flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".half-")));
}

#[test]
#[ignore = "the other half of the test above, run by it"]
fn fetches_until_it_is_killed() {
    let Ok(arguments) = std::env::var(CHILD) else { panic!("{CHILD} says what to fetch, and where to") };
    let (url, folder) = arguments.split_once(' ').unwrap();
    let lookup: lists::fetch::Lookup = Arc::new(|_| Err("no names here".into()));
    let fetcher = Fetcher::new(Path::new(folder), &[], lookup);
    panic!("it was to be killed: {:?}", fetcher.fetch(url));
}
