//! `vtflow get vdiff KEYSPACE WORKFLOW [last|all|UUID]`: comparisons of source and target rows.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use prost::Message;
use vtflow_planner::{
    Call, Status, Timestamp,
    proto::vtctldata::{VDiffShowRequest, VDiffShowResponse},
    rpc,
};
use vtflow_screen as screen;

use super::{
    plan::Request,
    topology::unread,
    view::{self, Format, Reading, Screen, ShowArgs, View},
};
use crate::{
    cli::{cluster::open::OpenCluster, failures, serve},
    output::terminal,
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

/// What is read of `VDiff`s.
pub(crate) struct VDiffs {
    reply: VDiffShowResponse,
    /// The same of all `VDiff`s, if one is under way: when it last moved is there; `None` also if it cannot be had.
    all: Option<VDiffShowResponse>,
}

impl View for GetVDiffArgs {
    type Read = VDiffs;

    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<VDiffs> {
        let unreadable = |error: String| vtflow_planner::Status::unknown(error);
        let call = match self.vdiff.call() {
            Ok(call) => call,
            Err(error) => return Reading::failed(unreadable(error.to_string())),
        };
        let decode = |bytes: Vec<u8>| VDiffShowResponse::decode(bytes.as_slice()).map_err(|error| unreadable(error.to_string()));
        let reply = view::ask(cluster, &call, now).await;
        let (read, mut failures) = (reply.result.and_then(decode), reply.failures);
        let read = match read {
            Ok(read) => read,
            Err(status) => return Reading { result: Err(status), failures },
        };
        let mut all = None;
        if self.vdiff.which() != "all" && screen::vdiff_is_under_way(&read) {
            let call = VDiffArgs { which: "all".into(), ..self.vdiff.clone() }.call();
            if let Ok(call) = call {
                let read = view::ask(cluster, &call, now).await.result.and_then(decode);
                let lost =
                    |status: Status| unread(&self.vdiff.keyspace, format!("when the VDiff last moved: {}", status.message));
                all = read.map_err(|status| failures.push(lost(status))).ok();
            }
        }
        Reading { result: Ok(VDiffs { reply: read, all }), failures }
    }

    fn text(&self, screen: &Screen<'_, VDiffs>) -> anyhow::Result<String> {
        render(&self.vdiff, self.show.output, screen.read, screen.now, self.show.width(screen.width))
    }
}

fn render(args: &VDiffArgs, output: Format, read: &VDiffs, now: Timestamp, width: Option<usize>) -> anyhow::Result<String> {
    let of = format!("{}.{}", args.keyspace, args.workflow);
    if args.which() == "all" {
        let list = screen::vdiff_list(&read.reply, now)?;
        if let Some(text) = view::document(output, &list) {
            return Ok(text?);
        }
        if output == Format::Name {
            let mut uuids: Vec<&str> = list.iter().map(|line| line.uuid.as_str()).collect();
            uuids.dedup();
            return Ok(view::names(uuids));
        }
        if list.is_empty() {
            return Ok(screen::nothing(&args.call()?, &[]) + "\n");
        }
        return Ok(view::table(&screen::vdiff_list_table(&list), width));
    }
    let summary = screen::vdiff_summary(&args.keyspace, &args.workflow, &read.reply, read.all.as_ref(), now);
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
        return Ok(if output == Format::Name { String::new() } else { screen::nothing(&args.call()?, &[]) + "\n" });
    };
    if output == Format::Name {
        return Ok(view::names([summary.uuid.as_str()]));
    }
    Ok(screen(&of, &summary, width))
}

fn screen(of: &str, summary: &screen::VDiffSummary, width: Option<usize>) -> String {
    let title = format!("{of}  {}", summary.uuid).trim_end().to_owned();
    let said = std::iter::once(title).chain(summary.lines()).collect::<Vec<_>>().join("\n");
    let said: String = said.lines().map(|line| terminal::printable(line) + "\n").collect();
    let tables = screen::vdiff_tables(summary).iter().map(|table| view::table(table, width)).collect::<Vec<_>>().join("\n");
    format!("{said}\n{tables}")
}

pub(crate) async fn run(cluster: &OpenCluster, args: GetVDiffArgs) -> anyhow::Result<ExitCode> {
    args.vdiff.call()?;
    view::run(cluster, &args, args.show.watch, args.show.is_for_people()).await
}

/// Looks every so often until one ends, and shows what came of it. Unlike the client's, it ends with an error or a stop, too.
pub(crate) async fn wait(
    cluster: &OpenCluster,
    keyspace: String,
    workflow: String,
    uuid: String,
    every: Duration,
) -> anyhow::Result<ExitCode> {
    let args = GetVDiffArgs {
        vdiff: VDiffArgs { keyspace, workflow, which: uuid },
        show: ShowArgs { output: Format::Table, watch: None },
    };
    let ended = async {
        let mut said = String::new();
        loop {
            let now = cluster.now();
            let reading = args.read(cluster, now).await;
            let read = match reading.result {
                Ok(read) => read,
                Err(status) => {
                    failures::print_error(&anyhow::anyhow!("{}", status.message));
                    failures::print(&reading.failures);
                    return Ok(ExitCode::from(1));
                }
            };
            let VDiffArgs { keyspace, workflow, .. } = &args.vdiff;
            let summary = screen::vdiff_summary(keyspace, workflow, &read.reply, read.all.as_ref(), now).unwrap_or_default();
            if !matches!(summary.state.as_str(), "pending" | "started") {
                terminal::print(&render(&args.vdiff, Format::Table, &read, now, terminal::width())?);
                let is_well = summary.state == "completed" && !summary.has_mismatch;
                return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) });
            }
            let line = format!("{}, {} rows compared", summary.state, summary.rows_compared);
            if line != said {
                terminal::error_line(&terminal::printable(&line));
                said = line;
            }
            tokio::time::sleep(every).await;
        }
    };
    tokio::select! {
        ended = ended => ended,
        () = serve::stopped() => {
            terminal::error_line("not waited for any longer: it goes on; vtflow vdiff stop stops it");
            Ok(ExitCode::from(1))
        }
    }
}
