//! The `TabletManager` service of one embedded tablet, on raw messages: which RPC a release has, what it answers, how it fails.
//!
//! It decodes requests, asks the engine and encodes answers; rows and SQL are `engine.rs` and `streams.rs`, sockets and faults
//! `cluster.rs`. Facts: `go/vt/vttablet/tabletmanager/rpc_server.go`, texts measured on v16 to v24.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use sqlparser::{
    dialect::MySqlDialect,
    tokenizer::{Token, Tokenizer},
};
use tokio::sync::{Mutex, Semaphore};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    server::{Grpc, UnaryService},
};
use vtflow_planner::proto::{
    query::{Field, QueryResult},
    tabletmanagerdata as data,
};

use super::{
    health::{self, HealthStream},
    migrations::{self, Place},
    positions, table_definitions, vdiff, vexec,
};
use crate::{
    bounds,
    fault::OnWrite,
    mysql::{
        engine::{Engine, MAX_ROWS},
        error::TabletError,
    },
    raw::RawCodec,
    release::Release,
    severable::Severable,
};

/// The longest message either way, in bytes: `--grpc-max-message-size` of a tablet.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// How long a statement may run: a query that never ends must not hold the cluster's few threads.
const LONGEST_STATEMENT: Duration = Duration::from_secs(5);

const SERVICE: &str = "tabletmanagerservice.TabletManager";

/// One tablet as its service sees it.
pub struct Tablet {
    /// Such as `zone1-0000000100`.
    pub alias: String,
    /// Its shard.
    pub shard: String,
    /// The database of its keyspace.
    pub db_name: String,
    /// Whether its type is PRIMARY: only then its vreplication engine is open.
    pub is_primary: bool,
    /// What it imitates.
    pub release: Release,
    /// The cluster's cells, with commas.
    pub cells: Arc<str>,
    /// What it says of its health, as `queryservice.Query` does.
    pub(crate) health: Bytes,
    /// How long every answer takes.
    pub delay: Duration,
    /// Whether it answers random bytes.
    pub garbage: bool,
    /// What goes wrong when it is to change something.
    pub on_write: Option<OnWrite>,
    /// What cuts its connections.
    pub(crate) severable: Severable,
    /// How many calls that would change something have come.
    pub writes: Arc<AtomicUsize>,
    /// Its database.
    pub engine: Arc<Mutex<Engine>>,
    /// How many statements may run at once in the whole cluster.
    pub running: Arc<Semaphore>,
}

/// The tower service that a listener serves.
#[derive(Clone)]
pub struct TabletService(pub Arc<Tablet>);

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl tower::Service<http::Request<Body>> for TabletService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.method() == http::Method::GET {
            let (tablet, path) = (Arc::clone(&self.0), request.uri().path().to_owned());
            return Box::pin(async move { Ok(tablet.page(&path).await) });
        }
        if request.uri().path() == health::PATH && !self.0.garbage {
            let health = HealthStream(self.0.health.clone());
            return Box::pin(async move { Ok(Grpc::new(RawCodec).server_streaming(health, request).await) });
        }
        let method = Method { tablet: Arc::clone(&self.0), path: request.uri().path().to_owned() };
        Box::pin(async move {
            let mut grpc =
                Grpc::new(RawCodec).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
            Ok(grpc.unary(method, request).await)
        })
    }
}

struct Method {
    tablet: Arc<Tablet>,
    path: String,
}

impl UnaryService<Bytes> for Method {
    type Response = Bytes;
    type Future = Answer<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (tablet, path) = (Arc::clone(&self.tablet), std::mem::take(&mut self.path));
        Box::pin(async move { tablet.answer(&path, request.into_inner()).await.map(Response::new) })
    }
}

