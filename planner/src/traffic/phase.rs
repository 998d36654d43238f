//! Which phase of its life the traffic of a workflow is in. Never guessed: what would have to be known and is not is named instead.
//!
//! Facts: the sequences of `go/vt/vtctl/workflow/server.go` (`switchReads`, `switchWrites`, `dropSources`, `dropTargets`), v24.

use std::collections::BTreeSet;

use super::{
    evidence::{Evidence, Piece, Side, Stream, StreamState},
    kind::Kind,
    routing::{READS, Share, Unknown, Way, is_off, partition},
};
use crate::proto::topodata::TabletType;

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All traffic is where it was.
    NotSwitched,
    /// Reads, at least some, go to the target.
    ReadsSwitched,
    /// Writes go to the target, and the switch of them was finished.
    WritesSwitched,
    /// They went there and came back.
    Reversed,
    /// A switch of writes stopped before its journal: forward and back are both open.
    StoppedBeforeJournal,
    /// A switch of writes stopped after its journal: only forward.
    StoppedAfterJournal,
    /// A way back of writes stopped before its journal: writes are the target's still; on and off are both open.
    BackStoppedBeforeJournal,
    /// A way back of writes stopped after its journal: it can only be finished.
    BackStoppedAfterJournal,
    /// It is being completed or cancelled, by halves.
    Ending,
    /// None of its streams is there: completed, cancelled, or there never was one.
    Ended,
    /// What is there contradicts itself as no sequence of steps leaves it.
    Contradictory,
    /// Nobody can tell, for these reasons.
    Unknown(BTreeSet<String>),
}

impl Phase {
    /// Its name in documents.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotSwitched => "not_switched",
            Self::ReadsSwitched => "reads_switched",
            Self::WritesSwitched => "writes_switched",
            Self::Reversed => "reversed",
            Self::StoppedBeforeJournal => "stopped_before_journal",
            Self::StoppedAfterJournal => "stopped_after_journal",
            Self::BackStoppedBeforeJournal => "back_stopped_before_journal",
            Self::BackStoppedAfterJournal => "back_stopped_after_journal",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Contradictory => "contradictory",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// How far a way back has come that was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    BeforeJournal,
    AfterJournal,
}

