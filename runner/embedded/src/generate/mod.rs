//! Clusters made up from numbers: for demonstrations, load and tests. Nothing is random, so that the same shape and moment give
//! the same snapshot, byte for byte.
//!
//! Here it is decided which workflows there are and what they are doing; their rows are made in `rows.rs`, the topology in
//! `topo.rs`.

mod rows;
mod topo;

use std::collections::BTreeMap;

use vtflow_planner::Timestamp;

use self::{
    rows::{Case, NewMigration, NewStream, NewVDiff, TabletBuilder},
    topo::{ShardPlace, key_ranges, records},
};
use crate::{
    release::Release,
    snapshot::{Snapshot, TableSize, TabletRows, Unreadable},
};

/// How large a generated cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Shards of keyspace `customer`, at least 1. Each has one primary, in `zone1` and `zone2` by turns.
    pub shards: u32,
    /// Streams per shard.
    pub streams: u32,
    /// Copy-state rows of every stream that copies: the tables it still has to finish.
    pub copy_states: u32,
    /// Log rows of every stream.
    pub log_rows: u32,
    /// What every tablet runs.
    pub release: Release,
}

impl Default for Shape {
    fn default() -> Self {
        Self { shards: 4, streams: 12, copy_states: 3, log_rows: 6, release: Release::NEWEST }
    }
}

const CELLS: [&str; 2] = ["zone1", "zone2"];

/// What the streams of a generated tablet are, by turns: workflow, what it is doing, workflow type.
const CASES: &[(&str, Case, i64)] = &[
    ("move_orders", Case::Running, 1),
    ("move_events", Case::Copying, 1),
    ("sales", Case::Running, 0),
    ("move_users", Case::Idle, 1),
    ("reshard", Case::Frozen, 4),
    ("move_audit", Case::Lagging, 1),
    ("online_ddl", Case::Running, 5),
    ("move_carts", Case::Throttled, 1),
    ("move_broken", Case::Failed, 1),
    ("lookup", Case::Done, 2),
    ("move_paused", Case::Stopped, 1),
    ("move_flaky", Case::Retrying, 1),
];

/// A cluster of keyspaces `commerce` (one shard) and `customer`, whose streams are in all the states there are.
///
/// Stream `n` of a shard belongs to the same workflow on every shard; the workflows' names are numbered from 1 for each state.
pub fn generate(shape: Shape, taken_at: Timestamp) -> Snapshot {
    let places = places(shape.shards);
    let mut tablets = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        let mut tablet = TabletBuilder::new(&place.alias(), place.keyspace, shape.release, taken_at);
        if place.keyspace == "customer" {
            for stream in 0..shape.streams {
                add_generated(&mut tablet, place, &parent(&places, index), stream, shape);
            }
        }
        tablets.insert(place.alias(), tablet.finish());
    }
    add_source_sizes(&mut tablets);
    let note = format!("generated: {} shards, {} streams each, release v{}", shape.shards, shape.streams, shape.release.major());
    Snapshot {
        taken_at,
        note,
        topo: records(&CELLS, &places, taken_at.seconds - 864_000),
        tablets,
        unreadable: Unreadable::default(),
    }
}

fn add_generated(tablet: &mut TabletBuilder, place: &ShardPlace, parent: &str, stream: u32, shape: Shape) {
    let turn = stream as usize % CASES.len();
    let number = stream as usize / CASES.len() + 1;
    let Some((name, case, kind)) = CASES.get(turn).copied() else { return };
    let mut workflow = format!("{name}_{number}");
    let table = format!("{}_{number}", name.trim_start_matches("move_"));
    let mut source = ("commerce", "0".to_owned());
    let keyed = format!("select * from {table} where in_keyrange(id, 'customer.hash', '{}')", place.shard);
    let mut rules = vec![(table.clone(), keyed)];
    match kind {
        0 => rules = vec![(table.clone(), "select sku, count(*) as n, sum(price) as total from corder group by sku".to_owned())],
        2 => {
            rules = vec![(
                table.clone(),
                "select sku as sku, keyspace_id() as keyspace_id from corder group by sku, keyspace_id".to_owned(),
            )];
        }
        4 => {
            source = ("customer", parent.to_owned());
            rules = vec![("/.*".to_owned(), place.shard.clone())];
        }
        5 => {
            source = ("customer", place.shard.clone());
            workflow = format!("e21f4478_e712_11f1_8dda_{number:012x}");
            let shadow = format!("_vt_vrp_{}_20261123075252_", workflow.replace('_', ""));
            rules = vec![(shadow, format!("select `id` as `id`, `note` as `note` from `{table}`"))];
            let statement = format!("alter table {table} add column note varchar(20)");
            tablet.migration(&NewMigration {
                uuid: &workflow,
                shard: &place.shard,
                table: &table,
                statement: &statement,
                context: &format!("release:{number}"),
                status: "running",
                options: "--postpone-completion",
            });
        }
        _ if case == Case::Copying => {
            rules.extend((1..shape.copy_states).map(|more| {
                let table = format!("{table}_{more}");
                (table.clone(), format!("select * from {table}"))
            }));
        }
        _ => {}
    }
    tablet.stream(&NewStream {
        workflow: &workflow,
        case,
        kind,
        source_keyspace: source.0,
        source_shard: &source.1,
        rules,
        cell: place.cell,
        copy_states: shape.copy_states,
        log_rows: shape.log_rows,
    });
}

