//! What is said of `VDiff`s: verdicts, notes, what gets on.

use super::*;
use vtflow_planner::proto::query::{Field, QueryResult};

const NOW: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 0 };
const UUID: &str = "55555555-02d4-11ed-b76d-920702940ee0";

fn result(columns: &[&str], rows: &[Vec<&str>]) -> QueryResult {
    let row = |values: &Vec<&str>| vtflow_planner::proto::query::Row {
        lengths: values.iter().map(|value| i64::try_from(value.len()).unwrap()).collect(),
        values: values.concat().into_bytes(),
    };
    let field = |name: &&str| Field { name: (*name).into(), ..Field::default() };
    QueryResult { fields: columns.iter().map(field).collect(), rows: rows.iter().map(row).collect(), ..QueryResult::default() }
}

fn reply(shards: &[(&str, QueryResult)]) -> VDiffShowResponse {
    let entry = |(shard, result): &(&str, QueryResult)| {
        let response = VDiffResponse { output: Some(result.clone()), ..VDiffResponse::default() };
        ((*shard).to_owned(), response)
    };
    VDiffShowResponse { tablet_responses: shards.iter().map(entry).collect() }
}

/// A shard's part: its state, and its tables with their states, and reports.
fn part(state: &str, error: &str, tables: &[(&str, &str, &str)]) -> QueryResult {
    let columns = ["uuid", "vdiff_state", "last_error", "table_name", "table_state", "report", "rows_compared", "has_mismatch"];
    let tables: Vec<_> = if tables.is_empty() { vec![("", "", "")] } else { tables.to_vec() };
    let rows: Vec<Vec<&str>> = tables
        .iter()
        .map(|(table, its, report)| vec![UUID, state, error, table, its, report, if table.is_empty() { "" } else { "10" }, "0"])
        .collect();
    result(&columns, &rows)
}

fn shown(shards: &[(&str, QueryResult)], all: Option<&VDiffShowResponse>) -> VDiffSummary {
    vdiff_summary("ks", "w", &reply(shards), all, NOW).unwrap()
}

#[test]
fn no_rows_differ_only_where_every_table_was_compared_on_every_shard() {
    let (t1, t2) = (("t1", "completed", ""), ("t2", "completed", "{}"));
    let both = part("completed", "", &[t1, t2]);
    let of = |other| shown(&[("-80", both.clone()), ("80-", other)], None);
    let whole = of(both.clone());
    assert_eq!((whole.verdict.as_str(), whole.has_trouble), ("completed, 40 rows compared, no rows differ", false));
    for (other, lacks, rows) in [(part("completed", "", &[t1]), "t2", "30"), (part("completed", "", &[]), "t1, t2", "20")] {
        let sum = of(other);
        assert_eq!(sum.verdict, format!("completed, {rows} rows compared, whether rows differ is not known"));
        assert_eq!((sum.notes.clone(), sum.state.as_str()), (vec![format!("{lacks} not compared on 80-")], "unknown"));
        assert!(sum.has_trouble && sum.by_shard[1].has_trouble && !sum.by_shard[0].has_trouble);
    }
}

#[test]
fn a_sign_of_life_that_is_to_come_is_none() {
    let said = |sign: i64| progress("2027-01-15 02:00:00", Some(sign), NOW).map(|its| (its.text, its.is_stuck)).unwrap();
    assert_eq!(said(NOW.seconds - 10), ("started 6h ago".to_owned(), false));
    assert_eq!(said(NOW.seconds + 86_400), ("started 6h ago, when it last moved is not known".to_owned(), false));
    assert_eq!(age(NOW.seconds + 86_400, NOW), None);
}

#[test]
fn what_became_of_it_is_not_made_better() {
    let t1 = |state| ("t1", state, "");
    let good = || part("completed", "", &[t1("completed")]);
    let weird = shown(&[("-80", good()), ("80-", part("WEIRD", "", &[t1("completed")]))], None);
    assert_eq!((weird.state.as_str(), weird.verdict.as_str()), ("unknown", "unknown, 20 rows compared"));
    assert_eq!(weird.notes, ["80-: a state that is not known"]);
    let stopped = part("stopped", "", &[t1("stopped")]);
    let failed = shown(&[("-80", part("error", "boom", &[t1("error")])), ("80-", stopped)], None);
    assert_eq!((failed.state.as_str(), failed.verdict.as_str()), ("stopped", "error, stopped, 20 rows compared"));
    let broken = shown(&[("-80", part("completed", "", &[("t1", "completed", "{broken")])), ("80-", good())], None);
    assert_eq!(
        (broken.verdict.as_str(), broken.has_trouble),
        ("completed, 20 rows compared, whether rows differ is not known", true)
    );
    assert_eq!(broken.notes, ["what differs in t1 is not known: a report cannot be read"]);
    assert_eq!(broken.tables[0].note, "whether rows differ is not known");
}

