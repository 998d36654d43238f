//! Which columns take values from which sequences, and where these are: by what the vschemas and the rules say.
//!
//! Unlike the reference: a keyspace that is named is not looked for elsewhere, a name that is in several keyspaces is none of them, as for
//! vtgates, and where rules lead is followed, as vtgates follow them.

use std::collections::BTreeMap;

use super::name::{parts, text, unescaped};
use crate::proto::vschema::{AutoIncrement, Keyspace, Table};

/// The type of a table that is a sequence.
pub(crate) const SEQUENCE: &str = "sequence";

/// A column that takes its values from a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Its table.
    pub(crate) table: String,
    pub(crate) column: String,
    /// That of the sequence, if the vschema names one.
    pub(crate) keyspace: Option<String>,
    /// The sequence.
    pub(crate) name: String,
}

/// Where a sequence is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this keyspace, under this name.
    At(String, String),
    /// No vschema has it.
    Nowhere,
    /// Several have it, and none is named.
    Several(Vec<String>),
}

/// A table of a vschema by its name, which may be escaped there.
pub(crate) fn find<'a>(keyspace: &'a Keyspace, table: &str) -> Option<&'a Table> {
    let escaped = || keyspace.tables.iter().find(|(key, _)| unescaped(key) == Ok(table)).map(|(_, it)| it);
    keyspace.tables.get(table).or_else(escaped)
}

/// What a table of a vschema takes values from; `None`: nothing.
///
/// # Errors
/// A name cannot be read. Texts of the reference.
pub(crate) fn of_table(table: &str, known: &Table) -> Result<Option<Use>, String> {
    let Some(AutoIncrement { column, sequence }) = known.auto_increment.as_ref().filter(|it| !it.sequence.is_empty()) else {
        return Ok(None);
    };
    let (keyspace, name) = parts(sequence);
    let bad = |part: &str, why| format!("invalid {part} \"{sequence}\" defined in sequence table {}: {why}", text(known));
    let part = if keyspace.is_some() { "qualified sequence table name" } else { "sequence table name" };
    let keyspace = keyspace.map(unescaped).transpose();
    let keyspace = keyspace.map_err(|why| bad("keyspace in qualified sequence table name", why))?;
    let name = unescaped(name).map_err(|why| bad(part, why))?;
    let column = unescaped(column)
        .map_err(|why| format!("invalid column name \"{column}\" defined in sequence table {}: {why}", text(known)))?;
    let keyspace = keyspace.map(str::to_owned);
    Ok(Some(Use { table: table.into(), column: column.into(), keyspace, name: name.into() }))
}

/// The unsharded keyspaces that have a sequence, by its name.
///
/// # Errors
/// A name cannot be read.
pub(crate) fn declared<'a>(
    vschemas: impl IntoIterator<Item = (&'a str, &'a Keyspace)>,
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (keyspace, vschema) in vschemas {
        let sequences = vschema.tables.iter().filter(|(_, table)| !vschema.sharded && table.r#type == SEQUENCE);
        for (key, _) in sequences {
            let name = unescaped(key).map_err(|why| format!("invalid table name \"{key}\" in keyspace {keyspace}: {why}"))?;
            declared.entry(name.to_owned()).or_default().push(keyspace.into());
        }
    }
    Ok(declared)
}

impl Use {
    /// Where the sequence is. `rules`: those of tables, by key; `declared`: as [`declared`] tells.
    pub(crate) fn place(&self, rules: &BTreeMap<String, Vec<String>>, declared: &BTreeMap<String, Vec<String>>) -> Place {
        let Self { keyspace, name, .. } = self;
        let key = keyspace.as_ref().map_or_else(|| name.clone(), |keyspace| format!("{keyspace}.{name}"));
        let routed = rules.get(&key).and_then(|to| to.first()).and_then(|to| to.split_once('.'));
        let places = declared.get(name).map(Vec::as_slice).unwrap_or_default();
        match (routed, keyspace, places) {
            (Some((keyspace, name)), ..) => Place::At(keyspace.into(), name.into()),
            (None, Some(keyspace), _) => Place::At(keyspace.clone(), name.clone()),
            (None, None, [one]) => Place::At(one.clone(), name.clone()),
            (None, None, []) => Place::Nowhere,
            (None, None, several) => Place::Several(several.to_vec()),
        }
    }
}
