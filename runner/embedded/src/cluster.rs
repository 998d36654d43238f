//! A running embedded cluster: one listener per tablet, with the fault that it is given, and the topology that leads there.
//!
//! All tablets share one runtime of their own, which dropping the [`Cluster`] shuts down with everything in it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::{Handle, Runtime},
    sync::{Mutex, Semaphore},
};
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic::{
    Status,
    body::Body,
    transport::{Server, server::Connected},
};
use vtflow_planner::{proto::topodata::TabletType, topo::record::CellRecord};

use crate::{
    bounds,
    fault::Fault,
    mysql::{clock::Clock, engine::Engine},
    records::{db_name, has_address, one_line, patched, tablet_records},
    severable::Severable,
    snapshot::{Snapshot, TabletRows},
    tablet::{
        health,
        service::{Tablet, TabletService},
    },
};

/// The tablets of a snapshot, running. Dropping it stops them.
pub struct Cluster {
    topo: Vec<CellRecord>,
    ports: BTreeMap<String, u16>,
    warnings: Vec<String>,
    writes: BTreeMap<String, Arc<AtomicUsize>>,
    /// Bound and not listening: the ports of tablets that are down stay theirs.
    _refusing: Vec<TcpSocket>,
    runtime: Option<Runtime>,
}

/// Why a cluster cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A fault names a tablet that the topology does not have.
    #[error("there is no tablet {alias} to give a fault; the tablets are {known}")]
    UnknownTablet {
        /// The name.
        alias: String,
        /// Those that there are.
        known: String,
    },
    /// No port, or no threads.
    #[error("an embedded tablet cannot listen on 127.0.0.1: {0}; look for a limit on open files or ports")]
    Listen(#[from] io::Error),
}

/// How many statements run at once; more would only wait for the processor.
const STATEMENTS_AT_ONCE: usize = 8;

impl Cluster {
    /// Starts every tablet of the snapshot's topology. One without rows is down, one whose rows cannot be loaded too; one whose
    /// record cannot be decoded or says no host or gRPC port is not there. Damage to one tablet is no error: see [`Cluster::warnings`].
    ///
    /// `faults` by alias; `delay` is how long each answer takes, as a network far away would.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]: a fault for a tablet that is not there, or no port or thread to be had.
    pub async fn start(snapshot: Snapshot, faults: BTreeMap<String, Fault>, delay: Duration) -> Result<Self, ClusterError> {
        // Loading rows and making a runtime both block.
        let started = tokio::task::spawn_blocking(move || Self::start_blocking(snapshot, &faults, delay)).await;
        started.unwrap_or_else(|error| Err(ClusterError::Listen(io::Error::other(error))))
    }

    fn start_blocking(snapshot: Snapshot, faults: &BTreeMap<String, Fault>, delay: Duration) -> Result<Self, ClusterError> {
        let clock = Clock::starting_at(snapshot.taken_at);
        let mut warnings = Vec::new();
        let unreadable = &snapshot.unreadable;
        let place =
            |((cell, path), error): (&(String, String), &String)| format!("the topology record {path} of cell {cell}: {error}");
        warnings.extend(unreadable.records.iter().map(place).map(|text| one_line(&text)));
        let damaged = |(alias, error): (&String, &String)| format!("tablet {alias} answers with errors only: {error}");
        warnings.extend(unreadable.tablets.iter().map(damaged).map(|text| one_line(&text)));
        let is_readable = |record: &&CellRecord| !unreadable.records.contains_key(&(record.cell.clone(), record.path.clone()));
        let records = tablet_records(snapshot.topo.iter().filter(is_readable), &mut warnings);
        if let Some(alias) = faults.keys().find(|alias| !records.contains_key(*alias)) {
            let known = records.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(ClusterError::UnknownTablet { alias: alias.clone(), known });
        }
        let mut engines =
            engines(snapshot.tablets.iter().filter(|(alias, _)| records.contains_key(*alias)), clock, &mut warnings)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("embedded-tablet")
            .worker_threads(2)
            .max_blocking_threads(STATEMENTS_AT_ONCE * 2)
            .thread_stack_size(bounds::STACK_BYTES)
            .enable_all()
            .build()?;
        let cells: Arc<str> = cells(&snapshot.topo).into();
        let running = Arc::new(Semaphore::new(STATEMENTS_AT_ONCE));
        let mut refusing = Vec::new();
        let mut ports = BTreeMap::new();
        let mut writes = BTreeMap::new();
        for (alias, record) in records.iter().filter(|(_, record)| has_address(record)) {
            let fault = faults.get(alias).copied().unwrap_or_default();
            let _entered = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            ports.insert(alias.clone(), socket.local_addr()?.port());
            if let Some(error) = unreadable.tablets.get(alias).filter(|_| fault == Fault::None) {
                let text = format!("the recording of tablet {alias} is damaged: {error}");
                serve_as(runtime.handle(), socket.listen(1024)?, Damaged(text.into()), |connection| connection);
                continue;
            }
            let Some(engine) = engines.remove(alias).filter(|_| fault != Fault::Down) else {
                refusing.push(socket);
                continue;
            };
            let listener = socket.listen(1024)?;
            let tablet = Tablet {
                alias: alias.clone(),
                shard: record.shard.clone(),
                db_name: db_name(record),
                is_primary: record.r#type() == TabletType::Primary,
                release: engine.release(),
                cells: Arc::clone(&cells),
                health: health::message(record),
                delay: delay + if let Fault::Delay(more) = fault { more } else { Duration::ZERO },
                garbage: fault == Fault::Garbage,
                on_write: if let Fault::OnWrite(what) = fault { Some(what) } else { None },
                severable: Severable::new(),
                writes: Arc::clone(writes.entry(alias.clone()).or_default()),
                engine: Arc::new(Mutex::new(engine)),
                running: Arc::clone(&running),
            };
            serve(runtime.handle(), listener, tablet, fault);
        }
        let topo = snapshot.topo.into_iter().map(|record| patched(record, &ports)).collect();
        Ok(Self { topo, ports, warnings, writes, _refusing: refusing, runtime: Some(runtime) })
    }

