//! The page and the npm package: the planner as wasm with its JavaScript, and the page's own files beside it.
//!
//! `dist/page` is a folder that any static host can serve; the runner embeds it when it is built. `dist/npm` can be published.

use std::{fs, path::Path};

use anyhow::Context;
use wasm_bindgen_cli_support::Bindgen;

/// Builds both.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    let module = crate::wasm::module(root, "vtflow-web", "wasm")?;
    let (page, npm) = (root.join("dist/page"), root.join("dist/npm"));
    for directory in [&page, &npm] {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("{} cannot be made anew", directory.display()))?;
        }
    }
    let bind = |directory: &Path| -> anyhow::Result<()> {
        fs::create_dir_all(directory)?;
        let mut bindgen = Bindgen::new();
        bindgen
            .input_path(&module)
            .web(true)?
            .typescript(true)
            .omit_default_module_path(false)
            .remove_name_section(true)
            .remove_producers_section(true);
        bindgen.generate(directory).context("wasm-bindgen")
    };
    bind(&page.join("pkg"))?;
    bind(&npm)?;
    copy(&root.join("web/page/src"), &page)?;
    let version = env!("CARGO_PKG_VERSION");
    let package = format!(
        "{{\n  \"name\": \"vtflow-planner\",\n  \"version\": \"{version}\",\n  \"description\": \"The planner of vtflow: what a request would ask of a Vitess cluster, without asking.\",\n  \
         \"license\": \"Apache-2.0\",\n  \"type\": \"module\",\n  \"main\": \"vtflow_web.js\",\n  \"types\": \"vtflow_web.d.ts\",\n  \
         \"files\": [\"vtflow_web.js\", \"vtflow_web.d.ts\", \"vtflow_web_bg.wasm\", \"vtflow_web_bg.wasm.d.ts\"],\n  \"sideEffects\": false\n}}\n"
    );
    fs::write(npm.join("package.json"), package)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
