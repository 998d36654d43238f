//! Calls to tablets, against real gRPC servers that answer, fail, hang and vanish.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use crate::support::{certificates::Certificates, server::RawServer};
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::Instant,
};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use vtflow::{
    error::OptionError,
    tablet::{DEFAULT_CONCURRENCY, TabletOptions, Tablets},
    tls::TlsFiles,
};
use vtflow_planner::{Answer, Effect, FailureKind, TabletAddress};

fn tablets() -> Tablets {
    Tablets::new(TabletOptions::default()).unwrap()
}

fn tablet(address: SocketAddr) -> TabletAddress {
    TabletAddress {
        alias: "zone1-0000000100".to_owned(),
        cell: "zone1".to_owned(),
        host: address.ip().to_string(),
        grpc_port: address.port(),
    }
}

async fn call(tablets: &Tablets, address: SocketAddr, path: &str, request: &[u8]) -> Answer {
    call_within(tablets, address, path, request, Duration::from_secs(10)).await
}

async fn call_within(tablets: &Tablets, address: SocketAddr, path: &str, request: &[u8], wait: Duration) -> Answer {
    tablets.call(&tablet(address), path, request, Effect::Read, wait, None).await
}

fn failed(kind: FailureKind, message: impl Into<String>) -> Answer {
    Answer::Failed { kind, message: message.into() }
}

fn called(response: &[u8]) -> Answer {
    Answer::Called(response.to_vec())
}

#[tokio::test]
async fn bytes_come_back_and_statuses_keep_code_and_text() {
    let server = RawServer::start();
    let tablets = tablets();
    for message in [&b""[..], b"\x00\xff", b"0 plain"] {
        assert_eq!(call(&tablets, server.address, "/raw/echo", message).await, called(message));
    }
    for (path, said, code, text) in [
        ("/raw/status", "2 TabletManager.VReplicationExec on zone1-0000000100: no such table", 2, None),
        ("/raw/status", "12 unknown method ReadVReplicationWorkflows", 12, None),
        ("/raw/status", "8 Row count exceeded 10000", 8, None),
        ("/raw/status", "4 the query took too long", 4, None),
        ("/raw/status", "18 read only", 18, None),
        ("/raw/late-status", "17 cluster event", 17, None),
        ("/raw/status", "x no number", 2, Some("no number")),
        ("/raw/status", "16 caf%c3%a9", 16, Some("café")),
        ("/raw/bad-details", "", 3, Some("bad details")),
    ] {
        let text = text.unwrap_or_else(|| said.split_once(' ').unwrap().1);
        let answer = call(&tablets, server.address, path, said.as_bytes()).await;
        assert_eq!(answer, failed(FailureKind::Status(code), text), "{path} {said}");
    }
}

#[tokio::test]
async fn what_is_no_proper_answer_is_unreachable_and_says_why() {
    let server = RawServer::start();
    let tablets = tablets();
    for (path, cause) in [
        ("/raw/no-status", "connection closed before the status of the answer"),
        ("/raw/empty", "the answer has a status but no message"),
        ("/raw/truncated", "the message of the answer is cut short"),
        ("/raw/twice", "the answer is not one gRPC message: more bytes follow"),
        // Not read to its end, which never comes.
        ("/raw/endless", "the answer is not one gRPC message: more bytes follow"),
        ("/elsewhere", "not a gRPC server: it answered HTTP status 404"),
    ] {
        let answer = call(&tablets, server.address, path, b"").await;
        let want = format!("zone1-0000000100 at {}: {cause}", server.address);
        assert_eq!(answer, failed(FailureKind::Unreachable, want), "{path}");
    }
    // None of these was the connection's last word.
    assert_eq!(call(&tablets, server.address, "/raw/echo", b"1").await, called(b"1"));
}

