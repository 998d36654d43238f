//! Locks in etcd, by the algorithm that every vtctld uses, so that both exclude each other.
//!
//! Unlike Vitess's, a lock of ours is kept alive until it is given back. Source: `go/vt/topo/etcd2topo/lock.go`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use etcd_client::{Compare, CompareOp, Error, GetOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tonic::Code;
use vtflow_planner::{Answer, FailureKind};

use super::{
    cluster::{Cluster, answered},
    error::EtcdError,
    place::{Place, readable, record_node},
};
use crate::topo::{
    Answering,
    lock::{HeldLock, too_late},
    node,
};

/// A lock in etcd: a key with a lease.
struct EtcdLock {
    lease: Lease,
    place: Place,
    /// The directory of the lock's key.
    node: String,
}

/// A lease that is kept alive until it is dropped, and then revoked.
struct Lease {
    cluster: Arc<Cluster>,
    id: i64,
    is_lost: Arc<AtomicBool>,
    is_revoked: AtomicBool,
    keeping: JoinHandle<()>,
}

impl Place {
    /// Takes the lock of a directory, after everybody who asked for it before.
    pub(super) async fn lock(
        &self,
        path: &str,
        contents: Vec<u8>,
        is_named: bool,
        ttl: Duration,
        deadline: Instant,
    ) -> Result<Arc<dyn HeldLock>, Answer> {
        if !readable(path) {
            return Err(Answer::Missing { node: node::directory(&self.root, path) });
        }
        if !is_named {
            self.must_exist(path, deadline).await?;
        }
        let node = record_node(&self.root, &format!("{path}/locks"));
        let lease = Lease::grant(&self.cluster, ttl, deadline)
            .await
            .map_err(|trouble| trouble.as_answer(&node, &self.address, &self.root))?;
        if let Err(answer) = self.wait_in_turn(&node, lease.id, contents, deadline).await {
            // Whoever comes next would wait behind a place that nobody has any more.
            lease.end().await;
            return Err(answer);
        }
        let lock = EtcdLock { lease, place: self.clone(), node };
        // Whoever waited for longer than the lease lives without reaching etcd has lost the place in the queue.
        match lock.check(deadline).await {
            Ok(()) => Ok(Arc::new(lock)),
            Err(text) => Err(Answer::Failed { kind: FailureKind::Unreachable, message: text }),
        }
    }

