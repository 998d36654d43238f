//! What is said of a change that failed, by what a second look at its rows shows.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use vtflow_planner::{
    Answer, Call, Mode, What,
    proto::{tabletmanagerdata::UpdateVReplicationWorkflowRequest, topodata::Shard, vschema::SrvVSchema},
    rpc,
};

use crate::{
    support::{Cluster, alias, refused, rows, stream},
    writes::{RUNNING, STOPPED, UUID, cells, deletion, migration, performed, state, vexec},
};

/// A stream's row, as far as it matters here.
#[derive(Clone, Copy)]
struct Row {
    id: &'static str,
    state: &'static str,
    cell: &'static str,
    types: &'static str,
    on_ddl: &'static str,
    options: &'static str,
}

const ROW: Row = Row { id: "7", state: "Running", cell: "zone1", types: "in_order:REPLICA,PRIMARY", on_ddl: "", options: "{}" };

fn streams(list: &[Row]) -> Answer {
    let columns = ["#id", "workflow", "source", "pos", "state", "message", "cell", "tablet_types", "#workflow_type", "options"];
    let value = |row: &Row| {
        let source = format!("{}{}", stream(7, "wf").source, row.on_ddl);
        [row.id, "wf", &source, "", row.state, "", row.cell, row.types, "1", row.options]
            .map(|text| Some(text.to_owned()))
            .to_vec()
    };
    rows(&columns, &list.iter().map(value).collect::<Vec<_>>())
}

