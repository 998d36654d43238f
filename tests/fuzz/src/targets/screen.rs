//! Any reply on the screen and in the formats for scripts: nothing that a terminal obeys, nothing without end, no document that is none.

use std::collections::BTreeMap;

use prost::Message;
use vtflow::{fuzz, output::json};
use vtflow_planner::{
    Call, CallOptions, Code, Failure, Flow, Lost, Reply, Status, Timestamp,
    proto::{
        vtctldata::{
            FindAllShardsInKeyspaceResponse, GetKeyspacesResponse, GetSchemaMigrationsResponse, GetTabletsResponse,
            GetWorkflowsRequest, GetWorkflowsResponse, VDiffShowResponse, WorkflowStatusResponse,
        },
        vtflow::VExecResponse,
    },
    rpc,
    shell::is_hidden,
};
use vtflow_screen::{self as screen, Beside, Counted, Extent, SourceShards, Surroundings, Table};

use crate::{
    flow::{self, Order},
    input::{Input, Output},
    world::WORLDS,
};

/// Which reply, failures beside it, when, and its message; and with it a second message.
pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let which = input.below(9);
    let seconds = match input.byte() {
        0 => i64::MIN,
        255 => i64::MAX,
        other => WORLDS[0].now.seconds + (i64::from(other) - 128) * 5_000,
    };
    let now = Timestamp { seconds, nanos: 0 };
    let failures: Vec<Failure> = (0..input.below(4)).map(|_| failure(&mut input)).collect();
    let status = input.bytes();
    let bytes = input.rest();
    let whole =
        bytes.len() + status.len() + failures.iter().map(|failure| failure.place().len() + failure.message.len()).sum::<usize>();
    let page = Page { whole };
    page.missing(&failures);
    match which {
        0 | 1 => {
            let Ok(reply) = GetWorkflowsResponse::decode(bytes) else { return };
            page.workflows(&reply, WorkflowStatusResponse::decode(status).ok().as_ref(), which == 1, now);
            page.documents("vtctldata.GetWorkflowsResponse", bytes);
            page.overview(bytes, status, &failures, now);
        }
        2 => {
            let Ok(reply) = GetSchemaMigrationsResponse::decode(bytes) else { return };
            let beside = Beside { failures: &failures, is_whole: true, ..Beside::default() };
            let lines = screen::migrations(&reply, beside, now);
            page.table(&screen::migration_table(&lines));
            page.documents("vtctldata.GetSchemaMigrationsResponse", bytes);
            page.overview(status, bytes, &failures, now);
        }
        3 => {
            let Ok(reply) = VDiffShowResponse::decode(bytes) else { return };
            if let Ok(lines) = screen::vdiff_list(&reply, now) {
                page.table(&screen::vdiff_list_table(&lines));
            }
            let _ = screen::vdiff_is_under_way(&reply);
            let all = VDiffShowResponse::decode(status).ok();
            if let Some(summary) = screen::vdiff_summary("customer", "w", &reply, all.as_ref(), now) {
                summary.lines().iter().for_each(|line| page.line(line));
                for table in &screen::vdiff_tables(&summary) {
                    page.table(table);
                }
            }
            page.documents("vtctldata.VDiffShowResponse", bytes);
        }
        4 => {
            let Ok(reply) = FindAllShardsInKeyspaceResponse::decode(bytes) else { return };
            let lines = screen::shards(&reply, now);
            page.table(&screen::shard_table(&lines, Extent::All));
            page.table(&screen::shard_table(&lines, Extent::Some));
            page.documents("vtctldata.FindAllShardsInKeyspaceResponse", bytes);
        }
        5 => {
            let Ok(reply) = GetTabletsResponse::decode(bytes) else { return };
            page.table(&screen::tablet_table(&screen::tablets(&reply, now)));
            page.documents("vtctldata.GetTabletsResponse", bytes);
        }
        6 => {
            let Ok(reply) = GetKeyspacesResponse::decode(bytes) else { return };
            for name in &screen::keyspace_names(&reply, &failures) {
                page.line(name);
            }
            let shards = FindAllShardsInKeyspaceResponse::decode(status).ok();
            let keyspaces: Vec<_> = reply.keyspaces.into_iter().map(|keyspace| (keyspace, shards.clone())).collect();
            page.table(&screen::keyspace_table(&screen::keyspaces(&keyspaces)));
            page.documents("vtctldata.GetKeyspacesResponse", bytes);
        }
        7 => {
            let Ok(reply) = VExecResponse::decode(bytes) else { return };
            if let Ok(table) = screen::vexec::table(reply) {
                assert!(table.rows.iter().all(|row| row.values.len() == table.columns.len()), "a cell for each column");
            }
        }
        _ => {
            let text = String::from_utf8_lossy(bytes);
            page.line(&text);
            let _ = screen::next_step(&text);
            page.line(&screen::duration(seconds));
            page.line(&screen::visible_name(&text));
        }
    }
}

