//! What the page shows of the traffic of workflows, in a real browser: the diagnosis, the steps of a change, a rehearsal.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{
    browser::Browser,
    program::{recorded, vtflow},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use fantoccini::Locator;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn live_says_what_is_wrong_with_the_traffic_and_what_puts_it_right() {
    let browser = Browser::open("#live?show=diagnosis", 1400, false).await;
    browser.sees("Diagnosis of all keyspaces, read at").await;
    // The words are the terminal's.
    let terminal = vtflow(&["--demo", "diagnose", "-o", "json"]).json();
    assert_eq!(terminal["workflows"][0]["deviations"][0]["mechanism"], "completion_interrupted", "{terminal}");
    browser.sees("✗ 3 deviations, 2 of 4 workflows affected").await;
    browser.sees("nobody: its tables are the target's, by its vschema; streams that stand still are left").await;
    browser.sees("completing ended after it had deleted the routing rules").await;
    browser.sees("not looked at: binary logs that replicas have purged").await;
    let commands = "return [...document.querySelectorAll('.way code')].map(code => code.textContent)";
    let commands = browser.client.execute(commands, Vec::new()).await.unwrap();
    assert_eq!(commands, json!(["vtflow workflow complete customer commerce2customer"]));
    browser.screenshot("live-diagnosis").await;

    // By the keyboard: all of a keyspace, then one workflow of it.
    let press = "document.querySelector('nav.keyspaces button:nth-child(3)').focus(); return document.activeElement.textContent";
    assert_eq!(browser.client.execute(press, Vec::new()).await.unwrap(), "customer");
    browser.client.active_element().await.unwrap().send_keys("\u{e007}").await.unwrap();
    browser.sees("Diagnosis of customer, read at").await;
    browser.click(".workflow.trouble a").await;
    browser.sees("Diagnosis of customer.commerce2customer, read at").await;
    browser.sees("✗ 1 deviation, 1 of 1 workflow affected").await;
    let link = browser.client.current_url().await.unwrap();
    assert_eq!(link.fragment(), Some("live?keyspace=customer&show=diagnosis&workflow=commerce2customer"));

    browser
        .client
        .execute("location.hash = 'live?keyspace=customer&show=diagnosis&workflow=move_audit'", Vec::new())
        .await
        .unwrap();
    browser.sees("✓ healthy: 1 workflow, nothing wrong").await;
    browser.sees("Looked at, and well").await;
    browser.screenshot("live-diagnosis-healthy").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diagnosis_on_a_phone_names_what_could_not_be_read() {
    let command = ["demo", "--serve", "--shards", "2", "--down", "zone1-0000000200"];
    let browser = Browser::open_on(&command, "#live?keyspace=customer&show=diagnosis", 375, true).await;
    browser.sees("not known").await;
    browser.sees("zone1-0000000200").await;
    browser.fits().await;
    browser.screenshot("live-diagnosis-375-dark").await;
    browser.close().await;
}

/// Also of a workflow with a name that a page, a shell or a screen might obey.
#[tokio::test(flavor = "multi_thread")]
async fn a_diagnosis_out_of_a_trace_obeys_nothing_in_it() {
    let browser = Browser::open("#replay", 1400, false).await;
    let file = browser.directory.path().join("mine.trace");
    vtflow(&["--demo", "diagnose", "customer", "--trace", file.to_str().unwrap()]);
    let trace = fs::read(&file).unwrap();
    browser.give("given.trace", &trace).await;
    browser.sees("the same planner, the same reply, byte for byte").await;
    browser.sees("✗ 3 deviations, 2 of 4 workflows affected").await;
    assert!(browser.client.find(Locator::Css(".workflow a")).await.is_err(), "no way to a cluster that may not be there");
    browser.screenshot("replay-diagnosis").await;

    // As long as the name that it takes the place of, within the rows as the tablets sent them.
    let (name, hostile) = ("commerce2customer", "<i id=h>\u{202e}abcdef");
    assert_eq!(name.len(), hostile.len());
    let mut document: serde_json::Value = serde_json::from_slice(&trace).unwrap();
    replace(&mut document, name, hostile);
    browser.give("hostile.trace", &serde_json::to_vec(&document).unwrap()).await;
    browser.sees(r"customer.<i id=h>\u{202e}abcdef").await;
    assert!(browser.client.find(Locator::Css("#h")).await.is_err(), "it is a text");
    let commands = "return [...document.querySelectorAll('.way code')].map(code => code.textContent)";
    let commands = browser.client.execute(commands, Vec::new()).await.unwrap();
    assert_eq!(commands, json!([r"vtflow workflow complete customer $'<i id=h>\342\200\256abcdef'"]), "and one word for a shell");
    browser.close().await;
}

/// A recorded cluster of which the reads of a workflow are switched.
fn switched_reads() -> String {
    recorded("movetables-reads-switched").to_str().unwrap().to_owned()
}

/// What is on the screen of a plan: the steps, whether writes are refused at each, and the marks between them.
async fn steps_of(browser: &Browser) -> Vec<String> {
    let script = "return [...document.querySelectorAll('.steps .mark, .steps b')].map(it => \
                  (it.closest('.refusing') && it.tagName === 'B' ? '! ' : '') + it.textContent)";
    let found = browser.client.execute(script, Vec::new()).await.unwrap();
    found.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_workflow_is_shown_step_by_step_before_anybody_begins_it() {
    let snapshot = switched_reads();
    let command = ["serve", "--snapshot", snapshot.as_str()];
    let browser = Browser::open_on(&command, "#live?keyspace=customer", 1400, false).await;
    browser.sees("What a change would touch").await;
    browser.client.execute("document.querySelector('.workflow a:nth-of-type(2)').click()", Vec::new()).await.unwrap();
    browser.sees("Switch customer.move1: what it would touch; nothing is changed").await;
    browser.sees("This moves replica, rdonly reads and writes of customer.move1 to customer, in 13 steps").await;
    let steps = [
        "1. refresh tablets",
        "2. check permissions",
        "from here writes to corder, customer on commerce/0 are refused",
        "! 3. stop writes on the source",
        "! 4. wait for running statements",
        "! 5. wait for the streams and stop them",
        "! 6. read the target's positions",
        "! 7. create the reverse streams",
        "up to here a failure takes back what was done; from here it goes on, or is finished by the same command",
        "! 8. write the journal",
        "! 9. switch writes",
        "from here they are taken again",
        "10. delete old reverse streams",
        "11. start the reverse streams",
        "12. freeze the streams",
        "13. tell the other tablets",
    ];
    assert_eq!(steps_of(&browser).await, steps);
    browser.sees("zone1-0000000200  customer/-80  VReplicationWaitForPos of stream 1").await;
    browser.sees("Writes refused meanwhile: to corder, customer on commerce/0").await;
    browser.screenshot("live-change").await;

    // By the keyboard: another change.
    let focus = "const all = [...document.querySelectorAll('nav.keyspaces button')];\
                 all.find(it => it.textContent === 'Complete').focus()";
    browser.client.execute(focus, Vec::new()).await.unwrap();
    browser.client.active_element().await.unwrap().send_keys("\u{e007}").await.unwrap();
    browser.sees("Complete customer.move1: what it would touch; nothing is changed").await;
    browser.sees("It would be refused, and nothing changed:").await;
    let link = browser.client.current_url().await.unwrap();
    assert_eq!(link.fragment(), Some("live?keyspace=customer&show=change&workflow=move1&change=complete-"));

    // The same in Plan, over the server's topology.
    browser
        .client
        .execute("location.hash = 'plan?kind=traffic&keyspace=customer&workflow=move1&change=switch&whose=writes'", Vec::new())
        .await
        .unwrap();
    browser.sees("These are the reads before the change").await;
    browser.choose("select[name=topology]", "server").await;
    browser.sees("This moves writes of customer.move1 to customer, in 13 steps").await;
    assert_eq!(steps_of(&browser).await, steps);
    browser.screenshot("plan-change").await;
    browser.choose("select[name=change]", "reverse").await;
    browser.sees("nothing was changed.").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_of_a_preview_shows_its_steps_on_a_phone() {
    let browser = Browser::open("#replay", 375, true).await;
    let file = browser.directory.path().join("preview.trace");
    let (snapshot, name) = (switched_reads(), file.to_str().unwrap());
    vtflow(&["--snapshot", &snapshot, "workflow", "switch", "customer", "move1", "--dry-run", "--trace", name]);
    browser.give("given.trace", &fs::read(&file).unwrap()).await;
    browser.sees("This moves replica, rdonly reads and writes of customer.move1 to customer, in 13 steps").await;
    assert_eq!(steps_of(&browser).await.len(), 16);
    browser.fits().await;
    browser.screenshot("replay-change-375-dark").await;

    // What is gone afterwards, and what is done target by target.
    let file = browser.directory.path().join("ends.trace");
    let (snapshot, name) = (recorded("movetables-switched"), file.to_str().unwrap());
    vtflow(&[
        "--snapshot",
        snapshot.to_str().unwrap(),
        "workflow",
        "complete",
        "customer",
        "move1",
        "--dry-run",
        "--trace",
        name,
    ]);
    browser.give("ends.trace", &fs::read(&file).unwrap()).await;
    browser.sees("Gone for good afterwards:").await;
    browser.sees("nothing of this is taken back").await;
    browser.fits().await;
    browser.close().await;
}

/// What `--rehearse -o json` prints.
fn rehearsed(how: &str) -> serde_json::Value {
    let snapshot = switched_reads();
    let args =
        ["--snapshot", &snapshot, "workflow", "switch", "customer", "move1", "--tablet-types", "primary", how, "-o", "json"];
    vtflow(&args).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_is_drawn_by_time_with_what_is_refused_meanwhile() {
    let browser = Browser::open("#plan", 1400, false).await;
    let mut document = rehearsed("--rehearse");
    browser.drop_file("switch.json", &document.to_string()).await;
    browser.sees("✓ It goes to its end, and nothing is wrong afterwards.").await;
    browser.sees("Rehearsed on a copy of").await;
    browser.sees("This moves writes of customer.move1 to customer, in 13 steps").await;
    browser.sees("from here writes to corder, customer are refused").await;
    browser.sees("from here they are taken again").await;
    browser.sees("positions: a stream of the copy that runs is there at once").await;
    // The picture says of each step what its text says: outside of the outage nothing is refused. Percentages are rounded by the browser.
    let script = "const of = (it, name) => parseFloat(it.style[name]);\
                  return [...document.querySelectorAll('.timed > .steps > li')].filter(it => it.querySelector('.whole')).map(it => {\
                    const [bar, band] = [it.querySelector('.whole'), it.querySelector('.refused')];\
                    const [from, to] = [of(band, 'left'), of(band, 'left') + of(band, 'width')];\
                    return [it.classList.contains('refusing'), of(bar, 'left') > from - 0.001 && of(bar, 'left') < to - 0.001] })";
    let steps = browser.client.execute(script, Vec::new()).await.unwrap();
    let steps = steps.as_array().unwrap();
    assert!(steps.len() > 10 && steps.iter().all(|it| it[0] == it[1]), "{steps:?}");
    assert_eq!(steps.iter().filter(|it| it[0] == true).count(), 7, "from closing to routing: {steps:?}");
    browser.screenshot("rehearsal").await;

    // By the keyboard: a call in full.
    let focus = "const it = document.querySelector('.timed-call summary'); it.closest('li > details').open = true; it.focus()";
    browser.client.execute(focus, Vec::new()).await.unwrap();
    browser.client.active_element().await.unwrap().send_keys("\u{e007}").await.unwrap();
    browser.sees("on the copy, estimate").await;

    // Nothing in it is obeyed, and what is no rehearsal changes nothing.
    document["steps"][0]["name"] = json!("<i id=h>\u{202e}");
    browser.drop_file("hostile.json", &document.to_string()).await;
    browser.sees(r"<i id=h>\u{202e}").await;
    assert!(browser.client.find(Locator::Css("#h")).await.is_err(), "it is a text");
    document["steps"][0]["calls"] = json!("none");
    browser.drop_file("damaged.json", &document.to_string()).await;
    browser.sees("damaged.json cannot be opened: rehearsal: ").await;
    browser.sees("Nothing was changed").await;
    browser.click(".bar-top button").await;
    browser.sees("the built-in sample").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_with_faults_has_what_becomes_of_each_on_a_phone_too() {
    let browser = Browser::open("#replay", 375, true).await;
    let document = rehearsed("--rehearse=faults");
    let count = document["faults"]["lines"].as_array().unwrap().len();
    browser.give("faults.json", document.to_string().as_bytes()).await;
    browser.sees("With one thing going wrong").await;
    browser.sees(&format!("{count} faults at ")).await;
    let rows = browser.client.find_all(Locator::Css("table.list tbody tr")).await.unwrap();
    assert_eq!(rows.len(), count, "a row for each");
    browser.sees("answer lost").await;
    browser.fits().await;
    browser.screenshot("rehearsal-375-dark").await;
    let below = "document.querySelector('table.list').scrollIntoView()";
    browser.client.execute(below, Vec::new()).await.unwrap();
    browser.screenshot("rehearsal-faults-375-dark").await;
    browser.close().await;
}

/// Another name in every text of a document, and in its bytes.
fn replace(value: &mut serde_json::Value, name: &str, by: &str) {
    match value {
        serde_json::Value::String(text) => *text = text.replace(name, by),
        serde_json::Value::Array(values) => values.iter_mut().for_each(|value| replace(value, name, by)),
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                let bytes = value.as_str().filter(|_| key == "base64").and_then(|text| BASE64_STANDARD.decode(text).ok());
                match bytes {
                    Some(bytes) => *value = BASE64_STANDARD.encode(replaced(&bytes, name.as_bytes(), by.as_bytes())).into(),
                    None => replace(value, name, by),
                }
            }
        }
        _ => {}
    }
}

/// The same with other bytes, as many, in the place of some.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(from.len() - 1) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}
