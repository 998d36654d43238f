//! What an empty reply means: there is nothing of that kind there, as far as anybody answered.

use prost::Message;

use vtflow_planner::{
    contract::{Call, Failure},
    proto::vtctldata::{GetSchemaMigrationsRequest, GetWorkflowsRequest},
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
        assert_eq!(nothing(&call("/x", Vec::new()), &[]), "The reply is empty.");
    }
}
