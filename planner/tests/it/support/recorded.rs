//! Recorded moments of a real cluster, as clusters that change: `tests/recordings/lifecycle.json`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;
use serde_json::Value;
use vtflow_planner::proto::{
    topodata::{Shard, Tablet},
    vschema::SrvVSchema,
};

use super::live::{COLUMNS, Live, Server, Stored};

/// The cluster at one side (`before`, `after`) of a step. Vschemas are those that its cells serve; of tables nothing was recorded.
pub(crate) fn moment(step: &str, side: &str) -> Live {
    let all: Value = serde_json::from_str(include_str!("../../../../tests/recordings/lifecycle.json")).unwrap();
    let states = all["states"].as_array().unwrap();
    let state = states.iter().find(|state| state["step"] == step && state["side"] == side).expect("a recorded moment");
    let mut live = Live::default();
    for (place, record) in state["topo"].as_object().unwrap() {
        let (cell, path) = place.split_once('/').unwrap();
        let at = usize::try_from(record[1].as_u64().unwrap()).unwrap();
        live.put(cell, path, STANDARD.decode(all["values"][at].as_str().unwrap()).unwrap());
    }
    let served: SrvVSchema = live.record("zone1", "SrvVSchema");
    for (keyspace, vschema) in served.keyspaces {
        live.put("global", &format!("keyspaces/{keyspace}/VSchema"), vschema.encode_to_vec());
    }
    for (alias, tables) in state["tablets"].as_object().unwrap() {
        let cell = alias.split_once('-').unwrap().0;
        let path = format!("tablets/{alias}/Tablet");
        if !live.topo.contains_key(&(cell.to_owned(), path.clone())) {
            continue;
        }
        let tablet: Tablet = live.record(cell, &path);
        if tablet.r#type != 1 {
            continue;
        }
        let rows = |of: &str| -> Vec<BTreeMap<String, String>> {
            let columns = all["columns"][of].as_array().unwrap();
            let ids = tables[of].as_array().into_iter().flatten();
            let text = |value: &Value| match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let row = |id: &Value| {
                let values = all["rows"][usize::try_from(id.as_u64().unwrap()).unwrap()].as_array().unwrap();
                let names = columns.iter().map(|column| column[0].as_str().unwrap().to_owned());
                names.zip(values.iter().map(text)).collect()
            };
            ids.map(row).collect()
        };
        let stream = |row: BTreeMap<String, String>| -> Stored {
            COLUMNS.iter().map(|&name| (name, row.get(name).cloned().unwrap_or_default())).collect()
        };
        let journal = |row: BTreeMap<String, String>| (row["id"].parse().unwrap(), row["val"].clone());
        let shard = format!("keyspaces/{}/shards/{}/Shard", tablet.keyspace, tablet.shard);
        let denied = if live.topo.contains_key(&("global".to_owned(), shard.clone())) {
            let record: Shard = live.record("global", &shard);
            record.tablet_controls.into_iter().flat_map(|control| control.denied_tables).collect()
        } else {
            Vec::new()
        };
        let server = Server {
            keyspace: tablet.keyspace,
            shard: tablet.shard,
            position: format!("MySQL56/{alias}:1-100"),
            streams: rows("vreplication").into_iter().map(stream).collect(),
            journals: rows("resharding_journal").into_iter().map(journal).collect(),
            denied,
            is_off: false,
            tables: BTreeMap::new(),
            next_id: 1000,
            ..Server::default()
        };
        live.servers.insert(alias.clone(), server);
    }
    live
}
