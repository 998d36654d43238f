//! Programs that run and end: what they printed, how they ended, how long they took.

use std::{
    io::Read,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

/// What a program did.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// Its words, for messages.
    pub(crate) line: String,
    /// `None` if it was ended by a signal, which it is when its time is over.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// Everything it did, for a message.
    pub(crate) fn report(&self) -> String {
        let took = self.took.as_secs_f64();
        format!("{}\n(exit code {:?}, {took:.1} s)\n{}\n{}", self.line, self.code, cut(&self.stdout), cut(&self.stderr))
    }

    /// # Errors
    ///
    /// If it did not end well.
    pub(crate) fn must_succeed(self) -> anyhow::Result<Self> {
        anyhow::ensure!(self.code == Some(0), "{}", self.report());
        Ok(self)
    }
}

/// The first lines, and how many more there are.
fn cut(text: &str) -> String {
    let mut lines: Vec<String> =
        text.lines().take(LINES_SHOWN).map(|line| line.chars().take(CHARACTERS_SHOWN).collect()).collect();
    let more = text.lines().count().saturating_sub(LINES_SHOWN);
    lines.extend((more > 0).then(|| format!("… and {more} lines more")));
    lines.join("\n")
}

const LINES_SHOWN: usize = 40;
const CHARACTERS_SHOWN: usize = 400;

/// Runs a program to its end, with nothing to read; it is killed when its time is over.
pub(crate) fn run(mut command: Command, limit: Duration) -> anyhow::Result<Ran> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let line = line.join(" ");
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot be run: {line}"))?;
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= limit {
            child.kill()?;
            break child.wait()?;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().unwrap_or_default());
    Ok(Ran { line, code: status.code(), stdout, stderr, took })
}
