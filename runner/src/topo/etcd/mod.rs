//! The topology in etcd (`--topo-implementation etcd2`): cells, keys, and answers from what etcd says.
//!
//! Connections and retries are in `cluster.rs`, the reads themselves in `read.rs`, locks in `lock.rs`, writes in `write.rs`, a demo's records in `register.rs`. Nothing
//! is answered from memory: a cell's record is read again on every ask, together with what is asked when its address is
//! already known. Facts: `go/vt/topo/etcd2topo`, `go/vt/topo/server.go:ConnForCell`.

mod addresses;
mod cluster;
mod error;
mod lock;
mod place;
mod read;
mod register;
mod write;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, join, select};
use prost::Message;
use tokio::{sync::Semaphore, time::Instant};
use vtflow_planner::{Answer, proto::topodata::CellInfo};

use self::{
    addresses::Addresses,
    cluster::{Cluster, Dialing},
    error::dial_failed,
    place::Place,
    read::Values,
};
use super::{
    Answering, GLOBAL, HeldLock, Topology,
    cell::{cell_info_path, is_cell_name, no_such_cell, unreadable_cell},
    lock::contents,
};
use crate::{
    error::OptionError,
    net::{credentials, network::Network, tls::TlsFiles},
    reloaded::Reloaded,
    secret::Credentials,
};
pub use register::PutError;

/// Where the global topology is, and how etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `--topo-global-server-address`: a comma list. Each is `host:port`, `http://…`, `https://…` or `unix://…`; the scheme of
    /// the first decides about TLS for all, as in Vitess.
    pub addresses: String,
    /// `--topo-global-root`, such as `/vitess/global`. May lack its first slash, or have one at its end.
    pub root: String,
    /// `--topo-etcd-tls-cert`, `-key`, `-ca`. On for addresses without a scheme if any of them is given. In Vitess a CA alone changes
    /// nothing.
    pub tls: TlsFiles,
    /// Who asks, where etcd has users; without them nobody says so. Vitess has none.
    pub credentials: Option<EtcdCredentials>,
    /// `--plaintext-credentials`: the password may travel where there is no TLS.
    pub plaintext_credentials: bool,
    /// How long a connection may take. Vitess: 5 s, fixed.
    pub dial_timeout: Duration,
    /// Bytes of one answer of etcd, which has no limit itself. What is larger is read in parts. Default: 64 MiB.
    pub answer_bytes: usize,
    /// `--topo-read-concurrency`: reads under way at once in one cell, the global one included; others wait for their turn
    /// within their deadline. 0 counts as 1. Default: [`DEFAULT_READ_CONCURRENCY`].
    pub read_concurrency: usize,
    /// `--topo-etcd-lease-ttl`: how long a lock outlives a holder that has died. Whole seconds, 1 at least. Vitess: 30 s.
    pub lease_ttl: Duration,
}

/// A name and a password for etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdCredentials {
    /// `--topo-etcd-credentials`: a file with a JSON object, `{"Username": "…", "Password": "…"}`, read again when it changes.
    File(PathBuf),
    /// `--topo-etcd-username` and `--topo-etcd-password`: whoever sees the process list sees the password.
    Given(Credentials),
}

impl EtcdCredentials {
    fn reloaded(self) -> Result<Reloaded<Credentials>, OptionError> {
        match self {
            Self::Given(credentials) => Reloaded::new("the credentials for etcd", Vec::new(), move || Ok(credentials.clone())),
            Self::File(path) => Reloaded::new("the credentials for etcd", vec![path.clone()], move || credentials::read(&path)),
        }
    }
}

/// Reads under way at once in one cell unless told otherwise. Source: `go/vt/topo/server.go`, v22 and later
/// (`go/vt/topo/stats_conn.go`, a semaphore for each cell's connection).
pub const DEFAULT_READ_CONCURRENCY: usize = 32;

impl EtcdConfig {
    /// With no TLS and Vitess's dial timeout.
    pub fn new(addresses: impl Into<String>, root: impl Into<String>) -> Self {
        Self {
            addresses: addresses.into(),
            root: root.into(),
            tls: TlsFiles::default(),
            credentials: None,
            plaintext_credentials: false,
            dial_timeout: Duration::from_secs(5),
            answer_bytes: 64 << 20,
            read_concurrency: DEFAULT_READ_CONCURRENCY,
            lease_ttl: Duration::from_secs(30),
        }
    }
}

/// A topology in etcd. Connects on first use.
pub struct EtcdTopology {
    global: Place,
    dialing: Dialing,
    has_tls_files: bool,
    /// By normalized addresses: cells with the same etcd share its connection.
    clusters: Mutex<BTreeMap<Addresses, Arc<Cluster>>>,
    /// Where each cell was the last time, with the record that said so. Only ever a guess, checked on every use.
    known: Mutex<BTreeMap<String, (Vec<u8>, Place)>>,
    has_seen_cells: AtomicBool,
    read_concurrency: usize,
    lease_ttl: Duration,
}

