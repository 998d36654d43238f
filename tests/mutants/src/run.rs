//! Runs tests: first all of them, each in a process of its own, to see which mutants each passes and how long it takes, then for each
//! mutant those that pass it, until one fails: those that caught others of its file first, then the quickest.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

use crate::tree::{TestProgram, say};

/// What a process may have: a mutant may well fill the memory. KiB of address space.
const MEMORY_KIB: u64 = 4 << 20;

/// Tests may take this many times their CPU time, and [`SLACK`].
const TIMES: u32 = 3;

const SLACK: Duration = Duration::from_secs(3);

/// No process is waited for any longer, however little of the machine it gets.
const PATIENCE: Duration = Duration::from_secs(900);

/// Signals: of `timeout`, or for want of memory; and where the CPU time is used up.
const KILL: i32 = 9;
const OUT_OF_CPU: i32 = 24;

/// Runs its arguments; with `TIMES` it writes the CPU time there.
const SHELL: &str = r#"[ -n "$TIMES" ] || exec "$@"; "$@"; code=$?; times >"$TIMES"; exit $code"#;

/// Of the tests that caught mutants of a file so many are tried first.
const REMEMBERED: usize = 12;

/// Tests in one process, at most.
const TOGETHER: usize = 64;

/// One test.
pub(crate) struct Test<'a> {
    program: &'a TestProgram,
    name: String,
    took: Duration,
    passes: BTreeSet<u32>,
}

/// What the tests made of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// A test failed.
    Caught,
    /// A test did not end.
    TimedOut,
    /// All tests that pass it succeed, this many.
    Missed(usize),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught => write!(f, "caught"),
            Self::TimedOut => write!(f, "timed out"),
            Self::Missed(0) => write!(f, "missed, no test comes by"),
            Self::Missed(tests) => write!(f, "missed by {tests} tests"),
        }
    }
}

enum Ended {
    Well,
    /// The name of the first test that failed.
    Failed(String),
    TimedOut,
}

/// Runs every test once with every mutant off. Tests that fail even so are left out, and named; so are those that take more
/// than `longest`.
///
/// # Errors
/// A program cannot be started, or `dir` not be written, or no test comes by any mutant.
pub(crate) fn survey<'a>(
    programs: &'a [TestProgram],
    dir: &Path,
    jobs: usize,
    longest: Duration,
) -> anyhow::Result<Vec<Test<'a>>> {
    let mut names = Vec::new();
    for program in programs {
        let out = Command::new(&program.path).args(["--list", "--format", "terse"]).output().context("a test program")?;
        let listed = String::from_utf8_lossy(&out.stdout).into_owned();
        names.extend(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(|name| (program, name.to_owned())));
    }
    let mut tests = in_parallel(&names, jobs, |number, (program, name)| {
        passing(program, name, &dir.join(format!("passed-{number}")), longest)
    })?;
    tests.sort_by_key(|test| test.took);
    let took: Duration = tests.iter().map(|test| test.took).sum();
    say(&format!("{} tests take {took:.0?} of CPU; the slowest:", tests.len()));
    for test in tests.iter().rev().take(12) {
        let note = if test.took > longest { " (left out)" } else { "" };
        say(&format!("  {:.1?} {}{note}", test.took, test.name));
    }
    // With mutants in them no tests come by none.
    if tests.iter().all(|test| test.passes.is_empty()) {
        bail!("no test comes by any mutant: the programs were built without them");
    }
    tests.retain(|test| test.took <= longest);
    Ok(tests)
}

/// A test as it is with every mutant off. `None`: it fails, or takes more than `longest`.
fn passing<'a>(program: &'a TestProgram, name: &str, files: &Path, longest: Duration) -> anyhow::Result<Option<Test<'a>>> {
    let (passed, times) = (files.display().to_string(), format!("{}-times", files.display()));
    fs::write(&passed, "").with_context(|| passed.clone())?;
    let ended = run(program, &[name], &[("MUTANTS_PASSED", &passed), ("TIMES", &times)], longest)?;
    let ids = fs::read_to_string(&passed).with_context(|| passed.clone())?;
    let took = cpu(&fs::read_to_string(&times).unwrap_or_default());
    let _ = (fs::remove_file(&passed), fs::remove_file(&times));
    if !matches!(ended, Ended::Well) {
        let why = if matches!(ended, Ended::TimedOut) { "takes too long" } else { "fails with every mutant off" };
        say(&format!("left out, {why}: {name}"));
        return Ok(None);
    }
    let passes = ids.lines().filter_map(|id| id.parse().ok()).collect();
    Ok(Some(Test { program, name: name.to_owned(), took, passes }))
}

/// The CPU time of the children, in the second line of what the shell's `times` prints: `0m1.20s 0m0.03s`.
fn cpu(times: &str) -> Duration {
    let of = |text: &str| {
        let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
        Some(Duration::from_secs(60) * minutes.parse().ok()? + Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?)
    };
    times.lines().nth(1).unwrap_or_default().split_whitespace().filter_map(of).sum()
}

/// What `work` makes of each of `items` and their numbers, in no order; `None` is left out.
fn in_parallel<I: Sync, T: Send>(
    items: &[I],
    jobs: usize,
    work: impl Fn(usize, &I) -> anyhow::Result<Option<T>> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let worker = || -> anyhow::Result<Vec<T>> {
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(number) else { return Ok(made) };
                made.extend(work(number, item)?);
            }
        };
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??);
        }
        Ok(all)
    })
}

