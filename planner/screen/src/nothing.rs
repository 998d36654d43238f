//! What an empty reply means: there is nothing of that kind there, as far as anybody answered.

use prost::Message;

use vtflow_planner::{
    contract::{Call, Failure},
    proto::vtctldata::{FindAllShardsInKeyspaceRequest, GetSchemaMigrationsRequest, GetWorkflowsRequest, VDiffShowRequest},
    rpc,
};

/// A sentence about an empty reply, such as `No workflows in keyspace customer.`
pub fn nothing(call: &Call, failures: &[Failure]) -> String {
    let (what, keyspace) = match call.path.as_str() {
        rpc::GET_WORKFLOWS => {
            let request = GetWorkflowsRequest::decode(call.request.as_slice()).unwrap_or_default();
            let running = if request.active_only { "active " } else { "" };
            let named = if request.workflow.is_empty() { String::new() } else { format!(" called {}", request.workflow) };
            (format!("No {running}workflows{named}"), request.keyspace)
        }
        rpc::GET_SCHEMA_MIGRATIONS => {
            let request = GetSchemaMigrationsRequest::decode(call.request.as_slice()).unwrap_or_default();
            let is_all = request
                == GetSchemaMigrationsRequest { keyspace: request.keyspace.clone(), order: request.order, ..Default::default() };
            (format!("No {}schema migrations", if is_all { "" } else { "such " }), request.keyspace)
        }
        rpc::VDIFF_SHOW => {
            let request = VDiffShowRequest::decode(call.request.as_slice()).unwrap_or_default();
            let what = if request.arg == "all" { "VDiffs" } else { "VDiff" };
            return format!("No {what} of {}.{}.", request.target_keyspace, request.workflow);
        }
        rpc::FIND_ALL_SHARDS_IN_KEYSPACE => {
            let request = FindAllShardsInKeyspaceRequest::decode(call.request.as_slice()).unwrap_or_default();
            return format!("No shards in keyspace {}.", request.keyspace);
        }
        rpc::GET_KEYSPACES => return "No keyspaces.".into(),
        rpc::GET_TABLETS => return "No such tablets.".into(),
        _ => return "The reply is empty.".into(),
    };
    let place = if failures.is_empty() { "in" } else { "in what answered of" };
    format!("{what} {place} keyspace {keyspace}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtflow_planner::contract::{CallOptions, Lost};

    #[test]
    fn an_empty_reply_says_of_what_there_is_none() {
        let call = |path: &str, request: Vec<u8>| Call { path: path.into(), request, options: CallOptions::default() };
        let workflows = |request: GetWorkflowsRequest| call(rpc::GET_WORKFLOWS, request.encode_to_vec());
        let all = workflows(GetWorkflowsRequest { keyspace: "ks".into(), ..Default::default() });
        assert_eq!(nothing(&all, &[]), "No workflows in keyspace ks.");
        let lost = Failure {
            keyspace: "ks".into(),
            shard: "0".into(),
            tablet: String::new(),
            workflow: String::new(),
            lost: Lost::Shard,
            message: String::new(),
        };
        assert_eq!(nothing(&all, &[lost]), "No workflows in what answered of keyspace ks.");
        let one = GetWorkflowsRequest { keyspace: "ks".into(), workflow: "w".into(), active_only: true, ..Default::default() };
        assert_eq!(nothing(&workflows(one), &[]), "No active workflows called w in keyspace ks.");
        let migrations =
            |request: GetSchemaMigrationsRequest| nothing(&call(rpc::GET_SCHEMA_MIGRATIONS, request.encode_to_vec()), &[]);
        let all = GetSchemaMigrationsRequest { keyspace: "ks".into(), ..Default::default() };
        assert_eq!(migrations(all.clone()), "No schema migrations in keyspace ks.");
        assert_eq!(migrations(GetSchemaMigrationsRequest { limit: 1, ..all }), "No such schema migrations in keyspace ks.");
        let shards = FindAllShardsInKeyspaceRequest { keyspace: "ks".into() }.encode_to_vec();
        assert_eq!(nothing(&call(rpc::FIND_ALL_SHARDS_IN_KEYSPACE, shards), &[]), "No shards in keyspace ks.");
        let last = VDiffShowRequest { workflow: "w".into(), target_keyspace: "ks".into(), arg: "last".into() };
        let all = VDiffShowRequest { arg: "all".into(), ..last.clone() };
        let vdiffs = [last, all].map(|request| nothing(&call(rpc::VDIFF_SHOW, request.encode_to_vec()), &[]));
        assert_eq!(vdiffs, ["No VDiff of ks.w.", "No VDiffs of ks.w."]);
        assert_eq!(nothing(&call("/x", Vec::new()), &[]), "The reply is empty.");
    }
}