#[test]
fn one_that_does_not_start_says_for_how_long() {
    let pending = part("pending", "", &[]);
    let row = |created| result(&["vdiff_uuid", "state", "shard", "created_at"], &[vec![UUID, "pending", "-80", created]]);
    let of = |created| {
        let all = reply(&[("-80", row(created))]);
        let list = vdiff_list(&all, NOW).unwrap();
        let sum = shown(&[("-80", pending.clone())], Some(&all));
        assert_eq!((&list[0].note, list[0].has_trouble), (&sum.by_shard[0].note, sum.has_trouble));
        (sum.by_shard[0].note.clone(), sum.notes.clone(), sum.has_trouble)
    };
    let old = "has not started, created 30h ago";
    assert_eq!(of("2027-01-14 02:00:00"), (old.into(), vec![format!("-80: {old}")], true));
    assert_eq!(of("2027-01-15 07:59:50"), ("has not started, created 10s ago".into(), vec![], false));
    assert_eq!(of("0000-00-00 00:00:00"), ("has not started".into(), vec![], false));
    assert!(vdiff_is_under_way(&reply(&[("-80", pending.clone())])), "when it was created is in another reply");
}

#[test]
fn where_rows_differ_the_document_has_what_the_client_prints() {
    let report = |counts: &str| format!(r#"{{"TableName":"t1","ProcessedRows":3,{counts}}}"#);
    let sample = r#""MatchingRows":2,"MismatchedRows":1,"MismatchedRowsSample":[{"Source":{"Row":{"b":"1","a":"0x41"},"LosslessValues":true},"Target":{"Row":{"a":"0x41"}}}]"#;
    let (one, other) = (report(sample), report(r#""MatchingRows":3,"ExtraRowsSource":1"#));
    let columns = ["uuid", "vdiff_state", "table_name", "table_state", "report", "has_mismatch", "started_at", "completed_at"];
    let of = |report: &str, differs: &str| {
        let times = ["2027-01-15 02:00:00", "2027-01-15 02:00:09"];
        result(&columns, &[[&[UUID, "completed", "t1", "completed", report, differs], times.as_slice()].concat()])
    };
    let document = |sum: &VDiffSummary| serde_json::to_value(sum).unwrap();
    let sum = document(&shown(&[("-80", of(&one, "1")), ("80-", of(&other, "0"))], None));
    let mut wanted: serde_json::Value = serde_json::from_str(&one).unwrap();
    wanted["ExtraRowsSource"] = 0.into();
    wanted["ExtraRowsTarget"] = 0.into();
    assert_eq!(sum["Reports"]["t1"]["-80"], wanted);
    assert_eq!(
        sum["TableSummary"]["t1"],
        serde_json::json!({"TableName": "t1", "State": "completed", "RowsCompared": 6, "MatchingRows": 5, "MismatchedRows": 1,
            "ExtraRowsSource": 1, "ExtraRowsTarget": 0})
    );
    assert_eq!(
        sum["ShardSummaries"]["80-"],
        serde_json::json!({"State": "completed", "StartedAt": "2027-01-15 02:00:00", "CompletedAt": "2027-01-15 02:00:09",
            "TableStates": {"t1": {"TableName": "t1", "State": "completed", "RowsCompared": 3, "MatchingRows": 3, "MismatchedRows": 0,
                "ExtraRowsSource": 1, "ExtraRowsTarget": 0, "HasMismatch": false}}})
    );
    // Without a difference there is nothing of it.
    let same = document(&shown(&[("-80", of(&report(r#""MatchingRows":3"#), "0"))], None));
    for name in ["Reports", "TableSummary", "ShardSummaries"] {
        assert_eq!(same.get(name), None, "{name}");
    }
}
