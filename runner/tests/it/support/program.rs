//! The program itself, run to its end as people run it, and what it printed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    /// Without the lines that tell of progress: whether there are any depends on how busy the machine is.
    pub(crate) stderr: String,
}

/// Runs `vtflow` with these arguments. Fails if it is not done within `limit`, which should be far more than it needs, or panics.
pub(crate) fn vtflow_within<S: AsRef<str>>(limit: Duration, args: &[S]) -> Ran {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let directory = TempDir::new().unwrap();
    // Files, because a pipe that nobody empties would stop the program.
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_vtflow"))
        .args(&args)
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = program.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > limit {
            program.kill().unwrap();
            program.wait().unwrap();
            panic!("vtflow {args:?} is not done after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let read = |file| String::from_utf8(fs::read(file).unwrap()).expect("what is printed is UTF-8");
    let code = status.code().unwrap_or_else(|| panic!("vtflow {args:?} was ended by a signal"));
    let stderr = read(err).split_inclusive('\n').filter(|line| !line.starts_with("reading ")).collect();
    let ran = Ran { code, stdout: read(out), stderr };
    assert!(!ran.stderr.contains("panicked"), "vtflow {args:?} panicked:\n{}", ran.stderr);
    ran
}

/// As [`vtflow_within`] a minute.
pub(crate) fn vtflow<S: AsRef<str>>(args: &[S]) -> Ran {
    vtflow_within(Duration::from_secs(60), args)
}

/// The folder of one of the project's cases.
pub(crate) fn case(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases")).join(name)
}

impl Ran {
    /// The printed JSON without what depends on the moment.
    pub(crate) fn json(&self) -> Value {
        let mut value = serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        drop_lags(&mut value);
        value
    }
}

fn drop_lags(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("_lag"));
            fields.values_mut().for_each(drop_lags);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_lags),
        _ => {}
    }
}

/// A recorded cluster of the project's.
pub(crate) fn recorded(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots").join(name)
}

/// A copy of a snapshot, to be damaged: its folder within a temporary one.
pub(crate) fn copied(snapshot: &Path) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let to = directory.path().join("snapshot");
    fs::create_dir_all(to.join("tablets")).unwrap();
    for file in ["snapshot.json", "topo.json"] {
        fs::copy(snapshot.join(file), to.join(file)).unwrap();
    }
    for tablet in fs::read_dir(snapshot.join("tablets")).unwrap() {
        let tablet = tablet.unwrap();
        fs::copy(tablet.path(), to.join("tablets").join(tablet.file_name())).unwrap();
    }
    (directory, to)
}

/// `vtflow` at a terminal (util-linux's script), 100 columns wide and without colours: what is typed goes in by its stdin, and all that
/// is printed comes out by its stdout.
pub(crate) fn at_terminal<S: AsRef<str>>(args: &[S]) -> Child {
    let words = std::iter::once(env!("CARGO_BIN_EXE_vtflow")).chain(args.iter().map(AsRef::as_ref));
    let line: Vec<String> = words.map(|word| format!("'{word}'")).collect();
    Command::new("script")
        .args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"])
        .envs([("COLUMNS", "100"), ("NO_COLOR", "1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of Debian's bsdutils")
}

/// Its flag.
pub(crate) fn snapshot_flag(directory: &Path) -> [String; 2] {
    ["--snapshot".into(), directory.display().to_string()]
}
