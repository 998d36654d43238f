//! Columns `pos` and the like: a replication position, plain or compressed, as the set of transactions that it names.
//!
//! It compares and joins no positions. The set is printed in a normal form, so that one position has one text.
//!
//! Facts: `go/vt/binlog/binlogplayer/binlog_player.go:DecodePosition, MysqlUncompress`;
//! `go/mysql/replication/{replication_position,mysql56_gtid,mysql56_gtid_set,mariadb_gtid,filepos_gtid}.go`.
//! Those releases know no tagged GTIDs (`uuid:tag:1-3`, MySQL 8.3 on): [`decode`] refuses them as they do, and [`as_stored`] has
//! them all the same.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};

use crate::{
    formats::{
        RowError,
        number::unsigned,
        quote::{self, excerpt, quoted},
    },
    limits::{EXCERPT_BYTES, POSITION_BYTES},
};

/// The set of a position, without its flavor: `MySQL56/uuid:1-3` gives `uuid:1-3`, lower-case and in order. Empty: the stream
/// has not begun.
///
/// # Errors
/// No flavor or an unknown one, a set that is not of its flavor, or a compressed position of more than [`POSITION_BYTES`].
pub fn decode(pos: &[u8]) -> Result<String, RowError> {
    normal(pos).map(Cow::into_owned)
}

/// As [`decode`]; borrowed if it is stored in normal form, as MySQL and Vitess write it.
pub(crate) fn normal(pos: &[u8]) -> Result<Cow<'_, str>, RowError> {
    let stored = pos.strip_prefix(b"MySQL56/").filter(|set| is_normal(set)).and_then(|set| std::str::from_utf8(set).ok());
    stored.map_or_else(|| normalized(pos).map(Cow::Owned), |set| Ok(Cow::Borrowed(set)))
}

fn normalized(pos: &[u8]) -> Result<String, RowError> {
    let failed = |reason: String| RowError::new("pos", reason, pos);
    let plain = match uncompressed(pos).map_err(failed)? {
        Some(plain) => Cow::Owned(plain),
        None => Cow::Borrowed(pos),
    };
    if plain.is_empty() {
        return Ok(String::new());
    }
    let text = String::from_utf8_lossy(&plain);
    let (flavor, set) = text.split_once('/').unwrap_or(("", &text));
    match flavor {
        "MySQL56" => mysql56(set),
        "MariaDB" => mariadb(set),
        "FilePos" => file_position(set),
        _ => Err(format!("parse error: unknown GTIDSet flavor {}", quoted(flavor))),
    }
    .map_err(|reason| RowError { column: "pos", reason, excerpt: quote::excerpt(&plain) })
}

/// A position that [`decode`] refuses, for people: its text with the flavor, inflated if it can be; of anything else the beginning,
/// with escapes.
pub fn as_stored(pos: &[u8]) -> String {
    let plain = match uncompressed(pos) {
        Ok(Some(plain)) => Cow::Owned(plain),
        _ => Cow::Borrowed(pos),
    };
    match std::str::from_utf8(&plain) {
        Ok(text) if plain.len() <= POSITION_BYTES && !text.contains(|c: char| c.is_control() && c != '\n') => text.to_owned(),
        _ => excerpt(&plain),
    }
}

/// The bytes that a position says it inflates to; 0 for one in plain text. What [`decode`] may need at most, up to
/// [`POSITION_BYTES`].
pub(crate) fn inflated_bytes(pos: &[u8]) -> usize {
    compressed(pos).map_or(0, |(length, _)| length.min(POSITION_BYTES))
}

/// The length that a compressed position says it has, and its zlib stream.
fn compressed(pos: &[u8]) -> Option<(usize, &[u8])> {
    let (length, stream) = pos.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    // Nothing but zlib begins so; a position in text does not.
    let is_zlib = stream.first_chunk::<2>().is_some_and(|head| head[0] & 0xf == 8 && u16::from_be_bytes(*head) % 31 == 0);
    is_zlib.then_some((length, stream))
}

