//! A keyspace's vschema whose tables change, with the bytes of everything else as they were.

use std::collections::BTreeSet;

use prost::Message;

use crate::{
    proto::vschema::{Keyspace, Table},
    wire::{self, RawField},
};

/// The field of the tables, a map.
const TABLES: u32 = 3;

/// The record without some tables and with others: of one that is not there yet its type alone is said, if that is not empty.
///
/// # Errors
/// The bytes are no such record.
pub(crate) fn with_tables(
    record: &[u8],
    gone: &BTreeSet<String>,
    there: &BTreeSet<String>,
    of_type: &str,
) -> Result<Vec<u8>, String> {
    let new = Table { r#type: of_type.into(), ..Table::default() }.encode_to_vec();
    Keyspace::decode(record).map_err(|error| error.to_string())?;
    let (mut out, mut missing) = (Vec::with_capacity(record.len()), there.clone());
    for field in wire::fields(record).map_err(|error| error.to_string())? {
        let table = (field.0 == TABLES).then(|| entry_key(field)).flatten();
        let is_gone = table.as_ref().is_some_and(|table| {
            missing.remove(table);
            gone.contains(table)
        });
        if !is_gone {
            out.extend_from_slice(field.1);
        }
    }
    for table in missing {
        wire::put_message(&mut out, TABLES, |entry| {
            wire::put_text(entry, 1, &table);
            wire::put_bytes(entry, 2, &new);
        });
    }
    Ok(out)
}

/// The key of an entry of a map whose keys are texts.
pub(crate) fn entry_key(field: RawField<'_>) -> Option<String> {
    let entry = wire::fields(wire::content(field)?).ok()?;
    let key = entry.into_iter().rfind(|(number, _)| *number == 1);
    // An entry without a key has the empty one.
    key.map_or_else(|| Some(String::new()), |key| String::from_utf8(wire::content(key)?.to_vec()).ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::proto::vschema::Vindex;

    #[test]
    fn tables_go_and_come_and_the_rest_stays() {
        let table = Table { r#type: "reference".into(), ..Table::default() };
        let keyspace = Keyspace {
            sharded: true,
            vindexes: BTreeMap::from([("hash".into(), Vindex::default())]),
            tables: ["a", "b", "c"].map(|name| (name.to_owned(), table.clone())).into(),
            ..Keyspace::default()
        };
        let future = [0xf8, 0x07, 1];
        let record = [keyspace.encode_to_vec(), future.to_vec()].concat();
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let after = with_tables(&record, &set(&["a", "x"]), &set(&["b", "new"]), "").unwrap();
        let read = Keyspace::decode(after.as_slice()).unwrap();
        assert_eq!(
            read.tables,
            [("b", table.clone()), ("c", table), ("new", Table::default())].map(|(n, t)| (n.into(), t)).into()
        );
        assert_eq!((read.sharded, read.vindexes), (true, keyspace.vindexes));
        assert!(after.windows(3).any(|part| part == future), "what is not known stays");
        assert_eq!(with_tables(&after, &set(&["a", "x"]), &set(&["b", "new"]), "").unwrap(), after, "done is done");
        let after = with_tables(&record, &set(&[]), &set(&["a", "seq"]), "sequence").unwrap();
        let read = Keyspace::decode(after.as_slice()).unwrap();
        assert_eq!([&read.tables["a"].r#type, &read.tables["seq"].r#type], ["reference", "sequence"]);
    }
}
