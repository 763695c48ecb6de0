//! A real Chromium without window, driven over the WebDriver protocol (W3C) through `chromedriver`.
//!
//! Its microphone is a WAV file. It depends on nothing but the standard library and `serde_json`, so that other tests can use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How a browser starts.
#[derive(Default)]
pub struct Options<'a> {
    /// What its microphone hears, again and again.
    pub microphone: Option<&'a Path>,
    /// Refuses the microphone, as a user may.
    pub microphone_refused: bool,
    /// Width and height of its window.
    pub window: Option<(u32, u32)>,
    /// Dark colours.
    pub dark: bool,
}

/// A browser with one page. It ends when dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

/// The key of an element's reference in WebDriver (W3C, section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Browser {
    /// Starts a browser. `None`, with a line that says so, when none is installed;
    /// with `RECHKA_TEST_REQUIRE_ALL=1` that is a failure.
    pub fn start(options: &Options<'_>) -> Option<Self> {
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = match spawned {
            Ok(driver) => driver,
            Err(error) if std::env::var("RECHKA_TEST_REQUIRE_ALL").as_deref() == Ok("1") => {
                panic!("chromedriver: {error}; install it with `apt-get install chromium chromium-driver`")
            }
            Err(error) => {
                eprintln!("skipped: chromedriver: {error}; install it with `apt-get install chromium chromium-driver`");
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver tells its port").unwrap();
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        // Its pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let (width, height) = options.window.unwrap_or((1280, 860));
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--use-fake-device-for-media-stream".into(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        arguments.push(if options.microphone_refused {
            "--deny-permission-prompts".into()
        } else {
            "--use-fake-ui-for-media-stream".into()
        });
        if let Some(path) = options.microphone {
            arguments.push(format!("--use-file-for-fake-audio-capture={}", path.display()));
        }
        if options.dark {
            arguments.push("--blink-settings=preferredColorScheme=0".into());
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let started = browser.ask("POST", "/session", Some(wanted));
        browser.session = started["sessionId"].as_str().expect("a session").to_owned();
        if let Some((width, height)) = options.window {
            // Narrower than a window can be: what the page sees is what counts.
            let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
            browser.chromium("Emulation.setDeviceMetricsOverride", metrics);
        }
        Some(browser)
    }

    /// Opens an address, and waits until it is loaded.
    pub fn open(&self, address: &str) {
        self.command("POST", "/url", Some(json!({"url": address})));
    }

    /// Runs a function's body in the page, and gives what it returns.
    pub fn run(&self, body: &str) -> Value {
        self.command("POST", "/execute/sync", Some(json!({"script": body, "args": []})))
    }

    /// Waits until an expression is true in the page.
    pub fn wait_for(&self, expression: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.run(&format!("return Boolean({expression})")) != true {
            if Instant::now() > until {
                let text = self.run("return document.body.innerText");
                panic!("never true: {expression}\nlog: {:?}\npage: {text}", self.log());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Clicks as a user does: what is clicked must be visible, and not be covered.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.command("POST", &format!("/element/{element}/click"), Some(json!({})));
    }

    /// Types into an element; into a file input: paths of files.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command(
            "POST",
            &format!("/element/{element}/value"),
            Some(json!({"text": text})),
        );
    }

    /// The visible text of the first element that fits.
    pub fn text(&self, selector: &str) -> String {
        let element = self.element(selector);
        let text = self.command("GET", &format!("/element/{element}/text"), None);
        text.as_str().unwrap().to_owned()
    }

    /// What the page and the browser complained about: scripts that failed, files that were missing, policies that were violated.
    pub fn log(&self) -> Vec<String> {
        let entries = self.command("POST", "/se/log", Some(json!({"type": "browser"})));
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|entry| format!("{}: {}", entry["level"], entry["message"]))
            .collect()
    }

    /// Writes a picture of the window as PNG.
    pub fn screenshot(&self, path: &Path) {
        let picture = self.command("GET", "/screenshot", None);
        std::fs::write(path, decode_base64(picture.as_str().unwrap())).unwrap();
    }

    /// A command of Chromium's own protocol.
    pub fn chromium(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.command("POST", "/goog/cdp/execute", Some(body))
    }

    fn element(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.command("POST", "/element", Some(wanted));
        found[ELEMENT]
            .as_str()
            .unwrap_or_else(|| panic!("no element {selector}: {found}"))
            .to_owned()
    }

    fn command(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = body.map_or(String::new(), |body| body.to_string());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.port,
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].take();
        assert!(
            value["error"].is_null(),
            "{method} {path}: {} {}",
            value["error"],
            value["message"]
        );
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium itself ends with its session; a failed test must not leave it behind.
        if !self.session.is_empty() {
            let end = std::panic::AssertUnwindSafe(|| self.command("DELETE", "", None));
            drop(std::panic::catch_unwind(end));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() * 3 / 4), 0_u32, 0);
    for value in text
        .bytes()
        .filter_map(|letter| LETTERS.iter().position(|known| *known == letter))
    {
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
