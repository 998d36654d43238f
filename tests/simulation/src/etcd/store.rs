//! What an etcd knows: keys with all their versions, and leases that end by simulated time. No network, no faults.
//!
//! Facts: etcd's documentation of its API (`Documentation/learning/api.md`) and `server/etcdserver/apply`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Duration,
};

use tokio::time::Instant;

use super::messages::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, Header, KeyValue, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseRevokeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, Request, RequestOp,
    Response, ResponseOp, Target, TxnRequest, TxnResponse,
};

/// Why a request is refused: gRPC's code, and etcd's text.
pub(crate) type Refused = (i32, &'static str);

/// One etcd's data, as all of its members agree on it.
#[derive(Default)]
pub(crate) struct Store {
    revision: i64,
    /// By key, all versions: the revision that made each, and the pair, `None` where it was deleted.
    keys: BTreeMap<Vec<u8>, Vec<(i64, Option<KeyValue>)>>,
    leases: BTreeMap<i64, Lease>,
    next_lease: i64,
    ends: Vec<LeaseEnd>,
}

struct Lease {
    ttl: Duration,
    until: Instant,
    keys: BTreeSet<Vec<u8>>,
    is_clients: bool,
}

/// A lease that has ended with keys.
#[derive(Clone, Debug)]
pub(crate) struct LeaseEnd {
    pub(crate) at: Instant,
    pub(crate) keys: BTreeSet<Vec<u8>>,
    pub(crate) why: Why,
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its client gave it back.
    GivenBack,
    /// Nobody kept it alive.
    Expired,
    /// An operator ended it.
    Taken,
}

impl Store {
    #[expect(clippy::unnecessary_wraps, reason = "as messages have it")]
    pub(crate) fn header(&self) -> Option<Header> {
        Some(Header { cluster_id: 1, member_id: 1, revision: self.revision.max(1) })
    }

    pub(crate) fn range(&mut self, wanted: &RangeRequest) -> Result<RangeResponse, Refused> {
        self.expire();
        if wanted.revision > self.revision {
            return Err((11, "etcdserver: mvcc: required revision is a future revision"));
        }
        let at = if wanted.revision > 0 { wanted.revision } else { self.revision };
        let mut found: Vec<KeyValue> =
            self.keys_of(&wanted.key, &wanted.range_end).filter_map(|(_, versions)| at_revision(versions, at)).cloned().collect();
        let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
        let within = |number: i64, least: i64, most: i64| (least == 0 || number >= least) && (most == 0 || number <= most);
        found.retain(|pair| {
            within(pair.mod_revision, wanted.min_mod_revision, wanted.max_mod_revision)
                && within(pair.create_revision, wanted.min_create_revision, wanted.max_create_revision)
        });
        match wanted.sort_target {
            1 => found.sort_by_key(|pair| pair.version),
            2 => found.sort_by_key(|pair| pair.create_revision),
            3 => found.sort_by_key(|pair| pair.mod_revision),
            4 => found.sort_by(|one, other| one.value.cmp(&other.value)),
            _ => {}
        }
        if wanted.sort_order == 2 {
            found.reverse();
        }
        let limit = usize::try_from(wanted.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        if wanted.keys_only {
            for pair in &mut found {
                pair.value.clear();
            }
        }
        if wanted.count_only {
            found.clear();
        }
        Ok(RangeResponse { header: self.header(), kvs: found, more, count })
    }

    pub(crate) fn put(&mut self, wanted: PutRequest) -> Result<PutResponse, Refused> {
        self.expire();
        self.revision += 1;
        self.put_at(wanted)
    }

    fn put_at(&mut self, wanted: PutRequest) -> Result<PutResponse, Refused> {
        let PutRequest { key, value, lease } = wanted;
        if lease != 0 {
            let Some(lease) = self.leases.get_mut(&lease) else { return Err((5, "etcdserver: requested lease not found")) };
            lease.keys.insert(key.clone());
        }
        let versions = self.keys.entry(key.clone()).or_default();
        let before = versions.last().and_then(|(_, pair)| pair.as_ref());
        let (create_revision, version) = before.map_or((self.revision, 1), |pair| (pair.create_revision, pair.version + 1));
        let pair = KeyValue { key, create_revision, mod_revision: self.revision, version, value, lease };
        versions.push((self.revision, Some(pair)));
        Ok(PutResponse { header: self.header() })
    }

    pub(crate) fn delete(&mut self, wanted: &DeleteRangeRequest) -> DeleteRangeResponse {
        self.expire();
        let keys: Vec<Vec<u8>> = self.keys_of(&wanted.key, &wanted.range_end).map(|(key, _)| key.clone()).collect();
        self.revision += 1;
        let deleted = keys.iter().filter(|key| self.delete_key(key)).count();
        DeleteRangeResponse { header: self.header(), deleted: i64::try_from(deleted).unwrap_or(0) }
    }

    fn delete_key(&mut self, key: &[u8]) -> bool {
        let revision = self.revision;
        let Some(versions) = self.keys.get_mut(key) else { return false };
        if versions.last().is_none_or(|(_, pair)| pair.is_none()) {
            return false;
        }
        versions.push((revision, None));
        true
    }

    pub(crate) fn txn(&mut self, wanted: TxnRequest) -> Result<TxnResponse, Refused> {
        self.expire();
        let succeeded = wanted.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { wanted.success } else { wanted.failure };
        if ops.len() > 128 {
            return Err((3, "etcdserver: too many operations in txn request"));
        }
        if ops.iter().any(|op| matches!(op.request, Some(Request::Put(_) | Request::DeleteRange(_)))) {
            self.revision += 1;
        }
        let mut responses = Vec::new();
        for RequestOp { request } in ops {
            let response = match request {
                Some(Request::Range(range)) => Response::Range(self.range(&range)?),
                Some(Request::Put(put)) => Response::Put(self.put_at(put)?),
                Some(Request::DeleteRange(delete)) => {
                    let deleted = i64::from(self.delete_key(&delete.key));
                    Response::DeleteRange(DeleteRangeResponse { header: self.header(), deleted })
                }
                _ => return Err((12, "not in this simulation")),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        Ok(TxnResponse { header: self.header(), succeeded, responses })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let pair = self.keys.get(&compare.key).and_then(|versions| at_revision(versions, self.revision));
        let number = |of: fn(&KeyValue) -> i64| pair.map_or(0, of);
        let order = match &compare.target_union {
            Some(Target::Version(wanted)) => number(|pair| pair.version).cmp(wanted),
            Some(Target::CreateRevision(wanted)) => number(|pair| pair.create_revision).cmp(wanted),
            Some(Target::ModRevision(wanted)) => number(|pair| pair.mod_revision).cmp(wanted),
            Some(Target::Lease(wanted)) => number(|pair| pair.lease).cmp(wanted),
            Some(Target::Value(wanted)) => match pair {
                Some(pair) => pair.value.cmp(wanted),
                None => return false,
            },
            None => return false,
        };
        match compare.result {
            0 => order.is_eq(),
            1 => order.is_gt(),
            2 => order.is_lt(),
            _ => order.is_ne(),
        }
    }

    /// A lease of a client's, or of somebody who is not simulated.
    pub(crate) fn grant(&mut self, wanted: &LeaseGrantRequest, is_clients: bool) -> LeaseGrantResponse {
        self.expire();
        self.next_lease += 1;
        let id = if wanted.id == 0 { 7_000_000 + self.next_lease } else { wanted.id };
        let ttl = Duration::from_secs(u64::try_from(wanted.ttl).unwrap_or(1).max(1));
        self.leases.insert(id, Lease { ttl, until: Instant::now() + ttl, keys: BTreeSet::new(), is_clients });
        LeaseGrantResponse { header: self.header(), id, ttl: wanted.ttl }
    }

    pub(crate) fn keep_alive(&mut self, id: i64) -> LeaseKeepAliveResponse {
        self.expire();
        let ttl = self.leases.get_mut(&id).map_or(0, |lease| {
            lease.until = Instant::now() + lease.ttl;
            i64::try_from(lease.ttl.as_secs()).unwrap_or(0)
        });
        LeaseKeepAliveResponse { header: self.header(), id, ttl }
    }

    pub(crate) fn revoke(&mut self, id: i64, why: Why) -> Result<LeaseRevokeResponse, Refused> {
        self.expire();
        if self.end_lease(id, why) {
            Ok(LeaseRevokeResponse { header: self.header() })
        } else {
            Err((5, "etcdserver: requested lease not found"))
        }
    }

    fn end_lease(&mut self, id: i64, why: Why) -> bool {
        let Some(lease) = self.leases.remove(&id) else { return false };
        if !lease.keys.is_empty() {
            self.revision += 1;
            for key in &lease.keys {
                self.delete_key(key);
            }
        }
        if lease.is_clients {
            self.ends.push(LeaseEnd { at: Instant::now(), keys: lease.keys, why });
        }
        true
    }

    /// Ends the leases whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        let over: Vec<i64> = self.leases.iter().filter(|(_, lease)| lease.until <= now).map(|(id, _)| *id).collect();
        for id in over {
            self.end_lease(id, Why::Expired);
        }
    }

    /// The leases of clients that there are.
    pub(crate) fn clients_leases(&mut self) -> Vec<i64> {
        self.expire();
        self.leases.iter().filter(|(_, lease)| lease.is_clients).map(|(id, _)| *id).collect()
    }

    /// Whether a client has the lock of a directory; or else when and why it was lost the last time.
    pub(crate) fn lock(&mut self, directory: &str) -> Lock {
        self.expire();
        let prefix = format!("{directory}/locks/");
        let is_below = |key: &[u8]| key.starts_with(prefix.as_bytes());
        let live = self.keys.range(prefix.as_bytes().to_vec()..).take_while(|(key, _)| is_below(key));
        let first = live.filter_map(|(_, versions)| versions.last()?.1.as_ref()).min_by_key(|pair| pair.create_revision);
        if let Some(lease) = first.and_then(|pair| self.leases.get(&pair.lease))
            && lease.is_clients
        {
            return Lock::Held;
        }
        let of_it = self.ends.iter().rev().filter(|end| end.keys.iter().any(|key| is_below(key)));
        of_it.clone().find(|end| end.why != Why::GivenBack).map_or(Lock::Free, |end| Lock::Lost(end.at))
    }

    /// The keys of all locks that are held or waited for.
    pub(crate) fn locks(&self) -> Vec<String> {
        let live = self.keys.iter().filter(|(_, versions)| versions.last().is_some_and(|(_, pair)| pair.is_some()));
        let names = live.map(|(key, _)| String::from_utf8_lossy(key).into_owned());
        names.filter(|name| name.contains("/locks/")).collect()
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<&KeyValue> {
        at_revision(self.keys.get(key.as_bytes())?, self.revision)
    }

    fn keys_of(&self, key: &[u8], end: &[u8]) -> impl Iterator<Item = (&Vec<u8>, &Vec<(i64, Option<KeyValue>)>)> {
        let last = match end {
            [] => Bound::Included(key.to_vec()),
            [0] => Bound::Unbounded,
            end => Bound::Excluded(end.to_vec()),
        };
        let is_empty = matches!(&last, Bound::Excluded(end) if end.as_slice() <= key);
        let first = Bound::Included(key.to_vec());
        let range = if is_empty { (Bound::Included(Vec::new()), Bound::Excluded(Vec::new())) } else { (first, last) };
        self.keys.range(range)
    }
}

/// A lock, as its etcd has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// A client is the first in its queue.
    Held,
    /// No client is; one was, and it was taken away from it then.
    Lost(Instant),
    /// No client is.
    Free,
}

fn at_revision(versions: &[(i64, Option<KeyValue>)], revision: i64) -> Option<&KeyValue> {
    versions.iter().rev().find(|(made, _)| *made <= revision)?.1.as_ref()
}
