//! Runs tests, each in a process of its own: first all of them, to see which mutants each passes and how long it takes, then for
//! each mutant those that pass it, quickest first, until one fails.

use std::{
    collections::BTreeSet,
    fmt, fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

use crate::tree::{TestProgram, say};

/// What a process may have: a mutant may well fill the memory. KiB of address space.
const MEMORY_KIB: u64 = 4 << 20;

/// A test may take this many times its CPU time, and [`SLACK`]: the machine does other things too.
const TIMES: u32 = 10;

const SLACK: Duration = Duration::from_secs(30);

/// Runs its arguments; with `TIMES` it writes the CPU time there.
const SHELL: &str = r#"[ -n "$TIMES" ] || exec "$@"; "$@"; code=$?; times >"$TIMES"; exit $code"#;

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
    Failed,
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
    let mut tests =
        in_parallel(&names, jobs, |number, (program, name)| passing(program, name, &dir.join(format!("passed-{number}"))))?;
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

/// A test as it is with every mutant off. `None`: it fails.
fn passing<'a>(program: &'a TestProgram, name: &str, files: &Path) -> anyhow::Result<Option<Test<'a>>> {
    let (passed, times) = (files.display().to_string(), format!("{}-times", files.display()));
    fs::write(&passed, "").with_context(|| passed.clone())?;
    let ended = run(program, name, &[("MUTANTS_PASSED", &passed), ("TIMES", &times)], Duration::from_secs(600))?;
    let ids = fs::read_to_string(&passed).with_context(|| passed.clone())?;
    let took = cpu(&fs::read_to_string(&times).unwrap_or_default());
    let _ = (fs::remove_file(&passed), fs::remove_file(&times));
    if !matches!(ended, Ended::Well) {
        say(&format!("left out, fails with every mutant off: {name}"));
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

/// The verdict for each of `ids`, in their order; `found` hears of each that is not caught at once.
///
/// # Errors
/// A program cannot be started, or is not the one that was built for this run any more.
pub(crate) fn judge(
    tests: &[Test<'_>],
    ids: &[u32],
    jobs: usize,
    found: &(dyn Fn(u32, Verdict) + Sync),
) -> anyhow::Result<Vec<(u32, Verdict)>> {
    let mut verdicts = in_parallel(ids, jobs, |_, &id| {
        let verdict = verdict(tests, id)?;
        if verdict != Verdict::Caught {
            found(id, verdict);
        }
        Ok(Some((id, verdict)))
    })?;
    verdicts.sort_unstable();
    Ok(verdicts)
}

fn verdict(tests: &[Test<'_>], id: u32) -> anyhow::Result<Verdict> {
    let mut passing = 0;
    for test in tests.iter().filter(|test| test.passes.contains(&id)) {
        passing += 1;
        let ended = run(test.program, &test.name, &[("MUTANT_ON", &id.to_string())], test.took * TIMES + SLACK)?;
        // Before this counts: a program without switches lets every mutant pass, and one that is gone fails with every one.
        test.program.is_as_built()?;
        match ended {
            Ended::Well => {}
            Ended::Failed => return Ok(Verdict::Caught),
            Ended::TimedOut => return Ok(Verdict::TimedOut),
        }
    }
    Ok(Verdict::Missed(passing))
}

fn run(program: &TestProgram, name: &str, environment: &[(&str, &str)], limit: Duration) -> anyhow::Result<Ended> {
    // `timeout` exits with 137 where it had to kill.
    let status = Command::new("timeout")
        .args(["-s", "KILL", &limit.as_secs().max(1).to_string()])
        .args(["sh", "-c", &format!("ulimit -v {MEMORY_KIB}; ulimit -c 0; {SHELL}"), "sh"])
        .arg(&program.path)
        .args(["--exact", name, "--test-threads=1"])
        .current_dir(&program.dir)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("timeout")?;
    let is_killed = status.code() == Some(137) || status.signal() == Some(9);
    Ok(match status.code() {
        Some(0) => Ended::Well,
        _ if is_killed => Ended::TimedOut,
        _ => Ended::Failed,
    })
}
