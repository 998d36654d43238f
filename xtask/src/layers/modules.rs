//! A crate's files as its modules: what each defines, imports and names. Modules and functions that only tests have are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use syn::{Item, ItemMod};

use super::names::{self, Names, is_of_tests};

/// A crate's `src`.
#[derive(Default)]
pub(super) struct Sources {
    /// Its files, below `src` with slashes between: those that a module of it is in.
    pub(super) files: Vec<String>,
    /// Files that only tests have.
    pub(super) of_tests: BTreeSet<String>,
    pub(super) modules: Vec<Module>,
}

/// One module: a file, or a part of one in braces.
pub(super) struct Module {
    /// `None` for the crate itself.
    pub(super) parent: Option<usize>,
    /// Which file it is in.
    pub(super) file: usize,
    pub(super) children: BTreeMap<String, usize>,
    /// What is defined in it, but for its children.
    pub(super) defined: BTreeSet<String>,
    pub(super) names: Names,
}

impl Sources {
    /// Reads `src/lib.rs` and `src/main.rs` with all modules that they have.
    pub(super) fn read(src: &Path) -> anyhow::Result<Self> {
        let mut sources = Self::default();
        for root in ["lib.rs", "main.rs"] {
            if src.join(root).is_file() {
                sources.file(src, root, None)?;
            }
        }
        Ok(sources)
    }

    fn file(&mut self, src: &Path, path: &str, parent: Option<usize>) -> anyhow::Result<usize> {
        let text = fs::read_to_string(src.join(path)).with_context(|| path.to_owned())?;
        let parsed = syn::parse_file(&text).with_context(|| format!("{path} is not Rust"))?;
        self.files.push(path.to_owned());
        let below = Path::new(path);
        let is_directory = matches!(below.file_name().and_then(|name| name.to_str()), Some("lib.rs" | "main.rs" | "mod.rs"));
        let directory = if is_directory { below.parent().map(PathBuf::from) } else { Some(below.with_extension("")) };
        let file = self.files.len() - 1;
        self.module(src, &directory.unwrap_or_default(), file, parent, &parsed.items)
    }

    fn module(
        &mut self,
        src: &Path,
        directory: &Path,
        file: usize,
        parent: Option<usize>,
        items: &[Item],
    ) -> anyhow::Result<usize> {
        let module = self.modules.len();
        let is_kept = |item: &&Item| !is_of_tests(names::attributes(item));
        let defined = items.iter().filter(is_kept).filter_map(names::defined).collect();
        let names = Names::of(items.iter().filter(is_kept));
        self.modules.push(Module { parent, file, children: BTreeMap::new(), defined, names });
        for item in items {
            let Item::Mod(item) = item else { continue };
            if let Some(child) = self.child(src, directory, module, item)? {
                self.modules[module].children.insert(item.ident.to_string(), child);
            }
        }
        Ok(module)
    }

    fn child(&mut self, src: &Path, directory: &Path, parent: usize, item: &ItemMod) -> anyhow::Result<Option<usize>> {
        let name = item.ident.to_string();
        let is_of_tests = is_of_tests(&item.attrs);
        let below = directory.join(&name);
        if let Some((_, items)) = &item.content {
            let file = self.modules[parent].file;
            return if is_of_tests { Ok(None) } else { self.module(src, &below, file, Some(parent), items).map(Some) };
        }
        let candidates = [below.with_extension("rs"), below.join("mod.rs")];
        let Some(path) = candidates.iter().find(|path| src.join(path).is_file()) else {
            bail!("there is no file for the module {name} of {}", self.files[self.modules[parent].file]);
        };
        let path = slashes(path);
        if is_of_tests {
            self.of_tests.insert(path);
            return Ok(None);
        }
        self.file(src, &path, Some(parent)).map(Some)
    }
}

/// A path below a crate's `src`, written in one way everywhere.
pub(super) fn slashes(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("/")
}
