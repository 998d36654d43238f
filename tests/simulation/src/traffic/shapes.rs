//! The cluster of a case: a recorded one, or what is made of it where there is no recording: a move of some shards, of one tenant, and a
//! reshard beside streams of other workflows.

use std::path::Path;

use prost::Message;
use vtflow_embedded::{Cell, Snapshot, TableRows};
use vtflow_planner::{
    proto::{
        query::Type,
        topodata::{KeyRange, Shard, ShardReference, SrvKeyspace, Tablet},
        vschema::{
            Keyspace, KeyspaceRoutingRule, KeyspaceRoutingRules, MultiTenantSpec, RoutingRules, ShardRoutingRule,
            ShardRoutingRules, SrvVSchema,
        },
    },
    topo::record::CellRecord,
};

use crate::{
    tablets::changed,
    traffic::{
        case::{Case, Shape},
        others::{INNER, MATERIALIZE, OUTSIDE},
        positions::{BEFORE, server},
    },
};

/// The cluster that runs of a case begin with.
///
/// # Errors
/// The snapshot cannot be read.
pub(super) fn load(case: &Case) -> Result<Snapshot, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots").join(case.snapshot);
    let mut snapshot = Snapshot::load(&folder).map_err(|error| error.to_string())?;
    // Those of others are put there where they are wanted.
    let tables = snapshot.tablets.values_mut().filter_map(|tablet| tablet.sidecar.get_mut("vreplication"));
    for table in tables {
        let Some(name) = table.columns.iter().position(|column| column.name == "workflow") else { continue };
        table.rows.retain(|row| match row.get(name) {
            Some(Cell::Text(text)) => text == case.workflow || text == case.reverse,
            _ => false,
        });
    }
    match case.shape {
        Shape::Tables | Shape::Reshard => {}
        Shape::Partial => partial(&mut snapshot, case),
        Shape::Tenant => tenant(&mut snapshot, case),
        Shape::Beside => beside(&mut snapshot, case),
    }
    Ok(snapshot)
}

/// Changes records in place: those whose path is so.
fn edit<M: Message + Default>(snapshot: &mut Snapshot, is_it: impl Fn(&str) -> bool, change: impl Fn(&mut M)) {
    for record in snapshot.topo.iter_mut().filter(|record| is_it(&record.path)) {
        record.value = changed(&record.value, &change);
    }
}

fn add(snapshot: &mut Snapshot, path: &str, value: Vec<u8>) {
    snapshot.topo.push(CellRecord { cell: "global".into(), path: path.into(), version: 1, value });
}

/// No rule of tables is about these, and no shard denies them.
fn forget_tables(snapshot: &mut Snapshot, case: &Case) {
    let is_about = |from: &str| {
        let table = from.split('@').next().and_then(|name| name.rsplit('.').next());
        table.is_some_and(|table| case.tables.contains(&table))
    };
    edit(
        snapshot,
        |path| path == "RoutingRules",
        |record: &mut RoutingRules| {
            record.rules.retain(|rule| !is_about(&rule.from_table));
        },
    );
    edit(
        snapshot,
        |path| path == "SrvVSchema",
        |record: &mut SrvVSchema| {
            record.routing_rules.get_or_insert_default().rules.retain(|rule| !is_about(&rule.from_table));
        },
    );
    edit(
        snapshot,
        |path| path.ends_with("/Shard"),
        |record: &mut Shard| {
            for control in &mut record.tablet_controls {
                control.denied_tables.retain(|table| !case.tables.contains(&table.as_str()));
            }
            record.tablet_controls.retain(|control| !control.denied_tables.is_empty());
        },
    );
}

