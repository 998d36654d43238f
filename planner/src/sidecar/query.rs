//! One thing that is asked of a tablet about its sidecar tables, or one change of them: what it says, and how it travels.
//!
//! Every request to a tablet that carries a statement is made here, whoever reads or writes. *How* is one enum, because Vitess moves
//! from statements to typed RPCs, a release at a time: what a tablet does not know by one way is asked for by another.

use prost::{DecodeError, Message};

use crate::{
    contract::{About, Effect, TabletAddress, What},
    limits,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{
            ExecuteFetchAsDbaRequest, ExecuteFetchAsDbaResponse, ExecuteQueryRequest, ExecuteQueryResponse,
            VReplicationExecRequest, VReplicationExecResponse,
        },
        vtrpc::CallerId,
    },
    rpc,
    topo::targets::Target,
};

/// A question or a change, as it is sent to any number of tablets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    /// How a tablet is asked.
    pub(crate) how: How,
    /// Whether it changes anything.
    pub(crate) effect: Effect,
    /// What it is for, in a word that plans show.
    pub(crate) subject: &'static str,
    /// The statement; of an RPC that carries none, one that does the same, or nothing.
    pub(crate) statement: String,
}

/// The ways to a sidecar table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
    /// [`rpc::VREPLICATION_EXEC`]: one statement on the tables of vreplication. Primaries only; every release.
    VReplicationExec,
    /// [`rpc::EXECUTE_FETCH_AS_DBA`]: any statement on any tablet, replicas too. Empty `db_name`: no database is chosen.
    ExecuteFetchAsDba { db_name: String, max_rows: usize },
    /// [`rpc::EXECUTE_QUERY`]: the tablet's own query service, which alone knows `alter vitess_migration`.
    ExecuteQuery { db_name: String, max_rows: u64, caller_id: Option<CallerId> },
    /// An RPC with a message of its own.
    Typed { path: &'static str, request: Vec<u8> },
}

impl Query {
    /// A statement that reads vreplication's tables.
    pub(crate) fn vreplication(subject: &'static str, statement: String) -> Self {
        Self { how: How::VReplicationExec, effect: Effect::Read, subject, statement }
    }

    /// A statement that reads as the DBA user, in the tablet's database.
    pub(crate) fn dba(subject: &'static str, statement: String, db_name: &str) -> Self {
        let how = How::ExecuteFetchAsDba { db_name: db_name.to_owned(), max_rows: limits::TABLET_ROWS };
        Self { how, effect: Effect::Read, subject, statement }
    }

    /// A statement as the DBA user of which one row comes at most.
    pub(crate) fn dba_row(subject: &'static str, statement: String, db_name: &str) -> Self {
        Self::by(How::ExecuteFetchAsDba { db_name: db_name.to_owned(), max_rows: 1 }, subject, statement)
    }

    /// A statement on tables that changes something, as the DBA user; the tablet reads its schema again after it.
    pub(crate) fn dba_tables(subject: &'static str, statement: String, db_name: &str, disable_foreign_key_checks: bool) -> Self {
        let request = ExecuteFetchAsDbaRequest {
            query: statement.clone().into_bytes(),
            db_name: db_name.to_owned(),
            max_rows: 1,
            reload_schema: true,
            disable_foreign_key_checks,
            ..ExecuteFetchAsDbaRequest::default()
        };
        Self { statement, ..Self::typed(rpc::EXECUTE_FETCH_AS_DBA, &request, subject) }.that_writes()
    }

    /// An RPC that reads and carries no statement.
    pub(crate) fn typed(path: &'static str, request: &impl Message, subject: &'static str) -> Self {
        let how = How::Typed { path, request: request.encode_to_vec() };
        Self { how, effect: Effect::Read, subject, statement: String::new() }
    }

    /// A statement that goes another way than the usual one.
    pub(crate) fn by(how: How, subject: &'static str, statement: String) -> Self {
        Self { how, effect: Effect::Read, subject, statement }
    }

    /// The same, but it changes something.
    #[must_use]
    pub(crate) fn that_writes(self) -> Self {
        Self { effect: Effect::Write, ..self }
    }

    /// The gRPC path of the tablet's RPC.
    pub(crate) fn path(&self) -> &'static str {
        match &self.how {
            How::VReplicationExec => rpc::VREPLICATION_EXEC,
            How::ExecuteFetchAsDba { .. } => rpc::EXECUTE_FETCH_AS_DBA,
            How::ExecuteQuery { .. } => rpc::EXECUTE_QUERY,
            How::Typed { path, .. } => path,
        }
    }

    /// The request message, protobuf.
    pub(crate) fn request(&self) -> Vec<u8> {
        match &self.how {
            How::VReplicationExec => VReplicationExecRequest { query: self.statement.clone() }.encode_to_vec(),
            How::ExecuteFetchAsDba { db_name, max_rows } => ExecuteFetchAsDbaRequest {
                query: self.statement.clone().into_bytes(),
                db_name: db_name.clone(),
                max_rows: *max_rows as u64,
                ..ExecuteFetchAsDbaRequest::default()
            }
            .encode_to_vec(),
            How::ExecuteQuery { db_name, max_rows, caller_id } => ExecuteQueryRequest {
                query: self.statement.clone().into_bytes(),
                db_name: db_name.clone(),
                max_rows: *max_rows,
                caller_id: caller_id.clone(),
            }
            .encode_to_vec(),
            How::Typed { request, .. } => request.clone(),
        }
    }

    /// The call that asks this of one tablet.
    pub(crate) fn ask(&self, target: &Target) -> What {
        self.call(&target.address, &target.keyspace, &target.place.shard, &target.db_name)
    }

    /// As [`Query::ask`], of a tablet that need not be a primary.
    pub(crate) fn call(&self, tablet: &TabletAddress, keyspace: &str, shard: &str, db_name: &str) -> What {
        let about = About {
            keyspace: keyspace.to_owned(),
            shard: shard.to_owned(),
            db_name: db_name.to_owned(),
            subject: self.subject.into(),
            statement: self.statement.clone(),
        };
        What::TabletCall {
            tablet: tablet.clone(),
            path: self.path().into(),
            request: self.request(),
            effect: self.effect,
            limit_ms: 0,
            about,
        }
    }

    /// The result in a response: `None` where the tablet answered without one, or the RPC has none.
    ///
    /// # Errors
    /// The bytes are no such response.
    pub(crate) fn result(&self, response: &[u8]) -> Result<Option<QueryResult>, DecodeError> {
        match &self.how {
            How::VReplicationExec => VReplicationExecResponse::decode(response).map(|response| response.result),
            How::ExecuteFetchAsDba { .. } => ExecuteFetchAsDbaResponse::decode(response).map(|response| response.result),
            How::ExecuteQuery { .. } => ExecuteQueryResponse::decode(response).map(|response| response.result),
            How::Typed { .. } => Ok(None),
        }
    }
}
