//! Names that become parts of topology paths, and of the names of files: what is allowed, and the paths themselves.
//!
//! Every name is checked here before it is put into a path, so that no request and no record can reach outside its directory. Names that
//! go further are read once into types that hold nothing else: [`KeyspaceName`], [`ShardName`], [`CellName`], [`TabletName`].

use std::{
    borrow::Borrow,
    fmt::{self, Write as _},
    ops::Deref,
};

use crate::{contract::Status, limits, proto::topodata::TabletAlias};

/// The cell that holds what belongs to no cell: keyspaces, shards, cell records.
pub const GLOBAL: &str = "global";

/// Why a name cannot be part of a path. The texts are those of Vitess. Source: `go/vt/topo/keyspace.go:validateObjectName`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing.
    #[error("empty name")]
    Empty,
    /// More than [`limits::OBJECT_NAME_BYTES`].
    #[error("name {0} is too long")]
    TooLong(String),
    /// A character that would leave the directory, or that is no text.
    #[error("invalid character {1} in name {0}")]
    Character(String, char),
}

/// Checks the name of a keyspace or shard for reading.
///
/// Vitess v17 and later create names of letters, digits, `_` and `-` only. Older ones created others, so for reading all are
/// allowed that stay in their directory: no slash, no control character, not `.` or `..`.
///
/// # Errors
/// [`BadName`], in Vitess' order: empty, too long, character.
pub fn check_object(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > limits::OBJECT_NAME_BYTES {
        return Err(BadName::TooLong(name.to_owned()));
    }
    let leaves = if name.chars().all(|c| c == '.') { Some('.') } else { None };
    let bad = name.chars().find(|&c| c == '/' || c.is_control()).or(leaves);
    // A slash is the reason, but with `../` in front of it the dots are what Vitess complains of first.
    match bad {
        Some('/') if name.starts_with('.') => Err(BadName::Character(name.to_owned(), '.')),
        Some(c) => Err(BadName::Character(name.to_owned(), c)),
        None => Ok(()),
    }
}

/// Checks a cell's name from a record. Vitess itself checks only the form of aliases. Source:
/// `go/vt/topo/topoproto/tablet.go:tabletAliasFormat`.
///
/// # Errors
/// [`BadName`] as [`check_object`], and for any character outside letters, digits, `-`, `_`, `.`.
pub fn check_cell(name: &str) -> Result<(), BadName> {
    check_object(name)?;
    match name.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        Some(c) => Err(BadName::Character(name.to_owned(), c)),
        None => Ok(()),
    }
}

/// Checks a shard's name for reading: as [`check_object`], and a name with a dash is a key range. Source:
/// `go/vt/topo/shard.go:ValidateShardName`, `go/vt/key/key.go:ParseKeyRangeParts`.
///
/// # Errors
/// Vitess's text.
pub fn check_shard(name: &str) -> Result<(), String> {
    check_object(name).map_err(|bad| bad.to_string())?;
    let mut halves = name.split('-');
    let (Some(start), Some(end)) = (halves.next(), halves.next()) else { return Ok(()) };
    if halves.next().is_some() {
        return Err(format!("invalid shardId, can only contain one '-': {name}"));
    }
    let (start, end) = (hex(start)?, hex(end)?);
    if !end.is_empty() && start >= end {
        return Err(format!("out of order keys: {} is not strictly smaller than {}", hex_text(&start), hex_text(&end)));
    }
    Ok(())
}

/// The bytes of a key in a shard's name.
///
/// # Errors
/// The text that Go's `encoding/hex` has for it: a character that is no digit, or an odd number of digits.
pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| {
            let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            digit.ok_or_else(|| format!("encoding/hex: invalid byte: U+{:04X} '{c}'", u32::from(c)))
        })
        .collect::<Result<_, _>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("encoding/hex: odd length hex string".into());
    }
    Ok(pairs.iter().map(|[high, low]| high * 16 + low).collect())
}

