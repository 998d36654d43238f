//! The server as its clients see it: answers, refusals, health, reflection, metrics, the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{path::Path, time::Duration};

use crate::support::{
    server::RawServer,
    serving::{GET_WORKFLOWS, NOW, Serving, channel, eventually, http_get, options, small, unary, workflows_of},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use prost::Message;
use tokio::time::Instant;
use tonic::{Code, Request, client::Grpc, transport::Channel};
use vtflow::{
    deadline::Deadlines,
    drive::drive,
    embedded::{Fault, Shape, Snapshot, generate},
    observe::Nobody,
    server::ServerOptions,
};
use vtflow_planner::{Call, CallOptions, Failure, Flow, proto::vtctldata::GetWorkflowsResponse};

/// What vtctldclient of v16 to v24 and VTAdmin sent, as recorded: keyspace customer with and without logs, active streams
/// only, one shard, two shards, an unknown shard, another keyspace, an unknown one, one workflow, an unknown workflow.
const RECORDED_REQUESTS: &[&str] = &[
    "CghjdXN0b21lchABKAE=",
    "CghjdXN0b21lcigB",
    "CghjdXN0b21lchAB",
    "CghjdXN0b21lcigBMgU4MC1jMA==",
    "CghjdXN0b21lcigBMgMtODAyA2MwLQ==",
    "CghjdXN0b21lcigBMgU0MC02MA==",
    "Cghjb21tZXJjZSgB",
    "CgZub3N1Y2goAQ==",
    "CghjdXN0b21lciIFY3VzdDMoAQ==",
    "CghjdXN0b21lciIGbm9zdWNoKAE=",
];

#[tokio::test]
async fn recorded_requests_are_answered_as_the_planner_answers_them() {
    for name in ["reshard-running", "mixed-releases", "shards-without-primary"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots").join(name);
        let snapshot = Snapshot::load(&dir).unwrap();
        let now = snapshot.taken_at;
        let serving = Serving::with(options(), snapshot, &[]).await;
        let mut answers = 0;
        for recorded in RECORDED_REQUESTS {
            let request = BASE64_STANDARD.decode(recorded).unwrap();
            let call = Call { path: GET_WORKFLOWS.to_owned(), request: request.clone(), options: CallOptions::default() };
            let reply = drive(Flow::start(&call, now), &serving.io, None, &Nobody).await;
            let served = serving.call(GET_WORKFLOWS, request.into()).await;
            let metadata = match (&reply.result, &served) {
                (Ok(message), Ok(served)) => {
                    answers += 1;
                    assert_eq!(message.as_slice(), served.get_ref().as_ref(), "{name} {recorded}");
                    served.metadata()
                }
                (Err(status), Err(served)) => {
                    assert_eq!((status.code as i32, status.message.as_str()), (served.code() as i32, served.message()), "{name}");
                    served.metadata()
                }
                (reply, served) => panic!("{name} {recorded}: {reply:?} but {served:?}"),
            };
            let told = metadata.get("vtflow-failures").map_or("[]", |value| value.to_str().unwrap());
            let told: Vec<Failure> = serde_json::from_str(told).unwrap();
            // All of them, or as many as fit.
            assert_eq!(told, reply.failures[..told.len()], "{name} {recorded}");
            let omitted = metadata.get("vtflow-failures-omitted").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
            assert_eq!(told.len() + omitted, reply.failures.len());
            assert!(metadata.contains_key("vtflow-request-id"));
        }
        assert!(answers >= 5, "{name} has answers to compare: {answers}");
    }
}

#[tokio::test]
async fn a_tablet_that_is_down_is_told_in_the_trailer_and_in_the_reply() {
    let snapshot = small();
    let serving = Serving::with(options(), snapshot, &[("zone1-0000000200", Fault::Down)]).await;
    let response = serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap();
    let told: Vec<Failure> = serde_json::from_str(response.metadata().get("vtflow-failures").unwrap().to_str().unwrap()).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].tablet, "zone1-0000000200");
    assert!(told[0].message.contains("connection refused"), "{}", told[0].message);
    let workflows = GetWorkflowsResponse::decode(response.into_inner()).unwrap().workflows;
    assert!(workflows.iter().any(|workflow| {
        workflow.shard_streams.values().flat_map(|shard| &shard.streams).any(|stream| stream.state == "Unknown")
    }));
}