/// One tenant's rows move: rules of keyspaces say where they are.
fn tenant(snapshot: &mut Snapshot, case: &Case) {
    forget_tables(snapshot, case);
    let rule = |of: &str| KeyspaceRoutingRule { from_keyspace: format!("{}{of}", case.source), to_keyspace: case.source.into() };
    let rules = KeyspaceRoutingRules { rules: ["", "@replica", "@rdonly"].map(rule).to_vec() };
    let spec = MultiTenantSpec { tenant_id_column_name: "tenant_id".into(), tenant_id_column_type: Type::Int64.into() };
    let vschema = format!("keyspaces/{}/VSchema", case.target);
    edit(snapshot, |path| path == vschema, |record: &mut Keyspace| record.multi_tenant_spec = Some(spec.clone()));
    edit(
        snapshot,
        |path| path == "SrvVSchema",
        |record: &mut SrvVSchema| {
            record.keyspace_routing_rules = Some(rules.clone());
            if let Some(of_target) = record.keyspaces.get_mut(case.target) {
                of_target.multi_tenant_spec = Some(spec.clone());
            }
        },
    );
    add(snapshot, "routing_rules/keyspace/Rules", rules.encode_to_vec());
    for rows in streams(snapshot) {
        set(rows, case.workflow, &[("options", r#"{"tenant_id": "7"}"#)]);
    }
}

/// The first half of the sharded keyspace moves to one that was not sharded, and has that half alone.
fn partial(snapshot: &mut Snapshot, case: &Case) {
    forget_tables(snapshot, case);
    let (from, to) = (case.source, case.target);
    let [half] = case.target_shards else { return };
    let key_range = KeyRange { start: Vec::new(), end: vec![0x80] };
    let mut row = None;
    for record in &mut snapshot.topo {
        let (old, new) = (format!("keyspaces/{to}/shards/0/"), format!("keyspaces/{to}/shards/{half}/"));
        record.path = record.path.replace(&old, &new);
    }
    let path = format!("keyspaces/{to}/shards/{half}/Shard");
    edit(snapshot, |it| it == path, |record: &mut Shard| record.key_range = Some(key_range.clone()));
    edit(
        snapshot,
        |it| it.ends_with("/Tablet"),
        |record: &mut Tablet| {
            if record.keyspace == to {
                record.shard = (*half).into();
                record.key_range = Some(key_range.clone());
            }
        },
    );
    let path = format!("keyspaces/{to}/SrvKeyspace");
    edit(
        snapshot,
        |it| it == path,
        |record: &mut SrvKeyspace| {
            for partition in &mut record.partitions {
                let of_half = ShardReference { name: (*half).into(), key_range: Some(key_range.clone()) };
                partition.shard_references = vec![of_half];
            }
        },
    );
    // Its tables are divided as those that they come from.
    let of_source = format!("keyspaces/{from}/VSchema");
    let vschema = snapshot.topo.iter().find(|record| record.path == of_source).map(|record| record.value.clone());
    let vschema = Keyspace::decode(vschema.unwrap_or_default().as_slice()).unwrap_or_default();
    let path = format!("keyspaces/{to}/VSchema");
    edit(snapshot, |it| it == path, |record: &mut Keyspace| *record = vschema.clone());
    let rule = ShardRoutingRule { from_keyspace: to.into(), to_keyspace: from.into(), shard: (*half).into() };
    let rules = ShardRoutingRules { rules: vec![rule] };
    edit(
        snapshot,
        |it| it == "SrvVSchema",
        |record: &mut SrvVSchema| {
            record.shard_routing_rules = Some(rules.clone());
            record.keyspaces.insert(to.into(), vschema.clone());
        },
    );
    add(snapshot, "ShardRoutingRules", rules.encode_to_vec());
    // The stream is on the other side, and reads this one.
    let mut columns = Vec::new();
    for rows in streams(snapshot) {
        let at = rows.columns.iter().position(|column| column.name == "workflow");
        let is_own = |row: &Vec<Cell>| at.and_then(|at| row.get(at)).is_some_and(|cell| *cell == text(case.workflow));
        if let Some(place) = rows.rows.iter().position(is_own) {
            row = Some(rows.rows.remove(place));
            columns.clone_from(&rows.columns);
        }
    }
    let source = format!(
        r#"keyspace:"{from}" shard:"{half}" filter:{{rules:{{match:"big2" filter:"select * from big2"}} rules:{{match:"orders2" filter:"select * from orders2"}}}}"#
    );
    for tablet in tablets_of(snapshot, to, half) {
        let rows = snapshot.tablets.entry(tablet).or_default().sidecar.entry("vreplication".into()).or_default();
        *rows = TableRows { columns: columns.clone(), rows: row.iter().cloned().collect() };
        set(rows, case.workflow, &[("source", &source), ("db_name", &format!("vt_{to}")), ("workflow_sub_type", "1")]);
    }
}

/// Two workflows of others write the shards that are split: one reads another keyspace, one the very shards.
fn beside(snapshot: &mut Snapshot, case: &Case) {
    let own = case.shards(case.owner);
    for shard in own {
        for alias in tablets_of(snapshot, case.target, shard) {
            let other = streams(snapshot).find_map(|rows| Some((rows.columns.clone(), rows.rows.first()?.clone())));
            let Some((columns, row)) = other else { continue };
            let rows = snapshot.tablets.entry(alias).or_default().sidecar.entry("vreplication".into()).or_default();
            if rows.columns.is_empty() {
                rows.columns.clone_from(&columns);
            }
            let read = |table: &str, keyspace: &str, shard_read: &str| {
                let select = format!("select * from corder where in_keyrange(customer_id, '{}.hash', '{shard}')", case.target);
                format!(r#"keyspace:"{keyspace}" shard:"{shard_read}" filter:{{rules:{{match:"{table}" filter:"{select}"}}}}"#)
            };
            let mut made = vec![(MATERIALIZE, read("corder", OUTSIDE.0, OUTSIDE.1), OUTSIDE)];
            made.extend(own.iter().map(|reads| (INNER, read("sales", case.target, reads), (case.target, *reads))));
            for (id, (workflow, source, (keyspace, reads))) in (900..).zip(made) {
                let mut row = row.clone();
                if let Some(at) = columns.iter().position(|column| column.name == "workflow") {
                    row[at] = text(workflow);
                }
                rows.rows.push(row);
                let pos = format!("MySQL56/{}:1-{BEFORE}", server(keyspace, reads));
                let values =
                    [("source", source.as_str()), ("pos", &pos), ("state", "Running"), ("message", ""), ("workflow_type", "0")];
                let last = rows.rows.split_off(rows.rows.len() - 1);
                let mut new = TableRows { columns: rows.columns.clone(), rows: last };
                set(&mut new, workflow, &values);
                set(&mut new, workflow, &[("id", &id.to_string()), ("db_name", &format!("vt_{}", case.target))]);
                rows.rows.append(&mut new.rows);
            }
        }
    }
}

/// The streams of all tablets.
fn streams(snapshot: &mut Snapshot) -> impl Iterator<Item = &mut TableRows> {
    snapshot.tablets.values_mut().filter_map(|tablet| tablet.sidecar.get_mut("vreplication"))
}

fn tablets_of(snapshot: &Snapshot, keyspace: &str, shard: &str) -> Vec<String> {
    let tablets = snapshot.topo.iter().filter_map(|record| {
        let alias = record.path.strip_prefix("tablets/")?.strip_suffix("/Tablet")?;
        let tablet = Tablet::decode(record.value.as_slice()).ok()?;
        (tablet.keyspace == keyspace && tablet.shard == shard).then(|| alias.to_owned())
    });
    tablets.collect()
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

/// Columns of a workflow's streams become these; numbers stay numbers.
fn set(rows: &mut TableRows, workflow: &str, values: &[(&str, &str)]) {
    let place = |name: &str| rows.columns.iter().position(|column| column.name == name);
    let Some(of) = place("workflow") else { return };
    let places: Vec<_> = values.iter().filter_map(|(name, value)| Some((place(name)?, *value))).collect();
    for row in rows.rows.iter_mut().filter(|row| row.get(of) == Some(&text(workflow))) {
        for (at, value) in &places {
            let number = value.parse().ok().filter(|_| matches!(row.get(*at), Some(Cell::Int(_))));
            if let Some(cell) = row.get_mut(*at) {
                *cell = number.map_or_else(|| text(value), Cell::Int);
            }
        }
    }
}
