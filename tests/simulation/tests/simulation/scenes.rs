//! What seeds have found, each by itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use vtflow_planner::Answer;
use vtflow_simulation::scene::Scene;

/// A lease without a number is none: the key of a lock with it would never go away.
#[tokio::test(start_paused = true)]
async fn an_etcd_that_grants_nothing_leaves_no_lock_behind() {
    let scene = Scene::new();
    scene.set_empty(Some("/etcdserverpb.Lease/LeaseGrant"));
    let answer = scene.lock().await.err();
    let is_named = matches!(&answer, Some(Answer::Failed { message, .. }) if message.contains("what answered is no etcd"));
    assert!(is_named, "{answer:?}");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(scene.locks(), Vec::<String>::new());
}

/// What is not known to have been given back is not said to be.
#[tokio::test(start_paused = true)]
async fn an_etcd_that_revokes_nothing_is_not_believed() {
    let scene = Scene::new();
    let lock = scene.lock().await.ok().unwrap();
    scene.set_empty(Some("/etcdserverpb.Lease/LeaseRevoke"));
    let released = lock.release(Instant::now() + Duration::from_secs(5)).await;
    assert!(matches!(released, Answer::Failed { .. }), "{released:?}");
    scene.set_empty(None);
    drop(lock);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.locks(), Vec::<String>::new(), "given back again when it was dropped");
}
