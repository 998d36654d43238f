//! `vtflow get vdiff KEYSPACE WORKFLOW [last|all|UUID]`: comparisons of source and target rows.

use std::{fmt::Write, process::ExitCode};

use clap::Args;
use prost::Message;
use vtflow_planner::{
    Call, Timestamp,
    proto::vtctldata::{VDiffShowRequest, VDiffShowResponse},
    rpc, summary,
};

use super::{
    connect::Connected,
    plan::Request,
    view::{self, Format, Line, Reading, Screen, ShowArgs, View},
};
use crate::output::{
    table::{Column, Fit},
    terminal,
};

/// Which `VDiff` of which workflow.
#[derive(Args, Clone, Debug)]
pub(crate) struct VDiffArgs {
    /// The target keyspace
    keyspace: String,
    /// The workflow
    workflow: String,
    /// The last one, all of them, or the one with this UUID
    #[arg(default_value = "last", value_name = "last|all|UUID")]
    which: String,
}

impl VDiffArgs {
    fn which(&self) -> String {
        self.which.to_lowercase()
    }
}

impl Request for VDiffArgs {
    fn call(&self) -> anyhow::Result<Call> {
        let which = self.which();
        let is_uuid =
            which.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && which.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        if !is_uuid && which != "last" && which != "all" {
            anyhow::bail!("{which} is neither last nor all nor a UUID");
        }
        let request = VDiffShowRequest { workflow: self.workflow.clone(), target_keyspace: self.keyspace.clone(), arg: which };
        Ok(view::call(rpc::VDIFF_SHOW, request.encode_to_vec(), false))
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct GetVDiffArgs {
    #[command(flatten)]
    vdiff: VDiffArgs,
    #[command(flatten)]
    show: ShowArgs,
}

impl View for GetVDiffArgs {
    type Read = VDiffShowResponse;

    async fn read(&self, cluster: &Connected, now: Timestamp) -> Reading<VDiffShowResponse> {
        let unreadable = |error: String| vtflow_planner::Status::unknown(error);
        let call = match self.vdiff.call() {
            Ok(call) => call,
            Err(error) => return Reading::failed(unreadable(error.to_string())),
        };
        let reply = view::ask(cluster, &call, now).await;
        let decode = |bytes: Vec<u8>| VDiffShowResponse::decode(bytes.as_slice()).map_err(|error| unreadable(error.to_string()));
        Reading { result: reply.result.and_then(decode), failures: reply.failures }
    }

    fn text(&self, screen: &Screen<'_, VDiffShowResponse>) -> anyhow::Result<String> {
        render(&self.vdiff, self.show.output, screen.read, self.show.width(screen.width))
    }
}

fn render(args: &VDiffArgs, output: Format, reply: &VDiffShowResponse, width: Option<usize>) -> anyhow::Result<String> {
    let of = format!("{}.{}", args.keyspace, args.workflow);
    if args.which() == "all" {
        let list = summary::vdiff_list(reply)?;
        if let Some(text) = view::document(output, &list) {
            return Ok(text?);
        }
        if output == Format::Name {
            let mut uuids: Vec<&str> = list.iter().map(|line| line.uuid.as_str()).collect();
            uuids.dedup();
            return Ok(view::names(uuids));
        }
        if list.is_empty() {
            return Ok(format!("No VDiffs of {of}.\n"));
        }
        let columns = [
            Column { heading: "VDIFF", fit: Fit::Middle(16) },
            Column { heading: "SHARD", fit: Fit::Whole },
            Column { heading: "STATE", fit: Fit::Whole },
        ];
        let line = |line: summary::VDiffLine| Line {
            has_trouble: line.state == "error",
            cells: vec![line.uuid, line.shard, line.state],
        };
        return Ok(view::lines(&columns, &list.into_iter().map(line).collect::<Vec<_>>(), width));
    }
    let summary = summary::vdiff_summary(&args.keyspace, &args.workflow, reply)?;
    // Without one, the client prints an empty object.
    let document = summary.as_ref().map_or_else(|| serde_json::json!({}), |_| serde_json::Value::Null);
    let text = match &summary {
        Some(summary) => view::document(output, summary),
        None => view::document(output, &document),
    };
    if let Some(text) = text {
        return Ok(text?);
    }
    let Some(summary) = summary else {
        return Ok(if output == Format::Name { String::new() } else { format!("No VDiff of {of}.\n") });
    };
    if output == Format::Name {
        return Ok(view::names([summary.uuid.as_str()]));
    }
    Ok(screen(&of, &summary, width))
}

fn screen(of: &str, summary: &summary::VDiffSummary, width: Option<usize>) -> String {
    let verdict = if summary.has_mismatch {
        "rows differ"
    } else if summary.state == "completed" {
        "no rows differ"
    } else {
        "no rows differ so far"
    };
    let rows = summary::count(summary.rows_compared);
    let mut out = format!("{of}  {}\n{}, {rows} rows compared, {verdict}\n", summary.uuid, summary.state);
    for (what, time) in [("started", &summary.started_at), ("completed", &summary.completed_at)] {
        if !time.is_empty() {
            let _ = writeln!(out, "{what} {time} UTC");
        }
    }
    let out = out.lines().map(|line| terminal::printable(line) + "\n").collect::<String>();
    let differ = |differ: bool| if differ { "rows differ".to_owned() } else { String::new() };
    let column = |heading| Column { heading, fit: Fit::Whole };
    let shards: Vec<Line> = summary
        .by_shard
        .iter()
        .map(|part| Line {
            cells: vec![
                part.shard.clone(),
                part.state.clone(),
                format!("{} of about {}", summary::count(part.rows_compared), summary::count(part.rows_total)),
                [differ(part.has_mismatch), summary.errors.get(&part.shard).cloned().unwrap_or_default()]
                    .into_iter()
                    .filter(|note| !note.is_empty())
                    .collect::<Vec<_>>()
                    .join("; "),
            ],
            has_trouble: part.has_mismatch || part.state == "error",
        })
        .collect();
    let tables: Vec<Line> = summary
        .tables
        .iter()
        .map(|table| Line {
            cells: vec![
                table.table.clone(),
                table.state.clone(),
                summary::count(table.rows_compared),
                differ(table.has_mismatch),
            ],
            has_trouble: table.has_mismatch,
        })
        .collect();
    let note = || Column { heading: "NOTE", fit: Fit::Rest };
    let shards = view::lines(&[column("SHARD"), column("STATE"), column("ROWS"), note()], &shards, width);
    let name = Column { heading: "TABLE", fit: Fit::Middle(12) };
    let tables = view::lines(&[name, column("STATE"), column("ROWS"), note()], &tables, width);
    format!("{out}\n{shards}\n{tables}")
}

pub(crate) async fn run(cluster: &Connected, args: GetVDiffArgs) -> anyhow::Result<ExitCode> {
    args.vdiff.call()?;
    view::run(cluster, &args, args.show.watch, args.show.is_screen()).await
}
