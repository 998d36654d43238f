//! `vtflow get keyspaces`, `get shards KEYSPACE`, `get tablets [KEYSPACE[/SHARD]]`: what the topology says, no tablet is called.

use std::process::ExitCode;

use clap::Args;
use futures_util::{StreamExt, stream};
use prost::Message;
use vtflow_planner::{
    Call, Failure, Lost, Status, Timestamp,
    proto::{
        topodata::TabletType,
        vtctldata::{
            FindAllShardsInKeyspaceRequest, FindAllShardsInKeyspaceResponse, GetKeyspaceRequest, GetKeyspacesResponse,
            GetTabletsRequest, GetTabletsResponse,
        },
    },
    rpc,
};
use vtflow_screen as screen;

use super::{
    plan::Request,
    view::{self, Format, Reading, Screen, ShowArgs, View},
};
use crate::{
    cli::cluster::open::OpenCluster,
    output::json::{Document, PlainList},
};

const GET_KEYSPACE: &str = "/vtctlservice.Vtctld/GetKeyspace";

#[derive(Args, Clone, Debug)]
pub(crate) struct GetKeyspacesArgs {
    #[command(flatten)]
    show: ShowArgs,
}

/// The keyspaces and, by keyspace, the shards; `None` where they could not be read.
pub(crate) struct Keyspaces {
    reply: Vec<u8>,
    shards: Vec<Option<FindAllShardsInKeyspaceResponse>>,
}

impl View for GetKeyspacesArgs {
    type Read = Keyspaces;

    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<Keyspaces> {
        let reply = view::ask(cluster, &keyspaces_call(), now).await;
        let mut failures = reply.failures;
        let bytes = match reply.result {
            Ok(bytes) => bytes,
            Err(status) => return Reading { result: Err(status), failures },
        };
        let mut shards = Vec::new();
        if self.show.is_for_people() {
            let names: Vec<String> = match GetKeyspacesResponse::decode(bytes.as_slice()) {
                Ok(reply) => reply.keyspaces.into_iter().map(|keyspace| keyspace.name).collect(),
                Err(error) => return Reading::failed(Status::unknown(error.to_string())),
            };
            let calls: Vec<Call> = names.iter().map(|name| shards_of(name)).collect();
            let replies: Vec<_> =
                stream::iter(&calls).map(|call| view::ask(cluster, call, now)).buffered(view::KEYSPACES_AT_ONCE).collect().await;
            for (name, reply) in names.iter().zip(replies) {
                failures.extend(reply.failures);
                let read = reply.result.and_then(|bytes| view::decode::<FindAllShardsInKeyspaceResponse>(&bytes));
                shards.push(read.map_err(|status| failures.push(unread(name, status.message))).ok());
            }
        }
        Reading { result: Ok(Keyspaces { reply: bytes, shards }), failures }
    }

    fn text(&self, screen: &Screen<'_, Keyspaces>) -> anyhow::Result<String> {
        let Keyspaces { reply, shards } = screen.read;
        let list = PlainList::read("vtctldata.GetKeyspacesResponse", "keyspaces", reply)?;
        if let Some(text) = view::document(self.show.output, &list) {
            return Ok(text?);
        }
        let keyspaces = GetKeyspacesResponse::decode(reply.as_slice())?.keyspaces;
        if self.show.output == Format::Name {
            return Ok(view::names(keyspaces.iter().map(|keyspace| keyspace.name.as_str())));
        }
        if keyspaces.is_empty() {
            return Ok(screen::nothing(&keyspaces_call(), screen.failures) + "\n");
        }
        let lines = screen::keyspaces(&keyspaces.into_iter().zip(shards.clone()).collect::<Vec<_>>());
        Ok(view::table(&screen::keyspace_table(&lines), self.show.width(screen.width)))
    }
}

pub(crate) fn keyspaces_call() -> Call {
    view::call(rpc::GET_KEYSPACES, Vec::new(), false)
}

/// A keyspace of which nothing is known.
pub(crate) fn unread(keyspace: &str, message: String) -> Failure {
    Failure {
        keyspace: keyspace.into(),
        shard: String::new(),
        tablet: String::new(),
        workflow: String::new(),
        lost: Lost::Record,
        message,
    }
}

