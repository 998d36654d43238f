//! The planner is pure: as wasm it imports nothing, so it cannot reach a clock, a file, a network or randomness.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use wasmparser::{Parser, Payload};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project").to_owned()
}

/// Imports as `module.name`, and the number of exported functions.
fn imports_and_exports(wasm: &[u8]) -> (Vec<String>, usize) {
    let mut imports = Vec::new();
    let mut exports = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("valid wasm") {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.expect("a valid import");
                    imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                exports += section.into_iter().filter(|e| e.as_ref().is_ok_and(|e| e.name == "flow")).count();
            }
            _ => {}
        }
    }
    (imports, exports)
}

#[test]
fn the_planner_imports_nothing() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "vtflow-probe", "--target", "wasm32-unknown-unknown", "--config", ".cargo/wasm.toml"])
        .current_dir(root())
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the planner does not build for wasm32-unknown-unknown; `make setup-tests` adds the target");
    let wasm = std::fs::read(root().join("target/wasm32-unknown-unknown/debug/vtflow_probe.wasm")).expect("the module was built");
    let (imports, exports) = imports_and_exports(&wasm);
    assert_eq!(exports, 1, "the module holds a whole flow, or the check would prove nothing");
    assert!(wasm.len() > 100_000, "only {} bytes: the planner was not linked", wasm.len());
    assert_eq!(imports, Vec::<String>::new());
}