fn failure(input: &mut Input<'_>) -> Failure {
    let lost =
        [Lost::NoPrimary, Lost::Shard, Lost::CopyState, Lost::Logs, Lost::Stream, Lost::Workflow, Lost::Record, Lost::Migration];
    Failure {
        lost: *input.one(&lost),
        keyspace: input.text(),
        shard: input.text(),
        tablet: input.text(),
        workflow: input.text(),
        message: input.text(),
    }
}

/// What is looked at on a screen.
struct Page {
    /// Bytes that came in.
    whole: usize,
}

impl Page {
    /// A text as it is shown.
    fn line(&self, text: &str) {
        let shown = screen::printable(text);
        assert!(!shown.chars().any(is_hidden), "{shown:?}");
        assert!(shown.len() <= 40 * self.whole + 4_000, "a line of {} bytes from {}", shown.len(), self.whole);
    }

    fn table(&self, table: &Table) {
        for row in &table.rows {
            assert_eq!(row.cells.len(), table.columns.len(), "a cell for each column");
            row.cells.iter().for_each(|cell| self.line(cell));
        }
        for width in [Some(1), Some(80), None] {
            let shown = fuzz::table(table, width);
            assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'), "{shown:?}");
        }
        // What the page has.
        let _ = serde_json::to_string(table).expect("a table is data");
    }

    fn missing(&self, failures: &[Failure]) {
        let Some(missing) = screen::missing(failures) else {
            assert!(failures.is_empty());
            return;
        };
        assert_eq!(missing.parts.len(), failures.len(), "each failure is told");
        for part in &missing.parts {
            self.line(&part.place);
            self.line(&part.hint);
        }
        let call = Call { path: rpc::GET_WORKFLOWS.into(), request: Vec::new(), options: CallOptions::default() };
        self.line(&screen::nothing(&call, failures));
    }

    fn workflows(&self, reply: &GetWorkflowsResponse, status: Option<&WorkflowStatusResponse>, is_active: bool, now: Timestamp) {
        let request = GetWorkflowsRequest { active_only: is_active, ..GetWorkflowsRequest::default() };
        let lines = screen::workflows_of(&request, reply, now);
        assert_eq!(lines.len(), reply.workflows.len(), "a line for each workflow");
        self.table(&screen::workflow_table(&lines));
        for workflow in &reply.workflows {
            let described = screen::describe(workflow, status, &Surroundings::default(), None, now);
            self.table(&screen::stream_table(&described));
            self.table(&screen::copy_table(&described));
            described.troubles.iter().chain(&described.log_errors).for_each(|text| self.line(text));
            for step in &described.next {
                self.line(&step.command);
                // A command is copied into a shell: nothing in it is hidden there either.
                assert!(!step.command.chars().any(is_hidden), "{:?}", step.command);
            }
            let picture = screen::picture(workflow, now);
            for band in &picture.bands {
                assert!(band.target < picture.targets.len() && band.source.is_none_or(|at| at < picture.sources.len()));
                self.line(&band.label);
            }
            for lane in picture.sources.iter().chain(&picture.targets) {
                let is_within = (0.0..=1.0).contains(&lane.from) && (0.0..=1.0).contains(&lane.to);
                assert!(is_within, "{lane:?}");
            }
        }
        if let Some(call) = screen::stored_states("customer", &reply.workflows) {
            // It is ours, and is performed.
            let world = &WORLDS[0];
            let driven =
                flow::drive(&mut Flow::start(&call, world.now), Order::First, |ask, _, times| Some(world.answer(ask, times)));
            let reply_of = driven.reply.expect("a reply");
            if let Ok(bytes) = &reply_of.result {
                screen::put_stored_states(&mut reply.workflows.clone(), bytes);
            }
        }
    }