/// The verdict for each of `ids`, in their order; `file` says of which file one is, and `found` hears of each that is not caught.
///
/// # Errors
/// A program cannot be started, or is not the one that was built for this run any more.
pub(crate) fn judge<'a>(
    tests: &[Test<'_>],
    ids: &[u32],
    jobs: usize,
    file: &(dyn Fn(u32) -> &'a str + Sync),
    found: &(dyn Fn(u32, Verdict) + Sync),
) -> anyhow::Result<Vec<(u32, Verdict)>> {
    let caught = Mutex::new(BTreeMap::new());
    let mut verdicts = in_parallel(ids, jobs, |_, &id| {
        let verdict = verdict(tests, id, file(id), &caught)?;
        if verdict != Verdict::Caught {
            found(id, verdict);
        }
        Ok(Some((id, verdict)))
    })?;
    verdicts.sort_unstable();
    Ok(verdicts)
}

/// The tests that caught mutants of a file, by place, the last one first.
type Caught<'a> = Mutex<BTreeMap<&'a str, VecDeque<usize>>>;

fn verdict<'a>(tests: &[Test<'_>], id: u32, file: &'a str, caught: &Caught<'a>) -> anyhow::Result<Verdict> {
    let passes = |place: &usize| tests.get(*place).is_some_and(|test| test.passes.contains(&id));
    let first: Vec<usize> = {
        let caught = caught.lock().unwrap_or_else(PoisonError::into_inner);
        caught.get(file).into_iter().flatten().copied().filter(passes).collect()
    };
    let mut others: Vec<usize> = (0..tests.len()).filter(|place| passes(place) && !first.contains(place)).collect();
    let passing = first.len() + others.len();
    let remember = |place: usize| {
        let mut caught = caught.lock().unwrap_or_else(PoisonError::into_inner);
        let of_file = caught.entry(file).or_default();
        of_file.retain(|other| *other != place);
        of_file.push_front(place);
        of_file.truncate(REMEMBERED);
    };
    // One by one those that are likely to fail, and then more and more at once: a process costs more than most tests.
    for place in first {
        let Some(test) = tests.get(place) else { continue };
        if let Some(verdict) = tried(&[test], id, &mut |_| remember(place))? {
            return Ok(verdict);
        }
    }
    let mut most = 1;
    while let Some(test) = others.first().and_then(|place| tests.get(*place)) {
        let is_of_it = |place: &&usize| tests.get(**place).is_some_and(|other| std::ptr::eq(other.program, test.program));
        let places: Vec<usize> = others.iter().filter(is_of_it).take(most).copied().collect();
        others.retain(|place| !places.contains(place));
        let together: Vec<&Test<'_>> = places.iter().filter_map(|place| tests.get(*place)).collect();
        let mut failed = |name: &str| {
            if let Some(place) = places.iter().find(|place| tests.get(**place).is_some_and(|test| test.name == name)) {
                remember(*place);
            }
        };
        if let Some(verdict) = tried(&together, id, &mut failed)? {
            return Ok(verdict);
        }
        most = (most * 2).min(TOGETHER);
    }
    Ok(Verdict::Missed(passing))
}

/// Runs these tests, which are of one program, with a mutant on. `failed` hears the name of the first that fails. `None`: all succeed.
fn tried(tests: &[&Test<'_>], id: u32, failed: &mut dyn FnMut(&str)) -> anyhow::Result<Option<Verdict>> {
    let Some(first) = tests.first() else { return Ok(None) };
    let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    let took: Duration = tests.iter().map(|test| test.took).sum();
    let ended = run(first.program, &names, &[("MUTANT_ON", &id.to_string())], took * TIMES + SLACK)?;
    // Before this counts: a program without switches lets every mutant pass, and one that is gone fails with every one.
    first.program.is_as_built()?;
    Ok(match ended {
        Ended::Well => None,
        Ended::TimedOut => Some(Verdict::TimedOut),
        Ended::Failed(name) => {
            failed(&name);
            Some(Verdict::Caught)
        }
    })
}

/// Runs these tests of a program with at most so much CPU time.
fn run(program: &TestProgram, names: &[&str], environment: &[(&str, &str)], limit: Duration) -> anyhow::Result<Ended> {
    // The shell exits with 128 and the signal where the kernel had to kill; `timeout` with 137.
    let seconds = limit.as_secs().saturating_add(1).min(PATIENCE.as_secs());
    let limits = format!("ulimit -v {MEMORY_KIB}; ulimit -c 0; ulimit -t {seconds}; {SHELL}");
    let out = Command::new("timeout")
        .args(["-s", "KILL", &PATIENCE.as_secs().to_string()])
        .args(["sh", "-c", &limits, "sh"])
        .arg(&program.path)
        .arg("--exact")
        .args(names)
        .arg("--test-threads=1")
        .current_dir(&program.dir)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .context("timeout")?;
    let status = out.status;
    let is_killed =
        [KILL, OUT_OF_CPU].iter().any(|signal| status.code() == Some(128 + signal) || status.signal() == Some(*signal));
    Ok(match status.code() {
        Some(0) => Ended::Well,
        _ if is_killed => Ended::TimedOut,
        _ => {
            let text = String::from_utf8_lossy(&out.stdout);
            let name = text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
            Ended::Failed(name.unwrap_or_default().to_owned())
        }
    })
}
