//! A real browser, without a window, over its debugging pipe: JSON messages, each with a zero byte behind it.
//! <https://chromedevtools.github.io/devtools-protocol/>

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Browser {
    child: Child,
    write: File,
    told: Receiver<Value>,
    number: u64,
    session: Option<String>,
    /// What went wrong in the page: exceptions, and what its policy refused.
    pub errors: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.write.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && !matches!(self.child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn program() -> PathBuf {
    let path = Path::new("/usr/bin/chromium");
    assert!(path.exists(), "missing: `chromium` (package chromium); run scripts/test-deps");
    path.into()
}

impl Browser {
    /// A page of its own, of this size.
    pub fn new(width: u32, height: u32) -> Browser {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in"), folder.path().join("out"));
        for pipe in [&input, &output] {
            assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        }
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<\"$IN\" 4>\"$OUT\"", "sh"]).arg(program());
        // As root there is no sandbox to be had; what is shown is our own.
        command.args(["--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"]);
        command.args(["--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"]);
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display())).arg("about:blank");
        command.env("IN", &input).env("OUT", &output).env("HOME", folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.path().join("said")).unwrap());
        let child = command.spawn().unwrap();
        let write = OpenOptions::new().write(true).open(&input).unwrap();
        let read = File::open(&output).unwrap();
        let (send, told) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(read).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser { child, write, told, number: 0, session: None, errors: Vec::new(), _folder: folder };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.ask("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_string());
        for domain in ["Page", "Runtime", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser.size(width, height);
        browser
    }

    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.write.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let told = self.told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {method}"));
            if told["id"] == self.number {
                assert!(told.get("error").is_none(), "{method}: {told}");
                return told["result"].clone();
            }
            let wrong = match told["method"].as_str() {
                Some("Runtime.exceptionThrown") => Some(&told["params"]["exceptionDetails"]),
                Some("Log.entryAdded") if told["params"]["entry"]["level"] == "error" => Some(&told["params"]["entry"]),
                _ => None,
            };
            self.errors.extend(wrong.map(Value::to_string));
        }
    }

    pub fn size(&mut self, width: u32, height: u32) {
        let parameters = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", parameters);
    }

    /// `light` or `dark`.
    pub fn theme(&mut self, theme: &str) {
        self.ask(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] }),
        );
    }

    pub fn scripts(&mut self, run: bool) {
        self.ask("Emulation.setScriptExecutionDisabled", json!({ "value": !run }));
    }

    pub fn open(&mut self, url: &str) {
        let opened = self.ask("Page.navigate", json!({ "url": url }));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What an expression is.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    pub fn until(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.value(&format!("!!({expression})")) != true {
            if Instant::now() > end {
                let text = self.value("document.body.innerText");
                panic!("never so: {expression}\n{text}");
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// A picture of the whole page, where `LABWRIGHT_SCREENSHOTS` names a folder for it.
    pub fn picture(&mut self, name: &str) {
        use base64::Engine;
        let Some(folder) = std::env::var_os("LABWRIGHT_SCREENSHOTS") else { return };
        let shot = self.ask("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": false }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }
}
