//! The select of a stream's rule with another key range: found where it stands in the text, and nothing else of the text is changed.
//!
//! Read are quotes, comments, brackets and the words of one level: enough to know the parts of a select and the terms of its condition.
//! Facts: `go/vt/vtctl/workflow/stream_migrator.go:templatizeKeyRange`, v24.

/// What stands for the key range.
pub(super) const PLACE: &str = "{{.}}";

/// A word, a literal in quotes, a number, or a sign; with the level of brackets that it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    from: usize,
    to: usize,
    level: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    /// In single or double quotes.
    Text,
    Sign,
}

/// The text with [`PLACE`] in place of the key range that its condition has; `None`: it has none.
///
/// # Errors
/// It is no select, or its key range is not one. Texts of the reference.
pub(super) fn with_place(text: &str) -> Result<Option<String>, String> {
    let tokens = tokens(text);
    let Some((_, terms)) = condition(text, &tokens)? else { return Ok(None) };
    let Some(call) = in_keyrange(text, terms) else { return Ok(None) };
    let wrong = || {
        let (from, to) = (call.first().map_or(0, |it| it.from), call.last().map_or(0, |it| it.to));
        format!("unexpected in_keyrange parameters: {}", text.get(from..to).unwrap_or_default())
    };
    let inside = call.get(2..call.len().saturating_sub(1)).unwrap_or_default();
    let level = inside.iter().map(|it| it.level).min().unwrap_or_default();
    let arguments: Vec<&[Token]> = inside.split(|it| it.level == level && of(text, it) == ",").collect();
    // Columns, the vindex and the key range; or that alone.
    let Some([range]) = arguments.last().filter(|_| arguments.len() != 2) else { return Err(wrong()) };
    if range.kind != Kind::Text && !of(text, range).starts_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    if text.contains("{{") {
        return Err(format!("cannot migrate queries that contain '{{{{' in their string: {text}"));
    }
    let (before, after) = (text.get(..range.from).unwrap_or_default(), text.get(range.to..).unwrap_or_default());
    Ok(Some(format!("{before}'{PLACE}'{after}")))
}

/// The text with one more condition.
///
/// # Errors
/// It is no select.
pub(super) fn with_condition(text: &str, more: &str) -> Result<String, String> {
    let tokens = tokens(text);
    let end = |at: Option<usize>| at.unwrap_or_else(|| text.trim_end().trim_end_matches(';').trim_end().len());
    let parts = |at: usize| (text.get(..at).unwrap_or_default(), text.get(at..).unwrap_or_default().trim_start());
    let after = |rest: &str| if rest.is_empty() || rest == ";" { String::new() } else { format!(" {rest}") };
    let Some((from, terms)) = condition(text, &tokens)? else {
        let (before, rest) = parts(end(clauses(text, &tokens).next().map(|it| it.from)));
        return Ok(format!("{} where {more}{}", before.trim_end(), after(rest)));
    };
    let (before, rest) = parts(end(terms.last().map(|it| it.to)));
    let (head, condition) = before.split_at_checked(from).unwrap_or((before, ""));
    let is_plain = splits(text, terms).is_some();
    let condition = if is_plain { condition.trim().to_owned() } else { format!("({})", condition.trim()) };
    Ok(format!("{head} {condition} and {more}{}", after(rest)))
}

/// The table that a select reads; `None`: it names none in the usual way.
pub(super) fn table(text: &str) -> Option<String> {
    let tokens = tokens(text);
    let from = tokens.iter().position(|it| it.level == 0 && is_word(text, it, "from"))?;
    let name = of(text, tokens.get(from + 1)?);
    let name = name.rsplit('.').next().unwrap_or(name);
    Some(name.trim_matches('`').replace("``", "`"))
}

/// What begins a clause behind the condition.
const LATER: [&str; 8] = ["group", "having", "window", "order", "limit", "for", "into", "lock"];

fn clauses<'a>(text: &'a str, tokens: &'a [Token]) -> impl Iterator<Item = &'a Token> {
    let from = tokens.iter().position(|it| it.level == 0 && is_word(text, it, "from")).unwrap_or(tokens.len());
    tokens.iter().skip(from).filter(|it| it.level == 0 && LATER.iter().any(|word| is_word(text, it, word)))
}

