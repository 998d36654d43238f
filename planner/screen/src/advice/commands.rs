//! The commands that are offered, as they can be copied.

use crate::{
    health::{Health, Whole},
    text::Command,
};
use vtflow_planner::{ops::workflow_status::traffic::forward_of, proto::vtctldata::Workflow};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Do {
    /// There is no command for it.
    Nothing,
    GetTablets,
    GetMigrations,
    Describe,
    GetSource,
    DescribeForward,
    /// There is no workflow of the other direction to be described.
    GetForward,
    Watch,
    Start,
    GetVDiff,
    ClearStopPosition,
    Freeze,
    VDiff,
    SwitchTraffic,
    SwitchReads,
    ReverseTraffic,
    Complete,
    Cancel,
    Externalize,
    Internalize,
    CompleteLookup,
    CompleteMigrate,
    DeleteIgnoringSource,
}

pub(super) fn command(what: Do, workflow: &Workflow, whole: &Whole<'_>) -> String {
    let side = |location: &Option<vtflow_planner::proto::vtctldata::workflow::ReplicationLocation>| {
        location.as_ref().map_or_else(String::new, |location| location.keyspace.clone())
    };
    let (target, source, name) = (side(&workflow.target), side(&workflow.source), workflow.name.as_str());
    let ours = |words: &str, flags: &str| Command::new(words).names(&[&target, name], flags);
    let lookup = |verb: &str| {
        let command = Command::new("vtctldclient LookupVindex").flag("--name", name).flag("--table-keyspace", &target);
        command.words(verb).flag("--keyspace", &source).text()
    };
    let vexec = |sql: &str| Command::new("vtflow vexec").names(&[&format!("{target}.{name}"), sql], "");
    let forward = forward_of(name).unwrap_or(name);
    match what {
        Do::Nothing => String::new(),
        Do::GetTablets => {
            let unreached = whole.streams.iter().find(|(health, ..)| *health == Health::Missing);
            let shard = unreached.map_or_else(|| target.clone(), |(_, _, stream)| format!("{target}/{}", stream.shard));
            Command::new("vtflow get tablets").names(&[&shard], "")
        }
        Do::GetMigrations => Command::new("vtflow get migrations").flag("--uuid", name).names(&[&target], ""),
        Do::Describe => ours("vtflow describe workflow", ""),
        Do::GetSource if source.is_empty() => String::new(),
        Do::GetSource => Command::new("vtflow get shards").names(&[&source], ""),
        Do::GetForward => Command::new("vtflow get workflows").names(&[&source], ""),
        Do::DescribeForward => Command::new("vtflow describe workflow").names(&[&source, forward], ""),
        Do::Watch => ours("vtflow describe workflow", "--watch"),
        Do::Start => ours("vtflow workflow start", ""),
        Do::GetVDiff => ours("vtflow get vdiff", ""),
        Do::ClearStopPosition => {
            vexec("update _vt.vreplication set state = 'Running', message = '', stop_pos = null where stop_pos is not null")
        }
        Do::Freeze => vexec("update _vt.vreplication set state = 'Stopped', message = 'FROZEN' where message != 'FROZEN'"),
        Do::VDiff => ours("vtflow vdiff create", ""),
        Do::SwitchTraffic => ours("vtflow workflow switch", "--dry-run"),
        Do::SwitchReads => ours("vtflow workflow switch", "--tablet-types rdonly,replica --dry-run"),
        Do::ReverseTraffic => ours("vtflow workflow reverse", "--dry-run"),
        Do::Complete | Do::CompleteMigrate => ours("vtflow workflow complete", "--dry-run"),
        Do::Cancel => ours("vtflow workflow cancel", "--dry-run"),
        Do::Externalize => lookup("externalize"),
        Do::Internalize => lookup("internalize"),
        Do::CompleteLookup => lookup("complete"),
        Do::DeleteIgnoringSource => ours("vtflow workflow delete", "--ignore-source"),
    }
}
