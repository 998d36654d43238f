//! What the streams of a workflow read, and whether it can be looked at from here: before they are deleted, the other direction has to
//! be looked for where they read.
//!
//! Decides from the rows as they are stored, so that one that nobody can read hides nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    formats::{binlog_source, quote::quoted},
    ops::topology::NoShards,
    topo::names,
    write::{inquiry::Inquired, seen::Seen, stream::Stream},
};

/// What the streams of one workflow read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Keyspaces of this cluster, with the shards that are read.
    pub(super) here: BTreeMap<String, BTreeSet<String>>,
    /// What is not in this cluster, in words.
    elsewhere: BTreeSet<String>,
    /// Streams of which nobody can tell, and why.
    unreadable: Vec<String>,
}

/// Something about a source that keeps it from being looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What and why, as a sentence without its end. May have a tablet's own words.
    pub(super) text: String,
    /// The same, without words that may be others the next time.
    pub(super) short: String,
    pub(super) kind: Kind,
    /// The keyspace of this cluster that it is about; empty if about none.
    keyspace: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The keyspace, or all shards that were read, are not there any more.
    Gone,
    /// It is not in this cluster.
    Elsewhere,
    /// The stream does not say what it reads.
    Unreadable,
    /// It is there, or may be, and gives no answer.
    Unreachable,
}

impl Sources {
    /// Takes the streams of every target.
    pub(super) fn of<'a>(streams: impl IntoIterator<Item = (&'a Seen, &'a Stream)>) -> Self {
        let mut sources = Self::default();
        for (seen, stream) in streams {
            let place = format!("stream {} of {}/{}", stream.id, seen.target.keyspace, seen.target.place.shard);
            let source = match binlog_source::parse(stream.source.as_bytes()) {
                Ok(source) => source,
                Err(error) => {
                    sources.unreadable.push(format!("{place} does not say what it reads: {error}"));
                    continue;
                }
            };
            let (keyspace, shard) = (source.keyspace, source.shard);
            let name = quoted(&keyspace);
            if !source.external_cluster.is_empty() {
                let cluster = quoted(&source.external_cluster);
                sources.elsewhere.insert(format!("keyspace {name} of the external cluster {cluster}"));
            } else if !source.external_mysql.is_empty() {
                sources.elsewhere.insert(format!("the external MySQL {}", quoted(&source.external_mysql)));
            } else if let Err(bad) = names::check_object(&keyspace) {
                sources.unreadable.push(format!("{place} reads keyspace {name}, which cannot exist: {bad}"));
            } else if let Err(bad) = names::check_object(&shard) {
                sources.unreadable.push(format!("{place} reads shard {}, which cannot exist: {bad}", quoted(&shard)));
            } else {
                sources.here.entry(keyspace).or_default().insert(shard);
            }
        }
        sources
    }

    /// What keeps the sources from being looked at, in a fixed order. `shards`: what is known of each keyspace's, in the order of
    /// [`Sources::here`]; `reverse`: the other direction's streams in each, empty if it was not looked for.
    pub(super) fn troubles(&self, shards: &[Inquired], reverse: &[Inquired]) -> Vec<Trouble> {
        let mut troubles: Vec<Trouble> = Vec::new();
        for (place, (keyspace, read)) in self.here.iter().enumerate() {
            let standing = shards.get(place).and_then(|reply| standing(keyspace, read, reply));
            let unanswered = || unanswered(keyspace, reverse.get(place)?);
            troubles.extend(standing.or_else(unanswered));
        }
        let plain = |text: &String, kind| Trouble { text: text.clone(), short: text.clone(), kind, keyspace: String::new() };
        troubles.extend(self.elsewhere.iter().map(|what| plain(&format!("{what} is not in this cluster"), Kind::Elsewhere)));
        troubles.extend(self.unreadable.iter().map(|what| plain(what, Kind::Unreadable)));
        if self.here.len() > 1 {
            let names: Vec<&str> = self.here.keys().map(String::as_str).collect();
            let text = format!("source keyspaces are mismatched across streams: {}", names.join(" vs "));
            troubles.push(plain(&text, Kind::Unreadable));
        }
        troubles
    }

    /// Whether everything that was read is gone: there is nothing to go back to.
    pub(super) fn are_gone(&self, troubles: &[Trouble]) -> bool {
        let gone = troubles.iter().filter(|trouble| trouble.kind == Kind::Gone).count();
        !self.here.is_empty() && gone == self.here.len() && self.elsewhere.is_empty() && self.unreadable.is_empty()
    }

    /// What may be left of the workflow where it read, a line each; `with_reverse`: its other direction was not looked for.
    pub(super) fn left(&self, reverse: &str, troubles: &[Trouble], with_reverse: bool) -> Vec<String> {
        let is_gone = |keyspace: &String| troubles.iter().any(|t| t.kind == Kind::Gone && t.keyspace == *keyspace);
        let what = if with_reverse { format!("streams of {}, ", quoted(reverse)) } else { String::new() };
        let here =
            self.here.keys().filter(|keyspace| !is_gone(keyspace)).map(|keyspace| format!("keyspace {}", quoted(keyspace)));
        here.chain(self.elsewhere.iter().cloned())
            .map(|source| format!("whatever there is of the workflow in {source}: {what}denied tables, journals"))
            .collect()
    }
}

/// Whether the keyspace and its shards are there; `None`: they are.
fn standing(keyspace: &str, read: &BTreeSet<String>, inquired: &Inquired) -> Option<Trouble> {
    let name = quoted(keyspace);
    let trouble = |short: String, reason: &str, kind| {
        let text = if reason.is_empty() { short.clone() } else { format!("{short}: {reason}") };
        Some(Trouble { text, short, kind, keyspace: keyspace.to_owned() })
    };
    let unreachable =
        |reason: &str| trouble(format!("the source keyspace {name} cannot be looked at"), reason, Kind::Unreachable);
    let Inquired::Shards(shards, failures) = inquired else { return unreachable("nobody was asked") };
    let shards = match shards {
        Ok(shards) => shards,
        Err(NoShards::NoKeyspace) => return trouble(format!("the source keyspace {name} does not exist"), "", Kind::Gone),
        Err(NoShards::Unread(text)) => return unreachable(text),
    };
    let gone: Vec<String> = read.iter().filter(|shard| !shards.contains(*shard)).map(|shard| quoted(shard)).collect();
    if gone.is_empty() {
        return None;
    }
    if let Some(failure) = failures.first() {
        return unreachable(&failure.message);
    }
    let (noun, verb) = if gone.len() == 1 { ("shard", "does") } else { ("shards", "do") };
    let kind = if gone.len() == read.len() { Kind::Gone } else { Kind::Unreachable };
    trouble(format!("in the source keyspace {name} {noun} {} {verb} not exist", gone.join(", ")), "", kind)
}

/// Why the other direction's streams are not known.
fn unanswered(keyspace: &str, inquired: &Inquired) -> Option<Trouble> {
    let Inquired::Workflows(Err(text)) = inquired else { return None };
    let short = format!("the source keyspace {} cannot be looked at", quoted(keyspace));
    Some(Trouble { text: format!("{short}: {text}"), short, kind: Kind::Unreachable, keyspace: keyspace.to_owned() })
}

/// Whether the reply names a workflow. One that there is not is [`Sources::troubles`]'.
pub(super) fn has_streams(inquired: &Inquired) -> bool {
    matches!(inquired, Inquired::Workflows(Ok(workflows)) if !workflows.is_empty())
}