/// A key as the names of shards have it: two digits for each byte, in small letters.
pub fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An alias as text: the cell, a dash, the uid padded to ten digits. An absent one is `<nil>`. Source:
/// `go/vt/topo/topoproto/tablet.go:TabletAliasString`.
pub fn alias_text(alias: Option<&TabletAlias>) -> String {
    alias.map_or_else(|| "<nil>".to_owned(), |alias| format!("{}-{:010}", alias.cell, alias.uid))
}

/// The alias in a text: the last dash splits. Source: `go/vt/topo/topoproto/tablet.go:ParseTabletAlias`, v11 on.
///
/// # Errors
/// Vitess's text.
pub fn parse_alias(text: &str) -> Result<TabletAlias, String> {
    let parts = text.rsplit_once('-').filter(|(cell, uid)| {
        let is_cell = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !cell.is_empty() && cell.chars().all(is_cell) && !uid.is_empty() && uid.bytes().all(|digit| digit.is_ascii_digit())
    });
    let Some((cell, uid)) = parts else {
        let format = "^(?P<cell>[-_.a-zA-Z0-9]+)-(?P<uid>[0-9]+)$";
        return Err(format!("invalid tablet alias: '{text}', expecting format: '{format}'"));
    };
    let out_of_range = || {
        let cause = format!("strconv.ParseUint: parsing \"{uid}\": value out of range");
        format!("invalid tablet uid in alias '{text}': bad tablet uid: {cause}")
    };
    Ok(TabletAlias { cell: cell.into(), uid: uid.parse().map_err(|_| out_of_range())? })
}

/// The name of a cell, checked: 1 to 64 letters, digits, `-`, `_`, `.`, not dots alone, and not [`GLOBAL`], which is no cell's. It
/// cannot hold a slash, a quote, a space or a control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellName(String);

impl CellName {
    /// Reads a name.
    ///
    /// # Errors
    /// As [`check_cell`]; the name of the global cell is one for a person, too.
    pub fn parse(name: &str) -> Result<Self, String> {
        check_cell(name).map_err(|bad| bad.to_string())?;
        if name == GLOBAL {
            return Err(format!("no cell can be called {GLOBAL}: it stands for what belongs to no cell"));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes that an alias can have: a cell, a dash, a number.
const ALIAS_BYTES: usize = limits::OBJECT_NAME_BYTES + 1 + 10;

/// The alias of a tablet, checked: a cell and a number. Its text is always the one that Vitess makes of them, so it can be a part of a
/// topology path or the name of a file, and two aliases with one text are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TabletName {
    cell: CellName,
    uid: u32,
}

impl TabletName {
    /// Reads an alias from its text, `zone1-0000000100`.
    ///
    /// # Errors
    /// A sentence for people: it is no alias, or written otherwise than Vitess does.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > ALIAS_BYTES {
            return Err(format!("the tablet alias {:?}… is too long", text.chars().take(40).collect::<String>()));
        }
        let alias = parse_alias(text)?;
        let name = Self { cell: CellName::parse(&alias.cell)?, uid: alias.uid };
        let written = name.to_string();
        if written == text {
            Ok(name)
        } else {
            Err(format!("the tablet alias {text:?} is not written as Vitess does: {written}"))
        }
    }

    /// Reads an alias from the path of a tablet's record, relative to its cell's root. `None`: a record of another kind.
    pub fn of_record(path: &str) -> Option<Result<Self, String>> {
        recorded_alias(path).map(Self::parse)
    }

    /// Its cell.
    pub fn cell(&self) -> &CellName {
        &self.cell
    }
}

impl fmt::Display for TabletName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:010}", self.cell, self.uid)
    }
}

/// The directory of the cells' own records, global.
pub(crate) const CELLS_PREFIX: &str = "cells/";

/// The directory of a cell's tablets, in that cell.
pub(crate) const TABLETS_PREFIX: &str = "tablets/";

/// The alias in the path of a tablet's record, relative to its cell's root, unchecked. `None`: a record of another kind.
pub(crate) fn recorded_alias(path: &str) -> Option<&str> {
    path.strip_prefix(TABLETS_PREFIX)?.strip_suffix("/Tablet")
}

