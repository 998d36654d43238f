//! A network between two peers that can be cut: a relay of TCP connections.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Network {
    /// Bytes go through.
    Open = 0,
    /// Nothing goes through and nobody is told: connections are accepted and stay silent, what is sent is lost.
    Silent = 1,
    /// Connections are ended, and new ones as soon as they are there.
    Refusing = 2,
}

/// A relay, on until the process ends.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    state: Arc<AtomicU8>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    /// Listens on an address and passes connections on to another one.
    pub(crate) fn start(address: SocketAddr, target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("a relay cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let state = Arc::new(AtomicU8::new(Network::Open as u8));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let (shared, all) = (Arc::clone(&state), Arc::clone(&streams));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, all) = (Arc::clone(&shared), Arc::clone(&all));
                thread::spawn(move || {
                    let _ = pass_on(stream, target, &shared, &all);
                });
            }
        });
        Ok(Self { address, state, streams })
    }

    /// Sets what becomes of connections. Those that were cut silently are ended when the network is open again: what was lost on
    /// them does not come back, and a peer that goes on would read nonsense.
    pub(crate) fn set(&self, network: Network) {
        let before = self.state.swap(network as u8, Ordering::SeqCst);
        let ends = network == Network::Refusing || before == Network::Silent as u8;
        if ends && let Ok(mut streams) = self.streams.lock() {
            for stream in streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn pass_on(near: TcpStream, target: SocketAddr, state: &Arc<AtomicU8>, all: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    while state.load(Ordering::SeqCst) == Network::Silent as u8 {
        thread::sleep(Duration::from_millis(50));
    }
    if state.load(Ordering::SeqCst) == Network::Refusing as u8 {
        return near.shutdown(Shutdown::Both);
    }
    let far = TcpStream::connect(target)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    if let Ok(mut all) = all.lock() {
        all.extend([near.try_clone()?, far.try_clone()?]);
    }
    let (from_far, to_near, shared) = (far.try_clone()?, near.try_clone()?, Arc::clone(state));
    thread::spawn(move || copy(from_far, to_near, &shared));
    copy(near, far, state);
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if state.load(Ordering::SeqCst) == Network::Silent as u8 {
            continue;
        }
        if buffer.get(..count).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
