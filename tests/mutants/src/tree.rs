//! A copy of the project with all mutants in it, and the tests built from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{self, Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::{
    blame::{Message, Pointed, Ranges},
    instrument::instrument,
    list::Mutant,
};

/// The module of the mutated package in which the switches are.
const SWITCHES: &str = "mutants.rs";

/// Where the copy is, and what is compiled from it.
pub(crate) struct Tree {
    root: PathBuf,
    target: PathBuf,
    package: String,
}

/// A program with tests in it.
pub(crate) struct TestProgram {
    pub(crate) path: PathBuf,
    /// Where it expects to be started.
    pub(crate) dir: PathBuf,
    stamp: Stamp,
}

#[derive(Deserialize)]
struct CargoLine {
    reason: String,
    #[serde(default)]
    message: Option<serde_json::Value>,
    #[serde(default)]
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Tree {
    /// Copies what git knows, or would with the next `git add`, but for the mutated files, into `dir/tree`, and takes away what is
    /// there of an earlier run and no longer in the project: of two files for one module neither compiles.
    ///
    /// Built is it in `dir/target`, whatever `CARGO_TARGET_DIR` says: a build of the project there would take the place of its
    /// programs.
    ///
    /// # Errors
    /// git is missing, or a file cannot be read or written.
    pub(crate) fn copy(from: &Path, dir: &Path, package: &str, mutated: &BTreeSet<&str>) -> anyhow::Result<Self> {
        let root = dir.join("tree");
        let git = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = Command::new("git").current_dir(from).args(git).output().context("git")?;
        if !listed.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
        }
        let names = String::from_utf8(listed.stdout).context("names of files")?;
        let mut current: BTreeSet<PathBuf> = mutated.iter().map(|name| root.join(name)).collect();
        for name in names.split('\0').filter(|name| !name.is_empty() && !mutated.contains(name)) {
            // A file that is deleted, but not yet for git, is none.
            if let Ok(content) = fs::read(from.join(name)) {
                write_if_other(&root.join(name), &content)?;
                current.insert(root.join(name));
            }
        }
        current.extend(mutated.iter().filter_map(|name| Some(root.join(name.strip_suffix("/lib.rs")?).join(SWITCHES))));
        remove_others(&root, &current)?;
        Ok(Self { root, target: path::absolute(dir.join("target"))?, package: package.to_owned() })
    }

    /// Writes the sources with those of `mutants` that compile, and returns which have a switch and which do not compile.
    ///
    /// # Errors
    /// The code does not compile for a reason that is no mutant's.
    pub(crate) fn place(
        &self,
        sources: &BTreeMap<&str, String>,
        mutants: &[Mutant],
        unviable: &mut BTreeSet<u32>,
    ) -> anyhow::Result<BTreeSet<u32>> {
        let dir = self.root.join(Self::crate_root(sources)?);
        write_if_other(&dir.join(SWITCHES), include_bytes!("switch.rs"))?;
        loop {
            let mut placed = BTreeSet::new();
            let mut ranges = BTreeMap::new();
            for (file, source) in sources {
                let own: Vec<(u32, &Mutant)> =
                    (0..).zip(mutants).filter(|(id, mutant)| mutant.file == *file && !unviable.contains(id)).collect();
                let mut instrumented = instrument(source, &own).with_context(|| (*file).to_owned())?;
                if file.ends_with("/lib.rs") {
                    instrumented.text.push_str("mod mutants;\n");
                }
                write_if_other(&self.root.join(file), instrumented.text.as_bytes())?;
                ranges.insert(*file, Ranges::of(&instrumented.text).with_context(|| (*file).to_owned())?);
                placed.extend(instrumented.placed);
            }
            let blamed = self.compile(&ranges)?;
            if blamed.is_empty() {
                return Ok(placed);
            }
            say(&format!("{} do not compile, {} remain", blamed.len(), placed.len() - blamed.len()));
            unviable.extend(blamed);
        }
    }

    fn crate_root(sources: &BTreeMap<&str, String>) -> anyhow::Result<PathBuf> {
        let root = sources.keys().find(|file| file.ends_with("/lib.rs")).context("the mutated package has no lib.rs")?;
        Ok(Path::new(root).parent().context("lib.rs is in a folder")?.to_owned())
    }

    fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_INCREMENTAL", "0")
            .stdin(Stdio::null());
        command
    }

    /// Compiles the mutated package, and returns the mutants that do not compile. Not all of them: rustc stops early.
    fn compile(&self, ranges: &BTreeMap<&str, Ranges>) -> anyhow::Result<BTreeSet<u32>> {
        let args = ["build", "--quiet", "--lib", "--message-format=json", "--package", &self.package];
        let out = self.cargo().args(args).output().context("cargo")?;
        let mut blamed = BTreeSet::new();
        let mut others = String::new();
        for line in lines(&out.stdout) {
            let Some(message) = line.message.filter(|_| line.reason == "compiler-message") else { continue };
            let Ok(message) = serde_json::from_value::<Message>(message) else { continue };
            if message.level != "error" || message.spans.is_empty() {
                continue;
            }
            let found = blame(&message, ranges);
            if found.is_empty() {
                others.push_str(&message.rendered.unwrap_or_default());
            }
            blamed.extend(found);
        }
        if blamed.is_empty() && !out.status.success() {
            bail!("{others}{}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(blamed)
    }

    /// Builds the tests of these packages.
    ///
    /// # Errors
    /// They do not compile.
    pub(crate) fn test_programs(&self, packages: &[String]) -> anyhow::Result<Vec<TestProgram>> {
        let mut command = self.cargo();
        command.args(["test", "--quiet", "--no-run", "--message-format=json"]).stderr(Stdio::inherit());
        for package in packages {
            command.args(["--package", package]);
        }
        let out = command.output().context("cargo")?;
        if !out.status.success() {
            let messages = lines(&out.stdout).filter_map(|line| serde_json::from_value::<Message>(line.message?).ok());
            let texts: Vec<String> =
                messages.filter(|message| message.level == "error").filter_map(|message| message.rendered).collect();
            bail!("the tests do not compile: {}", texts.concat());
        }
        let built = lines(&out.stdout).filter(|line| line.profile.as_ref().is_some_and(|profile| profile.test));
        let places = built.filter_map(|line| Some((line.executable?, line.manifest_path?.parent()?.to_owned())));
        places.map(|(path, dir)| Ok(TestProgram { stamp: Stamp::of(&path)?, path, dir })).collect()
    }
}

impl TestProgram {
    /// Whether it is the one that was built for this run, as far as its file shows.
    ///
    /// # Errors
    /// Something else has been put in its place, or it is gone: no verdict from it means anything.
    pub(crate) fn is_as_built(&self) -> anyhow::Result<()> {
        if Stamp::of(&self.path).is_ok_and(|now| now == self.stamp) {
            return Ok(());
        }
        bail!(
            "{} is not as it was built for this run: something else was built into its folder meanwhile. What is missed since then \
             may not be missed at all",
            self.path.display()
        )
    }
}

/// What changes with a file's content, without reading it.
#[derive(PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: SystemTime,
}

impl Stamp {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let of = || -> io::Result<Self> {
            let file = fs::metadata(path)?;
            Ok(Self { inode: file.ino(), bytes: file.len(), modified: file.modified()? })
        };
        of().with_context(|| path.display().to_string())
    }
}

/// Removes every file below `dir` that is not one of `current`.
fn remove_others(dir: &Path, current: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(&path, current)?;
        } else if !current.contains(&path) {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn lines(out: &[u8]) -> impl Iterator<Item = CargoLine> {
    out.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// What it points to first; then what it also points to; then whoever called the macro.
fn blame(message: &Message, ranges: &BTreeMap<&str, Ranges>) -> BTreeSet<u32> {
    let mut places: Vec<&Pointed> = message.spans.iter().collect();
    places.sort_by_key(|place| !place.is_primary);
    let mut at = 0;
    while let Some(place) = places.get(at) {
        places.extend(place.expansion.as_ref().map(|expansion| &expansion.span));
        at += 1;
    }
    let Some(first) = places.iter().find(|place| ranges.contains_key(place.file_name.as_str())) else {
        return BTreeSet::new();
    };
    let file = first.file_name.as_str();
    let within: Vec<&Pointed> = places.iter().copied().filter(|place| place.file_name == file).collect();
    ranges.get(file).map(|ranges| ranges.blamed(&within)).unwrap_or_default()
}

/// Leaves the file's time as it is if it says this already: nothing is compiled again for it.
fn write_if_other(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
    fs::write(path, content).with_context(|| path.display().to_string())
}

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("vtflow-mutants-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("src/within")).unwrap();
        dir
    }

    #[test]
    fn files_that_left_the_project_leave_its_copy() {
        let dir = folder("copy");
        let (stays, mutated, gone) =
            (dir.join("src/stays.rs"), dir.join("src/within/mutated.rs"), dir.join("src/within/gone.rs"));
        for file in [&stays, &mutated, &gone] {
            fs::write(file, "").unwrap();
        }
        remove_others(&dir, &BTreeSet::from([stays.clone(), mutated.clone()])).unwrap();
        assert!(stays.exists() && mutated.exists() && !gone.exists());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_program_that_is_built_anew_is_noticed() {
        let dir = folder("program");
        let path = dir.join("it");
        fs::write(&path, "with switches").unwrap();
        let program = TestProgram { stamp: Stamp::of(&path).unwrap(), path: path.clone(), dir: dir.clone() };
        program.is_as_built().unwrap();
        fs::write(dir.join("new"), "with switches").unwrap();
        fs::rename(dir.join("new"), &path).unwrap();
        let error = program.is_as_built().unwrap_err().to_string();
        assert!(error.contains("not as it was built"), "{error}");
        fs::remove_file(&path).unwrap();
        assert!(program.is_as_built().is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
