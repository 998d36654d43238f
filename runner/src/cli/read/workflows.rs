//! `vtflow get workflows [KEYSPACE]`.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use prost::Message;
use vtflow_planner::{
    Call, Reply, Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse},
    rpc,
};
use vtflow_screen::{self as screen, Counted, SourceShards};

use super::{
    describe,
    overview::{Overview, Part},
    view::{self, Format, Reading, Screen, ShowArgs, View},
};
use crate::{
    cli::{args::WorkflowsArgs, cluster::open::OpenCluster},
    output::json::Document,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct GetWorkflowsArgs {
    /// The target keyspace; all of them at a glance without it
    keyspace: Option<String>,
    #[command(flatten)]
    workflows: WorkflowsArgs,
    /// Fail altogether if any shard gives no answer
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    show: ShowArgs,
}

impl GetWorkflowsArgs {
    /// All workflows of a keyspace, as a table.
    #[cfg(feature = "embedded")]
    pub(crate) fn all_of(keyspace: &str) -> Self {
        let workflows = WorkflowsArgs { workflow: None, active_only: false, logs: false, shards: Vec::new() };
        let show = ShowArgs { output: Format::Table, watch: None };
        Self { keyspace: Some(keyspace.into()), workflows, strict: false, show }
    }
}

impl WorkflowsArgs {
    /// The request that these arguments stand for.
    pub(crate) fn call(&self, keyspace: &str, name_only: bool, strict: bool) -> Call {
        view::call(rpc::GET_WORKFLOWS, self.request(keyspace, name_only).encode_to_vec(), strict)
    }

    fn request(&self, keyspace: &str, name_only: bool) -> GetWorkflowsRequest {
        GetWorkflowsRequest {
            keyspace: keyspace.into(),
            active_only: self.active_only,
            name_only,
            workflow: self.workflow.clone().unwrap_or_default(),
            include_logs: self.logs,
            shards: self.shards.clone(),
        }
    }
}

pub(crate) async fn run(cluster: &OpenCluster, args: GetWorkflowsArgs) -> anyhow::Result<ExitCode> {
    let GetWorkflowsArgs { keyspace, workflows, strict, show } = args;
    let of = |keyspace: String| WorkflowsOf { keyspace, workflows: workflows.clone(), strict, show: show.clone() };
    match keyspace {
        Some(keyspace) => view::run(cluster, &of(keyspace), show.watch, show.is_for_people()).await,
        None if !workflows.shards.is_empty() => {
            anyhow::bail!("--shards are those of a keyspace: vtflow get workflows KEYSPACE --shards ...")
        }
        None => view::run(cluster, &Overview { of, show: show.clone() }, show.watch, show.is_for_people()).await,
    }
}

/// The command about one keyspace.
struct WorkflowsOf {
    keyspace: String,
    workflows: WorkflowsArgs,
    strict: bool,
    show: ShowArgs,
}

impl WorkflowsOf {
    fn call(&self) -> Call {
        self.workflows.call(&self.keyspace, self.show.output == Format::Name, self.strict)
    }
}

/// The reply, and what is known of the keyspaces that its workflows read.
pub(crate) struct Found {
    reply: Vec<u8>,
    sources: BTreeMap<String, SourceShards>,
}

impl View for WorkflowsOf {
    type Read = Found;

    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<Found> {
        let Reply { result, failures, .. } = view::ask(cluster, &self.call(), now).await;
        let mut reply = match result {
            Ok(reply) => reply,
            Err(status) => return Reading { result: Err(status), failures },
        };
        let mut sources = BTreeMap::new();
        // Documents are the reply as it is, and names say nothing of states and sources.
        if self.show.is_for_people()
            && let Ok(mut found) = GetWorkflowsResponse::decode(reply.as_slice())
        {
            sources = describe::look_around(cluster, &self.keyspace, &mut found.workflows, now).await;
            reply = found.encode_to_vec();
        }
        Reading { result: Ok(Found { reply, sources }), failures }
    }

    fn text(&self, screen: &Screen<'_, Found>) -> anyhow::Result<String> {
        let Found { reply, sources } = screen.read;
        let mut reply = GetWorkflowsResponse::decode(reply.as_slice())?;
        // A request without a name asks for all: who names the one without a name gets that.
        if let Some(name) = &self.workflows.workflow {
            reply.workflows.retain(|workflow| workflow.name == *name);
        }
        let document = Document::read(Self::MESSAGE, &reply.encode_to_vec())?;
        if let Some(text) = view::document(self.show.output, &document) {
            return Ok(text?);
        }
        if self.show.output == Format::Name {
            return Ok(view::names(reply.workflows.iter().map(|workflow| workflow.name.as_str())));
        }
        let workflows = screen::workflows_with(&self.workflows.request(&self.keyspace, false), &reply, sources, screen.now);
        if workflows.is_empty() {
            return Ok(screen::nothing(&self.call(), screen.failures) + "\n");
        }
        Ok(view::table(&screen::workflow_table(&workflows), self.show.width(screen.width)))
    }
}

impl Part for WorkflowsOf {
    const COUNTED: Counted = Counted::Workflows;
    const MESSAGE: &'static str = "vtctldata.GetWorkflowsResponse";

    fn reply(read: &Found) -> &[u8] {
        &read.reply
    }

    fn things(&self, read: &Found, now: Timestamp) -> anyhow::Result<Vec<screen::Thing>> {
        let reply = GetWorkflowsResponse::decode(read.reply.as_slice())?;
        Ok(screen::workflows_with(&self.workflows.request(&self.keyspace, false), &reply, &read.sources, now)
            .into_iter()
            .map(Into::into)
            .collect())
    }
}
