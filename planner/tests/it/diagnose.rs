//! `Diagnose` on every recorded moment of a real cluster's workflows: `tests/recordings/lifecycle.json`.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use crate::support::{Cluster, rows};
use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;
use serde_json::Value;
use vtflow_planner::{
    Call, CallOptions, Reply, Timestamp,
    proto::vtflow::{DiagnoseRequest, DiagnoseResponse},
    rpc,
};

/// One moment.
struct Moment {
    name: String,
    cluster: Cluster,
    now: Timestamp,
}

fn moments() -> Vec<Moment> {
    let text = include_str!("../../../tests/recordings/lifecycle.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let table = |name: &str, ids: &Value| {
        let columns: Vec<String> = all["columns"][name].as_array().unwrap().iter().map(|column| {
            let mark = if column[1].as_bool().unwrap() { "#" } else { "" };
            format!("{mark}{}", column[0].as_str().unwrap())
        }).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let value = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let row = |id: &Value| all["rows"][number(id)].as_array().unwrap().iter().map(value).collect();
        rows(&columns, &ids.as_array().into_iter().flatten().map(row).collect::<Vec<Vec<Option<String>>>>())
    };
    all["states"].as_array().unwrap().iter().map(|state| {
        let mut cluster = Cluster::default();
        for (place, record) in state["topo"].as_object().unwrap() {
            let (cell, path) = place.split_once('/').unwrap();
            let value = STANDARD.decode(all["values"][number(&record[1])].as_str().unwrap()).unwrap();
            cluster.topo.insert((cell.into(), path.into()), value);
        }
        for (alias, tables) in state["tablets"].as_object().unwrap() {
            let mut answer = |subject: &str, answer| cluster.tablets.insert((alias.clone(), subject.into()), vec![answer]);
            answer("streams", table("vreplication", &tables["vreplication"]));
            answer("journals", table("resharding_journal", &tables["resharding_journal"]));
        }
        let now = Timestamp { seconds: state["now"].as_i64().unwrap(), nanos: 0 };
        let name = format!("{} {}", state["step"].as_str().unwrap(), state["side"].as_str().unwrap());
        Moment { name, cluster, now }
    }).collect()
}

fn call(keyspace: &str, workflow: &str) -> Call {
    let request = DiagnoseRequest { keyspace: keyspace.into(), workflow: workflow.into() };
    Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

impl Moment {
    fn diagnose(&self, keyspace: &str, workflow: &str) -> (DiagnoseResponse, Reply) {
        let (reply, _) = self.cluster.run(&call(keyspace, workflow));
        (DiagnoseResponse::decode(reply.result.as_ref().unwrap().as_slice()).unwrap(), reply)
    }
}

#[test]
fn show() {
    for moment in moments() {
        let (found, reply) = moment.diagnose("", "");
        println!("== {}", moment.name);
        for it in &found.workflows {
            let wrong: Vec<_> = it.deviations.iter().map(|it| it.mechanism.as_str()).collect();
            println!("   {}.{} {} {} reads {:?} {wrong:?} unknown {:?}", it.keyspace, it.workflow, it.kind, it.phase, it.reads_switched, it.unknown);
        }
        for it in &found.leftovers {
            println!("   leftover {} {:?} {}", it.mechanism, it.places, it.hurts);
        }
        if !found.unknown.is_empty() || !reply.failures.is_empty() || !found.changed.is_empty() {
            println!("   {:?} {:?} {:?}", found.unknown, reply.failures, found.changed);
        }
    }
}
