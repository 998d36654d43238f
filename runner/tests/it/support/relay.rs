//! A way to a server that can be made slow, silent or shut while it is in use: a TCP relay on a port of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::serving::eventually;

/// What the relay does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They pass.
    Open,
    /// They pass, in both directions, so much later.
    Late(Duration),
    /// Connections are accepted, and what is sent is kept: as a process that is stopped.
    Silent,
    /// Connections are refused, and those that there were are closed: as a process that was killed.
    Refused,
}

#[derive(Clone, Copy)]
struct State {
    way: Way,
    /// Connections of an earlier one are closed.
    generation: u64,
    /// What goes through connections of an earlier one is lost, and they stay open.
    lost: u64,
}

/// Gone when dropped, with all its connections.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    /// How many bytes have come from clients.
    taken: watch::Receiver<u64>,
    listening: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(server: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State { way: Way::Open, generation: 0, lost: 0 }));
        let (count, taken) = watch::channel(0);
        let listening = tokio::spawn(listen(listener, address, server.into(), state.subscribe(), Arc::new(count)));
        Self { address, state, taken, listening }
    }

    /// From now on. Returns when connections are refused, or are no longer.
    pub(crate) async fn be(&self, way: Way) {
        let was = self.state.borrow().way;
        self.state.send_modify(|state| state.way = way);
        if (was == Way::Refused) != (way == Way::Refused) {
            wait_until(way, || async { TcpStream::connect(self.address).await.is_err() == (way == Way::Refused) }).await;
        }
        if way == Way::Refused {
            // After the listener: who dials again because a connection broke is refused, as after a kill.
            self.cut();
        }
    }

    /// Closes the connections that there are; new ones are welcome.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Forgets the connections that there are without telling anybody, as a NAT does; new ones are welcome.
    pub(crate) fn lose(&self) {
        self.state.send_modify(|state| state.lost += 1);
    }

    /// Waits until a client has sent something since `before`, see [`Relay::bytes`].
    pub(crate) async fn is_asked_since(&self, before: u64) {
        eventually("a client sends something", || self.bytes() > before).await;
    }

    /// How many bytes clients have sent so far, passed on or not.
    pub(crate) fn bytes(&self) -> u64 {
        *self.taken.borrow()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
        self.listening.abort();
    }
}

async fn wait_until<F: Future<Output = bool>>(way: Way, holds: impl Fn() -> F) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the relay is not {way:?}");
}

async fn listen(
    first: TcpListener,
    address: SocketAddr,
    server: String,
    mut state: watch::Receiver<State>,
    count: Arc<watch::Sender<u64>>,
) {
    let mut listener = Some(first);
    loop {
        let way = state.borrow_and_update().way;
        if way == Way::Refused {
            listener = None;
            if state.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => TcpListener::bind(address).await.expect("the port is still free"),
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(pass(client, server.clone(), state.clone(), Arc::clone(&count)));
                }
            }
            _ = state.changed() => {}
        }
        listener = Some(open);
    }
}

async fn pass(client: TcpStream, server: String, state: watch::Receiver<State>, count: Arc<watch::Sender<u64>>) {
    let mut until = state.clone();
    let born = until.borrow_and_update().generation;
    let both = async {
        let Ok(server) = TcpStream::connect(&server).await else { return };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // The end of one direction is the end of both: HTTP/2 has no half-open connections.
        tokio::select! {
            () = pump(from_client, to_server, state.clone(), |bytes| count.send_modify(|sum| *sum += bytes)) => {}
            () = pump(from_server, to_client, state, |_| {}) => {}
        }
    };
    tokio::select! {
        () = both => {}
        _ = until.wait_for(|state| state.generation != born) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    taken: impl Fn(u64),
) {
    let born = state.borrow().lost;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        let came = Instant::now();
        taken(bytes as u64);
        let Ok(way) = state.wait_for(|state| !matches!(state.way, Way::Silent | Way::Refused)).await.map(|state| state.way)
        else {
            return;
        };
        if state.borrow().lost != born {
            continue;
        }
        if let Way::Late(delay) = way {
            sleep_until(came + delay).await;
        }
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}
