//! From a keyspace to its targets: the primary of every shard, or of the shards asked for.
//!
//! Two rounds: one range read of the shards, then the primaries' tablet records. Each target is handed on as soon as its own
//! two records are known, and each shard that has none is handed on as such: nothing waits, nothing is lost.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use prost::Message;

use super::names::{self, GLOBAL, KeyspaceName, ShardName};
use crate::{
    contract::{Answer, AskId, Failure, Lost, Status, TabletAddress, What},
    limits,
    operation::Asks,
    proto::topodata::{Shard, Tablet, TabletAlias, shard::TabletControl},
};

/// One tablet to ask: the primary of one shard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// Where it stands and what its shard's record says.
    pub(crate) place: Place,
    /// The tablet record's keyspace: what the reply calls the target keyspace.
    pub(crate) keyspace: String,
    /// The tablet record's shard: what the reply calls the shard.
    pub(crate) shard: String,
    /// Its database: the override, else `vt_` and the keyspace. Source: `go/vt/topo/topoproto/tablet.go:TabletDbName`.
    pub(crate) db_name: String,
    /// Where it listens.
    pub(crate) address: TabletAddress,
}

/// A shard and the primary that its record names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// The shard's name, from the record's path.
    pub(crate) shard: String,
    /// Its primary. `None` only where the shard's record could not be read.
    pub(crate) alias: Option<TabletAlias>,
    /// From the shard's record; empty where it could not be read.
    pub(crate) tablet_controls: Vec<TabletControl>,
    /// From the shard's record; false where it could not be read.
    pub(crate) is_primary_serving: bool,
}

impl Place {
    /// The primary's alias as text, `<nil>` if none is known.
    pub(crate) fn alias_text(&self) -> String {
        names::alias_text(self.alias.as_ref())
    }

    /// The order in which targets are told of: by shard, then by primary.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.shard.cmp(&other.shard).then_with(|| self.alias_text().cmp(&other.alias_text()))
    }

    /// What this shard does not say, and why; of no workflow in particular.
    pub(crate) fn failure(&self, keyspace: &str, lost: Lost, message: impl Into<String>) -> Failure {
        Failure {
            keyspace: keyspace.into(),
            shard: self.shard.clone(),
            tablet: self.alias.as_ref().map_or_else(String::new, |_| self.alias_text()),
            workflow: String::new(),
            lost,
            message: message.into(),
        }
    }
}

/// A shard without a target, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unreached {
    pub(crate) place: Place,
    /// [`Lost::NoPrimary`] or [`Lost::Shard`].
    pub(crate) lost: Lost,
    pub(crate) message: String,
}

/// What an answer brought.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Target(Target),
    Unreached(Unreached),
    /// The request cannot be served: no topology.
    Fatal(Status),
    /// The request names a shard that the keyspace does not have.
    NoShard {
        shard: String,
        status: Status,
    },
    /// There is nobody to ask: the keyspace has no shards.
    NoShards(Status),
    /// There is nobody to ask: there is no such keyspace. `node` is the directory that would have its shards, under its full name.
    NoKeyspace {
        node: String,
    },
}

impl Event {
    /// The status of a request that has nobody to ask; `None` for an event about one shard.
    pub(crate) fn status(&self) -> Option<Status> {
        match self {
            Self::Fatal(status) | Self::NoShards(status) | Self::NoShard { status, .. } => Some(status.clone()),
            Self::NoKeyspace { node } => Some(Status::unknown(format!("node doesn't exist: {node}"))),
            Self::Target(_) | Self::Unreached(_) => None,
        }
    }
}

/// The search for the targets of one keyspace.
pub(crate) struct Targets {
    keyspace: KeyspaceName,
    /// Without duplicates, in the request's order; empty means all.
    wanted: Vec<String>,
    waiting: BTreeMap<AskId, Waiting>,
    /// Shards that are wanted and there.
    count: usize,
}

enum Waiting {
    Shards,
    /// No shards were found: does the keyspace exist at all? `node` is the directory that was empty.
    Keyspace {
        node: String,
    },
    Tablet(Place),
    /// The record of one shard, on its own: again, or because its directory came without it (only the back end knows the
    /// record's full name).
    Shard(String),
}

