//! Names of nodes: a root and a relative path joined as Vitess joins them.
//!
//! Purely lexical, no IO. Source: Go's `path.Join` and `path.Clean`, which every back end of `go/vt/topo` uses.

/// Joins non-empty elements by slashes and cleans the result: no double slash, no `.`, no `..` but at the front of a relative
/// path, no slash at the end. Nothing to join is the empty text.
pub fn join(elements: &[&str]) -> String {
    let parts: Vec<&str> = elements.iter().copied().filter(|element| !element.is_empty()).collect();
    if parts.is_empty() { String::new() } else { clean(&parts.join("/")) }
}

/// The name of a directory, with the slash at its end that etcd's listings put there. The root directory is `/`.
pub fn directory(root: &str, prefix: &str) -> String {
    let mut node = join(&[root, prefix]);
    if !node.ends_with('/') {
        node.push('/');
    }
    node
}

/// Whether a relative path stays where it says: no empty, `.` or `..` element.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.split('/').all(|element| !matches!(element, "" | "." | ".."))
}

fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => match kept.last() {
                Some(&last) if last != ".." => {
                    kept.pop();
                }
                _ if rooted => {}
                _ => kept.push(".."),
            },
            _ => kept.push(element),
        }
    }
    let joined = kept.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_joined_like_go_does() {
        for (root, path, want) in [
            ("/vitess/global", "keyspaces/ks/Keyspace", "/vitess/global/keyspaces/ks/Keyspace"),
            ("/vitess/global/", "keyspaces", "/vitess/global/keyspaces"),
            ("vitess/global", "keyspaces", "vitess/global/keyspaces"),
            ("", "tablets/a/Tablet", "tablets/a/Tablet"),
            ("/", "tablets", "/tablets"),
            ("/vt/global", "cells//CellInfo", "/vt/global/cells/CellInfo"),
            ("/vt/global", "keyspaces/../x/shards/", "/vt/global/x/shards"),
            ("/vt", "../../../x", "/x"),
            ("vt", "../../x", "../x"),
        ] {
            assert_eq!(join(&[root, path]), want, "{root} {path}");
        }
        assert_eq!(join(&["", ""]), "");
    }

    #[test]
    fn directories_end_in_one_slash() {
        assert_eq!(directory("/vt/global/", "keyspaces/nope/shards/"), "/vt/global/keyspaces/nope/shards/");
        assert_eq!(directory("/", ""), "/");
        assert_eq!(directory("", "tablets/"), "tablets/");
    }
}