    fn overview(&self, workflows: &[u8], migrations: &[u8], failures: &[Failure], now: Timestamp) {
        let reply = |bytes: &[u8]| Reply::new(Ok(bytes.to_vec()), failures.to_vec());
        let (workflows, migrations) = (reply(workflows), reply(migrations));
        let failed = Reply::new(Err(Status { code: Code::Unknown, message: "x".into() }), failures.to_vec());
        for streams in [Ok(&workflows), Ok(&failed), Err("nobody")] {
            let lines = screen::overview(vec![screen::workflows_read("customer", streams, &BTreeMap::new(), now)]);
            self.table(&screen::overview_table(&lines, Counted::Workflows, Extent::All));
            let read = screen::migrations_read("customer", Ok(&migrations), streams, &SourceShards::Unknown, now);
            let lines = screen::overview(vec![read]);
            self.table(&screen::overview_table(&lines, Counted::Migrations, Extent::Some));
        }
    }

    /// JSON and YAML of a message are that.
    fn documents(&self, message: &str, bytes: &[u8]) {
        let text = json::json(message, bytes).expect("what prost decodes is printed");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert!(value.is_object());
        assert!(text.len() <= 2_000 * self.whole + 4_000, "{} bytes from {}", text.len(), self.whole);
        let yaml = json::yaml(message, bytes).expect("the same as YAML");
        assert!(!yaml.chars().any(|c| c.is_control() && c != '\n'), "{yaml:?}");
    }
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut statuses: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for world in WORLDS.iter() {
        for trace in &world.traces {
            if let Some(Reply { result: Ok(bytes), .. }) = &trace.reply
                && trace.call.path == rpc::WORKFLOW_STATUS
            {
                statuses.insert(world.name, bytes.clone());
            }
        }
    }
    for world in WORLDS.iter() {
        for (number, trace) in world.traces.iter().enumerate() {
            let Some(Reply { result: Ok(bytes), .. }) = &trace.reply else { continue };
            let which = match trace.call.path.as_str() {
                rpc::GET_WORKFLOWS => 0,
                rpc::GET_SCHEMA_MIGRATIONS => 2,
                rpc::VDIFF_SHOW => 3,
                rpc::FIND_ALL_SHARDS_IN_KEYSPACE => 4,
                rpc::GET_TABLETS => 5,
                rpc::GET_KEYSPACES => 6,
                rpc::VEXEC => 7,
                _ => continue,
            };
            if bytes.len() > 12_000 {
                continue;
            }
            let failure = |head: Output| head.byte(1).bytes(b"customer").bytes(b"-80").bytes(b"").bytes(b"").bytes(b"gone");
            let head = failure(Output::default().byte(which).byte(129).byte(1));
            let Output(mut seed) = head.bytes(statuses.get(world.name).map_or(&[][..], Vec::as_slice));
            seed.extend(bytes);
            seeds.push((format!("{}-{number}", world.name), seed));
        }
    }
    let Output(mut seed) = Output::default().byte(6).byte(128).byte(0).byte(0);
    seed.extend(b"\x0a\x14\x0a\x08customer\x12\x08\x2a\x02\x08\x01\x52\x02xy");
    seeds.push(("keyspaces".to_owned(), seed));
    let Output(mut seed) = Output::default().byte(8).byte(128).byte(0).byte(0);
    seed.extend("a\u{202e}b\n\u{1b}[31m".as_bytes());
    seeds.push(("text".to_owned(), seed));
    seeds
}
