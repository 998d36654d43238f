//! A workflow shown as Go shows it: every key, every value.

use super::*;

#[test]
fn bytes_and_special_characters_are_written_as_go_does() {
    for (bytes, want) in [(&b"\x80"[..], "\"gA==\""), (b"ab", "\"YWI=\""), (b"abc", "\"YWJj\""), (b"", "\"\"")] {
        let mut out = Vec::new();
        base64(bytes, &mut serde_json::Serializer::new(&mut out)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
    assert_eq!(escaped("\"a<b>&\u{2028}\""), r#""a\u003cb\u003e\u0026\u2028""#);
}

#[test]
fn the_lag_counts_from_the_last_transaction_or_a_later_heartbeat() {
    let now = Timestamp { seconds: 1000, nanos: 0 };
    let workflow = Workflow::default();
    for (name, state, transaction, heartbeat, want) in [
        ("busy", "Running", 990, 0, 10),
        ("idle", "Running", 900, 998, 2),
        ("a heartbeat before the transaction", "Running", 990, 980, 10),
        ("nothing yet", "Error", 0, 0, 1000),
        ("no transaction yet", "Running", 0, 995, 5),
        ("copying", "Copying", 990, 995, i64::MAX),
    ] {
        let stream = Stream {
            state: state.into(),
            transaction_timestamp: Some(crate::proto::vttime::Time { seconds: transaction, nanoseconds: 0 }),
            ..Stream::default()
        };
        assert_eq!(Status::new(&workflow, &stream, heartbeat).transaction_lag(now), want, "{name}");
    }
}

/// What is empty or 0 is left out of the source, and nowhere else.
#[test]
fn every_field_is_shown_as_go_shows_it() {
    use crate::proto::{
        binlogdata::CharsetConversion,
        topodata::TabletAlias,
        vtctldata::workflow::{ShardStream, stream::ThrottlerStatus},
        vttime::Time,
    };
    let time = |seconds| Some(Time { seconds, nanoseconds: 0 });
    let text = |text: &str| text.to_owned();
    let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let rule = Rule {
        r#match: text("t1"),
        filter: text("select 1"),
        convert_enum_to_text: one("e", "'a'"),
        convert_charset: BTreeMap::from([(
            text("c"),
            CharsetConversion { from_charset: text("latin1"), to_charset: text("utf8mb4") },
        )]),
        source_unique_key_columns: text("s"),
        target_unique_key_columns: text("t"),
        source_unique_key_target_columns: text("st"),
        convert_int_to_enum: BTreeMap::from([(text("i"), true)]),
        force_unique_key: text("PRIMARY"),
    };
    let filter = Filter { rules: vec![rule], field_event_mode: 1, workflow_type: 2, workflow_name: text("wn") };
    let source = BinlogSource {
        keyspace: text("src"),
        shard: text("0"),
        tablet_type: 2,
        key_range: Some(KeyRange { start: vec![0x40], end: vec![0x80] }),
        tables: vec![text("t1")],
        filter: Some(filter),
        on_ddl: 2,
        external_mysql: text("em"),
        stop_after_copy: true,
        external_cluster: text("ec"),
        source_time_zone: text("CET"),
        target_time_zone: text("UTC"),
    };
    let stream = Stream {
        id: 7,
        shard: text("-80"),
        tablet: Some(TabletAlias { cell: text("zone1"), uid: 100 }),
        binlog_source: Some(source),
        position: text("p"),
        stop_position: text("sp"),
        state: text("Running"),
        db_name: text("vt_ks"),
        transaction_timestamp: time(11),
        time_updated: time(12),
        message: text("m"),
        copy_states: vec![crate::proto::vtctldata::workflow::stream::CopyState {
            table: text("t1"),
            last_pk: text("pk"),
            stream_id: 7,
        }],
        tags: vec![text("a"), text("b")],
        rows_copied: 15,
        throttler_status: Some(ThrottlerStatus { component_throttled: text("vplayer"), time_throttled: time(14) }),
        ..Stream::default()
    };
    let control = TabletControl {
        tablet_type: 3,
        cells: vec![text("zone1")],
        denied_tables: vec![text("t1")],
        frozen: true,
        allow_reads: true,
    };
    let whole = ShardStream { streams: vec![stream], tablet_controls: vec![control], is_primary_serving: true };
    let empty = Stream { id: 8, binlog_source: Some(BinlogSource::default()), ..Stream::default() };
    let bare = Stream {
        id: 9,
        binlog_source: Some(BinlogSource {
            key_range: Some(KeyRange::default()),
            filter: Some(Filter { rules: vec![Rule::default()], ..Filter::default() }),
            ..BinlogSource::default()
        }),
        ..Stream::default()
    };
    let empty =
        ShardStream { streams: vec![empty, bare], tablet_controls: vec![TabletControl::default()], is_primary_serving: false };
    let side = |keyspace: &str, shard: &str| ReplicationLocation { keyspace: text(keyspace), shards: vec![text(shard)] };
    let workflow = Workflow {
        name: text("wf"),
        source: Some(side("src", "0")),
        target: Some(side("ks", "-80")),
        max_v_replication_lag: 16,
        workflow_type: text("MoveTables"),
        workflow_sub_type: text("Partial"),
        defer_secondary_keys: false,
        shard_streams: BTreeMap::from([(text("-80/a"), whole), (text("80-/b"), empty)]),
        ..Workflow::default()
    };
    let heartbeats = BTreeMap::from([((text("-80/a"), 7), 13), ((text("80-/b"), 8), 900)]);
    let now = Timestamp { seconds: 1000, nanos: 0 };
    let shown: serde_json::Value = serde_json::from_str(&super::text(&workflow, &heartbeats, now)).unwrap();
    let none = |id: i64, heartbeat: i64, source: serde_json::Value| {
        serde_json::json!({
            "Shard": "", "Tablet": "<nil>", "ID": id, "Bls": source, "Pos": "", "StopPos": "", "State": "", "DBName": "",
            "TransactionTimestamp": 0, "TimeUpdated": 0, "TimeHeartbeat": heartbeat, "TimeThrottled": 0,
            "ComponentThrottled": "", "Message": "", "Tags": "", "WorkflowType": "MoveTables",
            "WorkflowSubType": "Partial", "CopyState": null, "RowsCopied": 0,
        })
    };
    let rule = serde_json::json!({
        "match": "t1", "filter": "select 1", "convert_enum_to_text": {"e": "'a'"},
        "convert_charset": {"c": {"from_charset": "latin1", "to_charset": "utf8mb4"}},
        "source_unique_key_columns": "s", "target_unique_key_columns": "t", "source_unique_key_target_columns": "st",
        "convert_int_to_enum": {"i": true}, "force_unique_key": "PRIMARY",
    });
    let source = serde_json::json!({
        "keyspace": "src", "shard": "0", "tablet_type": 2, "key_range": {"start": "QA==", "end": "gA=="}, "tables": ["t1"],
        "filter": {"rules": [rule], "field_event_mode": 1, "workflow_type": 2, "workflow_name": "wn"},
        "external_mysql": "em", "stop_after_copy": true, "external_cluster": "ec", "source_time_zone": "CET",
        "target_time_zone": "UTC",
    });
    let want = serde_json::json!({
        "Workflow": "wf",
        "SourceLocation": {"Keyspace": "src", "Shards": ["0"]},
        "TargetLocation": {"Keyspace": "ks", "Shards": ["-80"]},
        "MaxVReplicationLag": 16,
        "MaxVReplicationTransactionLag": 1000,
        "Frozen": false,
        "ShardStatuses": {
            "-80/a": {
                "PrimaryReplicationStatuses": [{
                    "Shard": "-80", "Tablet": "zone1-0000000100", "ID": 7, "Bls": source, "Pos": "p", "StopPos": "sp",
                    "State": "Running", "DBName": "vt_ks", "TransactionTimestamp": 11, "TimeUpdated": 12,
                    "TimeHeartbeat": 13, "TimeThrottled": 14, "ComponentThrottled": "vplayer", "Message": "m",
                    "Tags": "a,b", "WorkflowType": "MoveTables", "WorkflowSubType": "Partial",
                    "CopyState": [{"Table": "t1", "LastPK": "pk"}], "RowsCopied": 15,
                }],
                "TabletControls": [{
                    "tablet_type": 3, "cells": ["zone1"], "denied_tables": ["t1"], "frozen": true, "allow_reads": true,
                }],
                "PrimaryIsServing": true,
            },
            "80-/b": {
                "PrimaryReplicationStatuses": [
                    none(8, 900, serde_json::json!({})),
                    none(9, 0, serde_json::json!({"key_range": {}, "filter": {"rules": [{}]}})),
                ],
                "TabletControls": [{}],
                "PrimaryIsServing": false,
            },
        },
        "SourceTimeZone": "",
        "TargetTimeZone": "",
        "OnDDL": "EXEC",
    });
    assert_eq!(shown, want);
    let deferred = Workflow { defer_secondary_keys: true, ..workflow };
    assert!(super::text(&deferred, &heartbeats, now).ends_with(",\n\t\"DeferSecondaryKeys\": true\n}\n"));
}
