//! One of Vitess's clients, run once a command.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

/// How long a command may take: a second, but for a machine that is busy with much else.
const PATIENCE: Duration = Duration::from_secs(300);

/// A `vtctldclient` of one version.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its folder's name, such as `v24`.
    pub version: String,
    /// The program.
    pub program: PathBuf,
}

/// What one run of a client came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; −1 if it was ended by a signal.
    pub exit: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error, the messages only: without times, levels and places in the source.
    pub stderr: String,
}

impl Client {
    /// The client of a version, where `.ci/clients` puts it.
    ///
    /// # Errors
    ///
    /// It is not built.
    pub fn built(clients: &Path, version: &str) -> anyhow::Result<Self> {
        let program = clients.join(version).join("vtctldclient");
        if !program.is_file() {
            bail!("{} is not built: .ci/clients {version}", program.display());
        }
        Ok(Self { version: version.to_owned(), program })
    }

    /// Runs it against a server. With no server it is run as it is, for its help.
    ///
    /// # Errors
    ///
    /// It cannot be started, or does not end within five minutes.
    pub fn run<T: AsRef<str>>(&self, server: Option<&str>, args: &[T]) -> anyhow::Result<Ran> {
        let place = || format!("{} {}", self.program.display(), args.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "));
        let mut command = Command::new(&self.program);
        if let Some(server) = server {
            command.args(["--server", server]);
        }
        command.args(args.iter().map(AsRef::as_ref)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(place)?;
        let read = |from: Option<Box<dyn std::io::Read + Send>>| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                // What was read before an error is shown.
                let _ = from.map(|mut from| from.read_to_end(&mut bytes));
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let stdout = read(child.stdout.take().map(|from| Box::new(from) as _));
        let stderr = read(child.stderr.take().map(|from| Box::new(from) as _));
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().with_context(place)? {
                break status;
            }
            if Instant::now() > until {
                let _ = child.kill();
                bail!("{}: no end after {PATIENCE:?}", place());
            }
            thread::sleep(Duration::from_millis(3));
        };
        let [stdout, stderr] = [stdout, stderr].map(|thread| thread.join().unwrap_or_default());
        Ok(Ran { exit: status.code().unwrap_or(-1), stdout, stderr: messages(&stderr) })
    }
}

/// The messages of a log: v24 writes JSON, older clients a prefix such as `E1123 08:40:00.123456 12345 main.go:56] `.
fn messages(log: &str) -> String {
    let message = |line: &str| {
        if let Some(message) = serde_json::from_str::<Value>(line).ok().as_ref().and_then(|value| value["msg"].as_str()) {
            return message.to_owned();
        }
        let is_prefix = |head: &str| {
            head.starts_with(['E', 'W', 'I', 'F']) && head[1..].starts_with(|c: char| c.is_ascii_digit()) && head.contains(".go:")
        };
        match line.split_once("] ") {
            Some((head, message)) if is_prefix(head) => message.to_owned(),
            _ => line.to_owned(),
        }
    };
    log.lines().map(message).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::messages;

    #[test]
    fn a_log_is_its_messages() {
        let log = "E1123 08:40:00.1 12345 main.go:56] no such thing\n{\"level\":\"ERROR\",\"msg\":\"nor this\"}\nusage: [x] y";
        assert_eq!(messages(log), "no such thing\nnor this\nusage: [x] y");
    }
}