/// What follows from the evidence and decides. Each part is `None` where it is not known.
pub(crate) struct Facts<'a> {
    pub(crate) evidence: &'a Evidence,
    pub(crate) forward: Vec<(&'a str, &'a Stream)>,
    pub(crate) reverse: Vec<(&'a str, &'a Stream)>,
    /// Where writes go.
    pub(crate) writes: Option<Way>,
    /// Whether the source is closed for writes: its tables are denied, or its primaries' query service is off.
    pub(crate) closed: Option<Share>,
    pub(crate) journals: Option<Share>,
    /// The same two of a way back: how many shards of the target are closed as it closes them, and how many have its journal.
    pub(crate) closed_back: Option<Share>,
    pub(crate) journals_back: Option<Share>,
    /// Why the phase is not known; empty: it is.
    pub(crate) unknown: Unknown,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(evidence: &'a Evidence) -> Self {
        let mut unknown = Unknown(evidence.unclear.clone());
        unknown.0.extend(evidence.changed.iter().map(|record| format!("{record} was changed while it was read")));
        let (forward, reverse) = (evidence.forward_streams(), evidence.reverse_streams());
        let mut facts = Self {
            evidence,
            forward,
            reverse,
            writes: None,
            closed: None,
            journals: None,
            closed_back: Some(Share::None),
            journals_back: Some(Share::None),
            unknown: Unknown::default(),
        };
        // Streams of a shard whose record is gone are gone, too.
        let shards = |side: &'a Side| side.shards.iter().map(|(name, shard)| (side.keyspace.as_str(), name, shard));
        let sources = shards(&evidence.source).filter(|(.., shard)| !shard.record.is_missing());
        let sources = sources.filter(|_| evidence.kind != Kind::Migrate);
        for (keyspace, name, shard) in sources.chain(shards(&evidence.target)) {
            unknown.of(&shard.streams, || format!("primary of shard {keyspace}/{name} to ask for its streams"));
        }
        if evidence.kind != Kind::Migrate {
            facts.writes = evidence.writes_where_there(&mut unknown);
            facts.closed = match evidence.kind {
                Kind::Reshard => closed_primaries(evidence, &evidence.source, &mut unknown),
                _ => evidence.denied(&evidence.source, &mut unknown),
            };
            facts.journals = evidence.journals(&mut unknown);
        }
        // A tenant's writes do not come back.
        let comes_back = !matches!(evidence.kind, Kind::Migrate | Kind::MultiTenant);
        if comes_back && !facts.reverse.is_empty() && facts.reverse_frozen() != Share::All {
            facts.closed_back = match evidence.kind {
                Kind::Reshard => closed_primaries(evidence, &evidence.target, &mut unknown),
                _ => evidence.closed_whole(&evidence.target, &mut unknown),
            };
            facts.journals_back = evidence.journals_back(&mut unknown);
        }
        facts.unknown = unknown;
        facts
    }

    pub(crate) fn has_journal(&self) -> bool {
        matches!(self.journals, Some(Share::Some | Share::All))
    }

    /// Whether it is certain that what is under way has not passed its point of no return.
    pub(crate) fn knows_no_journal(&self) -> bool {
        let journals = if self.half_back().is_some() { self.journals_back } else { self.journals };
        journals == Some(Share::None) && self.unknown.0.is_empty()
    }

    /// How far a way back of writes has come that was not finished; `None`: there is none, or nobody can tell.
    ///
    /// Its last act is to freeze the streams of the other direction, and its first to close the target.
    pub(crate) fn half_back(&self) -> Option<Half> {
        if self.reverse.is_empty()
            || self.reverse_frozen() == Share::All
            || self.lacks_source_shards()
            || self.has_old_journal_back()
        {
            return None;
        }
        if self.journals_back? != Share::None {
            return Some(Half::AfterJournal);
        }
        let is_begun = self.closed_back? != Share::None || self.is_held_back() || self.has_new_forward();
        (self.writes? == Way::Target && is_begun).then_some(Half::BeforeJournal)
    }

    /// Whether streams of the other direction were stopped as a way back stops them.
    pub(crate) fn is_held_back(&self) -> bool {
        self.reverse.iter().any(|(_, stream)| stream.is_stopped_for_cutover())
    }

    /// Whether a way back has created the streams by which the next way forth begins, beside the frozen ones of the last.
    fn has_new_forward(&self) -> bool {
        let mut cold = self.forward.iter().filter(|(_, stream)| !stream.is_frozen());
        self.frozen() == Share::Some && !self.has_journal() && cold.all(|(_, stream)| is_new(stream))
    }

    /// Whether the journal of a way back belongs to an earlier workflow: nothing else looks as if one had been there.
    pub(crate) fn has_old_journal_back(&self) -> bool {
        let is_at_work = |(_, stream): &(&str, &Stream)| !stream.is_stopped_for_cutover() && !stream.is_frozen();
        matches!(self.journals_back, Some(Share::Some | Share::All))
            && self.writes == Some(Way::Target)
            && self.closed_back == Some(Share::None)
            && self.frozen() == Share::All
            && self.reverse.iter().all(is_at_work)
    }

    pub(crate) fn frozen(&self) -> Share {
        Share::of(self.forward.iter().map(|(_, stream)| stream.is_frozen()))
    }

    pub(crate) fn reverse_frozen(&self) -> Share {
        Share::of(self.reverse.iter().map(|(_, stream)| stream.is_frozen()))
    }

    /// Whether the journal belongs to an earlier workflow: nothing else looks as if a switch had been there.
    pub(crate) fn has_old_journal(&self) -> bool {
        let is_at_work = |(_, stream): &(&str, &Stream)| !stream.is_stopped_for_cutover() && !stream.is_frozen();
        self.has_journal()
            && self.writes == Some(Way::Source)
            && self.closed == Some(Share::None)
            && self.forward.iter().all(is_at_work)
    }

    /// Whether records of source shards are gone while forward streams are there.
    pub(crate) fn lacks_source_shards(&self) -> bool {
        let evidence = self.evidence;
        evidence.kind == Kind::Reshard
            && !self.forward.is_empty()
            && evidence.source.shards.values().any(|it| it.record.is_missing())
    }

    /// Whether a deletion seems to have been here.
    pub(crate) fn is_blanked(&self) -> bool {
        let is_blank = |stream: &Stream| stream.cells.is_empty() && !stream.has_tablet_types;
        let is_left = |stream: &Stream| stream.state == StreamState::Stopped && stream.message.is_empty() && is_blank(stream);
        !self.forward.is_empty() && self.forward.iter().all(|(_, stream)| is_left(stream))
    }

    /// Whether a cancellation seems to have been here: it stops the streams, then opens the tables that the target denies, and of kinds
    /// whose target denies none before a switch it is told once their rules are gone. What it did before that, anybody may have done.
    pub(crate) fn is_cancelling(&self) -> bool {
        let evidence = self.evidence;
        let is_still = |it: &Stream| it.state == StreamState::Stopped && !it.is_stopped_for_cutover() && !it.is_frozen();
        if self.forward.is_empty() || !self.forward.iter().all(|(_, stream)| is_still(stream)) {
            return false;
        }
        let is_open = self.writes == Some(Way::Source) && self.closed == Some(Share::None);
        let is_allowed = || matches!(evidence.denied(&evidence.target, &mut Unknown::default()), Some(Share::None | Share::Some));
        let is_unruled = || {
            let keys = evidence.global_keys(&mut Unknown::default());
            keys.is_some_and(|keys| evidence.own_keys(TabletType::Primary).iter().all(|key| !keys.contains_key(key)))
        };
        match evidence.kind {
            Kind::Standard => is_open && is_allowed(),
            Kind::Partial | Kind::MultiTenant => is_open && is_unruled(),
            Kind::Migrate => is_allowed(),
            Kind::Reshard => false,
        }
    }

    /// Whether a completion seems to have been here: it deletes the reverse streams, then the rules, and the frozen streams last.
    pub(crate) fn is_completing(&self) -> bool {
        let evidence = self.evidence;
        let of_rules = matches!(evidence.kind, Kind::Standard | Kind::MultiTenant);
        if !of_rules || !self.reverse.is_empty() || self.frozen() != Share::All || self.closed != Some(Share::None) {
            return false;
        }
        let Some(keys) = evidence.global_keys(&mut Unknown::default()) else { return false };
        let types = READS.into_iter().chain([TabletType::Primary]);
        types.flat_map(|of| evidence.own_keys(of)).all(|key| !keys.contains_key(&key))
    }

    fn is_interrupted(&self) -> bool {
        let is_held = |side: &Side| {
            let streams = side.shards.values().filter_map(|shard| shard.streams.known()).flatten();
            streams.into_iter().any(Stream::is_held_for_cutover)
        };
        self.closed != Some(Share::None)
            || self.forward.iter().any(|(_, stream)| stream.is_stopped_for_cutover())
            || self.evidence.kind == Kind::Reshard && is_held(&self.evidence.source)
    }

    /// The phase.
    pub(crate) fn phase(&self) -> Phase {
        if !self.unknown.0.is_empty() {
            return Phase::Unknown(self.unknown.0.clone());
        }
        match self.half_back() {
            Some(Half::BeforeJournal) => return Phase::BackStoppedBeforeJournal,
            Some(Half::AfterJournal) => return Phase::BackStoppedAfterJournal,
            None => {}
        }
        if self.forward.is_empty() {
            return match (self.reverse.is_empty(), self.reverse_frozen(), self.writes) {
                (true, ..) => Phase::Ended,
                (_, Share::None, Some(Way::Target)) => Phase::WritesSwitched,
                (_, Share::None, _) => Phase::Contradictory,
                (_, Share::Some | Share::All, _) => Phase::Ending,
            };
        }
        if self.evidence.kind == Kind::Migrate {
            return if self.is_blanked() || self.is_cancelling() { Phase::Ending } else { Phase::NotSwitched };
        }
        if self.lacks_source_shards() || self.is_completing() {
            return Phase::Ending;
        }
        let has_journal = self.has_journal() && !self.has_old_journal();
        match (self.frozen(), self.writes, has_journal) {
            (Share::All, Some(Way::Target), _) => Phase::WritesSwitched,
            (Share::None, Some(Way::Target | Way::Source), true) | (Share::Some, Some(Way::Target), _) => {
                Phase::StoppedAfterJournal
            }
            (Share::None | Share::Some, Some(Way::Split), true) if self.evidence.kind == Kind::Reshard => {
                Phase::StoppedAfterJournal
            }
            (Share::None, Some(Way::Source), false) => self.before_journal(),
            _ => Phase::Contradictory,
        }
    }

    fn before_journal(&self) -> Phase {
        let is_at_work = |streams: &[(&str, &Stream)]| streams.iter().any(|(_, stream)| stream.state == StreamState::Working);
        if is_at_work(&self.forward) && is_at_work(&self.reverse) {
            return Phase::Contradictory;
        }
        if self.is_interrupted() {
            return Phase::StoppedBeforeJournal;
        }
        if self.is_blanked() || self.is_cancelling() {
            return Phase::Ending;
        }
        if self.reverse_frozen() == Share::All {
            return Phase::Reversed;
        }
        let mut unknown = Unknown::default();
        let has_reads = READS.into_iter().any(|of| self.evidence.reads(of, &mut unknown).values().any(|way| *way != Way::Source));
        match (has_reads, unknown.0.is_empty()) {
            (true, _) => Phase::ReadsSwitched,
            (false, true) => Phase::NotSwitched,
            (false, false) => Phase::Unknown(unknown.0),
        }
    }
}