/// Which shards.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShardsArgs {
    /// The keyspace
    keyspace: String,
}

impl Request for ShardsArgs {
    fn call(&self) -> anyhow::Result<Call> {
        Ok(shards_of(&self.keyspace))
    }
}

pub(crate) fn shards_of(keyspace: &str) -> Call {
    let request = FindAllShardsInKeyspaceRequest { keyspace: keyspace.into() };
    view::call(rpc::FIND_ALL_SHARDS_IN_KEYSPACE, request.encode_to_vec(), false)
}

#[derive(Args, Clone, Debug)]
pub(crate) struct GetShardsArgs {
    #[command(flatten)]
    shards: ShardsArgs,
    #[command(flatten)]
    show: ShowArgs,
}

impl View for GetShardsArgs {
    type Read = Vec<u8>;

    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<Vec<u8>> {
        let keyspace = &self.shards.keyspace;
        let reply = view::ask(cluster, &shards_of(keyspace), now).await;
        // A keyspace without shards and one that does not exist look the same there.
        if reply.result.as_ref().is_ok_and(Vec::is_empty)
            && let Err(status) = known(cluster, keyspace, now).await
        {
            return Reading::failed(status);
        }
        reply.into()
    }

    fn text(&self, screen: &Screen<'_, Vec<u8>>) -> anyhow::Result<String> {
        let keyspace = &self.shards.keyspace;
        let document = Document::read("vtctldata.FindAllShardsInKeyspaceResponse", screen.read)?;
        if let Some(text) = view::document(self.show.output, &document) {
            return Ok(text?);
        }
        let reply = FindAllShardsInKeyspaceResponse::decode(screen.read.as_slice())?;
        if self.show.output == Format::Name {
            let names: Vec<String> = reply.shards.keys().map(|shard| format!("{keyspace}/{shard}")).collect();
            return Ok(view::names(names.iter().map(String::as_str)));
        }
        if reply.shards.is_empty() {
            return Ok(screen::nothing(&shards_of(keyspace), screen.failures) + "\n");
        }
        let lines = screen::shards(&reply, screen.now);
        Ok(view::table(&screen::shard_table(&lines, self.show.extent()), self.show.width(screen.width)))
    }
}

/// The names of all keyspaces, ascending, or why they cannot be had; and what is missing.
pub(crate) async fn keyspace_names(cluster: &OpenCluster, now: Timestamp) -> (Result<Vec<String>, Status>, Vec<Failure>) {
    let reply = view::ask(cluster, &keyspaces_call(), now).await;
    let failures = reply.failures;
    let names = reply.result.and_then(|bytes| {
        let reply = GetKeyspacesResponse::decode(bytes.as_slice()).map_err(|error| Status::unknown(error.to_string()))?;
        Ok(screen::keyspace_names(&reply, &failures))
    });
    (names, failures)
}

/// The names of a keyspace's shards, ascending.
///
/// # Errors
/// Why they cannot be had.
pub(crate) async fn shard_names(cluster: &OpenCluster, keyspace: &str, now: Timestamp) -> Result<Vec<String>, Status> {
    let bytes = view::ask(cluster, &shards_of(keyspace), now).await.result?;
    Ok(view::decode::<FindAllShardsInKeyspaceResponse>(&bytes)?.shards.into_keys().collect())
}

/// Whether there is such a keyspace; otherwise, or if nobody can say, why not.
pub(crate) async fn known(cluster: &OpenCluster, keyspace: &str, now: Timestamp) -> Result<(), Status> {
    let request = GetKeyspaceRequest { keyspace: keyspace.into() }.encode_to_vec();
    view::ask(cluster, &view::call(GET_KEYSPACE, request, false), now).await.result.map(drop)
}