#[tokio::test]
async fn a_refused_port_and_an_unknown_host_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let answer = call(&tablets(), address, "/raw/echo", b"").await;
    let want = format!("zone1-0000000100 at {address}: connection refused");
    assert_eq!(answer, failed(FailureKind::Unreachable, want));

    for (host, shown) in [("no-such-host.invalid", "no-such-host.invalid:1"), ("a b", "a b:1"), ("", ":1"), ("::1", "[::1]:1")] {
        let nobody = TabletAddress { host: host.to_owned(), grpc_port: 1, ..tablet(address) };
        let answer = tablets().call(&nobody, "/raw/echo", b"", Effect::Read, Duration::from_secs(10), None).await;
        let Answer::Failed { kind: FailureKind::Unreachable, message } = &answer else { panic!("{answer:?}") };
        assert!(message.starts_with(&format!("zone1-0000000100 at {shown}: ")), "{message}");
        assert!(!message.contains("os error") && !message.contains("transport error"), "{message}");
    }
}

#[tokio::test]
async fn a_host_that_would_lead_elsewhere_is_not_called() {
    let server = RawServer::start();
    let there = server.address;
    for host in [
        "127.0.0.1/x",
        "user@127.0.0.1",
        "127.0.0.1?x",
        "127.0.0.1#x",
        "[::1]",
        "127.0.0.1:80",
        "127.0.0.1\\x",
        "caf\u{e9}",
        "%31",
        "",
    ] {
        let tablet = TabletAddress { host: host.to_owned(), ..tablet(there) };
        let answer = tablets().call(&tablet, "/raw/echo", b"", Effect::Read, Duration::from_secs(10), None).await;
        let want = format!(
            "zone1-0000000100 at {}: its record says the host {host:?}, which is neither a host name nor an IP address",
            tablet.address()
        );
        assert_eq!(answer, failed(FailureKind::Unreachable, want), "{host}");
    }
    assert_eq!(server.seen.calls(), 0);
    for host in ["127.0.0.1", "localhost", "tablet_1.no-such-host.invalid."] {
        let tablet = TabletAddress { host: host.to_owned(), ..tablet(there) };
        let answer = tablets().call(&tablet, "/raw/echo", b"1", Effect::Read, Duration::from_secs(10), None).await;
        let is_unknown = matches!(&answer, Answer::Failed { message, .. } if message.contains("lookup"));
        assert!(if host.ends_with('.') { is_unknown } else { answer == called(b"1") }, "{host}: {answer:?}");
    }
}

