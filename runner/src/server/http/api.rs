//! What the page asks of the server: which planner it has, and the trace of a read that it performs, or of the
//! preview of a change.
//!
//! Reads only (`only_reads.rs`), performed as every RPC is. What an RPC's caller has to prove is to be proven here, too: with `--grpc-auth-mode
//! static` a name and a password (HTTP Basic), with `--grpc-ca` a certificate. A request must be JSON and say so: no other site's
//! form can send that, and no header here lets another site's script read an answer.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::{sync::Semaphore, time::timeout};
use vtflow_planner::Call;

use crate::{
    net::grpc::code,
    server::{
        access::Auth,
        admission::Admission,
        audit::Audit,
        connections::Held,
        only_reads::{self, NotARead},
        perform::Performer,
        refusal::Refusal,
        rpc_log::RpcLogs,
    },
};

/// Bytes of a request's body.
const BODY_BYTES: usize = 1 << 20;
/// How long a request's body may take.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Requests performed at once: pages are for people, and the port has places for others.
const TURNS: usize = 16;

/// The cluster, for the page.
pub(crate) struct Api {
    performer: Arc<Performer>,
    auth: Arc<Auth>,
    rpc_logs: Arc<RpcLogs>,
    turns: Semaphore,
}

impl Api {
    /// `places` is how many connections the port may have.
    pub(crate) fn new(performer: Arc<Performer>, auth: Arc<Auth>, rpc_logs: Arc<RpcLogs>, places: usize) -> Self {
        Self { performer, auth, rpc_logs, turns: Semaphore::new(TURNS.min(places / 2)) }
    }

    /// Answers a request to `/api/…`.
    pub(crate) async fn answer(&self, request: Request<Incoming>, held: &Arc<Held>) -> Response<Full<Bytes>> {
        let answered = match (request.method(), request.uri().path()) {
            (&Method::GET, "/api/planner") => Ok(json(&self.performer.planner.build())),
            (&Method::POST, "/api/trace") => self.trace(request, held).await,
            (_, "/api/planner") => Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "GET only")),
            (_, "/api/trace") => Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "POST only")),
            _ => Err(Refused::new(StatusCode::NOT_FOUND, "there are /api/planner and /api/trace")),
        };
        answered.unwrap_or_else(Refused::response)
    }

    async fn trace(&self, request: Request<Incoming>, held: &Arc<Held>) -> Result<Response<Full<Bytes>>, Refused> {
        let (who, from) = self.admit(request.headers(), request.extensions())?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json"));
        }
        let busy = || Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages ask at once: try again");
        let length = request.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BODY_BYTES);
        let mut room = Admission::room();
        if !self.performer.admission.grow(&mut room, length.min(BODY_BYTES)) {
            return Err(busy());
        }
        let body = timeout(BODY_TIME, Limited::new(request.into_body(), BODY_BYTES).collect());
        let body = match body.await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is broken, or larger than 1 MiB")),
            Err(_) => return Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 10 s")),
        };
        let call: Call = serde_json::from_slice(&body).map_err(|error| {
            Refused::new(StatusCode::BAD_REQUEST, format!("the body is no call (path, request, options): {error}"))
        })?;
        let served = match only_reads::check(&call) {
            Ok(served) => served,
            Err(NotARead::Writes) => {
                let Call { path, request, .. } = call;
                let text = format!("{path} changes something: the page only reads, and previews with options.mode \"preview\"");
                let refusal = Refusal::new(code::UNIMPLEMENTED, text);
                let message = refusal.message.clone();
                Audit { id: self.rpc_logs.id(), who, from, path, request: Some(request.into()) }.refused(&refusal);
                return Err(Refused::new(StatusCode::FORBIDDEN, message));
            }
            Err(NotARead::NotServed) => {
                return Err(Refused::new(StatusCode::NOT_FOUND, format!("vtflow does not serve {}", call.path)));
            }
        };
        let Ok(_turn) = self.turns.try_acquire() else { return Err(busy()) };
        let _busy = held.work();
        let mut record = self.rpc_logs.begin(served.path, None);
        record.note("port", "http");
        let answered = self.performer.trace(call, &mut record).await;
        match &answered.result {
            Ok(()) => Ok(document(answered.frames.first().cloned().unwrap_or_default())),
            Err(refusal) => {
                let status = match refusal.code {
                    code::RESOURCE_EXHAUSTED | code::UNAVAILABLE => StatusCode::SERVICE_UNAVAILABLE,
                    code::DEADLINE_EXCEEDED => StatusCode::GATEWAY_TIMEOUT,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Err(Refused::new(status, refusal.message.clone()))
            }
        }
    }

    /// Lets a request in and says whose it is, as in the log, or says why not.
    fn admit(&self, headers: &HeaderMap, extensions: &http::Extensions) -> Result<(String, String), Refused> {
        let mut proven = HeaderMap::new();
        let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let pair = basic.and_then(|text| String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok());
        if let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':'))
            && let (Ok(name), Ok(password)) = (HeaderValue::from_str(name), HeaderValue::from_str(password))
        {
            proven.insert("username", name);
            proven.insert("password", password);
        }
        let caller = || self.auth.caller(&proven, extensions);
        self.auth.let_in("http", &proven, extensions).map(|()| caller()).map_err(|refusal| {
            // A name and a password do not help who lacks a certificate.
            let is_by_certificate = self.auth.is_by_certificate();
            let status = if is_by_certificate { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
            Refused::new(status, refusal.message)
        })
    }
}

/// Why a request is not answered.
struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = json(&serde_json::json!({ "error": self.message }));
        *response.status_mut() = self.status;
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"vtflow\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    document(serde_json::to_vec(value).unwrap_or_default().into())
}

fn document(text: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
