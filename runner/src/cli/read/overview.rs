//! `vtflow get workflows` and `get migrations` without a keyspace: all keyspaces at a glance, trouble first.
//!
//! Each keyspace is read as its own command reads it, several at once; one that fails never hides the others.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use vtflow_planner::{Failure, Timestamp};
use vtflow_screen::{self as screen, Counted, KeyspaceRead, Thing};

use super::{
    topology::{keyspace_names, keyspaces_call, shard_names, unread},
    view::{self, Format, Reading, Screen, ShowArgs, View},
};
use crate::{cli::cluster::open::OpenCluster, output::json::Document};

/// A command about one keyspace that an overview can be made of.
pub(crate) trait Part: View {
    /// What is counted of each keyspace.
    const COUNTED: Counted;
    /// The reply's message.
    const MESSAGE: &'static str;

    /// The reply as it came.
    fn reply(read: &Self::Read) -> &[u8];

    /// What is in the keyspace, the worst first.
    fn things(&self, read: &Self::Read, now: Timestamp) -> anyhow::Result<Vec<Thing>>;
}

/// The command about all keyspaces.
pub(crate) struct Overview<F> {
    /// Makes the command about one.
    pub(crate) of: F,
    pub(crate) show: ShowArgs,
}

/// What was read of one keyspace.
pub(crate) struct Entry<V: View> {
    keyspace: String,
    part: V,
    /// `None`: it has no shards.
    read: Result<Option<V::Read>, String>,
    failures: Vec<Failure>,
}

impl<V: Part, F: Fn(String) -> V> View for Overview<F> {
    type Read = Vec<Entry<V>>;

    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<Self::Read> {
        let (names, mut failures) = match keyspace_names(cluster, now).await {
            (Ok(names), failures) => (names, failures),
            (Err(status), failures) => return Reading { result: Err(status), failures },
        };
        let read = |keyspace: String| async {
            let part = (self.of)(keyspace.clone());
            let Reading { result, failures } = part.read(cluster, now).await;
            let read = match result {
                Ok(read) => Ok(Some(read)),
                // Where there are no shards there is nothing to ask, and nothing.
                Err(_) if shard_names(cluster, &keyspace, now).await.is_ok_and(|shards| shards.is_empty()) => Ok(None),
                Err(status) => Err(status.message),
            };
            Entry { keyspace, part, read, failures }
        };
        let entries: Vec<Entry<V>> = stream::iter(names).map(read).buffered(view::KEYSPACES_AT_ONCE).collect().await;
        for entry in &entries {
            failures.extend(entry.failures.iter().cloned());
            if let Err(why) = &entry.read
                && entry.failures.is_empty()
            {
                failures.push(unread(&entry.keyspace, why.clone()));
            }
        }
        // What is wrong with the topology as a whole every reading says.
        let mut said = BTreeSet::new();
        failures.retain(|failure| said.insert(failure.clone()));
        Reading { result: Ok(entries), failures }
    }

    fn text(&self, screen: &Screen<'_, Self::Read>) -> anyhow::Result<String> {
        if matches!(self.show.output, Format::Json | Format::Yaml) {
            let list = screen.read.iter().map(Printed::of).collect::<anyhow::Result<Vec<_>>>()?;
            return view::document(self.show.output, &list).map_or_else(|| Ok(String::new()), |text| Ok(text?));
        }
        let mut reads = Vec::new();
        for entry in screen.read {
            let things = match &entry.read {
                Ok(Some(read)) => Ok(entry.part.things(read, screen.now)?),
                Ok(None) => Ok(Vec::new()),
                Err(why) => Err(why.clone()),
            };
            reads.push(KeyspaceRead { keyspace: entry.keyspace.clone(), things, failures: entry.failures.clone() });
        }
        if self.show.output == Format::Name {
            let of = |read: &KeyspaceRead| -> Vec<String> {
                read.things.iter().flatten().map(|thing| format!("{}/{}", read.keyspace, thing.name())).collect()
            };
            let names: Vec<String> = reads.iter().flat_map(of).collect();
            return Ok(view::names(names.iter().map(String::as_str)));
        }
        if reads.is_empty() {
            return Ok(screen::nothing(&keyspaces_call(), screen.failures) + "\n");
        }
        let table = screen::overview_table(&screen::overview(reads), V::COUNTED, self.show.extent());
        Ok(view::table(&table, self.show.width(screen.width)))
    }
}

/// A keyspace in a document: the reply as its own command prints it, and what is missing of it.
#[derive(Serialize)]
struct Printed<'a> {
    keyspace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Document>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    failures: &'a [Failure],
}

impl<'a> Printed<'a> {
    fn of<V: Part>(entry: &'a Entry<V>) -> anyhow::Result<Self> {
        let (reply, error) = match &entry.read {
            Ok(read) => (Some(Document::read(V::MESSAGE, read.as_ref().map_or(&[][..], V::reply))?), None),
            Err(why) => (None, Some(why.as_str())),
        };
        Ok(Self { keyspace: &entry.keyspace, reply, error, failures: &entry.failures })
    }
}
