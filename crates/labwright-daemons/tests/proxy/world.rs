//! A daemon in a process of its own, upstreams, clients; all on loopback, on ports that were free a moment ago.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use labwright_daemons::serve::{Options, run};
use labwright_model::snapshot::control::{Reply, Request, Status};
use labwright_model::snapshot::proxy::{
    Answer, Auth, Authority, Certificates, Limits, Listen, ProxySnapshot, Site, Upstreams,
};
use labwright_model::snapshot::{PROXY, Snapshot, VERSION};
use labwright_model::units::Subnet;
use tempfile::TempDir;

/// The test that is the daemon: this program starts itself anew, so that it can be killed.
#[test]
fn daemon() {
    let Some(folder) = std::env::var_os("LW_TEST_DAEMON").map(PathBuf::from) else { return };
    let options = Options {
        state: folder.join("state"),
        runtime: folder.join("run"),
        credentials: Some(folder.join("credentials")),
        observe: None,
        workers: Some(2),
    };
    if let Err(error) = run(&options) {
        panic!("{error}; {}", error.help);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that ends with the test.
pub struct Program(pub Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The path of a program, or a failure that names its package.
pub fn tool(name: &str, package: &str) -> PathBuf {
    let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().map(|folder| Path::new(folder).join(name));
    places
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("`{name}` is missing (package {package}); run scripts/test-deps"))
}

pub fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !is() {
        assert!(Instant::now() < until, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

pub struct Daemon {
    pub folder: TempDir,
    pub http: u16,
    pub https: u16,
    process: Program,
    generation: AtomicU64,
}

impl Daemon {
    pub fn start() -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("credentials")).unwrap();
        let process = Self::process(folder.path());
        let daemon = Daemon { folder, http: free_port(), https: free_port(), process, generation: AtomicU64::new(0) };
        wait_for("the daemon", || daemon.try_ask(&Request::Status).is_some());
        daemon
    }

    fn process(folder: &Path) -> Program {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "world::daemon", "--nocapture", "--test-threads=1"]);
        command.env("LW_TEST_DAEMON", folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Program(command.spawn().unwrap())
    }

    /// Starts another one beside the first, which takes over.
    pub fn second(&self) -> Program {
        Self::process(self.folder.path())
    }

    pub fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.process = Self::process(self.folder.path());
        wait_for("the daemon", || self.try_ask(&Request::Status).is_some());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn try_ask(&self, request: &Request) -> Option<Reply> {
        let mut stream = UnixStream::connect(self.folder.path().join("run/control.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let mut text = serde_json::to_vec(request).ok()?;
        text.push(b'\n');
        stream.write_all(&text).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    pub fn ask(&self, request: &Request) -> Reply {
        self.try_ask(request).unwrap_or_else(|| panic!("the daemon does not answer:\n{}", self.log()))
    }

    pub fn status(&self) -> Status {
        match self.ask(&Request::Status) {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// A snapshot with these sites.
    pub fn snapshot(&self, sites: Vec<Site>) -> ProxySnapshot {
        let authority = Authority {
            common_name: "test lab authority".into(),
            domains: vec!["lab.test".into()],
            networks: vec![net("127.0.0.0/8")],
            key: None,
        };
        ProxySnapshot {
            listen: Listen { addresses: vec!["127.0.0.1".parse().unwrap()], http: self.http, https: Some(self.https) },
            certificates: Certificates { authority, acme: None },
            sites,
            ..ProxySnapshot::default()
        }
    }

    pub fn push(&self, generation: u64, proxy: &ProxySnapshot) -> Reply {
        self.push_roles(generation, &[(PROXY, serde_json::to_value(proxy).unwrap())])
    }

    /// The same for several roles.
    pub fn push_roles(&self, generation: u64, roles: &[(&str, serde_json::Value)]) -> Reply {
        let roles = roles.iter().map(|(role, value)| (role.to_string(), value.clone())).collect();
        let snapshot = Snapshot { version: VERSION, generation, lab: "test".into(), host: "gate".into(), roles };
        self.ask(&Request::Apply { snapshot: Box::new(snapshot) })
    }

    /// Applies a snapshot, which must be taken.
    pub fn apply(&self, proxy: &ProxySnapshot) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let reply = self.push(generation, proxy);
        assert_eq!(reply, Reply::Applied { generation }, "{}", self.log());
        generation
    }

    /// The folder's own file with the lab's authority.
    pub fn ca(&self) -> PathBuf {
        let path = self.folder.path().join("ca.pem");
        if let Some(pem) = self.status().authority {
            std::fs::write(&path, pem).unwrap();
        }
        path
    }

    /// Runs curl against a name of the lab; `path` begins with a slash.
    pub fn curl(&self, name: &str, path: &str, arguments: &[&str]) -> Answered {
        let url = format!("https://{name}:{}{path}", self.https);
        self.curl_url(name, &url, arguments)
    }

    pub fn curl_url(&self, name: &str, url: &str, arguments: &[&str]) -> Answered {
        let output = Command::new(tool("curl", "curl"))
            .args(["--silent", "--show-error", "--include", "--max-time", "20", "--cacert"])
            .arg(self.ca())
            .args(["--resolve", &format!("{name}:{}:127.0.0.1", self.https)])
            .args(["--resolve", &format!("{name}:{}:127.0.0.1", self.http)])
            .args(arguments)
            .arg(url)
            .output()
            .unwrap();
        Answered::of(&output)
    }

    /// Sends bytes over a connection without TLS and reads until the other side has nothing more to say.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.http))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }
}

pub fn read_all(stream: &mut TcpStream) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// What curl got.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub head: String,
    pub body: String,
    pub error: String,
}

impl Answered {
    fn of(output: &Output) -> Answered {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut rest = text.as_str();
        let (mut head, mut body) = ("", "");
        // `100 Continue` and the like come first.
        while rest.starts_with("HTTP/") {
            (head, body) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
            rest = body;
            if !head.contains(" 1")
                || head.split(' ').nth(1).is_some_and(|code| code == "101" || !code.starts_with('1'))
            {
                break;
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.trim().parse().ok()).unwrap_or(0);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Answered { status, head: head.to_ascii_lowercase(), body: body.to_string(), error }
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Answered {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(&self, text: &str) -> &Answered {
        assert!(self.body.contains(text) || self.head.contains(text), "no `{text}` in {self:#?}");
        self
    }

    #[track_caller]
    pub fn says_not(&self, text: &str) -> &Answered {
        assert!(!self.body.contains(text) && !self.head.contains(text), "`{text}` in {self:#?}");
        self
    }
}

/// A site of one service with one upstream, for everybody.
pub fn site(service: &str, urls: &[String]) -> Site {
    let answer = Answer::Upstreams(Upstreams {
        service: service.into(),
        urls: urls.to_vec(),
        verify: "system".into(),
        ..Upstreams::default()
    });
    site_of(service, answer)
}

pub fn site_of(service: &str, answer: Answer) -> Site {
    Site {
        service: service.into(),
        names: vec![format!("{service}.lab.test")],
        answer,
        from: None,
        expose: "public".into(),
        auth: Auth::default(),
        routes: Vec::new(),
        limits: Limits::default(),
        hsts: None,
        geo: false,
        clear_text: true,
        passthrough: false,
        proxy_protocol: false,
        cors: Vec::new(),
    }
}

/// The same where a service has its own certificate and ends TLS itself.
pub fn passed_through(service: &str, port: u16) -> Site {
    let mut site = site(service, &[format!("https://127.0.0.1:{port}")]);
    site.passthrough = true;
    if let Answer::Upstreams(upstreams) = &mut site.answer {
        upstreams.verify = "none".into();
    }
    site
}

pub fn net(text: &str) -> Subnet {
    Subnet(text.parse().unwrap())
}

/// A certificate by itself, `cert.pem` and `key.pem` in a folder; `names` as openssl has them: `DNS:a,IP:127.0.0.1`.
pub fn certify(folder: &Path, subject: &str, names: &str) {
    let made = Command::new(tool("openssl", "openssl"))
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9"])
        .args(["-subj", &format!("/CN={subject}"), "-addext", &format!("subjectAltName={names}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"))
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
}

/// A certificate of a service's own: its file, and what nginx is told of it.
pub fn own_certificate(folder: &Path, name: &str) -> (String, String) {
    certify(folder, "own certificate", &format!("DNS:{name}"));
    let at = folder.display();
    (format!("{at}/cert.pem"), format!("ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;"))
}

/// nginx as an upstream.
pub struct Nginx {
    pub port: u16,
    pub folder: TempDir,
    pub process: Program,
}

impl Nginx {
    /// `server` is what stands in the `server` block beside `listen` and `root`.
    pub fn start(server: &str) -> Nginx {
        Nginx::listening(&free_port().to_string(), server)
    }

    /// `listen` may say more than the port: `8443 ssl`.
    pub fn listening(listen: &str, server: &str) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        std::fs::create_dir(folder.path().join("www")).unwrap();
        std::fs::write(folder.path().join("www/index.html"), "from nginx\n").unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/tmp;\n"))
            .collect();
        let port = listen.split(' ').next().unwrap().parse().unwrap();
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log {at}/access; client_max_body_size 0; keepalive_requests 1000000;\n{temporary}\
             server {{ listen 127.0.0.1:{listen}; root {at}/www;\n{server}\n}} }}\n"
        );
        std::fs::write(folder.path().join("conf"), text.replace("FOLDER", &at)).unwrap();
        let mut command = Command::new(tool("nginx", "nginx-light"));
        command.args(["-p", &at, "-c", &format!("{at}/conf")]).stderr(Stdio::null());
        let process = Program(command.spawn().unwrap());
        wait_for("nginx", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Nginx { port, folder, process }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn access(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("access")).unwrap_or_default()
    }
}

/// An upstream that does what it is told: it reads a request's head and says these bytes; then it hangs up.
pub fn liar(says: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(says);
        }
    });
    port
}

/// An upstream that takes everything and says nothing.
pub fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            kept.push(stream);
        }
    });
    port
}
