//! Snapshots: a cluster at one moment, as a directory of JSON files (format `vtflow-snapshot/1`).
//!
//! This module reads and writes the format and nothing else: it does not know what a topology record means or what a sidecar
//! column holds. The format is described in `tests/snapshots/README.md`; the `expect/` folder there is not part of it.
//!
//! A snapshot is a stranger's: nothing but plain files of some size is read, names are names, and what is too much is refused with the
//! file's name. What is written only its owner may read, and nothing is written outside of the directory or over anything.

mod format;
pub mod from_reply;

use std::{
    cell::Cell as Count,
    collections::BTreeMap,
    fs,
    io::{BufReader, Read as _, Write},
    marker::PhantomData,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use vtflow_files::private_file;
use vtflow_planner::{
    Timestamp,
    sidecar::name::{BadSqlName, SqlName},
    topo::{names::TabletName, record::CellRecord},
};

use crate::bounds;
pub use format::{FORMAT, SnapshotError};

/// A cluster at one moment: its topology records and the sidecar rows of the tablets that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When it was taken: what `now` means for everything in it.
    pub taken_at: Timestamp,
    /// What people should know about it; may be empty.
    pub note: String,
    /// Every topology record, in file order.
    pub topo: Vec<CellRecord>,
    /// The sidecar rows by tablet alias (`zone1-0000000100`). A tablet of the topology that is not here did not answer.
    pub tablets: BTreeMap<String, TabletRows>,
    /// What was there and could not be read. Empty when all is well, and when nothing was loaded from files.
    pub unreadable: Unreadable,
}

/// The damaged parts of a snapshot's files, each with a text that names file and place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Tablets by alias: that of the file's name. They are not in [`Snapshot::tablets`].
    pub tablets: BTreeMap<String, String>,
    /// Topology records by cell and path. They are in [`Snapshot::topo`], with a value that is no message.
    pub records: BTreeMap<(String, String), String>,
}

/// What one tablet's sidecar database held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TabletRows {
    /// Such as `9.7.4`; empty when not known.
    pub mysql_version: String,
    /// Such as `v18.0.8`; `None` when not known (the columns then tell the release).
    pub vitess_release: Option<String>,
    /// The sidecar tables by name.
    pub sidecar: BTreeMap<String, TableRows>,
    /// The server's tables and views, and what it believes of their sizes (`information_schema.tables`). Empty: it knows of none.
    pub table_sizes: Vec<TableSize>,
    /// The transactions of which its server has no binary logs any more, as `@@global.gtid_purged` has them; empty: it has all.
    pub gtid_purged: String,
    /// Tables of its keyspace whose rows are known. Of the others the names alone are.
    pub own: Option<OwnTables>,
}

/// Tables of a keyspace with their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnTables {
    /// The database, such as `vt_customer`.
    pub database: String,
    /// By name. One with the columns of a sequence has a sequence's key, all others have none.
    #[serde(deserialize_with = "tables::<_, { bounds::OWN_TABLES }>")]
    pub tables: BTreeMap<String, TableRows>,
}

/// A table or view, and what its server believes of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    /// The database, such as `vt_customer`.
    pub database: String,
    /// The table.
    pub table: String,
    /// About how many rows it has; not below 0.
    pub rows: i64,
    /// About how many bytes its rows take; not below 0.
    pub bytes: i64,
    /// Whether it is a view, which has neither.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_view: bool,
}

/// One sidecar table of one tablet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// The columns in the table's own order.
    #[serde(deserialize_with = "at_most::<_, _, { bounds::COLUMNS }>")]
    pub columns: Vec<ColumnDecl>,
    /// The rows, values in the order of `columns`.
    #[serde(deserialize_with = "rows")]
    pub rows: Vec<Vec<Cell>>,
}

/// A column as MySQL declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDecl {
    /// Its name.
    pub name: String,
    /// Its MySQL type, such as `varbinary(1000)` or `bigint unsigned`.
    #[serde(rename = "type")]
    pub mysql_type: String,
    /// Whether NULL is allowed.
    pub nullable: bool,
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// An integer above `i64::MAX` (unsigned columns only).
    Uint(u64),
    /// Anything else that is UTF-8, as MySQL prints it: texts, floats, times, JSON.
    Text(String),
    /// Bytes that are not UTF-8.
    Bytes(Vec<u8>),
}

