//! What a switch of writes leaves that ends on its way, and what becomes of the two directions of streams: of tables and of shards alike.
//!
//! Where a journal is, nothing here proposes to go back.

use super::{
    deviation::{Deviation, Mechanism as M, Rerun},
    evidence::{Evidence, ShardEvidence, Side, StreamState},
    kind::Kind,
    phase::Facts,
    repair::{self, Action, Change, Direction, Repair, streams},
    routing::{NO_KEYS, Share, Unknown, Way},
    text::{listed, of_streams},
};

/// All of these.
pub(crate) fn deviations(facts: &Facts<'_>) -> Vec<Deviation> {
    let mut found = Vec::new();
    if facts.evidence.kind == Kind::Migrate || facts.lacks_source_shards() {
        found.extend(deletion(facts).filter(|_| facts.evidence.kind == Kind::Migrate));
        return found;
    }
    found.extend(half_done(facts));
    found.extend(old_journal_back(facts));
    found.extend(directions(facts));
    if facts.writes == Some(Way::Target) {
        found.extend(finishing(facts));
    }
    found.extend(deletion(facts).filter(|_| facts.writes == Some(Way::Source)));
    if facts.is_completing() {
        let places = of_streams(&facts.evidence.target, &facts.forward);
        let hurts = "nobody: its tables are the target's, by its vschema; streams that stand still are left";
        let again = Repair { direction: Direction::Forward, actions: vec![Action::RunAgain { at_any_lag: false }] };
        found.push(Deviation::new(M::CompletionInterrupted, hurts).at(places).rerun(Rerun::Heals).by(again));
    }
    found
}

/// A cancellation that ended half-way.
fn deletion(facts: &Facts<'_>) -> Option<Deviation> {
    let evidence = facts.evidence;
    let is_open = facts.is_cancelling();
    if !is_open && !facts.is_blanked() {
        return None;
    }
    let places = of_streams(&evidence.target, &facts.forward);
    let run = streams(&evidence.target, Change::Run, |_, it| it.workflow == evidence.workflow);
    let hurts = "nobody's traffic; nothing is copied any more, and tables of the target may be gone";
    let open = if is_open { ", or be written by whoever connects to it" } else { "" };
    let again = Repair { direction: Direction::Forward, actions: vec![Action::RunAgain { at_any_lag: false }] };
    let deviation = Deviation::new(M::DeletionInterrupted, format!("{hurts}{open}")).at(places);
    Some(deviation.rerun(Rerun::Heals).by(again).by(repair::back([run])))
}

impl Evidence {
    /// What is moved, for a text: `corder and customer`, `shards -80`.
    pub(crate) fn moved(&self) -> String {
        match self.kind {
            Kind::Reshard => format!("{} {}", self.source.keyspace, listed(self.source.shards.keys())),
            Kind::MultiTenant => format!("keyspace {}", self.source.keyspace),
            Kind::Partial => format!("{} in shards {}", listed(&self.tables), listed(self.source.shards.keys())),
            Kind::Standard | Kind::Migrate => listed(&self.tables),
        }
    }

    /// Opens the source, and closes the target as a workflow's creation had closed it.
    fn reopen(&self) -> Vec<Vec<Action>> {
        let mut actions = match self.kind {
            Kind::Reshard => vec![repair::query_service(&self.source, "primary", true)],
            _ => vec![repair::deny(self, &self.source, false, false)],
        };
        if self.kind == Kind::Standard {
            actions.push(repair::deny(self, &self.target, true, false));
        }
        actions
    }

    /// Unix seconds since which a change is under way: when its lock was asked for, else when the streams that it stopped last wrote.
    pub(crate) fn since(&self) -> i64 {
        let locks = self.locks.known().into_iter().flatten().filter(|lock| lock.is_named());
        let locked = locks.map(|lock| lock.since).filter(|since| *since > 0).min();
        let either = self.forward_streams().into_iter().chain(self.reverse_streams());
        let streams = either.filter(|(_, it)| it.is_stopped_for_cutover());
        let stopped = streams.map(|(_, stream)| stream.time_updated).filter(|at| (1..PLAUSIBLE).contains(at)).min();
        match (locked, stopped) {
            // A lock of a later attempt says nothing of when the streams were stopped.
            (Some(locked), Some(stopped)) => locked.min(stopped),
            (one, other) => one.or(other).unwrap_or_default(),
        }
    }
}

/// Streams that never wrote have a `YYYYMMDDhhmmss` number for their time.
const PLAUSIBLE: i64 = 1 << 40;

