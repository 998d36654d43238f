//! Builds that cargo cannot do alone: `cargo xtask web`, `cargo xtask size`.

mod web;

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("size") => size(),
        Some("web") => web::build(root()?),
        Some(other) => bail!("no such task: {other}. There are: size, web"),
        None => bail!("which task? There are: size, web"),
    }
}

fn root() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask/ is in the project")
}

/// Builds the planner as a bare wasm module and says how large it is.
#[allow(clippy::print_stdout, reason = "its only purpose")]
fn size() -> anyhow::Result<()> {
    let root = root()?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "-p", "vtflow-probe", "--target", "wasm32-unknown-unknown", "--profile", "wasm"])
        .current_dir(root)
        .status()?;
    if !built.success() {
        bail!("the planner does not build for wasm32-unknown-unknown; `rustup target add wasm32-unknown-unknown` may be missing");
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let module = target.join("wasm32-unknown-unknown/wasm/vtflow_probe.wasm");
    let bytes = fs::metadata(&module).with_context(|| format!("{} was built", module.display()))?.len();
    println!("planner as wasm: {bytes} bytes");
    Ok(())
}
