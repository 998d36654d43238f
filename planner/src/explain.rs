//! A flow's asks as people and tools read them: which records, which tablets, which exact statements, in which round.
//!
//! Says what would be done; does nothing. Follow-ups that depend on a tablet's answer (a further page, an older form of a
//! statement) are not known before it and so are not listed.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};

use crate::{
    contract::{Ask, Effect, Failure, What},
    words::plural,
};

/// Everything that a flow would ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The RPC planned for.
    pub rpc: String,
    /// How many answers deep the deepest ask is; 0 when nothing is asked.
    pub rounds: u32,
    /// In the order of rounds, then of cells and paths, then of shards.
    pub asks: Vec<PlannedAsk>,
    /// Shards that have nobody to ask.
    pub failures: Vec<Failure>,
}

/// One ask of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedAsk {
    /// As [`Ask::round`].
    pub round: u32,
    /// What is asked.
    #[serde(flatten)]
    pub what: Planned,
}

/// What an ask of a plan asks. The order of the variants is the order of a plan within a round.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Planned {
    /// A range of topology records.
    Range {
        /// A cell's name, or `global`.
        cell: String,
        /// The directory, relative to the cell's root.
        path: String,
    },
    /// The names in a range of topology records.
    List {
        /// A cell's name, or `global`.
        cell: String,
        /// The directory, relative to the cell's root.
        path: String,
    },
    /// One topology record.
    Get {
        /// A cell's name, or `global`.
        cell: String,
        /// Relative to the cell's root.
        path: String,
    },
    /// One topology record, written.
    Put {
        /// A cell's name, or `global`.
        cell: String,
        /// Relative to the cell's root.
        path: String,
    },
    /// One topology record, deleted.
    Delete {
        /// A cell's name, or `global`.
        cell: String,
        /// Relative to the cell's root.
        path: String,
    },
    /// A lock on a directory of the global topology.
    Lock {
        /// The directory.
        path: String,
    },
    /// The lock is given back.
    Unlock,
    /// One tablet RPC.
    Call {
        /// The shard's keyspace.
        keyspace: String,
        /// The shard.
        shard: String,
        /// The tablet's alias.
        tablet: String,
        /// Its host and gRPC port.
        address: String,
        /// `read` or `write`.
        effect: Effect,
        /// The tablet's database.
        db_name: String,
        /// The gRPC path.
        rpc: Cow<'static, str>,
        /// The exact statement; empty when the RPC carries none.
        statement: String,
        /// What is asked for: `streams`, `copy state`, `logs`, `names`.
        subject: Cow<'static, str>,
    },
    /// One page of a tablet, over HTTP.
    Page {
        /// The tablet's alias.
        tablet: String,
        /// Its host and the port of its pages.
        address: String,
        /// The path.
        path: Cow<'static, str>,
    },
}

impl Plan {
    /// The plan that a flow's asks make, whatever order they were released in.
    pub fn new(rpc: &str, asks: &[Ask], failures: Vec<Failure>) -> Self {
        let mut planned: Vec<_> = asks.iter().map(|ask| (ask.round, place(ask), ask.id, planned(ask))).collect();
        planned.sort();
        Self {
            rpc: rpc.into(),
            rounds: asks.iter().map(|ask| ask.round).max().unwrap_or(0),
            asks: planned.into_iter().map(|(round, _, _, what)| PlannedAsk { round, what }).collect(),
            failures,
        }
    }

    /// The plan as lines of text. Every statement is there in full; tablets that get the same ones are listed together.
    pub fn text(&self) -> String {
        let (mut out, global) = (String::new(), crate::topo::names::GLOBAL.to_owned());
        for ask in &self.asks {
            let (round, kind, cell, path) = match &ask.what {
                Planned::Range { cell, path } => (ask.round, "range", cell, path),
                Planned::List { cell, path } => (ask.round, "list", cell, path),
                Planned::Get { cell, path } => (ask.round, "get", cell, path),
                Planned::Put { cell, path } => (ask.round, "put", cell, path),
                Planned::Delete { cell, path } => (ask.round, "del", cell, path),
                Planned::Lock { path } => (ask.round, "lock", &global, path),
                Planned::Unlock | Planned::Call { .. } | Planned::Page { .. } => continue,
            };
            let _ = writeln!(out, "{round}  {cell:<16}  {kind:<5}  {path}");
        }
        for ask in &self.asks {
            if let Planned::Page { tablet, address, path } = &ask.what {
                let _ = writeln!(out, "{}  {tablet:<16}  page   {path}  at {address}", ask.round);
            }
        }
        for ((round, statements), tablets) in self.groups() {
            for (tablet, place, address) in tablets {
                let _ = writeln!(out, "{round}  {tablet:<16}  call   {place}  at {address}");
            }
            for (subject, statement) in statements {
                let _ = writeln!(out, "     {subject:<10}  {statement}");
            }
        }
        let calls = self.asks.iter().filter(|ask| matches!(ask.what, Planned::Call { .. })).count();
        let is_write = |what: &Planned| {
            matches!(what, Planned::Put { .. } | Planned::Delete { .. } | Planned::Call { effect: Effect::Write, .. })
        };
        let writes = self.asks.iter().filter(|ask| is_write(&ask.what)).count();
        let mut tablets: Vec<&str> = self.calls().map(|(_, tablet, ..)| tablet).collect();
        tablets.dedup();
        let effects = if writes == 0 { "all reads".to_owned() } else { format!("{writes} writes") };
        let _ = writeln!(
            out,
            "{}, {}, {}, {effects}",
            plural(self.rounds as usize, "round"),
            plural(tablets.len(), "tablet"),
            plural(calls, "statement")
        );
        out
    }

