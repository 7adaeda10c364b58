//! Debian's Chromium without a window, told what to do by ChromeDriver over WebDriver.

use std::{fs, path::Path, process::Command};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{program::Program, wait::wait_for};

/// How WebDriver names the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// What Chromium needs to run in a container as root.
const SANDBOX: [&str; 4] = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"];

/// A Chromium that runs until it is dropped.
pub struct Browser {
    driver: Program,
    session: String,
}

impl Browser {
    /// Starts one that keeps everything its console says.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one in which no page runs a script; only [`Browser::html`] and pictures tell what it shows.
    ///
    /// # Panics
    /// As [`Browser::start`].
    pub fn start_without_scripts() -> Self {
        Self::start_with(&["--blink-settings=scriptEnabled=false"])
    }

    fn start_with(more: &[&str]) -> Self {
        let driver = Program::start(|folder, address| {
            let mut command = Command::new("chromedriver");
            command.arg(format!("--port={}", address.port())).env("HOME", folder);
            command
        });
        let mut browser = Self { driver, session: String::new() };
        let arguments = [&SANDBOX[..], more].concat();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let opened = browser.post("", &wanted);
        browser.session = opened["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    fn url(&self, command: &str) -> String {
        match self.session.as_str() {
            "" => format!("http://{}/session", self.driver.address),
            session => format!("http://{}/session/{session}{command}", self.driver.address),
        }
    }

    fn post(&self, command: &str, told: &Value) -> Value {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.post(self.url(command)).send(told.to_string()).expect("ChromeDriver answers");
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().expect("as text");
        let mut answer: Value = serde_json::from_str(&text).expect("as JSON");
        assert!(answer["value"]["error"].is_null(), "{command} {told}: {answer}");
        answer["value"].take()
    }

    /// A command of Chromium's own protocol.
    ///
    /// # Panics
    /// When it fails.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Goes to an address and waits until it is loaded.
    ///
    /// # Panics
    /// When that fails.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The page as it stands, whether or not it may run scripts.
    ///
    /// # Panics
    /// When ChromeDriver fails.
    pub fn html(&self) -> String {
        let document = self.devtools("DOM.getDocument", &json!({ "depth": 0 }));
        let root = json!({ "nodeId": document["root"]["nodeId"] });
        let told = self.devtools("DOM.getOuterHTML", &root);
        told["outerHTML"].as_str().expect("the page").to_owned()
    }

    /// What this expression of JavaScript is.
    ///
    /// # Panics
    /// When it throws.
    pub fn value(&self, expression: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": format!("return {expression};"), "args": [] }))
    }

    /// The text that a reader sees of the first element that fits; empty when none does.
    ///
    /// # Panics
    /// When ChromeDriver fails.
    pub fn text(&self, selector: &str) -> String {
        let shown = self.value(&format!("document.querySelector({selector:?})?.innerText ?? ''"));
        shown.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements fit.
    ///
    /// # Panics
    /// When ChromeDriver fails.
    pub fn count(&self, selector: &str) -> u64 {
        self.value(&format!("document.querySelectorAll({selector:?}).length")).as_u64().expect("a number")
    }

    /// Clicks, as a reader does.
    ///
    /// # Panics
    /// When there is no such element, or it cannot be clicked.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Writes into a field, as a reader does.
    ///
    /// # Panics
    /// When there is no such field.
    pub fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it does not become so.
    pub fn wait_until(&self, expression: &str) {
        wait_for(format!("{expression} in the browser"), || {
            (self.value(expression) == json!(true)).then_some(())
        });
    }

    /// Takes the width of a screen, in pixels, and its scheme: dark or light.
    ///
    /// # Panics
    /// When ChromeDriver fails.
    pub fn screen(&self, width: u32, is_dark: bool) {
        let screen = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Draws the whole page into a file.
    ///
    /// # Panics
    /// When that fails.
    pub fn draw(&self, file: &Path) {
        let metrics = self.devtools("Page.getLayoutMetrics", &json!({}));
        let size = &metrics["cssContentSize"];
        let height = size["height"].as_f64().unwrap_or(900.0).clamp(900.0, 3000.0);
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1 });
        let wanted = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let drawn = self.devtools("Page.captureScreenshot", &wanted);
        let bytes = BASE64_STANDARD.decode(drawn["data"].as_str().expect("a picture")).expect("in base64");
        fs::write(file, bytes).expect("the picture is kept");
    }

    /// What the console said since this was last asked.
    ///
    /// # Panics
    /// When ChromeDriver fails.
    pub fn console(&self) -> Vec<String> {
        let told = self.post("/se/log", &json!({ "type": "browser" }));
        told.as_array().expect("lines").iter().map(Value::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Whether it hears this or not, the driver ends next.
        ureq::delete(self.url("")).call().ok();
    }
}
