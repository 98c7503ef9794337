//! Pi-hole 6: names are items of two lists of its configuration, lines of a hosts file and aliases, behind a session that a
//! password opens. https://docs.pi-hole.net/api/, https://github.com/pi-hole/FTL/tree/master/src/api/docs

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use labwright_plan::{ErrorKind, ProviderError};
use labwright_secrets::SecretText;
use serde_json::{Value as Json, json};
use ureq::http::Method;
use zeroize::Zeroizing;

use super::book::{Book, Entry, spelled};
use crate::api::{Answer, Api, Fault};

/// Lines such as `10.0.0.5 nas.lan nas`.
const HOSTS: &str = "hosts";
/// Aliases such as `wiki.lan,proxy.lan` or `wiki.lan,proxy.lan,300`.
const ALIASES: &str = "cnameRecords";
/// How long a Pi-hole may take to come back: it restarts its resolver, and its API with it, for an alias.
const RESTART: Duration = Duration::from_secs(30);
/// How often one request is sent again after that.
const CUT_OFF: usize = 4;
/// How long a login waits for its turn: it lets three passwords a second be tried, whoever tries them.
const CROWD: Duration = Duration::from_secs(10);

/// The way to one Pi-hole.
pub struct PiHole {
    api: Api,
    password: Option<SecretText>,
    session: Mutex<Session>,
    /// It was told something that it restarts for, at a time of its own choice.
    restarts: AtomicBool,
}

#[derive(Default)]
enum Session {
    #[default]
    Closed,
    /// It asks nobody for a password.
    Open,
    Of(Zeroizing<String>),
    /// Nobody is let in. Asked again and again for each name, it would only be one more who tries passwords.
    Refused(ProviderError),
}

impl PiHole {
    pub fn new(api: Api, password: Option<SecretText>) -> PiHole {
        PiHole { api, password, session: Mutex::default(), restarts: AtomicBool::new(false) }
    }

    /// Opens a session. Where too many passwords are tried at the same time it is waited for, and not for ever.
    fn login(&self) -> Result<Session, Fault> {
        let until = Instant::now() + CROWD;
        loop {
            let answer = match &self.password {
                Some(password) => {
                    let body = json!({ "password": password.expose() });
                    self.api.try_send(Method::POST, "/api/auth", &[], Some(&body))?
                }
                None => self.api.try_send(Method::GET, "/api/auth", &[], None)?,
            };
            let session = &answer.body["session"];
            match (answer.status, session["valid"].as_bool(), session["sid"].as_str()) {
                (200, Some(true), Some(sid)) => return Ok(Session::Of(Zeroizing::new(sid.to_string()))),
                (200, Some(true), None) => return Ok(Session::Open),
                (429, ..) if answer.body["error"]["key"] == "rate_limiting" && Instant::now() < until => {
                    sleep(Duration::from_millis(500));
                }
                _ => return Err(Fault { error: self.refused_login(&answer), cut: false }),
            }
        }
    }

    fn refused_login(&self, answer: &Answer) -> ProviderError {
        let place = self.api.place();
        let of = |message: String, help: &str| ProviderError::new(ErrorKind::Auth, message).help(help);
        match (answer.status, &self.password) {
            (429, _) if answer.body["error"]["key"] == "rate_limiting" => of(
                format!(
                    "{place} lets nobody in: for {} s more than three passwords a second were tried there",
                    CROWD.as_secs()
                ),
                "find out who tries them (a widget, an exporter, a stranger) and stop that; then again",
            ),
            (429, _) => of(
                format!("{place} has no session left: {}", said(answer)),
                "others keep theirs open: wait until they end, or raise `webserver.api.max_sessions` there",
            ),
            (200 | 401, None) => of(
                format!("{place} asks for a password, and the lab has none for it"),
                "say it: `api: { password: \"${secret.pihole}\" }`; an application password of Pi-hole is made for this",
            ),
            (401, Some(_)) if answer.body["session"]["totp"] == true => of(
                format!("{place} asks for a second factor"),
                "make an application password in Pi-hole's settings, and `labwright secret set` it",
            ),
            (401, Some(_)) => of(
                format!("{place} does not take the password"),
                "`labwright secret set` the one that `platform.dns.api.password` refers to",
            ),
            _ => ProviderError::rejected(format!("{place} answers {} to a login: {}", answer.status, said(answer)))
                .help("Pi-hole has this API since version 6: look at `platform.dns.api.url`"),
        }
    }

    /// One request. One that a restart cut off, of our own making or of an earlier run's, is sent again; then the second value
    /// is true, and the first may have been heard. Where nobody is there at all, and we restarted nothing, nobody is waited for.
    fn ask(&self, method: Method, path: &str) -> Result<(Answer, bool), ProviderError> {
        let mut cut_off = 0;
        loop {
            match self.ask_once(method.clone(), path) {
                // Each connection that was open before the restart is cut off once, and several may have been.
                Err(Fault { error, cut })
                    if (cut || error.kind == ErrorKind::Unreachable && self.restarts.load(Ordering::Relaxed))
                        && cut_off < CUT_OFF =>
                {
                    cut_off += 1;
                    self.comes_back()?;
                }
                answer => return Ok((answer?, cut_off > 0)),
            }
        }
    }

