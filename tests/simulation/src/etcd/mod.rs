//! A simulated etcd: a store that its members agree on, and the members, each a host that may be down, slow, cut off or odd.

pub(crate) mod messages;
pub(crate) mod store;

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use prost::Message;
use tokio::time::sleep;

use self::{
    messages::{
        DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest, RangeRequest, Request,
        TxnRequest,
    },
    store::{Refused, Store, Why},
};
use crate::{
    journal::Journal,
    network::{Connection, Network},
    random::Random,
    strike::Strike,
    wire::{self, Answer, Doing, Peer, Speaks},
};

/// One etcd.
pub(crate) struct Etcd {
    pub(crate) name: String,
    pub(crate) members: Vec<String>,
    store: Mutex<Store>,
    network: Arc<Network>,
    journal: Arc<Journal>,
    watcher: Arc<dyn Watcher>,
    moods: Mutex<Vec<Mood>>,
    random: Mutex<Random>,
    aim: OnceLock<u64>,
    /// Whether what it answers is never well formed and untrue.
    is_truthful: OnceLock<()>,
    acts: OnceLock<Arc<dyn Acts>>,
}

/// What is the matter with a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Every answer takes up to so many milliseconds.
    Slow(u64),
    /// It hears nothing of the others.
    Alone,
    /// Now and then the connection breaks before a request is done, or after it.
    Breaks,
    /// Now and then it answers what no etcd answers.
    Lies,
    /// To this method it answers a message in which there is nothing.
    Empty(&'static str),
}

/// What happens with requests that write, besides what the store does.
pub(crate) trait Acts: Send + Sync {
    /// What goes wrong with a request that has come, if it is this one.
    fn strikes(&self, host: &str, etcd: &Etcd, path: &str, request: &[u8]) -> Option<Strike>;

    /// A record has changed.
    fn has_changed(&self);

    /// Whether nothing goes wrong by chance now.
    fn is_well(&self) -> bool;

    /// The process that asked ends.
    fn kill(&self);
}

/// Who is told of records that are written.
pub(crate) trait Watcher: Send + Sync {
    /// One has come, and was written or not.
    fn record_arrives(&self, etcd: &Etcd, put: &PutRequest, has_succeeded: bool);

    /// One is to go, and went or not.
    fn record_goes(&self, etcd: &Etcd, key: &[u8], has_succeeded: bool);
}

/// One member.
struct Member {
    etcd: Arc<Etcd>,
    index: usize,
}

/// The port of clients.
pub(crate) const PORT: u16 = 2379;

impl Etcd {
    pub(crate) fn start(
        name: &str,
        members: u32,
        network: &Arc<Network>,
        journal: &Arc<Journal>,
        watcher: &Arc<dyn Watcher>,
        random: &Random,
    ) -> Arc<Self> {
        let members: Vec<String> = (0..members).map(|index| format!("{name}-{index}")).collect();
        let etcd = Arc::new(Self {
            name: name.to_owned(),
            moods: Mutex::new(vec![Mood::Well; members.len()]),
            members,
            store: Mutex::default(),
            network: Arc::clone(network),
            journal: Arc::clone(journal),
            watcher: Arc::clone(watcher),
            random: Mutex::new(random.of(name)),
            aim: OnceLock::new(),
            is_truthful: OnceLock::new(),
            acts: OnceLock::new(),
        });
        for (index, host) in etcd.members.iter().enumerate() {
            let member = Arc::new(Member { etcd: Arc::clone(&etcd), index });
            wire::serve(network.listen(host, PORT), member, Speaks::Http2);
        }
        etcd
    }

    /// As `--topo-global-server-address` has it.
    pub(crate) fn addresses(&self) -> String {
        self.members.iter().map(|host| format!("{host}:{PORT}")).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn set_mood(&self, index: usize, mood: Mood) {
        if let Some(place) = self.moods.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *place = mood;
        }
    }

    /// From now on a connection breaks in so many of a hundred writes of records, before it is done or after it, whatever its mood.
    pub(crate) fn aim(&self, percent: u64) {
        let _ = self.aim.set(percent);
    }

    /// From now on this happens with requests that write, too, and what it answers is never well formed and untrue.
    pub(crate) fn set_acts(&self, acts: Arc<dyn Acts>) {
        let _ = self.is_truthful.set(());
        let _ = self.acts.set(acts);
    }

