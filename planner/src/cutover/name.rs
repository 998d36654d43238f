//! Names as they stand in statements and filters.

use sqlparser::keywords::ALL_KEYWORDS;

/// Columns that some dialect has for a keyword and Vitess does not reserve, so that it leaves them bare.
const COMMON: &[&str] = &["id", "name", "uuid", "code", "status"];

/// A name between backquotes.
pub(crate) fn backquoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The same only where it must be: around one that is a keyword, as far as any dialect has it, it is never wrong.
pub(crate) fn identifier(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_keyword = !COMMON.contains(&name) && ALL_KEYWORDS.binary_search(&name.to_ascii_uppercase().as_str()).is_ok();
    if is_plain && !is_keyword { name.to_owned() } else { backquoted(name) }
}

#[cfg(test)]
mod tests {
    use super::identifier;

    #[test]
    fn a_name_is_bare_where_it_can_be() {
        assert_eq!(["customer_id", "id", "order", "2x"].map(identifier), ["customer_id", "id", "`order`", "`2x`"]);
    }
}