/// The condition of a select: where it begins behind `where`, and its tokens.
fn condition<'a>(text: &str, tokens: &'a [Token]) -> Result<Option<(usize, &'a [Token])>, String> {
    let is_select = tokens.first().is_some_and(|it| is_word(text, it, "select"));
    let is_union = tokens.iter().any(|it| it.level == 0 && is_word(text, it, "union"));
    if !is_select || is_union {
        return Err(format!("unexpected query: {text}"));
    }
    let Some(at) = tokens.iter().position(|it| it.level == 0 && is_word(text, it, "where")) else { return Ok(None) };
    let rest = tokens.get(at + 1..).unwrap_or_default();
    let end = rest.iter().position(|it| it.level == 0 && LATER.iter().any(|word| is_word(text, it, word)));
    let end = end.or_else(|| rest.iter().position(|it| it.level == 0 && of(text, it) == ";"));
    let from = tokens.get(at).map_or(0, |it| it.to);
    Ok(Some((from, rest.get(..end.unwrap_or(rest.len())).unwrap_or_default())))
}

/// Terms that hold all at once; `None`: they are joined by something else.
fn splits<'a>(text: &str, terms: &'a [Token]) -> Option<Vec<&'a [Token]>> {
    let level = terms.iter().map(|it| it.level).min()?;
    let is = |it: &Token, word: &str| it.level == level && is_word(text, it, word);
    if terms.iter().any(|it| is(it, "or") || is(it, "xor") || it.level == level && of(text, it) == "|") {
        return None;
    }
    let (mut parts, mut from, mut is_between) = (Vec::new(), 0, false);
    for (at, token) in terms.iter().enumerate() {
        let is_sign = it_is_double(text, terms, at, level);
        if is(token, "between") {
            is_between = true;
        } else if is(token, "and") && std::mem::take(&mut is_between) {
            // Its upper end follows.
        } else if is(token, "and") || is_sign {
            parts.push(terms.get(from..at).unwrap_or_default());
            from = at + if is_sign { 2 } else { 1 };
        }
    }
    parts.push(terms.get(from..).unwrap_or_default());
    Some(parts)
}

/// Whether `&&` begins here.
fn it_is_double(text: &str, terms: &[Token], at: usize, level: usize) -> bool {
    let is = |it: Option<&Token>| it.is_some_and(|it| it.level == level && of(text, it) == "&");
    is(terms.get(at)) && is(terms.get(at + 1))
}

/// The call of `in_keyrange` among the terms of a condition.
fn in_keyrange<'a>(text: &str, terms: &'a [Token]) -> Option<&'a [Token]> {
    splits(text, terms)?.into_iter().find_map(|term| match term {
        [name, open, .., close] if is_word(text, name, "in_keyrange") && of(text, open) == "(" && of(text, close) == ")" => {
            Some(term)
        }
        [open, inside @ .., close] if of(text, open) == "(" && is_closed_by(text, open, inside, close) => {
            in_keyrange(text, inside)
        }
        _ => None,
    })
}

/// Whether the first bracket is closed by the last one.
fn is_closed_by(text: &str, open: &Token, inside: &[Token], close: &Token) -> bool {
    of(text, close) == ")" && close.level == open.level && inside.iter().all(|it| it.level > open.level)
}

fn of<'a>(text: &'a str, token: &Token) -> &'a str {
    text.get(token.from..token.to).unwrap_or_default()
}

fn is_word(text: &str, token: &Token, word: &str) -> bool {
    token.kind == Kind::Word && of(text, token).eq_ignore_ascii_case(word)
}

