//! What a plan says of acts.

use prost::Message;

use super::{Act, Call, Run, Then};
use crate::{
    contract::{PlannedRow, PlannedWrite},
    cutover::{edit, scene::Scene, stored::Stored},
    proto::tabletmanagerdata::VReplicationWaitForPosRequest,
    rpc,
};

impl Act {
    /// What a plan says of it; `None`: it changes nothing.
    pub(crate) fn planned(&self, scene: &Scene, run: &Run, step: &str) -> Option<PlannedWrite> {
        let row = |basis: String| vec![PlannedRow { name: step.to_owned(), about: String::new(), basis }];
        match self {
            Self::Call(call) if call.query.effect == crate::Effect::Read => None,
            Self::Call(call) => Some(PlannedWrite {
                keyspace: call.keyspace.clone(),
                shard: call.shard.clone(),
                tablet: call.tablet.alias.clone(),
                address: call.tablet.address(),
                db_name: call.db_name.clone(),
                rpc: call.query.path().into(),
                request: call.query.request(),
                statement: call.query.statement.clone(),
                rows: row(String::new()),
            }),
            Self::Edit(record) => {
                let key = (record.cell.clone(), record.path.clone());
                let before = run.records.get(&key).unwrap_or(&record.base);
                let after = record.edit.apply(&before.value).unwrap_or_default();
                let changes = after != before.value;
                changes.then(|| PlannedWrite {
                    keyspace: record.keyspace.clone(),
                    shard: record.shard.clone(),
                    tablet: record.cell.clone(),
                    address: record.path.clone(),
                    db_name: String::new(),
                    rpc: String::new(),
                    request: after,
                    statement: record.edit.to_string(),
                    rows: row(format!("version {}", record.base.version)),
                })
            }
            Self::Newcomers(_) => None,
            Self::Delete(record) => Some(PlannedWrite {
                keyspace: record.keyspace.clone(),
                shard: record.shard.clone(),
                tablet: record.cell.clone(),
                address: record.path.clone(),
                db_name: String::new(),
                rpc: String::new(),
                request: Vec::new(),
                statement: "delete the record".into(),
                rows: row(format!("version {}", record.version)),
            }),
            Self::Rebuild { cell } => {
                let before = run.served.get(cell).cloned().unwrap_or_default();
                let after = run.srv_vschema(scene, None).unwrap_or_default();
                Some(PlannedWrite {
                    keyspace: scene.target_keyspace.clone(),
                    shard: String::new(),
                    tablet: cell.clone(),
                    address: "SrvVSchema".into(),
                    db_name: String::new(),
                    rpc: String::new(),
                    request: after,
                    statement: "made anew from the vschemas and the rules".into(),
                    rows: row(format!("version {}", before.version)),
                })
            }
        }
    }

    /// What a plan says of calls that change nothing; empty: it makes none.
    pub(crate) fn reads(&self) -> Vec<String> {
        match self {
            Self::Newcomers(of) => of.ranges().into_iter().map(|(cell, prefix)| format!("{cell}  range {prefix}")).collect(),
            Self::Call(call) if call.query.effect == crate::Effect::Read => vec![call.read()],
            _ => Vec::new(),
        }
    }

    /// Writes into the run of a plan what the act would write: later steps are made from it.
    pub(crate) fn foresee(&self, run: &mut Run) {
        let Self::Edit(record) = self else { return };
        let key = (record.cell.clone(), record.path.clone());
        let before = run.records.get(&key).cloned().unwrap_or_else(|| record.base.clone());
        let Ok(after) = record.edit.apply(&before.value) else { return };
        if let Some(path) = edit::RULE_PATHS.into_iter().find(|path| record.path == *path) {
            run.rules.insert(path, after.clone());
        }
        run.records.insert(key, Stored { value: after, ..before });
    }
}

impl Call {
    /// What a plan says of it.
    fn read(&self) -> String {
        let Call { keyspace, shard, tablet, query, .. } = self;
        let method = query.path().rsplit('/').next().unwrap_or_default();
        let what = match VReplicationWaitForPosRequest::decode(query.request().as_slice()) {
            Ok(VReplicationWaitForPosRequest { id, position }) if query.path() == rpc::VREPLICATION_WAIT_FOR_POS => {
                let seconds = if let Then::Reached { seconds, .. } = self.then { seconds } else { 0 };
                format!(" of stream {id} for {position}, {seconds} seconds at most")
            }
            _ if query.statement.is_empty() => String::new(),
            _ => format!(" {}", query.statement),
        };
        format!("{}  {keyspace}/{shard}  {method}{what}", tablet.alias)
    }
}