/// What MySQL's `COMPRESS()` made of a position: four bytes of length, then a zlib stream. `None`: it is not compressed.
fn uncompressed(pos: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let Some((length, stream)) = compressed(pos) else { return Ok(None) };
    match decompress_to_vec_zlib_with_limit(stream, length.min(POSITION_BYTES)) {
        Ok(plain) => Ok(Some(plain).filter(|plain| !plain.is_empty() && plain.len() == length)),
        Err(error) if error.status == TINFLStatus::HasMoreOutput && length > POSITION_BYTES => {
            Err(format!("compressed position of {length} bytes: at most {POSITION_BYTES} are read"))
        }
        Err(_) => Ok(None),
    }
}

/// Whether [`mysql56`] would give the set back as it is. False for some sets of which that is true: nothing is wrong with them then.
fn is_normal(set: &[u8]) -> bool {
    let mut before: &[u8] = b"";
    set.split(|byte| *byte == b',').all(|part| {
        let Some((uuid, intervals)) = part.split_first_chunk::<36>() else { return false };
        // All signs are counted, without a branch for each.
        let digits: u32 = uuid.iter().map(|byte| u32::from(matches!(byte, b'0'..=b'9' | b'a'..=b'f'))).sum();
        let is_uuid = digits == 32 && [8, 13, 18, 23].iter().all(|at| uuid.get(*at) == Some(&b'-'));
        let uuid = uuid.as_slice();
        let ascends = before < uuid;
        before = uuid;
        is_uuid && ascends && intervals.strip_prefix(b":").is_some_and(are_normal)
    })
}

/// Whether the intervals stand in their order, each as it is printed.
fn are_normal(intervals: &[u8]) -> bool {
    /// A number with no more digits fits an `i64`.
    const DIGITS: usize = 18;
    // By how many digits and which: without zeros in front that is the order of the numbers.
    fn number(text: &[u8]) -> Option<(usize, &[u8])> {
        let is_printed = text.len() <= DIGITS && text.first().is_some_and(|first| *first != b'0');
        (is_printed && text.iter().all(u8::is_ascii_digit)).then_some((text.len(), text))
    }
    let mut before = None;
    intervals.split(|byte| *byte == b':').all(|interval| {
        let mut ends = interval.splitn(2, |byte| *byte == b'-').map(number);
        let (Some(Some(first)), last) = (ends.next(), ends.next()) else { return false };
        let is_printed = last.is_none_or(|last| last.is_some_and(|last| first < last));
        let this = Some((first, last.flatten().unwrap_or(first)));
        let ascends = before <= this;
        before = this;
        is_printed && ascends
    })
}

/// `uuid:interval[:interval]…[,…]`. Intervals are put in order, never joined: MySQL and Vitess write them joined, and vtctld
/// prints what it has read.
fn mysql56(set: &str) -> Result<String, String> {
    let wrong = |why: String| format!("invalid MySQL 5.6 GTID set ({}){why}", quoted(set));
    let mut servers: BTreeMap<[u8; 16], Vec<(u64, u64)>> = BTreeMap::new();
    for part in set.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (uuid, list) = part.split_once(':').ok_or_else(|| wrong(": expected uuid:interval".to_owned()))?;
        let uuid = server(uuid).map_err(|why| wrong(format!(": {why}")))?;
        // A colon at the end is no interval; so is an empty list.
        let list = list.strip_suffix(':').unwrap_or(list);
        if list.is_empty() && !part.ends_with("::") {
            continue;
        }
        for text in list.split(':') {
            let (first, last) = interval(text).map_err(|why| wrong(format!(": invalid interval ({}): {why}", quoted(text))))?;
            if first <= last {
                servers.entry(uuid).or_default().push((first, last));
            }
        }
    }
    let mut out = String::with_capacity(set.len());
    for (uuid, intervals) in &mut servers {
        intervals.sort_unstable();
        if !out.is_empty() {
            out.push(',');
        }
        for (index, byte) in uuid.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                out.push('-');
            }
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
        }
        for (first, last) in intervals {
            let _ = if first == last { write!(out, ":{first}") } else { write!(out, ":{first}-{last}") };
        }
    }
    Ok(out)
}

