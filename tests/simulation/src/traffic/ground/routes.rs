//! Where a cell's vtgates send what is asked of a table, by the records that they go by.
//!
//! Facts: `go/vt/vtgate/executor.go`, `go/vt/vtgate/vschemaapi` and `go/vt/srvtopo/resolver.go`: rules of tables and keyspaces say which keyspace
//! a table is in, those of shards where a shard's requests go.

use std::sync::Arc;

use prost::Message;
use vtflow_planner::proto::{
    topodata::{SrvKeyspace, TabletType},
    vschema::SrvVSchema,
};

use super::Ground;
use crate::traffic::case::{Shape, Side};

impl Ground {
    /// What a cell serves to vtgates.
    fn served(&self, cell: &str) -> Option<Arc<SrvVSchema>> {
        let known = self.state().served.get(cell).cloned();
        let read = self.kept(cell, "SrvVSchema", known)?;
        self.state().served.insert(cell.to_owned(), read.clone());
        Some(read.1)
    }

    /// Which shards a cell serves of the target's keyspace.
    fn shards(&self, cell: &str) -> Option<Arc<SrvKeyspace>> {
        let known = self.state().shards.get(cell).cloned();
        let read = self.kept(cell, &format!("keyspaces/{}/SrvKeyspace", self.case.target), known)?;
        self.state().shards.insert(cell.to_owned(), read.clone());
        Some(read.1)
    }

    /// A record as it is; what is known of it if that is the same.
    fn kept<M: Message + Default>(&self, cell: &str, path: &str, known: Option<(i64, Arc<M>)>) -> Option<(i64, Arc<M>)> {
        let revision = self.world.revision(cell, path)?;
        if let Some(known) = known.filter(|(of, _)| *of == revision) {
            return Some(known);
        }
        Some((revision, Arc::new(self.world.record(cell, path)?)))
    }

    /// Where a cell sends what is asked of a table on tablets of one type: `@replica`, or nothing for writes.
    pub(crate) fn routed(&self, cell: &str, table: &str, suffix: &str) -> Option<Side> {
        let served = self.served(cell)?;
        if self.case.shape == Shape::Tenant {
            let rules = served.keyspace_routing_rules.as_ref().map(|rules| rules.rules.as_slice()).unwrap_or_default();
            let from = format!("{}{suffix}", self.case.source);
            let rule = rules.iter().find(|rule| rule.from_keyspace == from);
            return rule.map_or(Some(self.owner()), |rule| self.side_named(&rule.to_keyspace));
        }
        let rules = served.routing_rules.as_ref().map(|rules| rules.rules.as_slice()).unwrap_or_default();
        let from = format!("{table}{suffix}");
        let keyspace = match rules.iter().find(|rule| rule.from_table == from) {
            Some(rule) => rule.to_tables.first()?.split('.').next()?.to_owned(),
            // Without a rule whoever asks names the keyspace: a cancellation leaves the table in a sharded target's vschema.
            None if suffix.is_empty() => return Some(self.owner()),
            None => return self.routed(cell, table, ""),
        };
        self.side_named(&keyspace)
    }

    fn side_named(&self, keyspace: &str) -> Option<Side> {
        [Side::Source, Side::Target].into_iter().find(|side| self.case.keyspace(*side) == keyspace)
    }

    /// Where a cell sends what somebody asks of the moved shard in one keyspace or the other.
    pub(super) fn routed_shard(&self, cell: &str, asked: Side) -> Option<Side> {
        let served = self.served(cell)?;
        let rules = served.shard_routing_rules.as_ref().map(|rules| rules.rules.as_slice()).unwrap_or_default();
        let mut own = rules.iter().filter(|rule| self.case.source_shards.contains(&rule.shard.as_str()));
        // Without rules whoever asks knows where the tables are.
        let first = own.clone().next();
        if first.is_none() {
            return Some(self.owner());
        }
        let rule = own.find(|rule| rule.from_keyspace == self.case.keyspace(asked));
        rule.map_or(Some(asked), |rule| self.side_named(&rule.to_keyspace))
    }

    /// Which of a reshard's shards a cell sends what to, for one type of tablet. `choice`: which row.
    pub(super) fn shard_of(&self, cell: &str, of: TabletType, choice: usize) -> Result<(Side, &'static str), &'static str> {
        let served = self.shards(cell).ok_or("nothing is served")?;
        let references: Vec<&str> = served
            .partitions
            .iter()
            .filter(|partition| partition.served_type() == of)
            .flat_map(|partition| &partition.shard_references)
            .map(|reference| reference.name.as_str())
            .collect();
        let pick = |side: Side, choice: usize| {
            let shards = self.case.shards(side);
            shards.get(choice % shards.len()).copied().filter(|shard| references.contains(shard)).map(|shard| (side, shard))
        };
        match (pick(Side::Source, 0), pick(Side::Target, choice)) {
            (Some(_), Some(_)) => Err("two shards have the row"),
            (Some(found), None) | (None, Some(found)) => Ok(found),
            (None, None) => Err("no shard has the row"),
        }
    }

    /// Which side reads of one type go to in a cell; `None`: nobody can tell, or it depends on the table.
    pub(crate) fn reads(&self, cell: &str, of: TabletType) -> Option<Side> {
        if self.case.is_reshard() {
            return self.shard_of(cell, of, 0).ok().map(|(side, _)| side);
        }
        // They go with the writes.
        if self.case.shape == Shape::Partial {
            return None;
        }
        let suffix = format!("@{}", of.as_str_name().to_lowercase());
        let mut sides = self.case.tables.iter().map(|table| self.routed(cell, table, &suffix));
        let first = sides.next()??;
        sides.all(|side| side == Some(first)).then_some(first)
    }
}
