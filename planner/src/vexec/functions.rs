//! The functions that a statement may call: those that compute from their arguments and rows, and nothing else.
//!
//! Not here, on purpose: whatever waits (`sleep`, `benchmark`, locks), reads or writes outside of the tables (`load_file`), tells of
//! the server (`user`, `version`), keeps state (`last_insert_id(x)`, user variables) or makes much of little (`repeat`, `rpad`).

/// The function of that name as it is printed, whatever the case of its letters.
pub(super) fn allowed(name: &str) -> Option<&'static str> {
    ALLOWED.iter().find(|function| function.eq_ignore_ascii_case(name)).copied()
}

/// The names, for error texts.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().copied()
}

const ALLOWED: &[&str] = &[
    "abs",
    "avg",
    "ceil",
    "ceiling",
    "char_length",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "current_timestamp",
    "date",
    "date_add",
    "date_format",
    "date_sub",
    "datediff",
    "elt",
    "field",
    "find_in_set",
    "floor",
    "from_unixtime",
    "greatest",
    "group_concat",
    "hex",
    "hour",
    "if",
    "ifnull",
    "instr",
    "json_array",
    "json_arrayagg",
    "json_contains",
    "json_extract",
    "json_length",
    "json_object",
    "json_remove",
    "json_set",
    "json_unquote",
    "json_valid",
    "lcase",
    "least",
    "left",
    "length",
    "locate",
    "lower",
    "ltrim",
    "max",
    "mid",
    "min",
    "minute",
    "mod",
    "now",
    "nullif",
    "octet_length",
    "replace",
    "right",
    "round",
    "rtrim",
    "sec_to_time",
    "sign",
    "substr",
    "substring",
    "substring_index",
    "sum",
    "time_to_sec",
    "timediff",
    "trim",
    "truncate",
    "ucase",
    "unhex",
    "unix_timestamp",
    "upper",
    "utc_timestamp",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_or_reaches_out_is_not_there() {
        assert_eq!(allowed("CoUnT"), Some("count"));
        for name in ["sleep", "benchmark", "load_file", "get_lock", "user", "version", "last_insert_id", "uuid", "rand", "repeat"]
        {
            assert_eq!(allowed(name), None, "{name}");
        }
        assert!(ALLOWED.is_sorted());
    }
}
