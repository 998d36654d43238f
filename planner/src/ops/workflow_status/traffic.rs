//! Where the traffic of a workflow goes, as the text says that clients print, and the names of its two directions.

use std::collections::BTreeSet;

pub use crate::traffic::names::{forward_of, reverse_of};

/// Where the traffic of a workflow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Nobody can tell.
    Unknown,
    /// That of its tables goes different ways.
    Split,
    /// All of it as before.
    NotSwitched,
    /// Reads, at least some.
    Reads,
    /// Writes, and not all reads.
    Writes,
    /// Writes of some of its shards.
    SomeShards,
    /// All of it.
    Switched,
}

impl Traffic {
    /// By the text that clients print. `shards`: those of the workflow itself, which may be none of those that the text names. `is_split`:
    /// whether that of its tables goes different ways, which the text does not say.
    pub fn of(text: Option<&str>, shards: &[impl AsRef<str>], is_split: bool) -> Self {
        match Self::told(text.unwrap_or_default(), shards) {
            Self::Unknown => Self::Unknown,
            _ if is_split => Self::Split,
            told => told,
        }
    }

    fn told(text: &str, shards: &[impl AsRef<str>]) -> Self {
        let has = |part: &str| text.contains(part);
        if text.starts_with("Unknown") {
            return Self::Unknown;
        }
        if let Some((_, list)) = text.split_once("Writes partially switched, for shards: ") {
            let named: BTreeSet<&str> = list.split(',').map(str::trim).collect();
            let own = shards.iter().filter(|shard| named.contains(shard.as_ref())).count();
            if shards.is_empty() || own > 0 && own < shards.len() {
                Self::SomeShards
            } else if own == 0 {
                Self::NotSwitched
            } else {
                Self::Switched
            }
        } else if has("Writes Switched") {
            if has("All Reads Switched") { Self::Switched } else { Self::Writes }
        } else if !has("Writes Not Switched") {
            Self::Unknown
        } else if has("Reads Not Switched") {
            Self::NotSwitched
        } else {
            Self::Reads
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_read_from_the_text() {
        let told = |text, shards: &[&str]| Traffic::of(Some(text), shards, false);
        for (text, want) in [
            ("Reads Not Switched. Writes Not Switched", Traffic::NotSwitched),
            ("All Reads Switched. Writes Not Switched", Traffic::Reads),
            ("Reads partially switched. Replica not switched. All Rdonly Reads Switched. Writes Not Switched", Traffic::Reads),
            ("Reads Not Switched. Writes Switched", Traffic::Writes),
            ("All Reads Switched. Writes Switched", Traffic::Switched),
            ("All Reads Switched. All Writes Switched", Traffic::Switched),
            ("Reads partially switched, for shards: -80. Writes partially switched, for shards: -80", Traffic::SomeShards),
            ("", Traffic::Unknown),
            ("Unknown: etcd", Traffic::Unknown),
            ("Unknown: no Writes Switched", Traffic::Unknown),
        ] {
            assert_eq!(told(text, &[]), want, "{text}");
        }
        assert_eq!(Traffic::of(None, &[""; 0], true), Traffic::Unknown);
        let text = "Reads partially switched, for shards: -40,40-80. Writes partially switched, for shards: -40,40-80";
        for (own, want) in [
            (&["80-"][..], Traffic::NotSwitched),
            (&["-40"], Traffic::Switched),
            (&["-40", "40-80"], Traffic::Switched),
            (&["-40", "80-"], Traffic::SomeShards),
        ] {
            assert_eq!(told(text, own), want, "{own:?}");
        }
    }
}
