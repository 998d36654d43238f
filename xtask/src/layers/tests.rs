//! Small trees with one thing wrong each.

use std::fs;

use tempfile::TempDir;

use super::*;

const LIST: &str = "# The house\n\n## Crates\n\n- `one`: the only one\n\n## Layers of `one/src`\n\n";

/// A workspace of one crate: its files below `src`, and the lines of its layers.
fn house(files: &[(&str, &str)], layers: &str) -> TempDir {
    let root = TempDir::new().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("Cargo.toml", "[workspace]\nmembers = [\"one\"]\n");
    write(DOCUMENT, &format!("{LIST}{layers}"));
    for (path, text) in files {
        write(&format!("one/src/{path}"), text);
    }
    root
}

fn faults(files: &[(&str, &str)], layers: &str) -> Vec<String> {
    examine(house(files, layers).path()).unwrap().faults
}

/// Who imports whom, in words.
fn imported(files: &[(&str, &str)]) -> Vec<String> {
    let root = house(files, "");
    let sources = Sources::read(&root.path().join("one/src")).unwrap();
    let imports = imports::imports(&sources);
    let word = |(&(from, to), named): (&(usize, usize), &imports::Named)| {
        format!("{}:{} {} {}", sources.files[from], named.line, named.path, sources.files[to])
    };
    let mut words: Vec<_> = imports.iter().map(word).collect();
    words.sort();
    words
}

#[test]
fn a_house_in_order_has_no_faults() {
    let files = [
        ("lib.rs", "mod low;\nmod high;\npub use high::top;\n"),
        ("low/mod.rs", "mod inner;\npub use inner::X;\n"),
        ("low/inner.rs", "pub struct X;\n"),
        ("high.rs", "use crate::low::X;\npub fn top(_: X) {}\n"),
    ];
    let layers = "- `low/`: below\n- `high.rs`, `lib.rs`: above\n";
    assert_eq!(faults(&files, layers), [""; 0]);
}

#[test]
fn what_has_the_name_of_its_crate_is_that_crates() {
    let files =
        [("lib.rs", "mod a;\npub use a::f;\n"), ("a.rs", "use hostname::hostname;\npub fn f() -> String { hostname() }\n")];
    assert_eq!(imported(&files), [""; 0]);
}

#[test]
fn a_circle_is_told_as_a_chain_with_each_line() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "\nuse crate::b::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\n\n\nfn f() { super::c::g(); }\n"),
        ("c.rs", "use super::a;\npub fn g() -> Option<a::A> { None }\n"),
    ];
    let want = "one/src: a circle of 3 files: a.rs -> b.rs -> c.rs -> a.rs\
        \n    one/src/a.rs:2 names crate::b::B, of one/src/b.rs\
        \n    one/src/b.rs:4 names super::c::g, of one/src/c.rs\
        \n    one/src/c.rs:2 names a::A, of one/src/a.rs";
    assert_eq!(faults(&files, "- `a.rs`, `b.rs`, `c.rs`, `lib.rs`: all\n"), [want]);
}

#[test]
fn a_folder_and_its_own_file_may_be_a_circle() {
    let files = [
        ("lib.rs", "mod a;\n"),
        ("a/mod.rs", "mod b;\npub struct A;\npub fn f() { b::g(A); }\n"),
        ("a/b.rs", "use super::A;\npub fn g(_: A) {}\n"),
    ];
    let found = faults(&files, "- `a/`, `lib.rs`: all\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("one/src: a circle of 2 files: a/mod.rs -> a/b.rs -> a/mod.rs\n"), "{found:?}");
}

#[test]
fn an_import_of_a_higher_layer_is_told() {
    let files = [
        ("lib.rs", "mod low;\nmod high;\n"),
        ("low.rs", "use crate::high::X;\npub struct Y(X);\n"),
        ("high.rs", "pub struct X;\n"),
    ];
    let found = faults(&files, "- `low.rs`: below\n- `high.rs`: above\n- `lib.rs`: the face\n");
    let want = "one/src/low.rs:1 names crate::high::X, of one/src/high.rs: `low.rs` is a lower layer than `high.rs`".to_owned();
    assert_eq!(found, [want]);
}

#[test]
fn the_innermost_place_has_a_file() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a/mod.rs", "mod top;\npub struct A;\n"),
        ("a/top.rs", "use crate::b::B;\npub struct Top(B);\n"),
        ("b.rs", "use crate::a::A;\npub struct B(A);\n"),
    ];
    assert_eq!(faults(&files, "- `lib.rs`: the face\n- `a/`: below\n- `b.rs`: between\n- `a/top.rs`: above\n"), [""; 0]);
    let found = faults(&files, "- `lib.rs`: the face\n- `a/`: below\n- `b.rs`: between\n");
    assert_eq!(found, ["one/src/a/top.rs:1 names crate::b::B, of one/src/b.rs: `a/` is a lower layer than `b.rs`"]);
}