impl Tablet {
    /// What its HTTP port serves: the variables, of which the build's are all that there are.
    async fn page(&self, path: &str) -> http::Response<Body> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let (status, text) = match path {
            "/debug/vars" if self.garbage => (http::StatusCode::OK, "\u{0} garbage".to_owned()),
            "/debug/vars" => (http::StatusCode::OK, self.release.variables().to_string()),
            _ => (http::StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        };
        let mut response = http::Response::new(Body::new(http_body_util::Full::new(Bytes::from(text))));
        *response.status_mut() = status;
        response
    }

    async fn answer(&self, path: &str, request: Bytes) -> Result<Bytes, Status> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if self.garbage {
            // A field number 0 in front: no message begins like that.
            return Ok(Bytes::from_static(b"\x00\xff\xfe garbage \x9f\x92\x96\x01\x02"));
        }
        let method = method_of(path, self.release)?;
        let is_write = is_write(&method, &request);
        if is_write {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        let on_write = self.on_write.filter(|_| is_write);
        if on_write == Some(OnWrite::Hang) {
            return std::future::pending().await;
        }
        let mut engine = Arc::clone(&self.engine).lock_owned().await;
        let permit = Arc::clone(&self.running).acquire_owned().await;
        let call = Call {
            alias: self.alias.clone(),
            shard: self.shard.clone(),
            db_name: self.db_name.clone(),
            is_primary: self.is_primary,
            release: self.release,
            cells: Arc::clone(&self.cells),
            method,
        };
        if on_write == Some(OnWrite::Refuse) {
            let text = "The MySQL server is running with the --super-read-only option so it cannot execute this statement";
            return Err(call.status(&TabletError::plain(format!("{text} (errno 1290) (sqlstate HY000)"))));
        }
        let stop = engine.stop();
        stop.clear();
        let mut done = tokio::task::spawn_blocking(move || {
            let answer = call.perform(&mut engine, &request);
            drop(permit);
            answer
        });
        let answer = if let Ok(answer) = tokio::time::timeout(LONGEST_STATEMENT, &mut done).await {
            answer
        } else {
            stop.stop();
            done.await
        };
        match on_write {
            Some(OnWrite::LoseAnswer) => self.severable.cut(),
            Some(OnWrite::Die) => self.severable.cut_for_good(),
            _ => {}
        }
        if on_write.is_some() {
            return std::future::pending().await;
        }
        answer.unwrap_or_else(|error| Err(Status::internal(format!("the embedded tablet failed: {error}"))))
    }
}

/// The method that a path names, if a tablet of this release has it.
pub(super) fn method_of(path: &str, release: Release) -> Result<String, Status> {
    match path.trim_start_matches('/').split_once('/') {
        Some((SERVICE, method)) if release.has_rpc(method) => Ok(method.to_owned()),
        Some((SERVICE, method)) => Err(Status::unimplemented(format!("unknown method {method} for service {SERVICE}"))),
        Some((service, _)) => Err(Status::unimplemented(format!("unknown service {service}"))),
        None => Err(Status::unimplemented(format!("malformed method name: {path:?}"))),
    }
}

/// One call, on a thread that may block.
pub(super) struct Call {
    pub(super) alias: String,
    pub(super) shard: String,
    pub(super) db_name: String,
    pub(super) is_primary: bool,
    pub(super) release: Release,
    pub(super) cells: Arc<str>,
    pub(super) method: String,
}

