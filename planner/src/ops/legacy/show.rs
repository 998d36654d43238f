//! The JSON of `Workflow KEYSPACE.WORKFLOW show`: a format of its own, made from a workflow of GetWorkflows.
//!
//! Keys, their order and what is left out when empty are Go's `encoding/json` of vtctld's structs; clients and scripts read them.
//! Facts: `go/vt/wrangler/vexec.go:ReplicationStatusResult`, `getStreams`, and the fields of `binlogdata.proto` in their order.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Serialize, Serializer};
use serde_json::ser::PrettyFormatter;

use crate::{
    contract::Timestamp,
    proto::{
        binlogdata::{BinlogSource, Filter, OnDdlAction, Rule, VReplicationWorkflowState as State},
        topodata::{KeyRange, shard::TabletControl},
        vtctldata::{
            Workflow,
            workflow::{ReplicationLocation, Stream},
        },
    },
    topo::names,
};

/// The text, with its line break. `heartbeats` are Unix seconds by shard, alias and id of the stream.
pub(super) fn text(workflow: &Workflow, heartbeats: &BTreeMap<(String, i64), i64>, now: Timestamp) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"\t"));
    // Writing maps of texts to memory does not fail.
    let _ = Shown::new(workflow, heartbeats, now).serialize(&mut serializer);
    let text = String::from_utf8_lossy(&out);
    escaped(&text) + "\n"
}

/// Go writes five characters as escapes that other writers do not. Outside of texts none of them occurs.
pub(super) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    workflow: &'a str,
    source_location: Location<'a>,
    target_location: Location<'a>,
    #[serde(rename = "MaxVReplicationLag")]
    max_lag: i64,
    #[serde(rename = "MaxVReplicationTransactionLag")]
    max_transaction_lag: i64,
    frozen: bool,
    shard_statuses: BTreeMap<&'a str, ShardStatus<'a>>,
    source_time_zone: &'a str,
    target_time_zone: &'a str,
    #[serde(rename = "OnDDL", skip_serializing_if = "str::is_empty")]
    on_ddl: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    defer_secondary_keys: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Location<'a> {
    keyspace: &'a str,
    shards: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShardStatus<'a> {
    primary_replication_statuses: Vec<Status<'a>>,
    /// `null` when there are none.
    tablet_controls: Option<Vec<Control<'a>>>,
    primary_is_serving: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Status<'a> {
    shard: &'a str,
    tablet: String,
    #[serde(rename = "ID")]
    id: i64,
    bls: Origin<'a>,
    pos: &'a str,
    stop_pos: &'a str,
    state: &'a str,
    #[serde(rename = "DBName")]
    db_name: &'a str,
    transaction_timestamp: i64,
    time_updated: i64,
    time_heartbeat: i64,
    time_throttled: i64,
    component_throttled: &'a str,
    message: &'a str,
    tags: String,
    workflow_type: &'a str,
    workflow_sub_type: &'a str,
    /// `null` when there is none.
    copy_state: Option<Vec<CopyState<'a>>>,
    rows_copied: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CopyState<'a> {
    table: &'a str,
    #[serde(rename = "LastPK")]
    last_pk: &'a str,
}

#[derive(Serialize)]
struct Control<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    tablet_type: i32,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cells: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    denied_tables: &'a [String],
    #[serde(skip_serializing_if = "is_false")]
    frozen: bool,
    #[serde(skip_serializing_if = "is_false")]
    allow_reads: bool,
}

#[derive(Serialize)]
struct Origin<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    keyspace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    shard: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    tablet_type: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_range: Option<Range<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tables: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Selected<'a>>,
    // `on_ddl` would be a number: it is shown as a word above.
    #[serde(skip_serializing_if = "str::is_empty")]
    external_mysql: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    stop_after_copy: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    external_cluster: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source_time_zone: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    target_time_zone: &'a str,
}