    fn mood(&self, index: usize) -> Mood {
        self.moods.lock().unwrap_or_else(PoisonError::into_inner).get(index).copied().unwrap_or_default()
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this member can ask most of them.
    fn has_quorum(&self, index: usize) -> bool {
        let hears = |other: usize| {
            other == index
                || self.network.is_up(self.members.get(other).map_or("", String::as_str)) && self.mood(other) != Mood::Alone
        };
        let heard = (0..self.members.len()).filter(|&other| hears(other)).count();
        (self.mood(index) != Mood::Alone || self.members.len() == 1) && heard * 2 > self.members.len()
    }

    fn perform(&self, path: &str, request: &[u8]) -> Result<Bytes, Refused> {
        const UNREADABLE: Refused = (13, "grpc: error unmarshalling request");
        fn read<M: Message + Default>(request: &[u8]) -> Result<M, Refused> {
            M::decode(request).map_err(|_| UNREADABLE)
        }
        let mut store = self.store();
        let answer = match path {
            "/etcdserverpb.KV/Range" => store.range(&read::<RangeRequest>(request)?)?.encode_to_vec(),
            "/etcdserverpb.KV/Put" => store.put(read::<PutRequest>(request)?)?.encode_to_vec(),
            "/etcdserverpb.KV/DeleteRange" => store.delete(&read::<DeleteRangeRequest>(request)?).encode_to_vec(),
            "/etcdserverpb.KV/Txn" => {
                let txn: TxnRequest = read(request)?;
                let puts: Vec<PutRequest> = txn.success.iter().filter_map(put_of).cloned().collect();
                let gone: Vec<Vec<u8>> = txn.success.iter().filter_map(deleted_by).collect();
                let answer = store.txn(txn)?;
                drop(store);
                for put in puts.iter().filter(|put| put.lease == 0) {
                    self.watcher.record_arrives(self, put, answer.succeeded);
                }
                for key in gone {
                    self.watcher.record_goes(self, &key, answer.succeeded);
                }
                answer.encode_to_vec()
            }
            "/etcdserverpb.Lease/LeaseGrant" => store.grant(&read::<LeaseGrantRequest>(request)?, true).encode_to_vec(),
            "/etcdserverpb.Lease/LeaseRevoke" => {
                store.revoke(read::<LeaseRevokeRequest>(request)?.id, Why::GivenBack)?.encode_to_vec()
            }
            _ => return Err((12, "unknown service or method")),
        };
        Ok(answer.into())
    }
}

fn deleted_by(op: &messages::RequestOp) -> Option<Vec<u8>> {
    match &op.request {
        Some(Request::DeleteRange(delete)) => Some(delete.key.clone()),
        _ => None,
    }
}

/// A key and its value before and after; `None`: it is not there.
pub(crate) type Written = (String, Option<Vec<u8>>, Option<Vec<u8>>);

/// What is to become of records by a request.
pub(crate) fn written(etcd: &Etcd, path: &str, request: &[u8]) -> Vec<Written> {
    if path != "/etcdserverpb.KV/Txn" {
        return Vec::new();
    }
    let store = etcd.store();
    let of = |op: &messages::RequestOp| {
        let (key, after) = match put_of(op) {
            Some(put) if put.lease == 0 => (put.key.clone(), Some(put.value.clone())),
            Some(_) => return None,
            None => (deleted_by(op)?, None),
        };
        let key = String::from_utf8_lossy(&key).into_owned();
        let before = store.value(&key).map(|pair| pair.value.clone());
        Some((key, before, after))
    };
    TxnRequest::decode(request).unwrap_or_default().success.iter().filter_map(of).collect()
}

/// Whether a request takes its place in the queue of a lock.
pub(crate) fn takes_lock(path: &str, request: &[u8]) -> bool {
    let is_lock = |op: &messages::RequestOp| put_of(op).is_some_and(|put| put.lease != 0);
    match path {
        "/etcdserverpb.KV/Txn" => TxnRequest::decode(request).is_ok_and(|txn| txn.success.iter().any(is_lock)),
        "/etcdserverpb.KV/Put" => PutRequest::decode(request).is_ok_and(|put| put.lease != 0),
        _ => false,
    }
}

/// Whether a request writes a record.
fn writes_record(path: &str, request: &[u8]) -> bool {
    let is_record = |op: &messages::RequestOp| put_of(op).is_some_and(|put| put.lease == 0) || deleted_by(op).is_some();
    path == "/etcdserverpb.KV/Txn" && TxnRequest::decode(request).is_ok_and(|txn| txn.success.iter().any(is_record))
}

fn put_of(op: &messages::RequestOp) -> Option<&PutRequest> {
    match &op.request {
        Some(Request::Put(put)) => Some(put),
        _ => None,
    }
}

impl Peer for Member {
    fn answer(self: Arc<Self>, path: String, mut body: Incoming, connection: Arc<Connection>) -> Doing<'static, Answer> {
        Box::pin(async move {
            let (etcd, index) = (Arc::clone(&self.etcd), self.index);
            let host = etcd.members.get(index).cloned().unwrap_or_default();
            if path == "/grpc.health.v1.Health/Check" {
                return wire::raw(wire::framed(&[8, 1]), Some(0));
            }
            let mood = etcd.mood(index);
            let took = match mood {
                Mood::Slow(millis) => etcd.random().millis(0, millis),
                _ => etcd.random().millis(0, 2),
            };
            sleep(took).await;
            if !etcd.has_quorum(index) {
                etcd.journal.event(&host, format_args!("{path} without a quorum"));
                sleep(Duration::from_secs(7)).await;
                return wire::status(14, "etcdserver: request timed out");
            }
            if matches!(mood, Mood::Empty(method) if method == path) {
                return wire::raw(wire::framed(&[]), Some(0));
            }
            let luck = etcd.random().below(100);
            if mood == Mood::Breaks && luck < 15 {
                etcd.journal.event(&host, format_args!("{path}: breaks before it is done"));
                etcd.journal.count("fault", "etcd: connection cut before the request was done");
                connection.cut();
                return std::future::pending().await;
            }
            if mood == Mood::Lies && luck < 30 {
                etcd.journal.event(&host, format_args!("{path}: lies {luck}"));
                etcd.journal.count("fault", "etcd: an answer that no etcd gives");
                let untrue = u64::from(etcd.is_truthful.get().is_some());
                return match (luck % 5).max(untrue) {
                    0 => wire::raw(wire::framed(&[]), Some(0)),
                    1 => wire::raw(wire::framed(&[0xff; 20]), Some(0)),
                    2 => wire::raw(Bytes::from_static(&[0, 0, 0, 1, 0, 9]), Some(0)),
                    3 => wire::status(13, "what is this"),
                    _ => wire::page(503, "not here".to_owned()),
                };
            }
            if path == "/etcdserverpb.Lease/LeaseKeepAlive" {
                return wire::conversation(body, move |message| {
                    let id = LeaseKeepAliveRequest::decode(message).map_or(0, |request| request.id);
                    let kept = etcd.store().keep_alive(id);
                    etcd.journal.event(&host, format_args!("keep alive {id}: {}", kept.ttl));
                    kept.encode_to_vec().into()
                });
            }
            let Some(request) = wire::message_of(&mut body, &mut BytesMut::new()).await else {
                return wire::status(13, "no message");
            };
            let is_well = etcd.acts.get().is_some_and(|acts| acts.is_well());
            let aim = etcd.aim.get().copied().filter(|_| !is_well && writes_record(&path, &request)).unwrap_or(0);
            let is_hit = aim > 0 && etcd.random().percent(aim);
            if is_hit && luck < 50 {
                etcd.journal.event(&host, format_args!("{path}: breaks before it is done"));
                etcd.journal.count("fault", "etcd: connection cut before a record was written");
                connection.cut();
                return std::future::pending().await;
            }
            let acts = etcd.acts.get();
            let strike = acts.and_then(|acts| acts.strikes(&host, &etcd, &path, &request));
            if let Some(strike) = strike {
                etcd.journal.event(&host, format_args!("{path}: {strike:?}"));
            }
            match strike {
                Some(Strike::Before) => {
                    connection.cut();
                    return std::future::pending().await;
                }
                Some(Strike::Refuses) => return wire::status(14, "etcdserver: leader changed"),
                Some(Strike::Hangs) => return std::future::pending().await,
                Some(Strike::KillsBefore) => {
                    if let Some(acts) = acts {
                        acts.kill();
                    }
                    return std::future::pending().await;
                }
                Some(Strike::After | Strike::KillsAfter) | None => {}
            }
            let done = etcd.perform(&path, &request);
            if let Some(acts) = acts {
                if path == "/etcdserverpb.KV/Txn" {
                    acts.has_changed();
                }
                match strike {
                    Some(Strike::After) => connection.cut(),
                    Some(Strike::KillsAfter) => acts.kill(),
                    _ => {}
                }
            }
            if strike.is_some() {
                return std::future::pending().await;
            }
            match &done {
                Ok(answer) => etcd.journal.event(&host, format_args!("{path} {} bytes: {} bytes", request.len(), answer.len())),
                Err((code, text)) => etcd.journal.event(&host, format_args!("{path}: {code} {text}")),
            }
            if is_hit || mood == Mood::Breaks && luck > 85 {
                etcd.journal.event(&host, format_args!("{path}: breaks after it is done"));
                etcd.journal.count("fault", "etcd: answer lost");
                connection.cut();
                return std::future::pending().await;
            }
            match done {
                Ok(answer) => wire::raw(wire::framed(&answer), Some(0)),
                Err((code, text)) => wire::status(code, text),
            }
        })
    }
}
