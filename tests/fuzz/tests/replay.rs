//! Every input that is kept, through its target: those that reach different code, and those that something was wrong with once.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use vtflow_fuzz::{TARGETS, Target};

/// The inputs in a folder, by name. None if there is no such folder.
fn inputs(folder: &str, target: &Target) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target.name);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn nothing_is_wrong_with_the_inputs_that_are_kept() {
    let mut failed = Vec::new();
    for target in TARGETS {
        let kept = inputs("corpus", target);
        assert!(!kept.is_empty(), "{} has no inputs", target.name);
        for file in kept.into_iter().chain(inputs("found", target)) {
            let input = fs::read(&file).expect("an input");
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                failed.push(file.display().to_string());
            }
        }
    }
    assert!(failed.is_empty(), "{} inputs:\n{}", failed.len(), failed.join("\n"));
}

/// The inputs to begin with, of which the kept ones are made: a few of each target, `SEEDS=all` for all.
#[test]
fn nothing_is_wrong_with_the_inputs_to_begin_with() {
    let step = if std::env::var_os("SEEDS").is_some() { 1 } else { 16 };
    let mut failed = Vec::new();
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has none", target.name);
        (target.run)(&[]);
        for (name, seed) in seeds.into_iter().step_by(step) {
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&seed))).is_err() {
                failed.push(format!("{} {name}", target.name));
            }
        }
    }
    assert!(failed.is_empty(), "{} inputs:\n{}", failed.len(), failed.join("\n"));
}