#[test]
fn a_place_without_a_layer_is_told_with_where_it_may_go() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "pub struct A;\n"),
        ("b/mod.rs", "mod inner;\npub use inner::B;\n"),
        ("b/inner.rs", "pub struct B(crate::a::A);\n"),
        ("c.rs", "pub struct C(crate::b::B);\n"),
    ];
    let found = faults(&files, "- `a.rs`: low\n- `c.rs`: high\n- `lib.rs`: the face\n");
    let want = "one/src/b/ is in no layer of docs/architecture.md:7; it imports `a.rs` (line 9); `c.rs` (line 10) imports it";
    assert_eq!(found, [want]);
}

#[test]
fn a_layer_that_is_gone_or_twice_or_of_another_form_is_told() {
    let found =
        faults(&[("lib.rs", "")], "- `gone/`: once\n- `lib.rs`: the face\n- `lib.rs`: again\n- lib.rs without its marks\n");
    let want = [
        "docs/architecture.md: line 12 is not of the form: - `place`, `place`: what they are",
        "docs/architecture.md:9: `gone/` is not in one/src",
        "docs/architecture.md:11: `lib.rs` is in the list twice",
    ];
    assert_eq!(found, want);
}

#[test]
fn a_crate_that_is_in_one_of_both_only_is_told() {
    let root = house(&[("lib.rs", "")], "- `lib.rs`: the face\n\n## Layers of `three/src`\n");
    fs::write(root.path().join("Cargo.toml"), "members = [\"one\", \"two\"]\n").unwrap();
    let document = root.path().join(DOCUMENT);
    let text = fs::read_to_string(&document).unwrap().replace("- `one`: the only one", "- `one`: the first\n- `zero`: gone");
    fs::write(document, text).unwrap();
    let want = [
        "two is a crate that docs/architecture.md does not list",
        "docs/architecture.md:6: `zero` is no crate of the workspace",
        "docs/architecture.md:12: `three/src` is of no crate of the workspace",
    ];
    assert_eq!(examine(root.path()).unwrap().faults, want);
}

#[test]
fn a_file_that_no_module_names_is_told() {
    let files = [("lib.rs", "#[cfg(test)]\nmod tests;\n"), ("tests.rs", "mod more;\n"), ("tests/more.rs", ""), ("left.rs", "")];
    let layers = "- `lib.rs`, `left.rs`, `tests.rs`, `tests/`: all\n";
    assert_eq!(faults(&files, layers), ["one/src/left.rs is in no module"]);
}

#[test]
fn names_lead_through_what_shows_them_to_the_file_that_defines_them() {
    let files = [
        ("lib.rs", "pub mod face;\nmod user;\npub use face::Deep;\npub mod made { include!(\"x.rs\"); }\n"),
        (
            "face/mod.rs",
            "mod a;\npub(crate) mod b;\npub use a::{Deep, table as shown};\nmod table;\npub use table::{Row, table};\n",
        ),
        ("face/a.rs", "pub struct Deep;\npub fn table() {}\n"),
        ("face/b.rs", "pub const LIMIT: usize = 1;\n"),
        ("face/table.rs", "pub struct Row;\npub fn table() {}\n"),
        (
            "user.rs",
            "use crate::face;\n\n\nfn f() -> face::Deep { face::b::LIMIT; face::table() }\nfn m() { crate::made::Message::default(); }\n",
        ),
    ];
    assert_eq!(
        imported(&files),
        [
            "user.rs:4 face::Deep face/a.rs",
            "user.rs:4 face::b::LIMIT face/b.rs",
            "user.rs:4 face::table face/table.rs",
            "user.rs:5 crate::made::Message::default lib.rs",
        ]
    );
    let others = [
        ("lib.rs", files[0].1),
        ("face/mod.rs", files[1].1),
        ("face/a.rs", files[2].1),
        ("face/b.rs", files[3].1),
        ("face/table.rs", files[4].1),
        ("user.rs", "use crate::face::{b, shown};\nuse crate::Deep;\n"),
    ];
    let want = ["user.rs:1 crate::face::b face/b.rs", "user.rs:1 crate::face::shown face/a.rs"].map(str::to_owned).to_vec();
    assert_eq!(imported(&others), want, "the first line that names a file counts");
}

#[test]
fn what_is_shown_is_imported_once_it_is_used() {
    let of = |user| imported(&[("lib.rs", user), ("a.rs", "pub struct A;\npub fn f() {}\npub mod b { pub struct B; }\n")]);
    assert_eq!(of("mod a;\npub use a::A;\npub use a::*;\n"), [""; 0]);
    assert_eq!(of("mod a;\npub use a::A;\nfn g() -> A { A }\n"), ["lib.rs:3 A a.rs"]);
    assert_eq!(of("mod a;\npub use a::f;\nfn g(f: u8) -> u8 { f }\n"), [""; 0], "a variable of that name");
}

#[test]
fn all_of_a_module_is_imported_as_what_is_taken_of_it() {
    let files = |user| {
        [
            ("lib.rs", "mod face;\nmod user;\n"),
            ("face.rs", "mod a;\npub use a::A;\npub struct Own;\n"),
            ("face/a.rs", "pub struct A;\n"),
            ("user.rs", user),
        ]
    };
    assert_eq!(imported(&files("use crate::face::*;\nfn f(_: A, _: String) {}\n")), ["user.rs:2 A face/a.rs"]);
    assert_eq!(imported(&files("use crate::face::*;\nfn f(_: Own) {}\n")), ["user.rs:2 Own face.rs"]);
    assert_eq!(imported(&files("use crate::face::*;\n")), ["user.rs:1 crate::face face.rs"], "for its traits' methods, say");
}

