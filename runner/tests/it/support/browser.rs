//! Headless Chromium, driven through `WebDriver`, on the page of a server that is this program's own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::Process;

/// Longer than anything takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

struct Driver {
    process: Child,
    port: u16,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn driver() -> Driver {
    let port = free_port();
    let process = Command::new("chromedriver")
        .args([format!("--port={port}"), "--silent".to_owned()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver, of Debian's chromium-driver");
    Driver { process, port }
}

/// A browser, the server that its page comes from, and what its console said.
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) server: Process,
    /// Where the page comes from.
    pub(crate) host: String,
    console: PathBuf,
    pub(crate) directory: TempDir,
    _driver: Driver,
}

impl Browser {
    /// On the demo.
    pub(crate) async fn open(fragment: &str, width: u32, is_dark: bool) -> Self {
        Self::open_on(&["demo", "--serve"], fragment, width, is_dark).await
    }

    /// On a cluster of one's own: the command that serves it.
    pub(crate) async fn open_on(command: &[&str], fragment: &str, width: u32, is_dark: bool) -> Self {
        let server = Process::start(&[command, &["--bind-address", "127.0.0.1", "--grpc-port", "0", "--port", "0"]].concat());
        let driver = driver();
        let directory = TempDir::new().unwrap();
        let console = directory.path().join("console");
        let mut args = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--enable-logging".to_owned(),
            format!("--log-file={}", console.display()),
            format!("--user-data-dir={}", directory.path().join("profile").display()),
            format!("--window-size={width},1000"),
        ];
        if is_dark {
            args.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let mut options = json!({ "args": args });
        if width < 500 {
            // No window is that narrow.
            options["mobileEmulation"] = json!({ "deviceMetrics": { "width": width, "height": 800, "pixelRatio": 1.0 } });
        }
        let Value::Object(capabilities) = json!({ "goog:chromeOptions": options }) else { unreachable!() };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let begun = Instant::now();
        let client = loop {
            match builder.connect(&format!("http://127.0.0.1:{}", driver.port)).await {
                Ok(client) => break client,
                Err(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => panic!("no browser: {error}"),
            }
        };
        let host = server.http.to_string();
        let browser = Self { client, server, host, console, directory, _driver: driver };
        browser.go(fragment).await;
        browser
    }

    pub(crate) async fn go(&self, fragment: &str) {
        self.client.goto(&format!("http://{}/{fragment}", self.host)).await.unwrap();
        let ready = self.client.wait().at_most(PATIENCE).for_element(Locator::Css("html[data-ready]")).await;
        assert!(ready.is_ok(), "the page is not ready: was it built (make web)? {}", self.client.source().await.unwrap());
    }

    /// All text of the page that a person sees.
    pub(crate) async fn text(&self) -> String {
        self.client.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
    }

    /// Waits until a text is seen.
    pub(crate) async fn sees(&self, wanted: &str) {
        let begun = Instant::now();
        loop {
            let text = self.text().await;
            if text.contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{wanted:?} is not there:\n{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn click(&self, css: &str) {
        self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    /// Writes into a field what is there not, as somebody who types would.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.client.find(Locator::Css(css)).await.unwrap();
        let begun = Instant::now();
        while !field.is_displayed().await.unwrap() {
            assert!(begun.elapsed() < PATIENCE, "{css} stays hidden");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Gives the page a file, as its own file chooser would.
    pub(crate) async fn give(&self, name: &str, content: &[u8]) {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        let chooser = self.client.find(Locator::Css("input[type=file]")).await.unwrap();
        chooser.send_keys(path.to_str().unwrap()).await.unwrap();
    }

    pub(crate) async fn screenshot(&self, name: &str) {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{name}.png")), self.client.screenshot().await.unwrap()).unwrap();
    }

    /// No wider than the window: nothing has to be scrolled sideways.
    pub(crate) async fn fits(&self) {
        let wide = self.client.execute("return document.documentElement.scrollWidth - innerWidth", Vec::new()).await.unwrap();
        assert!(wide.as_i64().unwrap() <= 0, "{wide} pixels too wide");
    }

    /// Ends it; nothing may have been complained of.
    pub(crate) async fn close(self) {
        let hosts = "return performance.getEntriesByType('resource').map(entry => new URL(entry.name).host)";
        let asked = self.client.execute(hosts, Vec::new()).await.unwrap();
        assert!(asked.as_array().unwrap().iter().all(|host| host == self.host.as_str()), "another host was asked: {asked}");
        self.client.clone().close().await.unwrap();
        let log = fs::read_to_string(&self.console).unwrap_or_default();
        let said: Vec<&str> = log.lines().filter(|line| line.contains(":CONSOLE")).collect();
        assert!(said.is_empty(), "the console: {said:#?}");
    }

    /// Drops a file on the page.
    pub(crate) async fn drop_file(&self, name: &str, content: &str) {
        let script = "const [name, content] = arguments; const dataTransfer = new DataTransfer();\
                      dataTransfer.items.add(new File([content], name));\
                      const drop = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true });\
                      document.body.dispatchEvent(drop); return drop.defaultPrevented";
        let taken = self.client.execute(script, vec![json!(name), json!(content)]).await.unwrap();
        assert_eq!(taken, json!(true), "the browser would open the file itself");
    }

    /// Chooses an option.
    pub(crate) async fn choose(&self, css: &str, value: &str) {
        self.client.find(Locator::Css(css)).await.unwrap().select_by_value(value).await.unwrap();
    }

    /// Calls a function that the page's planner exports.
    pub(crate) async fn planner(&self, function: &str, arguments: Vec<Value>) -> Value {
        let script = "const [name, given, done] = arguments; import('./pkg/vtflow_web.js')\
                      .then(async planner => { await planner.default(); done({ ok: planner[name](...given) }) })\
                      .catch(error => done({ failed: String(error) }))";
        let mut said = self.client.execute_async(script, vec![json!(function), json!(arguments)]).await.unwrap();
        assert!(said["failed"].is_null(), "{function}: {said}");
        said["ok"].take()
    }
}