impl Snapshot {
    /// Reads a snapshot directory. One tablet's file or one record that is damaged does not hide the rest: see
    /// [`Snapshot::unreadable`].
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], naming the file: `snapshot.json`, `topo.json` or the folder `tablets` is missing or cannot be read, one of
    /// the two is not JSON, or the format is another; there is more of it than [`bounds`](super) allow.
    pub fn load(dir: &Path) -> Result<Self, SnapshotError> {
        let mut left = bounds::SNAPSHOT_BYTES;
        VALUES_LEFT.set(bounds::VALUES);
        let file = dir.join("snapshot.json");
        let head: Head = read_json(&file, &mut left)?;
        if head.format != FORMAT {
            return Err(SnapshotError::UnknownFormat { file, found: head.format });
        }
        let mut unreadable = Unreadable::default();
        let file = dir.join("topo.json");
        let mut record = |entry: TopoEntry| {
            let (cell, path, version) = (entry.cell.clone(), entry.path.clone(), entry.version);
            entry.decode(&file).unwrap_or_else(|error| {
                unreadable.records.insert((cell.clone(), path.clone()), error.to_string());
                CellRecord { cell, path, version, value: NO_MESSAGE.to_vec() }
            })
        };
        let topo = read_json::<Topo>(&file, &mut left)?.0.into_iter().map(&mut record).collect();
        let mut tablets = BTreeMap::new();
        let folder = dir.join("tablets");
        let no_folder = |source| SnapshotError::Unreadable { file: folder.clone(), source };
        if fs::symlink_metadata(&folder).map_err(no_folder)?.is_symlink() {
            return Err(SnapshotError::Unfit { file: folder, source: std::io::Error::other("it is a symbolic link") });
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(no_folder)? {
            let file = entry.map_err(no_folder)?.path();
            if file.extension().is_some_and(|extension| extension == "json") {
                if files.len() == bounds::TABLETS {
                    return Err(SnapshotError::TooMuch { file: folder, most: bounds::TABLETS as u64, things: "tablets" });
                }
                files.push(file);
            }
        }
        files.sort();
        for file in files {
            let alias = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let values_left = VALUES_LEFT.get();
            let loaded = TabletFile::load(&file, &alias, &mut left);
            if loaded.is_err() {
                // What was read of it is gone again: it costs no other tablet.
                VALUES_LEFT.set(values_left);
            }
            match loaded {
                Ok(rows) => drop(tablets.insert(alias, rows)),
                // Of one tablet alone nothing can be said then.
                Err(error @ SnapshotError::TooMuch { .. }) => return Err(error),
                Err(error) => drop(unreadable.tablets.insert(alias, error.to_string())),
            }
        }
        let taken_at = Timestamp::from_unix_nanos(head.taken_at_unix_ns);
        Ok(Self { taken_at, note: head.note, topo, tablets, unreadable })
    }

    /// Writes a snapshot into a new directory, or into one that is there and empty. What is made only its owner may read. Nothing is
    /// written outside of it, nothing that is there is written over, and no link is followed. A tablet whose alias is no name of a file is
    /// left out: those come back, each with a text that says why.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Unwritable`], naming the file: something of that name is there, or the system refuses.
    pub fn save(&self, dir: &Path) -> Result<BTreeMap<String, String>, SnapshotError> {
        let folder = dir.join("tablets");
        private_file::create_directory(dir, true).map_err(|source| SnapshotError::Unwritable { file: dir.to_owned(), source })?;
        let made = private_file::create_directory(&folder, false);
        made.map_err(|source| SnapshotError::Unwritable { file: folder.clone(), source })?;
        let nanos = self.taken_at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(self.taken_at.nanos));
        let head = Head { format: FORMAT.to_owned(), taken_at_unix_ns: nanos, note: self.note.clone() };
        write_json(&dir.join("snapshot.json"), &head)?;
        let topo: Vec<TopoEntry> = self
            .topo
            .iter()
            .map(|record| TopoEntry {
                cell: record.cell.clone(),
                path: record.path.clone(),
                version: record.version,
                value: BASE64.encode(&record.value),
            })
            .collect();
        write_json(&dir.join("topo.json"), &topo)?;
        let mut left_out = BTreeMap::new();
        for (alias, rows) in &self.tablets {
            let name = match TabletName::parse(alias) {
                Ok(name) => name,
                Err(why) => {
                    left_out.insert(alias.clone(), why);
                    continue;
                }
            };
            let tablet = TabletFile {
                alias: alias.clone(),
                mysql_version: rows.mysql_version.clone(),
                vitess_release: rows.vitess_release.clone(),
                sidecar: rows.sidecar.clone(),
                table_sizes: rows.table_sizes.clone(),
                gtid_purged: rows.gtid_purged.clone(),
                own: rows.own.clone(),
            };
            match write_json(&folder.join(format!("{name}.json")), &tablet) {
                // The file of an alias that differs in case only, on a file system that sees no difference.
                Err(SnapshotError::Unwritable { file, source }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                    left_out.insert(alias.clone(), format!("{} is another tablet's file", file.display()));
                }
                written => written?,
            }
        }
        Ok(left_out)
    }
}