fn interval(text: &str) -> Result<(u64, u64), String> {
    let largest = i64::MAX.unsigned_abs();
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (first, Some(last)),
        None => (text, None),
    };
    let first = unsigned(first, largest)?;
    if first < 1 {
        return Err("start must be > 0".to_owned());
    }
    Ok((first, last.map_or(Ok(first), |last| unsigned(last, largest))?))
}

fn server(text: &str) -> Result<[u8; 16], String> {
    let wrong = || format!("invalid MySQL 5.6 SID {}", quoted(text));
    let bytes = text.as_bytes();
    if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|dash| bytes.get(*dash) != Some(&b'-')) {
        return Err(wrong());
    }
    let mut uuid = [0; 16];
    let dashes_out = bytes.iter().enumerate().filter(|(index, _)| !matches!(index, 8 | 13 | 18 | 23));
    for (index, (_, byte)) in dashes_out.enumerate() {
        let digit = char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or_else(|| {
            let shown =
                if byte.is_ascii_graphic() { format!("'{}'", char::from(*byte)) } else { format!("{:?}", char::from(*byte)) };
            format!("{}: encoding/hex: invalid byte: U+{byte:04X} {shown}", wrong())
        })?;
        if let Some(place) = uuid.get_mut(index / 2) {
            *place = *place * 16 + digit;
        }
    }
    Ok(uuid)
}

/// `domain-server-sequence[,…]`, one for each domain: the last. Spaces around each are left out, and an empty set has none.
fn mariadb(set: &str) -> Result<String, String> {
    let mut domains = BTreeMap::new();
    if set.is_empty() {
        return Ok(String::new());
    }
    for gtid in set.split(',').map(str::trim) {
        let mut parts = gtid.split('-');
        let (Some(domain), Some(server), Some(sequence), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(format!("invalid MariaDB GTID ({}): expecting Domain-Server-Sequence", excerpt(gtid.as_bytes())));
        };
        let part = |name: &str, text: &str, largest: u64| {
            let shown = excerpt(text.as_bytes());
            unsigned(text, largest).map_err(|why| format!("invalid MariaDB GTID {name} ({shown}): {why}"))
        };
        let domain = part("Domain ID", domain, u64::from(u32::MAX))?;
        let server = part("Server ID", server, u64::from(u32::MAX))?;
        domains.insert(domain, (server, part("Sequence number", sequence, u64::MAX)?));
    }
    let printed: Vec<_> = domains.iter().map(|(domain, (server, sequence))| format!("{domain}-{server}-{sequence}")).collect();
    Ok(printed.join(","))
}

/// `file:pos`, of a source without GTIDs.
fn file_position(set: &str) -> Result<String, String> {
    let wrong = |what: &str| format!("invalid FilePos GTID ({}): expecting {what}", excerpt(set.as_bytes()));
    let (file, offset) = set.split_once(':').filter(|(_, offset)| !offset.contains(':')).ok_or_else(|| wrong("file:pos"))?;
    let offset = any_base(offset).ok_or_else(|| wrong("pos to be an integer"))?;
    let mut out = String::with_capacity(set.len().min(EXCERPT_BYTES));
    // Writing to a String cannot fail.
    let _ = write!(out, "{file}:{offset}");
    Ok(out)
}

