//! Builds that cargo cannot do alone: `cargo xtask component`, `cargo xtask web`, `cargo xtask size`.

mod component;
mod size;
mod wasm;
mod web;

use std::{env, path::Path};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("component") => component::build(root()?),
        Some("size") => size::print(root()?),
        Some("web") => web::build(root()?),
        Some(other) => bail!("no such task: {other}. There are: component, size, web"),
        None => bail!("which task? There are: component, size, web"),
    }
}

fn root() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask/ is in the project")
}