impl Targets {
    /// Begins the search. `shards` empty means all; a shard named twice is one target.
    ///
    /// # Errors
    /// A keyspace name that cannot be part of a path.
    pub(crate) fn start(keyspace: &str, shards: &[String], asks: &mut Asks) -> Result<Self, Status> {
        let keyspace = KeyspaceName::of_request(keyspace)?;
        let mut seen = BTreeSet::new();
        let wanted = shards.iter().filter(|shard| seen.insert(shard.as_str())).cloned().collect();
        let id = asks.release(What::TopoRange { cell: GLOBAL.into(), prefix: keyspace.shards_prefix() });
        Ok(Self { keyspace, wanted, waiting: BTreeMap::from([(id, Waiting::Shards)]), count: 0 })
    }

    /// How many targets there are, at most: known when the first of them is.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether an ask is one of the search's.
    pub(crate) fn waits_for(&self, id: AskId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// Whether every target has been found or has turned out to be none.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes an answer, if it is to one of the search's asks.
    pub(crate) fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) -> Vec<Event> {
        match self.waiting.remove(&id) {
            Some(Waiting::Shards) => self.shards(answer, asks),
            Some(Waiting::Keyspace { node }) => vec![match answer {
                Answer::Found { .. } => {
                    Event::NoShards(Status::unknown(format!("no shards found in keyspace {}", self.keyspace)))
                }
                Answer::Failed { message, .. } => Event::Fatal(Status::unknown(message)),
                Answer::Missing { .. } => Event::NoKeyspace { node },
                other => Event::Fatal(Status::unknown(unexpected("a read of one record", &other))),
            }],
            Some(Waiting::Tablet(place)) => vec![tablet(place, answer)],
            Some(Waiting::Shard(shard)) => self.one_shard(shard, answer, asks).into_iter().collect(),
            None => Vec::new(),
        }
    }

    fn shards(&mut self, answer: Answer, asks: &mut Asks) -> Vec<Event> {
        let prefix = self.keyspace.shards_prefix();
        let records = match answer {
            Answer::Range(records) => records,
            Answer::Missing { node } => return self.no_shards(node, asks),
            Answer::Failed { message, .. } => return vec![Event::Fatal(Status::unknown(message))],
            other => return vec![Event::Fatal(Status::unknown(unexpected("a range read", &other)))],
        };
        // A shard is a directory: its record may be missing while a lock or nothing else is in it.
        let mut shards: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        for record in records {
            let Some((shard, rest)) = record.path.strip_prefix(&prefix).and_then(|path| path.split_once('/')) else { continue };
            let value = shards.entry(shard.to_owned()).or_default();
            if rest == "Shard" {
                *value = Some(record.value);
            }
        }
        if shards.is_empty() {
            return self.no_shards(prefix, asks);
        }
        if let Some(absent) = self.wanted.iter().find(|shard| !shards.contains_key(*shard)) {
            let status = Status::unknown(format!("shard {absent} not found in keyspace {}", self.keyspace));
            return vec![Event::NoShard { shard: absent.clone(), status }];
        }
        if !self.wanted.is_empty() {
            let wanted: BTreeSet<&String> = self.wanted.iter().collect();
            shards.retain(|shard, _| wanted.contains(shard));
        }
        if shards.len() > limits::TARGETS {
            let (keyspace, found, limit) = (&self.keyspace, shards.len(), limits::TARGETS);
            let text = format!("keyspace {keyspace} has {found} shards, more than the {limit} of one request: name some of them");
            return vec![Event::Fatal(Status::unknown(text))];
        }
        self.count = shards.len();
        shards.into_iter().filter_map(|(shard, value)| self.shard(shard, value, asks)).collect()
    }

    /// Reads one shard's record again, because the tablet that it named is not its primary any more. Ends, as the first time,
    /// in one event about that shard.
    pub(crate) fn again(&mut self, shard: &str, asks: &mut Asks) {
        // A name that is none has had its event before this.
        let Ok(name) = ShardName::parse(shard) else { return };
        let id = asks.release(What::TopoGet { cell: GLOBAL.into(), path: self.keyspace.shard_path(&name) });
        self.waiting.insert(id, Waiting::Shard(shard.to_owned()));
    }