/// Go's `strconv.ParseUint(text, 0, 64)`: the prefix tells the base, and digits may be grouped by single `_` then.
fn any_base(text: &str) -> Option<u64> {
    let prefixed = |at: usize| text.get(at..);
    let (base, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, prefixed(2)?),
        [b'0', b'b' | b'B', ..] => (2, prefixed(2)?),
        [b'0', b'o' | b'O', ..] => (8, prefixed(2)?),
        [b'0', _, ..] => (8, prefixed(1)?),
        _ => (10, text),
    };
    let has_prefix = digits.len() < text.len();
    let grouped = digits.strip_prefix('_').filter(|_| has_prefix).unwrap_or(digits);
    if grouped.split('_').any(|group| group.is_empty() || !group.bytes().all(|digit| digit.is_ascii_hexdigit())) {
        return None;
    }
    u64::from_str_radix(&grouped.replace('_', ""), base).ok()
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec_zlib;

    use super::*;

    const UUID: &str = "14b68925-696a-11ea-aee7-fec597a91f5e";
    const LATER: &str = "24b68925-696a-11ea-aee7-fec597a91f5e";

    fn packed(plain: &[u8]) -> Vec<u8> {
        let length = u32::try_from(plain.len()).unwrap().to_le_bytes();
        [&length[..], &compress_to_vec_zlib(plain, 6)].concat()
    }

    fn reason(pos: &str) -> String {
        decode(pos.as_bytes()).unwrap_err().reason
    }

    #[test]
    fn sets_are_printed_in_their_normal_form() {
        for (name, pos, want) in [
            ("empty", String::new(), String::new()),
            ("flavor only", "MySQL56/".to_owned(), String::new()),
            ("GW-12", format!("MySQL56/{UUID}:1-3"), format!("{UUID}:1-3")),
            ("upper case", format!("MySQL56/{}:1-3", UUID.to_uppercase()), format!("{UUID}:1-3")),
            ("one transaction", format!("MySQL56/{UUID}:7-7"), format!("{UUID}:7")),
            ("intervals in order", format!("MySQL56/{UUID}:10-20:5:1-3"), format!("{UUID}:1-3:5:10-20")),
            ("neighbours stay apart, as in vtctld", format!("MySQL56/{UUID}:1-3:4-5"), format!("{UUID}:1-3:4-5")),
            ("servers in order", format!("MySQL56/{LATER}:1, {UUID}:2\n"), format!("{UUID}:2,{LATER}:1")),
            ("a server twice", format!("MySQL56/{UUID}:9,{LATER}:1,{UUID}:2"), format!("{UUID}:2:9,{LATER}:1")),
            ("a server twice in a row", format!("MySQL56/{UUID}:2,{UUID}:9"), format!("{UUID}:2:9")),
            ("a backward interval of as many digits", format!("MySQL56/{UUID}:21-13"), String::new()),
            ("intervals of as many digits", format!("MySQL56/{UUID}:21:13-20"), format!("{UUID}:13-20:21")),
            ("intervals that begin alike", format!("MySQL56/{UUID}:1-4:1-3"), format!("{UUID}:1-3:1-4")),
            ("zeros in front", format!("MySQL56/{UUID}:01-02"), format!("{UUID}:1-2")),
            ("backward intervals are none", format!("MySQL56/{UUID}:5-3,{LATER}:1:9-0"), format!("{LATER}:1")),
            ("empty parts", format!("MySQL56/,,{UUID}:1:,,{LATER}:"), format!("{UUID}:1")),
            ("MariaDB", "MariaDB/1-5-10,0-1-1083".to_owned(), "0-1-1083,1-5-10".to_owned()),
            ("MariaDB, last of a domain", "MariaDB/0-1-9,0-2-3".to_owned(), "0-2-3".to_owned()),
            ("file position", "FilePos/binlog.000001:4567".to_owned(), "binlog.000001:4567".to_owned()),
            ("MariaDB without any", "MariaDB/".to_owned(), String::new()),
            ("MariaDB with spaces", "MariaDB/0-1-5, 1-1-7".to_owned(), "0-1-5,1-1-7".to_owned()),
            ("file position in hex", "FilePos/a/b:0x1_0".to_owned(), "a/b:16".to_owned()),
            ("file position in hex with a group in front", "FilePos/b.1:0X_fF".to_owned(), "b.1:255".to_owned()),
            ("file position in binary", "FilePos/b.1:0b101".to_owned(), "b.1:5".to_owned()),
            ("file position in octal", "FilePos/b.1:0o17".to_owned(), "b.1:15".to_owned()),
            ("file position in old octal", "FilePos/b.1:017".to_owned(), "b.1:15".to_owned()),
            ("file position zero", "FilePos/b.1:0".to_owned(), "b.1:0".to_owned()),
            ("file position past 32 bits", "FilePos/b.1:4294967296".to_owned(), "b.1:4294967296".to_owned()),
            ("the last file position", format!("FilePos/b.1:{}", u64::MAX), format!("b.1:{}", u64::MAX)),
        ] {
            assert_eq!(decode(pos.as_bytes()), Ok(want.clone()), "{name}");
            if !pos.is_empty() {
                assert_eq!(decode(&packed(pos.as_bytes())), Ok(want), "{name}, compressed");
            }
        }
    }

    #[test]
    fn errors_have_vitess_texts() {
        let set = |set: &str| format!("invalid MySQL 5.6 GTID set (\"{set}\")");
        for (pos, want) in [
            ("pos".to_owned(), "parse error: unknown GTIDSet flavor \"\"".to_owned()),
            (format!("{UUID}:1-3"), "parse error: unknown GTIDSet flavor \"\"".to_owned()),
            ("Mysql56/x".to_owned(), "parse error: unknown GTIDSet flavor \"Mysql56\"".to_owned()),
            ("MySQL56/x".to_owned(), set("x") + ": expected uuid:interval"),
            ("MySQL56/x:1".to_owned(), set("x:1") + ": invalid MySQL 5.6 SID \"x\""),
            (format!("MySQL56/{UUID}0:1"), set(&format!("{UUID}0:1")) + &format!(": invalid MySQL 5.6 SID \"{UUID}0\"")),
            (
                format!("MySQL56/{}:1", UUID.replacen('-', "0", 1)),
                set(&format!("{}:1", UUID.replacen('-', "0", 1)))
                    + &format!(": invalid MySQL 5.6 SID \"{}\"", UUID.replacen('-', "0", 1)),
            ),
            (
                format!("MySQL56/z{}:1", &UUID[1..]),
                set(&format!("z{}:1", &UUID[1..]))
                    + &format!(": invalid MySQL 5.6 SID \"z{}\": encoding/hex: invalid byte: U+007A 'z'", &UUID[1..]),
            ),
            (format!("MySQL56/{UUID}:0-3"), set(&format!("{UUID}:0-3")) + ": invalid interval (\"0-3\"): start must be > 0"),
            (
                format!("MySQL56/{UUID}::1"),
                set(&format!("{UUID}::1")) + ": invalid interval (\"\"): strconv.ParseUint: parsing \"\": invalid syntax",
            ),
            (
                format!("MySQL56/{UUID}:tag:1-3"),
                set(&format!("{UUID}:tag:1-3"))
                    + ": invalid interval (\"tag\"): strconv.ParseUint: parsing \"tag\": invalid syntax",
            ),
            (
                format!("MySQL56/{UUID}:1-9223372036854775808"),
                set(&format!("{UUID}:1-9223372036854775808"))
                    + ": invalid interval (\"1-9223372036854775808\"): strconv.ParseUint: parsing \"9223372036854775808\": value out of range",
            ),
            ("MariaDB/0-1-5,".to_owned(), "invalid MariaDB GTID (): expecting Domain-Server-Sequence".to_owned()),
            (
                "MariaDB/0-x-1".to_owned(),
                "invalid MariaDB GTID Server ID (x): strconv.ParseUint: parsing \"x\": invalid syntax".to_owned(),
            ),
            ("FilePos/a".to_owned(), "invalid FilePos GTID (a): expecting file:pos".to_owned()),
            ("FilePos/a:1:2".to_owned(), "invalid FilePos GTID (a:1:2): expecting file:pos".to_owned()),
            (
                "FilePos/a:18446744073709551616".to_owned(),
                "invalid FilePos GTID (a:18446744073709551616): expecting pos to be an integer".to_owned(),
            ),
        ] {
            assert_eq!(reason(&pos), want, "{pos}");
        }
        for offset in ["", "0x", "_1", "1_", "1__0", "+5", "0b2", "08", "x"] {
            let want = format!("invalid FilePos GTID (a:{offset}): expecting pos to be an integer");
            assert_eq!(reason(&format!("FilePos/a:{offset}")), want);
        }
        let long = format!("MySQL56/{}", format!("{UUID}:1,").repeat(1000) + "x");
        assert!(reason(&long).len() < 200, "a long set is cut");
        assert_eq!(decode(b"pos").unwrap_err().to_string(), "column pos: parse error: unknown GTIDSet flavor \"\" in \"pos\"");
    }

    #[test]
    fn what_is_not_exactly_compressed_is_taken_as_text() {
        let plain = format!("MySQL56/{UUID}:1-3");
        let good = packed(plain.as_bytes());
        let mut wrong_length = good.clone();
        wrong_length[0] += 1;
        let mut wrong_checksum = good.clone();
        *wrong_checksum.last_mut().unwrap() ^= 1;
        let trailing = [&good[..], b"more"].concat();
        assert_eq!(decode(&trailing), Ok(format!("{UUID}:1-3")), "Go ignores what follows the stream");
        for (name, pos) in [
            ("wrong length", wrong_length),
            ("wrong checksum", wrong_checksum),
            ("cut short", good[..good.len() - 5].to_vec()),
            ("compressed nothing", packed(b"")),
            ("four bytes", good[..4].to_vec()),
        ] {
            assert!(decode(&pos).unwrap_err().reason.starts_with("parse error: unknown GTIDSet flavor"), "{name}");
        }
    }

    #[test]
    fn what_is_refused_is_shown_as_stored() {
        let tagged = format!("MySQL56/{UUID}:1-12045:mysqlsh:1-3");
        assert!(decode(tagged.as_bytes()).is_err());
        for (name, pos, want) in [
            ("a tag", tagged.clone().into_bytes(), tagged.as_str()),
            ("a tag, compressed", packed(tagged.as_bytes()), &tagged),
            ("no flavor", b"pos".to_vec(), "pos"),
            ("bytes", b"\x01\xffpos".to_vec(), r"\x01\xffpos"),
            ("a control character", b"pos\x01\n".to_vec(), r"pos\x01\n"),
            ("lines", b"MySQL56/a,\nb".to_vec(), "MySQL56/a,\nb"),
        ] {
            assert_eq!(as_stored(&pos), want, "{name}");
        }
        assert_eq!(as_stored(&vec![b'a'; POSITION_BYTES]).len(), POSITION_BYTES);
        assert!(as_stored(&vec![b'a'; POSITION_BYTES + 1]).len() < 100, "cut");
        let bomb = packed(&vec![b'a'; POSITION_BYTES + 1]);
        assert!(as_stored(&bomb).len() < 300, "cut");
    }

    #[test]
    fn inflating_is_bounded() {
        let bomb = packed(&vec![b'a'; POSITION_BYTES + 1]);
        assert!(
            reason_of(&bomb)
                .starts_with(&format!("compressed position of {} bytes: at most {POSITION_BYTES} are read", POSITION_BYTES + 1))
        );
        let mut liar = bomb;
        for length in [10, u32::try_from(POSITION_BYTES).unwrap()] {
            liar[..4].copy_from_slice(&length.to_le_bytes());
            assert!(reason_of(&liar).starts_with("parse error: unknown GTIDSet flavor"), "{length}");
        }
    }

    /// What a request may need for its positions is counted before any is inflated.
    #[test]
    fn only_compressed_positions_count_as_such() {
        let plain = format!("MySQL56/{UUID}:1-3");
        assert_eq!(inflated_bytes(&packed(plain.as_bytes())), plain.len());
        assert_eq!(inflated_bytes(b"\xff\xff\xff\xff\x78\x9c"), POSITION_BYTES);
        // The fifth letter of one is like zlib's first byte, the fifth and sixth of the other are like its check.
        for text in [plain.as_str(), "bin.Host:1", "bin.39:1", "", "bin.H"] {
            assert_eq!(inflated_bytes(text.as_bytes()), 0, "{text}");
        }
    }

    #[test]
    fn a_set_as_mysql_prints_it_is_not_copied() {
        let largest = "9".repeat(18);
        for set in [format!("{UUID}:1"), format!("{UUID}:1-3:5:7-{largest}"), format!("{UUID}:9-10,{LATER}:{largest}")] {
            let pos = format!("MySQL56/{set}");
            assert!(matches!(normal(pos.as_bytes()), Ok(Cow::Borrowed(borrowed)) if borrowed == set), "{set}");
        }
    }

    fn reason_of(pos: &[u8]) -> String {
        decode(pos).unwrap_err().reason
    }
}
