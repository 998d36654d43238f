//! The declared type of a column, from the metadata that comes with a result: `varbinary(1000)` from VARBINARY of 1000.
//!
//! MySQL sends what it stores, not what was declared; for the types of the sidecar tables the way back is unambiguous.

use crate::proto::query::Field;

/// Bit of `query.Type`: integers. Source: `proto/query.proto`, enum `Flag`.
const IS_INTEGRAL: i32 = 256;
/// Bit of `Field.flags`. Source: `proto/query.proto`, enum `MySqlFlag`.
const NOT_NULL: u32 = 1;

/// The type as a `CREATE TABLE` writes it; `text` for a type that no sidecar table has.
pub(crate) fn declared_type(field: &Field) -> String {
    let length = field.column_length;
    // Text lengths are in bytes: MySQL counts the characters at their widest. 33 is the three-byte utf8.
    let characters = length / if field.charset == 33 { 3 } else { 4 };
    let sized = |length: u32, sizes: [&str; 4]| {
        let [tiny, plain, medium, long] = sizes;
        match length {
            ..=255 => tiny,
            256..=65_535 => plain,
            65_536..=16_777_215 => medium,
            _ => long,
        }
        .to_owned()
    };
    match field.r#type {
        257 if length == 1 => "tinyint(1)".into(),
        257 => "tinyint".into(),
        770 => "tinyint unsigned".into(),
        263 => "int".into(),
        776 => "int unsigned".into(),
        265 => "bigint".into(),
        778 => "bigint unsigned".into(),
        1035 => "float".into(),
        1036 => "double".into(),
        2061 if length > 19 => format!("timestamp({})", length - 20),
        2061 => "timestamp".into(),
        2064 if length > 19 => format!("datetime({})", length - 20),
        2064 => "datetime".into(),
        2078 => "json".into(),
        6165 => format!("varchar({characters})"),
        6163 => sized(characters, ["tinytext", "text", "mediumtext", "longtext"]),
        10_262 => format!("varbinary({length})"),
        10_260 => sized(length, ["tinyblob", "blob", "mediumblob", "longblob"]),
        _ => "text".into(),
    }
}

/// Whether the column may hold NULL.
pub(crate) fn is_nullable(field: &Field) -> bool {
    field.flags & NOT_NULL == 0
}

/// Whether the column's values are integers.
pub(crate) fn is_integral(field: &Field) -> bool {
    field.r#type & IS_INTEGRAL != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_the_sidecar_tables_come_back() {
        for (kind, column_length, charset, want) in [
            (263, 11, 63, "int"),
            (778, 20, 63, "bigint unsigned"),
            (778, 10, 63, "bigint unsigned"),
            (776, 10, 63, "int unsigned"),
            (265, 20, 63, "bigint"),
            (257, 1, 63, "tinyint(1)"),
            (257, 4, 63, "tinyint"),
            (770, 3, 63, "tinyint unsigned"),
            (10_262, 1000, 63, "varbinary(1000)"),
            (10_260, 65_535, 63, "blob"),
            (10_260, 16_777_215, 63, "mediumblob"),
            (10_260, 4_294_967_295, 63, "longblob"),
            (6165, 1020, 255, "varchar(255)"),
            (6165, 765, 33, "varchar(255)"),
            (6163, 262_140, 255, "text"),
            (6163, 1020, 255, "tinytext"),
            (2061, 19, 63, "timestamp"),
            (2061, 26, 63, "timestamp(6)"),
            (2064, 19, 63, "datetime"),
            (2064, 23, 63, "datetime(3)"),
            (2078, 4_294_967_295, 63, "json"),
            (1035, 12, 63, "float"),
            (1036, 22, 63, "double"),
        ] {
            let field = Field { r#type: kind, column_length, charset, ..Field::default() };
            assert_eq!(declared_type(&field), want);
        }
    }

    #[test]
    fn flags_and_types_say_what_a_column_may_hold() {
        // NOT NULL, PRI_KEY and BINARY, as MySQL sends them for a key and for a text.
        for (flags, want) in [(0, true), (1, false), (3, false), (144, true), (145, false)] {
            assert_eq!(is_nullable(&Field { flags, ..Field::default() }), want, "{flags}");
        }
        for (kind, want) in [(263, true), (778, true), (257, true), (1035, false), (6165, false), (10_262, false), (2061, false)]
        {
            assert_eq!(is_integral(&Field { r#type: kind, ..Field::default() }), want, "{kind}");
        }
    }
}