/// The directory of a keyspace's shards, global. The keyspace is as a [`KeyspaceName`] prints.
pub(crate) fn shards_prefix(keyspace: impl fmt::Display) -> String {
    format!("keyspaces/{keyspace}/shards/")
}

/// The record of a cell, global.
pub(crate) fn cell_info_path(cell: &str) -> String {
    format!("cells/{cell}/CellInfo")
}

/// The name of a keyspace, checked: only through it are a keyspace's records read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyspaceName(String);

impl KeyspaceName {
    /// Reads a name.
    ///
    /// # Errors
    /// As [`check_object`].
    pub(crate) fn parse(name: &str) -> Result<Self, BadName> {
        check_object(name).map(|()| Self(name.to_owned()))
    }

    /// Reads the name in a request.
    ///
    /// # Errors
    /// The status that the request fails with.
    pub(crate) fn of_request(name: &str) -> Result<Self, Status> {
        Self::parse(name).map_err(|bad| Status::unknown(no_keyspace_can_be(name, &bad)))
    }

    /// The directory of its records, without a slash at the end.
    pub(crate) fn directory(&self) -> String {
        format!("keyspaces/{self}")
    }

    /// Its record, global.
    pub(crate) fn record_path(&self) -> String {
        format!("keyspaces/{self}/Keyspace")
    }

    /// What a cell serves of it, in that cell.
    pub(crate) fn srv_keyspace_path(&self) -> String {
        format!("keyspaces/{self}/SrvKeyspace")
    }

    /// Its vschema, global.
    pub(crate) fn vschema_path(&self) -> String {
        format!("keyspaces/{self}/VSchema")
    }

    /// The directory of its shards, global.
    pub(crate) fn shards_prefix(&self) -> String {
        shards_prefix(self)
    }

    /// The record of one of its shards, global.
    pub(crate) fn shard_path(&self, shard: &ShardName) -> String {
        format!("keyspaces/{self}/shards/{shard}/Shard")
    }

    /// Which tablets of a shard a cell has, in that cell.
    pub(crate) fn shard_replication_path(&self, shard: &ShardName) -> String {
        format!("keyspaces/{self}/shards/{shard}/ShardReplication")
    }
}

/// Why nothing can be read of a keyspace of this name.
pub(crate) fn no_keyspace_can_be(name: &str, bad: &BadName) -> String {
    format!("keyspace {name:?} cannot exist: {bad}")
}

/// The name of a shard, checked as far as paths go: not every such name is a key range.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShardName(String);

impl ShardName {
    /// Reads a name from a record or a directory.
    ///
    /// # Errors
    /// As [`check_object`].
    pub(crate) fn parse(name: &str) -> Result<Self, BadName> {
        check_object(name).map(|()| Self(name.to_owned()))
    }

    /// Reads a name that must be one of a key range where it has a dash.
    ///
    /// # Errors
    /// As [`check_shard`].
    pub(crate) fn of_request(name: &str) -> Result<Self, String> {
        check_shard(name).map(|()| Self(name.to_owned()))
    }
}

