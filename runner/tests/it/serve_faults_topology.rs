//! A server whose topology breaks while it runs: etcd slow, silent, killed and started again; one of two cells dead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::support::{
    faulty::{DEADLINE, Faulty, ROOT, SECOND, steady},
    relay::Way,
};
use futures_util::future::join_all;
use prost::Message;
use tonic::Code;
use vtflow_planner::proto::vtctldata::{GetTabletsRequest, GetTabletsResponse};

const GET_TABLETS: &str = "/vtctlservice.Vtctld/GetTablets";
const GET_KEYSPACES: &str = "/vtctlservice.Vtctld/GetKeyspaces";

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_etcd_makes_answers_late_and_one_too_slow_makes_errors_in_time() {
    let live = Faulty::start().await;
    let healthy = live.whole().await;
    live.to_etcds[0].be(Way::Late(Duration::from_millis(60))).await;
    let late = live.whole().await;
    assert_eq!(late.iter().map(steady).collect::<Vec<_>>(), healthy.iter().map(steady).collect::<Vec<_>>());
    for way in [Way::Late(2 * DEADLINE), Way::Silent] {
        live.to_etcds[0].be(way).await;
        for got in join_all((0..40).map(|_| live.workflows())).await {
            assert!(got.error().contains("deadline exceeded"), "{way:?}: {}", got.error());
            assert!(got.took >= DEADLINE, "{way:?}: {:?}", got.took);
        }
        let got = live.ask(GET_KEYSPACES, Vec::new().into()).await;
        assert!(got.error().contains("deadline exceeded"), "{way:?}: {}", got.error());
        live.to_etcds[0].be(Way::Open).await;
        live.whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_stopped_in_the_middle_of_a_request_is_waited_for_no_longer_than_the_deadline() {
    let live = Faulty::start().await;
    let healthy = live.whole().await;
    live.etcds[0].pause();
    let got = live.workflows().await;
    assert!(got.error().contains("deadline exceeded"), "{}", got.error());
    // It goes on while the request waits.
    let before = live.to_etcds[0].bytes();
    let (got, ()) = tokio::join!(live.workflows(), async {
        live.to_etcds[0].is_asked_since(before).await;
        live.etcds[0].resume();
    });
    assert_eq!(got.failures, []);
    assert_eq!(got.workflows().iter().map(steady).collect::<Vec<_>>(), healthy.iter().map(steady).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_killed_and_started_again_in_the_middle_of_a_request_is_found_again() {
    let mut live = Faulty::start().await;
    let healthy = live.whole().await;
    // The request is on its way to etcd when etcd dies.
    live.to_etcds[0].be(Way::Silent).await;
    let before = live.to_etcds[0].bytes();
    let mut etcds = std::mem::take(&mut live.etcds);
    let (got, ()) = tokio::join!(live.workflows(), async {
        live.to_etcds[0].is_asked_since(before).await;
        // The way first: a relay that accepts with nobody behind it is no port that refuses.
        live.to_etcds[0].be(Way::Refused).await;
        etcds[0].stop();
    });
    let text = got.error();
    let named = format!("failed to create topo connection to {}, {ROOT}: connection refused", live.to_etcds[0].address);
    assert!(text.contains(&named), "{text}");
    // While it is down nobody waits.
    let got = live.workflows().await;
    assert!(got.error().contains(&named) && got.took < DEADLINE, "{got:?}");
    etcds[0].restart();
    // It listens before it has a leader: a write says when it has.
    etcds[0].put(&[("/ready", Vec::new())]).await;
    live.to_etcds[0].be(Way::Open).await;
    let again = live.whole().await;
    assert_eq!(again.iter().map(steady).collect::<Vec<_>>(), healthy.iter().map(steady).collect::<Vec<_>>());

    // Its connections break in the middle of a request, and it is there again at once: the read is repeated.
    live.to_etcds[0].be(Way::Silent).await;
    let before = live.to_etcds[0].bytes();
    let (got, ()) = tokio::join!(live.workflows(), async {
        live.to_etcds[0].is_asked_since(before).await;
        live.to_etcds[0].cut();
        live.to_etcds[0].be(Way::Open).await;
    });
    assert_eq!(got.failures, []);
    got.workflows();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_cells_a_dead_one_takes_only_its_own_tablets_along() {
    let live = Faulty::start().await;
    let healthy = live.whole().await;
    let tablets_of = |bytes: bytes::Bytes| -> Vec<String> {
        let tablets = GetTabletsResponse::decode(bytes).unwrap().tablets;
        tablets.into_iter().map(|tablet| tablet.alias.unwrap().cell).collect()
    };
    let all = live.ask(GET_TABLETS, GetTabletsRequest::default().encode_to_vec().into()).await;
    let all = tablets_of(all.result.unwrap());
    assert_eq!(all.iter().filter(|cell| *cell == "zone2").count(), 2, "{all:?}");
    let dead = &live.to_etcds[1];
    for (way, reason) in [(Way::Refused, "connection refused"), (Way::Silent, "deadline exceeded")] {
        dead.be(way).await;
        for got in join_all((0..40).map(|_| live.workflows())).await {
            got.lacks_only(SECOND, reason, &healthy);
        }
        let got = live.ask(GET_TABLETS, GetTabletsRequest::default().encode_to_vec().into()).await;
        let [failure] = got.failures.as_slice() else { panic!("{way:?}: one failure: {:?}", got.failures) };
        assert!(failure.message.contains(reason) && failure.message.contains("zone2"), "{way:?}: {failure:?}");
        let cells = tablets_of(got.result.unwrap());
        assert!(cells.len() == 3 && cells.iter().all(|cell| cell == "zone1"), "{way:?}: {cells:?}");
        // What is not in the dead cell does not wait for it.
        let got = live.ask(GET_KEYSPACES, Vec::new().into()).await;
        assert!(got.failures.is_empty() && got.result.is_ok() && got.took < DEADLINE, "{way:?}: {got:?}");
        dead.be(Way::Open).await;
        live.whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_own_deadline_ends_a_request_to_a_silent_etcd() {
    let live = Faulty::start().await;
    live.whole().await;
    live.to_etcds[0].be(Way::Silent).await;
    let mut request = tonic::Request::new(crate::support::serving::workflows_of("customer"));
    request.set_timeout(Duration::from_millis(400));
    let client = crate::support::serving::channel(live.server.grpc).await;
    let begun = std::time::Instant::now();
    let status = crate::support::serving::unary(client, crate::support::serving::GET_WORKFLOWS, request).await.unwrap_err();
    assert!(begun.elapsed() < DEADLINE + Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(status.code() == Code::DeadlineExceeded || status.message().contains("deadline exceeded"), "{status:?}");
    live.to_etcds[0].be(Way::Open).await;
    live.whole().await;
}
