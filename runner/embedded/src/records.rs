//! The topology records of a cluster's tablets: whose they are, and the same leading to the ports where the tablets listen.

use std::collections::BTreeMap;

use prost::{Message, encoding};
use vtflow_planner::{proto::topodata, topo::record::CellRecord};

fn tablet_alias(record: &CellRecord) -> Option<&str> {
    record.path.strip_prefix("tablets/")?.strip_suffix("/Tablet")
}

/// The tablets by alias. A record that is none is left out, with a warning.
pub(crate) fn tablet_records<'a>(
    topo: impl Iterator<Item = &'a CellRecord>,
    warnings: &mut Vec<String>,
) -> BTreeMap<String, topodata::Tablet> {
    let mut records = BTreeMap::new();
    for record in topo {
        let Some(alias) = tablet_alias(record) else { continue };
        match topodata::Tablet::decode(record.value.as_slice()) {
            Ok(tablet) => {
                records.insert(alias.to_owned(), tablet);
            }
            Err(error) => warnings.push(one_line(&format!(
                "the topology record {} of cell {} is not a tablet: {error}; no tablet is started for it; mend topo.json or take \
                 the snapshot again",
                record.path, record.cell
            ))),
        }
    }
    records
}

/// Source: `go/vt/topo/topoproto/tablet.go:TabletDbName`.
pub(crate) fn db_name(tablet: &topodata::Tablet) -> String {
    if !tablet.db_name_override.is_empty() {
        tablet.db_name_override.clone()
    } else if tablet.keyspace.is_empty() {
        String::new()
    } else {
        format!("vt_{}", tablet.keyspace)
    }
}

/// The text without what would break its line: names and causes come from files.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Leads a tablet record to its port by appending fields: the last value of a field wins, and unknown fields stay as they are.
/// A record that leads nowhere stays so, byte for byte.
pub(crate) fn patched(mut record: CellRecord, ports: &BTreeMap<String, u16>) -> CellRecord {
    const HOSTNAME: u32 = 2;
    let tablet = topodata::Tablet::decode(record.value.as_slice()).ok().filter(has_address);
    let port = tablet_alias(&record).and_then(|alias| ports.get(alias));
    if let (Some(tablet), Some(port)) = (tablet, port) {
        encoding::string::encode(HOSTNAME, &"127.0.0.1".to_owned(), &mut record.value);
        // Pages are served on the same port as calls.
        let names = [GRPC, PAGES].into_iter().filter(|name| tablet.port_map.contains_key(*name));
        let port_map = names.map(|name| (name.to_owned(), i32::from(*port))).collect();
        let more = topodata::Tablet { port_map, ..topodata::Tablet::default() };
        record.value.extend(more.encode_to_vec());
    }
    record
}

/// Whether the record says where to call: that of a tablet which was shut down has neither host nor ports.
pub(crate) fn has_address(tablet: &topodata::Tablet) -> bool {
    !tablet.hostname.is_empty() && tablet.port_map.get(GRPC).is_some_and(|port| *port > 0)
}

/// The port map's key for the port that is called.
const GRPC: &str = "grpc";
/// The port map's key for the port of the pages.
const PAGES: &str = "vt";
