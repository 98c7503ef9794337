//! What an editor completes in a lab file whose first line names the schema: the language server that editors use is
//! asked, as they ask it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::world::Desk;

const SERVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../scripts/editor/node_modules/yaml-language-server/bin/yaml-language-server"
);

/// A language server on two pipes.
struct Editor {
    server: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    asked: u64,
}

impl Editor {
    fn new(desk: &Desk) -> Editor {
        assert!(Path::new(SERVER).exists(), "missing: `yaml-language-server`; run scripts/test-deps");
        let mut command = Command::new("node");
        command.arg(SERVER).arg("--stdio").current_dir(desk.dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().expect("missing: `node` (package nodejs); run scripts/test-deps");
        let (input, output) = (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
        let mut editor = Editor { server, input, output, asked: 0 };
        let root = format!("file://{}", desk.dir.path().display());
        let can = json!({ "workspace": { "configuration": true }, "textDocument": { "completion": { "completionItem": {
            "documentationFormat": ["markdown", "plaintext"],
        } } } });
        editor.ask("initialize", json!({ "processId": null, "rootUri": root, "capabilities": can }));
        editor.send(json!({ "method": "initialized", "params": {} }));
        editor
    }

    fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = "2.0".into();
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.input.flush().unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the language server ended");
            match line.trim().split_once(": ") {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some(_) => {}
            }
        }
        let mut text = vec![0; length];
        self.output.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Asks, and answers what the server asks meanwhile: for its settings, which are an editor's defaults, but offline.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.send(json!({ "id": id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == id && message["method"].is_null() {
                assert!(message["error"].is_null(), "{message:#}");
                return message["result"].clone();
            }
            if !message["id"].is_null() && !message["method"].is_null() {
                let settings =
                    json!({ "completion": true, "validate": true, "hover": true, "schemaStore": { "enable": false } });
                let answer = match message["params"]["items"].as_array() {
                    Some(items) => {
                        let yaml = |item: &Value| if item["section"] == "yaml" { settings.clone() } else { json!({}) };
                        Value::Array(items.iter().map(yaml).collect())
                    }
                    None => Value::Null,
                };
                self.send(json!({ "id": message["id"], "result": answer }));
            }
        }
    }

    /// Opens a file, and asks what could stand where the `|` is: labels with their explanations.
    fn completions(&mut self, desk: &Desk, name: &str, text: &str) -> Vec<(String, String)> {
        let (before, after) = text.split_once('|').unwrap();
        let (line, column) = (before.matches('\n').count(), before.len() - before.rfind('\n').map_or(0, |at| at + 1));
        let text = format!("{before}{after}");
        desk.write(name, &text);
        let uri = format!("file://{}", desk.path(name).display());
        let document = json!({ "uri": uri, "languageId": "yaml", "version": 1, "text": text });
        self.send(json!({ "method": "textDocument/didOpen", "params": { "textDocument": document } }));
        let place = json!({ "line": line, "character": column });
        let found = self.ask("textDocument/completion", json!({ "textDocument": { "uri": uri }, "position": place }));
        let explanation = |item: &Value| match &item["documentation"] {
            Value::String(text) => text.clone(),
            other => other["value"].as_str().unwrap_or_default().to_string(),
        };
        let items = found["items"].as_array().or(found.as_array()).cloned().unwrap_or_default();
        items.iter().map(|item| (item["label"].as_str().unwrap_or_default().to_string(), explanation(item))).collect()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // One that ended by itself is as good.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

#[test]
fn an_editor_that_follows_the_first_line_completes_and_explains_our_keys() {
    let desk = Desk::new("lab: home\n");
    let printed = desk.run(&["schema"]).code(0).out;
    desk.write("lab.schema.json", &printed);
    let schema: Value = serde_json::from_str(&printed).unwrap();
    let of = |name: &str| schema["$defs"][name]["properties"].clone();
    let mut editor = Editor::new(&desk);
    let places = [
        ("top.yaml", "lab: home\n|", schema["properties"].clone(), &["owner", "network", "compute", "services"][..]),
        (
            "host.yaml",
            "lab: home\ncompute:\n  hosts:\n    docker-01:\n      zone: servers\n      |\n",
            of("Host"),
            &["address", "packages", "users", "files", "mounts", "sshd"],
        ),
        (
            "zone.yaml",
            "lab: home\nnetwork:\n  zones:\n    servers:\n      vlan: 20\n      |\n",
            of("Zone"),
            &["subnet", "interface"],
        ),
        (
            "service.yaml",
            "lab: home\nservices:\n  jellyfin:\n    on: docker-01\n    |\n",
            of("Service"),
            &["tier", "expose", "owner", "backup"],
        ),
    ];
    for (name, text, properties, keys) in places {
        let text = format!("# yaml-language-server: $schema=lab.schema.json\n{text}");
        let found = editor.completions(&desk, name, &text);
        for key in keys {
            let description =
                properties[key]["description"].as_str().unwrap_or_else(|| panic!("`{key}` is not explained"));
            let completed = found.iter().find(|(label, _)| label == key);
            let Some((_, explanation)) = completed else { panic!("`{key}` is not completed in {name}: {found:#?}") };
            assert!(explanation.contains(description), "`{key}` in {name} is explained as `{explanation}`");
        }
    }
    // It is our schema that is followed, and nothing else: without the first line nothing is known.
    let none = editor.completions(&desk, "plain.yaml", "lab: home\n|");
    assert!(!none.iter().any(|(label, _)| label == "compute"), "{none:?}");
}
