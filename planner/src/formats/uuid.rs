//! UUIDs as Vitess reads them, and as it stores them: 36 characters, lower case.
//!
//! Facts: `github.com/google/uuid` v1.6, `Parse`, whose texts clients see.

use sha2::{Digest, Sha256};

use crate::{contract::Timestamp, formats::quote::quoted};

/// The stored form of a UUID. Also taken are 32 digits without signs, one in braces, and one after `urn:uuid:`.
///
/// # Errors
/// Why it is none, in the words of the library.
pub fn parse(text: &str) -> Result<String, String> {
    let plain = match text.len() {
        45 => match text.split_at_checked(9) {
            Some((urn, rest)) if urn.eq_ignore_ascii_case("urn:uuid:") => rest,
            _ => return Err(format!("invalid urn prefix: {}", quoted(text.split_at_checked(9).map_or(text, |(urn, _)| urn)))),
        },
        38 => text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default(),
        32 | 36 => text,
        length => return Err(format!("invalid UUID length: {length}")),
    };
    let has_signs = plain.len() == 36;
    let is_sign = |place: usize| has_signs && [8, 13, 18, 23].contains(&place);
    let fits = |(place, byte): (usize, u8)| if is_sign(place) { byte == b'-' } else { byte.is_ascii_hexdigit() };
    if plain.is_empty() || !plain.bytes().enumerate().all(fits) {
        return Err("invalid UUID format".into());
    }
    let digits: String = plain.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    Ok(with_signs(&digits))
}

/// A UUID of version 4 for what begins at this moment; `what` tells apart what begins at the same one. Equal input makes an equal one:
/// there is no chance in it, and a tablet refuses one that it has.
pub fn made(now: Timestamp, what: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(now.seconds.to_le_bytes());
    hash.update(now.nanos.to_le_bytes());
    for text in what {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let mut number = u128::from_be_bytes(hash.finalize().first_chunk().copied().unwrap_or_default());
    // The version and the variant, as RFC 9562 has them.
    number = number & !(0xf << 76) | 4 << 76;
    number = number & !(0b11 << 62) | 0b10 << 62;
    with_signs(&format!("{number:032x}"))
}

fn with_signs(digits: &str) -> String {
    let mut text = String::with_capacity(36);
    for (place, digit) in digits.chars().enumerate() {
        if [8, 12, 16, 20].contains(&place) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "b3f59678-5241-41ee-be56-0242ac120002";

    #[test]
    fn every_form_becomes_the_stored_one() {
        let upper = UUID.to_uppercase();
        for text in [UUID, &upper, &format!("{{{UUID}}}"), &format!("URN:uuid:{UUID}"), &UUID.replace('-', "")] {
            assert_eq!(parse(text).as_deref(), Ok(UUID), "{text}");
        }
        for (text, why) in [
            ("x", "invalid UUID length: 1"),
            ("", "invalid UUID length: 0"),
            (&UUID.replace('-', "_"), "invalid UUID format"),
            (&UUID.replace('b', "g"), "invalid UUID format"),
            (&format!("({UUID})"), "invalid UUID format"),
            (&format!("urn:uuxd:{UUID}"), "invalid urn prefix: \"urn:uuxd:\""),
            ("ääääääääääääääää", "invalid UUID format"),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_made_one_is_one_of_version_4() {
        let now = Timestamp { seconds: 1_795_920_314, nanos: 15 };
        let uuid = made(now, &["customer", "m2"]);
        assert_eq!(parse(&uuid).as_deref(), Ok(uuid.as_str()));
        assert_eq!((uuid.get(14..15), uuid.get(19..20).is_some_and(|c| "89ab".contains(c))), (Some("4"), true), "{uuid}");
        assert_eq!(uuid, "08684868-dcdc-4699-9d23-3c2b13005cd3", "whichever planner makes it");
        for other in [made(Timestamp { nanos: 8, ..now }, &["customer", "m2"]), made(now, &["custome", "rm2"])] {
            assert_ne!(uuid, other);
        }
    }
}
