//! A crate as WebAssembly.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

/// What becomes WebAssembly. All of it is built whichever is asked for: at once, what they share is compiled once.
const PACKAGES: [&str; 2] = ["vtflow-web", "vtflow-planner-component"];

/// Builds a crate for `wasm32-unknown-unknown` with the settings of `.cargo/wasm.toml`; the path of its module.
pub(crate) fn module(root: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--target", "wasm32-unknown-unknown", "--config", ".cargo/wasm.toml"])
        .args(PACKAGES.iter().flat_map(|package| ["-p", package]))
        .current_dir(root)
        // Settings of the caller's environment would go before those of the file.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()?;
    if !built.success() {
        bail!("{package} does not build for wasm32-unknown-unknown; `rustup target add wasm32-unknown-unknown` may be missing");
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    Ok(target.join("wasm32-unknown-unknown/debug").join(format!("{}.wasm", package.replace('-', "_"))))
}
