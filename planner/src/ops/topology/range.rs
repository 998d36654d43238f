//! Reads of one directory whose records become a list or a map: keyspaces, shards, cells, cell aliases.
//!
//! Where much else lies below the directory (vschemas of a megabyte below `keyspaces/`), its names are read first and then the
//! records that are wanted, all together.

use std::collections::{BTreeMap, BTreeSet};

use super::records::{NO_NODE, NoRecords, Read, check, children, lost, records};
use crate::{
    contract::{Answer, AskId, Call, Failure, Reply, Status, What},
    operation::{Asks, Operation, conclude, decode},
    proto::{topodata, vtctldata::FindAllShardsInKeyspaceRequest},
    topo::names::{self, GLOBAL, KeyspaceName, no_keyspace_can_be},
    wire::Message,
};

/// A directory on its way into a reply.
pub(super) struct Listing {
    what: Listed,
    prefix: String,
    strict: bool,
    /// Keyspaces whose records are asked for.
    waiting: BTreeMap<AskId, String>,
    /// What came of these, in the order of keys: a slash follows each name.
    read: BTreeMap<String, Read>,
    /// No shards were found: the keyspace's record is asked for, and this is the text if there is none.
    missing: Option<String>,
    /// There is no such keyspace.
    is_absent: bool,
    /// The shards that are in the reply.
    shards: BTreeSet<String>,
    reply: Message,
    failures: Vec<Failure>,
    fatal: Option<Status>,
}

pub(super) enum Listed {
    Keyspaces,
    Shards { keyspace: KeyspaceName },
    Cells,
    CellsAliases,
}

