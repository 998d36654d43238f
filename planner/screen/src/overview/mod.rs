//! All keyspaces at a glance: one line each, trouble first, with what is in trouble beneath.
//!
//! A keyspace that could not be read is unknown and never left out; what is missing of one that could is said in its line. The lines rest on
//! those of [`super::workflows()`] and [`crate::migrations()`], so that the overview and a keyspace's own screen cannot differ.

mod columns;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use serde::Serialize;

pub use self::columns::{Counted, overview_table};
use crate::{
    around::SourceShards,
    migrations::{Beside, MigrationLine},
    words::{plural, some},
    workflows::{WorkflowLine, source_keyspaces},
};
use vtflow_planner::{
    contract::{Failure, Lost, Reply, Timestamp},
    proto::vtctldata::{GetSchemaMigrationsResponse, GetWorkflowsRequest, GetWorkflowsResponse, schema_migration::Status},
};

/// Names of shards in a line.
const NAMES_SHOWN: usize = 4;

/// How a keyspace is doing, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Something in it is in trouble.
    Trouble,
    /// It could not be read.
    Unknown,
    /// A part of it could not be read; in what could, all is well.
    PartlyUnknown,
    /// All is well.
    Well,
    /// There is nothing in it.
    Empty,
}

/// One keyspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverviewLine {
    /// Its name.
    pub keyspace: String,
    /// How it is doing.
    pub standing: Standing,
    /// The same in words: `2 in trouble`, `unknown`.
    pub state: String,
    /// How many workflows, or migrations, there are; `None` if that is not known.
    pub count: Option<usize>,
    /// What they are, the most first: `4 MoveTables, 1 OnlineDDL`, or by state.
    pub kinds: String,
    /// What is not known, and why. Empty when all is.
    pub note: String,
    /// What is in trouble, the worst first.
    pub troubled: Vec<Troubled>,
    /// Whether anything is wrong, or not known.
    pub has_trouble: bool,
}

/// A workflow, or a migration, that is in trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Troubled {
    /// Its name, or its UUID.
    pub name: String,
    /// Its type, or what it does to which table.
    pub kind: String,
    /// The states of its streams, or its state.
    pub state: String,
    /// What there is to say of it.
    pub note: String,
}

/// A workflow or a migration, as the overview counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    name: String,
    /// What it is counted under.
    kind: String,
    /// What is shown of it if it is in trouble.
    troubled: Option<Troubled>,
}

impl Thing {
    /// Its name, or its UUID.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl From<WorkflowLine> for Thing {
    fn from(line: WorkflowLine) -> Self {
        let (name, kind) = (line.name.clone(), line.kind.clone());
        let shown = Troubled { name: line.name, kind: line.kind, state: line.streams, note: line.note };
        Self { name, kind, troubled: line.has_trouble.then_some(shown) }
    }
}

impl From<MigrationLine> for Thing {
    fn from(line: MigrationLine) -> Self {
        let (name, kind) = (line.uuid.clone(), line.status.clone());
        let what = [line.action, line.table].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
        let shown = Troubled { name: line.uuid, kind: what, state: line.status, note: line.note };
        Self { name, kind, troubled: line.has_trouble.then_some(shown) }
    }
}

/// What one keyspace answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceRead {
    /// Its name.
    pub keyspace: String,
    /// What is in it, the worst first; or why it could not be read.
    pub things: Result<Vec<Thing>, String>,
    /// What is missing of it.
    pub failures: Vec<Failure>,
}

/// What a keyspace answered to one request; or why nobody could ask.
pub type Said<'a> = Result<&'a Reply, &'a str>;

/// What one keyspace answered to `GetWorkflows`. `shards`: of every keyspace of the cluster. Where there are no shards there is nothing to ask, and
/// nothing; and what reads a keyspace that is not there has lost its source.
pub fn workflows_read(
    keyspace: &str,
    workflows: Said<'_>,
    shards: &BTreeMap<String, SourceShards>,
    now: Timestamp,
) -> KeyspaceRead {
    let known = |source: &str| match shards.get(source) {
        _ if source.is_empty() => SourceShards::Unknown,
        None => SourceShards::Gone,
        Some(shards) => shards.clone(),
    };
    let read = |bytes: &[u8]| {
        let reply = decoded::<GetWorkflowsResponse>(bytes)?;
        let sources = source_keyspaces(&reply.workflows).into_iter().map(|source| (source.clone(), known(&source))).collect();
        let lines = crate::workflows_with(&GetWorkflowsRequest::default(), &reply, &sources, now);
        Ok(lines.into_iter().map(Into::into).collect())
    };
    read_of(keyspace, workflows, shards.get(keyspace), read)
}

