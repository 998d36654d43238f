//! What a workflow moves, and how: by what its traffic is switched.
//!
//! Facts: `go/vt/vtctl/workflow/traffic_switcher.go:buildTrafficSwitcher`, `isPartialMoveTables`, v24.

use crate::proto::binlogdata::{VReplicationWorkflowSubType as SubType, VReplicationWorkflowType as Type};

/// What decides where the traffic of a workflow goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Tables of a whole keyspace: routing rules.
    #[default]
    Standard,
    /// Tables of some shards: shard routing rules.
    Partial,
    /// One tenant's tables: keyspace routing rules.
    MultiTenant,
    /// Tables of another cluster: nothing here.
    Migrate,
    /// Shards of one keyspace: shard records and what each cell serves.
    Reshard,
}

impl Kind {
    /// By its streams. `sources` and `targets`: the names of the shards on both sides.
    pub(crate) fn of(stream: &Described<'_>, sources: &[&str], targets: &[&str]) -> Self {
        let is_tables = stream.source_keyspace != stream.target_keyspace || sources.iter().any(|shard| targets.contains(shard));
        if stream.is_external || stream.workflow_type == Type::Migrate.as_str_name() {
            Self::Migrate
        } else if !is_tables {
            Self::Reshard
        } else if stream.has_tenant {
            Self::MultiTenant
        } else if stream.workflow_sub_type == SubType::Partial.as_str_name() || is_partial(sources, targets) {
            Self::Partial
        } else {
            Self::Standard
        }
    }

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Partial => "partial",
            Self::MultiTenant => "multi_tenant",
            Self::Migrate => "migrate",
            Self::Reshard => "reshard",
        }
    }
}

/// What a workflow's streams say of it as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Described<'a> {
    pub(crate) source_keyspace: &'a str,
    pub(crate) target_keyspace: &'a str,
    pub(crate) workflow_type: &'a str,
    pub(crate) workflow_sub_type: &'a str,
    pub(crate) is_external: bool,
    pub(crate) has_tenant: bool,
}

/// Whether both sides are the same part of the key range, and not all of it.
pub(crate) fn is_partial(source: &[impl AsRef<str>], target: &[impl AsRef<str>]) -> bool {
    let (source, target) = (whole(source), whole(target));
    matches!((source, target), (Some(source), Some(target)) if source == target && !(source.1.is_empty() && source.2.is_empty()))
}

/// Whether both sides are the same part of the key range.
pub(crate) fn is_whole<'a>(source: impl IntoIterator<Item = &'a String>, target: impl IntoIterator<Item = &'a String>) -> bool {
    let (source, target): (Vec<_>, Vec<_>) = (source.into_iter().collect(), target.into_iter().collect());
    matches!((whole(&source), whole(&target)), (Some(source), Some(target)) if (&source.1, &source.2) == (&target.1, &target.2))
}

/// How many shards, and the range from the start of the first to the end of the last. `None`: no key range.
fn whole(shards: &[impl AsRef<str>]) -> Option<(usize, String, String)> {
    let mut ranges: Vec<_> = shards.iter().filter_map(|shard| shard.as_ref().split_once('-')).collect();
    ranges.sort_unstable();
    let start = ranges.first()?.0.to_lowercase();
    // An open end is the greatest.
    let end = if ranges.iter().any(|(_, end)| end.is_empty()) { "" } else { ranges.iter().map(|(_, end)| *end).max()? };
    Some((shards.len(), start, end.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_is_told_from_the_streams() {
        let tables = Described { source_keyspace: "a", target_keyspace: "b", ..Described::default() };
        let within = Described { source_keyspace: "a", target_keyspace: "a", ..Described::default() };
        let (all, half): (&[&str], &[&str]) = (&["-"], &["-80"]);
        for (stream, sources, targets, want) in [
            (tables.clone(), all, all, Kind::Standard),
            (tables.clone(), all, &["-80", "80-"][..], Kind::Standard),
            (tables.clone(), half, half, Kind::Partial),
            (tables.clone(), half, &["-40", "40-80"], Kind::Standard),
            (Described { workflow_sub_type: "Partial", ..tables.clone() }, all, all, Kind::Partial),
            (Described { has_tenant: true, ..tables.clone() }, half, half, Kind::MultiTenant),
            (Described { is_external: true, has_tenant: true, ..tables.clone() }, all, all, Kind::Migrate),
            (Described { workflow_type: "Migrate", ..within.clone() }, all, half, Kind::Migrate),
            (within.clone(), all, &["-80", "80-"], Kind::Reshard),
            (Described { has_tenant: true, ..within.clone() }, all, half, Kind::Reshard),
            (within, half, half, Kind::Partial),
        ] {
            assert_eq!(Kind::of(&stream, sources, targets), want, "{stream:?} {sources:?} {targets:?}");
        }
    }

    #[test]
    fn two_sides_are_the_same_part_of_the_key_range_or_not() {
        for (source, target, is_same, is_part) in [
            ("-", "-", true, false),
            ("-80 80-", "-", true, false),
            ("-80", "-80", true, true),
            ("40-C0", "40-c0", true, true),
            ("40-80 80-c0", "80-c0 40-80", true, true),
            ("-80", "40-80 -40", true, false),
            ("-80", "80-", false, false),
            ("-80", "-", false, false),
            ("80-", "-", false, false),
            ("0", "0", false, false),
            ("0", "-", false, false),
            ("", "", false, false),
        ] {
            let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let (a, b) = (names(source), names(target));
            assert_eq!((is_whole(&a, &b), is_partial(&a, &b)), (is_same, is_part), "{source} {target}");
        }
    }
}
