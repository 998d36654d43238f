//! The page in a real browser: headless Chromium, driven through `WebDriver`, on a server that is this program's own.
//!
//! Every view is looked at by what it says and by its console, which has to stay empty of errors. Screenshots are kept in
//! `target/screenshots`. The page has to have been built (`make web`): `make test` does.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the support is shared by several tests")]

mod support {
    pub(crate) mod process;
    pub(crate) mod program;
}

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
use support::{process::Process, program::vtflow};
use tempfile::TempDir;

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
struct Browser {
    client: Client,
    server: Process,
    console: PathBuf,
    directory: TempDir,
    _driver: Driver,
}

impl Browser {
    async fn open(fragment: &str, width: u32, is_dark: bool) -> Self {
        let server = Process::start(&["demo", "--serve", "--bind-address", "127.0.0.1", "--grpc-port", "0", "--port", "0"]);
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
                Err(_) if begun.elapsed() < Duration::from_secs(60) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => panic!("no browser: {error}"),
            }
        };
        let browser = Self { client, server, console, directory, _driver: driver };
        browser.go(fragment).await;
        browser
    }

    async fn go(&self, fragment: &str) {
        self.client.goto(&format!("http://{}/{fragment}", self.server.http)).await.unwrap();
        let ready = self.client.wait().at_most(Duration::from_secs(30)).for_element(Locator::Css("html[data-ready]")).await;
        assert!(ready.is_ok(), "the page is not ready: was it built (make web)? {}", self.client.source().await.unwrap());
    }

    /// All text of the page that a person sees.
    async fn text(&self) -> String {
        self.client.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
    }

    /// Waits until a text is seen.
    async fn sees(&self, wanted: &str) {
        let begun = Instant::now();
        loop {
            let text = self.text().await;
            if text.contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{wanted:?} is not there:\n{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn click(&self, css: &str) {
        self.client.wait().for_element(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    /// Writes into a field what is there not, as somebody who types would.
    async fn fill(&self, css: &str, text: &str) {
        let field = self.client.find(Locator::Css(css)).await.unwrap();
        let begun = Instant::now();
        while !field.is_displayed().await.unwrap() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{css} stays hidden");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Gives the page a file, as its own file chooser would.
    async fn give(&self, name: &str, content: &[u8]) {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        let chooser = self.client.find(Locator::Css("input[type=file]")).await.unwrap();
        chooser.send_keys(path.to_str().unwrap()).await.unwrap();
    }

    async fn screenshot(&self, name: &str) {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{name}.png")), self.client.screenshot().await.unwrap()).unwrap();
    }

    /// No wider than the window: nothing has to be scrolled sideways.
    async fn fits(&self) {
        let wide = self.client.execute("return document.documentElement.scrollWidth - innerWidth", Vec::new()).await.unwrap();
        assert!(wide.as_i64().unwrap() <= 0, "{wide} pixels too wide");
    }

    /// Ends it; nothing may have been complained of.
    async fn close(self) {
        let hosts = "return performance.getEntriesByType('resource').map(entry => new URL(entry.name).host)";
        let asked = self.client.execute(hosts, Vec::new()).await.unwrap();
        let own = self.server.http.to_string();
        assert!(asked.as_array().unwrap().iter().all(|host| host == own.as_str()), "another host was asked: {asked}");
        self.client.clone().close().await.unwrap();
        let log = fs::read_to_string(&self.console).unwrap_or_default();
        let said: Vec<&str> = log.lines().filter(|line| line.contains(":CONSOLE")).collect();
        assert!(said.is_empty(), "the console: {said:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_previewed_shared_and_refused_in_its_place() {
    let browser = Browser::open("", 1280, false).await;
    browser.sees("same as server").await;
    browser.sees("Round 3").await;
    browser.sees("select * from _vt.vreplication where db_name = 'vt_customer'").await;
    browser.screenshot("plan").await;

    browser.click("input[value=vexec]").await;
    browser.fill("input[name=workflow]", "move_big2").await;
    browser.fill("textarea", "update _vt.vreplication set state='Stopped' where id > 3").await;
    browser.sees("where id > 3 and db_name = 'vt_customer' and workflow = 'move_big2'").await;
    let added = "return [...document.querySelector('li:has(ins)').querySelectorAll('ins')].map(ins => ins.textContent.trim())";
    let added = browser.client.execute(added, Vec::new()).await.unwrap();
    assert_eq!(added, json!(["and db_name = 'vt_customer'", "and workflow = 'move_big2'"]), "what was added is marked");
    browser.screenshot("plan-vexec").await;

    let link = browser.client.current_url().await.unwrap();
    browser.fill("textarea", "update _vt.vreplication set stete='Stopped'").await;
    browser.sees("_vt.vreplication has no column stete").await;
    browser.sees("did you mean state?").await;
    let mark = browser.client.find(Locator::Css(".refusal mark")).await.unwrap().text().await.unwrap();
    assert_eq!(mark, "stete", "at its place");
    browser.screenshot("plan-refused").await;

    // Somebody else opens the link.
    let fragment = format!("#{}", link.fragment().unwrap());
    let other = Browser::open(&fragment, 1280, false).await;
    other.sees("where id > 3 and db_name = 'vt_customer' and workflow = 'move_big2'").await;
    other.close().await;

    for (kind, field, value, wanted) in [
        ("update", "input[name=workflow]", "sales_mat", "These are the reads before the change"),
        ("delete", "input[name=workflow]", "sales_mat", "These are the reads before the change"),
        ("migration", "input[name=uuid]", "all", "schema_migrations"),
        ("migrations", "input[name=uuid]", "", "schema_migrations"),
        ("workflows", "input[name=keyspace]", "nowhere", "node doesn't exist"),
    ] {
        browser.click(&format!("input[value={kind}]")).await;
        browser.fill(field, value).await;
        browser.sees(wanted).await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_replayed_and_drawn() {
    let browser = Browser::open("#replay", 1280, false).await;
    browser.sees("replayed here").await;
    let bands = browser.client.find_all(Locator::Css("details[open] .band")).await.unwrap();
    assert_eq!(bands.len(), 4, "a band for each stream of the first workflow");
    browser.screenshot("replay").await;
    let open = "document.querySelector('details[open] .band').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}))";
    browser.client.execute(open, Vec::new()).await.unwrap();
    browser.sees("Unknown column 'price'").await;
    browser.sees("workflow_type").await;
    browser.screenshot("replay-stream").await;
    browser.click(".bars li:nth-child(8) button").await;
    browser.sees("round 3, answered in").await;

    // A trace of another run, of the same planner.
    let file = browser.directory.path().join("mine.trace");
    vtflow(&["--demo", "get", "migrations", "customer", "--trace", file.to_str().unwrap()]);
    let content = fs::read(&file).unwrap();
    browser.give("given.trace", &content).await;
    browser.sees("the same planner, the same reply, byte for byte").await;
    browser.sees("Schema migrations").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_said_to_be_garbage_and_nothing_is_lost() {
    let browser = Browser::open("#replay", 1280, false).await;
    browser.sees("move_big2").await;
    for (name, content, wanted) in [
        ("noise.json", &b"\x00\xff\xfe"[..], "noise.json cannot be opened: it is no JSON"),
        ("empty.json", b"", "empty.json cannot be opened: it is empty"),
        ("other.json", b"{\"a\": 1}", "it is neither a trace (made with --trace) nor a snapshot's topo.json"),
        ("later.json", b"{\"vtflow_trace\": 99}", "it is a trace of a later vtflow"),
    ] {
        browser.give(name, content).await;
        browser.sees(wanted).await;
        browser.sees("Nothing was changed").await;
        browser.sees("move_big2").await;
    }
    browser.give("damaged.json", b"{\"vtflow_trace\": 1, \"call\": {}}").await;
    browser.sees("This trace cannot be replayed").await;
    browser.client.execute("location.hash = 'plan?kind=vexec&sql=%00%00((((&keyspace=%F0%9F'", Vec::new()).await.unwrap();
    browser.sees("syntax error").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_seen_alive_on_a_phone_and_in_the_dark() {
    let browser = Browser::open("#live?keyspace=customer", 360, true).await;
    browser.sees("move_big2").await;
    browser.sees("the same planner, the same reply, byte for byte").await;
    browser.fits().await;
    browser.screenshot("live-360-dark").await;
    let background = "return getComputedStyle(document.body).backgroundColor";
    let dark = browser.client.execute(background, Vec::new()).await.unwrap();
    browser.click("#theme").await;
    assert_ne!(browser.client.execute(background, Vec::new()).await.unwrap(), dark, "light now");
    browser.click("#theme").await;
    assert_eq!(browser.client.execute(background, Vec::new()).await.unwrap(), dark, "and dark again");
    for view in ["#plan", "#replay"] {
        browser.client.execute(&format!("location.hash = '{view}'"), Vec::new()).await.unwrap();
        browser.sees(if view == "#plan" { "Round 3" } else { "replayed here" }).await;
        browser.fits().await;
        browser.screenshot(&format!("{}-360-dark", &view[1..])).await;
    }
    browser.client.execute("location.hash = 'live?keyspace=customer'", Vec::new()).await.unwrap();
    browser.sees("again every 5 s").await;
    browser.server.signal("-STOP");
    tokio::time::sleep(Duration::from_millis(50)).await;
    browser.server.signal("-CONT");
    browser.sees("move_big2").await;
    browser.close().await;
}
