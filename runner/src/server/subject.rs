//! A certificate's subject as text, and whether a text that an operator allows is in it.
//!
//! The text is Go's, since operators copy it from there: `CN=client,OU=databases,O=Example,C=DE`. Source: `crypto/x509/pkix`,
//! `Name.String`; `crypto/x509/parser.go:parseName`.

use std::fmt::Write;

use x509_cert::{
    attr::AttributeValue,
    der::{Decode, Tag, Tagged, asn1::ObjectIdentifier},
    name::Name,
};

/// The subject; `None` if the certificate, or a value of its subject, cannot be read.
pub(super) fn subject(der: &[u8]) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    distinguished_name(certificate.tbs_certificate().subject())
}

/// Whether one of the parts is in the subject, as an attribute or a piece of one, or as several that stand side by side.
///
/// Unlike Go's `strings.Contains`, a part that begins with an attribute's kind (`OU=ops`) is found at the begin of an attribute only:
/// a name `x,OU=ops`, which the subject shows as `CN=x\,OU=ops`, is not one of `ops`.
pub(super) fn is_allowed(subject: &str, parts: &[String]) -> bool {
    parts.iter().any(|part| !part.is_empty() && is_in(subject, part))
}

fn is_in(subject: &str, part: &str) -> bool {
    let begins_with_kind = KINDS.iter().any(|(kind, _)| part.strip_prefix(kind).is_some_and(|rest| rest.starts_with('=')));
    let mut is_escaped = false;
    let mut is_begin = true;
    for (at, character) in subject.char_indices() {
        // What a backslash keeps from being a separator is not one for us.
        if !is_escaped && (is_begin || !begins_with_kind) && subject[at..].starts_with(part) {
            return true;
        }
        is_begin = !is_escaped && matches!(character, ',' | '+');
        is_escaped = !is_escaped && character == '\\';
    }
    false
}

fn distinguished_name(name: &Name) -> Option<String> {
    let mut attributes: Vec<(ObjectIdentifier, String)> = Vec::new();
    for attribute in name.iter() {
        attributes.push((attribute.oid, text_of(&attribute.value)?));
    }
    // Go sorts the attributes into fields, which come in this order; several values of one are joined by a plus, but of names
    // and serial numbers the last one counts.
    let known = KINDS.iter().filter_map(|(kind, oid)| {
        let values = attributes.iter().filter(|(of, _)| of == oid).map(|(_, value)| format!("{kind}={}", escaped(value)));
        let mut values: Vec<String> = values.collect();
        if matches!(*kind, "CN" | "SERIALNUMBER") {
            values.drain(..values.len().saturating_sub(1));
        }
        (!values.is_empty()).then(|| values.join("+"))
    });
    let others = attributes
        .iter()
        .rev()
        .filter(|(of, _)| KINDS.iter().all(|(_, oid)| of != oid))
        .map(|(oid, value)| format!("{oid}=#{}", hex(value)));
    Some(known.chain(others).collect::<Vec<_>>().join(","))
}