/// What one keyspace answered to `GetSchemaMigrations`, without filters. `workflows`: what it answered to `GetWorkflows`, in which the migrations'
/// streams are; `shards`: its reply to `FindAllShardsInKeyspace`. What could not be had leaves unknown what it would have told, and nothing else.
pub fn migrations_read(
    keyspace: &str,
    migrations: Said<'_>,
    workflows: Said<'_>,
    shards: &SourceShards,
    now: Timestamp,
) -> KeyspaceRead {
    let names: Option<Vec<String>> = shards.names().map(|names| names.iter().cloned().collect());
    let (streams, unread) = match workflows.map_err(str::to_owned).and_then(|reply| {
        let bytes = reply.result.as_ref().map_err(|status| status.message.clone())?;
        Ok((decoded::<GetWorkflowsResponse>(bytes)?, reply.failures.clone()))
    }) {
        Ok(read) => read,
        Err(why) => {
            let empty = String::new;
            let message = format!("the migrations' streams: {why}");
            let failure = Failure {
                keyspace: keyspace.into(),
                shard: empty(),
                tablet: empty(),
                workflow: empty(),
                lost: Lost::Stream,
                message,
            };
            (GetWorkflowsResponse::default(), vec![failure])
        }
    };
    let own = migrations.map_or(&[][..], |reply| reply.failures.as_slice());
    let mut has_open = false;
    let read = |bytes: &[u8]| {
        let reply = decoded::<GetSchemaMigrationsResponse>(bytes)?;
        has_open = reply.migrations.iter().any(|row| !matches!(row.status(), Status::Complete | Status::Cancelled));
        let beside = Beside {
            failures: own,
            workflows: has_open.then_some((&streams, unread.as_slice())),
            shards: names.as_deref(),
            is_whole: true,
            is_newest_first: false,
        };
        Ok(crate::migrations(&reply, beside, now).into_iter().map(Into::into).collect())
    };
    let mut of = read_of(keyspace, migrations, Some(shards), read);
    if has_open {
        // A tablet that is silent is so for both.
        let is_new = |failure: &&Failure| !own.iter().any(|known| !known.shard.is_empty() && known.shard == failure.shard);
        of.failures.extend(unread.iter().filter(is_new).cloned());
    }
    of
}

/// `read`: what is in the reply's message.
fn read_of(
    keyspace: &str,
    said: Said<'_>,
    shards: Option<&SourceShards>,
    read: impl FnOnce(&[u8]) -> Result<Vec<Thing>, String>,
) -> KeyspaceRead {
    let failures = said.map_or_else(|_| Vec::new(), |reply| reply.failures.clone());
    let things = match said.map(|reply| &reply.result) {
        Ok(Ok(bytes)) => read(bytes),
        Ok(Err(_)) if shards.and_then(SourceShards::names).is_some_and(BTreeSet::is_empty) => Ok(Vec::new()),
        Ok(Err(status)) => Err(status.message.clone()),
        Err(why) => Err(why.to_owned()),
    };
    KeyspaceRead { keyspace: keyspace.into(), things, failures }
}

fn decoded<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    M::decode(bytes).map_err(|error| format!("the reply cannot be read: {error}"))
}

/// One line per keyspace: trouble first, then what is not known, then the rest; by name within each.
pub fn overview(reads: Vec<KeyspaceRead>) -> Vec<OverviewLine> {
    let mut lines: Vec<OverviewLine> = reads.into_iter().map(line).collect();
    lines.sort_by(|a, b| a.standing.cmp(&b.standing).then_with(|| a.keyspace.cmp(&b.keyspace)));
    lines
}

