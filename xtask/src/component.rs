//! The planner as a component, `dist/planner.wasm`: the core module that rustc makes, wrapped in its interface. The runner embeds
//! it when it is built.

use std::{fs, path::Path};

use anyhow::Context;
use wit_component::ComponentEncoder;

use crate::{output, wasm};

/// Builds it.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    let module = wasm::module(root, "vtflow-planner-component", &[".cargo/component.toml"])?;
    let module = fs::read(&module).with_context(|| module.display().to_string())?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .context("the module is no component of planner/component/wit/planner.wit")?;
    output::write(&root.join("dist/planner.wasm"), &component)
}