    fn no_shards(&mut self, node: String, asks: &mut Asks) -> Vec<Event> {
        let id = asks.release(What::TopoGet { cell: GLOBAL.into(), path: self.keyspace.record_path() });
        self.waiting.insert(id, Waiting::Keyspace { node });
        Vec::new()
    }

    /// Without a record a shard has no primary, so nothing runs there.
    fn one_shard(&mut self, shard: String, answer: Answer, asks: &mut Asks) -> Option<Event> {
        let (lost, message) = match answer {
            // It has been made in between.
            Answer::Found { value, .. } => return self.shard(shard, Some(value), asks),
            Answer::Missing { node } => (Lost::NoPrimary, format!("node doesn't exist: {node}")),
            Answer::Failed { message, .. } => (Lost::Shard, message),
            other => (Lost::Shard, unexpected("a read of one record", &other)),
        };
        let place = Place { shard, alias: None, tablet_controls: Vec::new(), is_primary_serving: false };
        Some(Event::Unreached(Unreached { place, lost, message }))
    }

    /// Asks for the primary's record, or says why there is none to ask for.
    fn shard(&mut self, shard: String, value: Option<Vec<u8>>, asks: &mut Asks) -> Option<Event> {
        let unreached = |place, lost, message| Some(Event::Unreached(Unreached { place, lost, message }));
        let unread = |shard| Place { shard, alias: None, tablet_controls: Vec::new(), is_primary_serving: false };
        let keyspace = &self.keyspace;
        if let Err(bad) = ShardName::parse(&shard) {
            return unreached(unread(shard), Lost::Shard, format!("a shard of this name cannot be read: {bad}"));
        }
        let Some(value) = value else {
            self.again(&shard, asks);
            return None;
        };
        let record = match Shard::decode(value.as_slice()) {
            Ok(record) => record,
            Err(error) => {
                let message = format!("GetShard({keyspace},{shard}): bad shard data: {error}");
                return unreached(unread(shard), Lost::Shard, message);
            }
        };
        let place = Place {
            shard,
            alias: record.primary_alias.filter(|alias| !alias.cell.is_empty() || alias.uid != 0),
            tablet_controls: record.tablet_controls,
            is_primary_serving: record.is_primary_serving,
        };
        let Some(alias) = &place.alias else {
            let message = format!("no primary found for shard {keyspace}/{}", place.shard);
            return unreached(place, Lost::NoPrimary, message);
        };
        if let Err(bad) = names::check_cell(&alias.cell) {
            let message = format!("the record of shard {keyspace}/{} names a primary in an impossible cell: {bad}", place.shard);
            return unreached(place, Lost::Shard, message);
        }
        let what = What::TopoGet { cell: alias.cell.clone(), path: names::tablet_path(&place.alias_text()) };
        self.waiting.insert(asks.release(what), Waiting::Tablet(place));
        None
    }
}

/// The target that a tablet's record makes of a place.
fn tablet(place: Place, answer: Answer) -> Event {
    let alias = place.alias_text();
    let address = match answer {
        Answer::Found { value, .. } => match Tablet::decode(value.as_slice()) {
            Ok(record) if record.keyspace.is_empty() && record.db_name_override.is_empty() && !record.hostname.is_empty() => {
                Err(format!("the record of tablet {alias} names no keyspace, so no database can be asked for"))
            }
            Ok(record) => grpc_address(&alias, &record).map(|address| (record, address)),
            Err(error) => Err(format!("the record of tablet {alias} cannot be read: {error}")),
        },
        Answer::Missing { node } => Err(format!("node doesn't exist: {node}")),
        Answer::Failed { message, .. } => Err(message),
        other => Err(unexpected("a read of one record", &other)),
    };
    match address {
        Ok((record, address)) => {
            Event::Target(Target { place, db_name: db_name(&record), keyspace: record.keyspace, shard: record.shard, address })
        }
        Err(message) => Event::Unreached(Unreached { place, lost: Lost::Shard, message }),
    }
}