fn line(read: KeyspaceRead) -> OverviewLine {
    let KeyspaceRead { keyspace, things, failures } = read;
    let missing = missing(&failures);
    let (count, kinds, troubled, note) = match things {
        Ok(things) => {
            let kinds = kinds(&things);
            let count = things.len();
            (Some(count), kinds, things.into_iter().filter_map(|thing| thing.troubled).collect::<Vec<_>>(), missing)
        }
        Err(why) => (None, String::new(), Vec::new(), Some(why.lines().next().unwrap_or_default().to_owned())),
    };
    let standing = match (count, troubled.len(), &note) {
        (None, ..) => Standing::Unknown,
        (_, 1.., _) => Standing::Trouble,
        (_, 0, Some(_)) => Standing::PartlyUnknown,
        (Some(0), ..) => Standing::Empty,
        _ => Standing::Well,
    };
    let state = match standing {
        Standing::Trouble => format!("{} in trouble", troubled.len()),
        Standing::Unknown => "unknown".into(),
        Standing::PartlyUnknown => "partly unknown".into(),
        Standing::Well => "well".into(),
        Standing::Empty => "none".into(),
    };
    OverviewLine {
        keyspace,
        standing,
        state,
        count,
        kinds,
        note: note.unwrap_or_default(),
        troubled,
        has_trouble: standing <= Standing::PartlyUnknown,
    }
}

/// Which shards gave no answer, or how much else is missing.
fn missing(failures: &[Failure]) -> Option<String> {
    let shards: BTreeSet<&str> =
        failures.iter().map(|failure| failure.shard.as_str()).filter(|shard| !shard.is_empty()).collect();
    if failures.is_empty() {
        return None;
    }
    let shards: Vec<&str> = shards.into_iter().collect();
    Some(if shards.is_empty() {
        format!("{} missing", plural(failures.len(), "thing"))
    } else {
        format!("not all is known of {}", some(&shards, NAMES_SHOWN))
    })
}