    /// Round, tablet, shard, address, subject and statement of each call.
    fn calls(&self) -> impl Iterator<Item = (u32, &str, String, &str, &str, &str)> {
        self.asks.iter().filter_map(|ask| match &ask.what {
            Planned::Call { keyspace, shard, tablet, address, statement, subject, .. } => Some((
                ask.round,
                tablet.as_str(),
                format!("{keyspace}/{shard}"),
                address.as_str(),
                &**subject,
                statement.as_str(),
            )),
            _ => None,
        })
    }

    /// Tablets by what they are asked.
    #[allow(clippy::type_complexity, reason = "local to the text above")]
    fn groups(&self) -> BTreeMap<(u32, Vec<(&str, &str)>), Vec<(&str, String, &str)>> {
        let mut by_tablet: Vec<((u32, &str, String, &str), Vec<(&str, &str)>)> = Vec::new();
        for (round, tablet, place, address, subject, statement) in self.calls() {
            let key = (round, tablet, place, address);
            match by_tablet.last_mut() {
                Some((last, statements)) if *last == key => statements.push((subject, statement)),
                _ => by_tablet.push((key, vec![(subject, statement)])),
            }
        }
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((round, tablet, place, address), statements) in by_tablet {
            groups.entry((round, statements)).or_default().push((tablet, place, address));
        }
        groups
    }
}

/// Where an ask stands within its round: a tablet's calls stay together and keep the order in which they were released.
fn place(ask: &Ask) -> (u8, String, String) {
    match &ask.what {
        What::TopoRange { cell, prefix } | What::TopoList { cell, prefix } => (0, cell.clone(), prefix.clone()),
        What::TopoGet { cell, path } => (1, cell.clone(), path.clone()),
        What::TopoPut { cell, path, .. } | What::TopoDelete { cell, path, .. } => (2, cell.clone(), path.clone()),
        What::TopoLock { path, .. } => (0, String::new(), path.clone()),
        What::TopoUnlock { .. } => (3, String::new(), String::new()),
        What::TabletCall { tablet, about, .. } => (2, about.shard.clone(), tablet.alias.clone()),
        What::TabletPage { tablet, path } => (3, tablet.alias.clone(), path.to_string()),
    }
}

