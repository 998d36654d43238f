//! Which code could be changed without any test noticing: `make mutants`.
//!
//! cargo-mutants says which changes are worth trying, and would compile the planner once for each: thousands of builds. Here all
//! of them are compiled at once, each behind a switch that the environment turns on, and each is tried with the tests that come
//! by it, which takes milliseconds. What is missed can be tried in the usual way too: `cargo mutants -p vtflow-planner --re …`.

mod blame;
mod instrument;
mod list;
mod run;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{self, Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};

use self::{
    list::Mutant,
    run::Verdict,
    tree::{Tree, say},
};

const USAGE: &str =
    "mutants [--file GLOB]... [--only FILE_OF_NAMES] [--tests PACKAGE]... [--without-slower-than SECONDS] [--jobs N] [--dir DIR]";

const PACKAGE: &str = "vtflow-planner";

struct Options {
    files: Vec<String>,
    only: Option<PathBuf>,
    tests: Vec<String>,
    /// Tests that take longer are left out.
    longest: Duration,
    jobs: usize,
    dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("tests/mutants/ is in the project")?;
    let options = options(root)?;
    fs::create_dir_all(&options.dir)?;
    let mutants = list::list(root, PACKAGE, &options.files)?;
    say(&format!("{} mutants", mutants.len()));
    let files = sources(root)?;
    let sources: BTreeMap<&str, String> = files
        .iter()
        .map(|file| Ok((file.as_str(), fs::read_to_string(root.join(file)).with_context(|| file.clone())?)))
        .collect::<anyhow::Result<_>>()?;

    let tree = Tree::copy(root, &options.dir, PACKAGE, &sources.keys().copied().collect())?;
    let known = options.dir.join("unviable.txt");
    let of = options.dir.join("unviable-of.txt");
    let digests = digests(&sources);
    // What did not compile in a file that is as it was does not compile now.
    let last = fs::read_to_string(&of).unwrap_or_default();
    let unchanged: BTreeSet<&str> = last.lines().filter(|line| digests.contains(*line)).filter_map(file_of).collect();
    let mut unviable = named(&known, &mutants);
    unviable.retain(|id| mutants.get(*id as usize).is_some_and(|mutant| unchanged.contains(mutant.file.as_str())));
    let placed = tree.place(&sources, &mutants, &mut unviable);
    write(&known, &mutants, &unviable)?;
    fs::write(&of, digests.iter().fold(String::new(), |text, line| text + line + "\n"))
        .with_context(|| of.display().to_string())?;
    let placed = placed?;
    let unplaced: BTreeSet<u32> =
        (0..).zip(&mutants).map(|(id, _)| id).filter(|id| !placed.contains(id) && !unviable.contains(id)).collect();
    write(&options.dir.join("unplaced.txt"), &mutants, &unplaced)?;

    let programs = tree.test_programs(&options.tests)?;
    let tests = run::survey(&programs, &options.dir, options.jobs, options.longest)?;
    let mut ids: Vec<u32> = match &options.only {
        Some(path) => named(path, &mutants).intersection(&placed).copied().collect(),
        None => placed.into_iter().collect(),
    };
    // Not file by file: what is there of a run that was ended early is a sample of all.
    ids.sort_by_key(|id| (id % 64, *id));
    let file = |id: u32| mutants.get(id as usize).map_or("", |mutant| mutant.file.as_str());
    let verdicts = run::judge(&tests, &ids, options.jobs, &file, &|id, verdict| {
        if let Some(mutant) = mutants.get(id as usize) {
            say(&format!("{verdict}: {}", mutant.name));
        }
    })?;
    report(&options.dir, &mutants, &unviable, &unplaced, &verdicts)
}

fn options(root: &Path) -> anyhow::Result<Options> {
    let mut options = Options {
        files: Vec::new(),
        only: None,
        tests: Vec::new(),
        longest: Duration::MAX,
        jobs: 1,
        dir: root.join("target/mutants"),
    };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} needs a value: {USAGE}"))?;
        match arg.as_str() {
            "--file" => options.files.push(value),
            "--only" => options.only = Some(value.into()),
            "--tests" => options.tests.push(value),
            "--without-slower-than" => options.longest = Duration::from_secs(value.parse().context(USAGE)?),
            "--jobs" => options.jobs = value.parse().context(USAGE)?,
            // Tests run elsewhere, and write there.
            "--dir" => options.dir = path::absolute(value)?,
            _ => bail!("{arg}? {USAGE}"),
        }
    }
    if options.tests.is_empty() {
        options.tests = vec![PACKAGE.to_owned(), "vtflow-screen".to_owned()];
    }
    Ok(options)
}

