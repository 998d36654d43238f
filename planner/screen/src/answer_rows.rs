//! The rows in a tablet's answer as people read them: what a stream on the page was made of.

use serde::Serialize;

use vtflow_planner::{
    contract::{Answer, What},
    rpc,
    sidecar::RowSet,
};

/// Rows as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerRows {
    /// The columns' names, in the order of the result.
    pub columns: Vec<String>,
    /// One value for each column; `None` is NULL. What is not UTF-8 shows as U+FFFD.
    pub rows: Vec<Vec<Option<String>>>,
}

/// The rows that a tablet answered to a statement; `None` if the ask carried none, or there are no rows that can be read.
pub fn answer_rows(what: &What, answer: &Answer) -> Option<AnswerRows> {
    let (What::TabletCall { path, .. }, Answer::Called(bytes)) = (what, answer) else { return None };
    let set = match &**path {
        rpc::VREPLICATION_EXEC => RowSet::from_vreplication_exec(bytes),
        rpc::EXECUTE_FETCH_AS_DBA => RowSet::from_execute_fetch(bytes),
        _ => return None,
    }
    .ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let rows = set.rows().map(|row| (0..set.width()).map(|place| row.at(place).map(text)).collect()).collect();
    Some(AnswerRows { columns: set.fields().iter().map(|field| text(&field.name)).collect(), rows })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use prost::Message;

    use super::*;
    use vtflow_planner::{
        contract::{About, Effect, FailureKind, TabletAddress},
        proto::{
            query::{Field, QueryResult, Row},
            tabletmanagerdata::VReplicationExecResponse,
        },
    };

    fn call(path: &'static str) -> What {
        What::TabletCall {
            tablet: TabletAddress { alias: "a-1".into(), cell: "a".into(), host: "h".into(), grpc_port: 1 },
            path: path.into(),
            request: Vec::new(),
            effect: Effect::Read,
            limit_ms: 0,
            about: About {
                keyspace: String::new(),
                shard: String::new(),
                db_name: String::new(),
                subject: Cow::Borrowed("streams"),
                statement: String::new(),
            },
        }
    }

    #[test]
    fn rows_are_text_and_null_is_none() {
        let field = |name: &str| Field { name: name.into(), ..Field::default() };
        let row = Row { lengths: vec![2, -1], values: b"a\xff".to_vec() };
        let result = QueryResult { fields: vec![field("x"), field("y")], rows: vec![row], ..QueryResult::default() };
        let answer = Answer::Called(VReplicationExecResponse { result: Some(result) }.encode_to_vec());
        let want = AnswerRows { columns: vec!["x".into(), "y".into()], rows: vec![vec![Some("a\u{fffd}".into()), None]] };
        assert_eq!(answer_rows(&call(rpc::VREPLICATION_EXEC), &answer), Some(want));
        assert_eq!(answer_rows(&call(rpc::VDIFF), &answer), None);
        assert_eq!(answer_rows(&call(rpc::VREPLICATION_EXEC), &Answer::Called(vec![255])), None);
        let failed = Answer::Failed { kind: FailureKind::TimedOut, message: String::new() };
        assert_eq!(answer_rows(&call(rpc::VREPLICATION_EXEC), &failed), None);
    }
}