#[derive(Serialize)]
struct Range<'a> {
    #[serde(skip_serializing_if = "<[u8]>::is_empty", serialize_with = "base64")]
    start: &'a [u8],
    #[serde(skip_serializing_if = "<[u8]>::is_empty", serialize_with = "base64")]
    end: &'a [u8],
}

#[derive(Serialize)]
struct Selected<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<OneRule<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    field_event_mode: i32,
    #[serde(skip_serializing_if = "is_zero_64")]
    workflow_type: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    workflow_name: &'a str,
}

#[derive(Serialize)]
struct OneRule<'a> {
    #[serde(rename = "match", skip_serializing_if = "str::is_empty")]
    pattern: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    filter: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    convert_enum_to_text: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    convert_charset: BTreeMap<&'a str, Charset<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    source_unique_key_columns: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    target_unique_key_columns: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source_unique_key_target_columns: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    convert_int_to_enum: &'a BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "str::is_empty")]
    force_unique_key: &'a str,
}

#[derive(Serialize)]
struct Charset<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    from_charset: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    to_charset: &'a str,
}

impl<'a> Shown<'a> {
    fn new(workflow: &'a Workflow, heartbeats: &BTreeMap<(String, i64), i64>, now: Timestamp) -> Self {
        let mut shown = Self {
            workflow: &workflow.name,
            source_location: Location::new(workflow.source.as_ref()),
            target_location: Location::new(workflow.target.as_ref()),
            max_lag: workflow.max_v_replication_lag,
            max_transaction_lag: 0,
            frozen: false,
            shard_statuses: BTreeMap::new(),
            source_time_zone: "",
            target_time_zone: "",
            on_ddl: "",
            defer_secondary_keys: workflow.defer_secondary_keys,
        };
        for (key, shard) in &workflow.shard_streams {
            let mut statuses = Vec::new();
            for stream in &shard.streams {
                let heartbeat = heartbeats.get(&(key.clone(), stream.id)).copied().unwrap_or(0);
                let status = Status::new(workflow, stream, heartbeat);
                // The stand-in for a shard that did not answer is no stream.
                if stream.id != 0 {
                    shown.max_transaction_lag = shown.max_transaction_lag.max(status.transaction_lag(now));
                    shown.frozen |= stream.message == "FROZEN";
                    if let Some(source) = &stream.binlog_source {
                        shown.source_time_zone = &source.source_time_zone;
                        shown.target_time_zone = &source.target_time_zone;
                        if source.on_ddl() != OnDdlAction::Ignore {
                            shown.on_ddl = source.on_ddl().as_str_name();
                        }
                    }
                }
                statuses.push(status);
            }
            let controls = &shard.tablet_controls;
            let status = ShardStatus {
                primary_replication_statuses: statuses,
                tablet_controls: (!controls.is_empty()).then(|| controls.iter().map(Control::new).collect()),
                primary_is_serving: shard.is_primary_serving,
            };
            shown.shard_statuses.insert(key, status);
        }
        shown
    }
}

impl<'a> Location<'a> {
    fn new(location: Option<&'a ReplicationLocation>) -> Self {
        location.map_or(Self { keyspace: "", shards: &[] }, |l| Self { keyspace: &l.keyspace, shards: &l.shards })
    }
}

