//! What a reply may say: nothing is missing without being named, and nothing is said to run that was not read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

use prost::Message;
use tokio::time::{Duration, Instant};
use vtflow_planner::{Failure, proto::vtctldata as data, rpc};

use crate::{
    requests::Request,
    tablets::{Shard, Streams},
    wire::Ended,
    world::{World, alias_text},
};

/// A reply to a read may be of one that began so much earlier: others have asked the same.
const SHARED: Duration = Duration::from_secs(2);

/// Checks what a caller is told.
pub(crate) fn check(world: &World, request: &Request, is_repeated: bool, ended: &Ended, asked: Instant) {
    if let Some(mark) = &request.mark {
        change(world, request, mark, is_repeated, ended, Window { from: asked, until: Instant::now() });
    }
    if ended.code != 0 {
        return;
    }
    let Some(message) = ended.messages.last() else {
        world.journal.violation("a reply is a message", request.served.path);
        return;
    };
    let from = asked.checked_sub(SHARED).unwrap_or(asked);
    let window = Window { from, until: Instant::now() };
    let failures = Failures::read(ended);
    match request.served.path {
        rpc::GET_WORKFLOWS if request.is_whole => workflows(world, request, message, &failures, window),
        rpc::GET_SCHEMA_MIGRATIONS if request.is_whole => migrations(world, request, message, &failures, window),
        rpc::GET_TABLETS => tablets(world, request, message, &failures),
        _ => {}
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    from: Instant,
    until: Instant,
}

/// What a reply says is missing.
struct Failures {
    named: Vec<Failure>,
    has_omitted: bool,
}

impl Failures {
    fn read(ended: &Ended) -> Self {
        let named = ended.trailers.get("vtflow-failures").and_then(|value| serde_json::from_slice(value.as_bytes()).ok());
        Self { named: named.unwrap_or_default(), has_omitted: ended.trailers.contains_key("vtflow-failures-omitted") }
    }

    /// Whether they account for what a shard has not said of something.
    fn account_for(&self, shard: &str, workflow: &str) -> bool {
        let is_of = |failure: &Failure| {
            (failure.shard == shard || failure.shard.is_empty()) && (failure.workflow.is_empty() || failure.workflow == workflow)
        };
        self.has_omitted || self.named.iter().any(is_of)
    }
}

/// The streams that were there all the time.
fn steady(states: &[Streams]) -> BTreeMap<i64, &str> {
    let Some((first, others)) = states.split_first() else { return BTreeMap::new() };
    let stays = |id: &i64| others.iter().all(|streams| streams.contains_key(id));
    first.iter().filter(|(id, _)| stays(id)).map(|(id, stream)| (*id, stream.workflow.as_str())).collect()
}

fn has_lied(world: &World, shard: &Shard, window: Window) -> bool {
    shard.tablets.iter().filter_map(|alias| world.tablets.get(alias)).any(|tablet| tablet.has_lied(window.from, window.until))
}

/// What is said to be applied must be there, and what is said not to be must never come.
fn change(world: &World, request: &Request, mark: &str, is_repeated: bool, ended: &Ended, window: Window) {
    for shard in world.of_keyspace(&request.keyspace).filter(|shard| !has_lied(world, shard, window)) {
        let states = shard.streams_within(window.from, window.until);
        let is_there = states.iter().flat_map(|streams| streams.values()).any(|stream| stream.cell == mark);
        let place = format!("{}/{} ", shard.keyspace, shard.name);
        let verdict = ended.text.lines().find_map(|line| line.strip_prefix(&place)?.split_once(": ").map(|(_, verdict)| verdict));
        let has_streams = steady(&states).values().any(|workflow| *workflow == request.name);
        let is_applied = verdict.is_some_and(|verdict| verdict.starts_with("applied")) || ended.code == 0 && has_streams;
        if is_applied && !is_there {
            world.journal.violation("a change is what its caller is told", format!("{place}is said to have {mark}, and has not"));
        }
        // Of several requests with one mark, another may have made the change.
        if !is_repeated && verdict.is_some_and(|verdict| verdict.starts_with("not applied")) {
            if is_there {
                let text = format!("{place}is said not to have {mark}, and has: {}", ended.text);
                world.journal.violation("a change is what its caller is told", text);
            }
            world.denied.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::clone(shard), mark.to_owned()));
        }
        let known =
            ["applied", "not applied", "unknown"].iter().find(|known| verdict.is_some_and(|said| said.starts_with(*known)));
        if let Some(known) = known {
            world.journal.count("verdict", *known);
        }
    }
}

