//! The page in a real browser: headless Chromium, driven through `WebDriver`, on a server that is this program's own.
//!
//! Every view is looked at by what it says and by its console, which has to stay empty of errors. Screenshots are kept in
//! `target/screenshots`. The page has to have been built (`make web`): `make test` does.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    time::Duration,
};

use crate::support::{
    browser::Browser,
    program::{recorded, vtflow},
};
use fantoccini::Locator;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_previewed_shared_and_refused_in_its_place() {
    let browser = Browser::open("", 1280, false).await;
    browser.sees("same as server").await;
    browser.sees("Round 3").await;
    browser.sees("_vt.vreplication where db_name = 'vt_customer' order by id limit 2000").await;
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
    let headings = "return [...document.querySelectorAll('table.list thead th')].map(cell => cell.textContent)";
    let headings = browser.client.execute(headings, Vec::new()).await.unwrap();
    let terminal = vtflow(&["--demo", "get", "migrations", "customer"]).stdout;
    let columns: Vec<&str> = terminal.lines().next().unwrap().split_whitespace().collect();
    let shown: Vec<String> = headings.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_uppercase()).collect();
    assert_eq!(shown, columns, "the columns of the terminal");

    // What is missing comes with what to try.
    let file = browser.directory.path().join("down.trace");
    let (file_name, down) = (file.to_str().unwrap(), "zone1-0000000200");
    let there = vtflow(&["demo", "--shards", "2", "--down", down, "get", "workflows", "customer", "--trace", file_name]);
    assert!(there.stderr.contains("try: vtctldclient PingTablet"), "{}", there.stderr);
    browser.give("down.trace", &fs::read(&file).unwrap()).await;
    browser.sees("1 thing is missing from this:").await;
    browser.sees("try: vtctldclient PingTablet zone1-0000000200").await;
    browser.screenshot("replay-missing").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_made_over_the_topology_that_is_chosen() {
    let browser = Browser::open("", 1280, false).await;
    browser.sees("Round 3").await;
    let ready = browser.client.execute("return performance.getEntriesByName('ready')[0].startTime", Vec::new()).await.unwrap();
    println!("the page was ready after {:.0} ms", ready.as_f64().unwrap());

    // A recorded cluster's, dropped on the page.
    let topology = fs::read_to_string(recorded("mixed-releases").join("topo.json")).unwrap();
    browser.drop_file("topo.json", &topology).await;
    browser.sees("topo.json").await;
    browser.fill("input[name=keyspace]", "mixed").await;
    browser.sees("zone1-0000000620").await;
    browser.screenshot("plan-dropped").await;

    // The server's.
    browser.fill("input[name=keyspace]", "customer").await;
    browser.choose("select[name=topology]", "server").await;
    browser.sees("zone1-0000000200").await;
    let link = browser.client.current_url().await.unwrap();
    assert!(link.fragment().unwrap().contains("topology=server"), "{link}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_works_on_a_static_host() {
    let mut browser = Browser::open("", 1280, false).await;
    browser.host = static_host(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/page")));
    browser.go("").await;
    browser.sees("Round 3").await;
    assert!(!browser.text().await.contains("same as server"), "there is none");
    browser.go("#plan?kind=vexec&keyspace=customer&workflow=move_big2&sql=delete%20from%20_vt.vreplication").await;
    browser.sees("delete from _vt.vreplication where db_name = 'vt_customer' and workflow = 'move_big2'").await;
    browser.go("#replay").await;
    browser.sees("replayed here").await;
    browser.screenshot("static-replay").await;
    browser.close().await;
}

/// Serves a folder as the plainest of hosts does: its address.
fn static_host(folder: &'static Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 8192];
            let length = connection.read(&mut request).unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').split(['?', '#']).next().unwrap().to_owned();
            let path = if path.is_empty() { "index.html" } else { &path };
            let kind = match path.rsplit('.').next().unwrap() {
                "html" => "text/html",
                "js" => "text/javascript",
                "css" => "text/css",
                "wasm" => "application/wasm",
                "svg" => "image/svg+xml",
                _ => "application/json",
            };
            let (status, body) = fs::read(folder.join(path)).map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body)).ok();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_said_to_be_garbage_and_nothing_is_lost() {
    let browser = Browser::open("#replay", 1280, false).await;
    browser.sees("move_big2").await;
    for (name, content, wanted) in [
        ("noise.json", &b"\x00\xff\xfe"[..], "noise.json cannot be opened: it is no JSON"),
        ("empty.json", b"", "empty.json cannot be opened: it is empty"),
        (
            "other.json",
            b"{\"a\": 1}",
            "it is neither a trace (made with --trace), a rehearsal (--rehearse -o json) nor a snapshot's topo.json",
        ),
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
async fn live_opens_on_all_keyspaces_with_trouble_first() {
    let browser = Browser::open("#live", 1280, false).await;
    browser.sees("All keyspaces, read at").await;
    let first = "return [...document.querySelectorAll('table.overview tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))";
    let rows = browser.client.execute(first, Vec::new()).await.unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows[0][0], "customer", "trouble first: {rows:?}");
    assert!(rows[0][2].as_str().unwrap().ends_with("in trouble"), "{rows:?}");
    assert!(rows.iter().any(|row| row[0] == "move_big2" && row[3].as_str().unwrap().contains("Unknown column")), "{rows:?}");
    assert!(rows.iter().any(|row| row[0] == "commerce"), "none is left out: {rows:?}");
    let headings = "return [...document.querySelectorAll('table.overview thead th:nth-child(2)')].map(cell => cell.textContent)";
    let headings = browser.client.execute(headings, Vec::new()).await.unwrap();
    assert_eq!(headings, json!(["Workflows", "Migrations"]), "of each keyspace both");
    assert_eq!(rows.iter().filter(|row| row[0] == "commerce").count(), 2, "{rows:?}");
    browser.screenshot("live-overview").await;
    browser.click("table.overview a[href='#live?keyspace=commerce']").await;
    browser.sees("No workflows in keyspace commerce.").await;
    browser.screenshot("live-empty").await;
    browser.click("nav.keyspaces button:first-child").await;
    browser.sees("All keyspaces, read at").await;
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