/// One shard, whose rows are these, and those once a change has been refused: what is said of the change, without the refusal.
fn said(call: &Call, subject: &str, before: Answer, after: Answer) -> String {
    let mut cluster = Cluster::new(&["0"]);
    cluster.cell("zone1").put("zone1", "SrvVSchema", &SrvVSchema::default());
    cluster.global("keyspaces/src/Keyspace", vec![]);
    let record = Shard { primary_alias: Some(alias(900)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/src/shards/0/Shard", &record).tablet(900, "0");
    for subject in ["streams", "copy state"] {
        cluster.answer(900, subject, rows(&[], &[]));
    }
    for subject in ["v18", "v21"] {
        cluster.answer(100, subject, Answer::Called(Vec::new()));
    }
    for subject in ["update", "delete", "migration", "vexec"] {
        cluster.answer(100, subject, refused("lost"));
    }
    cluster.answer(100, "other databases", rows(&["#id"], &[])).answer(100, "table sizes", rows(&[], &[]));
    // The status of a workflow that is deleted looks at its streams, too.
    let first = if call.path == rpc::WORKFLOW_DELETE { vec![before.clone(), before] } else { vec![before] };
    cluster.pages(100, subject, first.into_iter().chain([after]).collect());
    let (reply, _) = cluster.run(call);
    let outcomes = reply.written.expect("a request that writes").outcomes;
    let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    let shown = outcome.message.strip_prefix("lost (a second look shows ").and_then(|text| text.strip_suffix(')'));
    format!("{}: {}", outcome.verdict, shown.unwrap_or(&outcome.message))
}

const ALL: &str = "applied: the change";
const NOTHING: &str = "not applied: the rows as they were";

fn with_overrides(list: &[(&str, &str)]) -> UpdateVReplicationWorkflowRequest {
    let config_overrides = list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    UpdateVReplicationWorkflowRequest { config_overrides, ..cells(&["NULL"]) }
}

#[test]
fn an_update_was_made_where_every_stream_is_as_it_was_wanted() {
    let types = |types: &[i32], preference| UpdateVReplicationWorkflowRequest {
        tablet_types: types.to_vec(),
        tablet_selection_preference: Some(preference),
        ..cells(&["NULL"])
    };
    let exec = UpdateVReplicationWorkflowRequest { on_ddl: Some(2), ..cells(&["NULL"]) };
    let (any, in_order, unchanged) = (0, 1, 3);
    let with_k = r#"{"config":{"k":"v"}}"#;
    let stopped = Row { state: "Stopped", ..ROW };
    let other = Row { id: "9", ..ROW };
    let other_stopped = Row { id: "9", ..stopped };
    let none = "unknown: 0 of 1 stream as asked for";
    let cases: Vec<(UpdateVReplicationWorkflowRequest, Vec<Row>, Vec<Row>, &str)> = vec![
        // Whatever a stream does once it runs, it was started.
        (state(RUNNING), vec![stopped], vec![ROW], ALL),
        (state(RUNNING), vec![stopped], vec![Row { state: "Copying", ..ROW }], ALL),
        (state(RUNNING), vec![stopped], vec![Row { state: "Lagging", ..ROW }], ALL),
        (state(RUNNING), vec![stopped], vec![Row { state: "Init", ..ROW }], ALL),
        (state(RUNNING), vec![stopped], vec![Row { state: "Error", ..ROW }], none),
        (state(RUNNING), vec![stopped], vec![stopped], NOTHING),
        (state(STOPPED), vec![ROW], vec![stopped], ALL),
        // A copy that ends meanwhile is no change.
        (state(STOPPED), vec![ROW], vec![Row { state: "Copying", ..ROW }], NOTHING),
        (state(STOPPED), vec![ROW], vec![Row { state: "Error", ..ROW }], none),
        (state(STOPPED), vec![ROW, other], vec![stopped, other_stopped], ALL),
        (state(STOPPED), vec![ROW, other], vec![ROW, other], NOTHING),
        (state(STOPPED), vec![ROW, other], vec![stopped, other], "unknown: 1 of 2 streams as asked for"),
        (state(STOPPED), vec![stopped, other], vec![stopped, other], NOTHING),
        (state(STOPPED), vec![ROW, other], vec![stopped], "unknown: 1 of 2 streams as asked for"),
        (state(STOPPED), vec![ROW], vec![], none),
        // What was so before says nothing.
        (state(STOPPED), vec![stopped], vec![stopped], "unknown: rows that were as asked for before"),
        (state(STOPPED), vec![stopped], vec![ROW], none),
        (cells(&["zone2", "zone3"]), vec![ROW], vec![Row { cell: "zone2,zone3", ..ROW }], ALL),
        (cells(&["zone2"]), vec![ROW], vec![ROW], NOTHING),
        (cells(&["zone2"]), vec![ROW], vec![Row { cell: "zone4", ..ROW }], none),
        (types(&[3], in_order), vec![ROW], vec![Row { types: "in_order:rdonly", ..ROW }], ALL),
        (types(&[3], in_order), vec![ROW], vec![Row { types: "rdonly", ..ROW }], none),
        (types(&[3, 2], any), vec![ROW], vec![Row { types: "rdonly,replica", ..ROW }], ALL),
        (types(&[3], unchanged), vec![ROW], vec![Row { types: "in_order:rdonly", ..ROW }], ALL),
        (types(&[3], unchanged), vec![Row { types: "REPLICA", ..ROW }], vec![Row { types: "rdonly", ..ROW }], ALL),
        (types(&[-1], any), vec![ROW], vec![Row { types: "replica,primary", ..ROW }], ALL),
        (types(&[-1], any), vec![ROW], vec![ROW], NOTHING),
        (exec.clone(), vec![ROW], vec![Row { on_ddl: " on_ddl:EXEC", ..ROW }], ALL),
        (exec.clone(), vec![ROW], vec![ROW], NOTHING),
        (exec, vec![ROW], vec![Row { on_ddl: " on_ddl:STOP", ..ROW }], none),
        (with_overrides(&[("k", "v")]), vec![ROW], vec![Row { options: with_k, ..ROW }], ALL),
        (with_overrides(&[("k", "v")]), vec![ROW], vec![ROW], NOTHING),
        (with_overrides(&[("k", "w")]), vec![ROW], vec![Row { options: with_k, ..ROW }], none),
        (with_overrides(&[("k", "v"), ("l", "v")]), vec![ROW], vec![Row { options: with_k, ..ROW }], none),
        (with_overrides(&[("k", " ")]), vec![Row { options: with_k, ..ROW }], vec![ROW], ALL),
        (with_overrides(&[("k", " ")]), vec![Row { options: with_k, ..ROW }], vec![Row { options: with_k, ..ROW }], NOTHING),
        (with_overrides(&[("k", "")]), vec![Row { options: with_k, ..ROW }], vec![Row { options: "{", ..ROW }], none),
        // Options that nobody can read are no reason where they do not matter.
        (state(STOPPED), vec![ROW], vec![Row { state: "Stopped", options: "{", ..ROW }], ALL),
    ];
    for (number, (request, before, after, want)) in cases.into_iter().enumerate() {
        let shown = said(&performed(request.clone()), "streams", streams(&before), streams(&after));
        assert_eq!(shown, want, "{number}: {request:?}");
    }
}

#[test]
fn a_workflow_was_deleted_where_none_of_its_streams_is_left() {
    let (second, new) = (Row { id: "9", ..ROW }, Row { id: "10", ..ROW });
    for (after, want) in [
        (vec![], ALL),
        (vec![ROW, second], NOTHING),
        (vec![second], "unknown: 1 of 2 streams left"),
        // Somebody has made the workflow anew.
        (vec![new], ALL),
        (vec![ROW, second, new], NOTHING),
        (vec![second, new], "unknown: 1 of 2 streams left"),
    ] {
        let ids: Vec<&str> = after.iter().map(|row| row.id).collect();
        assert_eq!(said(&deletion(|_| {}, false), "streams", streams(&[ROW, second]), streams(&after)), want, "{ids:?}");
    }
}

#[test]
fn of_a_persons_delete_the_rows_tell_and_of_an_update_nobody_can() {
    let second = Row { id: "9", ..ROW };
    let stopped = Row { state: "Stopped", ..ROW };
    let same = "unknown: no difference in what is compared, which is not every column";
    let other = |left: &str| format!("unknown: other rows than before ({left} of 2 streams still meant)");
    let (delete, update) = ("delete from _vt.vreplication", "update _vt.vreplication set message = ''");
    for (sql, after, want) in [
        (delete, vec![], ALL.to_owned()),
        (delete, vec![ROW, second], NOTHING.to_owned()),
        (delete, vec![second], other("1")),
        (delete, vec![stopped, second], other("2")),
        (update, vec![ROW, second], same.to_owned()),
        (update, vec![stopped, second], other("2")),
        (update, vec![second], other("1")),
        (update, vec![], other("0")),
    ] {
        assert_eq!(said(&vexec(sql, Mode::Perform), "streams", streams(&[ROW, second]), streams(&after)), want, "{sql}");
    }
}

/// Migrations by uuid, status, when they were cancelled, and whether their cut-over is forced.
fn migrations(list: &[(&str, &str, &str, &str)]) -> Answer {
    let columns = [
        "#id",
        "migration_uuid",
        "migration_status",
        "cancelled_timestamp",
        "#force_cutover",
        "#postpone_launch",
        "#postpone_completion",
        "#retain_artifacts_seconds",
    ];
    let value = |(uuid, status, cancelled, forced): &(&str, &str, &str, &str)| {
        ["1", uuid, status, cancelled, forced, "1", "1", "86400"].map(|text| Some(text.to_owned())).to_vec()
    };
    rows(&columns, &list.iter().map(value).collect::<Vec<_>>())
}

#[test]
fn a_migration_was_changed_where_its_row_shows_it() {
    let other = UUID.replace('8', "9");
    let (running, failed) = ((UUID, "running", "", "0"), (UUID, "failed", "", "0"));
    let none = "unknown: 0 of 1 migration as asked for";
    let (cancel, retry, force) =
        (rpc::CANCEL_SCHEMA_MIGRATION, rpc::RETRY_SCHEMA_MIGRATION, rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION);
    for (path, uuid, before, after, want) in [
        (cancel, UUID, vec![running], vec![(UUID, "cancelled", "", "0")], ALL),
        // A cancelled one of a tablet that was at work on it ends as a failed one.
        (cancel, UUID, vec![running], vec![(UUID, "failed", "2006-01-02", "0")], ALL),
        (cancel, UUID, vec![running], vec![failed], none),
        (cancel, UUID, vec![running], vec![(UUID, "complete", "", "0")], none),
        (cancel, UUID, vec![running], vec![running], NOTHING),
        // The scheduler moves it on meanwhile.
        (cancel, UUID, vec![running], vec![(UUID, "ready", "", "0")], NOTHING),
        (cancel, UUID, vec![running], vec![], none),
        (retry, UUID, vec![failed], vec![(UUID, "queued", "", "0")], ALL),
        (retry, UUID, vec![failed], vec![failed], NOTHING),
        (force, UUID, vec![running], vec![(UUID, "running", "", "1")], ALL),
        (force, UUID, vec![running], vec![running], NOTHING),
        (
            cancel,
            "all",
            vec![running, (&other, "queued", "", "0")],
            vec![(UUID, "cancelled", "", "0"), (&other, "queued", "", "0")],
            "unknown: 1 of 2 migrations as asked for",
        ),
        (
            cancel,
            "all",
            vec![running, (&other, "queued", "", "0")],
            vec![running, (&other, "complete", "", "0")],
            "unknown: 0 of 2 migrations as asked for",
        ),
    ] {
        let shown = said(&migration(path, uuid), "migrations", migrations(&before), migrations(&after));
        assert_eq!(shown, want, "{path} {uuid}: {after:?}");
    }
}

#[test]
fn all_migrations_are_looked_for_again_by_their_names() {
    let other = UUID.replace('8', "9");
    for (uuid, want) in
        [("all", format!("migration_uuid in ('{UUID}', '{other}')")), (UUID, format!("migration_uuid = '{UUID}'"))]
    {
        let mut cluster = Cluster::new(&["0"]);
        let before = migrations(&[(UUID, "running", "", "0"), (&other, "running", "", "0")]);
        cluster.answer(100, "migrations", before).answer(100, "migration", refused("lost"));
        let (_, asks) = cluster.run(&migration(rpc::CANCEL_SCHEMA_MIGRATION, uuid));
        let looks: Vec<&str> = asks
            .iter()
            .filter_map(|ask| match &ask.what {
                What::TabletCall { about, .. } if about.subject == "migrations" => Some(about.statement.as_str()),
                _ => None,
            })
            .collect();
        let want = format!("select * from _vt.schema_migrations where {want} order by id");
        assert_eq!((looks.len(), looks.last().copied()), (2, Some(want.as_str())), "{uuid}");
    }
}
