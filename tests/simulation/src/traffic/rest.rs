//! What must be so when nobody asks anything and all is well: what replies have said is so, a stop is told, and there is a way on.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use prost::Message;
use tokio::time::Duration;
use vtflow_planner::{
    proto::{
        topodata::TabletType,
        vtflow::{DiagnoseRequest, DiagnoseResponse, DiagnosedWorkflow},
    },
    rpc,
};

use crate::{
    random::Random,
    traffic::{
        asks::{Ask, Kind},
        case::{Shape, Side},
        ground::Ground,
    },
    wire::{Client, Ended},
    world::{CELLS, SERVER},
};

/// Phases in which nothing is left to do.
const HEALTHY: [&str; 5] = ["not_switched", "reads_switched", "writes_switched", "reversed", "ended"];

/// What an error says when not everything was taken back, or a tablet may not know what its shard's record says.
const STOPPED: [&str; 4] = [
    "from here there is only forward",
    "manual cleanup work may be necessary",
    "nothing was taken back",
    "repair it with --refresh",
];

/// How long a request may take when all is well.
const WELL: Duration = Duration::from_secs(600);

/// One request, from a host that nothing happens to. The error says why there is no answer.
pub(crate) async fn ask(ground: &Ground, path: &str, bytes: &[u8]) -> Result<Ended, String> {
    let end = ground.world.network.connect("operator", &format!("{SERVER}:15999")).await.map_err(|error| error.to_string())?;
    let client = Client::new(end).await.map_err(|error| error.to_string())?;
    match tokio::time::timeout(WELL, client.call(path, bytes, None)).await {
        Ok(ended) => ended,
        Err(_) => Err(format!("no answer after {WELL:?}")),
    }
}

/// What `diagnose` says of the workflow.
async fn diagnosed(ground: &Ground) -> Option<DiagnosedWorkflow> {
    let journal = &ground.world.journal;
    let (keyspace, workflow) = (ground.case.target.to_owned(), ground.case.workflow.to_owned());
    let request = DiagnoseRequest { keyspace, workflow, sequences: false }.encode_to_vec();
    let ended = match ask(ground, rpc::DIAGNOSE, &request).await {
        Ok(ended) if ended.code == 0 => ended,
        other => {
            journal.violation("a diagnosis is given", format!("{other:?}"));
            return None;
        }
    };
    let reply = DiagnoseResponse::decode(ended.messages.last()?.clone()).ok()?;
    let found = reply.workflows.into_iter().find(|it| it.workflow == ground.case.workflow).unwrap_or_default();
    let mechanisms: Vec<&str> = found.deviations.iter().map(|deviation| deviation.mechanism.as_str()).collect();
    journal.event(
        "operator",
        format_args!(
            "diagnose: {:?}, {mechanisms:?}, unknown {:?}, leftovers {}",
            found.phase,
            found.unknown,
            reply.leftovers.len()
        ),
    );
    Some(found)
}

/// What was before a round.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    pub(crate) is_healthy: bool,
    pub(crate) owner: Side,
}

