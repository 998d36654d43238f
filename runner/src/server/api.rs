//! What the page asks of the server: which planner it has, and the trace of a read that it performs.
//!
//! Reads only. What an RPC's caller has to prove is to be proven here, too: with `--grpc-auth-mode static` a name and a password
//! (HTTP Basic); with `mtls` there is nobody to ask, since this port has no certificates, so nothing is answered. A request must be
//! JSON and say so: no other site's form can send that, and no header here lets another site's script read an answer.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use vtflow_planner::{Call, Effect, rpc};

use super::{Clock, auth::Auth, metrics::Metrics};
use crate::{
    drive::{ClusterIo, drive},
    planner_host::PlannerHost,
    trace::Recorder,
};

/// Bytes of a request's body.
const BODY_BYTES: usize = 1 << 20;
/// How long a request's body may take, and how long its answer.
const BODY_TIME: Duration = Duration::from_secs(10);
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Requests performed at once: pages are for people.
const TURNS: usize = 16;

/// The cluster, for the page.
pub(super) struct Api {
    planner: PlannerHost,
    io: ClusterIo,
    now: Clock,
    auth: Arc<Auth>,
    metrics: Arc<Metrics>,
    turns: Semaphore,
}

impl Api {
    pub(super) fn new(planner: PlannerHost, io: ClusterIo, now: Clock, auth: Arc<Auth>, metrics: Arc<Metrics>) -> Self {
        Self { planner, io, now, auth, metrics, turns: Semaphore::new(TURNS) }
    }

    /// Answers a request to `/api/…`.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answered = match (request.method(), request.uri().path()) {
            (&Method::GET, "/api/planner") => Ok(json(&self.planner.build())),
            (&Method::POST, "/api/trace") => self.trace(request).await,
            (_, "/api/planner") => Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "GET only")),
            (_, "/api/trace") => Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "POST only")),
            _ => Err(Refused::new(StatusCode::NOT_FOUND, "there are /api/planner and /api/trace")),
        };
        answered.unwrap_or_else(Refused::response)
    }

    async fn trace(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refused> {
        self.admit(request.headers())?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json"));
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
        match rpc::served(&call.path) {
            Some(served) if served.effect == Effect::Read => {}
            Some(_) => {
                return Err(Refused::new(StatusCode::FORBIDDEN, format!("{} changes something: the page only reads", call.path)));
            }
            None => return Err(Refused::new(StatusCode::NOT_FOUND, format!("vtflow does not serve {}", call.path))),
        }
        let Ok(_turn) = self.turns.try_acquire() else {
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages ask at once: try again"));
        };
        let now = (self.now)();
        let recorder = Recorder::new();
        let until = Some(Instant::now() + ANSWER_TIME);
        let reply = drive(self.planner.start(&call, now), &self.io, until, &(&recorder, &*self.metrics)).await;
        Ok(json(&recorder.ended(self.planner.build(), &call, now, &reply)))
    }

    /// Lets a request in, or says why not.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        if self.auth.is_by_certificate() {
            return Err(Refused::new(
                StatusCode::FORBIDDEN,
                "callers prove who they are by certificates, which this port has not",
            ));
        }
        let mut proven = HeaderMap::new();
        let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let pair = basic.and_then(|text| String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok());
        if let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':'))
            && let (Ok(name), Ok(password)) = (HeaderValue::from_str(name), HeaderValue::from_str(password))
        {
            proven.insert("username", name);
            proven.insert("password", password);
        }
        self.auth
            .check(&proven, &http::Extensions::new())
            .map_err(|refusal| Refused::new(StatusCode::UNAUTHORIZED, refusal.message.clone()))
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
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(text.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
