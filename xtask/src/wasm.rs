//! A crate as WebAssembly.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

/// Builds a crate for `wasm32-unknown-unknown` with the settings of `.cargo/wasm.toml`, and of the files named besides; the path of its
/// module.
pub(crate) fn module(root: &Path, package: &str, settings: &[&str]) -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--target", "wasm32-unknown-unknown", "--config", ".cargo/wasm.toml", "-p", package])
        .args(settings.iter().flat_map(|file| ["--config", file]))
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