impl Call {
    pub(super) fn perform(&self, engine: &mut Engine, request: &[u8]) -> Result<Bytes, Status> {
        match self.method.as_str() {
            "Ping" => {
                let request: data::PingRequest = decode(request)?;
                Ok(encode(&data::PingResponse { payload: request.payload }))
            }
            "VReplicationExec" => {
                let request: data::VReplicationExecRequest = decode(request)?;
                let result = self.open().and_then(|()| engine.vreplication_exec(&request.query));
                self.finish(result, |result| data::VReplicationExecResponse { result: Some(result) })
            }
            "ReadVReplicationWorkflow" => {
                let request: data::ReadVReplicationWorkflowRequest = decode(request)?;
                let result = if request.workflow.is_empty() {
                    Err(TabletError::coded(Code::InvalidArgument, "invalid request, no workflow provided"))
                } else {
                    self.open().and_then(|()| engine.read_workflow(&self.db_name, &request.workflow))
                };
                self.finish(result, |response| response)
            }
            "ReadVReplicationWorkflows" => {
                let request: data::ReadVReplicationWorkflowsRequest = decode(request)?;
                let result = self.open().and_then(|()| engine.read_workflows(&self.db_name, &request));
                self.finish(result, |workflows| data::ReadVReplicationWorkflowsResponse { workflows })
            }
            "UpdateVReplicationWorkflow" => {
                let request: data::UpdateVReplicationWorkflowRequest = decode(request)?;
                let result = self.open().and_then(|()| engine.update_workflow(&self.db_name, &request));
                self.finish(result, |result| data::UpdateVReplicationWorkflowResponse { result })
            }
            "DeleteVReplicationWorkflow" => {
                let request: data::DeleteVReplicationWorkflowRequest = decode(request)?;
                let result = self.open().and_then(|()| engine.delete_workflow(&self.db_name, &request.workflow));
                self.finish(result, |result| data::DeleteVReplicationWorkflowResponse { result: Some(result) })
            }
            "ValidateVReplicationPermissions" => {
                // The user that tablets use for vreplication, who may do everything here.
                let (user, error) = ("vt_filtered".to_owned(), String::new());
                Ok(encode(&data::ValidateVReplicationPermissionsResponse { user, ok: true, error }))
            }
            "HasVReplicationWorkflows" => {
                let result = self.open().and_then(|()| engine.has_workflows(&self.db_name));
                self.finish(result, |has| data::HasVReplicationWorkflowsResponse { has })
            }
            "ExecuteFetchAsDba" => {
                let request: data::ExecuteFetchAsDbaRequest = decode(request)?;
                let result = self.fetch(engine, &request.query, &request.db_name, request.max_rows);
                self.finish(result.map_err(|error| to_grpc(&error)), |result| data::ExecuteFetchAsDbaResponse {
                    result: Some(result),
                })
            }
            "ExecuteFetchAsAllPrivs" => {
                let request: data::ExecuteFetchAsAllPrivsRequest = decode(request)?;
                let sql = String::from_utf8_lossy(&request.query);
                let result = engine.execute(&sql, database(&request.db_name), request.max_rows);
                self.finish(result.map_err(|error| to_grpc(&error)), |result| data::ExecuteFetchAsAllPrivsResponse {
                    result: Some(result),
                })
            }
            "ExecuteFetchAsApp" => {
                let request: data::ExecuteFetchAsAppRequest = decode(request)?;
                let sql = String::from_utf8_lossy(&request.query);
                let result = engine.execute(&sql, database(&self.db_name), request.max_rows);
                self.finish(result.map_err(|error| to_grpc(&error)), |result| data::ExecuteFetchAsAppResponse {
                    result: Some(result),
                })
            }
            "ExecuteMultiFetchAsDba" => {
                let request: data::ExecuteMultiFetchAsDbaRequest = decode(request)?;
                let result = multi_fetch(engine, &request);
                // Real tablets report this one under the other's name.
                let named = Self { method: "ExecuteFetchAsDba".to_owned(), ..self.clone_identity() };
                named.finish(result.map_err(|error| to_grpc(&error)), |results| data::ExecuteMultiFetchAsDbaResponse { results })
            }
            "ExecuteQuery" => {
                let request: data::ExecuteQueryRequest = decode(request)?;
                let sql = String::from_utf8_lossy(&request.query);
                let Self { alias, shard, db_name, is_primary, .. } = self;
                let place = Place { alias, shard, db_name, is_primary: *is_primary };
                let result = migrations::execute(engine, &sql, &place)
                    .unwrap_or_else(|| engine.execute(&sql, database(db_name), MAX_ROWS).map(without_metadata));
                self.finish(result.map_err(|error| to_grpc(&error)), |result| data::ExecuteQueryResponse { result: Some(result) })
            }
            "VDiff" => {
                let request: data::VDiffRequest = decode(request)?;
                let is_open = if self.is_primary { Ok(()) } else { Err(TabletError::plain("vdiff engine is closed")) };
                let Self { alias, shard, db_name, cells, .. } = self;
                let place = vdiff::Place { alias, shard, db_name, cells };
                let result = is_open.and_then(|()| engine.vdiff(&place, &request));
                self.finish(result, |response| response)
            }
            "PrimaryPosition" => Ok(encode(&data::PrimaryPositionResponse { position: positions::of_primary(&self.alias) })),
            "VReplicationWaitForPos" => {
                let request: data::VReplicationWaitForPosRequest = decode(request)?;
                let result = self.open().and_then(|()| engine.wait_for_position(&request));
                // An empty message.
                self.finish(result, |()| ())
            }
            // Nobody sends it queries, so that it has nothing to refuse by its shard's record; and it has no rows of any tenant.
            "RefreshState" | "DeleteTableData" => Ok(Bytes::new()),
            // No values are taken in advance here.
            "ResetSequences" => Ok(encode(&data::ResetSequencesResponse {})),
            "GetMaxValueForSequences" if request.is_empty() => Ok(Bytes::new()),
            "GetSchema" => {
                let request: data::GetSchemaRequest = decode(request)?;
                let result = table_definitions::of(engine, &self.db_name, &request);
                self.finish(result, |definition| data::GetSchemaResponse { schema_definition: Some(definition) })
            }
            "VExec" => {
                let request: data::VExecRequest = decode(request)?;
                let result = vexec::execute(engine, &request.query, &self.db_name, self.release);
                self.finish(result, |result| data::VExecResponse { result: Some(result) })
            }
            other => Err(Status::unimplemented(format!("{other} is not served by an embedded tablet"))),
        }
    }

