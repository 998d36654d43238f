//! Every recorded `OnlineDDL throttle` and `unthrottle` of unmodified clients, performed again on the records of that moment: the
//! same records afterwards, byte for byte.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::Value;
use tokio::time::Instant;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    observe::Nobody,
    tablet::{TabletOptions, Tablets},
    topo::{CellRecord, MemoryTopology, Topology},
};
use vtflow_planner::{
    Answer, Call, CallOptions, Flow, Timestamp,
    proto::{topodata::CellInfo, vtctldata::UpdateThrottlerConfigRequest},
    rpc,
};

const RECORDED: usize = 8;

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

#[tokio::test]
async fn every_recorded_throttling_leaves_the_records_that_it_left_there() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/throttles.jsonl");
    let text = fs::read_to_string(file).expect("recorded calls");
    let mut recorded = 0;
    for line in text.lines() {
        let call: Value = serde_json::from_str(line).expect("JSON");
        let changes = call["records"].as_array().expect("records");
        let record = |change: &Value, at: usize| CellRecord {
            cell: change[0].as_str().expect("a cell").to_owned(),
            path: change[1].as_str().expect("a path").to_owned(),
            version: 5,
            value: bytes(&change[at]),
        };
        // A cell that does not serve the keyspace is left alone.
        let cells = ["zone1", "zone2", "zone3"].map(|cell| CellRecord {
            cell: "global".to_owned(),
            path: format!("cells/{cell}/CellInfo"),
            version: 1,
            value: CellInfo { server_address: "there".to_owned(), root: format!("/vitess/{cell}") }.encode_to_vec(),
        });
        let topology = Arc::new(MemoryTopology::new(cells.into_iter().chain(changes.iter().map(|change| record(change, 2)))));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
        let io = ClusterIo { topology: topology.clone(), tablets, deadlines: Deadlines::default() };
        let request = bytes(&call["request"]);
        // The moment of the recording: an hour before the rule expires, or any for one that is removed.
        let rule = UpdateThrottlerConfigRequest::decode(request.as_slice()).expect("a request").throttled_app.expect("a rule");
        let expires = rule.expires_at.expect("a time").seconds;
        let now = Timestamp { seconds: if rule.ratio > 0.0 { expires - 3600 } else { 1_795_500_000 }, nanos: 0 };
        let call_ = Call { path: rpc::UPDATE_THROTTLER_CONFIG.into(), request, options: CallOptions::default() };
        let reply = drive(Flow::start(&call_, now), &io, None, &Nobody).await;
        assert_eq!(reply.result, Ok(Vec::new()), "{}", call["from"]);
        for change in changes {
            let want = record(change, 3);
            let deadline = Instant::now() + std::time::Duration::from_secs(5);
            let found = topology.records(&want.cell, std::slice::from_ref(&want.path), deadline).await;
            let [Answer::Found { value, .. }] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(*value, want.value, "{} {}:{}", call["from"], want.cell, want.path);
        }
        recorded += 1;
    }
    assert_eq!(recorded, RECORDED);
}