/// Where the tablet listens, or why nobody does. Source: `go/vt/vttablet/grpctmclient/client.go:validateTablet`, v24.
pub(crate) fn grpc_address(alias: &str, record: &Tablet) -> Result<TabletAddress, String> {
    let gone = record.hostname.is_empty() && record.mysql_hostname.is_empty() && record.port_map.is_empty() && record.r#type != 0;
    if record.tablet_shutdown_time.is_some() || gone {
        return Err("tablet is shutdown".into());
    }
    if record.hostname.is_empty() {
        return Err("empty tablet hostname".into());
    }
    if record.port_map.is_empty() {
        return Err("no tablet port map".into());
    }
    let port = record.port_map.get("grpc").copied().unwrap_or(0);
    let grpc_port = u16::try_from(port).ok().filter(|&port| port > 0).ok_or(format!("invalid tablet grpc port: {port}"))?;
    let cell = alias.rsplit_once('-').map_or("", |(cell, _)| cell).to_owned();
    Ok(TabletAddress { alias: alias.into(), cell, host: record.hostname.clone(), grpc_port })
}

pub(crate) fn db_name(record: &Tablet) -> String {
    match (record.db_name_override.as_str(), record.keyspace.as_str()) {
        ("", "") => String::new(),
        ("", keyspace) => format!("vt_{keyspace}"),
        (db_name, _) => db_name.into(),
    }
}