#[tokio::test]
async fn rpcs_that_nobody_serves_are_named() {
    let serving = Serving::small().await;
    for (path, want) in [
        ("/vtctlservice.Vtctld/CreateKeyspace", "unknown method CreateKeyspace for service vtctlservice.Vtctld: "),
        ("/vtctlservice.Vtctld/Nope", "unknown method Nope for service vtctlservice.Vtctld: "),
        ("/vtctlservice.Vtctl/Nope", "unknown method Nope for service vtctlservice.Vtctl: "),
        ("/vtflow.Snapshot/Read", "unknown service vtflow.Snapshot: "),
        ("/nope", "malformed method name"),
    ] {
        let status = serving.call(path, Bytes::new()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        assert!(status.message().starts_with(want), "{path}: {}", status.message());
        assert!(path == "/nope" || status.message().contains("--forward-to"), "{}", status.message());
    }
}

#[tokio::test]
async fn bad_messages_are_refused_and_the_server_goes_on() {
    let serving = Serving::with(ServerOptions { message_bytes: 1 << 20, ..options() }, small(), &[]).await;
    let too_long = Bytes::from(vec![b'x'; (1 << 20) + 1]);
    // Field 1, a text: one byte that is no UTF-8; a length beyond the end; a field number of 0.
    for (name, request, code, said) in [
        ("not UTF-8", Bytes::from_static(b"\x0a\x01\xff"), Code::InvalidArgument, "UTF-8"),
        ("cut short", Bytes::from_static(b"\x0a\x7fcust"), Code::InvalidArgument, "cannot be decoded"),
        ("no protobuf", Bytes::from_static(b"\x00\xff\xfe"), Code::InvalidArgument, "cannot be decoded"),
        ("too long", too_long, Code::ResourceExhausted, "grpc: received message larger than max (1048577 vs. 1048576)"),
    ] {
        let status = serving.call(GET_WORKFLOWS, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{name}: {status:?}");
        assert!(status.message().contains(said), "{name}: {}", status.message());
    }
    let client = plain_client(&serving).await;
    for (name, content_type, body, http, grpc) in [
        ("no frame", "application/grpc", &b""[..], 200, Some("13")),
        ("half a frame", "application/grpc+proto", b"\0\0\0\0\x05ab", 200, Some("13")),
        ("compressed", "application/grpc", b"\x01\0\0\0\0", 200, Some("13")),
        ("not gRPC", "application/json", b"{}", 415, None),
        ("nearly gRPC", "application/grpc-web", b"\0\0\0\0\0", 415, None),
    ] {
        let request = http::Request::post(GET_WORKFLOWS).header("content-type", content_type);
        let request = request.body(tonic::body::Body::new(http_body_util::Full::new(Bytes::from_static(body)))).unwrap();
        let response = send(client.clone(), request).await;
        assert_eq!(response.status().as_u16(), http, "{name}");
        assert_eq!(response.headers().get("grpc-status").map(|code| code.to_str().unwrap()), grpc, "{name}");
    }
    let request = http::Request::post(GET_WORKFLOWS).header("content-type", "application/grpc").header("grpc-encoding", "snappy");
    let response = send(client, request.body(tonic::body::Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["grpc-status"], "12");
    assert!(response.headers()["grpc-message"].to_str().unwrap().contains("snappy"));

    assert!(serving.call(GET_WORKFLOWS, workflows_of("customer")).await.is_ok(), "the server is still well");
}

async fn plain_client(serving: &Serving) -> Channel {
    channel(serving.address()).await
}

async fn send(mut channel: Channel, request: http::Request<tonic::body::Body>) -> http::Response<tonic::body::Body> {
    use tower::{Service, ServiceExt};
    ServiceExt::<http::Request<tonic::body::Body>>::ready(&mut channel).await.unwrap().call(request).await.unwrap()
}

/// A server whose tablets take calls and never answer.
async fn with_silent_tablets(tablet_deadline: Duration) -> (Serving, RawServer) {
    let tablets = RawServer::start();
    let deadlines = Deadlines { tablet: tablet_deadline, ..Deadlines::default() };
    (Serving::with_tablets_at(options(), tablets.address, deadlines).await, tablets)
}

#[tokio::test]
async fn a_hung_tablet_costs_one_ask_its_deadline() {
    let (serving, _tablets) = with_silent_tablets(Duration::from_millis(500)).await;
    let started = Instant::now();
    let status = serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap_err();
    let took = started.elapsed();
    assert!(status.message().contains("did not answer in 500ms"), "{}", status.message());
    assert!((Duration::from_millis(500)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn the_callers_deadline_ends_the_asks_a_little_earlier() {
    let (serving, _tablets) = with_silent_tablets(Duration::from_secs(60)).await;
    let mut request = Request::new(workflows_of("customer"));
    request.set_timeout(Duration::from_secs(2));
    let started = Instant::now();
    let status = unary(serving.channel().await, GET_WORKFLOWS, request).await.unwrap_err();
    // The server's own words, not the client's timeout: they came in time.
    assert_eq!(status.code(), Code::Unknown, "{status:?}");
    assert!(status.message().contains("did not answer"), "{}", status.message());
    assert!((Duration::from_millis(1500)..Duration::from_millis(2100)).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_asks() {
    for timeout in [None, Some(Duration::from_secs(30))] {
        let (serving, tablets) = with_silent_tablets(Duration::from_secs(60)).await;
        let mut request = Request::new(workflows_of("customer"));
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let call = tokio::spawn(unary(serving.channel().await, GET_WORKFLOWS, request));
        eventually("both tablets are called", || tablets.seen.now() >= 2).await;
        call.abort();
        eventually("the calls end", || tablets.seen.now() == 0).await;
        assert_eq!(serving.asked.ended(), 3, "the topology's answers, no tablet's");
        eventually_counted(&serving, "vtflow_rpcs_total{method=\"vtctlservice.Vtctld/GetWorkflows\",code=\"1\"} 1").await;
    }
}

#[tokio::test]
async fn equal_reads_with_deadlines_share_and_everybody_is_told_in_time() {
    let (serving, tablets) = with_silent_tablets(Duration::from_secs(60)).await;
    let channel = serving.channel().await;
    let call = |timeout| {
        let mut request = Request::new(workflows_of("customer"));
        request.set_timeout(timeout);
        tokio::spawn(unary(channel.clone(), GET_WORKFLOWS, request))
    };
    let two = Duration::from_secs(2);
    let started = Instant::now();
    let first = call(two);
    eventually("both tablets are called", || tablets.seen.now() >= 2).await;
    let second = call(two);
    let patient = call(Duration::from_secs(30));
    eventually("who waits for longer reads by himself", || tablets.seen.now() >= 4).await;
    for call in [first, second] {
        let status = call.await.unwrap().unwrap_err();
        assert!(status.message().contains("did not answer"), "{}", status.message());
    }
    assert!((Duration::from_millis(1500)..Duration::from_millis(2100)).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(tablets.seen.calls(), 4);
    assert!(!patient.is_finished());
    patient.abort();
    eventually_counted(&serving, "vtflow_rpcs_shared_total 1").await;
}

async fn eventually_counted(serving: &Serving, line: &str) {
    for _ in 0..200 {
        if http_get(serving.http(), "/metrics").await.1.contains(line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no {line} in {}", http_get(serving.http(), "/metrics").await.1);
}

#[tokio::test]
async fn equal_reads_at_once_are_one_and_a_leaving_caller_harms_nobody() {
    let faults = [("zone1-0000000200", Fault::Delay(Duration::from_millis(600)))];
    let serving = Serving::with(options(), small(), &faults).await;
    let channel = serving.channel().await;
    let call = |keyspace: &str| unary(channel.clone(), GET_WORKFLOWS, Request::new(workflows_of(keyspace)));
    let first = tokio::spawn(call("customer"));
    eventually("the first has begun", || serving.asked.begun() > 0).await;
    let others: Vec<_> = (0..20).map(|_| tokio::spawn(call("customer"))).collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    first.abort();
    let answers = join_all(others).await;
    let messages: Vec<Bytes> = answers.into_iter().map(|answer| answer.unwrap().unwrap().into_inner()).collect();
    assert!(messages.windows(2).all(|two| two[0] == two[1]) && messages[0].len() > 100);
    let of_one = serving.asked.begun();
    assert_eq!(serving.asked.ended(), of_one);
    call("customer").await.unwrap();
    assert_eq!(serving.asked.begun(), of_one * 2, "one more request asks as much as the twenty-one before");
    let (_, metrics) = http_get(serving.http(), "/metrics").await;
    assert!(metrics.contains("vtflow_rpcs_shared_total 20"), "{metrics}");
}

#[tokio::test]
async fn the_end_lets_calls_end_and_takes_no_new_ones() {
    let faults = [("zone1-0000000200", Fault::Delay(Duration::from_millis(500)))];
    let serving = Serving::with(options(), small(), &faults).await;
    let (grpc, http) = (serving.address(), serving.http());
    let _idle = serving.channel().await;
    let call = tokio::spawn(unary(serving.channel().await, GET_WORKFLOWS, Request::new(workflows_of("customer"))));
    let asked = serving.asked;
    eventually("the call is under way", || asked.begun() > 0).await;
    assert_eq!(http_get(http, "/healthz").await, (200, "ok\n".to_owned()));
    let started = Instant::now();
    assert!(serving.server.shut_down().await, "all ended in time");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(call.await.unwrap().is_ok(), "the call under way got its answer");
    assert!(Channel::from_shared(format!("http://{grpc}")).unwrap().connect().await.is_err());
}

#[tokio::test]
async fn the_end_waits_for_nobody_longer_than_its_grace() {
    let tablets = RawServer::start();
    let deadlines = Deadlines { tablet: Duration::from_secs(60), ..Deadlines::default() };
    let options = ServerOptions { grace: Duration::from_millis(300), ..options() };
    let serving = Serving::with_tablets_at(options, tablets.address, deadlines).await;
    let call = tokio::spawn(unary(serving.channel().await, GET_WORKFLOWS, Request::new(workflows_of("customer"))));
    eventually("the call is under way", || tablets.seen.now() >= 2).await;
    let started = Instant::now();
    assert!(!serving.server.shut_down().await);
    assert!(started.elapsed() < Duration::from_secs(2));
    call.abort();
}

#[tokio::test]
async fn pings_on_an_idle_connection_are_tolerated() {
    let serving = Serving::small().await;
    let channel = Channel::from_shared(format!("http://{}", serving.address()))
        .unwrap()
        .http2_keep_alive_interval(Duration::from_millis(50))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .connect()
        .await
        .unwrap();
    unary(channel.clone(), GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    // A Go server would have said too_many_pings after the third.
    unary(channel, GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.unwrap();
}

#[derive(Clone, PartialEq, Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

fn health_of(service: &str) -> Bytes {
    HealthRequest { service: service.to_owned() }.encode_to_vec().into()
}

#[tokio::test]
async fn health_is_served_and_watched_to_the_end() {
    const CHECK: &str = "/grpc.health.v1.Health/Check";
    let serving = Serving::small().await;
    for service in ["", "vtctlservice.Vtctld", "vtctlservice.Vtctl"] {
        let response = serving.call(CHECK, health_of(service)).await.unwrap();
        assert_eq!(HealthResponse::decode(response.into_inner()).unwrap().status, 1, "{service}");
    }
    let status = serving.call(CHECK, health_of("nope")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "unknown service"));

    let watch = |service: &'static str| {
        let address = serving.address();
        async move {
            let mut grpc = Grpc::new(channel(address).await);
            grpc.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
            grpc.server_streaming(Request::new(health_of(service)), path, vtflow::raw::RawCodec).await.unwrap().into_inner()
        }
    };
    let (mut known, mut unknown) = (watch("").await, watch("nope").await);
    let status = |bytes: Bytes| HealthResponse::decode(bytes).unwrap().status;
    assert_eq!(status(known.next().await.unwrap().unwrap()), 1);
    assert_eq!(status(unknown.next().await.unwrap().unwrap()), 3);
    let ended = tokio::spawn(serving.server.shut_down());
    assert_eq!(status(known.next().await.unwrap().unwrap()), 2);
    assert_eq!(known.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_eq!(unknown.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert!(ended.await.unwrap(), "watchers do not keep the server");
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    use tonic_reflection::pb::{v1, v1alpha};
    let serving = Serving::small().await;

    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let symbol = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::FileContainingSymbol(
            "vtctlservice.Vtctld.GetWorkflows".to_owned(),
        )),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(serving.channel().await);
    let asks = futures_util::stream::iter([ask, symbol]);
    let mut answers = client.server_reflection_info(Request::new(asks)).await.unwrap().into_inner();
    let listed = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(listed.contains("\"vtflow.Vtflow\""), "{listed}");
    assert!(listed.contains("\"vtctlservice.Vtctld\"") && !listed.contains("TabletManager"), "{listed}");
    let Some(v1::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no file with the service")
    };
    let file = String::from_utf8_lossy(&files.file_descriptor_proto[0]).into_owned();
    assert!(file.contains("GetWorkflows") && file.contains(".vtctldata.GetWorkflowsRequest"), "{file}");

    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "vtctldata.GetWorkflowsRequest".to_owned(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(serving.channel().await);
    let asks = futures_util::stream::iter([ask]);
    let answer = client.server_reflection_info(Request::new(asks)).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("FileDescriptorResponse"));
}

#[tokio::test]
async fn the_http_port_tells_what_happened() {
    let serving = Serving::with(options(), small(), &[("zone1-0000000200", Fault::Down)]).await;
    serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap();
    serving.call(GET_WORKFLOWS, workflows_of("nope")).await.unwrap_err();
    serving.call("/vtctlservice.Vtctld/Backup", Bytes::new()).await.unwrap_err();
    serving.call("/made.Up/ByACaller", Bytes::new()).await.unwrap_err();
    let http = serving.http();
    let (status, metrics) = http_get(http, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "vtflow_rpcs_total{method=\"vtctlservice.Vtctld/GetWorkflows\",code=\"0\"} 1",
        "vtflow_rpcs_total{method=\"vtctlservice.Vtctld/GetWorkflows\",code=\"2\"} 1",
        "vtflow_rpcs_total{method=\"vtctlservice.Vtctld/Backup\",code=\"12\"} 1",
        "vtflow_rpcs_total{method=\"unknown\",code=\"12\"} 1",
        "vtflow_rpc_duration_seconds_count{method=\"vtctlservice.Vtctld/GetWorkflows\"} 2",
        "vtflow_rpcs_under_way 0",
        "vtflow_asks_total{kind=\"topo_range\",outcome=\"ok\"} 1",
        "vtflow_asks_total{kind=\"topo_range\",outcome=\"missing\"} 1",
        "vtflow_asks_total{kind=\"topo_get\",outcome=\"ok\"} 2",
        "vtflow_asks_total{kind=\"tablet_call\",outcome=\"unreachable\"} 1",
        "vtflow_asks_total{kind=\"tablet_call\",outcome=\"ok\"} 1",
        "vtflow_ask_duration_seconds_count{kind=\"tablet_call\"} 2",
        "vtflow_rounds_count 2",
        "vtflow_failures_total{lost=\"shard\"} 1",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    assert!(!metrics.contains("ByACaller"), "callers make no labels");
    assert_eq!(http_get(http, "/healthz").await, (200, "ok\n".to_owned()));
    let (status, page) = http_get(http, "/").await;
    // The page in the browser, or, of a build without it, one that says so.
    let says_where = page.contains("Vtctld") && page.contains(&serving.address().port().to_string());
    assert!(status == 200 && (says_where || page.contains("<script type=\"module\" src=\"main.js\">")), "{page}");
    assert_eq!(http_get(http, "/nope").await.0, 404);
}

#[tokio::test]
async fn a_reply_that_is_put_together_as_it_is_sent_is_the_planners() {
    let serving = Serving::with(options(), generate(Shape { shards: 8, streams: 60, ..Shape::default() }, NOW), &[]).await;
    let request = workflows_of("customer");
    let call = Call { path: GET_WORKFLOWS.to_owned(), request: request.to_vec(), options: CallOptions::default() };
    let want = drive(Flow::start(&call, NOW), &serving.io, None, &Nobody).await.result.unwrap();
    assert!(want.len() > 2 << 16, "several pieces: {}", want.len());
    // Some of them share one flow.
    for answer in join_all((0..8).map(|_| serving.call(GET_WORKFLOWS, request.clone()))).await {
        assert!(answer.unwrap().into_inner() == want);
    }
}

#[tokio::test]
async fn all_that_goes_with_an_error_fits_into_what_clients_take() {
    // No tablet has a record, so that each of many shards has its line in the status and its entry in the failures.
    let mut snapshot = generate(Shape { shards: 256, streams: 1, ..Shape::default() }, NOW);
    snapshot.topo.retain(|record| !record.path.starts_with("tablets/"));
    let serving = Serving::with(options(), snapshot, &[]).await;
    let status = serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap_err();
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    let encoded: usize = status.message().bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum();
    // As HTTP/2 counts: 32 bytes for each besides its letters. The library has taken the status out of the metadata.
    let headers = status.metadata().clone().into_headers();
    let others: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    let status_itself = "grpc-message".len() + 32 + "grpc-status".len() + 1 + 32 + ":status".len() + 3 + 32;
    let whole = encoded + others + status_itself;
    assert!(whole < 8192, "{whole}");
    let (_, note) = status.message().rsplit_once(" [...] ").unwrap_or_else(|| panic!("{}", status.message()));
    assert!(note.starts_with("[remainder of the error is truncated") && note.ends_with(" bytes]"), "{note}");
    let told: Vec<Failure> = serde_json::from_slice(headers["vtflow-failures"].as_bytes()).unwrap();
    let omitted: usize = headers["vtflow-failures-omitted"].to_str().unwrap().parse().unwrap();
    assert!(told.len() > 3 && told.len() + omitted == 256, "{} and {omitted}", told.len());
}
