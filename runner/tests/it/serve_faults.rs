//! A server whose tablets break while it runs: what is known arrives in time, the rest is named, and afterwards all is well.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::support::{
    faulty::{DEADLINE, FIRST, Faulty, REPLICA, SECOND, steady},
    relay::Way,
};
use futures_util::future::join_all;
use prost::Message;
use vtflow_planner::{
    Lost,
    proto::topodata::{Shard, TabletAlias},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_that_falls_silent_costs_its_own_shard_and_no_more() {
    let live = Faulty::start().await;
    for target in [FIRST, SECOND] {
        let healthy = live.whole().await;
        let relay = live.tablet(target.1);
        // First on the connection that is there, then on a new one.
        for is_new in [false, true] {
            relay.falls_silent(is_new).await;
            let got = live.workflows().await;
            got.lacks_only(target, "did not answer in 800ms", &healthy);
            assert_eq!(got.failures[0].tablet, target.1);
            assert!(got.took >= DEADLINE, "{:?}", got.took);
        }
        // Many at once wait for the silent tablet behind one another, and still not longer.
        for got in join_all((0..40).map(|_| live.workflows())).await {
            got.lacks_only(target, target.1, &healthy);
        }
        relay.be(Way::Open).await;
        relay.cut();
        let again = live.whole().await;
        assert_eq!(again.iter().map(steady).collect::<Vec<_>>(), healthy.iter().map(steady).collect::<Vec<_>>());
    }
}

impl crate::support::relay::Relay {
    async fn falls_silent(&self, cut: bool) {
        self.be(Way::Silent).await;
        if cut {
            self.cut();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_that_is_killed_is_a_failure_until_it_is_back() {
    let live = Faulty::start().await;
    let healthy = live.whole().await;
    let relay = live.tablet(FIRST.1);
    // In the middle of a call, for good.
    relay.be(Way::Silent).await;
    let before = relay.bytes();
    let (got, ()) = tokio::join!(live.workflows(), async {
        relay.is_asked_since(before).await;
        relay.be(Way::Refused).await;
    });
    got.lacks_only(FIRST, "connection refused", &healthy);
    // Nobody waits for a port that refuses.
    let got = live.workflows().await;
    got.lacks_only(FIRST, "connection refused", &healthy);
    relay.be(Way::Open).await;
    live.whole().await;

    // In the middle of a call, and back at once: a read is sent again.
    relay.be(Way::Silent).await;
    let before = relay.bytes();
    let (got, ()) = tokio::join!(live.workflows(), async {
        relay.is_asked_since(before).await;
        relay.cut();
        relay.be(Way::Open).await;
    });
    assert_eq!(got.failures, []);
    got.workflows();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_tablet_is_gone_the_error_names_them_all() {
    let live = Faulty::start().await;
    live.whole().await;
    for (way, reason) in [(Way::Silent, "did not answer in 800ms"), (Way::Refused, "connection refused")] {
        for (_, tablet) in [FIRST, SECOND] {
            live.tablet(tablet).be(way).await;
        }
        let got = live.workflows().await;
        for (_, tablet) in [FIRST, SECOND] {
            let named = format!("{tablet} at {}", live.tablet(tablet).address);
            assert!(got.error().contains(&named) && got.error().contains(reason), "{}", got.error());
        }
        for (_, tablet) in [FIRST, SECOND] {
            live.tablet(tablet).be(Way::Open).await;
            live.tablet(tablet).cut();
        }
        live.whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_primary_is_named_and_the_others_are_there() {
    let live = Faulty::start().await;
    let healthy = live.whole().await;
    let path = format!("keyspaces/customer/shards/{}/Shard", FIRST.0);
    let shard = Shard { is_primary_serving: true, ..Shard::default() };
    live.put(&path, shard.encode_to_vec()).await;
    let got = live.workflows().await;
    let [failure] = got.failures.as_slice() else { panic!("{:?}", got.failures) };
    assert_eq!((failure.shard.as_str(), failure.lost), (FIRST.0, Lost::NoPrimary), "{failure:?}");
    for (now, before) in got.workflows().iter().zip(&healthy) {
        let of_second = |place: &String| place.starts_with(SECOND.0);
        let want: Vec<_> = steady(before).into_iter().filter(|(place, _)| of_second(place)).collect();
        assert_eq!(steady(now).into_iter().collect::<Vec<_>>(), want, "{}: nothing runs where there is no primary", now.name);
    }
    live.put(&path, primary_is(FIRST.1)).await;
    live.whole().await;
}

/// A shard's record.
fn primary_is(alias: &str) -> Vec<u8> {
    let (cell, uid) = alias.split_once('-').unwrap();
    let alias = TabletAlias { cell: cell.to_owned(), uid: uid.parse().unwrap() };
    Shard { primary_alias: Some(alias), is_primary_serving: true, ..Shard::default() }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_moves_between_the_topology_and_the_call_is_followed() {
    let live = Faulty::start().await;
    let healthy = live.whole().await;
    let path = format!("keyspaces/customer/shards/{}/Shard", FIRST.0);
    // The topology was read when the replica was primary; before the call arrives there, the shard has another.
    live.put(&path, primary_is(REPLICA)).await;
    let relay = live.tablet(REPLICA);
    relay.be(Way::Silent).await;
    let before = relay.bytes();
    let (got, ()) = tokio::join!(live.workflows(), async {
        relay.is_asked_since(before).await;
        live.put(&path, primary_is(FIRST.1)).await;
        relay.be(Way::Open).await;
    });
    assert_eq!(got.failures, [], "the shard is read again");
    assert_eq!(got.workflows().iter().map(steady).collect::<Vec<_>>(), healthy.iter().map(steady).collect::<Vec<_>>());

    // The old primary vanished instead of saying so: its shard is unknown this time, and right the next.
    live.put(&path, primary_is(REPLICA)).await;
    relay.be(Way::Silent).await;
    let before = relay.bytes();
    let (got, ()) = tokio::join!(live.workflows(), async {
        relay.is_asked_since(before).await;
        live.put(&path, primary_is(FIRST.1)).await;
    });
    got.lacks_only((FIRST.0, REPLICA), "did not answer in 800ms", &healthy);
    live.whole().await;

    // The topology is not mended: the tablet is named, and asked no more than twice.
    live.put(&path, primary_is(REPLICA)).await;
    relay.be(Way::Open).await;
    relay.cut();
    let got = live.workflows().await;
    got.lacks_only((FIRST.0, REPLICA), "vreplication engine is closed", &healthy);
    assert!(got.took < Duration::from_secs(2), "{:?}", got.took);
}
