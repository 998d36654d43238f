//! Names in a vschema, which may be written between backquotes.

use crate::proto::{
    query::Type,
    vschema::{ColumnVindex, Table},
};

/// A name without the backquotes around it.
///
/// # Errors
/// It is empty, or has a backquote that closes nothing. Texts of `go/sqlescape/ids.go:UnescapeID`, v24.
pub(crate) fn unescaped(name: &str) -> Result<&str, String> {
    let single = |at: usize, of: &str| Err(format!("UnescapeID err: unexpected single backtick at position {at} in '{of}'"));
    let inside = match (name.strip_prefix('`'), name.strip_suffix('`')) {
        _ if matches!(name, "" | "`" | "``") => return Err(format!("UnescapeID err: invalid input identifier '{name}'")),
        (Some(_), Some(_)) => name.get(1..name.len() - 1).unwrap_or_default(),
        (Some(_), None) => return single(0, name),
        (None, Some(_)) => return single(name.len(), name),
        (None, None) => name,
    };
    inside.find('`').map_or(Ok(inside), |at| single(at, inside))
}

/// The keyspace before the first dot that stands between two names, if there is one, and the table.
pub(super) fn parts(name: &str) -> (Option<&str>, &str) {
    // One name with a dot in it.
    let is_one = name.len() > 1 && unescaped(name).is_ok_and(|inside| inside.len() + 2 == name.len());
    match name.split_once('.').filter(|_| !is_one) {
        Some((keyspace, table)) => (Some(keyspace), table),
        None => (None, name),
    }
}

/// A name between backquotes, as statements have it.
pub(crate) fn escaped(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table of a vschema as protobuf text, as Go prints it.
pub(super) fn text(table: &Table) -> String {
    let quoted = |field: &str, value: &str| (!value.is_empty()).then(|| format!("{field}:{}", literal(value)));
    let mut fields: Vec<String> = quoted("type", &table.r#type).into_iter().collect();
    fields.extend(table.column_vindexes.iter().map(|vindex| {
        let ColumnVindex { column, name, columns } = vindex;
        let parts = [quoted("column", column), quoted("name", name)].into_iter().flatten();
        let parts = parts.chain(columns.iter().filter_map(|column| quoted("columns", column)));
        format!("column_vindexes:{{{}}}", parts.collect::<Vec<_>>().join(" "))
    }));
    fields.extend(table.auto_increment.as_ref().map(|it| {
        let parts = [quoted("column", &it.column), quoted("sequence", &it.sequence)];
        format!("auto_increment:{{{}}}", parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }));
    fields.extend(table.columns.iter().map(|column| {
        let of = Type::try_from(column.r#type).map_or_else(|_| column.r#type.to_string(), |of| of.as_str_name().to_owned());
        let parts = [quoted("name", &column.name), (column.r#type != 0).then(|| format!("type:{of}"))];
        format!("columns:{{{}}}", parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }));
    fields.extend(quoted("pinned", &table.pinned));
    fields.extend(table.column_list_authoritative.then(|| "column_list_authoritative:true".to_owned()));
    fields.extend(quoted("source", &table.source));
    fields.join(" ")
}

/// A text of protobuf's.
fn literal(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_the_backquotes_around_them_and_may_have_none_inside() {
        assert_eq!(unescaped("`my-seq1`"), Ok("my-seq1"));
        assert_eq!(unescaped("seq"), Ok("seq"));
        for (name, want) in [
            // TR-149, TR-151.
            ("`my-`seq1`", "UnescapeID err: unexpected single backtick at position 3 in 'my-`seq1'"),
            // TR-150.
            ("`ks`1`", "UnescapeID err: unexpected single backtick at position 2 in 'ks`1'"),
            ("`seq", "UnescapeID err: unexpected single backtick at position 0 in '`seq'"),
            ("", "UnescapeID err: invalid input identifier ''"),
        ] {
            assert_eq!(unescaped(name), Err(want.to_owned()));
        }
    }

    #[test]
    fn a_sequence_may_name_its_keyspace() {
        for (name, want) in [
            ("seq", (None, "seq")),
            ("ks.seq", (Some("ks"), "seq")),
            ("`ks`.`seq`", (Some("`ks`"), "`seq`")),
            ("`a.b`", (None, "`a.b`")),
            ("`ks`1`.`my-seq1`", (Some("`ks`1`"), "`my-seq1`")),
        ] {
            assert_eq!(parts(name), want);
        }
    }
}