impl Evidence {
    /// As [`Evidence::writes`]; of a reshard without some of its source shards they have gone to the target.
    fn writes_where_there(&self, unknown: &mut Unknown) -> Option<Way> {
        if self.kind == Kind::Reshard && self.source.shards.values().any(|shard| shard.record.is_missing()) {
            return Some(Way::Target);
        }
        self.writes(unknown)
    }
}

/// Whether a stream was created by a switch that has not got to start it.
pub(crate) fn is_new(stream: &Stream) -> bool {
    stream.state == StreamState::Stopped && stream.message.is_empty()
}

/// How many primaries' query service of a side is off in any cell.
fn closed_primaries(evidence: &Evidence, side: &Side, unknown: &mut Unknown) -> Option<Share> {
    let cells = unknown.of(&evidence.cells, || "cell".into())?;
    let mut off = BTreeSet::new();
    let mut is_known = true;
    for (name, cell) in cells {
        let keyspace = cell.keyspaces.get(&evidence.target.keyspace);
        // A cell that serves nothing closes nothing; that it serves nothing is said elsewhere.
        let Some(served) = keyspace.filter(|it| !it.is_missing()) else { continue };
        match unknown.of(served, || format!("SrvKeyspace in cell {name}")) {
            Some(served) => {
                let partition = partition(served, TabletType::Primary);
                off.extend(side.shards.keys().filter(|shard| partition.is_some_and(|it| is_off(it, shard))));
            }
            None => is_known = false,
        }
    }
    is_known.then(|| Share::of(side.shards.keys().map(|shard| off.contains(shard))))
}

/// The phase of a workflow.
pub fn phase(evidence: &Evidence) -> Phase {
    Facts::new(evidence).phase()
}

/// Tablet types of which reads go to the target, with the cells: `replica`, `rdonly in zone1`.
pub fn reads_switched(evidence: &Evidence) -> Vec<String> {
    let mut switched = Vec::new();
    for of in READS {
        let ways = evidence.reads(of, &mut Unknown::default());
        let cells: Vec<&str> = ways.iter().filter(|(_, way)| **way == Way::Target).map(|(cell, _)| *cell).collect();
        let name = super::routing::type_name(of);
        match cells.len() {
            0 => {}
            all if all == ways.len() && matches!(*evidence.cells, Piece::Known(_)) => switched.push(name),
            _ => switched.push(format!("{name} in {}", cells.join(", "))),
        }
    }
    switched
}
