//! Processes that run beside this one: started, signalled, waited for. A process that this one started ends when this one ends,
//! however it ends, unless it is to stay: then a file says which they are, so that another run can end them.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Who a process is run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// As whoever runs this.
    Caller,
    /// As somebody without rights: Vitess's servers and mysqld refuse to be run by root.
    Nobody,
}

/// User and group of `nobody` on Debian.
pub(crate) const NOBODY: u32 = 65_534;

/// How long something may take to start: seconds, but a minute and more on a machine that is busy with other things.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(240);

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Its name in logs and messages.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) envs: Vec<(String, String)>,
    pub(crate) run_as: RunAs,
    /// Where its output goes, appended.
    pub(crate) log: PathBuf,
}

impl Spec {
    /// A command line that runs it by `setpriv`, which sets the user and the signal at this process's end, and then becomes it.
    fn command(&self, stays: bool) -> Command {
        let mut command = wrapped(self.run_as, stays, &self.program);
        command.args(&self.args).envs(self.envs.iter().map(|(key, value)| (key, value)));
        command
    }
}

/// `setpriv … program`, in a process group of its own: a ctrl-c on the terminal is for this process alone, the others end by its end.
pub(crate) fn wrapped(run_as: RunAs, stays: bool, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if run_as == RunAs::Nobody && rustix::process::getuid().is_root() {
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    }
    if !stays {
        command.args(["--pdeathsig", "KILL"]);
    }
    command.arg("--").arg(program).process_group(0);
    command
}

/// A process that runs until it is ended.
///
/// It must be started by the main thread: the kernel ends it when the thread ends that started it.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) spec: Spec,
    child: Child,
    stays: bool,
}

impl Daemon {
    /// Starts it; `stays` if it is to go on when this process ends.
    pub(crate) fn start(spec: Spec, stays: bool) -> anyhow::Result<Self> {
        let log = open_log(&spec.log)?;
        let child = spec
            .command(stays)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started: {}", spec.name, spec.program.display()))?;
        Ok(Self { spec, child, stays })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. One that has ended already is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown".to_owned(),
        })
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Starts it again, with the same words.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        *self = Self::start(self.spec.clone(), self.stays)?;
        Ok(())
    }

    /// An error, with the end of its log, if it has ended.
    pub(crate) fn must_run(&mut self) -> anyhow::Result<()> {
        if let Some(how) = self.ended() {
            bail!("{} has ended ({how}). {}:\n{}", self.spec.name, self.spec.log.display(), tail(&self.spec.log));
        }
        Ok(())
    }
}

/// Waits until something is so; the error says what was waited for.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    loop {
        if is_so()? {
            return Ok(started.elapsed());
        }
        if started.elapsed() >= limit {
            bail!("not within {} s: {what}", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(12)).copied().collect::<Vec<_>>().join("\n")
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| path.display().to_string())
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// When a process began, in the kernel's ticks since the machine did: with its number, this tells it from any later one.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have spaces in it; the state is the third field, the beginning the 22nd.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Writes down a process, a line of number, beginning and name.
pub(crate) fn register(file: &Path, daemon: &Daemon) -> anyhow::Result<()> {
    let pid = daemon.pid();
    let line = format!("{pid} {} {}\n", began(pid).unwrap_or_default(), daemon.spec.name);
    open_log(file)?.write_all(line.as_bytes())?;
    Ok(())
}

/// Ends every process that is written down and still there; how many these were.
pub(crate) fn end_registered(file: &Path) -> anyhow::Result<usize> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    };
    let is_there = |line: &str| {
        let mut words = line.split(' ');
        let pid: u32 = words.next()?.parse().ok()?;
        (words.next()? == began(pid)?).then_some(pid)
    };
    let pids: Vec<u32> = text.lines().filter_map(is_there).collect();
    for pid in &pids {
        send(*pid, Signal::KILL);
    }
    wait_until("every process of the cluster is gone", Duration::from_secs(10), || {
        // One that has ended but was not waited for by its parent is in state Z.
        let lives = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        Ok(!pids.iter().any(lives))
    })?;
    fs::remove_file(file)?;
    Ok(pids.len())
}