impl EtcdTopology {
    /// Reads the TLS files and checks the addresses. Connects to nobody yet.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or an address that is none.
    pub fn new(config: &EtcdConfig) -> Result<Self, OptionError> {
        Self::over(Network::default(), config)
    }

    /// The same over a network that may be another than the kernel's.
    ///
    /// # Errors
    /// As [`EtcdTopology::new`].
    pub fn over(network: Network, config: &EtcdConfig) -> Result<Self, OptionError> {
        let credentials = config.credentials.clone().map(EtcdCredentials::reloaded).transpose()?;
        let dialing = Dialing {
            network,
            tls: Arc::new(config.tls.reloaded("the certificates for etcd")?),
            credentials: credentials.map(Arc::new),
            plaintext_credentials: config.plaintext_credentials,
            timeout: config.dial_timeout,
            answer_bytes: config.answer_bytes,
        };
        let has_tls_files = config.tls.is_given()?;
        let address_error = |cause| OptionError::Address { address: config.addresses.clone(), cause };
        let addresses = Addresses::parse(&config.addresses, has_tls_files).map_err(address_error)?;
        let cluster = Cluster::new(&addresses, &dialing).map_err(address_error)?;
        let cluster = Arc::new(cluster);
        Ok(Self {
            global: Place {
                cluster: Arc::clone(&cluster),
                address: config.addresses.clone(),
                root: config.root.clone(),
                turns: turns(config.read_concurrency),
            },
            dialing,
            has_tls_files,
            clusters: Mutex::new(BTreeMap::from([(addresses, cluster)])),
            known: Mutex::default(),
            has_seen_cells: AtomicBool::new(false),
            read_concurrency: config.read_concurrency,
            lease_ttl: config.lease_ttl,
        })
    }

