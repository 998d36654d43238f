//! Programs that run beside this one: started with their output read, stopped when they are dropped.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// How long a program may take to say that it listens. Several times what a busy machine of two cores takes.
const START: Duration = Duration::from_secs(180);
/// How long a program that ends with its input may take to do so, before it is killed.
const END: Duration = Duration::from_secs(10);
/// How often its output, or whether it has ended, is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// A program that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a program; `name` is for people.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(name: &str, command: Command) -> anyhow::Result<Self> {
        Self::start_with(name, command, Stdio::null())
    }

    /// Starts a program that ends by itself when its standard input does, which it does with this process in any case: one that has
    /// programs of its own, which would go on if it were killed. `name` is for people.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_with_input(name: &str, command: Command) -> anyhow::Result<Self> {
        Self::start_with(name, command, Stdio::piped())
    }

    fn start_with(name: &str, mut command: Command, input: Stdio) -> anyhow::Result<Self> {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{name} cannot be started: {command:?}"))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take(), &lines);
        collect(child.stderr.take(), &lines);
        Ok(Self { name: name.to_owned(), child, lines })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed until now, standard output and standard error together.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the program has printed a line that says `what` is the case.
    ///
    /// # Errors
    ///
    /// It ended before, or it takes longer than three minutes; with its last lines.
    pub fn wait<T>(&mut self, what: &str, said: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        self.wait_until(what, |lines| lines.iter().find_map(|line| said(line)))
    }

    /// Waits until the condition holds; it is given all lines so far.
    ///
    /// # Errors
    ///
    /// As [`Process::wait`].
    pub fn wait_until<T>(&mut self, what: &str, mut met: impl FnMut(&[String]) -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + START;
        loop {
            let ended = self.child.try_wait().with_context(|| self.name.clone())?;
            let lines = self.lines();
            if let Some(found) = met(&lines) {
                return Ok(found);
            }
            let last = lines[lines.len().saturating_sub(5)..].join("\n");
            if let Some(status) = ended {
                bail!("{} ended ({status}) before {what}:\n{last}", self.name);
            }
            if Instant::now() > until {
                bail!("{} took longer than {START:?}: {what}:\n{last}", self.name);
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(input) = self.child.stdin.take() {
            drop(input);
            let until = Instant::now() + END;
            while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(LOOK);
            }
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: Option<impl Read + Send + 'static>, lines: &Arc<Mutex<Vec<String>>>) {
    let Some(from) = from else { return };
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}

/// A port of 127.0.0.1 that nobody listens on now.
///
/// # Errors
///
/// There is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_with_its_input_can_clean_up() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let cleaned = dir.path().join("cleaned");
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; cat > /dev/null; touch \"$0\""]).arg(&cleaned);
        let mut process = Process::start_with_input("a shell", command)?;
        process.wait("it has begun", |line| (line == "begun").then_some(()))?;
        drop(process);
        assert!(cleaned.exists());
        Ok(())
    }
}
