//! Topology reads: records of the topology server, as they are, in the replies that clients know.
//!
//! Each reply carries the records' own bytes ([`crate::wire`]): a field that this build does not know reaches the client all
//! the same. A record is decoded only to see that it can be. What cannot be read is left out and named; what was asked for by
//! name and cannot be read is the request's error.
//!
//! Facts: `go/vt/vtctl/grpcvtctldserver/server.go`, v24, and the texts of `go/vt/topo`. `docs/compat.md` lists what differs.

mod cells;
mod contents;
mod one;
mod path;
mod range;
mod records;
mod tablets;

pub use range::says_no_keyspace;
pub(crate) use range::{NoShards, Shards};

use crate::{
    contract::{Call, Status, Timestamp},
    operation::{Asks, Operation},
};

type Begun = Result<Box<dyn Operation>, Status>;

fn boxed(operation: Result<impl Operation + 'static, Status>) -> Begun {
    Ok(Box::new(operation?))
}

/// Declares how the reads of a kind begin: each a function of the RPC's name.
macro_rules! begin {
    ($($name:ident: $start:path, $what:expr;)*) => {$(
        pub(crate) fn $name(call: &Call, _: Timestamp, asks: &mut Asks) -> Begun {
            boxed($start($what, call, asks))
        }
    )*};
}

begin! {
    find_all_shards_in_keyspace: range::Listing::start, range::shards;
    get_cells_aliases: range::Listing::start, range::cells_aliases;
    get_cell_info_names: range::Listing::start, range::cells;
    get_keyspaces: range::Listing::start, range::keyspaces;
    get_srv_keyspaces: cells::PerCell::start, cells::srv_keyspaces;
    get_srv_vschemas: cells::PerCell::start, cells::srv_vschemas;
    get_srv_keyspace_names: cells::PerCell::start, cells::srv_keyspace_names;
    get_keyspace: one::One::start, one::keyspace;
    get_shard: one::One::start, one::shard;
    get_cell_info: one::One::start, one::cell_info;
    get_tablet: one::One::start, one::tablet;
    get_vschema: one::One::start, one::vschema;
    get_srv_vschema: one::One::start, one::srv_vschema;
    get_routing_rules: one::One::start, one::routing_rules;
    get_shard_routing_rules: one::One::start, one::shard_routing_rules;
    get_keyspace_routing_rules: one::One::start, one::keyspace_routing_rules;
    get_mirror_rules: one::One::start, one::mirror_rules;
}

pub(crate) fn get_topology_path(call: &Call, _: Timestamp, asks: &mut Asks) -> Begun {
    boxed(path::Place::start(call, asks))
}

pub(crate) fn get_tablets(call: &Call, _: Timestamp, asks: &mut Asks) -> Begun {
    boxed(tablets::Tablets::start(call, asks))
}
