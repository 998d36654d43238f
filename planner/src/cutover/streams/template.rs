//! What a stream reads, for any shard: its rules with the key range left open.
//!
//! Facts and texts: `go/vt/vtctl/workflow/stream_migrator.go` (`templatize`, `templatizeRule`, `identifyRuleType`), v24.

use super::select::{PLACE, with_condition, with_place};
use crate::{
    formats::source_text,
    proto::{
        binlogdata::{BinlogSource, Rule},
        vschema::{Keyspace, Table},
    },
    sidecar::literal::quote,
};

/// What a table is to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    /// Its part.
    Part,
    /// All of it.
    All,
}

/// Whether the tables that a stream writes are divided among the shards, or on each of them whole.
///
/// # Errors
/// A table that the vschema does not have, or some of both.
pub(super) fn tables(source: &BinlogSource, vschema: &Keyspace) -> Result<Has, String> {
    let mut seen = None;
    for rule in rules(source) {
        let has = if of_rule(rule, vschema)?.r#type == "reference" { Has::All } else { Has::Part };
        if *seen.get_or_insert(has) != has {
            let text = source_text::print(source);
            return Err(format!("cannot reshard streams with a mix of reference and sharded tables: {text}"));
        }
    }
    Ok(seen.unwrap_or(Has::Part))
}

/// The source with [`PLACE`] in place of each key range; `None`: its tables are on each shard whole.
///
/// # Errors
/// A rule of which the part for another shard is not known.
pub(super) fn template(source: &BinlogSource, keyspace: &str, vschema: &Keyspace) -> Result<Option<BinlogSource>, String> {
    let mut out = source.clone();
    let mut seen = None;
    for rule in out.filter.iter_mut().flat_map(|filter| &mut filter.rules) {
        let table = of_rule(rule, vschema)?;
        let has = if table.r#type == "reference" { Has::All } else { Has::Part };
        if has == Has::Part {
            rule.filter = open(rule, table, keyspace, vschema)?;
        }
        if *seen.get_or_insert(has) != has {
            let text = source_text::print(source);
            return Err(format!("cannot migrate streams with a mix of reference and sharded tables: {text}"));
        }
    }
    Ok((seen == Some(Has::Part)).then_some(out))
}

/// The source for one key range.
pub(super) fn filled(template: &BinlogSource, range: &str) -> BinlogSource {
    let mut out = template.clone();
    for rule in out.filter.iter_mut().flat_map(|filter| &mut filter.rules) {
        rule.filter = rule.filter.replace(PLACE, range);
    }
    out
}

fn rules(source: &BinlogSource) -> &[Rule] {
    source.filter.as_ref().map(|filter| filter.rules.as_slice()).unwrap_or_default()
}

fn of_rule<'a>(rule: &Rule, vschema: &'a Keyspace) -> Result<&'a Table, String> {
    let table = &rule.r#match;
    vschema.tables.get(table).ok_or_else(|| format!("table {table} not found in vschema"))
}