#[tokio::test]
async fn a_tablet_that_hangs_times_out_and_the_call_is_cancelled_there() {
    let server = RawServer::start();
    let tablets = tablets();
    let started = Instant::now();
    let answer = call_within(&tablets, server.address, "/raw/hang", b"", Duration::from_millis(300)).await;
    let want = format!("zone1-0000000100 at {} did not answer in 300ms", server.address);
    assert_eq!(answer, failed(FailureKind::TimedOut, want));
    assert!((250..1000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    // The caller's own deadline, when it is earlier.
    let started = Instant::now();
    let until = started + Duration::from_millis(200);
    let wait = Duration::from_secs(10);
    let answer = tablets.call(&tablet(server.address), "/raw/hang", b"", Effect::Read, wait, Some(until)).await;
    assert!(matches!(answer, Answer::Failed { kind: FailureKind::TimedOut, .. }), "{answer:?}");
    assert!((150..1000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    // A call that nobody waits for any more.
    let tablet = tablet(server.address);
    let dropped =
        tokio::time::timeout(Duration::from_millis(100), tablets.call(&tablet, "/raw/hang", b"", Effect::Read, wait, None));
    assert!(dropped.await.is_err());
    for _ in 0..100 {
        if server.seen.now() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((server.seen.now(), server.seen.calls()), (0, 3));
    assert_eq!(call(&tablets, server.address, "/raw/echo", b"1").await, called(b"1"));
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let answer = call_within(&tablets(), address, "/raw/echo", b"", Duration::from_millis(300)).await;
    let want = format!("zone1-0000000100 at {address} did not answer in 300ms");
    assert_eq!(answer, failed(FailureKind::TimedOut, want));
}

#[tokio::test]
async fn a_call_that_times_out_does_not_wait_for_somebody_elses_dial() {
    // Accepts the first connection, and no other: their packets are dropped once its queue is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let tablets = Arc::new(tablets());
    let call = |millis| {
        let tablets = Arc::clone(&tablets);
        tokio::spawn(async move {
            let started = Instant::now();
            let answer = call_within(&tablets, address, "/raw/echo", b"", Duration::from_millis(millis)).await;
            assert!(matches!(answer, Answer::Failed { kind: FailureKind::TimedOut, .. }), "{answer:?}");
            started.elapsed()
        })
    };
    let (first, second) = (call(300), call(1200));
    // The first one's failure takes the connection away from later callers, the second still waits on it.
    assert!(first.await.unwrap() < Duration::from_millis(700));
    let (_accepted, _) = listener.accept().await.unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(connection)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        queued.push(connection);
        assert!(queued.len() < 100, "the queue of a listener does not fill up");
    }
    let third = call(4000);
    let took = second.await.unwrap();
    assert!((1150..2500).contains(&took.as_millis()), "{took:?}");
    assert!(!third.is_finished(), "it dials all the while");
    third.abort();
}

#[tokio::test]
async fn peers_that_speak_something_else_are_unreachable() {
    for (name, said) in [
        ("HTTP/1", &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..]),
        ("noise", &[0xff; 64]),
        ("MySQL", b"\x4a\x00\x00\x00\x0a8.0.30\x00"),
        ("nothing, then closed", b""),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                stream.write_all(said).ok();
                if said.is_empty() {
                    stream.shutdown(Shutdown::Write).unwrap();
                }
                // The client hangs up first, however late it comes to read: closing before it has said its part is a reset.
                while stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {}
            }
        });
        let started = Instant::now();
        let answer = call(&tablets(), address, "/raw/echo", b"").await;
        let Answer::Failed { kind: FailureKind::Unreachable, message } = &answer else { panic!("{name}: {answer:?}") };
        let cause = if said.is_empty() { "connection closed by peer" } else { "it does not speak HTTP/2: is the port right" };
        // Whether the connection ends before the call or after is the scheduler's choice.
        let said = message.strip_prefix(&format!("zone1-0000000100 at {address}: ")).expect(message);
        assert!(
            said.starts_with(cause) || said.starts_with("connection closed as soon as it was open: is the"),
            "{name}: {message}"
        );
        assert!(started.elapsed() < Duration::from_secs(3), "{name}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_connection_closed_in_the_middle_is_unreachable() {
    let server = RawServer::start();
    let address = server.address;
    let tablets = Arc::new(tablets());
    let hanging = tokio::spawn({
        let tablets = Arc::clone(&tablets);
        async move { call(&tablets, address, "/raw/hang", b"").await }
    });
    while server.seen.now() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(server);
    let answer = tokio::time::timeout(Duration::from_secs(3), hanging).await.unwrap().unwrap();
    let Answer::Failed { kind: FailureKind::Unreachable, message } = &answer else { panic!("{answer:?}") };
    assert!(message.starts_with(&format!("zone1-0000000100 at {address}: connection ")), "{message}");
}

#[tokio::test]
async fn a_tablet_restarted_on_its_port_is_called_again_without_a_failure() {
    let server = RawServer::start();
    let address = server.address;
    let tablets = tablets();
    assert_eq!(call(&tablets, address, "/raw/echo", b"1").await, called(b"1"));
    drop(server);
    let gone = call(&tablets, address, "/raw/echo", b"2").await;
    let want = format!("zone1-0000000100 at {address}: connection refused");
    assert_eq!(gone, failed(FailureKind::Unreachable, want));
    let server = RawServer::start_at(address, None);
    assert_eq!(call(&tablets, address, "/raw/echo", b"3").await, called(b"3"));
    // Down and up again between two calls: the kept connection is dead, nobody notices.
    drop(server);
    let _server = RawServer::start_at(address, None);
    assert_eq!(call(&tablets, address, "/raw/echo", b"4").await, called(b"4"));
}

#[tokio::test]
async fn messages_have_a_limit_in_both_directions() {
    let server = RawServer::start();
    let tablets = tablets();
    let limit = 16 << 20;
    for bytes in [5 << 20, limit] {
        let answer = call(&tablets, server.address, "/raw/size", bytes.to_string().as_bytes()).await;
        assert!(matches!(&answer, Answer::Called(response) if response.len() == bytes), "{bytes}");
    }
    let answer = call(&tablets, server.address, "/raw/size", (17 << 20).to_string().as_bytes()).await;
    let at = format!("zone1-0000000100 at {}", server.address);
    assert_eq!(
        answer,
        failed(FailureKind::TooLarge, format!("{at}: the answer has 17825792 bytes, a message may have 16777216"))
    );
    let answer = call(&tablets, server.address, "/raw/echo", &vec![0; limit + 1]).await;
    assert_eq!(
        answer,
        failed(FailureKind::TooLarge, format!("{at}: the request has 16777217 bytes, a message may have 16777216"))
    );
    let said = "8 grpc: received message larger than max (17825792 vs. 16777216)";
    let answer = call(&tablets, server.address, "/raw/status", said.as_bytes()).await;
    assert_eq!(answer, failed(FailureKind::TooLarge, format!("{at}: {}", &said[2..])));
}

#[tokio::test]
async fn one_tablet_gets_four_calls_at_once_and_three_go_out_together() {
    let server = RawServer::start();
    let tablets = tablets();
    let started = Instant::now();
    join_all((0..3).map(|_| call(&tablets, server.address, "/raw/slow", b"300"))).await;
    assert!(started.elapsed() < Duration::from_millis(580), "{:?}", started.elapsed());
    assert_eq!(server.seen.most_at_once(), 3);
    let answers = join_all((0..12).map(|_| call(&tablets, server.address, "/raw/slow", b"200"))).await;
    assert!(answers.iter().all(|answer| *answer == called(b"200")), "{answers:?}");
    assert_eq!(server.seen.most_at_once(), 4);
    // The caller's own deadline holds for those who wait too.
    let until = Some(Instant::now() + Duration::from_millis(300));
    let tablet = tablet(server.address);
    let wait = Duration::from_secs(10);
    let answers = join_all((0..8).map(|_| tablets.call(&tablet, "/raw/slow", b"200", Effect::Read, wait, until))).await;
    let late: Vec<&Answer> = answers.iter().filter(|answer| **answer != called(b"200")).collect();
    assert_eq!(late.len(), 4, "{answers:?}");
}

#[tokio::test]
async fn all_tablets_together_have_a_bound() {
    let servers: Vec<RawServer> = (0..3).map(|_| RawServer::start()).collect();
    let tablets = Tablets::new(TabletOptions { concurrency: 2, ..TabletOptions::default() }).unwrap();
    let started = Instant::now();
    let answers = join_all(servers.iter().flat_map(|server| {
        let tablets = &tablets;
        (0..2).map(move |_| call(tablets, server.address, "/raw/slow", b"100"))
    }))
    .await;
    assert!(answers.iter().all(|answer| *answer == called(b"100")));
    assert!(started.elapsed() >= Duration::from_millis(300), "six calls of 100 ms, two at once: {:?}", started.elapsed());
}

fn said(answer: &Answer) -> &str {
    match answer {
        Answer::Failed { kind: FailureKind::TimedOut, message } if !message.contains("was not called") => message,
        Answer::Failed { kind: FailureKind::NotSent, message } if message.contains("was not called") => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn calls_behind_a_tablet_that_hangs_do_not_wait_a_deadline_each() {
    let server = RawServer::start();
    let tablets = tablets();
    let at = format!("zone1-0000000100 at {}", server.address);
    let hang = |millis| call_within(&tablets, server.address, "/raw/hang", b"", Duration::from_millis(millis));
    let started = Instant::now();
    let answers = join_all((0..12).map(|_| hang(400))).await;
    assert!((350..780).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    for (index, answer) in answers.iter().enumerate() {
        let want = if index < 4 { "did not answer in 400ms" } else { "was not called in 400ms: 4 calls to it were under way" };
        assert_eq!(said(answer), format!("{at} {want}"), "{index}");
    }
    assert_eq!(server.seen.calls(), 4);

    // Whose turn comes in time has what is left of its deadline, not a new one.
    let started = Instant::now();
    let (_, answer) = tokio::join!(join_all((0..4).map(|_| hang(400))), hang(800));
    assert!((750..1150).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let text = said(&answer);
    let queued = text.strip_prefix(&format!("{at} did not answer in 800ms, ")).expect(text);
    let queued = queued.strip_suffix("ms of it behind other calls to it").expect(text);
    assert!((350..750).contains(&queued.parse::<u32>().unwrap()), "{text}");
    assert_eq!(server.seen.calls(), 9);
}

#[tokio::test]
async fn the_wait_for_other_tablets_adds_one_deadline_at_most() {
    let (hanging, healthy) = (RawServer::start(), RawServer::start());
    let tablets = Tablets::new(TabletOptions { concurrency: 2, ..TabletOptions::default() }).unwrap();
    let hang = |millis| call_within(&tablets, hanging.address, "/raw/hang", b"", Duration::from_millis(millis));
    let ask = |wait, takes: &'static str| {
        let (tablets, healthy) = (&tablets, &healthy);
        async move {
            let started = Instant::now();
            let wait = Duration::from_millis(wait);
            let answer = call_within(tablets, healthy.address, "/raw/slow", takes.as_bytes(), wait).await;
            (answer, started.elapsed().as_millis())
        }
    };
    // Too long for a turn: said so, and nobody was called.
    let (_, _, (answer, took)) = tokio::join!(hang(900), hang(900), ask(300, "0"));
    let want = format!("zone1-0000000100 at {} was not called in 300ms: 2 calls to tablets were under way", healthy.address);
    assert_eq!(answer, failed(FailureKind::NotSent, want));
    assert!((250..700).contains(&took), "{took} ms");
    assert_eq!(healthy.seen.calls(), 0);
    // The wait for others is not taken from the call's own time.
    let (_, _, (answer, took)) = tokio::join!(hang(400), hang(400), ask(700, "500"));
    assert_eq!(answer, called(b"500"));
    assert!((850..1390).contains(&took), "{took} ms");
}

#[tokio::test]
async fn both_waits_together_end_before_twice_the_deadline() {
    let (busy, first, second) = (RawServer::start(), RawServer::start(), RawServer::start());
    let tablets = Tablets::new(TabletOptions { concurrency: 5, ..TabletOptions::default() }).unwrap();
    let within = |server: &RawServer, path, millis| {
        let (tablets, address) = (&tablets, server.address);
        async move { call_within(tablets, address, path, b"300", Duration::from_millis(millis)).await }
    };
    let started = Instant::now();
    let ask = async {
        let answer = within(&busy, "/raw/slow", 500).await;
        (answer, started.elapsed())
    };
    // Until 300 ms all turns of its own tablet are taken, then those of all tablets together.
    let (.., (answer, took)) = tokio::join!(
        join_all((0..4).map(|_| within(&busy, "/raw/slow", 500))),
        within(&first, "/raw/hang", 2000),
        join_all((0..4).map(|_| within(&second, "/raw/hang", 1500))),
        ask,
    );
    let text = said(&answer);
    let waited = text.strip_prefix(&format!("zone1-0000000100 at {} was not called in ", busy.address)).expect(text);
    let waited = waited.strip_suffix("ms: 5 calls to tablets were under way").expect(text);
    assert!((750..1000).contains(&waited.parse::<u32>().unwrap()), "{text}");
    assert!((750..1300).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn the_callers_own_deadline_ends_the_wait_for_a_turn() {
    let (one, other) = (RawServer::start(), RawServer::start());
    let options = TabletOptions { concurrency: 5, ..TabletOptions::default() };
    let tablets = Arc::new(Tablets::new(options).unwrap());
    // Four calls are all that one tablet gets, and one more all that there may be.
    let hanging: Vec<_> = [&one, &one, &one, &one, &other].map(|server| (Arc::clone(&tablets), server.address)).into();
    let hanging = hanging.into_iter().map(|(tablets, address)| {
        tokio::spawn(async move { call_within(&tablets, address, "/raw/hang", b"", Duration::from_secs(60)).await })
    });
    let hanging: Vec<_> = hanging.collect();
    while one.seen.now() + other.seen.now() < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for server in [&one, &other] {
        let started = Instant::now();
        let until = Some(started + Duration::from_millis(200));
        let tablet = tablet(server.address);
        let waiting = tablets.call(&tablet, "/raw/echo", b"", Effect::Read, Duration::from_secs(60), until);
        let answer = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("the caller's own deadline is ignored");
        let at = format!("zone1-0000000100 at {}", server.address);
        assert_eq!(said(&answer), format!("{at} was not called: the request's own deadline passed before its turn came"));
        assert!((150..1000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
    assert_eq!((one.seen.calls(), other.seen.calls()), (4, 1));
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn as_many_calls_at_once_by_default_as_the_program_says() {
    assert_eq!((TabletOptions::default().concurrency, DEFAULT_CONCURRENCY), (2048, 2048));
}

#[tokio::test]
async fn a_cell_that_hangs_leaves_turns_to_the_others() {
    let server = RawServer::start();
    let options = TabletOptions { concurrency: 4, concurrency_per_cell: 2, ..TabletOptions::default() };
    let tablets = Arc::new(Tablets::new(options).unwrap());
    let call = |cell: &str, path: &'static str| {
        let (tablets, tablet) = (Arc::clone(&tablets), TabletAddress { cell: cell.to_owned(), ..tablet(server.address) });
        async move { tablets.call(&tablet, path, b"0", Effect::Read, Duration::from_secs(10), None).await }
    };
    let hanging: Vec<_> = (0..2).map(|_| tokio::spawn(call("dead", "/raw/hang"))).collect();
    while server.seen.now() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The dead cell has its two turns, a third caller waits; the living cell is not kept from its own.
    let third = tokio::spawn(call("dead", "/raw/echo"));
    let started = Instant::now();
    assert_eq!(call("alive", "/raw/echo").await, called(b"0"));
    assert!(started.elapsed() < Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!third.is_finished(), "the cell's bound holds");
    // Nobody waits longer for the cell than a call may take.
    let impatient = TabletAddress { cell: "dead".to_owned(), ..tablet(server.address) };
    let wait = Duration::from_millis(200);
    let waiting = tablets.call(&impatient, "/raw/echo", b"0", Effect::Read, wait, None);
    let answer = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("the wait for the cell has no bound");
    let want = format!("zone1-0000000100 at {} was not called in 200ms: 2 calls in its cell were under way", server.address);
    assert_eq!(answer, failed(FailureKind::NotSent, want));
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(third.await.unwrap(), called(b"0"));
}

#[tokio::test]
async fn calls_carry_static_credentials() {
    let server = RawServer::start();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("creds.json");
    std::fs::write(&path, r#"{"Username": "flow", "Password": "secret word"}"#).unwrap();
    let options = TabletOptions { credentials: Some(path.clone()), ..TabletOptions::default() };
    let answer = call(&Tablets::new(options.clone()).unwrap(), server.address, "/raw/credentials", b"").await;
    assert_eq!(answer, called(b"flow:secret word"));
    for (content, part) in
        [("[]", "Username"), (r#"{"Username": "a"}"#, "Password"), (r#"{"Username": "a", "Password": "b\n"}"#, "cannot be sent")]
    {
        std::fs::write(&path, content).unwrap();
        let error = Tablets::new(options.clone()).err().unwrap();
        assert!(matches!(error, OptionError::Credentials { .. }) && error.to_string().contains(part), "{error}");
        assert!(!error.to_string().contains("b\n"), "a password in an error: {error}");
    }
}

#[tokio::test]
async fn tls_is_on_with_a_ca_and_names_are_checked() {
    let certificates = Certificates::create();
    let pem = |name| std::fs::read(certificates.path(name)).unwrap();
    let identity = Identity::from_pem(pem("server.pem"), pem("server.key"));
    let any = "127.0.0.1:0".parse().unwrap();
    let open = RawServer::start_at(any, Some(ServerTlsConfig::new().identity(identity.clone())));
    let authority = Certificate::from_pem(pem("ca.pem"));
    let closed = RawServer::start_at(any, Some(ServerTlsConfig::new().identity(identity).client_ca_root(authority)));

    let ca = Some(certificates.path("ca.pem"));
    let client = (Some(certificates.path("client.pem")), Some(certificates.path("client.key")));
    let with_ca = TlsFiles { ca: ca.clone(), ..TlsFiles::default() };
    let other_name = TlsFiles { server_name: Some("other.test".to_owned()), ..with_ca.clone() };
    let right_name = TlsFiles { server_name: Some("tablet.test".to_owned()), ..with_ca.clone() };
    let mutual = TlsFiles { cert: client.0.clone(), key: client.1.clone(), ca, server_name: None };
    let system_roots = TlsFiles { ca: None, ..mutual.clone() };
    // An empty cause: which side closes first, and so what is seen, differs from time to time.
    for (name, server, tls, cause) in [
        ("CA", &open, with_ca.clone(), None),
        ("server name of the certificate", &open, right_name, None),
        ("another server name", &open, other_name, Some("certificate not valid for name \"other.test\"")),
        ("no TLS", &open, TlsFiles::default(), Some("")),
        ("certificate without CA: the system's authorities", &open, system_roots, Some("UnknownIssuer")),
        ("no client certificate", &closed, with_ca, Some("")),
        ("client certificate", &closed, mutual, None),
    ] {
        let tablets = Tablets::new(TabletOptions { tls, ..TabletOptions::default() }).unwrap();
        let answer = call(&tablets, server.address, "/raw/echo", b"1").await;
        if let Some(cause) = cause {
            let Answer::Failed { kind: FailureKind::Unreachable, message } = &answer else { panic!("{name}: {answer:?}") };
            assert!(message.contains(cause), "{name}: {message}");
        } else {
            assert_eq!(answer, called(b"1"), "{name}");
        }
    }
}

#[test]
fn tls_files_that_cannot_be_used_are_refused_at_the_start() {
    let certificates = Certificates::create();
    let some = |name| Some(certificates.path(name));
    let missing = TlsFiles { ca: some("nothing.pem"), ..TlsFiles::default() };
    let half = TlsFiles { cert: some("client.pem"), ..TlsFiles::default() };
    let mixed = TlsFiles { cert: some("client.pem"), key: some("server.csr"), ca: some("ca.pem"), server_name: None };
    let name = TlsFiles { server_name: Some("tablet.test".to_owned()), ..TlsFiles::default() };
    for (name, tls, part) in [
        ("missing", missing, "nothing.pem"),
        ("half", half, "key"),
        ("mixed", mixed, "cannot set up TLS"),
        ("a name that nobody would look for", name, "(tablet.test) is only looked for in its certificate"),
    ] {
        let error = Tablets::new(TabletOptions { tls, ..TabletOptions::default() }).err().unwrap().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}
