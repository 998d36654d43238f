//! What cargo cannot do alone: `cargo xtask component` and `web` build, `layers` and `size` check. Several can be named at once.

mod component;
mod layers;
mod output;
mod size;
mod wasm;
mod web;

use std::{env, path::Path};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let tasks: Vec<String> = env::args().skip(1).collect();
    if tasks.is_empty() {
        bail!("which task? There are: component, layers, size, web");
    }
    for task in tasks {
        match task.as_str() {
            "component" => component::build(root()?)?,
            "layers" => layers::check(root()?)?,
            "size" => size::print(root()?)?,
            "web" => web::build(root()?)?,
            other => bail!("no such task: {other}. There are: component, layers, size, web"),
        }
    }
    Ok(())
}

fn root() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask/ is in the project")
}