/// The planner's sources, each by its path from the root.
fn sources(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut dirs = vec!["planner/src".to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root.join(&dir)).with_context(|| dir.clone())? {
            let entry = entry?;
            let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                dirs.push(path);
            } else if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// A line for each file: a digest of its content, and its name.
fn digests(sources: &BTreeMap<&str, String>) -> BTreeSet<String> {
    let line = |(file, source): (&&str, &String)| {
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        format!("{:016x} {file}", hasher.finish())
    };
    sources.iter().map(line).collect()
}

fn file_of(line: &str) -> Option<&str> {
    line.split_once(' ').map(|(_, file)| file)
}

/// The mutants that the lines of a file name; a file that is not there names none.
fn named(path: &Path, mutants: &[Mutant]) -> BTreeSet<u32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let names: BTreeSet<&str> = text.lines().map(str::trim).collect();
    (0..).zip(mutants).filter(|(_, mutant)| names.contains(mutant.name.as_str())).map(|(id, _)| id).collect()
}

fn write(path: &Path, mutants: &[Mutant], ids: &BTreeSet<u32>) -> anyhow::Result<()> {
    let names =
        ids.iter().filter_map(|id| mutants.get(*id as usize)).fold(String::new(), |text, mutant| text + &mutant.name + "\n");
    fs::write(path, names).with_context(|| path.display().to_string())
}

/// A line for each folder, and a file of names for each kind of what was not caught.
fn report(
    dir: &Path,
    mutants: &[Mutant],
    unviable: &BTreeSet<u32>,
    unplaced: &BTreeSet<u32>,
    verdicts: &[(u32, Verdict)],
) -> anyhow::Result<()> {
    #[derive(Default)]
    struct Line {
        mutants: usize,
        unviable: usize,
        unplaced: usize,
        tried: usize,
        caught: usize,
        timed_out: usize,
        missed: usize,
        untested: usize,
    }
    let folder = |id: u32| {
        let file = mutants.get(id as usize).map(|mutant| mutant.file.as_str()).unwrap_or_default();
        let below = file.strip_prefix("planner/src/").unwrap_or(file);
        below.split_once('/').map_or("(files)", |(folder, _)| folder)
    };
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    for (id, _) in (0..).zip(mutants) {
        let line = lines.entry(folder(id)).or_default();
        line.mutants += 1;
        line.unviable += usize::from(unviable.contains(&id));
        line.unplaced += usize::from(unplaced.contains(&id));
    }
    for (id, verdict) in verdicts {
        let line = lines.entry(folder(*id)).or_default();
        line.tried += 1;
        match verdict {
            Verdict::Caught => line.caught += 1,
            Verdict::TimedOut => line.timed_out += 1,
            Verdict::Missed(tests) => {
                line.missed += 1;
                line.untested += usize::from(*tests == 0);
            }
        }
    }
    say("folder      mutants  unviable  unplaced  tried  caught  timed out  missed  of these untested");
    for (folder, line) in lines {
        let Line { mutants, unviable, unplaced, tried, caught, timed_out, missed, untested } = line;
        say(&format!(
            "{folder:<10} {mutants:>8} {unviable:>9} {unplaced:>9} {tried:>6} {caught:>7} {timed_out:>10} {missed:>7} {untested:>18}"
        ));
    }
    let of = |wanted: fn(&Verdict) -> bool| {
        verdicts.iter().filter(|(_, verdict)| wanted(verdict)).map(|(id, _)| *id).collect::<BTreeSet<u32>>()
    };
    write(&dir.join("missed.txt"), mutants, &of(|verdict| matches!(verdict, Verdict::Missed(_))))?;
    write(&dir.join("timed-out.txt"), mutants, &of(|verdict| *verdict == Verdict::TimedOut))
}
