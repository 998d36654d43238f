//! The list of mutants, as cargo-mutants makes it (`cargo mutants --list --json`) with the exclusions of `.cargo/mutants.toml`.

use std::{path::Path, process::Command};

use anyhow::{Context, bail};
use serde::Deserialize;

/// One change of the code that some test should notice.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    /// File, line, column and what is changed, as people read it; unique.
    pub(crate) name: String,
    /// From the workspace's root, with `/`.
    pub(crate) file: String,
    pub(crate) genre: Genre,
    /// What is put at `span`; empty: it is deleted.
    pub(crate) replacement: String,
    pub(crate) span: Span,
    #[serde(default)]
    pub(crate) function: Option<Function>,
}

/// What kind of code is changed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Function {
    /// With the name of its type: `Plan::groups`.
    pub(crate) function_name: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// Line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// All mutants of `package`, or those of the files that one of `files` (globs) names.
///
/// # Errors
/// cargo-mutants is missing, fails, or prints something else.
pub(crate) fn list(root: &Path, package: &str, files: &[String]) -> anyhow::Result<Vec<Mutant>> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["mutants", "--list", "--json", "--package", package]);
    for file in files {
        command.args(["--file", file]);
    }
    let out = command.output().context("cargo")?;
    if !out.status.success() {
        bail!("cargo mutants --list: {}", String::from_utf8_lossy(&out.stderr));
    }
    serde_json::from_slice(&out.stdout).context("what cargo mutants --list --json printed")
}