    fn clone_identity(&self) -> Self {
        Self {
            alias: self.alias.clone(),
            shard: self.shard.clone(),
            db_name: self.db_name.clone(),
            is_primary: self.is_primary,
            release: self.release,
            cells: Arc::clone(&self.cells),
            method: self.method.clone(),
        }
    }

    /// The vreplication engine is open on primaries only.
    fn open(&self) -> Result<(), TabletError> {
        if self.is_primary { Ok(()) } else { Err(TabletError::coded(Code::Unavailable, "vreplication engine is closed")) }
    }

    fn finish<T, M: Message>(&self, result: Result<T, TabletError>, message: impl FnOnce(T) -> M) -> Result<Bytes, Status> {
        result.map(|value| encode(&message(value))).map_err(|error| self.status(&error))
    }

    /// The status that a tablet of this release wraps an error in.
    fn status(&self, error: &TabletError) -> Status {
        let Self { method, alias, .. } = self;
        let text = if self.release.wraps_twice() {
            format!("TabletManager.{method} on {alias} error: {error}: {error}")
        } else {
            format!("TabletManager.{method} on {alias}: {error}")
        };
        Status::new(if self.release.maps_codes() { error.code() } else { Code::Unknown }, truncated(text))
    }

    fn fetch(&self, engine: &mut Engine, query: &[u8], db_name: &str, max_rows: u64) -> Result<QueryResult, TabletError> {
        let sql = String::from_utf8_lossy(query);
        let statements = split(&sql);
        if statements.len() > 1 {
            if self.release.runs_many_as_dba() {
                let mut results = statements.iter().map(|sql| engine.execute(sql, database(db_name), max_rows));
                let first = results.next().unwrap_or_else(|| Ok(QueryResult::default()))?;
                // The rest runs too; nobody hears of it.
                results.for_each(drop);
                return Ok(first);
            }
            let text = "multi statement queries are not supported in ExecuteFetchAsDba";
            let unless = if self.release.maps_codes() { "" } else { " unless all are CREATE TABLE or CREATE VIEW" };
            return Err(TabletError::coded(Code::InvalidArgument, format!("{text}{unless}")));
        }
        engine.execute(&sql, database(db_name), max_rows)
    }
}