    /// One request of the session; one that has run out is opened again.
    fn ask_once(&self, method: Method, path: &str) -> Result<Answer, Fault> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        for fresh in [false, true] {
            if matches!(*session, Session::Closed) {
                *session = match self.login() {
                    Err(fault) if fault.error.kind == ErrorKind::Auth => Session::Refused(fault.error),
                    session => session?,
                };
            }
            let answer = match &*session {
                Session::Refused(error) => return Err(Fault { error: error.clone(), cut: false }),
                Session::Of(sid) => self.api.try_send(method.clone(), path, &[("X-FTL-SID", sid.as_str())], None)?,
                _ => self.api.try_send(method.clone(), path, &[], None)?,
            };
            if answer.status != 401 || fresh {
                return Ok(answer);
            }
            *session = Session::Closed;
        }
        Err(Fault { error: ProviderError::bug("a session was opened and not used"), cut: false })
    }

    /// A request that changes something.
    fn change(&self, method: Method, list: &str, item: &str, fine: &[u16]) -> Result<(), ProviderError> {
        if list == ALIASES {
            self.restarts.store(true, Ordering::Relaxed);
        }
        let (answer, again) = self.ask(method, &format!("/api/config/dns/{list}/{}", escaped(item)))?;
        let there = || answer.body["error"]["message"].as_str().is_some_and(|text| text.contains("already present"));
        if fine.contains(&answer.status) || (again && answer.status == 400 && there()) {
            return if list == ALIASES { self.comes_back() } else { Ok(()) };
        }
        let message = format!("{} answers {}: {}", self.api.place(), answer.status, said(&answer));
        let environment =
            answer.body["error"]["message"].as_str().is_some_and(|text| text.contains("environment variables"));
        Err(match answer.status {
            400 if environment => ProviderError::rejected(message)
                .help(format!("the container sets that list itself: take `FTLCONF_dns_{list}` out of its environment")),
            401 => ProviderError::new(ErrorKind::Auth, message)
                .help("its session ran out again at once: compare the clocks"),
            403 => ProviderError::new(ErrorKind::Auth, message)
                .help("application passwords may change nothing until `webserver.api.app_sudo` is on there"),
            _ => ProviderError::rejected(message),
        })
    }

    /// Waits until it answers again after a restart of its resolver.
    fn comes_back(&self) -> Result<(), ProviderError> {
        let until = Instant::now() + RESTART;
        // It answers before it restarts.
        sleep(Duration::from_millis(300));
        loop {
            match self.api.send(Method::GET, "/api/auth", &[], None) {
                Ok(answer) if answer.status < 500 => return Ok(()),
                Err(error) if Instant::now() >= until => return Err(error),
                _ if Instant::now() >= until => {
                    let message = format!("{} did not come back within {} s", self.api.place(), RESTART.as_secs());
                    return Err(
                        ProviderError::new(ErrorKind::Timeout, message).help("`pihole status` on the host says more")
                    );
                }
                _ => sleep(Duration::from_millis(200)),
            }
        }
    }

    fn list(&self, list: &str) -> Result<Vec<String>, ProviderError> {
        let (answer, _) = self.ask(Method::GET, &format!("/api/config/dns/{list}"))?;
        let items = answer.body["config"]["dns"][list].as_array();
        match items {
            Some(items) if answer.status == 200 => {
                Ok(items.iter().filter_map(Json::as_str).map(str::to_string).collect())
            }
            _ => {
                let message = format!(
                    "{} answers {} instead of its list `{list}`: {}",
                    self.api.place(),
                    answer.status,
                    said(&answer)
                );
                Err(ProviderError::rejected(message).help("look at `platform.dns.api`"))
            }
        }
    }
}

impl Drop for PiHole {
    /// It has few sessions to give; one that stays open is lost to others for half an hour.
    fn drop(&mut self) {
        let session = self.session.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Session::Of(sid) = session {
            // Nobody could act on an error here, and the session ends by itself.
            let _ = self.api.send(Method::DELETE, "/api/auth", &[("X-FTL-SID", sid.as_str())], None);
        }
    }
}

/// What an error says, with its hint.
fn said(answer: &Answer) -> String {
    let error = &answer.body["error"];
    match (error["message"].as_str(), error["hint"].as_str()) {
        (Some(message), Some(hint)) => format!("{message} ({hint})"),
        (Some(message), None) => message.to_string(),
        _ => "nothing that is understood".to_string(),
    }
}

/// An item as it stands in a path; addresses and names hold nothing else that would have to be escaped.
fn escaped(item: &str) -> String {
    item.replace('%', "%25").replace(' ', "%20").replace(',', "%2C").replace('#', "%23").replace('\t', "%09")
}

fn of_hosts(line: &str) -> Option<Entry> {
    let mut words = line.split('#').next()?.split_whitespace();
    let answer = spelled(words.next()?);
    Some(Entry { names: words.map(str::to_lowercase).collect(), answer, text: line.to_string() })
}