impl<'a> Status<'a> {
    fn new(workflow: &'a Workflow, stream: &'a Stream, time_heartbeat: i64) -> Self {
        let seconds = |time: Option<&crate::proto::vttime::Time>| time.map_or(0, |time| time.seconds);
        let throttler = stream.throttler_status.as_ref();
        let states = &stream.copy_states;
        Self {
            shard: &stream.shard,
            tablet: names::alias_text(stream.tablet.as_ref()),
            id: stream.id,
            bls: Origin::new(stream.binlog_source.as_ref()),
            pos: &stream.position,
            stop_pos: &stream.stop_position,
            state: &stream.state,
            db_name: &stream.db_name,
            transaction_timestamp: seconds(stream.transaction_timestamp.as_ref()),
            time_updated: seconds(stream.time_updated.as_ref()),
            time_heartbeat,
            time_throttled: seconds(throttler.and_then(|status| status.time_throttled.as_ref())),
            component_throttled: throttler.map_or("", |status| &status.component_throttled),
            message: &stream.message,
            tags: stream.tags.join(","),
            workflow_type: &workflow.workflow_type,
            workflow_sub_type: &workflow.workflow_sub_type,
            copy_state: (!states.is_empty())
                .then(|| states.iter().map(|state| CopyState { table: &state.table, last_pk: &state.last_pk }).collect()),
            rows_copied: stream.rows_copied,
        }
    }

    /// Seconds since the last transaction, or since the last heartbeat when that is later. Not the rule of GetWorkflows.
    fn transaction_lag(&self, now: Timestamp) -> i64 {
        if self.state == State::Copying.as_str_name() {
            return i64::MAX;
        }
        let (transaction, heartbeat) = (self.transaction_timestamp, self.time_heartbeat);
        let last = if transaction == 0 { heartbeat } else { transaction.max(heartbeat) };
        now.seconds.saturating_sub(last)
    }
}

impl<'a> Control<'a> {
    fn new(control: &'a TabletControl) -> Self {
        Self {
            tablet_type: control.tablet_type,
            cells: &control.cells,
            denied_tables: &control.denied_tables,
            frozen: control.frozen,
            allow_reads: control.allow_reads,
        }
    }
}

impl<'a> Origin<'a> {
    fn new(source: Option<&'a BinlogSource>) -> Self {
        let text = |field: fn(&BinlogSource) -> &String| source.map_or("", |source| field(source).as_str());
        Self {
            keyspace: text(|source| &source.keyspace),
            shard: text(|source| &source.shard),
            tablet_type: source.map_or(0, |source| source.tablet_type),
            key_range: source.and_then(|source| source.key_range.as_ref()).map(Range::new),
            tables: source.map_or(&[], |source| &source.tables),
            filter: source.and_then(|source| source.filter.as_ref()).map(Selected::new),
            external_mysql: text(|source| &source.external_mysql),
            stop_after_copy: source.is_some_and(|source| source.stop_after_copy),
            external_cluster: text(|source| &source.external_cluster),
            source_time_zone: text(|source| &source.source_time_zone),
            target_time_zone: text(|source| &source.target_time_zone),
        }
    }
}

impl<'a> Range<'a> {
    fn new(range: &'a KeyRange) -> Self {
        Self { start: &range.start, end: &range.end }
    }
}

impl<'a> Selected<'a> {
    fn new(filter: &'a Filter) -> Self {
        Self {
            rules: filter.rules.iter().map(OneRule::new).collect(),
            field_event_mode: filter.field_event_mode,
            workflow_type: filter.workflow_type,
            workflow_name: &filter.workflow_name,
        }
    }
}

impl<'a> OneRule<'a> {
    fn new(rule: &'a Rule) -> Self {
        let charset = rule.convert_charset.iter().map(|(column, conversion)| {
            (column.as_str(), Charset { from_charset: &conversion.from_charset, to_charset: &conversion.to_charset })
        });
        Self {
            pattern: &rule.r#match,
            filter: &rule.filter,
            convert_enum_to_text: &rule.convert_enum_to_text,
            convert_charset: charset.collect(),
            source_unique_key_columns: &rule.source_unique_key_columns,
            target_unique_key_columns: &rule.target_unique_key_columns,
            source_unique_key_target_columns: &rule.source_unique_key_target_columns,
            convert_int_to_enum: &rule.convert_int_to_enum,
            force_unique_key: &rule.force_unique_key,
        }
    }
}

/// As Go writes bytes.
fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_zero(value: &i32) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_zero_64(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests;
