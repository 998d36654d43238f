//! A crate as WebAssembly.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

/// Builds a crate for `wasm32-unknown-unknown` with a profile; the path of its module.
pub(crate) fn module(root: &Path, package: &str, profile: &str) -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "-p", package, "--target", "wasm32-unknown-unknown", "--profile", profile])
        .current_dir(root)
        .status()?;
    if !built.success() {
        bail!("{package} does not build for wasm32-unknown-unknown; `rustup target add wasm32-unknown-unknown` may be missing");
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    Ok(target.join("wasm32-unknown-unknown").join(profile).join(format!("{}.wasm", package.replace('-', "_"))))
}