/// A value's letters; `None` for what is no text.
fn text_of(value: &AttributeValue) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
        // As good as Latin-1.
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (pairs, []) = bytes.as_chunks::<2>() else { return None };
            let text = String::from_utf16(&pairs.iter().copied().map(u16::from_be_bytes).collect::<Vec<_>>()).ok()?;
            Some(text.strip_suffix('\0').unwrap_or(&text).to_owned())
        }
        _ => None,
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let is_special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at + 1 == value.len(),
            '#' => at == 0,
            _ => false,
        };
        if is_special {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// How Go writes a value of a kind that it has no name for: encoded anew, in hexadecimal digits.
fn hex(value: &str) -> String {
    let is_printable = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+,-./ :=?".contains(&byte);
    let tag: u8 = if value.bytes().all(is_printable) { 0x13 } else { 0x0c };
    let length = value.len();
    let mut text = format!("{tag:02x}");
    if length >= 0x80 {
        let bytes = length.to_be_bytes();
        let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        // Writing to a String does not fail.
        let _ = write!(text, "{:02x}", 0x80 + bytes.len() - from);
        for byte in bytes.iter().skip(from) {
            let _ = write!(text, "{byte:02x}");
        }
    } else {
        let _ = write!(text, "{length:02x}");
    }
    for byte in value.bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// In Go's order, which is that of its fields from the last to the first.
const KINDS: [(&str, ObjectIdentifier); 9] = [
    ("SERIALNUMBER", ObjectIdentifier::new_unwrap("2.5.4.5")),
    ("CN", ObjectIdentifier::new_unwrap("2.5.4.3")),
    ("POSTALCODE", ObjectIdentifier::new_unwrap("2.5.4.17")),
    ("STREET", ObjectIdentifier::new_unwrap("2.5.4.9")),
    ("ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
    ("O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    ("C", ObjectIdentifier::new_unwrap("2.5.4.6")),
];

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn printed(name: &str) -> String {
        distinguished_name(&Name::from_str(name).unwrap()).unwrap()
    }

    #[test]
    fn subjects_are_printed_as_go_prints_them() {
        for (name, want) in [
            ("CN=client 1,OU=b,O=Example\\, Inc,C=DE", "CN=client 1,OU=b,O=Example\\, Inc,C=DE"),
            ("C=DE,O=Example,CN=anna", "CN=anna,O=Example,C=DE"),
            ("CN=a\\+b\\;\\<c\\>\\\"\\\\", "CN=a\\+b\\;\\<c\\>\\\"\\\\"),
            ("CN=\\#a#b", "CN=\\#a#b"),
            // Of several names the last one of the certificate counts, which is the first one of such a text.
            ("CN=last,CN=first,O=Example", "CN=last,O=Example"),
            // A kind without a name in Go comes last.
            ("DC=example,CN=anna", "CN=anna,0.9.2342.19200300.100.1.25=#13076578616d706c65"),
        ] {
            assert_eq!(printed(name), want, "{name}");
        }
        let text = printed("CN=client,OU=b,OU=a,O=Example");
        assert!(text == "CN=client,OU=a+OU=b,O=Example" || text == "CN=client,OU=b+OU=a,O=Example", "{text}");
        assert_eq!(hex(&"x".repeat(200)).get(..6), Some("1381c8"));
        assert_eq!(hex("a@b"), "0c03614062");
    }

    #[test]
    fn a_part_is_found_where_it_means_what_it_says() {
        for (subject, part, want) in [
            ("CN=anna,OU=ops,O=Example", "OU=ops", true),
            ("CN=anna,OU=ops,O=Example", "CN=anna,OU=ops", true),
            ("CN=anna,OU=ops,O=Example", "anna,OU=ops", true),
            ("CN=anna,OU=dev+OU=ops,O=Example", "OU=ops", true),
            ("CN=anna,OU=ops,O=Example", "ops", true),
            ("CN=anna,OU=ops,O=Example", "OU=op", true),
            ("CN=anna,OU=ops,O=Example", "", false),
            // Values that hold what looks like an attribute.
            ("CN=x\\,OU=ops,O=Example", "OU=ops", false),
            ("CN=x\\,OU=ops,O=Example", ",OU=ops", false),
            ("CN=x\\+OU=ops,O=Example", "OU=ops", false),
            ("CN=OU=ops,O=Example", "OU=ops", false),
            ("CN=x\\\\,OU=ops", "OU=ops", true),
            ("CN=x\\,OU=ops,O=Example", "CN=x\\,OU=ops", true),
            ("CN=x\\,OU=ops,O=Example", "x,OU=ops", false),
            ("OU=caf\u{e9},O=Example", "O=Example", true),
        ] {
            assert_eq!(is_allowed(subject, &[part.to_owned()]), want, "{part:?} in {subject:?}");
        }
    }
}
