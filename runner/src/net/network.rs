//! Who makes connections, in both directions: the kernel, or whoever a test puts in its place.
//!
//! Everything above this file takes a connection as a stream of bytes and never asks where it came from. What only the kernel can
//! be told (to probe an idle connection, to give up on bytes that nobody confirms) is told where a kernel's connection is made.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// A connection's bytes, in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is being made.
pub type Dialed<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Who dials in the kernel's place.
pub trait Dial: Send + Sync {
    /// Connects to `address`, host and port. Dropping the future gives the attempt up.
    fn dial<'a>(&'a self, address: &'a str) -> Dialed<'a>;
}

/// Who dials: the kernel, unless told otherwise.
#[derive(Clone, Default)]
pub struct Network(Option<Arc<dyn Dial>>);

impl Network {
    /// A network of `dial`'s.
    pub fn of(dial: Arc<dyn Dial>) -> Self {
        Self(Some(dial))
    }

    /// Who dials in the kernel's place, if anybody does.
    pub(crate) fn other(&self) -> Option<&Arc<dyn Dial>> {
        self.0.as_ref()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Network(other)" } else { "Network(kernel)" })
    }
}

/// Where a server's connections come from.
pub trait Listener: Send + Sync + 'static {
    /// What comes.
    type Incoming: Incoming;

    /// The next connection. Dropping the future loses none.
    ///
    /// # Errors
    /// As `accept(2)`.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Incoming>> + Send;

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    fn address(&self) -> io::Result<SocketAddr>;
}

/// A connection that somebody else has made.
pub trait Incoming: Stream + 'static {
    /// Makes it ready, and says where its other end is, if that is known.
    ///
    /// # Errors
    /// It has ended already.
    fn greet(&self) -> io::Result<Option<SocketAddr>>;
}

impl Listener for TcpListener {
    type Incoming = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl Incoming for TcpStream {
    fn greet(&self) -> io::Result<Option<SocketAddr>> {
        // Without it each answer waits 40 ms for the client's acknowledgement.
        self.set_nodelay(true)?;
        Ok(self.peer_addr().ok())
    }
}