/// A rule's filter with the key range left open.
fn open(rule: &Rule, table: &Table, keyspace: &str, vschema: &Keyspace) -> Result<String, String> {
    let filter = rule.filter.as_str();
    if filter.is_empty() {
        return Err(format!("rule {} does not have a select expression in vreplication", source_text::rule(rule)));
    }
    if is_key_range(filter) {
        return Ok(PLACE.into());
    }
    if filter == "exclude" {
        return Err(format!("unexpected rule in vreplication: {}", source_text::rule(rule)));
    }
    if let Some(filter) = with_place(filter)? {
        return Ok(filter);
    }
    if filter.contains("{{") {
        return Err(format!("cannot migrate queries that contain '{{{{' in their string: {filter}"));
    }
    let name = &rule.r#match;
    let primary = table.column_vindexes.first();
    let primary = primary.ok_or_else(|| format!("no primary vindex found for the {name} table in the {keyspace} keyspace"))?;
    // By the first column of several, as in the reference, rows would go astray.
    let columns = if primary.columns.is_empty() { std::slice::from_ref(&primary.column) } else { &primary.columns };
    let vindex = vschema.vindexes.get(&primary.name);
    let vindex = vindex.ok_or_else(|| format!("vindex {} of table {name} is not in the vschema of {keyspace}", primary.name))?;
    // By its type alone, as in the reference, one that has parameters would be another one.
    let vindex = if vindex.params.is_empty() { vindex.r#type.clone() } else { format!("{keyspace}.{}", primary.name) };
    let columns: Vec<String> = columns.iter().map(|column| bare(column)).collect();
    with_condition(filter, &format!("in_keyrange({}, {}, '{PLACE}')", columns.join(", "), quote(&vindex)))
}

/// A name as it is, if that cannot be taken for anything else.
fn bare(name: &str) -> String {
    crate::cutover::name::identifier(name)
}

fn is_key_range(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split_once('-').is_some_and(|(start, end)| is_hex(start) && is_hex(end))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::proto::{
        binlogdata::Filter,
        vschema::{ColumnVindex, Vindex},
    };

    fn vschema() -> Keyspace {
        let own = ColumnVindex { column: "c1".into(), name: "thash".into(), columns: vec![] };
        let divided = Table { column_vindexes: vec![own], ..Table::default() };
        let reference = Table { r#type: "reference".into(), ..Table::default() };
        Keyspace {
            sharded: true,
            vindexes: BTreeMap::from([("thash".into(), Vindex { r#type: "hash".into(), ..Vindex::default() })]),
            tables: BTreeMap::from([("t1".into(), divided.clone()), ("t2".into(), divided), ("ref".into(), reference)]),
            ..Keyspace::default()
        }
    }

    fn source(rules: &[(&str, &str)]) -> BinlogSource {
        let rule =
            |(table, filter): &(&str, &str)| Rule { r#match: (*table).into(), filter: (*filter).into(), ..Rule::default() };
        let filter = Some(Filter { rules: rules.iter().map(rule).collect(), ..Filter::default() });
        BinlogSource { keyspace: "ks".into(), shard: "80-".into(), filter, ..BinlogSource::default() }
    }

    fn made(rules: &[(&str, &str)]) -> Result<Option<Vec<String>>, String> {
        let made = template(&source(rules), "ks", &vschema())?;
        Ok(made.map(|made| {
            assert_eq!((made.keyspace.as_str(), made.shard.as_str()), ("ks", "80-"));
            super::rules(&made).iter().map(|rule| rule.filter.clone()).collect()
        }))
    }

    // TR-115, TR-116, TR-121, TR-122.
    #[test]
    fn a_rule_is_made_for_any_key_range() {
        for (filter, want) in [
            ("select * from t1 where in_keyrange('-80')", "select * from t1 where in_keyrange('{{.}}')"),
            ("-80", "{{.}}"),
            ("select * from t1", "select * from t1 where in_keyrange(c1, 'hash', '{{.}}')"),
            ("select * from t1 where in_keyrange(col, vdx, '-80')", "select * from t1 where in_keyrange(col, vdx, '{{.}}')"),
        ] {
            assert_eq!(made(&[("t1", filter)]), Ok(Some(vec![want.to_owned()])), "{filter}");
        }
        let made = template(&source(&[("t1", "-80"), ("t2", "select * from t2")]), "ks", &vschema()).unwrap().unwrap();
        let filled = filled(&made, "40-80");
        let filters: Vec<&str> = super::rules(&filled).iter().map(|rule| rule.filter.as_str()).collect();
        assert_eq!(filters, ["40-80", "select * from t2 where in_keyrange(c1, 'hash', '40-80')"]);
    }

    // TR-117, TR-118, TR-119, TR-123, TR-124, TR-125, TR-126.
    #[test]
    fn a_rule_whose_part_is_not_known_is_refused() {
        for (rules, want) in [
            (&[("t3", "select * from t3")][..], "table t3 not found in vschema"),
            (&[("/.*", "-80")], "table /.* not found in vschema"),
            (&[("t1", "exclude")], r#"unexpected rule in vreplication: match:"t1" filter:"exclude""#),
            (&[("t1", "")], r#"rule match:"t1" does not have a select expression in vreplication"#),
            (
                &[("t1", "-80"), ("ref", "")],
                r#"cannot migrate streams with a mix of reference and sharded tables: keyspace:"ks" shard:"80-" filter:{rules:{match:"t1" filter:"-80"} rules:{match:"ref"}}"#,
            ),
            (&[("t1", "update t set a=1")], "unexpected query: update t set a=1"),
            (
                &[("t1", "select * from t1 where in_keyrange(col, vdx, '-80', extra)")],
                "unexpected in_keyrange parameters: in_keyrange(col, vdx, '-80', extra)",
            ),
            (&[("t1", "select * from t1 where in_keyrange(aa)")], "unexpected in_keyrange parameters: in_keyrange(aa)"),
            (
                &[("t1", "select '{{' from t1 where in_keyrange('-80')")],
                "cannot migrate queries that contain '{{' in their string: select '{{' from t1 where in_keyrange('-80')",
            ),
        ] {
            assert_eq!(made(rules), Err(want.to_owned()));
        }
    }

    // TR-120.
    #[test]
    fn tables_that_are_on_each_shard_whole_do_not_go_along() {
        assert_eq!(made(&[("ref", "select * from t1")]), Ok(None));
        assert_eq!(tables(&source(&[("ref", "")]), &vschema()), Ok(Has::All));
        assert_eq!(tables(&source(&[("t1", "-80")]), &vschema()), Ok(Has::Part));
        let mixed = tables(&source(&[("t1", "-80"), ("ref", "")]), &vschema()).unwrap_err();
        assert!(mixed.starts_with("cannot reshard streams with a mix of reference and sharded tables: keyspace:"), "{mixed}");
    }

    #[test]
    fn a_vindex_that_has_parameters_or_columns_is_named_as_what_it_is() {
        let mut vschema = vschema();
        vschema.vindexes.get_mut("thash").unwrap().params.insert("map".into(), "{}".into());
        vschema.tables.get_mut("t1").unwrap().column_vindexes[0].columns = vec!["c1".into(), "order".into()];
        let made = template(&source(&[("t1", "select * from t1")]), "ks", &vschema).unwrap().unwrap();
        let want = "select * from t1 where in_keyrange(c1, `order`, 'ks.thash', '{{.}}')";
        assert_eq!(super::rules(&made)[0].filter, want);
        vschema.tables.get_mut("t1").unwrap().column_vindexes.clear();
        let text = template(&source(&[("t1", "select * from t1")]), "ks", &vschema).unwrap_err();
        assert_eq!(text, "no primary vindex found for the t1 table in the ks keyspace");
    }
}