/// Checks a cluster at rest after these requests. `ended`: how each ended, as far as its caller knows; whether it is healthy now.
pub(crate) async fn check(ground: &Ground, before: &Before, asked: &[(Ask, Option<Ended>)]) -> bool {
    let journal = &ground.world.journal;
    let refused = ground.refused();
    let Some(found) = diagnosed(ground).await else { return false };
    let is_unwanted = |ask: &Ask| matches!(ask.kind, Kind::Switch { has_reverse: false, .. });
    if asked.iter().any(|(ask, _)| is_unwanted(ask)) {
        ground.may_stand.store(true, Ordering::Relaxed);
    }
    // Nothing says whether streams back stand because somebody wanted it so.
    let stands = found.deviations.iter().any(|deviation| deviation.mechanism == "reverse_stopped");
    if !stands {
        ground.may_stand.store(false, Ordering::Relaxed);
    }
    let may_stand = ground.may_stand.load(Ordering::Relaxed);
    let is_well = found.deviations.iter().all(|deviation| may_stand && deviation.mechanism == "reverse_stopped");
    let is_healthy = (HEALTHY.contains(&found.phase.as_str()) || found.phase.is_empty()) && is_well;
    let is_said = |text: &&str| asked.iter().filter_map(|(_, ended)| ended.as_ref()).any(|ended| ended.text.contains(*text));
    let is_told = STOPPED.iter().any(is_said);
    journal.event("operator", format_args!("writes are the {:?}'s, refused: {refused:?}", ground.owner()));
    journal.count("phase", &found.phase);
    if !refused.is_empty() && is_healthy && !is_told {
        // What a tablet has not read yet is in no record; whoever asked would have been told of it.
        if asked.iter().any(|(_, ended)| ended.is_none()) {
            journal.count("limit", "a tablet refuses by an old record, and whoever asked has not heard of it");
        } else {
            let text = format!("{refused:?}, and diagnose finds nothing wrong with {}", found.phase);
            journal.violation("a stop is told", text);
        }
    }
    if is_healthy {
        for text in ground.beside_wrong() {
            journal
                .violation("streams of others go on", format!("{text}, and diagnose finds nothing wrong with {}", found.phase));
        }
    }
    let open = ground.open();
    let both: Vec<_> = open.iter().filter(|(side, table)| open.contains(&(side.other(), *table))).collect();
    if !both.is_empty()
        // Targets of other kinds deny nothing before their first switch.
        && ground.case.shape == Shape::Tables
        && is_healthy
        && !is_told
        && found.phase != "ended"
        && !found.phase.is_empty()
    {
        journal.violation("one side takes writes", format!("{both:?} in {}", found.phase));
    }
    if let [(ask, Some(ended))] = asked {
        if ended.code == 0 {
            // A repair says what it leaves alone.
            if !refused.is_empty() && !matches!(ask.kind, Kind::Repair { .. }) {
                journal.violation("what is done is done", format!("{:?} is said to be done: {refused:?}", ask.kind));
            }
            for text in undone(ground, &ask.kind, before) {
                journal.violation("what is done is done", format!("{:?}: {text}", ask.kind));
            }
        } else if before.is_healthy && is_known(&ask.kind, ended.code) && !STOPPED.iter().any(|text| ended.text.contains(text)) {
            if !refused.is_empty() {
                let text = format!("{:?} has failed, {refused:?}: {}", ask.kind, ended.text);
                journal.violation("what fails is taken back", text);
            }
            if before.owner != ground.owner() {
                let text = format!("{:?} has failed, and writes are the {:?}'s: {}", ask.kind, ground.owner(), ended.text);
                journal.violation("what fails is taken back", text);
            }
        }
    }
    is_healthy && refused.is_empty()
}

/// Whether what fails is taken back, and its caller has heard to the end what became of it: not one whose time was over before.
fn is_known(kind: &Kind, code: i32) -> bool {
    matches!(kind, Kind::Switch { .. }) && !matches!(code, 1 | 4)
}