impl TableRows {
    /// The position of a column, by name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CellVisitor;
        impl<'de> de::Visitor<'de> for CellVisitor {
            type Value = Cell;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("null, an integer, a string or {\"base64\": \"...\"}")
            }
            fn visit_unit<E>(self) -> Result<Cell, E> {
                Ok(Cell::Null)
            }
            fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
                Ok(Cell::Int(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
                Ok(i64::try_from(value).map_or(Cell::Uint(value), Cell::Int))
            }
            fn visit_str<E>(self, value: &str) -> Result<Cell, E> {
                Ok(Cell::Text(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Cell, E> {
                Ok(Cell::Text(value))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
                match map.next_entry::<String, String>()? {
                    Some((key, value)) if key == "base64" => match map.next_key::<String>()? {
                        None => BASE64.decode(value).map(Cell::Bytes).map_err(de::Error::custom),
                        Some(key) => Err(de::Error::custom(format!("unexpected key {key:?} beside \"base64\""))),
                    },
                    _ => Err(de::Error::custom("expected {\"base64\": \"...\"}")),
                }
            }
        }
        deserializer.deserialize_any(CellVisitor)
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &BASE64.encode(value))?;
                map.end()
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    taken_at_unix_ns: i64,
    #[serde(default)]
    note: String,
}

#[derive(Serialize, Deserialize)]
struct TopoEntry {
    cell: String,
    path: String,
    version: i64,
    value: String,
}

impl TopoEntry {
    fn decode(self, file: &Path) -> Result<CellRecord, SnapshotError> {
        match BASE64.decode(&self.value) {
            Ok(value) => Ok(CellRecord { cell: self.cell, path: self.path, version: self.version, value }),
            Err(reason) => Err(SnapshotError::BadBase64 { file: file.to_owned(), cell: self.cell, path: self.path, reason }),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct TabletFile {
    alias: String,
    #[serde(default)]
    mysql_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vitess_release: Option<String>,
    #[serde(deserialize_with = "tables::<_, { bounds::TABLES }>")]
    sidecar: BTreeMap<String, TableRows>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "at_most::<_, _, { bounds::TABLE_SIZES }>")]
    table_sizes: Vec<TableSize>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    gtid_purged: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<OwnTables>,
}

impl TabletFile {
    fn load(file: &Path, alias: &str, left: &mut u64) -> Result<TabletRows, SnapshotError> {
        let tablet: Self = read_json(file, left)?;
        let file = || file.to_owned();
        let bad = |place: String, reason: String| SnapshotError::BadName { file: file(), place, reason };
        if tablet.alias != alias {
            return Err(SnapshotError::WrongAlias { file: file(), found: tablet.alias });
        }
        TabletName::parse(alias).map_err(|reason| bad("the tablet".to_owned(), reason))?;
        if let Some(own) = &tablet.own {
            SqlName::parse(&own.database).map_err(|error| bad("the name of a database".to_owned(), error.to_string()))?;
        }
        for (table, content) in tablet.sidecar.iter().chain(tablet.own.iter().flat_map(|own| &own.tables)) {
            check_names(table, content).map_err(|(place, error)| bad(place, error.to_string()))?;
            let columns = content.columns.len();
            if let Some((index, row)) = content.rows.iter().enumerate().find(|(_, row)| row.len() != columns) {
                let (table, row, values) = (table.clone(), index + 1, row.len());
                return Err(SnapshotError::RowWidth { file: file(), table, row, values, columns });
            }
        }
        let Self { mysql_version, vitess_release, sidecar, table_sizes, gtid_purged, own, .. } = tablet;
        Ok(TabletRows { mysql_version, vitess_release, sidecar, table_sizes, gtid_purged, own })
    }
}

/// What stands for a value that cannot be read: a key that never ends, which no message begins with.
const NO_MESSAGE: &[u8] = &[0xff];

/// What cannot become part of a statement, wherever the snapshot is looked at.
fn check_names(table: &str, content: &TableRows) -> Result<(), (String, BadSqlName)> {
    SqlName::parse(table).map_err(|error| ("the name of a table".to_owned(), error))?;
    for column in &content.columns {
        SqlName::parse(&column.name).map_err(|error| (format!("a column of table {table}"), error))?;
    }
    Ok(())
}

/// The records of `topo.json`.
struct Topo(Vec<TopoEntry>);

impl<'de> Deserialize<'de> for Topo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        at_most::<_, _, { bounds::RECORDS }>(deserializer).map(Self)
    }
}

/// A row, of as many values as a table has columns.
struct Row(Vec<Cell>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        at_most::<_, _, { bounds::COLUMNS }>(deserializer).map(Self)
    }
}

fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<Cell>>, D::Error> {
    at_most::<_, Row, { bounds::ROWS }>(deserializer).map(|rows| rows.into_iter().map(|Row(cells)| cells).collect())
}

/// A list, refused as soon as it is longer than that: a few bytes of a file may be many of memory.
fn at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Bounded<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> de::Visitor<'de> for Bounded<T, MOST> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {MOST}")
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                if all.len() == MOST {
                    return Err(de::Error::custom(format!("a list is longer than the {MOST} that are read")));
                }
                count()?;
                all.push(one);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(Bounded::<T, MOST>(PhantomData))
}

thread_local! {
    /// How many values the snapshot that this thread reads may still have. Here, since what serde derives hands nothing on.
    static VALUES_LEFT: Count<usize> = const { Count::new(0) };
}

/// Counts one more value.
fn count<E: de::Error>() -> Result<(), E> {
    let too_many = || {
        E::custom(format!("the snapshot has more than the {} values that are read: take one of fewer keyspaces", bounds::VALUES))
    };
    VALUES_LEFT.set(VALUES_LEFT.get().checked_sub(1).ok_or_else(too_many)?);
    Ok(())
}

/// The tables of a sidecar, refused as soon as there are too many.
fn tables<'de, D: Deserializer<'de>, const MOST: usize>(deserializer: D) -> Result<BTreeMap<String, TableRows>, D::Error> {
    struct Tables<const MOST: usize>;
    impl<'de, const MOST: usize> de::Visitor<'de> for Tables<MOST> {
        type Value = BTreeMap<String, TableRows>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("tables by name")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut tables = BTreeMap::new();
            for number in 0.. {
                let Some(name) = map.next_key()? else { break };
                if number == MOST {
                    return Err(de::Error::custom(format!("there are more than {MOST} tables")));
                }
                tables.insert(name, map.next_value()?);
            }
            Ok(tables)
        }
    }
    deserializer.deserialize_map(Tables::<MOST>)
}

/// Reads a file. `left`: the bytes that all the files may still have.
fn read_json<T: de::DeserializeOwned>(file: &Path, left: &mut u64) -> Result<T, SnapshotError> {
    let (opened, bytes) = private_file::open(file, bounds::FILE_BYTES).map_err(|source| {
        let file = file.to_owned();
        // What is ours has no number of the system's.
        if source.raw_os_error().is_some() {
            SnapshotError::Unreadable { file, source }
        } else {
            SnapshotError::Unfit { file, source }
        }
    })?;
    let too_much =
        SnapshotError::TooMuch { file: file.to_owned(), most: bounds::SNAPSHOT_BYTES >> 20, things: "MiB in its snapshot" };
    *left = left.checked_sub(bytes).ok_or(too_much)?;
    // One that grows meanwhile is read as it was.
    serde_json::from_reader(BufReader::with_capacity(1 << 16, opened.take(bytes)))
        .map_err(|source| SnapshotError::Malformed { file: file.to_owned(), source })
}

fn write_json<T: Serialize>(file: &Path, content: &T) -> Result<(), SnapshotError> {
    let unwritable = |source| SnapshotError::Unwritable { file: file.to_owned(), source };
    let mut out = std::io::BufWriter::new(private_file::create(file).map_err(unwritable)?);
    serde_json::to_writer_pretty(&mut out, content).map_err(|source| unwritable(source.into()))?;
    out.write_all(b"\n").and_then(|()| out.flush()).map_err(unwritable)
}
