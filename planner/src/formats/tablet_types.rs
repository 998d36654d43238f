//! Column `tablet_types`: which tablets of the source a stream may read from, and whether their order matters.
//!
//! Facts: `go/vt/discovery/utils.go:ParseTabletTypesAndOrder`, `go/vt/topo/topoproto/tablet.go:ParseTabletTypes`, v10 to v24.

use std::borrow::Cow;

use crate::{
    formats::{RowError, quote::quoted},
    proto::{tabletmanagerdata::TabletSelectionPreference, topodata::TabletType},
};

/// The tablet types of a list such as `in_order:REPLICA,primary`, and the preference: in order if it begins with `in_order:`,
/// any otherwise. Nothing is trimmed; an empty list means the tablet's default. `MASTER` and `BATCH` are old names of `PRIMARY`
/// and `RDONLY`.
///
/// A name that is no tablet type is `UNKNOWN`, 0, in the list, and the first one is the error.
pub fn parse(text: &str) -> (Vec<i32>, i32, Option<RowError>) {
    let (list, preference) = match text.strip_prefix("in_order:") {
        Some(list) => (list, TabletSelectionPreference::Inorder),
        None => (text, TabletSelectionPreference::Any),
    };
    let mut error = None;
    let mut types = Vec::new();
    for name in list.split(',').filter(|_| !list.is_empty()) {
        // Nearly always they are written so.
        let found = by_name(name).or_else(|| by_upper_case(name));
        types.push(found.map_or(0, i32::from));
        if found.is_none() && error.is_none() {
            let shown = if name.len() <= crate::limits::EXCERPT_BYTES { name.to_owned() } else { quoted(name) };
            error = Some(RowError::new("tablet_types", format!("unknown TabletType {shown}"), text.as_bytes()));
        }
    }
    (types, preference as i32, error)
}

/// The list that was read last: most rows have the one of the row before.
#[derive(Default)]
pub(crate) struct Last<'a> {
    text: Cow<'a, str>,
    types: Vec<i32>,
    preference: i32,
}

impl<'a> Last<'a> {
    /// As [`parse`].
    pub(crate) fn parse(&mut self, text: Cow<'a, str>) -> (Vec<i32>, i32, Option<RowError>) {
        if text == self.text {
            return (self.types.clone(), self.preference, None);
        }
        let (types, preference, error) = parse(&text);
        if error.is_none() {
            *self = Self { text, types: types.clone(), preference };
        }
        (types, preference, error)
    }
}

/// The type whose name a text is in upper case.
fn by_upper_case(text: &str) -> Option<TabletType> {
    /// Bytes of the longest name, and some.
    const ROOM: usize = 16;
    let mut upper = [0; ROOM];
    match upper.get_mut(..text.len()) {
        Some(upper) if text.is_ascii() => {
            upper.copy_from_slice(text.as_bytes());
            upper.make_ascii_uppercase();
            std::str::from_utf8(upper).ok().and_then(by_name)
        }
        // Letters outside of ASCII may become such that are inside.
        _ => by_name(&text.to_uppercase()),
    }
}

fn by_name(name: &str) -> Option<TabletType> {
    match name {
        // Names of v10 and v11, still stored by old workflows.
        "MASTER" => Some(TabletType::Primary),
        "BATCH" => Some(TabletType::Rdonly),
        _ => TabletType::from_str_name(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tablet_types() {
        for (text, types, preference, error) in [
            ("", vec![], 0, None),
            ("in_order:", vec![], 1, None),
            ("in_order:REPLICA,primary", vec![2, 1], 1, None),
            ("replica,primary", vec![2, 1], 0, None),
            ("MASTER,BATCH", vec![1, 3], 0, None),
            ("master,Rdonly,SPARE,experimental,backup,restore,drained,unknown", vec![1, 3, 4, 5, 6, 7, 8, 0], 0, None),
            ("ſpare,PRıMARY", vec![4, 1], 0, None),
            ("replica, primary", vec![2, 0], 0, Some("unknown TabletType  primary")),
            ("IN_ORDER:replica", vec![0], 0, Some("unknown TabletType IN_ORDER:replica")),
            ("replica,", vec![2, 0], 0, Some("unknown TabletType ")),
            ("in_order:in_order:replica,x", vec![0, 0], 1, Some("unknown TabletType in_order:replica")),
        ] {
            let (got, order, wrong) = parse(text);
            assert_eq!((&got, order, wrong.as_ref().map(|wrong| wrong.reason.as_str())), (&types, preference, error), "{text:?}");
            for other in ["", "replica", "in_order:replica", "x", text] {
                let mut last = Last::default();
                last.parse(other.into());
                assert_eq!(last.parse(text.into()), (got.clone(), order, wrong.clone()), "{text:?} behind {other:?}");
            }
        }
    }
}
