//! What a switch writes so that data flows the other way afterwards, and the journal that makes it irrevocable: rows and texts exactly as
//! tablets and consumers of the binlog know them.
//!
//! Facts: `go/vt/vtctl/workflow/traffic_switcher.go` (`createReverseVReplication`, `createJournals`), v24; protobuf text as Go prints it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    cutover::{
        name::{backquoted, identifier},
        scene::{Member, Scene, Stream},
    },
    formats::source_text::text,
    proto::{binlogdata::OnDdlAction, query::Type, topodata::TabletType, vschema::Keyspace, vtctldata::WorkflowOptions},
    sidecar::literal::quote,
    traffic::kind::Kind,
};

/// A rate or a lag that is none. Source: Go `math.MaxInt64`.
const UNLIMITED: i64 = i64::MAX;

/// What a stream of the other direction reads: from the shard that the forward stream writes, what its source has.
///
/// # Errors
/// The source's vschema does not say by which columns a table is divided. Texts of the reference.
pub(crate) fn source(scene: &Scene, vschema: &Keyspace, stream: &Stream) -> Result<String, String> {
    let member = scene.sources.get(&stream.source.shard);
    let range = member.map(Member::key_range).unwrap_or_default();
    let mut rules = stream.source.filter.clone().unwrap_or_default().rules;
    rules.sort_by(|a, b| a.r#match.cmp(&b.r#match));
    let mut filter = Vec::new();
    for rule in rules {
        let select = match rule.r#match.as_str() {
            _ if rule.filter == "exclude" => rule.filter.clone(),
            pattern if pattern.starts_with('/') => {
                if vschema.sharded {
                    range.clone()
                } else {
                    String::new()
                }
            }
            table => select(scene, vschema, table, &range)?,
        };
        let mut fields = vec![text("match", &rule.r#match)];
        fields.extend((!select.is_empty()).then(|| text("filter", &select)));
        filter.push(format!("rules:{{{}}}", fields.join(" ")));
    }
    let mut fields = vec![text("keyspace", &scene.target_keyspace), text("shard", &stream.shard)];
    if stream.source.tablet_type != 0 {
        fields.push(format!("tablet_type:{}", name(stream.source.tablet_type, TabletType::try_from, |of| of.as_str_name())));
    }
    fields.push(format!("filter:{{{}}}", filter.join(" ")));
    if stream.source.on_ddl != 0 {
        fields.push(format!("on_ddl:{}", name(stream.source.on_ddl, OnDdlAction::try_from, |of| of.as_str_name())));
    }
    let zones = [("source_time_zone", &stream.source.target_time_zone), ("target_time_zone", &stream.source.source_time_zone)];
    fields.extend(zones.into_iter().filter(|(_, zone)| !zone.is_empty()).map(|(field, zone)| text(field, zone)));
    Ok(fields.join(" "))
}

fn name<T, E>(number: i32, read: impl Fn(i32) -> Result<T, E>, name: impl Fn(T) -> &'static str) -> String {
    read(number).map_or_else(|_| number.to_string(), |known| name(known).to_owned())
}

fn select(scene: &Scene, vschema: &Keyspace, table: &str, range: &str) -> Result<String, String> {
    let tenant = tenant(scene)?;
    // A text that is parsed and printed again has its names bare.
    let name = if tenant.is_some() { identifier(table) } else { backquoted(table) };
    let where_ = |range: Option<String>| {
        let conditions: Vec<String> = tenant.iter().cloned().chain(range).collect();
        let all = format!("select * from {name}");
        if conditions.is_empty() { all } else { format!("{all} where {}", conditions.join(" and ")) }
    };
    if !vschema.sharded {
        return Ok(where_(None));
    }
    let known = vschema.tables.get(table).ok_or_else(|| format!("table {table} not found in vschema"))?;
    if known.r#type == "reference" {
        return Ok(where_(None));
    }
    let keyspace = &scene.source_keyspace;
    let primary = known.column_vindexes.first();
    let primary = primary.ok_or_else(|| format!("no primary vindex found for the {table} table in the {keyspace} keyspace"))?;
    // All columns of the vindex: by the first alone, as in the reference, rows of a vindex of several would go astray.
    let columns = if primary.columns.is_empty() { std::slice::from_ref(&primary.column) } else { &primary.columns };
    let columns: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let vindex = quote(&format!("{keyspace}.{}", primary.name));
    Ok(where_(Some(format!("in_keyrange({}, {vindex}, {})", columns.join(", "), quote(range)))))
}

/// The condition by which rows are those of the tenant that is moved, if one is.
///
/// # Errors
/// The options or the vschema of the target do not say which.
pub(crate) fn tenant(scene: &Scene) -> Result<Option<String>, String> {
    let id = scene.options.tenant_id.as_str();
    if id.is_empty() {
        return Ok(None);
    }
    let spec = scene.vschema(&scene.target_keyspace)?.multi_tenant_spec;
    let spec = spec.ok_or("target keyspace not defined, or it does not have multi-tenant spec")?;
    if spec.tenant_id_column_name.is_empty() {
        return Err("tenant column name not defined in multi-tenant spec".into());
    }
    let value = match Type::try_from(spec.tenant_id_column_type) {
        Ok(Type::Int64) if id.parse::<i64>().is_ok() => id.to_owned(),
        Ok(Type::Int64) => return Err(format!("tenant id is not a valid int: {id}")),
        Ok(Type::Varchar) => quote(id),
        other => {
            let name = other.map_or_else(|_| spec.tenant_id_column_type.to_string(), |of| of.as_str_name().to_owned());
            return Err(format!("unsupported tenant column type: {name}"));
        }
    };
    Ok(Some(format!("{} = {value}", identifier(&spec.tenant_id_column_name))))
}

/// The statement that creates a stream of the other direction, which begins where the target is. It stands still.
pub(crate) fn insert(scene: &Scene, source: &str, stream: &Stream, position: &str, now: &str) -> String {
    let Some(on) = scene.sources.get(&stream.source.shard) else { return String::new() };
    let cells = cells(scene, stream, on);
    let has_more = !cells.is_empty() || !scene.stream_tablet_types.is_empty();
    let (more, values) = if has_more {
        (", cell, tablet_types", format!(", {}, {}", quote(&cells), quote(&scene.stream_tablet_types)))
    } else {
        ("", String::new())
    };
    let options = if has_more { options(&scene.options) } else { "{}".to_owned() };
    format!(
        "insert into _vt.vreplication (workflow, source, pos, max_tps, max_replication_lag{more}, time_updated, transaction_timestamp, \
         state, db_name, workflow_type, workflow_sub_type, options) values ({}, {}, {}, {UNLIMITED}, {UNLIMITED}{values}, {now}, 0, \
         'Stopped', {}, {}, {}, {})",
        quote(&scene.reverse),
        quote(source),
        quote(position),
        quote(&on.db_name),
        scene.workflow_type,
        scene.workflow_sub_type,
        quote(&options),
    )
}

/// The cells to read from, which are the stream's own: where the target's primary is in one of them and the source's is not, it has the
/// source's cell instead.
fn cells(scene: &Scene, stream: &Stream, on: &Member) -> String {
    let Some(target) = scene.targets.get(&stream.shard) else { return stream.cells.clone() };
    let (of_target, of_source) = (&target.alias.cell, &on.alias.cell);
    let mut cells: Vec<&str> = stream.cells.split(',').collect();
    if cells.contains(&of_source.as_str()) {
        return stream.cells.clone();
    }
    if let Some(cell) = cells.iter_mut().find(|cell| *cell == of_target) {
        *cell = of_source;
    }
    cells.join(",")
}

/// Options as Go's `encoding/json` prints the message.
fn options(options: &WorkflowOptions) -> String {
    #[derive(Serialize)]
    struct Printed<'a> {
        #[serde(skip_serializing_if = "str::is_empty")]
        tenant_id: &'a str,
        #[serde(skip_serializing_if = "is_zero")]
        sharded_auto_increment_handling: i32,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        shards: &'a [String],
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        config: &'a BTreeMap<String, String>,
        #[serde(skip_serializing_if = "str::is_empty")]
        global_keyspace: &'a str,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        lookup_vindexes: &'a [String],
    }
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
    fn is_zero(number: &i32) -> bool {
        *number == 0
    }
    let WorkflowOptions { tenant_id, sharded_auto_increment_handling, shards, config, global_keyspace, lookup_vindexes } =
        options;
    let printed = Printed {
        tenant_id,
        sharded_auto_increment_handling: *sharded_auto_increment_handling,
        shards,
        config,
        global_keyspace,
        lookup_vindexes,
    };
    let json = serde_json::to_string(&printed).unwrap_or_default();
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The journal's text. `at`: where the source's own shard is; `positions`: by shard of the target, where its streams of the other
/// direction begin.
pub(crate) fn journal(scene: &Scene, at: &str, positions: &BTreeMap<String, String>) -> String {
    let mut fields = vec![format!("id:{}", scene.migration_id())];
    fields.extend((scene.kind == Kind::Reshard).then(|| "migration_type:SHARDS".to_owned()));
    fields.extend(scene.tables.iter().map(|table| text("tables", table)));
    fields.push(text("local_position", at));
    for (shard, position) in positions {
        let of_shard = [text("keyspace", &scene.target_keyspace), text("shard", shard), text("gtid", position)];
        fields.push(format!("shard_gtids:{{{}}}", of_shard.join(" ")));
    }
    let mut participants: Vec<&String> = scene.sources.keys().collect();
    participants.sort_by_key(|shard| shard.split('-').next().unwrap_or_default());
    for shard in participants {
        let participant = [text("keyspace", &scene.source_keyspace), text("shard", shard)];
        fields.push(format!("participants:{{{}}}", participant.join(" ")));
    }
    fields.extend(scene.others.names().iter().map(|name| text("source_workflows", name)));
    fields.join(" ")
}

/// The statement that writes a journal.
pub(crate) fn insert_journal(scene: &Scene, on: &Member, journal: &str) -> String {
    let values = format!("({}, {}, {})", scene.migration_id(), quote(&on.db_name), quote(journal));
    format!("insert into _vt.resharding_journal (id, db_name, val) values {values}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_go() {
        assert_eq!(text("a", "select \"x\\y\"\n\u{1}é"), "a:\"select \\\"x\\\\y\\\"\\n\\x01é\"");
        assert_eq!(options(&WorkflowOptions::default()), "{}");
        let of =
            WorkflowOptions { sharded_auto_increment_handling: 1, global_keyspace: "a&b".into(), ..WorkflowOptions::default() };
        assert_eq!(options(&of), r#"{"sharded_auto_increment_handling":1,"global_keyspace":"a\u0026b"}"#);
    }
}
