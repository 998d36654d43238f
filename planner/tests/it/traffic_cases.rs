//! The list of the cases of traffic is whole, and says the truth: each has a test that names it, or a reason.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, fs, path::Path};

const CASES: &str = include_str!("traffic_cases.txt");

/// The function of that name in a file, with the comments and attributes above it.
fn function<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.find(&format!("fn {name}("))?;
    let above = text.get(..at)?.rfind("\n\n").map_or(0, |end| end + 2);
    let from = text.get(above..)?;
    let line = from.lines().find(|line| line.contains(&format!("fn {name}(")))?;
    let indent = line.get(..line.len() - line.trim_start().len())?;
    from.find(&format!("\n{indent}}}")).and_then(|end| from.get(..end))
}

/// Whether a text has the name, and not only the beginning of a longer one.
fn names(text: &str, case: &str) -> bool {
    text.match_indices(case).any(|(at, _)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + case.len()..).unwrap_or_default());
        !before.ends_with(|c: char| c.is_ascii_alphanumeric()) && !after.starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

#[test]
fn every_case_has_a_test_that_names_it_or_a_reason() {
    #[allow(clippy::disallowed_methods, reason = "it reads tests, and is none of the planner")]
    let read = |path: &Path| fs::read_to_string(path);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = BTreeSet::new();
    for line in CASES.lines().filter(|line| !line.starts_with('#')) {
        let [case, about, test] = line.split(" | ").collect::<Vec<_>>()[..] else { panic!("three parts: {line}") };
        assert!(seen.insert(case.to_owned()) && !about.is_empty(), "{line}");
        if let Some(reason) = test.strip_prefix("- ") {
            assert!(reason.len() > 20, "{line}");
            continue;
        }
        let (file, name) = test.split_once(": ").expect("a file and a test");
        let text = read(&root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let test = function(&text, name).unwrap_or_else(|| panic!("{file} has no {name}"));
        assert!(test.contains("#[test]") || test.contains("#[tokio::test"), "{file}: {name} is no test");
        assert!(names(test, case), "{file}: {name} does not say that it is {case}");
    }
    let all = (1..=187).map(|number| format!("TR-{number}")).chain((1..=39).map(|number| format!("B{number}")));
    assert_eq!(seen, all.collect());
}