fn planned(ask: &Ask) -> Planned {
    match &ask.what {
        What::TopoRange { cell, prefix } => Planned::Range { cell: cell.clone(), path: prefix.clone() },
        What::TopoList { cell, prefix } => Planned::List { cell: cell.clone(), path: prefix.clone() },
        What::TopoGet { cell, path } => Planned::Get { cell: cell.clone(), path: path.clone() },
        What::TopoPut { cell, path, .. } => Planned::Put { cell: cell.clone(), path: path.clone() },
        What::TopoDelete { cell, path, .. } => Planned::Delete { cell: cell.clone(), path: path.clone() },
        What::TopoLock { path, .. } => Planned::Lock { path: path.clone() },
        What::TopoUnlock { .. } => Planned::Unlock,
        What::TabletCall { tablet, path, effect, about, .. } => Planned::Call {
            keyspace: about.keyspace.clone(),
            shard: about.shard.clone(),
            tablet: tablet.alias.clone(),
            address: tablet.address(),
            effect: *effect,
            db_name: about.db_name.clone(),
            rpc: path.clone(),
            statement: about.statement.clone(),
            subject: about.subject.clone(),
        },
        What::TabletPage { tablet, path } => {
            Planned::Page { tablet: tablet.alias.clone(), address: tablet.address(), path: path.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{About, AskId, PageAddress, TabletAddress};

    fn call(id: u32, shard: &str, alias: &str, subject: &'static str) -> Ask {
        Ask {
            id: AskId(id),
            round: 3,
            what: What::TabletCall {
                tablet: TabletAddress { alias: alias.into(), cell: "zone1".into(), host: "::1".into(), grpc_port: 16100 },
                path: crate::rpc::VREPLICATION_EXEC.into(),
                request: Vec::new(),
                effect: Effect::Read,
                limit_ms: 0,
                about: About {
                    keyspace: "ks".into(),
                    shard: shard.into(),
                    db_name: "vt_ks".into(),
                    subject: subject.into(),
                    statement: format!("select {subject}"),
                },
            },
            gate: None,
        }
    }

    #[test]
    fn a_plan_lists_every_ask_once_in_a_stable_order() {
        let range = Ask {
            id: AskId(0),
            round: 1,
            what: What::TopoRange { cell: "global".into(), prefix: "keyspaces/ks/shards/".into() },
            gate: None,
        };
        let asks = [
            call(1, "80-", "zone1-2", "streams"),
            call(2, "80-", "zone1-2", "logs"),
            range,
            call(3, "-80", "zone1-1", "streams"),
            call(4, "-80", "zone1-1", "logs"),
        ];
        let plan = Plan::new("/x", &asks, Vec::new());
        assert_eq!(
            plan.text(),
            "1  global            range  keyspaces/ks/shards/\n\
             3  zone1-1           call   ks/-80  at [::1]:16100\n\
             3  zone1-2           call   ks/80-  at [::1]:16100\n\
             \x20    streams     select streams\n\
             \x20    logs        select logs\n\
             3 rounds, 2 tablets, 4 statements, all reads\n"
        );
        let mut backwards = asks.clone();
        backwards.reverse();
        assert_eq!(Plan::new("/x", &backwards, Vec::new()), plan);
    }

    /// Whatever was released first.
    #[test]
    fn within_a_round_records_come_before_tablets_and_tablets_by_shard() {
        let (global, zone1) = ("global".to_owned(), "zone1".to_owned());
        let page = PageAddress { alias: "zone1-1".into(), cell: zone1.clone(), host: "h".into(), port: 15100 };
        let put = |cell: &str, path: &str| What::TopoPut { cell: cell.into(), path: path.into(), value: vec![], version: 1 };
        let whats = [
            What::TopoUnlock { lock: AskId(9) },
            What::TabletPage { tablet: page, path: "/debug/vars".into() },
            call(0, "80-", "zone1-3", "streams").what,
            call(0, "-80", "zone1-5", "streams").what,
            call(0, "-80", "zone1-4", "names").what,
            call(0, "-80", "zone1-4", "logs").what,
            put("-", "SrvVSchema"),
            What::TopoGet { cell: zone1.clone(), path: "b".into() },
            What::TopoGet { cell: zone1.clone(), path: "a".into() },
            What::TopoGet { cell: global.clone(), path: "c".into() },
            What::TopoList { cell: zone1, prefix: "keyspaces/".into() },
            What::TopoRange { cell: global, prefix: "cells/".into() },
            What::TopoLock { path: "keyspaces/ks".into(), action: String::new(), is_named: false },
        ];
        let asks: Vec<Ask> = (0..).zip(whats).map(|(id, what)| Ask { id: AskId(id), round: 2, what, gate: None }).collect();
        let plan = Plan::new("/x", &asks, Vec::new());
        let shown = |planned: &PlannedAsk| match &planned.what {
            Planned::Range { cell, path } => format!("range {cell} {path}"),
            Planned::List { cell, path } => format!("list {cell} {path}"),
            Planned::Get { cell, path } => format!("get {cell} {path}"),
            Planned::Put { cell, path } => format!("put {cell} {path}"),
            Planned::Delete { cell, path } => format!("delete {cell} {path}"),
            Planned::Lock { path } => format!("lock {path}"),
            Planned::Unlock => "unlock".to_owned(),
            Planned::Call { tablet, subject, .. } => format!("{tablet} {subject}"),
            Planned::Page { tablet, path, .. } => format!("{tablet} {path}"),
        };
        assert_eq!(
            plan.asks.iter().map(shown).collect::<Vec<_>>(),
            [
                "lock keyspaces/ks",
                "range global cells/",
                "list zone1 keyspaces/",
                "get global c",
                "get zone1 a",
                "get zone1 b",
                "put - SrvVSchema",
                "zone1-4 names",
                "zone1-4 logs",
                "zone1-5 streams",
                "zone1-3 streams",
                "unlock",
                "zone1-1 /debug/vars",
            ]
        );
    }
}