/// Brackets are on the level outside of them.
fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let at = |place: usize| bytes.get(place).copied().unwrap_or_default();
    let (mut tokens, mut level, mut from) = (Vec::new(), 0_usize, 0);
    while from < bytes.len() {
        let first = at(from);
        let (to, kind) = match first {
            b' ' | b'\t' | b'\n' | b'\r' => {
                from += 1;
                continue;
            }
            b'/' if at(from + 1) == b'*' => {
                from = text.get(from + 2..).and_then(|rest| rest.find("*/")).map_or(bytes.len(), |end| from + end + 4);
                continue;
            }
            b'#' => {
                from = text.get(from..).and_then(|rest| rest.find('\n')).map_or(bytes.len(), |end| from + end);
                continue;
            }
            b'-' if at(from + 1) == b'-' && matches!(at(from + 2), b' ' | b'\t' | b'\n' | 0) => {
                from = text.get(from..).and_then(|rest| rest.find('\n')).map_or(bytes.len(), |end| from + end);
                continue;
            }
            b'\'' | b'"' | b'`' => {
                let kind = if first == b'`' { Kind::Sign } else { Kind::Text };
                (quoted_end(bytes, from, first), kind)
            }
            _ if is_of_word(first) => {
                let end = bytes.iter().skip(from).position(|byte| !is_of_word(*byte));
                (end.map_or(bytes.len(), |end| from + end), Kind::Word)
            }
            _ => (from + 1, Kind::Sign),
        };
        if first == b')' {
            level = level.saturating_sub(1);
        }
        tokens.push(Token { from, to, level, kind });
        if first == b'(' {
            level += 1;
        }
        from = to;
    }
    tokens
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'@' | b'.') || byte >= 0x80
}

/// Behind the quote that ends it; of one that nothing ends, the end of the text.
fn quoted_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if quote != b'`' => at += 2,
            _ if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            _ if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_range_of_a_condition_is_found_wherever_it_stands() {
        for (text, want) in [
            ("select * from t1 where in_keyrange('-80')", "select * from t1 where in_keyrange('{{.}}')"),
            ("select * from t1 where IN_KEYRANGE(a, b, \"-80\")", "select * from t1 where IN_KEYRANGE(a, b, '{{.}}')"),
            (
                "select a, 'where in_keyrange(1)' from t1 where a = 'x and y' and in_keyrange(id, 'ks.hash', '-80') group by a",
                "select a, 'where in_keyrange(1)' from t1 where a = 'x and y' and in_keyrange(id, 'ks.hash', '{{.}}') group by a",
            ),
            (
                "select * from t1 where a between 1 and 2 and (b = 1 and in_keyrange('-80')) limit 1",
                "select * from t1 where a between 1 and 2 and (b = 1 and in_keyrange('{{.}}')) limit 1",
            ),
            ("select * from t1 where a = 1 && in_keyrange('-')", "select * from t1 where a = 1 && in_keyrange('{{.}}')"),
            (
                "select * from t1 where in_keyrange(c1, c2, 'ks.two', '-80')",
                "select * from t1 where in_keyrange(c1, c2, 'ks.two', '{{.}}')",
            ),
            (
                "select /* where in_keyrange('x') */ * from `where` where in_keyrange('-80') -- or",
                "select /* where in_keyrange('x') */ * from `where` where in_keyrange('{{.}}') -- or",
            ),
        ] {
            assert_eq!(with_place(text).as_ref().map(Option::as_deref), Ok(Some(want)), "{text}");
        }
        // One of two that need not hold is none: the rows of the other would be everybody's.
        for text in ["select * from t1", "select * from t1 where a = 1", "select * from t1 where a = 1 or in_keyrange('-80')"] {
            assert_eq!(with_place(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_condition_is_added_to_what_is_there() {
        for (text, want) in [
            ("select * from t1", "select * from t1 where X"),
            ("select * from t1;", "select * from t1 where X"),
            ("select a, count(*) from t1 group by a", "select a, count(*) from t1 where X group by a"),
            ("select * from t1 where a = 1 order by a", "select * from t1 where a = 1 and X order by a"),
            ("select * from t1 where a = 1 or b = 2", "select * from t1 where (a = 1 or b = 2) and X"),
        ] {
            assert_eq!(with_condition(text, "X").as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn the_table_is_the_one_behind_from() {
        for (text, want) in [
            ("select 'x from y', a from t1 where b = 1", Some("t1")),
            ("select (select 1 from t3) from `t``2` group by a", Some("t`2")),
            ("select a from ks.t1", Some("t1")),
            ("-80", None),
        ] {
            assert_eq!(table(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_no_reason_to_fail() {
        let text = "select a, 'b\\'c' from `t` where (x = \"y\" and in_keyrange(a, 'b', '-80')) group by a -- é";
        for (end, _) in text.char_indices() {
            let part = &text[..end];
            drop(with_place(part));
            drop(with_condition(part, "X"));
        }
    }
}
