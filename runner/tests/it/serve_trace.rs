//! The metadata key `vtflow-trace`: whoever sends it with an RPC has a trace of it in the server's file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc};

use crate::support::serving::{GET_WORKFLOWS, Serving, options, small, unary, workflows_of};
use bytes::Bytes;
use prost::Message;
use tempfile::TempDir;
use tonic::Request;
use vtflow::{
    planner_host::PlannerHost,
    server::ServerOptions,
    trace_file::{self, TraceFile},
};
use vtflow_planner::{
    proto::vtctldata::GetWorkflowsRequest,
    trace::{Trace, replay},
};

async fn serving(file: &Path, redact: bool) -> Serving {
    let traces = TraceFile::create(file, redact, PlannerHost::Native).unwrap();
    Serving::with(ServerOptions { traces: Some(Arc::new(traces)), ..options() }, small(), &[]).await
}

/// The reply's bytes or its code, and what the server says of the trace.
async fn traced(serving: &Serving, path: &str, request: Bytes) -> (Result<Bytes, tonic::Code>, String) {
    let mut request = Request::new(request);
    request.metadata_mut().insert("vtflow-trace", "1".parse().unwrap());
    match unary(serving.channel().await, path, request).await {
        Ok(response) => {
            let said = response.metadata().get("vtflow-trace").unwrap().to_str().unwrap().to_owned();
            (Ok(response.into_inner()), said)
        }
        Err(status) => {
            let said = status.metadata().get("vtflow-trace").unwrap().to_str().unwrap().to_owned();
            (Err(status.code()), said)
        }
    }
}

fn replayed(trace: &Trace) -> Vec<u8> {
    let replayed = replay(&mut *PlannerHost::Native.start(&trace.call, trace.now), trace);
    assert_eq!(replayed.differences, Vec::<String>::new());
    replayed.reply.unwrap().result.unwrap()
}

#[tokio::test]
async fn whoever_wants_a_trace_has_one() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("traces");
    let serving = serving(&file, false).await;
    let (first, said) = traced(&serving, GET_WORKFLOWS, workflows_of("customer")).await;
    assert_eq!(said, "1");
    serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap();
    let (second, said) = traced(&serving, GET_WORKFLOWS, workflows_of("nowhere")).await;
    assert_eq!((second.is_err(), said.as_str()), (true, "2"), "the one between did not want any");
    let traces = trace_file::read(&file).unwrap();
    assert_eq!(traces.len(), 2);
    assert_eq!(replayed(&traces[0]), first.unwrap(), "the reply that the caller got");
    let asked = GetWorkflowsRequest::decode(traces[1].call.request.as_slice()).unwrap();
    assert_eq!((asked.keyspace.as_str(), traces[1].reply.as_ref().unwrap().result.is_err()), ("nowhere", true));
}

#[tokio::test]
async fn equal_requests_at_once_have_a_trace_each() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("traces");
    let serving = serving(&file, false).await;
    let one = || traced(&serving, GET_WORKFLOWS, workflows_of("customer"));
    let ((_, a), (_, b), (_, c)) = tokio::join!(one(), one(), one());
    let mut numbers = [a, b, c];
    numbers.sort();
    assert_eq!(numbers, ["1", "2", "3"]);
    for trace in trace_file::read(&file).unwrap() {
        assert!(trace.asks.iter().all(|traced| traced.answer.is_some()) && !trace.asks.is_empty());
    }
}

#[tokio::test]
async fn rows_are_left_out_where_the_server_says_so() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("traces");
    let serving = serving(&file, true).await;
    let (reply, _) = traced(&serving, GET_WORKFLOWS, workflows_of("customer")).await;
    let traces = trace_file::read(&file).unwrap();
    assert!(traces[0].redacted);
    assert_ne!(replayed(&traces[0]), reply.unwrap(), "filters are not in it");
}

#[tokio::test]
async fn a_server_without_a_file_says_so_and_answers() {
    let serving = Serving::small().await;
    let (reply, said) = traced(&serving, GET_WORKFLOWS, workflows_of("customer")).await;
    assert_eq!(said, "none: this server was started without --trace");
    assert_eq!(reply.unwrap(), serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap().into_inner());
}
