//! Connections that can be cut: how a tablet loses an answer that it has already earned, or dies with it.
//!
//! Only the breaking; when it happens is decided in `service.rs`.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};
use tonic::transport::server::Connected;

/// The connections of one tablet, which can all be cut: how often that has happened, or [`FOR_GOOD`].
pub(crate) struct Severable(watch::Sender<u64>);

const FOR_GOOD: u64 = u64::MAX;

impl Severable {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Cuts what is connected now.
    pub(crate) fn cut(&self) {
        self.0.send_modify(|times| *times = times.saturating_add(1));
    }

    /// Cuts what is connected now, and at once whatever connects later.
    pub(crate) fn cut_for_good(&self) {
        self.0.send_replace(FOR_GOOD);
    }

    pub(crate) fn connection(&self, stream: TcpStream) -> Connection {
        let mut times = self.0.subscribe();
        let cut = async move {
            if *times.borrow_and_update() != FOR_GOOD {
                // An error says that the tablet is gone, and its connections with it.
                let _ = times.changed().await;
            }
        };
        Connection { stream, cut: Some(Box::pin(cut)) }
    }
}

/// One connection, whole until it is cut.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Ends when the connection is cut; gone once it has.
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Connection {
    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        if self.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(context).is_ready()) {
            self.cut = None;
        }
        self.cut.is_none()
    }
}

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_cut(context) { reset() } else { Pin::new(&mut self.stream).poll_read(context, into) }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.is_none() { reset() } else { Pin::new(&mut self.stream).poll_write(context, bytes) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}
