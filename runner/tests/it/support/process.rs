//! The program as a server: started, asked for its ports, signalled, and ended with the test.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
};

pub(crate) struct Process {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Process {
    /// Starts `vtflow` with these arguments and waits until it listens.
    pub(crate) fn start<S: AsRef<str>>(arguments: &[S]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vtflow"));
        command.args(arguments.iter().map(AsRef::as_ref));
        Self::started(command)
    }

    /// The same; it may have no more than so many files open.
    pub(crate) fn start_with_files(files: u32, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_vtflow")]).args(arguments);
        Self::started(command)
    }

    fn started(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it listened");
            // Vtctld on ADDRESS, HTTP on http://ADDRESS
            let Some(addresses) = line.trim().strip_prefix("Vtctld on ") else { continue };
            let (grpc, http) = addresses.split_once(", ").unwrap_or_else(|| panic!("{line}"));
            let http = http.strip_prefix("HTTP on http").map(|http| http.trim_start_matches('s').trim_start_matches("://"));
            // Without a port for HTTP: one where nobody is.
            let http = http.unwrap_or("127.0.0.1:0");
            return Self { child, stderr, grpc: grpc.parse().unwrap(), http: http.parse().unwrap() };
        }
    }

    /// The most that was ever in memory, in MB.
    pub(crate) fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
    }

    /// Sends a signal, such as `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of stderr that has this in it.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "it ended without {text:?}");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends the signal and returns the exit code and what it wrote to stderr.
    pub(crate) fn end(self, signal: &str) -> (i32, String) {
        self.signal(signal);
        self.ended()
    }

    /// The same when it ends by itself.
    pub(crate) fn ended(mut self) -> (i32, String) {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), text)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