/// What stands between the phases.
fn half_done(facts: &Facts<'_>) -> Vec<Deviation> {
    let evidence = facts.evidence;
    let (closed, writes) = (facts.closed.unwrap_or(Share::None), facts.writes);
    if writes != Some(Way::Source) || facts.forward.is_empty() || facts.frozen() != Share::None {
        return Vec::new();
    }
    let moved = evidence.moved();
    let (to, since) = (&evidence.target.keyspace, evidence.since());
    let refused = match evidence.kind {
        Kind::Reshard => format!(
            "writes to {moved} are refused: its primaries stop serving when they read it, and the target shards do not serve"
        ),
        _ => format!("writes to {moved} are refused: {} denies them, and nothing leads them to {to}", evidence.source.keyspace),
    };
    let part = if closed == Share::Some { " (in part)" } else { "" };
    let refused = format!("{refused}{part}");
    let Some(journals) = facts.journals.filter(|_| facts.unknown.0.is_empty()) else {
        // What is wrong is certain; whether there is a way back is not, so none is named.
        let told = Deviation::new(closing(evidence.kind), refused).since(since).at(closed_places(facts));
        return if closed == Share::None { Vec::new() } else { vec![told] };
    };
    if facts.has_old_journal() {
        let hurts = "nobody now; the next switch would take it for its own and skip what it must do";
        return vec![Deviation::new(M::JournalOfPreviousRun, hurts).at(journal_places(&evidence.source))];
    }
    if journals != Share::None {
        let mechanism = if journals == Share::All { M::JournalWithoutRouting } else { M::JournalOnSomeSources };
        let hurts =
            if closed == Share::None { format!("{moved}: writes still go to the source, and are not copied") } else { refused };
        let deviation = Deviation::new(mechanism, hurts).since(since).at(closed_places(facts));
        return vec![deviation.rerun(Rerun::HealsAtAnyLag).by(repair::rerun(true))];
    }
    before_journal(facts, closed, &refused, since)
}

/// The same of the streams of the other direction, while these are at work.
fn old_journal_back(facts: &Facts<'_>) -> Option<Deviation> {
    let hurts = "nobody now; the next switch back would take it for its own and skip what it must do";
    let deviation = || Deviation::new(M::JournalOfPreviousRun, hurts).at(journal_places(&facts.evidence.target));
    facts.has_old_journal_back().then(deviation)
}

fn journal_places(side: &Side) -> Vec<String> {
    let has_one = |shard: &ShardEvidence| shard.journals.known().is_some_and(|it| !it.is_empty());
    let there = side.shards.iter().filter(|(_, shard)| has_one(shard));
    there.map(|(name, shard)| format!("{}/{name} {} _vt.resharding_journal", side.keyspace, shard.tablet)).collect()
}

fn closing(kind: Kind) -> M {
    if kind == Kind::Reshard { M::SourceShardsClosed } else { M::WritesClosed }
}

fn closed_places(facts: &Facts<'_>) -> Vec<String> {
    let side = &facts.evidence.source;
    side.shards.keys().map(|shard| format!("{}/{shard}", side.keyspace)).collect()
}

fn before_journal(facts: &Facts<'_>, closed: Share, refused: &str, since: i64) -> Vec<Deviation> {
    let evidence = facts.evidence;
    let is_held = |stream: &super::evidence::Stream| stream.is_stopped_for_cutover();
    let has_stopped = facts.forward.iter().any(|(_, stream)| is_held(stream));
    let has_reverse = facts.reverse.iter().any(|(_, stream)| !stream.is_frozen() && stream.state != StreamState::Working);
    let run = streams(&evidence.target, Change::Run, |_, it| it.workflow == evidence.workflow && is_held(it));
    let reverse = evidence.reverse();
    let delete = streams(&evidence.source, Change::Delete, |_, it| it.workflow == reverse && !it.is_frozen());
    let mut found = Vec::new();
    if closed == Share::None {
        if has_stopped {
            let hurts = "nobody's traffic; the target falls behind, for nothing is copied";
            let places = of_streams(&evidence.target, &facts.forward);
            found.push(
                Deviation::new(M::StreamsStoppedForCutover, hurts)
                    .at(places)
                    .since(since)
                    .rerun(Rerun::HealsLater)
                    .by(repair::back([run])),
            );
        }
        if has_reverse {
            let places = of_streams(&evidence.source, &facts.reverse);
            let left =
                Deviation::new(M::ReverseLeftByUndo, "nobody: they stand still, and the next switch makes them anew").at(places);
            found.push(left.rerun(Rerun::Heals).by(repair::in_place(delete)));
        }
        return found;
    }
    let (mechanism, rerun, at_any_lag) = match (has_stopped, has_reverse) {
        _ if evidence.kind == Kind::Reshard => (M::SourceShardsClosed, Rerun::Heals, has_stopped),
        (_, true) => (M::WritesClosedReverseCreated, Rerun::HealsLater, true),
        (true, false) => (M::WritesClosedStreamsStopped, Rerun::HealsLater, true),
        (false, false) => (M::WritesClosed, Rerun::Heals, false),
    };
    let mut back = evidence.reopen();
    back.extend([run, if has_reverse { delete } else { Vec::new() }]);
    if evidence.kind == Kind::Reshard {
        back.push(super::shards::undo(evidence, &evidence.source, &evidence.target));
    }
    let deviation = Deviation::new(mechanism, refused).at(closed_places(facts)).since(since).rerun(rerun).by(repair::back(back));
    vec![deviation.by(repair::rerun(at_any_lag))]
}

