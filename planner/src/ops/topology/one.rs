//! Reads of one record that becomes one field of the reply: which record each is, and what its lack means.

use super::records::{Read, check, check_cell, no_node};
use crate::{
    contract::{Answer, AskId, Call, Code, Reply, Status, What},
    operation::{Asks, Operation, decode},
    proto::{topodata, vschema, vtctldata as rpcs},
    topo::names::{self, GLOBAL, KeyspaceName, ShardName},
    wire::Message,
};

/// One record on its way into a reply.
pub(super) struct One {
    read: OneRead,
    /// Replaced by the answer.
    result: Result<Vec<u8>, Status>,
}

/// Which record, and how it becomes the reply.
pub(super) struct OneRead {
    cell: String,
    path: String,
    missing: Missing,
    shape: Shape,
    check: fn(&[u8]) -> Result<(), prost::DecodeError>,
    /// What stands before the decoder's text when the record cannot be read.
    bad: String,
}

/// What the lack of the record means.
#[derive(Clone, Copy)]
enum Missing {
    /// The request fails.
    Error,
    /// The reply has an empty record.
    EmptyRecord,
    /// The reply is empty.
    EmptyReply,
}

/// Where the record stands in the reply.
enum Shape {
    /// Field 1.
    Field,
    /// In field 1, beside its name.
    Keyspace(String),
    /// In field 1, beside its names.
    Shard(String, String),
}

impl One {
    /// Begins a read.
    pub(super) fn start(read: fn(&Call) -> Result<OneRead, Status>, call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let read = read(call)?;
        asks.release(What::TopoGet { cell: read.cell.clone(), path: read.path.clone() });
        Ok(Self { read, result: Err(Status::unknown("no answer")) })
    }

    fn reply(&self, value: &[u8]) -> Vec<u8> {
        let record = match &self.read.shape {
            Shape::Field => return Message::new().message(1, value).into_bytes(),
            Shape::Keyspace(name) => Message::new().string(1, name).message(2, value),
            Shape::Shard(keyspace, name) => Message::new().string(1, keyspace).string(2, name).message(3, value),
        };
        Message::new().message(1, &record.into_bytes()).into_bytes()
    }
}

impl Operation for One {
    fn answered(&mut self, _id: AskId, answer: Answer, _asks: &mut Asks) {
        self.result = match (Read::from(answer), self.read.missing) {
            (Read::Found(value), _) => match (self.read.check)(&value) {
                Ok(()) => Ok(self.reply(&value)),
                Err(error) => Err(Status::unknown(format!("{}{error}", self.read.bad))),
            },
            (Read::Missing(_), Missing::EmptyRecord) => Ok(self.reply(&[])),
            (Read::Missing(_), Missing::EmptyReply) => Ok(Vec::new()),
            (Read::Missing(text) | Read::Failed(text), _) => Err(Status::unknown(text)),
        };
    }

    fn finish(&mut self) -> Reply {
        Reply::new(std::mem::replace(&mut self.result, Ok(Vec::new())), Vec::new())
    }
}

pub(super) fn keyspace(call: &Call) -> Result<OneRead, Status> {
    let name = decode::<rpcs::GetKeyspaceRequest>(call)?.keyspace;
    // The text is doubled in Vitess, too.
    let keyspace = KeyspaceName::parse(&name).map_err(|bad| Status::unknown(format!("GetKeyspace: {bad}: {bad}")))?;
    let read = OneRead { bad: "bad keyspace data: ".into(), ..global::<topodata::Keyspace>(keyspace.record_path()) };
    Ok(OneRead { shape: Shape::Keyspace(name), ..read })
}

pub(super) fn shard(call: &Call) -> Result<OneRead, Status> {
    let rpcs::GetShardRequest { keyspace, shard_name } = decode(call)?;
    let name = KeyspaceName::parse(&keyspace).map_err(|bad| Status::unknown(bad.to_string()))?;
    let path = name.shard_path(&ShardName::of_request(&shard_name).map_err(Status::unknown)?);
    let bad = format!("GetShard({keyspace},{shard_name}): bad shard data: ");
    let read = OneRead { bad, ..global::<topodata::Shard>(path) };
    Ok(OneRead { shape: Shape::Shard(keyspace, shard_name), ..read })
}

pub(super) fn cell_info(call: &Call) -> Result<OneRead, Status> {
    let cell = decode::<rpcs::GetCellInfoRequest>(call)?.cell;
    if cell.is_empty() {
        return Err(Status::unknown("cell field is required"));
    }
    check_cell(&cell)?;
    Ok(global::<topodata::CellInfo>(names::cell_info_path(&cell)))
}

pub(super) fn tablet(call: &Call) -> Result<OneRead, Status> {
    let request: rpcs::GetTabletRequest = decode(call)?;
    let Some(alias) = request.tablet_alias else {
        return Err(Status { code: Code::InvalidArgument, message: "tablet_alias is required".into() });
    };
    check_cell(&alias.cell)?;
    let path = names::tablet_path(&names::alias_text(Some(&alias)));
    Ok(OneRead { cell: alias.cell, ..global::<topodata::Tablet>(path) })
}

pub(super) fn vschema(call: &Call) -> Result<OneRead, Status> {
    let keyspace = decode::<rpcs::GetVSchemaRequest>(call)?.keyspace;
    let no_vschema = |_| Status::unknown(no_node(&format!("keyspaces/{keyspace}/VSchema")));
    let path = KeyspaceName::parse(&keyspace).map_err(no_vschema)?.vschema_path();
    let bad = format!("bad vschema data: {path}: ");
    Ok(OneRead { bad, ..global::<vschema::Keyspace>(path) })
}

pub(super) fn srv_vschema(call: &Call) -> Result<OneRead, Status> {
    let cell = decode::<rpcs::GetSrvVSchemaRequest>(call)?.cell;
    check_cell(&cell)?;
    Ok(OneRead { cell, ..global::<vschema::SrvVSchema>("SrvVSchema".into()) })
}

pub(super) fn routing_rules(call: &Call) -> Result<OneRead, Status> {
    rules::<vschema::RoutingRules>(call, "RoutingRules", Missing::EmptyRecord)
}

pub(super) fn shard_routing_rules(call: &Call) -> Result<OneRead, Status> {
    rules::<vschema::ShardRoutingRules>(call, "ShardRoutingRules", Missing::EmptyRecord)
}

pub(super) fn keyspace_routing_rules(call: &Call) -> Result<OneRead, Status> {
    rules::<vschema::KeyspaceRoutingRules>(call, "routing_rules/keyspace/Rules", Missing::EmptyReply)
}

pub(super) fn mirror_rules(call: &Call) -> Result<OneRead, Status> {
    rules::<vschema::MirrorRules>(call, "MirrorRules", Missing::EmptyRecord)
}

fn rules<M: prost::Message + Default>(call: &Call, path: &str, missing: Missing) -> Result<OneRead, Status> {
    // The request has no fields, but bytes that are no message are refused.
    decode::<()>(call)?;
    Ok(OneRead { missing, ..global::<M>(path.into()) })
}

fn global<M: prost::Message + Default>(path: String) -> OneRead {
    let bad = format!("the record {path} cannot be read: ");
    OneRead { cell: GLOBAL.into(), path, missing: Missing::Error, shape: Shape::Field, check: check::<M>, bad }
}
