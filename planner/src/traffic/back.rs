//! What a way back of writes leaves that ends on its way: of tables and of shards alike.
//!
//! The sides keep their names: the target, which writes went to, is what a way back closes, and its journal is on the target's shards.

use std::collections::BTreeSet;

use super::{
    deviation::{Deviation, Mechanism as M, Rerun},
    evidence::{Evidence, Stream, StreamState},
    kind::Kind,
    phase::{Facts, Half, is_new},
    repair::{self, Action, Change, Direction, Repair, streams},
    routing::{Share, Way},
    text::{listed, of_streams},
};

/// What is told of it.
pub(crate) fn deviation(facts: &Facts<'_>, half: Half) -> Deviation {
    let evidence = facts.evidence;
    let is_held = facts.is_held_back();
    // Once writes are back, a target that is closed is as it is to be.
    let is_closed = facts.closed_back != Some(Share::None) && facts.writes != Some(Way::Source);
    let mut places: Vec<String> = Vec::new();
    places
        .extend(evidence.target.shards.keys().map(|shard| format!("{}/{shard}", evidence.target.keyspace)).filter(|_| is_closed));
    places.extend(of_streams(&evidence.source, &facts.reverse).into_iter().filter(|_| !is_closed));
    let (mechanism, rerun, repairs) = match half {
        Half::BeforeJournal => {
            let rerun = if is_held { Rerun::HealsAtAnyLag } else { Rerun::Heals };
            (M::ReversalInterrupted, rerun, vec![repair::back([off(facts)]), repair::rerun(is_held)])
        }
        Half::AfterJournal => {
            let actions = rest(facts);
            let by_hand = (!actions.is_empty()).then_some(Repair { direction: Direction::Forward, actions });
            (M::ReversalNotFinished, Rerun::HealsAtAnyLag, [repair::rerun(true)].into_iter().chain(by_hand).collect())
        }
    };
    let deviation = Deviation::new(mechanism, hurts(facts, half)).at(places).since(evidence.since()).rerun(rerun);
    repairs.into_iter().fold(deviation, Deviation::by)
}

fn hurts(facts: &Facts<'_>, half: Half) -> String {
    let evidence = facts.evidence;
    let (source, target, moved) = (&evidence.source.keyspace, &evidence.target.keyspace, evidence.moved());
    let is_reshard = evidence.kind == Kind::Reshard;
    let part = if facts.closed_back == Some(Share::Some) { " (in part)" } else { "" };
    let refused = || {
        if is_reshard {
            let shards = listed(evidence.target.shards.keys());
            format!(
                "writes to {moved} are refused: the primaries of {shards} stop serving when they read it, and nothing leads back"
            )
        } else {
            format!("writes to {moved} are refused: {target} denies them, and nothing leads them back to {source}")
        }
    };
    let told = match (half, facts.writes, facts.closed_back) {
        (_, Some(Way::Target), Some(Share::Some | Share::All)) => format!("{}{part}", refused()),
        (Half::BeforeJournal, ..) if facts.is_held_back() => {
            format!("nobody's traffic; what is written to {target} is not copied back to {source}")
        }
        (Half::BeforeJournal, ..) => "nobody: streams that the next switch back makes anew stand still".to_owned(),
        (Half::AfterJournal, Some(Way::Target), _) => format!("{moved}: writes still go to {target}, and are not copied back"),
        (Half::AfterJournal, Some(Way::Split) | None, _) => {
            format!("writes to {moved}: vtgates still send them to shards that are closed")
        }
        (Half::AfterJournal, Some(Way::Source), _) => {
            let is_still = facts.forward.iter().any(|(_, stream)| stream.state != StreamState::Working);
            let copied = if is_still { format!("; nothing is copied to {target}") } else { String::new() };
            format!("nobody's traffic, which is back{copied}; streams of {} look as if they were to go on", evidence.reverse())
        }
    };
    let still = held(evidence);
    if still.is_empty() { told } else { format!("{told}; {} stand still", listed(&still)) }
}

/// Names of other workflows whose streams a way back of shards has stopped.
fn held(evidence: &Evidence) -> BTreeSet<String> {
    let streams = evidence.target.shards.values().filter_map(|shard| shard.streams.known()).flatten();
    let held = streams.filter(|it| evidence.kind == Kind::Reshard && it.is_held_for_cutover());
    held.map(|it| it.workflow.clone()).collect()
}

/// What takes it back: the target takes writes again, and they are copied back as before.
fn off(facts: &Facts<'_>) -> Vec<Action> {
    let evidence = facts.evidence;
    let mut actions = match evidence.kind {
        _ if facts.closed_back == Some(Share::None) && facts.closed != Some(Share::None) => Vec::new(),
        Kind::Reshard => repair::query_service(&evidence.target, "primary", true),
        _ => [repair::deny(evidence, &evidence.target, false, false), repair::deny(evidence, &evidence.source, true, false)]
            .concat(),
    };
    let (workflow, reverse) = (evidence.workflow.as_str(), evidence.reverse());
    actions.extend(streams(&evidence.source, Change::Run, |_, it| it.workflow == reverse && it.is_stopped_for_cutover()));
    // A vtctld deletes those of the way forth before it makes them anew: then these are all that there are.
    let change = if facts.frozen() == Share::None { Change::Freeze } else { Change::Delete };
    actions.extend(streams(&evidence.target, change, |_, it| it.workflow == workflow && is_new(it)));
    if evidence.kind == Kind::Reshard {
        actions.extend(super::shards::undo(evidence, &evidence.target, &evidence.source));
    }
    actions
}

/// What is left once writes have come back: of tables, whose cells are told of by themselves.
fn rest(facts: &Facts<'_>) -> Vec<Action> {
    let evidence = facts.evidence;
    if facts.writes != Some(Way::Source) || evidence.kind == Kind::Reshard {
        return Vec::new();
    }
    let (workflow, reverse) = (evidence.workflow.as_str(), evidence.reverse());
    let is_cold = |it: &Stream| it.workflow == reverse && !it.is_frozen() && it.state != StreamState::Working;
    let start = streams(&evidence.target, Change::Run, |_, it| it.workflow == workflow && is_new(it));
    [start, streams(&evidence.source, Change::Freeze, |_, it| is_cold(it))].concat()
}