/// The names are texts wherever they are shown or compared.
macro_rules! text {
    ($($name:ident)*) => {$(
        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

text!(KeyspaceName ShardName);

impl Borrow<str> for KeyspaceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The record of a tablet, in its cell.
pub(crate) fn tablet_path(alias: &str) -> String {
    format!("tablets/{alias}/Tablet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_directory_are_refused() {
        for (name, want) in [
            ("customer", Ok(())),
            ("a.b", Ok(())),
            ("-80", Ok(())),
            ("", Err("empty name".to_owned())),
            (".", Err("invalid character . in name .".to_owned())),
            ("..", Err("invalid character . in name ..".to_owned())),
            ("../x", Err("invalid character . in name ../x".to_owned())),
            ("a/b", Err("invalid character / in name a/b".to_owned())),
            ("a\nb", Err("invalid character \n in name a\nb".to_owned())),
        ] {
            assert_eq!(check_object(name).map_err(|e| e.to_string()), want, "{name:?}");
        }
        assert_eq!(check_object(&"x".repeat(64)), Ok(()));
        assert_eq!(check_object(&"x".repeat(65)).unwrap_err().to_string(), format!("name {} is too long", "x".repeat(65)));
        assert!(check_cell("us east").is_err());
        assert_eq!(check_cell("us-east_1.a"), Ok(()));
    }

    #[test]
    fn shards_are_named_by_key_ranges() {
        for (name, want) in [
            ("0", Ok(())),
            ("-", Ok(())),
            ("-80", Ok(())),
            ("80-", Ok(())),
            ("C0-e0", Ok(())),
            ("-70-80", Err("invalid shardId, can only contain one '-': -70-80")),
            ("-7", Err("encoding/hex: odd length hex string")),
            ("-7g", Err("encoding/hex: invalid byte: U+0067 'g'")),
            ("80-40", Err("out of order keys: 80 is not strictly smaller than 40")),
            ("80-80", Err("out of order keys: 80 is not strictly smaller than 80")),
            ("../x", Err("invalid character . in name ../x")),
        ] {
            assert_eq!(check_shard(name), want.map_err(str::to_owned), "{name:?}");
        }
    }

    #[test]
    fn an_alias_is_padded_to_ten_digits() {
        let alias = TabletAlias { cell: "zone1".into(), uid: 100 };
        assert_eq!(alias_text(Some(&alias)), "zone1-0000000100");
        assert_eq!(alias_text(None), "<nil>");
        assert_eq!(parse_alias("zone1-0000000100"), Ok(alias));
        assert_eq!(parse_alias("us-east-1-7"), Ok(TabletAlias { cell: "us-east-1".into(), uid: 7 }));
        assert!(parse_alias("zone1").unwrap_err().starts_with("invalid tablet alias: 'zone1', expecting format: "));
        assert!(parse_alias("../x-1").is_err() && parse_alias("z-").is_err() && parse_alias("").is_err());
        assert!(parse_alias("z-4294967296").unwrap_err().ends_with("parsing \"4294967296\": value out of range"));
    }

    #[test]
    fn an_alias_is_written_in_one_way_and_holds_no_path() {
        let name = TabletName::parse("us-east_1.a-0000000007").unwrap();
        assert_eq!((name.to_string().as_str(), name.cell().as_str()), ("us-east_1.a-0000000007", "us-east_1.a"));
        assert_eq!(TabletName::of_record("tablets/zone1-0000000100/Tablet"), Some(TabletName::parse("zone1-0000000100")));
        assert_eq!(TabletName::of_record("tablets/zone1-0000000100/Other"), None);
        for (path, want) in [
            ("tablets/../../x/Tablet", "invalid tablet alias: '../../x'"),
            ("tablets//etc/x-0000000001/Tablet", "invalid tablet alias: '/etc/x-0000000001'"),
            ("tablets/../x-0000000001/Tablet", "invalid tablet alias: '../x-0000000001'"),
            ("tablets/..-0000000001/Tablet", "invalid character . in name .."),
            ("tablets/z\0-0000000001/Tablet", "invalid tablet alias"),
            ("tablets/z'-0000000001/Tablet", "invalid tablet alias"),
            ("tablets/z`-0000000001/Tablet", "invalid tablet alias"),
            ("tablets/z\\-0000000001/Tablet", "invalid tablet alias"),
            ("tablets/z1-100/Tablet", "not written as Vitess does: z1-0000000100"),
            ("tablets/z1-000000000000100/Tablet", "not written as Vitess does: z1-0000000100"),
            ("tablets/global-0000000001/Tablet", "no cell can be called global"),
            ("tablets//Tablet", "invalid tablet alias: ''"),
        ] {
            let text = TabletName::of_record(path).unwrap().unwrap_err();
            assert!(text.contains(want), "{path:?}: {text}");
        }
        let long = TabletName::parse(&format!("{}-0000000001", "z".repeat(300))).unwrap_err();
        assert!(long.ends_with("is too long"), "{long}");
        assert!(TabletName::parse(&format!("{}-0000000001", "z".repeat(64))).unwrap().to_string().len() < 255 - ".json".len());
    }
}
