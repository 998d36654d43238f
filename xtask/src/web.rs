//! The page and the npm package: the planner as wasm with its JavaScript, and the page's own files beside it.
//!
//! `dist/page` is a folder that any static host can serve; the runner embeds it when it is built. `dist/npm` can be published.

use std::{fs, path::Path};

use anyhow::Context;
use wasm_bindgen_cli_support::Bindgen;

use crate::output;

/// Builds both.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    let module = crate::wasm::module(root, "vtflow-web", &[])?;
    // Made beside the module first: of what is in dist/, only what differs is written.
    let made = module.with_file_name("dist");
    let (page, npm) = (made.join("page"), made.join("npm"));
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| format!("{} cannot be made anew", made.display()))?;
    }
    fs::create_dir_all(&npm)?;
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(&module)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true);
    bindgen.generate(&npm).context("wasm-bindgen")?;
    output::mirror(&root.join("web/page/src"), &page)?;
    output::mirror(&npm, &page.join("pkg"))?;
    let version = env!("CARGO_PKG_VERSION");
    let package = format!(
        "{{\n  \"name\": \"vtflow-planner\",\n  \"version\": \"{version}\",\n  \"description\": \"The planner of vtflow: what a request would ask of a Vitess cluster, without asking.\",\n  \
         \"license\": \"Apache-2.0\",\n  \"type\": \"module\",\n  \"main\": \"vtflow_web.js\",\n  \"types\": \"vtflow_web.d.ts\",\n  \
         \"files\": [\"vtflow_web.js\", \"vtflow_web.d.ts\", \"vtflow_web_bg.wasm\", \"vtflow_web_bg.wasm.d.ts\"],\n  \"sideEffects\": false\n}}\n"
    );
    fs::write(npm.join("package.json"), package)?;
    output::mirror(&page, &root.join("dist/page"))?;
    output::mirror(&npm, &root.join("dist/npm"))
}