fn kinds(things: &[Thing]) -> String {
    let mut by_kind: BTreeMap<&str, usize> = BTreeMap::new();
    for thing in things {
        *by_kind.entry(&thing.kind).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = by_kind.into_iter().collect();
    counts.sort_by(|(kind_a, a), (kind_b, b)| b.cmp(a).then_with(|| kind_a.cmp(kind_b)));
    counts.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtflow_planner::{
        contract,
        proto::{
            binlogdata::BinlogSource,
            vtctldata::{
                SchemaMigration, Workflow,
                workflow::{ReplicationLocation, ShardStream, Stream},
            },
        },
    };

    fn thing(name: &str, kind: &str, is_troubled: bool) -> Thing {
        let shown = Troubled { name: name.into(), kind: kind.into(), state: "1 Error".into(), note: "-80: gone".into() };
        Thing { name: name.into(), kind: kind.into(), troubled: is_troubled.then_some(shown) }
    }

    fn read(keyspace: &str, things: Result<Vec<Thing>, &str>, lost: &[&str]) -> KeyspaceRead {
        let failure = |shard: &&str| Failure {
            keyspace: keyspace.into(),
            shard: (*shard).into(),
            tablet: String::new(),
            workflow: String::new(),
            lost: Lost::Shard,
            message: "timed out".into(),
        };
        KeyspaceRead {
            keyspace: keyspace.into(),
            things: things.map_err(str::to_owned),
            failures: lost.iter().map(failure).collect(),
        }
    }

    #[test]
    fn trouble_is_first_and_nothing_is_left_out() {
        let reads = vec![
            read("a_well", Ok(vec![thing("x", "MoveTables", false)]), &[]),
            read("b_empty", Ok(vec![]), &[]),
            read("c_partly", Ok(vec![thing("x", "Reshard", false)]), &["80-", "80-", "-80"]),
            read("d_unknown", Err("node doesn't exist\nmore"), &[]),
            read("e_trouble", Ok(vec![thing("x", "A", false), thing("y", "B", true), thing("z", "B", false)]), &["80-"]),
            read("f_silent", Ok(vec![]), &["0"]),
        ];
        let mut reversed = reads.clone();
        reversed.reverse();
        let lines = overview(reads);
        assert_eq!(lines, overview(reversed), "whatever the order of the answers");
        let said: Vec<_> =
            lines.iter().map(|line| (line.keyspace.as_str(), line.state.as_str(), line.count, line.note.as_str())).collect();
        assert_eq!(
            said,
            [
                ("e_trouble", "1 in trouble", Some(3), "not all is known of 80-"),
                ("d_unknown", "unknown", None, "node doesn't exist"),
                ("c_partly", "partly unknown", Some(1), "not all is known of -80, 80-"),
                ("f_silent", "partly unknown", Some(0), "not all is known of 0"),
                ("a_well", "well", Some(1), ""),
                ("b_empty", "none", Some(0), ""),
            ]
        );
        assert_eq!((lines[0].kinds.as_str(), lines[0].troubled[0].name.as_str()), ("2 B, 1 A", "y"));
        assert!(lines[..4].iter().all(|line| line.has_trouble) && !lines[4..].iter().any(|line| line.has_trouble));
    }

    #[test]
    fn migrations_are_there_as_their_own_command_has_them() {
        let now = Timestamp { seconds: 10_000, nanos: 0 };
        let ok = |bytes: Vec<u8>, failures: Vec<Failure>| Reply::new(Ok(bytes), failures);
        let no = |text: &str| Reply::new(Err(contract::Status::unknown(text)), Vec::new());
        let row = |uuid: &str, status: Status| SchemaMigration {
            uuid: uuid.into(),
            shard: "0".into(),
            table: "t".into(),
            ddl_action: "drop".into(),
            status: status.into(),
            ..SchemaMigration::default()
        };
        let rows = vec![row("a", Status::Complete), row("b", Status::Failed)];
        let migrations = ok(GetSchemaMigrationsResponse { migrations: rows }.encode_to_vec(), Vec::new());
        let shards = |names: &[&str]| SourceShards::Known(names.iter().map(|name| (*name).to_owned()).collect());
        let one = shards(&["0"]);
        let streams = ok(Vec::new(), Vec::new());
        let shown = |migrations: Said<'_>, workflows: Said<'_>, shards: &SourceShards| {
            let line = overview(vec![migrations_read("ks", migrations, workflows, shards, now)]).remove(0);
            let troubled: Vec<_> = line.troubled.iter().map(|it| format!("{} {} {}", it.name, it.kind, it.state)).collect();
            (line.state, line.count, line.note, troubled.join(", "))
        };
        let failed = "b drop t failed".to_owned();
        let whole = shown(Ok(&migrations), Ok(&streams), &one);
        assert_eq!(whole, ("1 in trouble".into(), Some(2), String::new(), failed.clone()));
        // What the streams' trace does not say hides no migration, nor the other way around.
        let lost = shown(Ok(&migrations), Err("timed out"), &SourceShards::Unknown);
        assert_eq!(lost, ("1 in trouble".into(), Some(2), "1 thing missing".into(), failed));
        let unread = shown(Err("timed out"), Ok(&streams), &one);
        assert_eq!(unread, ("unknown".into(), None, "timed out".into(), String::new()));
        let empty = shards(&[]);
        let none = shown(Ok(&no("no shards")), Ok(&no("no shards")), &empty);
        assert_eq!(none, ("none".into(), Some(0), String::new(), String::new()));
        let workflows = |said: Said<'_>, shards: &SourceShards| {
            let shards = BTreeMap::from([("ks".to_owned(), shards.clone())]);
            overview(vec![workflows_read("ks", said, &shards, now)]).remove(0).state
        };
        assert_eq!(workflows(Ok(&streams), &one), "none");
        let source = BinlogSource { keyspace: "gone".into(), shard: "0".into(), ..BinlogSource::default() };
        let stream = Stream {
            id: 1,
            shard: "0".into(),
            state: "Stopped".into(),
            position: "p".into(),
            binlog_source: Some(source),
            ..Stream::default()
        };
        let workflow = Workflow {
            name: "w".into(),
            workflow_type: "MoveTables".into(),
            source: Some(ReplicationLocation { keyspace: "gone".into(), shards: vec!["0".into()] }),
            shard_streams: BTreeMap::from([("0/z-1".into(), ShardStream { streams: vec![stream], ..ShardStream::default() })]),
            ..Workflow::default()
        };
        let lost = ok(GetWorkflowsResponse { workflows: vec![workflow] }.encode_to_vec(), Vec::new());
        assert_eq!(workflows(Ok(&lost), &one), "1 in trouble", "the keyspace that it reads is not there");
        assert_eq!(workflows(Ok(&no("no shards")), &empty), "none");
        assert_eq!(workflows(Ok(&no("boom")), &one), "unknown");
    }
}
