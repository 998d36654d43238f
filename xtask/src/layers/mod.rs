//! Holds the code to `docs/architecture.md`: no circles among the files of a crate, no import of a higher layer, no place that the
//! document does not have, none in it that is gone.
//!
//! What a file names is read from its `use` lines and from the paths in its code, tests left out. A `pub use` imports nothing: it
//! shows, and who takes a name from it imports the file that defines it. What methods a value has is not seen: who calls one
//! without naming the trait or the type imports nothing. See `list.rs` for the form of the document.

mod circles;
mod imports;
mod list;
mod modules;
mod names;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, bail};

use self::{
    imports::Imports,
    list::{Layers, Listed},
    modules::Sources,
};

const DOCUMENT: &str = "docs/architecture.md";

/// Checks all crates of the workspace.
///
/// # Errors
/// What is wrong, each with its file and line.
#[allow(clippy::print_stdout, reason = "its only purpose")]
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let Checked { faults, files, crates } = examine(root)?;
    if !faults.is_empty() {
        bail!("the code and {DOCUMENT} differ:\n{}", faults.join("\n"));
    }
    println!("{files} files of {crates} crates: no circles, and all are in their layers");
    Ok(())
}

/// What came of it.
struct Checked {
    faults: Vec<String>,
    files: usize,
    crates: usize,
}

fn examine(root: &Path) -> anyhow::Result<Checked> {
    let document = fs::read_to_string(root.join(DOCUMENT)).context(DOCUMENT)?;
    let listed = list::read(&document);
    let members = members(&fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml")?)?;
    let mut faults: Vec<String> = listed.faults.iter().map(|fault| format!("{DOCUMENT}: {fault}")).collect();
    faults.extend(crates(&listed, &members));
    let mut files = 0;
    for member in &members {
        let src = format!("{member}/src");
        let sources = Sources::read(&root.join(&src)).with_context(|| src.clone())?;
        files += sources.files.len();
        let house = Crate { src: &src, imports: imports::imports(&sources), sources: &sources };
        faults.extend(house.circles());
        if let Some(layers) = listed.layers.iter().find(|layers| layers.src == src) {
            faults.extend(house.places(layers, &rust_files(&root.join(&src))?));
            faults.extend(house.climbs(layers));
        }
    }
    Ok(Checked { faults, files, crates: members.len() })
}

/// The members of a workspace, as its `Cargo.toml` has them.
fn members(manifest: &str) -> anyhow::Result<BTreeSet<String>> {
    let list = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.context("Cargo.toml has no members = [...]")?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

fn crates(listed: &Listed, members: &BTreeSet<String>) -> Vec<String> {
    let named: BTreeSet<String> = listed.crates.iter().map(|entry| entry.path.clone()).collect();
    let missing = members.difference(&named).map(|member| format!("{member} is a crate that {DOCUMENT} does not list"));
    let gone = listed.crates.iter().filter(|entry| !members.contains(&entry.path));
    let gone = gone.map(|entry| format!("{DOCUMENT}:{}: `{}` is no crate of the workspace", entry.line, entry.path));
    let layered = |layers: &&Layers| !layers.src.strip_suffix("/src").is_some_and(|folder| members.contains(folder));
    let others = listed.layers.iter().filter(layered);
    let others = others.map(|layers| format!("{DOCUMENT}:{}: `{}` is of no crate of the workspace", layers.line, layers.src));
    missing.chain(gone).chain(others).collect()
}

/// All files of Rust in a folder, below it.
fn rust_files(src: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(modules::slashes(path.strip_prefix(src)?));
            }
        }
    }
    Ok(found)
}

/// One crate with what its files import.
struct Crate<'a> {
    src: &'a str,
    sources: &'a Sources,
    imports: Imports,
}