/// What the two directions are to each other.
fn directions(facts: &Facts<'_>) -> Vec<Deviation> {
    let evidence = facts.evidence;
    let mut found = Vec::new();
    let is_working =
        |streams: &[(&str, &super::evidence::Stream)]| streams.iter().any(|(_, it)| it.state == StreamState::Working);
    let (forward, reverse) = (evidence.workflow.as_str(), evidence.reverse());
    let places = || {
        let forward = of_streams(&evidence.target, &facts.forward);
        forward.into_iter().chain(of_streams(&evidence.source, &facts.reverse)).collect::<Vec<_>>()
    };
    if is_working(&facts.forward) && is_working(&facts.reverse) {
        let hurts = format!("writes to {} go round in circles: duplicate keys, or rows of the past", evidence.moved());
        let repair = match facts.writes {
            Some(Way::Source) => streams(&evidence.source, Change::Stop, |_, it| it.workflow == reverse),
            Some(Way::Target) => streams(&evidence.target, Change::StopAndFreeze, |_, it| it.workflow == forward),
            Some(Way::Split) | None => Vec::new(),
        };
        found.push(Deviation::new(M::BothDirectionsRunning, hurts).at(places()).by(repair::in_place(repair)));
    }
    let (frozen, back_frozen) = (facts.frozen(), facts.reverse_frozen());
    if frozen != Share::None && back_frozen != Share::None {
        let hurts = "no direction copies, and every switch is refused: somebody has to say which side has the data";
        found.push(Deviation::new(M::BothDirectionsFrozen, hurts).at(places()));
    } else if frozen != Share::None && facts.writes == Some(Way::Source) && !facts.is_completing() {
        let hurts = format!(
            "writes to {} are not copied to {}; a switch is refused: workflow is frozen",
            evidence.moved(),
            evidence.target.keyspace
        );
        let route = if facts.closed == Some(Share::All) { super::tables::route_to_target(evidence) } else { Vec::new() };
        let forward = Repair { direction: Direction::Forward, actions: route };
        found
            .push(Deviation::new(M::FrozenButRoutedToSource, hurts).at(of_streams(&evidence.target, &facts.forward)).by(forward));
    }
    if facts.forward.is_empty() && !facts.reverse.is_empty() && no_unknown_streams(facts) {
        let at = of_streams(&evidence.source, &facts.reverse);
        found.push(if back_frozen == Share::None {
            let hurts =
                format!("{forward} can be neither completed nor cancelled: it has no streams in {}", evidence.target.keyspace);
            Deviation::new(M::ReverseWithoutForward, hurts).at(at)
        } else {
            let delete = streams(&evidence.source, Change::Delete, |_, it| it.workflow == reverse);
            Deviation::new(M::ReverseLeftFrozen, "nobody: they stand still").at(at).by(repair::in_place(delete))
        });
    }
    if facts.frozen() == Share::None
        && facts.writes == Some(Way::Target)
        && facts.journals == Some(Share::None)
        && !facts.forward.is_empty()
    {
        let hurts =
            format!("writes to {} reach {} while the streams write there, too", evidence.moved(), evidence.target.keyspace);
        found.push(Deviation::new(M::RoutedWithoutSwitch, hurts).at(of_streams(&evidence.target, &facts.forward)));
    }
    if facts.writes == Some(Way::Split) && evidence.kind != Kind::Reshard {
        let hurts = format!("writes to {} go to both keyspaces, some here and some there", evidence.moved());
        let mut unknown = Unknown::default();
        let keys = evidence.global_keys(&mut unknown).unwrap_or(&NO_KEYS);
        let own = evidence.own_keys(crate::proto::topodata::TabletType::Primary);
        let places = own.into_iter().filter_map(|key| keys.get(&key).map(|to| format!("{key} -> {}", to.join(", "))));
        found.push(Deviation::new(M::RoutedDifferentWays, hurts).at(places));
    }
    found
}

