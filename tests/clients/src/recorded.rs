//! Every recorded command of a client, asked again of a `vtflow serve` that serves what the cluster held then.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;
use vtflow_embedded::Snapshot;

use crate::{
    client::{Client, Ran},
    live::{Programs, Served},
    output::Output,
    report::{Report, Verdict},
    states::States,
};

/// A command and what came of it when it was recorded.
#[derive(Clone, Debug)]
pub struct Command {
    /// The client's version.
    pub client: String,
    /// The recording: client and number.
    pub from: String,
    /// The arguments, without `--server`.
    pub args: Vec<String>,
    /// The RPCs that it sent, in order.
    pub rpcs: Vec<String>,
    /// What it printed.
    pub ran: Ran,
}

/// The recorded commands of a client version that change nothing.
///
/// # Errors
///
/// The file is missing or damaged.
pub fn commands(tests: &Path, version: &str) -> anyhow::Result<Vec<Command>> {
    let file = tests.join("recordings/printed-by-clients.jsonl");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mut commands = Vec::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).context("printed-by-clients.jsonl")?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let texts =
            |key: &str| value[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let ran = Ran {
            exit: value["exit"].as_i64().and_then(|code| i32::try_from(code).ok()).context("an exit code")?,
            stdout: text("stdout"),
            stderr: text("stderr"),
        };
        commands.push(Command { client: text("client"), from: text("from"), args: texts("args"), rpcs: texts("rpcs"), ran });
    }
    commands.retain(|command| command.client == version);
    Ok(commands)
}

/// A server on one recorded state.
struct Serving {
    state: Snapshot,
    served: Served,
    _dir: TempDir,
}

impl Serving {
    fn start(programs: &Programs, state: Snapshot) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        state.save(&dir.path().join("state"))?;
        let path = dir.path().join("state").display().to_string();
        let served = Served::vtflow(programs, &["serve", "--snapshot", &path])?;
        Ok(Self { state, served, _dir: dir })
    }
}

/// Runs and compares all of a client's recorded commands.
///
/// # Errors
///
/// Something does not run; a difference is none.
pub fn compare(programs: &Programs, tests: &Path, states: &States, client: &Client, report: &mut Report) -> anyhow::Result<()> {
    let mut serving: Option<Serving> = None;
    for command in commands(tests, &client.version)? {
        let state = states.of(&command.from)?;
        let has_state = state.is_some();
        let state = match (state, &serving) {
            (Some(state), Some(serving)) if serving.state == state => None,
            (Some(state), _) => Some(state),
            // What is refused or not sent needs no state of its own.
            (None, Some(_)) => None,
            (None, None) => Some(Snapshot::load(&tests.join("snapshots/odd-rows"))?),
        };
        if let Some(state) = state {
            serving = None;
            serving.replace(Serving::start(programs, state)?);
        }
        let served = &serving.as_ref().context("started")?.served;
        let mark = served.mark();
        let ran = client.run(Some(&served.address), &command.args)?;
        let logged = served.logged(mark, command.rpcs.len());
        let (mut ours, mut theirs) = (Output::of(&ran), Output::of(&command.ran));
        ours.without_place();
        theirs.without_place();
        let sent: Vec<&String> = logged.iter().map(|rpc| &rpc.method).collect();
        let is_refused = logged.iter().any(|rpc| rpc.code == UNIMPLEMENTED);
        let verdict = if is_refused && command.rpcs.starts_with(&logged.iter().map(|rpc| rpc.method.clone()).collect::<Vec<_>>())
        {
            Verdict::Refused
        } else if sent != command.rpcs.iter().collect::<Vec<_>>() {
            Verdict::Different(format!("sends {sent:?}, not {:?}", command.rpcs))
        } else if has_state || command.rpcs.is_empty() {
            report.judge(ours, theirs)
        } else {
            shape(&ours, &theirs)
        };
        report.add(&client.version, &format!("recorded ({})", command.from), &command.args, verdict);
    }
    Ok(())
}

/// gRPC's code.
const UNIMPLEMENTED: u32 = 12;

/// The rows are others: the exit code and the kind of output must be the same.
fn shape(ours: &Output, theirs: &Output) -> Verdict {
    let is_same = ours.exit == theirs.exit && std::mem::discriminant(&ours.body) == std::mem::discriminant(&theirs.body);
    if is_same { Verdict::Shape } else { Verdict::Different(ours.difference(theirs).unwrap_or_default()) }
}
