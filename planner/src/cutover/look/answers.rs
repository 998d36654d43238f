//! Taking the answers that bring what a change of traffic goes by.

use prost::Message;

use super::{Look, Wanted, records::journal};
use crate::{
    contract::Answer,
    cutover::stored::Stored,
    proto::topodata::{CellsAlias, Tablet},
    topo::{
        names::{CELLS_PREFIX, recorded_alias, shards_prefix},
        targets::unexpected,
    },
};

impl Look {
    /// Takes an answer; what it could not bring is kept among the failures.
    pub(super) fn took(&mut self, wanted: Wanted, answer: Answer) {
        let records = |answer| match answer {
            Answer::Range(records) => Ok(records),
            Answer::Missing { .. } => Ok(Vec::new()),
            Answer::Failed { message, .. } => Err(message),
            other => Err(unexpected("a read of a directory", &other)),
        };
        let record = |answer| match answer {
            Answer::Found { value, version } => Ok(Some(Stored { value, version })),
            Answer::Missing { .. } => Ok(None),
            Answer::Failed { message, .. } => Err(message),
            other => Err(unexpected("a read of a record", &other)),
        };
        let failed = match wanted {
            Wanted::Sequence(wanted) => {
                self.sequences.took(wanted, answer);
                Ok(())
            }
            Wanted::Keyspaces => records(answer).map(|records| {
                let names = records.iter().filter_map(|record| record.path.strip_prefix("keyspaces/")?.split('/').next());
                self.records.keyspaces.extend(names.map(str::to_owned));
            }),
            Wanted::Cells => records(answer).map(|records| {
                let names = records.iter().filter_map(|it| it.path.strip_prefix(CELLS_PREFIX)?.strip_suffix("/CellInfo"));
                self.records.cells.extend(names.map(str::to_owned));
            }),
            Wanted::Aliases => records(answer).map(|records| {
                for record in records {
                    let name = record.path.strip_prefix("cells_aliases/").and_then(|rest| rest.strip_suffix("/CellsAlias"));
                    if let (Some(name), Ok(alias)) = (name, CellsAlias::decode(record.value.as_slice())) {
                        self.records.aliases.insert(name.to_owned(), alias.cells);
                    }
                }
            }),
            Wanted::Rules(path) => record(answer).map(|stored| self.records.rules.extend(stored.map(|stored| (path, stored)))),
            Wanted::Shards(keyspace) => records(answer).map(|records| {
                let prefix = shards_prefix(&keyspace);
                for record in records {
                    let shard = record.path.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix("/Shard"));
                    if let Some(shard) = shard {
                        let stored = Stored { value: record.value, version: record.version };
                        self.records.shards.insert((keyspace.clone(), shard.to_owned()), stored);
                    }
                }
            }),
            Wanted::VSchema(keyspace) => {
                record(answer).map(|stored| drop(self.records.vschemas.insert(keyspace, stored.unwrap_or_default())))
            }
            Wanted::Replication(cell) => records(answer).map(|records| self.records.left.replications(&cell, records)),
            Wanted::SrvKeyspace(cell) => {
                record(answer).map(|stored| drop(self.records.srv_keyspaces.insert(cell, stored.unwrap_or_default())))
            }
            Wanted::Served(cell) => {
                record(answer).map(|stored| drop(self.records.served.insert(cell, stored.unwrap_or_default())))
            }
            Wanted::Tablets(cell) => records(answer).map(|records| {
                for record in records {
                    self.records.left.tablets.insert((cell.clone(), record.path.clone()), record.version);
                    let name = recorded_alias(&record.path);
                    match (name, Tablet::decode(record.value.as_slice())) {
                        (Some(name), Ok(tablet)) => drop(self.records.tablets.insert(name.to_owned(), tablet)),
                        (Some(name), Err(error)) => {
                            self.failures.insert(format!("tablet {name} of cell {cell} cannot be read: {error}"));
                        }
                        (None, _) => {}
                    }
                }
            }),
            Wanted::Journal(shard) => journal(answer).map(|found| self.journals.extend(found.map(|found| (shard, found)))),
            Wanted::Others(wanted) => self.others.took(wanted, answer),
            Wanted::JournalBack(shard) => journal(answer).map(|found| self.journals_back.extend(found.map(|_| shard))),
        };
        if let Err(message) = failed {
            self.failures.insert(message);
        }
    }
}