/// Which tablets.
#[derive(Args, Clone, Debug)]
pub(crate) struct TabletsArgs {
    /// Only those of this keyspace, or of this shard
    #[arg(value_name = "KEYSPACE[/SHARD]")]
    place: Option<String>,
    /// Only those of these cells
    #[arg(long, value_delimiter = ',', value_name = "CELL,...")]
    cell: Vec<String>,
    /// Only those of this type
    #[arg(long = "type", visible_alias = "tablet-type", value_name = "TYPE", value_parser = tablet_type)]
    tablet_type: Option<TabletType>,
    /// Fail altogether if any record cannot be read
    #[arg(long)]
    strict: bool,
}

pub(crate) fn tablet_type(text: &str) -> Result<TabletType, String> {
    match TabletType::from_str_name(&text.to_uppercase()) {
        Some(TabletType::Unknown) | None => {
            Err(format!("no tablet type {text}: primary, replica, rdonly, spare, experimental, backup, restore and drained are"))
        }
        Some(kind) => Ok(kind),
    }
}

impl TabletsArgs {
    fn keyspace_and_shard(&self) -> (&str, &str) {
        let place = self.place.as_deref().unwrap_or_default();
        place.split_once('/').unwrap_or((place, ""))
    }
}

impl Request for TabletsArgs {
    fn call(&self) -> anyhow::Result<Call> {
        let (keyspace, shard) = self.keyspace_and_shard();
        if self.place.as_ref().is_some_and(|place| keyspace.is_empty() || (shard.is_empty() && place.contains('/'))) {
            anyhow::bail!("{:?} is no KEYSPACE and no KEYSPACE/SHARD", self.place.as_deref().unwrap_or_default());
        }
        let request = GetTabletsRequest {
            keyspace: keyspace.into(),
            shard: shard.into(),
            cells: self.cell.clone(),
            tablet_type: self.tablet_type.unwrap_or_default().into(),
            ..GetTabletsRequest::default()
        };
        Ok(view::call(rpc::GET_TABLETS, request.encode_to_vec(), self.strict))
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct GetTabletsArgs {
    #[command(flatten)]
    tablets: TabletsArgs,
    #[command(flatten)]
    show: ShowArgs,
}

impl View for GetTabletsArgs {
    type Read = Vec<u8>;

    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<Vec<u8>> {
        let call = match self.tablets.call() {
            Ok(call) => call,
            Err(error) => return Reading::failed(Status::unknown(error.to_string())),
        };
        let reply = view::ask(cluster, &call, now).await;
        let keyspace = self.tablets.keyspace_and_shard().0;
        // To vtctld, a keyspace that does not exist is one without tablets.
        if !keyspace.is_empty()
            && reply.result.as_ref().is_ok_and(Vec::is_empty)
            && let Err(status) = known(cluster, keyspace, now).await
        {
            return Reading::failed(status);
        }
        reply.into()
    }

    fn text(&self, screen: &Screen<'_, Vec<u8>>) -> anyhow::Result<String> {
        let list = PlainList::read("vtctldata.GetTabletsResponse", "tablets", screen.read)?;
        if let Some(text) = view::document(self.show.output, &list) {
            return Ok(text?);
        }
        let lines = screen::tablets(&GetTabletsResponse::decode(screen.read.as_slice())?, screen.now);
        if self.show.output == Format::Name {
            return Ok(view::names(lines.iter().map(|line| line.alias.as_str())));
        }
        if lines.is_empty() {
            return Ok(screen::nothing(&self.tablets.call()?, screen.failures) + "\n");
        }
        Ok(view::table(&screen::tablet_table(&lines), self.show.width(screen.width)))
    }
}

pub(crate) async fn keyspaces(cluster: &OpenCluster, args: GetKeyspacesArgs) -> anyhow::Result<ExitCode> {
    view::run(cluster, &args, args.show.watch, args.show.is_for_people()).await
}

pub(crate) async fn shards(cluster: &OpenCluster, args: GetShardsArgs) -> anyhow::Result<ExitCode> {
    view::run(cluster, &args, args.show.watch, args.show.is_for_people()).await
}

pub(crate) async fn tablets(cluster: &OpenCluster, args: GetTabletsArgs) -> anyhow::Result<ExitCode> {
    view::run(cluster, &args, args.show.watch, args.show.is_for_people()).await
}
