//! Topology records for generated clusters, encoded as real servers write them.
//!
//! The messages are a subset of Vitess's `topodata`, enough to write; nothing here is read back.

use prost::Message;
use vtflow_planner::{
    proto::{
        topodata::{CellInfo, KeyRange, Shard, Tablet, TabletAlias, TabletType},
        vschema::{self, SrvVSchema},
        vttime::Time,
    },
    topo::record::CellRecord,
};

/// One shard and its only tablet, the primary.
pub(super) struct ShardPlace {
    pub(super) keyspace: &'static str,
    pub(super) shard: String,
    pub(super) range: Option<KeyRange>,
    pub(super) cell: &'static str,
    pub(super) uid: u32,
}

impl ShardPlace {
    pub(super) fn alias(&self) -> String {
        format!("{}-{:010}", self.cell, self.uid)
    }
}

/// The records of two cells and the given shards. Every shard serves.
pub(super) fn records(cells: &[&'static str], places: &[ShardPlace], since: i64) -> Vec<CellRecord> {
    let mut records = Records(Vec::new());
    for cell in cells {
        let info = CellInfo { server_address: "127.0.0.1:2379".to_owned(), root: format!("/vitess/{cell}") };
        records.add("global", format!("cells/{cell}/CellInfo"), &info);
        records.add(cell, "SrvVSchema".to_owned(), &served_vschema(places));
    }
    let mut keyspaces: Vec<&str> = places.iter().map(|place| place.keyspace).collect();
    keyspaces.dedup();
    for keyspace in keyspaces {
        let record = Keyspace { durability_policy: "none".to_owned(), sidecar_db_name: "_vt".to_owned() };
        records.add("global", format!("keyspaces/{keyspace}/Keyspace"), &record);
        // CreateKeyspace makes one for every keyspace, and vtctld fails without it: `go/vt/vtctl/grpcvtctldserver/server.go`.
        records.add("global", format!("keyspaces/{keyspace}/VSchema"), &vschema(places, keyspace));
        let of_keyspace: Vec<&ShardPlace> = places.iter().filter(|place| place.keyspace == keyspace).collect();
        for cell in cells {
            records.add(cell, format!("keyspaces/{keyspace}/SrvKeyspace"), &srv_keyspace(&of_keyspace));
        }
        for place in of_keyspace {
            let alias = TabletAlias { cell: place.cell.to_owned(), uid: place.uid };
            let term = Time { seconds: since, nanoseconds: 0 };
            let shard = Shard {
                primary_alias: Some(alias.clone()),
                key_range: place.range.clone(),
                is_primary_serving: true,
                primary_term_start_time: Some(term),
                ..Shard::default()
            };
            let folder = format!("keyspaces/{keyspace}/shards/{}", place.shard);
            records.add("global", format!("{folder}/Shard"), &shard);
            let replication = ShardReplication { nodes: vec![Node { tablet_alias: Some(alias.clone()) }] };
            records.add(place.cell, format!("{folder}/ShardReplication"), &replication);
            // Where nothing listens: a running cluster leads elsewhere.
            let port = 16_000 + i32::try_from(place.uid % 40_000).unwrap_or(0);
            let tablet = Tablet {
                alias: Some(alias),
                hostname: "127.0.0.1".to_owned(),
                port_map: [("grpc".to_owned(), port), ("vt".to_owned(), port - 1000)].into(),
                keyspace: keyspace.to_owned(),
                shard: place.shard.clone(),
                key_range: place.range.clone(),
                r#type: TabletType::Primary as i32,
                mysql_hostname: "127.0.0.1".to_owned(),
                mysql_port: port + 1000,
                primary_term_start_time: Some(term),
                tablet_start_time: Some(Time { seconds: since - 10, nanoseconds: 0 }),
                ..Tablet::default()
            };
            records.add(place.cell, format!("tablets/{}/Tablet", place.alias()), &tablet);
        }
    }
    records.0
}

/// Equal key ranges with their names: `-40`, `40-80` … One shard is called `-`, the whole range.
pub(super) fn key_ranges(count: u32) -> Vec<(String, Option<KeyRange>)> {
    let count = count.max(1);
    let (whole, width) = if count <= 256 { (256, 2) } else { (65_536, 4) };
    let bound = |index: u32| {
        if index == 0 || index == count {
            String::new()
        } else {
            format!("{:0width$x}", u64::from(index) * whole / u64::from(count))
        }
    };
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2).filter_map(|at| hex.get(at..at + 2));
        pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
    };
    let range = |index| {
        let (start, end) = (bound(index), bound(index + 1));
        let range = (count > 1).then(|| KeyRange { start: bytes(&start), end: bytes(&end) });
        (format!("{start}-{end}"), range)
    };
    (0..count).map(range).collect()
}

struct Records(Vec<CellRecord>);

impl Records {
    fn add(&mut self, cell: &str, path: String, message: &impl Message) {
        let version = i64::try_from(self.0.len()).unwrap_or(0) + 1;
        self.0.push(CellRecord { cell: cell.to_owned(), path, version, value: message.encode_to_vec() });
    }
}

/// A keyspace's vschema, without vindexes and tables.
fn vschema(places: &[ShardPlace], keyspace: &str) -> vschema::Keyspace {
    let sharded = places.iter().any(|place| place.keyspace == keyspace && place.range.is_some());
    vschema::Keyspace { sharded, ..vschema::Keyspace::default() }
}

/// What a cell's vtgates serve: every keyspace's vschema, and rules, of which there are none but which are there: vtctld and vtgate rely
/// on it (`go/vt/topo/srv_vschema.go:RebuildSrvVSchema`).
fn served_vschema(places: &[ShardPlace]) -> SrvVSchema {
    let keyspaces = places.iter().map(|place| (place.keyspace.to_owned(), vschema(places, place.keyspace))).collect();
    SrvVSchema {
        keyspaces,
        routing_rules: Some(vschema::RoutingRules::default()),
        shard_routing_rules: Some(vschema::ShardRoutingRules::default()),
        keyspace_routing_rules: Some(vschema::KeyspaceRoutingRules::default()),
        mirror_rules: Some(vschema::MirrorRules::default()),
    }
}

fn srv_keyspace(places: &[&ShardPlace]) -> SrvKeyspace {
    let shards: Vec<ShardReference> =
        places.iter().map(|place| ShardReference { name: place.shard.clone(), key_range: place.range.clone() }).collect();
    let partition = |kind: TabletType| Partition { served_type: kind as i32, shard_references: shards.clone() };
    SrvKeyspace { partitions: [TabletType::Primary, TabletType::Replica, TabletType::Rdonly].map(partition).to_vec() }
}

#[derive(Clone, PartialEq, Message)]
struct Keyspace {
    #[prost(string, tag = "8")]
    durability_policy: String,
    #[prost(string, tag = "10")]
    sidecar_db_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct SrvKeyspace {
    #[prost(message, repeated, tag = "1")]
    partitions: Vec<Partition>,
}

#[derive(Clone, PartialEq, Message)]
struct Partition {
    #[prost(int32, tag = "1")]
    served_type: i32,
    #[prost(message, repeated, tag = "2")]
    shard_references: Vec<ShardReference>,
}

#[derive(Clone, PartialEq, Message)]
struct ShardReference {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    key_range: Option<KeyRange>,
}

#[derive(Clone, PartialEq, Message)]
struct ShardReplication {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, optional, tag = "1")]
    tablet_alias: Option<TabletAlias>,
}