#[test]
fn a_module_may_have_the_name_of_a_function() {
    let files = |user| [("lib.rs", "mod a;\nmod user;\n"), ("a.rs", "pub fn f() {}\n"), ("user.rs", user)];
    let user = "use crate::a;\n\nfn a() { a::f(); }\nfn b() { a(); }\n";
    assert_eq!(imported(&files(user)), ["user.rs:3 a::f a.rs"]);
    let parent = [("lib.rs", "mod a;\nfn a() {}\nfn b() { a(); a::f(); }\n"), ("a.rs", "pub fn f() { super::a(); }\n")];
    assert_eq!(imported(&parent), ["a.rs:1 super::a lib.rs", "lib.rs:3 a::f a.rs"]);
}

#[test]
fn what_is_shown_of_another_crate_is_the_file_s_that_shows_it() {
    let files = [
        ("lib.rs", "mod a;\nmod user;\n"),
        ("a.rs", "pub use std::fmt;\n"),
        ("user.rs", "use crate::a;\nfn f(_: a::fmt::Error) {}\n"),
    ];
    assert_eq!(imported(&files), ["user.rs:2 a::fmt::Error a.rs"]);
}

#[test]
fn a_parent_hands_its_own_imports_on() {
    let files = [
        ("lib.rs", "mod a;\nmod p;\n"),
        ("a.rs", "pub struct A;\n"),
        ("p/mod.rs", "mod c;\nuse crate::a::A;\nuse std::fmt;\npub struct P(A);\n"),
        ("p/c.rs", "use super::{fmt, A};\n"),
    ];
    assert_eq!(imported(&files), ["p/c.rs:1 super::A a.rs", "p/mod.rs:2 crate::a::A a.rs"]);
}

#[test]
fn macros_and_attributes_name_things_too() {
    let files = |user| [("lib.rs", "mod a;\nmod plain;\nmod user;\n"), ("a.rs", ""), ("plain.rs", ""), ("user.rs", user)];
    for (user, want) in [
        ("fn f() { vec![1, crate::a::N]; }", "user.rs:1 crate::a::N a.rs"),
        ("use crate::a;\nfn f() { print!(\"{}\", a::g(1)); }", "user.rs:2 a::g a.rs"),
        ("macro_rules! m { () => { $crate::a::N } }", "user.rs:1 crate::a::N a.rs"),
        ("#[arg(value_parser = crate::a::parse)]\nstruct S;", "user.rs:1 crate::a::parse a.rs"),
        ("use crate::plain;\n\nstruct S { #[serde(default, with = \"plain\")] x: u8 }", "user.rs:3 plain::serialize plain.rs"),
        ("struct S { #[serde(with = \"crate::plain::list\")] x: u8 }", "user.rs:1 crate::plain::list::serialize plain.rs"),
    ] {
        assert_eq!(imported(&files(user)), [want], "{user}");
    }
    let none = "/// See [`crate::a::N`].\npub(in crate::user) fn f() { x.a::<u8>(); ::a::N; println!(\"crate::a\"); syn::parse_quote!(crate::a::N); }";
    assert_eq!(imported(&files(none)), [""; 0]);
}

#[test]
fn tests_are_not_counted() {
    let files = |user| [("lib.rs", "mod a;\nmod user;\n"), ("a.rs", ""), ("user.rs", user)];
    for user in [
        "#[cfg(test)]\nmod tests { use crate::a::X; fn f() { crate::a::g(); } }",
        "#[cfg(all(test, unix))]\nmod tests { use crate::a::X; }",
        "#[cfg(test)]\nuse crate::a::X;",
        "#[cfg(test)]\nfn f() { crate::a::g(); }",
        "struct S;\nimpl S { #[cfg(test)] fn f() { crate::a::g(); } }",
    ] {
        assert_eq!(imported(&files(user)), [""; 0], "{user}");
    }
    for user in ["#[cfg(not(test))]\nuse crate::a::X;", "#[cfg(any(test, unix))]\nuse crate::a::X;"] {
        assert_eq!(imported(&files(user)), ["user.rs:2 crate::a::X a.rs"], "{user}");
    }
}

#[test]
fn modules_in_braces_belong_to_their_file() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "pub mod inner { use super::Own; pub struct I(Own, super::super::b::B); }\npub struct Own;\n"),
        ("b.rs", "pub struct B;\n"),
    ];
    assert_eq!(imported(&files), ["a.rs:1 super::super::b::B b.rs"]);
}

#[test]
fn a_use_within_a_function_counts() {
    let files = [("lib.rs", "mod a;\nfn f() {\n    use a::g;\n    g();\n}\n"), ("a.rs", "pub fn g() {}\n")];
    assert_eq!(imported(&files), ["lib.rs:3 a::g a.rs"]);
}