/// The small cluster that is built into the program: four shards, workflows in states worth looking at.
pub fn demo(taken_at: Timestamp) -> Snapshot {
    let places = places(4);
    let shards: Vec<&str> =
        places.iter().filter(|place| place.keyspace == "customer").map(|place| place.shard.as_str()).collect();
    let mut tablets = BTreeMap::new();
    for place in &places {
        let mut tablet = TabletBuilder::new(&place.alias(), place.keyspace, Release::NEWEST, taken_at);
        if place.keyspace == "customer" {
            let at = shards.iter().position(|shard| *shard == place.shard).unwrap_or(0);
            demo_streams(&mut tablet, place, &shards, at);
        }
        tablets.insert(place.alias(), tablet.finish());
    }
    add_source_sizes(&mut tablets);
    let note = "the built-in demo: made up, no cluster ever looked exactly like this".to_owned();
    Snapshot {
        taken_at,
        note,
        topo: records(&CELLS, &places, taken_at.seconds - 864_000),
        tablets,
        unreadable: Unreadable::default(),
    }
}

/// The streams of the `at`-th shard of the demo.
fn demo_streams(tablet: &mut TabletBuilder, place: &ShardPlace, shards: &[&str], at: usize) {
    let first = at == 0;
    let keyed = |table: &str, key: &str| {
        (table.to_owned(), format!("select * from {table} where in_keyrange({key}, 'customer.hash', '{}')", place.shard))
    };
    let mut add = |workflow: &str, case, kind, source: (&str, &str), rules: Vec<(String, String)>, log_rows| {
        let copy_states = u32::try_from(rules.len()).unwrap_or(0);
        tablet.stream(&NewStream {
            workflow,
            case,
            kind,
            source_keyspace: source.0,
            source_shard: source.1,
            rules,
            cell: place.cell,
            copy_states,
            log_rows,
        });
    };
    let commerce = ("commerce", "0");
    add(
        "commerce2customer",
        Case::Frozen,
        1,
        commerce,
        vec![keyed("corder", "customer_id"), keyed("customer", "customer_id")],
        6,
    );
    add("move_big2", if first { Case::Failed } else { Case::Running }, 1, commerce, vec![keyed("big2", "id")], 9);
    let events = if at == 3 { Case::Throttled } else { Case::Copying };
    add(
        "move_events",
        events,
        1,
        commerce,
        vec![keyed("events", "id"), keyed("event_tags", "id"), keyed("event_notes", "id")],
        3,
    );
    add("move_audit", if at == 2 { Case::Lagging } else { Case::Idle }, 1, commerce, vec![keyed("audit", "id")], 6);
    for (from, source) in shards.iter().enumerate() {
        let case = if first && from == 1 { Case::NeverStarted } else { Case::Running };
        let filter = format!(
            "select customer_id, count(*) as n, sum(price) as total from corder where in_keyrange(customer_id, 'customer.hash', \
             '{}') group by customer_id",
            place.shard
        );
        add("sales_mat", case, 0, ("customer", source), vec![("sales".to_owned(), filter)], 6);
    }
    for (uuid, case, column) in [
        ("e21f4478_e712_11f1_8dda_0a4aad2ccf4f", Case::Running, "note"),
        ("1d04c23e_e711_11f1_8dda_0a4aad2ccf4f", Case::Done, "nick"),
    ] {
        let shadow = format!("_vt_vrp_{}_20261123075252_", uuid.replace('_', ""));
        let filter =
            format!("select `customer_id` as `customer_id`, `email` as `email`, `{column}` as `{column}` from `customer`");
        add(uuid, case, 5, ("customer", &place.shard), vec![(shadow, filter)], 5);
    }
    for (uuid, statement, context, status, options) in [
        (
            "1d04c23e_e711_11f1_8dda_0a4aad2ccf4f",
            "alter table customer add column nick varchar(20)",
            "vtctl:1d04c1f0",
            "complete",
            "",
        ),
        (
            "e21f4478_e712_11f1_8dda_0a4aad2ccf4f",
            "alter table customer add column note varchar(20)",
            "release:42",
            "running",
            "--postpone-completion",
        ),
        (
            "f0aa1b22_e713_11f1_8dda_0a4aad2ccf4f",
            "alter table corder add index sku_idx (sku)",
            "release:42",
            "queued",
            "--postpone-launch",
        ),
    ] {
        let table = if statement.contains("corder") { "corder" } else { "customer" };
        tablet.migration(&NewMigration { uuid, shard: &place.shard, table, statement, context, status, options });
    }
    for (uuid, workflow, tables, is_finished) in [
        ("b3f59678-5241-41ee-be56-0242ac120002", "commerce2customer", &["corder", "customer"][..], true),
        ("abb2999c-d8d8-403e-93ab-865e5affb6a3", "move_audit", &["audit"][..], false),
    ] {
        tablet.vdiff(&NewVDiff { uuid, workflow, shard: &place.shard, tables, is_finished });
    }
}