fn no_unknown_streams(facts: &Facts<'_>) -> bool {
    facts.evidence.target.shards.values().all(|shard| shard.streams.unknown().is_none()) && facts.evidence.unclear.is_empty()
}

/// What the end of a switch leaves undone.
fn finishing(facts: &Facts<'_>) -> Vec<Deviation> {
    let evidence = facts.evidence;
    let mut found = Vec::new();
    let (workflow, reverse) = (evidence.workflow.as_str(), evidence.reverse());
    let is_cold = |it: &super::evidence::Stream| it.workflow == workflow && !it.is_frozen();
    let freeze = streams(&evidence.target, Change::Freeze, |_, it| is_cold(it) && it.state != StreamState::Working);
    let unfrozen: Vec<_> = facts.forward.iter().filter(|(_, it)| !it.is_frozen()).copied().collect();
    let at = of_streams(&evidence.target, &unfrozen);
    // What serves the cells is the switch: to whom the streams are frozen, it has ended.
    let is_behind = super::shards::has_cell_behind(evidence);
    match facts.frozen() {
        Share::Some => {
            let hurts = "nobody's traffic; completing is refused: streams are not frozen";
            let deviation = Deviation::new(M::ForwardPartlyFrozen, hurts).at(at);
            found.push(if is_behind {
                deviation.rerun(Rerun::HealsAtAnyLag).by(repair::rerun(true))
            } else {
                deviation.by(repair::in_place(freeze))
            });
        }
        Share::None if facts.has_journal() && !facts.forward.is_empty() => {
            let hurts = "nobody's traffic; completing is refused, and the target's writes may not be copied back";
            let start = streams(&evidence.source, Change::Run, |_, it| it.workflow == reverse);
            let by_hand = Repair { direction: Direction::Forward, actions: [start, freeze].concat() };
            let deviation = Deviation::new(M::ForwardNotFrozen, hurts).at(at).rerun(Rerun::Heals).by(repair::rerun(true));
            found.push(if is_behind { deviation } else { deviation.by(by_hand) });
        }
        Share::None | Share::All => {}
    }
    let is_done = facts.has_journal() || facts.frozen() != Share::None;
    if facts.forward.is_empty() || facts.reverse_frozen() != Share::None || !is_done {
        return found;
    }
    // Each forward stream reads a source: that source gets one back.
    let mut missing = Vec::new();
    for (target, forward) in &facts.forward {
        let shard = evidence.source.shards.get(&forward.source_shard);
        let is_there = |(at, it): &(&str, &super::evidence::Stream)| *at == forward.source_shard && it.source_shard == *target;
        if facts.reverse.iter().any(is_there) || shard.is_none_or(|shard| shard.streams.known().is_none()) {
            continue;
        }
        let mut journals = shard.and_then(|shard| shard.journals.known()).into_iter().flat_map(|it| it.values());
        let position = journals.find_map(|journal| journal.positions.get(*target)).cloned().unwrap_or_default();
        let (keyspace, shard, reads) = (evidence.source.keyspace.clone(), forward.source_shard.clone(), (*target).to_owned());
        missing.push(Action::CreateReverseStream { keyspace, shard, reads, position });
    }
    if !missing.is_empty() {
        let hurts = format!("writes to {} are not all copied back: after a reversal rows would be missing", evidence.moved());
        let of = |action: &Action| match action {
            Action::CreateReverseStream { keyspace, shard, reads, .. } => format!("{keyspace}/{shard} from {reads}"),
            _ => String::new(),
        };
        let places: Vec<String> = missing.iter().map(of).collect();
        found.push(Deviation::new(M::ReverseIncomplete, hurts).at(places).by(repair::in_place(missing)));
    }
    let is_still = |it: &super::evidence::Stream| it.state == StreamState::Stopped;
    let still: Vec<_> = facts.reverse.iter().filter(|(_, it)| is_still(it)).copied().collect();
    if facts.frozen() == Share::All && !still.is_empty() {
        let hurts = "nobody's traffic; what is written is not copied back, so a reversal has to wait for it";
        let start = streams(&evidence.source, Change::Run, |_, it| it.workflow == reverse && is_still(it));
        found.push(Deviation::new(M::ReverseStopped, hurts).at(of_streams(&evidence.source, &still)).by(repair::in_place(start)));
    }
    found
}