fn of_alias(line: &str) -> Option<Entry> {
    let mut parts: Vec<&str> = line.split(',').map(str::trim).collect();
    if parts.last()?.parse::<u32>().is_ok() {
        parts.pop();
    }
    let target = spelled(parts.pop()?);
    Some(Entry { names: parts.into_iter().map(str::to_lowercase).collect(), answer: target, text: line.to_string() })
}

impl Book for PiHole {
    fn entries(&self) -> Result<Vec<Entry>, ProviderError> {
        let hosts = self.list(HOSTS)?;
        let aliases = self.list(ALIASES)?;
        let hosts = hosts.iter().filter_map(|line| of_hosts(line));
        Ok(hosts.chain(aliases.iter().filter_map(|line| of_alias(line))).collect())
    }

    fn add(&self, name: &str, answer: &str) -> Result<(), ProviderError> {
        match answer.parse::<std::net::IpAddr>() {
            Ok(_) => self.change(Method::PUT, HOSTS, &format!("{answer} {name}"), &[200, 201]),
            Err(_) => self.change(Method::PUT, ALIASES, &format!("{name},{answer}"), &[200, 201]),
        }
    }

    fn remove(&self, entry: &Entry) -> Result<(), ProviderError> {
        // 404: somebody else was faster, and it is gone all the same.
        let list = if entry.answer.parse::<std::net::IpAddr>().is_ok() { HOSTS } else { ALIASES };
        self.change(Method::DELETE, list, &entry.text, &[200, 204, 404])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_read_as_they_are_written() {
        let entry = of_hosts("FD00::5\tNas.lan  nas # upstairs").unwrap();
        assert_eq!((entry.names, entry.answer.as_str()), (vec!["nas.lan".to_string(), "nas".into()], "fd00::5"));
        for (line, names, target) in [
            ("wiki.lan,proxy.lan", vec!["wiki.lan"], "proxy.lan"),
            ("wiki.lan,www.lan,Proxy.lan,300", vec!["wiki.lan", "www.lan"], "proxy.lan"),
        ] {
            let entry = of_alias(line).unwrap();
            assert_eq!((entry.names, entry.answer.as_str()), (names.into_iter().map(str::to_string).collect(), target));
        }
        assert_eq!(of_hosts("  # nothing"), None);
    }

    /// Answers requests with what is listed, one connection each; the last again and again. Tells what was asked.
    fn serve(answers: Vec<String>) -> (String, std::sync::mpsc::Receiver<String>) {
        use std::io::{BufRead, BufReader, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (asked, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let _ = asked.send(head.first().cloned().unwrap_or_default());
                let _ = stream.write_all(answers[n.min(answers.len() - 1)].as_bytes());
            }
        });
        (base, heard)
    }

    const LIST: &str = r#"{"config":{"dns":{"hosts":["10.0.0.5 nas.lan"]}}}"#;

    fn whole(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn an_answer_that_a_restart_cuts_is_asked_for_again_and_not_for_ever() {
        let open = whole(r#"{"session":{"valid":true,"sid":null}}"#);
        let half = |text: &str| text[..text.len() - 20].to_string();
        let no_length = format!("HTTP/1.0 200 OK\r\n\r\n{}", half(LIST));
        // In its body, with a length and without one; in its head; before it.
        for cut in [half(&whole(LIST)), no_length, "HTTP/1.1 200 O".to_string(), String::new()] {
            let (base, heard) = serve(vec![open.clone(), cut.clone(), open.clone(), whole(LIST)]);
            let pihole = PiHole::new(Api::new("Pi-hole", &base).unwrap(), None);
            assert_eq!(pihole.list(HOSTS).unwrap(), ["10.0.0.5 nas.lan"], "{cut:?}");
            let asked: Vec<String> = heard.try_iter().map(|line| line.replace(" HTTP/1.1", "")).collect();
            let list = "GET /api/config/dns/hosts";
            assert_eq!(asked, ["GET /api/auth", list, "GET /api/auth", list], "{cut:?}");
        }
        // One that is cut again and again is told as what it is.
        let login = [open.clone(), half(&whole(LIST))];
        let (base, heard) = serve(login.into_iter().cycle().take(40).collect());
        let told = PiHole::new(Api::new("Pi-hole", &base).unwrap(), None).list(HOSTS).unwrap_err();
        assert!(told.message.ends_with("was cut off before its answer was whole"), "{told:?}");
        assert_eq!(heard.try_iter().filter(|line| line.contains("/hosts")).count(), 1 + CUT_OFF);
        // Where nobody is, and nothing was restarted, nobody is waited for.
        let begun = Instant::now();
        let nobody = PiHole::new(Api::new("Pi-hole", "http://127.0.0.1:9").unwrap(), None).list(HOSTS).unwrap_err();
        assert!(
            nobody.message.contains("refuses connections") && begun.elapsed() < Duration::from_secs(2),
            "{nobody:?}"
        );
    }
}
