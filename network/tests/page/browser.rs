//! Chromium without a window, driven over its debugging pipe.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// When this environment variable is set, and not to 0, a test fails where there is no Chromium.
pub(crate) const REQUIRE_CHROMIUM: &str = "FL_REQUIRE_CHROMIUM";

/// How long the browser may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
/// A browser of its own, which asks nobody for anything but the page.
const FLAGS: [&str; 12] = [
    "--headless",
    // It sees no page but the relay's; as root it has no sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-breakpad",
    "--no-first-run",
    "--lang=en-US",
    "--remote-debugging-pipe",
];
/// The browser reads messages from descriptor 3 and writes them to descriptor 4.
const WITH_PIPES: &str = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

/// A browser with one page in it.
pub(crate) struct Browser {
    process: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    session: Option<String>,
    serial: u64,
    /// What went wrong in the page, in the browser's words.
    complaints: Vec<String>,
    profile: TempDir,
}

impl Browser {
    /// Starts a browser with an empty page. Without Chromium a test is skipped, loudly, or fails
    /// where Chromium is required.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = find() else {
            let required = std::env::var_os(REQUIRE_CHROMIUM).is_some_and(|value| value != "0");
            let names = NAMES.join(", ");
            assert!(
                !required,
                "{REQUIRE_CHROMIUM}=1, but none of {names} is here"
            );
            eprintln!("SKIPPED: none of {names} is here (apt install chromium)");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let output = fs::File::create(profile.path().join("stderr")).unwrap();
        let mut process = Command::new("sh")
            .args(["-c", WITH_PIPES, "sh"])
            .arg(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let mut from = BufReader::new(process.stdout.take().unwrap());
        let (heard, answers) = mpsc::channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while from.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let told = heard.send(serde_json::from_slice(&message).unwrap());
                if told.is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            process,
            requests,
            answers,
            session: None,
            serial: 0,
            complaints: Vec::new(),
            profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Opens a page.
    pub(crate) fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", &json!({"url": url}));
        assert!(opened.get("errorText").is_none(), "{opened}");
    }

    /// Makes the window so wide, in pixels, and asks for a dark page or a light one.
    pub(crate) fn show_as(&mut self, width: u32, dark: bool) {
        let mobile = width < 600;
        let metrics = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile,
        });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let screen = json!({"media": "", "features": features});
        self.call("Emulation.setEmulatedMedia", &screen);
        self.wait_until_drawn();
    }

    /// Shows the page as it is printed on paper so wide, in pixels of 1/96 inch.
    pub(crate) fn show_printed(&mut self, width: u32) {
        self.show_as(width, false);
        self.call("Emulation.setEmulatedMedia", &json!({"media": "print"}));
        self.wait_until_drawn();
    }

    fn wait_until_drawn(&mut self) {
        // What has to be drawn anew is.
        self.eval("new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn, 50)))");
    }

    /// Returns the value of an expression, or what its promise brings.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let evaluate = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let evaluated = self.call("Runtime.evaluate", &evaluate);
        let fault = evaluated.get("exceptionDetails");
        assert!(fault.is_none(), "{expression}: {evaluated}");
        evaluated["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let wait = format!(
            "(async () => {{
                for (let i = 0; i < 600; i += 1) {{
                    if ({expression}) return true;
                    await new Promise((done) => setTimeout(done, 50));
                }}
                return document.body.innerText;
            }})()"
        );
        let came = self.eval(&wait);
        assert_eq!(
            came,
            true,
            "{expression} does not come true:\n{}",
            came.as_str().unwrap_or_default()
        );
    }

    /// Returns the page as assistive technology gets it, without what that leaves out.
    pub(crate) fn accessibility_tree(&mut self) -> Vec<Value> {
        let mut tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let Value::Array(nodes) = tree["nodes"].take() else {
            panic!("{tree}");
        };
        let nodes = nodes.into_iter().filter(|node| node["ignored"] != true);
        nodes.collect()
    }

    /// Returns what went wrong in the page since this was last asked: exceptions, errors, what the
    /// page's own policy forbids.
    pub(crate) fn take_complaints(&mut self) -> Vec<String> {
        // Whatever was said before this answer has arrived with it.
        self.eval("0");
        std::mem::take(&mut self.complaints)
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.serial += 1;
        let mut request = json!({"id": self.serial, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let request = format!("{request}\0");
        let _ = self.requests.write_all(request.as_bytes());
        loop {
            let Ok(mut message) = self.answers.recv_timeout(PATIENCE) else {
                let output = fs::read_to_string(self.profile.path().join("stderr"));
                panic!("{method} is not answered: {}", output.unwrap_or_default());
            };
            if message["id"] == self.serial {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.listen(&message);
        }
    }

    fn listen(&mut self, event: &Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => params["exceptionDetails"].to_string(),
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                params["entry"].to_string()
            }
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => params.to_string(),
            _ => return,
        };
        self.complaints.push(complaint);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let programs = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    programs.into_iter().find(|program| program.is_file())
}