/// `FindAllShardsInKeyspace`: which records, and below which directory.
pub(super) fn shards(call: &Call) -> Result<(Listed, String), Status> {
    let keyspace = decode::<FindAllShardsInKeyspaceRequest>(call)?.keyspace;
    // A name in back-quotes is the name within. Source: `topo/keyspace.go:FindAllShardsInKeyspace`, v20 on.
    let keyspace = match keyspace.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`"),
        None => keyspace,
    };
    shards_of(&keyspace)
}

fn shards_of(keyspace: &str) -> Result<(Listed, String), Status> {
    let keyspace = KeyspaceName::parse(keyspace).map_err(|bad| Status::unknown(format!("{}{bad}", impossible(keyspace))))?;
    let prefix = keyspace.shards_prefix();
    Ok((Listed::Shards { keyspace }, prefix))
}

/// `GetCellsAliases`. This request and the next two have no fields, but bytes that are no message are refused.
pub(super) fn cells_aliases(call: &Call) -> Result<(Listed, String), Status> {
    decode::<()>(call)?;
    Ok((Listed::CellsAliases, "cells_aliases/".into()))
}

/// `GetCellInfoNames`.
pub(super) fn cells(call: &Call) -> Result<(Listed, String), Status> {
    decode::<()>(call)?;
    Ok((Listed::Cells, names::CELLS_PREFIX.into()))
}

/// `GetKeyspaces`.
pub(super) fn keyspaces(call: &Call) -> Result<(Listed, String), Status> {
    decode::<()>(call)?;
    Ok((Listed::Keyspaces, "keyspaces/".into()))
}

impl Listing {
    pub(super) fn start(
        read: fn(&Call) -> Result<(Listed, String), Status>,
        call: &Call,
        asks: &mut Asks,
    ) -> Result<Self, Status> {
        let (what, prefix) = read(call)?;
        Ok(Self::begin(what, prefix, call.options.strict, asks))
    }

    fn begin(what: Listed, prefix: String, strict: bool, asks: &mut Asks) -> Self {
        let (cell, within) = (GLOBAL.into(), prefix.clone());
        asks.release(match what {
            Listed::Keyspaces | Listed::Cells => What::TopoList { cell, prefix: within },
            Listed::Shards { .. } | Listed::CellsAliases => What::TopoRange { cell, prefix: within },
        });
        Self {
            what,
            prefix,
            strict,
            waiting: BTreeMap::new(),
            read: BTreeMap::new(),
            missing: None,
            is_absent: false,
            shards: BTreeSet::new(),
            reply: Message::new(),
            failures: Vec::new(),
            fatal: None,
        }
    }

    fn found(&mut self, file: &str, answer: Answer, asks: &mut Asks) {
        match records(answer) {
            Ok(records) => {
                for (name, value) in children(&self.prefix, file, records) {
                    match (&self.what, value) {
                        (Listed::Keyspaces, Some(_)) => self.keyspace(name, asks),
                        (_, value) => self.child(&name, value.as_deref()),
                    }
                }
            }
            Err(NoRecords::Directory(text)) => {
                // A keyspace without shards has none; a keyspace that does not exist is an error.
                if let Listed::Shards { keyspace } = &self.what {
                    let node = text.trim_end_matches('/');
                    self.missing = Some(format!("{}{node}", listing(keyspace)));
                    asks.release(What::TopoGet { cell: GLOBAL.into(), path: keyspace.record_path() });
                }
            }
            Err(NoRecords::Cell(text) | NoRecords::Failed(text)) => self.fatal = Some(Status::unknown(text)),
        }
    }

    /// Asks for a keyspace's record.
    fn keyspace(&mut self, name: String, asks: &mut Asks) {
        let path = match KeyspaceName::parse(&name) {
            Ok(keyspace) => keyspace.record_path(),
            Err(bad) => return self.failures.push(lost(&name, no_keyspace_can_be(&name, &bad))),
        };
        let id = asks.release(What::TopoGet { cell: GLOBAL.into(), path });
        self.waiting.insert(id, name);
    }

    fn child(&mut self, name: &str, value: Option<&[u8]>) {
        let reply = std::mem::take(&mut self.reply);
        self.reply = match (&self.what, value) {
            (Listed::Cells, _) => reply.string(1, name),
            // A directory with nothing but a lock in it.
            (Listed::Shards { .. } | Listed::CellsAliases, None) => reply,
            (Listed::Keyspaces, None) => {
                let node = format!("keyspaces/{name}/Keyspace");
                self.failures.push(lost(name, format!("node doesn't exist: {node}")));
                reply
            }
            (Listed::Keyspaces, Some(value)) => match check::<topodata::Keyspace>(value) {
                Ok(()) => reply.message(1, &Message::new().string(1, name).message(2, value).into_bytes()),
                Err(error) => {
                    self.failures.push(lost(name, format!("bad keyspace data: {error}")));
                    reply
                }
            },
            (Listed::Shards { keyspace }, Some(value)) => match check::<topodata::Shard>(value) {
                Ok(()) => {
                    self.shards.insert(name.to_owned());
                    let shard = Message::new().string(1, keyspace).string(2, name).message(3, value);
                    reply.entry(1, name, &shard.into_bytes())
                }
                Err(error) => {
                    // A shard that is left out would look as if there were none.
                    let node = format!("{}{name}/Shard", keyspace.shards_prefix());
                    let text = format!("invalid data found for shard \"{name}\" in \"{node}\": {error}");
                    let status = Status::unknown(format!("FindAllShardsInKeyspace({keyspace}): {text}"));
                    self.fatal.get_or_insert(status);
                    reply
                }
            },
            (Listed::CellsAliases, Some(value)) => match check::<topodata::CellsAlias>(value) {
                Ok(()) => reply.entry(1, name, value),
                Err(error) => {
                    self.failures.push(lost("", format!("the record of cells alias {name} cannot be read: {error}")));
                    reply
                }
            },
        };
    }
}

/// The shards of a keyspace, for another operation.
pub(crate) struct Shards(Listing);

/// Why the shards of a keyspace are not known.
pub(crate) enum NoShards {
    /// The topology says that there is no such keyspace.
    NoKeyspace,
    Unread(String),
}

impl Shards {
    /// Begins.
    ///
    /// # Errors
    /// No keyspace can have this name.
    pub(crate) fn begin(keyspace: &str, asks: &mut Asks) -> Result<Self, Status> {
        let (what, prefix) = shards_of(keyspace)?;
        Ok(Self(Listing::begin(what, prefix, false, asks)))
    }

    pub(crate) fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        self.0.answered(id, answer, asks);
    }

    /// The names of the shards, once nothing is outstanding; and what is missing of them.
    pub(crate) fn end(mut self) -> (Result<BTreeSet<String>, NoShards>, Vec<Failure>) {
        let Reply { result, failures, .. } = self.0.finish();
        let shards = match result {
            Ok(_) => Ok(self.0.shards),
            Err(_) if self.0.is_absent => Err(NoShards::NoKeyspace),
            Err(status) => Err(NoShards::Unread(status.message)),
        };
        (shards, failures)
    }
}

/// How the text begins of a keyspace's directory that cannot be listed.
fn listing(keyspace: &str) -> String {
    format!("FindAllShardsInKeyspace({keyspace}): List: ")
}

/// How the text begins of a keyspace whose name no keyspace can have.
fn impossible(keyspace: &str) -> String {
    format!("FindAllShardsInKeyspace({keyspace}): keyspace {keyspace:?} cannot exist: ")
}

/// Whether `FindAllShardsInKeyspace` failed because there is no such keyspace. By the text's whole beginning: a shard's name, which is
/// in other texts, may hold any words.
pub fn says_no_keyspace(keyspace: &str, status: &Status) -> bool {
    let is_missing = status.message.strip_prefix(&listing(keyspace)).is_some_and(|node| node.starts_with(NO_NODE));
    is_missing || status.message.starts_with(&impossible(keyspace))
}

impl Operation for Listing {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if let Some(keyspace) = self.waiting.remove(&id) {
            self.read.insert(format!("{keyspace}/"), Read::from(answer));
            return;
        }
        if let Some(text) = self.missing.take() {
            return match Read::from(answer) {
                Read::Found(_) => {}
                Read::Missing(_) => {
                    self.is_absent = true;
                    self.fatal = Some(Status::unknown(text));
                }
                Read::Failed(text) => self.fatal = Some(Status::unknown(text)),
            };
        }
        let file = match self.what {
            Listed::Keyspaces => "Keyspace",
            Listed::Shards { .. } => "Shard",
            Listed::Cells => "CellInfo",
            Listed::CellsAliases => "CellsAlias",
        };
        self.found(file, answer, asks);
    }

    fn failures(&self) -> Vec<Failure> {
        self.failures.clone()
    }

    fn finish(&mut self) -> Reply {
        if let Some(status) = self.fatal.take() {
            return Reply::new(Err(status), Vec::new());
        }
        for (key, read) in std::mem::take(&mut self.read) {
            let keyspace = key.trim_end_matches('/');
            match read {
                Read::Found(value) => self.child(keyspace, Some(&value)),
                Read::Missing(text) | Read::Failed(text) => self.failures.push(lost(keyspace, text)),
            }
        }
        let bytes = std::mem::take(&mut self.reply).into_bytes();
        let is_empty = bytes.is_empty();
        conclude(bytes, is_empty, self.strict, std::mem::take(&mut self.failures))
    }
}