    /// Takes a place in the queue for a lock and waits until nobody is before it.
    async fn wait_in_turn(&self, node: &str, lease: i64, contents: Vec<u8>, deadline: Instant) -> Result<(), Answer> {
        let failed = |trouble: &EtcdError| trouble.as_answer(node, &self.address, &self.root);
        let revision = self.enqueue(node, lease, contents, deadline).await.map_err(|trouble| failed(&trouble))?;
        let mut holder = Vec::new();
        while let Some(other) = self.holder_before(node, revision, deadline).await.map_err(|trouble| match trouble {
            EtcdError::TimedOut => too_late(node, &holder),
            trouble => failed(&trouble),
        })? {
            holder = other;
            if Instant::now() + PAUSE >= deadline {
                sleep_until(deadline).await;
                return Err(too_late(node, &holder));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn must_exist(&self, path: &str, deadline: Instant) -> Result<(), Answer> {
        let directory = node::directory(&self.root, path);
        let found = self.cluster.read(deadline, |mut etcd| {
            let options = GetOptions::new().with_prefix().with_keys_only().with_limit(1);
            let key = directory.clone();
            async move { etcd.get(key, Some(options)).await }
        });
        match found.await {
            Ok(found) if found.kvs().is_empty() => Err(Answer::Missing { node: directory }),
            Ok(_) => Ok(()),
            Err(trouble) => Err(trouble.as_answer(&directory, &self.address, &self.root)),
        }
    }

    /// Writes the lock's key; the revision is its place in the queue.
    async fn enqueue(&self, node: &str, lease: i64, contents: Vec<u8>, deadline: Instant) -> Result<i64, EtcdError> {
        let key = format!("{node}/{lease}");
        let txn = Txn::new().when([Compare::version(key.as_str(), CompareOp::Equal, 0)]).and_then([TxnOp::put(
            key.as_str(),
            contents,
            Some(PutOptions::new().with_lease(lease)),
        )]);
        let done = self.cluster.write(deadline, |mut etcd| async move { etcd.txn(txn).await }).await?;
        if !done.succeeded() {
            return Err(EtcdError::Broken(format!("{key} is there already")));
        }
        Ok(done.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// What the last one in the queue before `revision` has written; `None` if there is nobody.
    async fn holder_before(&self, node: &str, revision: i64, deadline: Instant) -> Result<Option<Vec<u8>>, EtcdError> {
        let mut found = self
            .cluster
            .read(deadline, |mut etcd| {
                let options = GetOptions::new()
                    .with_prefix()
                    .with_limit(1)
                    .with_sort(SortTarget::Mod, SortOrder::Descend)
                    .with_max_mod_revision(revision - 1);
                let prefix = format!("{node}/");
                async move { etcd.get(prefix, Some(options)).await }
            })
            .await?;
        Ok(found.take_kvs().into_iter().next().map(|pair| pair.into_key_value().1))
    }
}

impl HeldLock for EtcdLock {
    fn check(&self, deadline: Instant) -> Answering<'_, Result<(), String>> {
        Box::pin(async move {
            if self.lease.is_lost.load(Ordering::Relaxed) {
                return Err(NO_LEASE.into());
            }
            match renew(&self.lease.cluster, self.lease.id, deadline).await {
                Ok(true) => Ok(()),
                Ok(false) => {
                    self.lease.is_lost.store(true, Ordering::Relaxed);
                    Err(NO_LEASE.into())
                }
                Err(trouble) => Err(match trouble.as_answer(&self.node, &self.place.address, &self.place.root) {
                    Answer::Failed { message, .. } => message,
                    _ => NO_LEASE.into(),
                }),
            }
        })
    }

    fn release(&self, deadline: Instant) -> Answering<'_, Answer> {
        Box::pin(async move {
            self.lease.is_revoked.store(true, Ordering::Relaxed);
            match revoke(&self.lease.cluster, self.lease.id, deadline).await {
                Ok(()) => Answer::Unlocked,
                Err(EtcdError::Status(status)) if status.code() == Code::NotFound => {
                    Answer::Failed { kind: FailureKind::Status(i32::from(Code::NotFound)), message: NO_LEASE.into() }
                }
                Err(trouble) => {
                    // It may still be there: once more when it is dropped.
                    self.lease.is_revoked.store(false, Ordering::Relaxed);
                    trouble.as_answer(&self.node, &self.place.address, &self.place.root)
                }
            }
        })
    }
}

impl Lease {
    async fn grant(cluster: &Arc<Cluster>, ttl: Duration, deadline: Instant) -> Result<Self, EtcdError> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        // A lease without a number is none: a key that is written with it would stay for ever.
        let granted = answered(cluster.lease(deadline, |mut etcd| async move { etcd.grant(seconds, None).await }).await?)?;
        let (id, is_lost) = (granted.id(), Arc::new(AtomicBool::new(false)));
        let keeping = tokio::spawn(keep(Arc::clone(cluster), id, ttl, Arc::clone(&is_lost)));
        Ok(Self { cluster: Arc::clone(cluster), id, is_lost, is_revoked: AtomicBool::new(false), keeping })
    }

    /// Ends it, and what was written with it. One that cannot be ended soon ends by itself.
    async fn end(self) {
        let ended = revoke(&self.cluster, self.id, Instant::now() + END).await;
        self.is_revoked.store(ended.is_ok(), Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeping.abort();
        if self.is_revoked.load(Ordering::Relaxed) || self.is_lost.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (cluster, id) = (Arc::clone(&self.cluster), self.id);
            runtime.spawn(async move {
                // If this fails, the lease ends by itself.
                let _ = revoke(&cluster, id, Instant::now() + REVOKE).await;
            });
        }
    }
}

/// Renews a lease every third of its life, until it is gone.
async fn keep(cluster: Arc<Cluster>, id: i64, ttl: Duration, is_lost: Arc<AtomicBool>) {
    let mut renewed = Instant::now();
    loop {
        sleep(ttl / 3).await;
        let asked = Instant::now();
        match renew(&cluster, id, asked + ttl / 3).await {
            Ok(true) => renewed = asked,
            Ok(false) => break,
            Err(_) if renewed.elapsed() >= ttl => break,
            Err(_) => {}
        }
    }
    is_lost.store(true, Ordering::Relaxed);
}

/// Whether the lease is still there; it then lives for its whole life from now on.
async fn renew(cluster: &Cluster, id: i64, deadline: Instant) -> Result<bool, EtcdError> {
    let renewed = |mut etcd: etcd_client::LeaseClient| async move {
        match etcd.keep_alive(id).await {
            Ok(_) => Ok(true),
            Err(Error::LeaseKeepAliveError(text)) if text == "lease not found" => Ok(false),
            Err(error) => Err(error),
        }
    };
    cluster.lease(deadline, renewed).await
}

async fn revoke(cluster: &Cluster, id: i64, deadline: Instant) -> Result<(), EtcdError> {
    answered(cluster.lease(deadline, |mut etcd| async move { etcd.revoke(id).await }).await?).map(drop)
}

/// Vitess's text for a lock that is gone. Source: `go/vt/topo/etcd2topo/lock.go:Check`.
const NO_LEASE: &str = "node doesn't exist: lease";

/// Between two looks at the queue.
const PAUSE: Duration = Duration::from_millis(100);

/// How long whoever has given up waiting waits for its place to be given back.
const END: Duration = Duration::from_secs(1);

/// How long a dropped lock may take to be given back.
const REVOKE: Duration = Duration::from_secs(5);