/// What is not as it must be after a request that is said to be done.
fn undone(ground: &Ground, kind: &Kind, before: &Before) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    let mut must = |is_so: bool, text: &str| {
        if !is_so {
            texts.insert(text.to_owned());
        }
    };
    let case = &ground.case;
    match kind {
        Kind::Switch { types, is_back, has_reverse, cells } => {
            let to = if *is_back { Side::Source } else { Side::Target };
            if types.contains(&TabletType::Primary) {
                must(ground.owner() == to, "writes do not go there");
                // What was there already was not switched by this request.
                if before.owner != to {
                    let (own, other) = if *is_back { (case.reverse, case.workflow) } else { (case.workflow, case.reverse) };
                    let streams = ground.streams(to, own);
                    must(!streams.is_empty(), "the streams are gone");
                    must(streams.iter().all(|(_, message)| message == "FROZEN"), "the streams are not frozen");
                    let others = ground.streams(to.other(), other);
                    must(!others.is_empty(), "there are no streams back");
                    let runs = others.iter().all(|(state, _)| state == "Running");
                    must(!has_reverse || runs, "the streams back do not run");
                    let stands = others.iter().all(|(state, _)| state == "Stopped");
                    must(*has_reverse || stands, "the streams back run");
                }
            }
            for of in types.iter().filter(|of| **of != TabletType::Primary) {
                for cell in CELLS.iter().filter(|cell| cells.is_empty() || cells.iter().any(|it| it == *cell)) {
                    let is_there = ground.reads(cell, *of).is_none_or(|side| side == to);
                    must(is_there, &format!("{} reads of {cell} do not go there", of.as_str_name().to_lowercase()));
                }
            }
        }
        Kind::Complete { keeps_data } => {
            must(ground.streams(Side::Target, case.workflow).is_empty(), "its streams are there");
            must(case.is_reshard() || ground.streams(Side::Source, case.reverse).is_empty(), "its streams back are there");
            must(ground.has_tables(Side::Target), "the target's tables are gone");
            let is_gone = !ground.has_tables(Side::Source);
            must(case.is_reshard() || *keeps_data != is_gone, "the source's tables are not as was wanted");
        }
        Kind::Cancel { keeps_data } => {
            must(ground.streams(Side::Target, case.workflow).is_empty(), "its streams are there");
            must(ground.streams(Side::Source, case.reverse).is_empty(), "its streams back are there");
            must(ground.has_tables(Side::Source), "the source's tables are gone");
            let is_gone = !ground.has_tables(Side::Target);
            // Of a tenant the rows go alone.
            let has_tables = matches!(case.shape, Shape::Tables | Shape::Partial);
            must(!has_tables || *keeps_data != is_gone, "the target's tables are not as was wanted");
        }
        Kind::Mirror { .. } | Kind::Repair { .. } => {}
    }
    texts
}

/// All is well, and the cluster is not as it should be: one of the same requests again is the way on, or a switch there or back. Now and
/// then somebody tries a repair before, which must at least do no harm; with `--refresh`, for somebody who has not seen why it stopped.
pub(crate) async fn mend(ground: &Ground, asked: &[Ask], choices: &mut Random) -> bool {
    let journal = &ground.world.journal;
    let direction = choices.pick(&["forward", "back"]).copied().unwrap_or_default();
    let repair = choices.percent(40).then(|| Ask::of(&ground.case, Kind::Repair { direction, refreshes: true }, 0));
    let switches = [Ask::switch(&ground.case, false), Ask::switch(&ground.case, true)];
    let last = ["forward", "back"].map(|direction| Ask::of(&ground.case, Kind::Repair { direction, refreshes: true }, 0));
    let ways: Vec<&Ask> = repair.iter().chain(asked.iter().rev()).chain(&switches).chain(&last).collect();
    let mut said = Vec::new();
    for way in &ways {
        let before = Before { is_healthy: false, owner: ground.owner() };
        let ended = match ask(ground, way.path, &way.bytes).await {
            Ok(ended) => ended,
            Err(error) => {
                journal.violation("there is a way on", format!("{:?} has no answer: {error}", way.kind));
                return false;
            }
        };
        journal.event("operator", format_args!("{:?} again: code {} {}", way.kind, ended.code, ended.text));
        said.push(ended.text.clone());
        if check(ground, &before, &[((*way).clone(), Some(ended))]).await {
            journal.count("mend", format!("healthy after request {}", said.len()));
            journal.count("mended by", way.kind.name(&ground.case));
            return true;
        }
    }
    let kinds: Vec<_> = ways.iter().map(|way| &way.kind).collect();
    journal.violation("there is a way on", format!("{kinds:?}: {said:?}"));
    false
}