/// The text for an answer of another kind than the ask.
pub(crate) fn unexpected(asked: &str, answer: &Answer) -> String {
    let got = match answer {
        Answer::Found { .. } => "one record",
        Answer::Range(_) => "a range",
        Answer::Missing { .. } => "nothing",
        Answer::Called(_) => "a tablet's message",
        Answer::Locked | Answer::Unlocked => "a lock",
        Answer::Stored { .. } | Answer::Deleted => "a write",
        Answer::Failed { .. } => "a failure",
    };
    format!("{asked} was answered with {got}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{FailureKind, Record};

    /// What comes of the answer to the range read of the shards: events, and the records that are asked for next.
    fn shards(answer: Answer) -> (Vec<Event>, Vec<String>, usize) {
        let mut asks = Asks::default();
        let mut targets = Targets::start("ks", &[], &mut asks).unwrap();
        let id = asks.take_released()[0].id;
        let events = targets.answered(id, answer, &mut asks);
        let next = asks.take_released().into_iter().map(|ask| match ask.what {
            What::TopoGet { cell, path } => format!("{cell}:{path}"),
            what => panic!("{what:?}"),
        });
        (events, next.collect(), targets.count())
    }

    fn record(shard: &str, primary: Option<TabletAlias>) -> Record {
        let value = Shard { primary_alias: primary, ..Shard::default() }.encode_to_vec();
        Record { path: format!("keyspaces/ks/shards/{shard}/Shard"), value, version: 1 }
    }

    #[test]
    fn a_shard_has_the_primary_that_its_record_names() {
        let alias = |cell: &str, uid: u32| Some(TabletAlias { cell: cell.into(), uid });
        for (primary, asked, message) in [
            (alias("z", 7), &["z:tablets/z-0000000007/Tablet"][..], ""),
            (alias("z", 0), &["z:tablets/z-0000000000/Tablet"], ""),
            (alias("", 7), &[], "the record of shard ks/0 names a primary in an impossible cell: "),
            (alias("", 0), &[], "no primary found for shard ks/0"),
            (None, &[], "no primary found for shard ks/0"),
        ] {
            let (events, next, count) = shards(Answer::Range(vec![record("0", primary.clone())]));
            assert_eq!((next.as_slice(), count), (asked.iter().map(|ask| (*ask).to_owned()).collect::<Vec<_>>().as_slice(), 1));
            match events.as_slice() {
                [] => assert_eq!(message, "", "{primary:?}"),
                [Event::Unreached(unreached)] => assert!(unreached.message.starts_with(message), "{unreached:?}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_keyspace_of_more_shards_than_one_request_may_ask_is_refused() {
        let range = |count: usize| {
            let record = |at| record(&format!("{at:08x}-{:08x}", at + 1), Some(TabletAlias { cell: "z".into(), uid: 1 }));
            shards(Answer::Range((0..count).map(record).collect()))
        };
        let (events, next, count) = range(limits::TARGETS);
        assert_eq!((events, next.len(), count), (Vec::new(), limits::TARGETS, limits::TARGETS));
        let (events, next, _) = range(limits::TARGETS + 1);
        let text = "keyspace ks has 4097 shards, more than the 4096 of one request: name some of them";
        assert_eq!((events, next.len()), (vec![Event::Fatal(Status::unknown(text.to_owned()))], 0));
    }

    #[test]
    fn an_answer_to_something_else_is_named() {
        let found = || Answer::Found { value: Vec::new(), version: 1 };
        let failed = || Answer::Failed { kind: FailureKind::TimedOut, message: "no answer".into() };
        for (answer, want) in [
            (found(), "a range read was answered with one record"),
            (Answer::Called(Vec::new()), "a range read was answered with a tablet's message"),
            (Answer::Locked, "a range read was answered with a lock"),
            (Answer::Stored { version: 1 }, "a range read was answered with a write"),
            (failed(), "no answer"),
        ] {
            assert_eq!(shards(answer).0, [Event::Fatal(Status::unknown(want.to_owned()))]);
        }
        for (answer, want) in [
            (Answer::Range(Vec::new()), "a read of one record was answered with a range"),
            (Answer::Unlocked, "a read of one record was answered with a lock"),
            (failed(), "no answer"),
        ] {
            let place = Place { shard: "0".into(), alias: None, tablet_controls: Vec::new(), is_primary_serving: true };
            let Event::Unreached(unreached) = tablet(place, answer) else { panic!("no target") };
            assert_eq!((unreached.lost, unreached.message.as_str()), (Lost::Shard, want));
        }
        assert_eq!(unexpected("x", &Answer::Missing { node: String::new() }), "x was answered with nothing");
        assert_eq!(unexpected("x", &failed()), "x was answered with a failure");
    }

    #[test]
    fn a_tablet_listens_where_its_record_says() {
        let record = |hostname: &str, mysql_hostname: &str, port: Option<(&str, i32)>, kind: i32| Tablet {
            hostname: hostname.into(),
            mysql_hostname: mysql_hostname.into(),
            port_map: port.map(|(name, port)| (name.to_owned(), port)).into_iter().collect(),
            r#type: kind,
            ..Tablet::default()
        };
        for (tablet, want) in [
            (record("h", "", Some(("grpc", 1)), 1), Ok(1)),
            (record("h", "m", Some(("grpc", 65_535)), 0), Ok(65_535)),
            (record("h", "m", Some(("grpc", 0)), 1), Err("invalid tablet grpc port: 0")),
            (record("h", "m", Some(("grpc", -1)), 1), Err("invalid tablet grpc port: -1")),
            (record("h", "m", Some(("grpc", 65_536)), 1), Err("invalid tablet grpc port: 65536")),
            (record("h", "m", Some(("vt", 1)), 1), Err("invalid tablet grpc port: 0")),
            (record("h", "", None, 1), Err("no tablet port map")),
            (record("", "m", None, 1), Err("empty tablet hostname")),
            (record("", "", Some(("grpc", 1)), 1), Err("empty tablet hostname")),
            (record("", "", None, 0), Err("empty tablet hostname")),
            (record("", "", None, 1), Err("tablet is shutdown")),
            (
                Tablet {
                    tablet_shutdown_time: Some(crate::proto::vttime::Time::default()),
                    ..record("h", "m", Some(("grpc", 1)), 1)
                },
                Err("tablet is shutdown"),
            ),
        ] {
            let address = grpc_address("a-b-7", &tablet);
            let want =
                want.map(|grpc_port| TabletAddress { alias: "a-b-7".into(), cell: "a-b".into(), host: "h".into(), grpc_port });
            assert_eq!(address, want.map_err(str::to_owned), "{tablet:?}");
        }
    }
}