impl Crate<'_> {
    fn file(&self, file: usize) -> &str {
        &self.sources.files[file]
    }

    /// `src/a.rs:3 names x::Y of src/b.rs`.
    fn import(&self, from: usize, to: usize) -> String {
        let (line, path) = self.imports.get(&(from, to)).map_or((0, ""), |named| (named.line, named.path.as_str()));
        format!("{}/{}:{line} names {path}, of {}/{}", self.src, self.file(from), self.src, self.file(to))
    }

    fn circles(&self) -> Vec<String> {
        let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for &(from, to) in self.imports.keys() {
            next.entry(from).or_default().insert(to);
        }
        let circle = |circle: Vec<usize>| {
            let steps = circle.iter().zip(circle.iter().cycle().skip(1));
            let chain: Vec<_> = circle.iter().chain(circle.first()).map(|&file| self.file(file)).collect();
            let steps: Vec<_> = steps.map(|(&from, &to)| format!("\n    {}", self.import(from, to))).collect();
            format!("{}: a circle of {} files: {}{}", self.src, circle.len(), chain.join(" -> "), steps.concat())
        };
        circles::circles(&next).into_iter().map(circle).collect()
    }

    /// Files that no layer has, and places that are not there or are there twice.
    fn places(&self, layers: &Layers, files: &BTreeSet<String>) -> Vec<String> {
        let mut faults = Vec::new();
        for (at, place) in layers.places.iter().enumerate() {
            let has = |what: &str| format!("{DOCUMENT}:{}: `{}` {what}", place.line, place.path);
            if !files.iter().any(|file| place.holds(file)) {
                faults.push(has(&format!("is not in {}", self.src)));
            }
            if layers.places.iter().take(at).any(|before| before.path == place.path) {
                faults.push(has("is in the list twice"));
            }
        }
        let missing: BTreeSet<String> =
            files.iter().filter(|file| layers.of(file).is_none()).map(|file| whole(file, files, layers)).collect();
        faults.extend(missing.iter().map(|place| self.homeless(place, layers)));
        for file in files {
            if !self.sources.files.contains(file) && !self.sources.of_tests.iter().any(|test| is_below(file, test)) {
                faults.push(format!("{}/{file} is in no module", self.src));
            }
        }
        faults
    }

    /// Says where a place may go that is in no layer.
    fn homeless(&self, place: &str, layers: &Layers) -> String {
        let is_in =
            |file: usize| if place.ends_with('/') { self.file(file).starts_with(place) } else { self.file(file) == place };
        let layer = |file: usize| layers.of(self.file(file)).map(|entry| entry.line);
        let lowest = self.imports.keys().filter(|(from, to)| is_in(*from) && !is_in(*to)).filter_map(|&(_, to)| layer(to)).max();
        let highest =
            self.imports.keys().filter(|(from, to)| !is_in(*from) && is_in(*to)).filter_map(|&(from, _)| layer(from)).min();
        let mut hints = Vec::new();
        hints.extend(lowest.map(|line| format!("; it imports {} (line {line})", layers.name(line))));
        hints.extend(highest.map(|line| format!("; {} (line {line}) imports it", layers.name(line))));
        format!("{}/{place} is in no layer of {DOCUMENT}:{}{}", self.src, layers.line, hints.concat())
    }

    fn climbs(&self, layers: &Layers) -> Vec<String> {
        let climb = |&(from, to): &(usize, usize)| {
            let (lower, higher) = (layers.of(self.file(from))?.line, layers.of(self.file(to))?.line);
            let names = || (layers.name(lower), layers.name(higher));
            let text = |(lower, higher)| format!("{}: {lower} is a lower layer than {higher}", self.import(from, to));
            (lower < higher).then(names).map(text)
        };
        self.imports.keys().filter_map(climb).collect()
    }
}

/// The outermost folder of a file that has nothing of any layer, or the file.
fn whole(file: &str, files: &BTreeSet<String>, layers: &Layers) -> String {
    let folders = file.match_indices('/').map(|(at, _)| &file[..=at]);
    let is_unknown = |folder: &&str| files.iter().filter(|file| file.starts_with(folder)).all(|file| layers.of(file).is_none());
    folders.clone().find(is_unknown).unwrap_or(file).to_owned()
}

/// Whether a file is a module's or one of its children's.
fn is_below(file: &str, module: &str) -> bool {
    let folder = module.strip_suffix("/mod.rs").or_else(|| module.strip_suffix(".rs"));
    file == module || folder.is_some_and(|folder| file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}