/// `commerce/0` has every table that was moved from there: three times the rows of a shard that still copies it, and some for one
/// that has not begun with it.
fn add_source_sizes(tablets: &mut BTreeMap<String, TabletRows>) {
    const DONE: i64 = 800_000;
    const NOT_BEGUN: (i64, i64) = (48_000, 4_608_000);
    let mut source: BTreeMap<String, TableSize> = BTreeMap::new();
    for size in tablets.values().flat_map(|rows| &rows.table_sizes) {
        let (rows, bytes) = match size.rows {
            0 => NOT_BEGUN,
            DONE.. => (size.rows, size.bytes),
            _ => (3 * size.rows, 3 * size.bytes),
        };
        let sum = source.entry(size.table.clone()).or_insert_with(|| TableSize {
            database: "vt_commerce".to_owned(),
            table: size.table.clone(),
            ..TableSize::default()
        });
        sum.rows += rows;
        sum.bytes += bytes;
    }
    if let Some(rows) = tablets.get_mut("zone1-0000000100") {
        rows.table_sizes = source.into_values().collect();
    }
}

/// `commerce/0`, then the shards of `customer`.
fn places(shards: u32) -> Vec<ShardPlace> {
    let source = ShardPlace { keyspace: "commerce", shard: "0".to_owned(), range: None, cell: "zone1", uid: 100 };
    let targets = (0u32..).zip(key_ranges(shards)).map(|(index, (shard, range))| ShardPlace {
        keyspace: "customer",
        shard,
        range,
        cell: CELLS.get(index as usize % 2).copied().unwrap_or("zone1"),
        uid: 200 + index * 100,
    });
    std::iter::once(source).chain(targets).collect()
}

/// The shard that this one and its neighbour were once.
fn parent(places: &[ShardPlace], index: usize) -> String {
    // Place 0 is commerce: the pairs are (1, 2), (3, 4) …
    let first = if index % 2 == 1 { index } else { index.saturating_sub(1) };
    let bound = |at: usize, end: bool| {
        let parts = places.get(at).and_then(|place| place.shard.split_once('-'));
        parts.map_or("", |(start, stop)| if end { stop } else { start })
    };
    format!("{}-{}", bound(first, false), bound(first + 1, true))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use vtflow_planner::proto::vschema;

    use super::*;

    #[test]
    fn key_ranges_are_equal_and_named_as_vitess_does() {
        let names = |count| key_ranges(count).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(4), ["-40", "40-80", "80-c0", "c0-"]);
        assert_eq!(names(1), ["-"]);
        let many = names(256);
        assert_eq!((many[0].as_str(), many[1].as_str(), many[255].as_str()), ("-01", "01-02", "ff-"));
        assert_eq!(names(512)[1], "0080-0100");
    }

    #[test]
    fn the_same_shape_and_moment_give_the_same_snapshot() {
        let at = Timestamp { seconds: 1_795_424_044, nanos: 0 };
        assert_eq!(generate(Shape::default(), at), generate(Shape::default(), at));
        assert_eq!(demo(at), demo(at));
    }

    #[test]
    fn every_keyspace_has_its_vschema() {
        let topo = demo(Timestamp { seconds: 1_795_424_044, nanos: 0 }).topo;
        for (keyspace, sharded) in [("commerce", false), ("customer", true)] {
            let path = format!("keyspaces/{keyspace}/VSchema");
            let record = topo.iter().find(|record| record.cell == "global" && record.path == path).expect("a record");
            let stored = vschema::Keyspace::decode(record.value.as_slice()).expect("a vschema");
            assert_eq!(stored.sharded, sharded);
            for served in topo.iter().filter(|record| record.path == "SrvVSchema") {
                let served = vschema::SrvVSchema::decode(served.value.as_slice()).expect("a vschema");
                assert_eq!(served.keyspaces[keyspace], stored, "{}", record.cell);
                assert!(served.routing_rules.is_some() && served.shard_routing_rules.is_some());
            }
        }
    }

    #[test]
    fn every_release_can_be_generated() {
        for major in 10..=24 {
            let shape = Shape { release: Release::new(major), shards: 2, ..Shape::default() };
            let snapshot = generate(shape, Timestamp { seconds: 1_795_424_044, nanos: 0 });
            let rows = &snapshot.tablets["zone1-0000000200"];
            assert_eq!(rows.sidecar["vreplication"].rows.len(), 12, "v{major}");
            assert_eq!(Release::of(rows), shape.release);
            let unnamed = crate::snapshot::TabletRows { vitess_release: None, ..rows.clone() };
            let guessed = Release::of(&unnamed).major();
            // v18 and v23 brought no column of their own.
            assert!(guessed.abs_diff(major) <= 1, "v{major} looks like v{guessed}");
            crate::mysql::engine::Engine::new(rows, crate::mysql::clock::Clock::starting_at(snapshot.taken_at)).unwrap();
        }
    }
}