    /// The snapshot's topology, its tablet records leading to the running tablets.
    pub fn topo(&self) -> Vec<CellRecord> {
        self.topo.clone()
    }

    /// The port of a tablet on 127.0.0.1, running or not. None for one whose record leads nowhere.
    pub fn port(&self, alias: &str) -> Option<u16> {
        self.ports.get(alias).copied()
    }

    /// How many calls have reached a tablet that would change something, whatever came of them. 0 for one that is not there.
    pub fn writes(&self, alias: &str) -> usize {
        self.writes.get(alias).map_or(0, |count| count.load(Ordering::SeqCst))
    }

    /// What of the snapshot is damaged and so not served: one line for each record and each tablet, with what to do. Empty when all
    /// is well.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The cells of a topology, with commas.
pub(crate) fn cells(topo: &[CellRecord]) -> String {
    let of = |record: &CellRecord| {
        let cell = record.path.strip_prefix("cells/")?.strip_suffix("/CellInfo")?;
        (record.cell == "global").then(|| cell.to_owned())
    };
    let mut cells: Vec<String> = topo.iter().filter_map(of).collect();
    cells.sort();
    cells.join(",")
}

fn serve(handle: &Handle, listener: TcpListener, tablet: Tablet, fault: Fault) {
    match fault {
        Fault::Hang => {
            handle.spawn(async move {
                let mut open = Vec::new();
                while let Ok((connection, _)) = listener.accept().await {
                    open.push(connection);
                }
            });
        }
        Fault::CloseConnection => {
            handle.spawn(async move {
                while let Ok((connection, _)) = listener.accept().await {
                    tokio::spawn(close_on_call(connection));
                }
            });
        }
        Fault::None | Fault::Garbage | Fault::Delay(_) | Fault::OnWrite(_) | Fault::Down => {
            let tablet = Arc::new(tablet);
            serve_as(handle, listener, TabletService(Arc::clone(&tablet)), move |connection| {
                tablet.severable.connection(connection)
            });
        }
    }
}

fn serve_as<S, C>(handle: &Handle, listener: TcpListener, service: S, mut cuttable: impl FnMut(TcpStream) -> C + Send + 'static)
where
    C: AsyncRead + AsyncWrite + Connected + Send + Unpin + 'static,
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    // Without it each answer waits 40 ms for the client's acknowledgement.
    let connections = TcpListenerStream::new(listener).map(move |accepted| {
        let connection = accepted?;
        connection.set_nodelay(true)?;
        io::Result::Ok(cuttable(connection))
    });
    handle.spawn(async move {
        // Ends with the runtime only: a listener's errors are handled by the server.
        let _ = Server::builder().accept_http1(true).serve_with_incoming(service, connections).await;
    });
}

/// A tablet whose recording cannot be read: every call fails with the reason, so that it never looks like an empty one.
#[derive(Clone)]
struct Damaged(Arc<str>);

impl tower::Service<http::Request<Body>> for Damaged {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        ready(Ok(Status::data_loss(&*self.0).into_http()))
    }
}

/// Speaks HTTP/2 up to the first request's headers, then drops the connection.
async fn close_on_call(mut connection: TcpStream) -> io::Result<()> {
    const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    connection.write_all(EMPTY_SETTINGS).await?;
    let mut preface = [0; 24];
    connection.read_exact(&mut preface).await?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await?;
        let [a, b, c, kind, ..] = head;
        if kind == HEADERS {
            return Ok(());
        }
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        connection.read_exact(&mut payload).await?;
    }
}

/// The databases, loaded on every processor. One that cannot be loaded is left out, with a warning.
fn engines<'a>(
    tablets: impl Iterator<Item = (&'a String, &'a TabletRows)>,
    clock: Clock,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, Engine>, ClusterError> {
    let all: Vec<(&String, &TabletRows)> = tablets.collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let load = |part: &[(&'a String, &'a TabletRows)]| {
        part.iter().map(|&(alias, rows)| (alias, Engine::new(rows, clock))).collect::<Vec<_>>()
    };
    let parts = std::thread::scope(|scope| {
        let size = all.len().div_ceil(threads).max(1);
        let workers: Vec<_> = all.chunks(size).map(|part| scope.spawn(move || load(part))).collect();
        let died = || ClusterError::Listen(io::Error::other("a loading thread died"));
        workers.into_iter().map(|worker| worker.join().map_err(|_| died())).collect::<Result<Vec<_>, _>>()
    })?;
    let mut engines = BTreeMap::new();
    for (alias, loaded) in parts.into_iter().flatten() {
        match loaded {
            Ok(engine) => {
                engines.insert(alias.clone(), engine);
            }
            Err(error) => warnings.push(one_line(&format!(
                "tablet {alias} is down, since its rows cannot be loaded: {error}; mend tablets/{alias}.json or take the snapshot again"
            ))),
        }
    }
    Ok(engines)
}
