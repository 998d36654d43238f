//! Column `tablet_types`: which tablets of the source a stream may read from, and whether their order matters.
//!
//! Facts: `go/vt/discovery/utils.go:ParseTabletTypesAndOrder`, `go/vt/topo/topoproto/tablet.go:ParseTabletTypes`, v10 to v24.

use super::RowError;
use super::quote::quoted;
use crate::proto::tabletmanagerdata::TabletSelectionPreference;
use crate::proto::topodata::TabletType;

/// The tablet types of a list such as `in_order:REPLICA,primary`, and the preference: in order if it begins with `in_order:`,
/// any otherwise. Nothing is trimmed; an empty list means the tablet's default.
///
/// # Errors
/// A name that is no tablet type. `MASTER` and `BATCH` are old names of `PRIMARY` and `RDONLY`.
pub fn parse(text: &str) -> Result<(Vec<i32>, i32), RowError> {
    let (list, preference) = match text.strip_prefix("in_order:") {
        Some(list) => (list, TabletSelectionPreference::Inorder),
        None => (text, TabletSelectionPreference::Any),
    };
    let mut types = Vec::new();
    if !list.is_empty() {
        for name in list.split(',') {
            types.push(by_name(&name.to_uppercase()).ok_or_else(|| {
                let shown = if name.len() <= crate::limits::EXCERPT_BYTES { name.to_owned() } else { quoted(name) };
                RowError::new("tablet_types", format!("unknown TabletType {shown}"), text.as_bytes())
            })? as i32);
        }
    }
    Ok((types, preference as i32))
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
        for (text, want) in [
            ("", Ok((vec![], 0))),
            ("in_order:", Ok((vec![], 1))),
            ("in_order:REPLICA,primary", Ok((vec![2, 1], 1))),
            ("replica,primary", Ok((vec![2, 1], 0))),
            ("MASTER,BATCH", Ok((vec![1, 3], 0))),
            ("master,Rdonly,SPARE,experimental,backup,restore,drained,unknown", Ok((vec![1, 3, 4, 5, 6, 7, 8, 0], 0))),
            ("replica, primary", Err("unknown TabletType  primary")),
            ("IN_ORDER:replica", Err("unknown TabletType IN_ORDER:replica")),
            ("replica,", Err("unknown TabletType ")),
            ("in_order:in_order:replica", Err("unknown TabletType in_order:replica")),
        ] {
            assert_eq!(parse(text).map_err(|error| error.reason), want.map_err(str::to_owned), "{text:?}");
        }
    }
}
