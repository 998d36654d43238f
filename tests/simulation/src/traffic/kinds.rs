//! Which kind of step of a change of traffic a request is, as its bytes say, whoever sent it for whatever reason.

use std::collections::BTreeSet;

use prost::Message;
use vtflow_planner::proto::{
    tabletmanagerdata as data,
    topodata::{self, SrvKeyspace, TabletType, srv_keyspace::KeyspacePartition},
};

use crate::traffic::others::{INNER, MATERIALIZE};

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Lock,
    Refresh,
    Permissions,
    MirrorRules,
    Rules,
    ServeRules,
    DenyTables,
    AllowTables,
    CloseShards,
    OpenShards,
    ServeReads,
    ServeWrites,
    Serving,
    LockTables,
    Pause,
    Nudge,
    Position,
    WaitForPosition,
    StopStreams,
    CreateStream,
    DeleteStreams,
    WriteJournal,
    StartStreams,
    Freeze,
    /// Of streams of other workflows, as those beside a reshard are called here.
    HoldOthers,
    SendOthersOn,
    CopyOthers,
    StartOthers,
    ForgetDiffs,
    ForgetLog,
    ListTables,
    DropTables,
    VSchema,
    ShardRecords,
    Unlock,
    /// A read of rows: also the second look at what became of a call.
    Look,
}

impl Step {
    /// As tables have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Refresh => "refresh tablets",
            Self::Permissions => "check permissions",
            Self::MirrorRules => "mirror rules",
            Self::Rules => "rules",
            Self::ServeRules => "rules in a cell",
            Self::DenyTables => "deny tables",
            Self::AllowTables => "allow tables",
            Self::CloseShards => "query service off",
            Self::OpenShards => "query service on",
            Self::ServeReads => "shards for reads in a cell",
            Self::ServeWrites => "shards for writes in a cell",
            Self::Serving => "primary serves",
            Self::LockTables => "lock tables",
            Self::Pause => "pause",
            Self::Nudge => "nudge streams",
            Self::Position => "position",
            Self::WaitForPosition => "wait for position",
            Self::StopStreams => "stop streams",
            Self::CreateStream => "create stream",
            Self::DeleteStreams => "delete streams",
            Self::WriteJournal => "journal",
            Self::StartStreams => "start streams",
            Self::Freeze => "freeze",
            Self::HoldOthers => "hold others' streams",
            Self::SendOthersOn => "send others' streams on",
            Self::CopyOthers => "copy others' streams",
            Self::StartOthers => "start others' streams",
            Self::ForgetDiffs => "forget vdiffs",
            Self::ForgetLog => "forget log",
            Self::ListTables => "list tables",
            Self::DropTables => "drop tables",
            Self::VSchema => "vschema",
            Self::ShardRecords => "shard records",
            Self::Unlock => "unlock",
            Self::Look => "look",
        }
    }
}

/// The statement of a call; empty: it has none.
pub(crate) fn statement_of(method: &str, request: &[u8]) -> String {
    match method {
        "ExecuteFetchAsDba" => data::ExecuteFetchAsDbaRequest::decode(request)
            .map(|request| String::from_utf8_lossy(&request.query).into_owned())
            .unwrap_or_default(),
        "VReplicationExec" => data::VReplicationExecRequest::decode(request).map(|request| request.query).unwrap_or_default(),
        _ => String::new(),
    }
}