fn workflows(world: &World, request: &Request, message: &[u8], failures: &Failures, window: Window) {
    let Ok(reply) = data::GetWorkflowsResponse::decode(message) else {
        world.journal.violation("a reply is a message", "GetWorkflows cannot be decoded");
        return;
    };
    // By shard and number: the workflow and the state.
    let mut said: BTreeMap<(&str, i64), (&str, &str)> = BTreeMap::new();
    for workflow in &reply.workflows {
        for (place, streams) in &workflow.shard_streams {
            let shard = place.split('/').next().unwrap_or_default();
            for stream in &streams.streams {
                said.insert((shard, stream.id), (workflow.name.as_str(), stream.state.as_str()));
            }
        }
    }
    for shard in world.of_keyspace(&request.keyspace).filter(|shard| !has_lied(world, shard, window)) {
        let states = shard.streams_within(window.from, window.until);
        for (id, workflow) in steady(&states) {
            let is_wanted = request.name.is_empty() || request.name == workflow;
            if is_wanted && !said.contains_key(&(shard.name.as_str(), id)) && !failures.account_for(&shard.name, workflow) {
                let text = format!("{}/{}: stream {id} of {workflow} is neither there nor failed", shard.keyspace, shard.name);
                world.journal.violation("every target is accounted for", text);
            }
        }
        let was_read = shard
            .tablets
            .iter()
            .filter_map(|alias| world.tablets.get(alias))
            .any(|tablet| tablet.has_answered(window.from, window.until));
        for ((_, id), (workflow, state)) in said.iter().filter(|((of, _), _)| *of == shard.name) {
            let text = || format!("{}/{}: stream {id} of {workflow} is said to be {state}", shard.keyspace, shard.name);
            if *state == "Unknown" && *id == 0 {
                // It stands for all that this shard has of the workflow.
                if !failures.account_for(&shard.name, workflow) {
                    world.journal.violation("every target is accounted for", format!("{}, and nothing failed", text()));
                }
                continue;
            }
            if !was_read {
                world.journal.violation("nothing is told that was not read", format!("{}, and no tablet was read", text()));
            }
            let runs = |streams: &Streams| streams.get(id).is_some_and(|stream| stream.state == "Running");
            if *state == "Running" && !states.iter().any(runs) {
                world.journal.violation("nothing is told that was not read", text());
            }
        }
    }
}

fn migrations(world: &World, request: &Request, message: &[u8], failures: &Failures, window: Window) {
    let Ok(reply) = data::GetSchemaMigrationsResponse::decode(message) else {
        world.journal.violation("a reply is a message", "GetSchemaMigrations cannot be decoded");
        return;
    };
    let said: BTreeSet<(&str, &str)> =
        reply.migrations.iter().map(|migration| (migration.shard.as_str(), migration.uuid.as_str())).collect();
    for shard in world.of_keyspace(&request.keyspace).filter(|shard| !has_lied(world, shard, window)) {
        for uuid in shard.migrations() {
            if !said.contains(&(shard.name.as_str(), uuid.as_str())) && !failures.account_for(&shard.name, "") {
                let text = format!("{}/{}: migration {uuid} is neither there nor failed", shard.keyspace, shard.name);
                world.journal.violation("every target is accounted for", text);
            }
        }
    }
}

fn tablets(world: &World, request: &Request, message: &[u8], failures: &Failures) {
    let Ok(reply) = data::GetTabletsResponse::decode(message) else {
        world.journal.violation("a reply is a message", "GetTablets cannot be decoded");
        return;
    };
    let said: BTreeSet<String> = reply.tablets.iter().map(|tablet| alias_text(tablet.alias.as_ref())).collect();
    let wanted = world.tablets.values().filter(|tablet| request.keyspace.is_empty() || tablet.shard.keyspace == request.keyspace);
    for tablet in wanted {
        if !said.contains(&tablet.alias) && failures.named.is_empty() && !failures.has_omitted {
            world
                .journal
                .violation("every target is accounted for", format!("{} is not listed, and nothing failed", tablet.alias));
        }
    }
}
