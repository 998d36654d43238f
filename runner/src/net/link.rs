//! A connection to a peer, and whether it still is one.
//!
//! A NAT or a firewall that has dropped a connection does not say so: what is sent is swallowed, and nothing comes back. The
//! kernel is told to probe idle connections and to give up on bytes that nobody confirms; and while an answer is awaited on a
//! connection from which not a byte has come for a while, the peer is asked something else, which every gRPC server answers at
//! once, if only to say that it does not know it. A slow answer is thus told from a dead connection well before a deadline,
//! without the pings that Go servers punish (`go/vt/servenv/grpc_server.go`, the keepalive enforcement policy: one in 10 s).

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Uri};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until, timeout},
};
use tonic::transport::{Channel, Endpoint};
use tower::{ServiceExt, service_fn};

use super::{
    call::{CallError, Terms, unary},
    cause::root_cause,
    network::{Network, Stream},
};

/// A connection. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) channel: Channel,
    /// `None`: it does not leave the machine, and cannot get lost.
    heard: Option<Heard>,
}

/// How long silence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Without a byte from the peer, before it is asked whether it is there.
    silence: Duration,
    /// Until it has to say something then.
    answer: Duration,
}

/// When the last byte came.
#[derive(Clone)]
struct Heard(Arc<Mutex<Instant>>);

impl Patience {
    /// For an answer that is waited for so long: together well below a third of it.
    pub(crate) fn of(wait: Duration) -> Self {
        let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(2));
        Self { silence: (wait / 10).clamp(shortest, longest), answer: (wait / 6).clamp(shortest * 5, longest * 2) }
    }
}

impl Link {
    /// Connects, within `connect` where the caller has no time-out of its own around it. Bytes that the peer does not confirm within
    /// `unconfirmed` end the connection once it is made.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(crate) async fn dial(
        network: &Network,
        endpoint: &Endpoint,
        connect: Option<Duration>,
        unconfirmed: Duration,
    ) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(connect);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE / 4));
        tcp.set_keepalive_retries(Some(3));
        let heard = Heard(Arc::new(Mutex::new(Instant::now())));
        let (listened, other) = (heard.clone(), network.other().cloned());
        let connector = service_fn(move |uri: Uri| {
            let (tcp, heard, other) = (tcp.clone(), listened.clone(), other.clone());
            async move {
                let stream: Box<dyn Stream> = if let Some(other) = other {
                    other.dial(uri.authority().map_or("", |authority| authority.as_str())).await?
                } else {
                    let stream = tcp.oneshot(uri).await?.into_inner();
                    SockRef::from(&stream).set_tcp_user_timeout(Some(unconfirmed))?;
                    Box::new(stream)
                };
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(TokioIo::new(Listened { stream, heard }))
            }
        });
        let channel = endpoint.connect_with_connector(connector).await.map_err(|error| root_cause(&error))?;
        Ok(Self { channel, heard: Some(heard) })
    }

    /// Connects to a socket of this machine.
    ///
    /// # Errors
    /// As [`Link::dial`].
    pub(crate) async fn dial_here(endpoint: &Endpoint) -> Result<Self, String> {
        let channel = endpoint.connect().await.map_err(|error| root_cause(&error))?;
        Ok(Self { channel, heard: None })
    }

    /// The outcome of `call`, which is on this connection; `None` as soon as the connection turns out to be dead.
    pub(crate) async fn watched<T>(&self, patience: Patience, call: impl Future<Output = T>) -> Option<T> {
        let Some(heard) = &self.heard else { return Some(call.await) };
        let mut call = pin!(call);
        let mut since = Instant::now();
        let mut silence = patience.silence;
        loop {
            let until = since.max(heard.last()) + silence;
            tokio::select! {
                biased;
                outcome = &mut call => return Some(outcome),
                () = sleep_until(until) => {}
            }
            if heard.last() + silence > Instant::now() {
                continue;
            }
            let is_there = tokio::select! {
                biased;
                outcome = &mut call => return Some(outcome),
                is_there = self.answers(heard, patience) => is_there,
            };
            if !is_there {
                return None;
            }
            since = Instant::now();
            // It was there, and takes its time: asking it often would not make it faster.
            silence *= 2;
        }
    }

    /// Whether the connection is alive: something came a moment ago, or comes when the peer is asked. For what must not be sent
    /// twice, and so not into the void.
    pub(crate) async fn is_alive(&self, patience: Patience) -> bool {
        let Some(heard) = &self.heard else { return true };
        heard.last() + patience.silence > Instant::now() || self.answers(heard, patience).await
    }

    /// Asks the peer something, and says whether anything came: bytes of another answer count, which may be in the way of this one.
    async fn answers(&self, heard: &Heard, patience: Patience) -> bool {
        let before = heard.last();
        let metadata = HeaderMap::new();
        let terms = Terms { metadata: &metadata, limit_bytes: 1 << 16, timeout: patience.answer, room: None };
        let mut channel = self.channel.clone();
        let asked = timeout(patience.answer, unary(&mut channel, HEALTH, b"", &terms)).await;
        match asked {
            Ok(Ok(_) | Err(CallError::Status { .. } | CallError::TooLarge(_) | CallError::NoRoom(_))) => true,
            Ok(Err(CallError::Broken(_))) | Err(_) => heard.last() != before,
        }
    }
}

impl Heard {
    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A stream that notes when bytes come.
struct Listened {
    stream: Box<dyn Stream>,
    heard: Heard,
}

impl AsyncRead for Listened {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heard.now();
        }
        polled
    }
}

impl AsyncWrite for Listened {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What a connection that turned out to be dead says.
pub(crate) const GONE: &str = "the connection was lost without a word: nothing came back on it";

/// What the peer is asked: served by Vitess from v13 on and by etcd, and UNIMPLEMENTED elsewhere, which is an answer, too.
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// How long a connection is idle before the kernel probes it. A NAT that still has it is kept awake by that.
const KEEPALIVE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_connection_is_noticed_before_a_third_of_the_wait_is_over() {
        for seconds in [2, 5, 10, 60] {
            let wait = Duration::from_secs(seconds);
            let Patience { silence, answer } = Patience::of(wait);
            assert!((silence + answer) * 3 < wait, "{seconds}");
        }
    }
}