/// What a call of a tablet is; `None`: no step of a change.
pub(crate) fn of_call(method: &str, request: &[u8]) -> Option<Step> {
    let text = statement_of(method, request).trim_start().to_lowercase();
    let begins = |start: &str| text.starts_with(start);
    Some(match method {
        "RefreshState" => Step::Refresh,
        "ValidateVReplicationPermissions" => Step::Permissions,
        "PrimaryPosition" => Step::Position,
        "VReplicationWaitForPos" => Step::WaitForPosition,
        "VDiff" => Step::ForgetDiffs,
        "ExecuteFetchAsDba" if begins("lock tables") => Step::LockTables,
        "ExecuteFetchAsDba" if begins("select sleep(") => Step::Pause,
        "ExecuteFetchAsDba" if begins("flush") => Step::Nudge,
        "ExecuteFetchAsDba" if begins("drop ") || begins("rename ") => Step::DropTables,
        "ExecuteFetchAsDba" if text.contains("information_schema.tables") => Step::ListTables,
        "ExecuteFetchAsDba" if begins("delete") => Step::ForgetLog,
        "VReplicationExec" if begins("insert into _vt.resharding_journal") => Step::WriteJournal,
        "VReplicationExec" if begins("insert into _vt.vreplication") && is_of_others(&text) => Step::CopyOthers,
        "VReplicationExec" if begins("insert into _vt.vreplication") => Step::CreateStream,
        "VReplicationExec" if begins("delete from _vt.vreplication") => Step::DeleteStreams,
        "VReplicationExec" if begins("update") && text.contains("'synchronizing for cutover'") => Step::SendOthersOn,
        "VReplicationExec" if begins("update") && text.contains("'for cutover'") => Step::HoldOthers,
        "VReplicationExec" if begins("update") && text.contains("'running'") && is_of_others(&text) => Step::StartOthers,
        "VReplicationExec" if begins("update") && text.contains("'frozen'") => Step::Freeze,
        "VReplicationExec" if begins("update") && text.contains("'running'") => Step::StartStreams,
        "VReplicationExec" if begins("update") && text.contains("'stopped'") => Step::StopStreams,
        "VReplicationExec" | "ExecuteFetchAsDba" if begins("select") => Step::Look,
        // Of a tenant the rows go alone.
        "DeleteTableData" => Step::DropTables,
        "ReadVReplicationWorkflow" => Step::Look,
        _ => return None,
    })
}

fn is_of_others(text: &str) -> bool {
    [MATERIALIZE, INNER].iter().any(|name| text.contains(name))
}