/// Whether a call would change something.
pub(super) fn is_write(method: &str, request: &[u8]) -> bool {
    let begins_with = |text: &str, word: &str| text.trim_start().get(..6).is_some_and(|verb| verb.eq_ignore_ascii_case(word));
    let is_query = |text: &str| begins_with(text, "select");
    match method {
        "UpdateVReplicationWorkflow" | "DeleteVReplicationWorkflow" | "RefreshState" | "DeleteTableData" | "ResetSequences" => {
            true
        }
        // Locks, and whatever waits, leave all as it is.
        "ExecuteFetchAsDba" => data::ExecuteFetchAsDbaRequest::decode(request).is_ok_and(|request| {
            let text = String::from_utf8_lossy(&request.query);
            ["insert", "update", "delete", "create", "rename", "drop t", "drop v"].iter().any(|word| begins_with(&text, word))
        }),
        "VDiff" => data::VDiffRequest::decode(request).is_ok_and(|request| request.action != "show"),
        "VReplicationExec" => data::VReplicationExecRequest::decode(request).is_ok_and(|request| !is_query(&request.query)),
        "ExecuteQuery" => {
            data::ExecuteQueryRequest::decode(request).is_ok_and(|request| !is_query(&String::from_utf8_lossy(&request.query)))
        }
        _ => false,
    }
}

/// What Vitess does to an error before the release's wrapping, in the handlers that pass statements to MySQL.
fn to_grpc(error: &TabletError) -> TabletError {
    let code = match error {
        TabletError::Coded { code, .. } => *code,
        // The mapping by errno takes place elsewhere: here the code is in the text only, and unknown.
        _ => Code::Unknown,
    };
    TabletError::Plain(truncated(format!("rpc error: code = {code:?} desc = {error}")))
}

fn truncated(mut text: String) -> String {
    const MOST: usize = 7680;
    if text.len() > MOST {
        let cut = (0..=MOST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push_str(" [...] [remainder of the error is truncated because gRPC has a size limit on errors.]");
    }
    text
}

fn multi_fetch(engine: &mut Engine, request: &data::ExecuteMultiFetchAsDbaRequest) -> Result<Vec<QueryResult>, TabletError> {
    let sql = String::from_utf8_lossy(&request.sql);
    let statements = split(&sql);
    if statements.is_empty() {
        return Err(TabletError::plain(format!("no statements found in query: {sql}")));
    }
    statements.iter().map(|sql| engine.execute(sql, database(&request.db_name), request.max_rows)).collect()
}

/// The statements of a text, without the semicolons between them.
fn split(sql: &str) -> Vec<String> {
    if bounds::check_length(sql).is_err() {
        // Whoever reads it says that it is too long.
        return vec![sql.to_owned()];
    }
    let Ok(tokens) = Tokenizer::new(&MySqlDialect {}, sql).with_unescape(false).tokenize() else { return vec![sql.to_owned()] };
    let mut statements = vec![String::new()];
    for token in tokens {
        match (token, statements.last_mut()) {
            (Token::SemiColon, _) => statements.push(String::new()),
            (token, Some(last)) => last.push_str(&token.to_string()),
            (_, None) => {}
        }
    }
    statements.into_iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

/// The query service sends names and types only.
fn without_metadata(mut result: QueryResult) -> QueryResult {
    for field in &mut result.fields {
        *field = Field { name: std::mem::take(&mut field.name), r#type: field.r#type, ..Field::default() };
    }
    result
}

fn database(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

fn decode<M: Message + Default>(request: &[u8]) -> Result<M, Status> {
    // What grpc-go says of a message that it cannot decode.
    M::decode(request).map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
}

fn encode<M: Message>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}