    /// Performs a read in a cell, wherever that is.
    async fn in_cell<'a, T>(&self, cell: &str, deadline: Instant, read: impl Fn(Place) -> Answering<'a, T>) -> Result<T, Answer> {
        if cell == GLOBAL {
            let read = read(self.global.clone());
            if self.has_seen_cells.swap(true, Ordering::Relaxed) {
                return Ok(read.await);
            }
            // The first answer from here will lead to questions about cells: learn in the same round trip where they are.
            return Ok(join(self.learn_cells(deadline), read).await.1);
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(cell).cloned();
        let record = self.cell_record(cell, deadline);
        let Some((known_record, place)) = known else {
            let place = self.place(cell, record.await?)?;
            return Ok(read(place).await);
        };
        // Read where the cell was the last time, and at the same time whether it still is there.
        let (mut record, mut guess) = (Box::pin(record), read(place));
        let (record, guessed) = match select(record.as_mut(), guess.as_mut()).await {
            Either::Left((record, _)) => (record?, None),
            Either::Right((guessed, record)) => (record.await?, Some(guessed)),
        };
        if record == known_record {
            return Ok(match guessed {
                Some(guessed) => guessed,
                None => guess.await,
            });
        }
        drop(guess);
        let place = self.place(cell, record)?;
        Ok(read(place).await)
    }

    async fn directory(&self, cell: &str, prefix: &str, values: Values, deadline: Instant) -> Answer {
        let read =
            |place: Place| -> Answering<'_, Answer> { Box::pin(async move { place.read_range(prefix, values, deadline).await }) };
        match self.in_cell(cell, deadline, read).await {
            Ok(answer) | Err(answer) => answer,
        }
    }

    /// Reads a cell's own record.
    async fn cell_record(&self, cell: &str, deadline: Instant) -> Result<Vec<u8>, Answer> {
        if !is_cell_name(cell) {
            // The text that Vitess gives for such a name, without reading outside the root as Vitess does.
            return Err(no_such_cell(&self.global.root, cell));
        }
        let path = [cell_info_path(cell)];
        match self.global.read_records(&path, deadline).await.pop() {
            Some(Answer::Found { value, .. }) => Ok(value),
            Some(failed @ Answer::Failed { .. }) => Err(failed),
            _ => Err(no_such_cell(&self.global.root, cell)),
        }
    }

    async fn learn_cells(&self, deadline: Instant) {
        // A failure here means nothing: whoever needs a cell reads its record.
        let Answer::Range(records) = self.global.read_range("cells/", Values::Read, deadline).await else { return };
        // Whoever has more reads each one's record when it is wanted.
        for record in records.into_iter().take(CELLS_KEPT) {
            let cell = record.path.strip_prefix("cells/").and_then(|path| path.strip_suffix("/CellInfo"));
            if let Some(cell) = cell.filter(|cell| is_cell_name(cell)) {
                self.place(cell, record.value).ok();
            }
        }
    }

    /// The place that a cell's record names; remembers it.
    fn place(&self, cell: &str, record: Vec<u8>) -> Result<Place, Answer> {
        let info = CellInfo::decode(record.as_slice()).map_err(|error| unreadable_cell(&self.global.root, cell, &error))?;
        let failed = |cause: String| dial_failed(&info.server_address, &info.root, &cause);
        let addresses = Addresses::parse(&info.server_address, self.has_tls_files).map_err(failed)?;
        let cluster = {
            let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(cluster) = clusters.get(&addresses) {
                Arc::clone(cluster)
            } else {
                let cluster = Cluster::new(&addresses, &self.dialing).map_err(failed)?;
                let cluster = Arc::new(cluster);
                // Those that no cell leads to any more, and nobody reads from.
                clusters.retain(|_, cluster| Arc::strong_count(cluster) > 1);
                clusters.insert(addresses, Arc::clone(&cluster));
                cluster
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CELLS_KEPT && !known.contains_key(cell) {
            // A server that runs for months sees cells come and go; those in use are read in right now.
            known.retain(|_, (_, place)| Arc::strong_count(&place.turns) > 1);
        }
        // Those who read where the cell was before have turns of the same number.
        let turns = known.get(cell).map_or_else(|| turns(self.read_concurrency), |(_, place)| Arc::clone(&place.turns));
        let place = Place { cluster, address: info.server_address, root: info.root, turns };
        known.insert(cell.to_owned(), (record, place.clone()));
        Ok(place)
    }
}

impl Topology for EtcdTopology {
    fn records<'a>(&'a self, cell: &'a str, paths: &'a [String], deadline: Instant) -> Answering<'a, Vec<Answer>> {
        Box::pin(async move {
            let read = |place: Place| -> Answering<'a, Vec<Answer>> {
                Box::pin(async move { place.read_records(paths, deadline).await })
            };
            match self.in_cell(cell, deadline, read).await {
                Ok(answers) => answers,
                Err(answer) => vec![answer; paths.len()],
            }
        })
    }

    fn range<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer> {
        Box::pin(self.directory(cell, prefix, Values::Read, deadline))
    }

    fn list<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer> {
        Box::pin(self.directory(cell, prefix, Values::Skipped, deadline))
    }

    fn put<'a>(
        &'a self,
        cell: &'a str,
        path: &'a str,
        value: &'a [u8],
        version: i64,
        deadline: Instant,
    ) -> Answering<'a, Answer> {
        Box::pin(async move {
            if cell == GLOBAL {
                return self.global.put_over(path, value, version, deadline).await;
            }
            // Where the cell is now, not where it was the last time: a write is never sent twice.
            match self.cell_record(cell, deadline).await.and_then(|record| self.place(cell, record)) {
                Ok(place) => place.put_over(path, value, version, deadline).await,
                Err(answer) => answer,
            }
        })
    }

    fn delete<'a>(&'a self, cell: &'a str, path: &'a str, version: i64, deadline: Instant) -> Answering<'a, Answer> {
        Box::pin(async move {
            if cell == GLOBAL {
                return self.global.delete_over(path, version, deadline).await;
            }
            match self.cell_record(cell, deadline).await.and_then(|record| self.place(cell, record)) {
                Ok(place) => place.delete_over(path, version, deadline).await,
                Err(answer) => answer,
            }
        })
    }

    fn lock<'a>(
        &'a self,
        path: &'a str,
        action: &'a str,
        is_named: bool,
        deadline: Instant,
    ) -> Answering<'a, Result<Arc<dyn HeldLock>, Answer>> {
        Box::pin(self.global.lock(path, contents(action), is_named, self.lease_ttl, deadline))
    }
}

/// Cells whose places are remembered; a topology has a few dozen.
const CELLS_KEPT: usize = 1024;

fn turns(concurrency: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(address: &str) -> Vec<u8> {
        CellInfo { server_address: address.to_owned(), root: "/vitess/cell".to_owned() }.encode_to_vec()
    }

    /// As a server sees it whose topology changes for months.
    #[tokio::test]
    async fn cells_that_come_and_go_take_bounded_memory() {
        let topology = EtcdTopology::new(&EtcdConfig::new("127.0.0.1:1", "/vitess/global")).unwrap();
        let clusters = || topology.clusters.lock().unwrap().len();
        for moved in 0..100 {
            topology.place("zone1", record(&format!("127.0.0.1:{}", 2 + moved))).unwrap();
        }
        assert!(clusters() <= 3, "one cell that moves, and {} clusters", clusters());
        for cell in 0..3 * CELLS_KEPT {
            topology.place(&format!("cell{cell}"), record(&format!("127.0.0.1:{}", 1_000 + cell))).unwrap();
            let known = topology.known.lock().unwrap().len();
            assert!(known <= CELLS_KEPT && clusters() <= CELLS_KEPT + 2, "{known} cells, {} clusters", clusters());
        }
        // A place that somebody reads in stays.
        let used = topology.place("used", record("127.0.0.1:9")).unwrap();
        for cell in 0..2 * CELLS_KEPT {
            topology.place(&format!("other{cell}"), record("127.0.0.1:9")).unwrap();
        }
        assert!(Arc::ptr_eq(&used.turns, &topology.known.lock().unwrap()["used"].1.turns));
    }
}