/// What the change of a record is. `path`: below the root of its cell; `None`: it is not there, before or after.
pub(crate) fn of_record(path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Option<Step> {
    let last = path.rsplit('/').next().unwrap_or_default();
    Some(match last {
        "RoutingRules" | "ShardRoutingRules" | "KeyspaceRoutingRules" | "Rules" if !path.starts_with("keyspaces/") => Step::Rules,
        "MirrorRules" => Step::MirrorRules,
        "SrvVSchema" => Step::ServeRules,
        "VSchema" => Step::VSchema,
        "Shard" | "Tablet" | "ShardReplication" if after.is_none() => Step::ShardRecords,
        "Shard" => of_shard(before, after),
        "SrvKeyspace" => of_served(before, after),
        _ => return None,
    })
}

fn decoded<M: Message + Default>(value: Option<&[u8]>) -> M {
    value.and_then(|value| M::decode(value).ok()).unwrap_or_default()
}

fn of_shard(before: Option<&[u8]>, after: Option<&[u8]>) -> Step {
    let (before, after): (topodata::Shard, topodata::Shard) = (decoded(before), decoded(after));
    if before.is_primary_serving != after.is_primary_serving {
        return Step::Serving;
    }
    let denied = |shard: &topodata::Shard| shard.tablet_controls.iter().map(|control| control.denied_tables.len()).sum::<usize>();
    if denied(&after) > denied(&before) { Step::DenyTables } else { Step::AllowTables }
}

fn of_served(before: Option<&[u8]>, after: Option<&[u8]>) -> Step {
    let (before, after): (SrvKeyspace, SrvKeyspace) = (decoded(before), decoded(after));
    let shards = |of: &KeyspacePartition| -> Vec<String> { of.shard_references.iter().map(|it| it.name.clone()).collect() };
    let served = |record: &SrvKeyspace, is_primary: bool| -> Vec<(i32, Vec<String>)> {
        let is_it = |of: &&KeyspacePartition| (of.served_type() == TabletType::Primary) == is_primary;
        record.partitions.iter().filter(is_it).map(|of| (of.served_type, shards(of))).collect()
    };
    if served(&before, true) != served(&after, true) {
        return Step::ServeWrites;
    }
    if served(&before, false) != served(&after, false) {
        return Step::ServeReads;
    }
    let off = |record: &SrvKeyspace| -> BTreeSet<(i32, String)> {
        let of_partition = |of: &KeyspacePartition| -> Vec<(i32, String)> {
            let off = of.shard_tablet_controls.iter().filter(|control| control.query_service_disabled);
            off.map(|control| (of.served_type, control.name.clone())).collect()
        };
        record.partitions.iter().flat_map(of_partition).collect()
    };
    if off(&after).is_subset(&off(&before)) { Step::OpenShards } else { Step::CloseShards }
}

#[cfg(test)]
mod tests {
    use vtflow_planner::proto::topodata::{ShardReference, ShardTabletControl, shard::TabletControl};

    use super::*;

    #[test]
    fn a_step_is_known_by_its_bytes() {
        let exec = |query: &str| {
            let request = data::VReplicationExecRequest { query: query.to_owned() }.encode_to_vec();
            of_call("VReplicationExec", &request)
        };
        assert_eq!(exec("update _vt.vreplication set message = 'FROZEN' where id = 1"), Some(Step::Freeze));
        assert_eq!(exec("insert into _vt.resharding_journal (id) values (1)"), Some(Step::WriteJournal));
        assert_eq!(exec("select val from _vt.resharding_journal where id=1"), Some(Step::Look));
        let request = data::ExecuteFetchAsDbaRequest { query: b"LOCK TABLES `a` READ".to_vec(), ..Default::default() };
        assert_eq!(of_call("ExecuteFetchAsDba", &request.encode_to_vec()), Some(Step::LockTables));
        assert_eq!(of_call("GetSchema", &[]), None);
    }

    #[test]
    fn a_record_says_which_way_it_goes() {
        let shard = |tables: &[&str]| {
            let denied_tables = tables.iter().map(|table| (*table).to_owned()).collect();
            let control = TabletControl { tablet_type: TabletType::Primary.into(), denied_tables, ..Default::default() };
            topodata::Shard { tablet_controls: vec![control], ..Default::default() }.encode_to_vec()
        };
        let (open, closed) = (shard(&[]), shard(&["a"]));
        let path = "keyspaces/ks/shards/0/Shard";
        assert_eq!(of_record(path, Some(&open), Some(&closed)), Some(Step::DenyTables));
        assert_eq!(of_record(path, Some(&closed), Some(&open)), Some(Step::AllowTables));
        assert_eq!(of_record(path, Some(&closed), None), Some(Step::ShardRecords));

        let served = |of: TabletType, shard: &str, is_off: bool| {
            let control = ShardTabletControl { name: shard.to_owned(), query_service_disabled: is_off, ..Default::default() };
            let shard_references = vec![ShardReference { name: shard.to_owned(), ..Default::default() }];
            let partition = KeyspacePartition { served_type: of.into(), shard_references, shard_tablet_controls: vec![control] };
            SrvKeyspace { partitions: vec![partition], ..Default::default() }.encode_to_vec()
        };
        let path = "keyspaces/ks/SrvKeyspace";
        let (on, off) = (served(TabletType::Primary, "-80", false), served(TabletType::Primary, "-80", true));
        assert_eq!(of_record(path, Some(&on), Some(&off)), Some(Step::CloseShards));
        assert_eq!(of_record(path, Some(&off), Some(&on)), Some(Step::OpenShards));
        let other = served(TabletType::Primary, "80-", false);
        assert_eq!(of_record(path, Some(&on), Some(&other)), Some(Step::ServeWrites));
        let (reads, others) = (served(TabletType::Replica, "-80", false), served(TabletType::Replica, "80-", false));
        assert_eq!(of_record(path, Some(&reads), Some(&others)), Some(Step::ServeReads));
    }
}
