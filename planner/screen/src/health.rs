//! How a workflow is doing: of each stream, and of all of them together.
//!
//! The one derivation behind the table, `describe`, the pictures and the advice. A workflow is in trouble as a whole: a stream that is
//! fine beside one that stands is a mixture, and a mixture is trouble, though neither stream says so.
//!
//! The reply's `state` is `Error` wherever the message holds the letters "error", as in vtctld; here a message counts only by what it
//! says: `Stopped at DDL alter table error_codes …` is a stop. The texts are those of `go/vt/vttablet/tabletmanager/vreplication`,
//! `go/vt/vtctl/workflow` and `go/vt/wrangler/vdiff.go`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    cover,
    words::{duration, message, some},
};
use vtflow_planner::{
    contract::Timestamp,
    proto::{
        vtctldata::{Workflow, workflow::Stream},
        vttime::Time,
    },
    words::says_error,
};

/// Seconds without a sign of life after which a running stream counts as lagging: a live one writes its row about every second.
/// Source: the threshold of `go/vt/vtctl/workflow/workflows.go:getStreamState`.
pub(crate) const LAGGING_SECONDS: i64 = 10;

/// Seconds for which a throttle mark counts as "throttled now". Source: VTAdmin, `web/vtadmin/src/components/routes/Workflows.tsx`.
pub(crate) const THROTTLED_SECONDS: i64 = 60;

/// A time later than now by so many seconds is no time. Clocks differ by less; and a stream that never wrote its row may hold a
/// `YYYYMMDDhhmmss` number there.
pub(super) const AHEAD_SECONDS: i64 = 600;

/// What could be a `YYYYMMDDhhmmss` number, from the year 1970 on.
const SMALLEST_DATE: i64 = 19_700_101_000_000;

/// The clock that the reply's lag was measured by may be another one than the reader's by so many seconds.
const CLOCK_SECONDS: i64 = 2;

/// How a stream is doing, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    Error,
    Unknown,
    /// Running by its state, while its message is an error: the tablet tries again every few seconds.
    Retrying,
    Lagging,
    /// The shard gave no answer: whatever runs there is not known. The failures say more than a line could.
    Missing,
    Waiting,
    Copying,
    Init,
    Running,
    Stopped(Stop),
    Frozen,
}

/// Why a stream is stopped, by its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// A schema change of the source came along, and the workflow stops for these.
    Ddl,
    /// For a comparison, which should have started it again.
    VDiff,
    /// By a switch of traffic, which freezes it when it is done.
    Cutover,
    /// What there is to replicate has gone or changed.
    Nothing,
    /// It was made to stop after its copy.
    AfterCopy,
    /// It has reached its stop position.
    Position,
    /// A schema migration has cut over.
    CutOver,
    /// By somebody.
    Hand,
}

impl Stop {
    fn of(message: &str) -> Option<Self> {
        const TEXTS: [(&str, Stop); 12] = [
            ("Stopped after copy", Stop::AfterCopy),
            ("Stopped at DDL ", Stop::Ddl),
            ("Stopped at position", Stop::Position),
            ("Stop position ", Stop::Position),
            ("for vdiff", Stop::VDiff),
            ("synchronizing for vdiff", Stop::VDiff),
            ("stopped for cutover", Stop::Cutover),
            ("for cutover", Stop::Cutover),
            ("synchronizing for cutover", Stop::Cutover),
            ("stopped for online DDL cutover", Stop::CutOver),
            ("There is nothing to replicate", Stop::Nothing),
            ("unable to handle journal event", Stop::Nothing),
        ];
        TEXTS.iter().find(|(text, _)| message.starts_with(text)).map(|(_, stop)| *stop)
    }

    fn is_trouble(self) -> bool {
        matches!(self, Self::Ddl | Self::VDiff | Self::Cutover | Self::Nothing)
    }
}

impl Health {
    pub(super) fn of(stream: &Stream, now: Timestamp) -> Self {
        let is_silent = silent_for(stream, now).is_none_or(|silent| silent > LAGGING_SECONDS);
        match state(stream) {
            "Unknown" if stream.id == 0 => Self::Missing,
            "Error" => Self::Error,
            "Running" | "Copying" if tells_of_error(&stream.message) => Self::Retrying,
            "Running" | "Copying" if is_silent => Self::Lagging,
            "Running" => Self::Running,
            "Copying" => Self::Copying,
            "Init" => Self::Init,
            "Stopped" if stream.message == "FROZEN" => Self::Frozen,
            "Stopped" if stream.position.is_empty() && stream.message.is_empty() => Self::Waiting,
            "Stopped" => Self::Stopped(Stop::of(&stream.message).unwrap_or(Stop::Hand)),
            _ => Self::Unknown,
        }
    }

    /// The word for it: the reply's, except for what the reply has none for.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Unknown | Self::Missing => "Unknown",
            Self::Retrying => "Retrying",
            Self::Lagging => "Lagging",
            Self::Waiting => "waiting",
            Self::Copying => "Copying",
            Self::Init => "Init",
            Self::Running => "Running",
            Self::Stopped(_) => "Stopped",
            Self::Frozen => "frozen",
        }
    }

    /// Whether the stream is in trouble, whatever the others do.
    pub(super) fn is_trouble(self) -> bool {
        self <= Self::Missing || matches!(self, Self::Stopped(stop) if stop.is_trouble())
    }

    /// What streams of one workflow have in common when nothing is wrong; `None`: unknown, or in trouble of its own.
    fn class(self) -> Option<u8> {
        match self {
            Self::Error | Self::Unknown | Self::Missing => None,
            Self::Waiting => Some(0),
            Self::Retrying | Self::Lagging | Self::Copying | Self::Init | Self::Running => Some(1),
            Self::Stopped(Stop::AfterCopy) => Some(2),
            Self::Stopped(Stop::CutOver) => Some(3),
            Self::Stopped(_) => Some(4),
            Self::Frozen => Some(5),
        }
    }
}

/// The state of a stream whose stored state is `Error`, whatever its message says.
pub(super) const STORED_ERROR: &str = "stored as Error";

/// Whether a message leaves no doubt that a stream which the reply calls `Error` has failed.
pub(super) fn is_certain(message: &str) -> bool {
    message.starts_with("terminal error") || !says_error(message)
}

/// Whether a text has the word, not only as a part of a name such as `error_codes`.
fn has_word_error(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word.eq_ignore_ascii_case("error"))
}

/// The state without what the message only seems to say.
fn state(stream: &Stream) -> &str {
    if stream.state == STORED_ERROR {
        return "Error";
    }
    if stream.state != "Error" || !says_error(&stream.message) {
        return &stream.state;
    }
    if Stop::of(&stream.message).is_some() {
        "Stopped"
    } else if is_picked(&stream.message) || is_of_connection(&stream.message) {
        // Of errors of a connection a tablet never gives up by itself.
        if stream.copy_states.is_empty() { "Running" } else { "Copying" }
    } else {
        "Error"
    }
}

/// A stream that has just begun says where it reads.
fn is_picked(message: &str) -> bool {
    message.starts_with("Picked source tablet: ")
}

/// An error of the connection to the source, which has not ended the stream: `terminal error: …` would say so. Source:
/// `go/vt/vttablet/tabletmanager/vreplication/utils.go:isUnrecoverableError`.
fn is_of_connection(message: &str) -> bool {
    const CODES: [&str; 5] = ["Unavailable", "DeadlineExceeded", "Canceled", "Aborted", "ResourceExhausted"];
    let code = message.split("code = ").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_alphabetic()).next());
    !message.starts_with("terminal error") && code.is_some_and(|code| CODES.contains(&code))
}

/// Whether a running stream's message is one of an error: MySQL's and gRPC's have these parts, whatever else they say.
fn tells_of_error(message: &str) -> bool {
    !is_picked(message)
        && Stop::of(message).is_none()
        && (has_word_error(message) || ["(errno ", "(sqlstate ", "code = "].iter().any(|part| message.contains(part)))
}

pub(super) fn updated(stream: &Stream) -> i64 {
    stream.time_updated.map_or(0, |time| time.seconds)
}

/// Seconds since it last wrote its row; `None` when it never did, or what stands there is no time.
pub(super) fn silent_for(stream: &Stream, now: Timestamp) -> Option<i64> {
    age(stream.time_updated, now)
}

/// Seconds since then; `None` when it is no time: zero is none, and neither is what is to come.
pub(super) fn age(time: Option<Time>, now: Timestamp) -> Option<i64> {
    let then = time.map(|time| time.seconds).filter(|then| *then > 0 && *then <= now.seconds.saturating_add(AHEAD_SECONDS))?;
    Some(now.seconds.saturating_sub(then).max(0))
}

/// Whether a stream applies transactions, or should: how far one that copies is behind has no meaning.
fn applies(stream: &Stream) -> bool {
    matches!(state(stream), "Running" | "Error")
}

/// Seconds that a stream is behind what it reads; `None` when it has no lag, or it is not known.
///
/// The reply does not say whether a stream is idle: the last transaction of an idle one may be old, and yet nothing is behind. `largest`, the
/// workflow's transaction lag, knows of that, but only of the stream that is furthest behind: none is further.
fn behind(stream: &Stream, largest: i64, now: Timestamp) -> Option<i64> {
    let silent = silent_for(stream, now).filter(|_| applies(stream))?;
    let transaction = match stream.transaction_timestamp.map_or(0, |time| time.seconds) {
        0 => return Some(silent),
        _ => age(stream.transaction_timestamp, now)?,
    };
    let is_largest = transaction.abs_diff(largest) <= CLOCK_SECONDS.unsigned_abs();
    if transaction <= silent || transaction > largest.saturating_add(CLOCK_SECONDS) {
        // Nothing has been written since, or it is idle: else the largest would be larger.
        Some(silent)
    } else if is_largest || transaction <= LAGGING_SECONDS {
        Some(transaction)
    } else {
        None
    }
}

/// As [`behind`], of a stream of this workflow.
pub(super) fn lag(workflow: &Workflow, stream: &Stream, now: Timestamp) -> Option<i64> {
    behind(stream, workflow.max_v_replication_transaction_lag, now)
}

/// Seconds that the stream furthest behind is; `None` when one of them has no lag, or it is not known.
fn largest_lag(workflow: &Workflow, streams: &[(Health, &str, &Stream)], now: Timestamp) -> Option<i64> {
    let largest = workflow.max_v_replication_transaction_lag;
    let silent = |(health, _, stream): &(Health, &str, &Stream)| {
        let is_time = |stream: &&Stream| {
            stream.transaction_timestamp.is_none_or(|time| time.seconds == 0) || age(stream.transaction_timestamp, now).is_some()
        };
        silent_for(stream, now).filter(|_| *health != Health::Unknown && applies(stream) && is_time(stream))
    };
    let all: Option<Vec<i64>> = streams.iter().map(silent).collect();
    // More than all time is the lag of one that copies, or of a time that is none.
    all?.into_iter().max().filter(|_| largest <= now.seconds).map(|silent| silent.max(largest))
}

/// Something that was kept back so lately that it is so now. A time to come is none.
pub(super) fn is_recent(time: Option<Time>, now: Timestamp) -> bool {
    age(time, now).is_some_and(|age| age < THROTTLED_SECONDS)
}

pub(super) fn is_throttled(stream: &Stream, now: Timestamp) -> bool {
    stream.state != "Stopped" && is_recent(stream.throttler_status.as_ref().and_then(|status| status.time_throttled), now)
}

/// What keeps it back now, each once. Empty when nothing does.
fn throttlers(streams: &[(Health, &str, &Stream)], now: Timestamp) -> String {
    let of = |stream: &Stream| stream.throttler_status.as_ref().map(|status| status.component_throttled.clone());
    let by: BTreeSet<String> = streams.iter().filter(|(_, _, s)| is_throttled(s, now)).filter_map(|(_, _, s)| of(s)).collect();
    if by.is_empty() {
        return String::new();
    }
    let names: Vec<String> = by.into_iter().filter(|name| !name.is_empty()).collect();
    if names.is_empty() { "throttled".into() } else { format!("throttled by {}", names.join(", ")) }
}

/// A workflow with all that is known of its streams.
pub(super) struct Whole<'a> {
    /// Health, tablet and stream: by shard and id.
    pub(super) streams: Vec<(Health, &'a str, &'a Stream)>,
    /// What is wrong with single streams, the worst first, one text each.
    pub(super) of_streams: Vec<String>,
    /// What is wrong with it as a whole: streams that differ, shards that have none.
    pub(super) of_all: Vec<String>,
    /// What there is to say beside.
    pub(super) aside: String,
    /// What the request left out. Empty when nothing.
    pub(super) left_out: &'static str,
    /// Seconds that the stream furthest behind is; `None` when a stream has no lag, or it is not known.
    pub(super) lag_seconds: Option<i64>,
}

impl<'a> Whole<'a> {
    /// `has_all`: whether the reply was asked for all shards and all states, so that what is not in it is not there.
    pub(super) fn new(workflow: &'a Workflow, has_all: bool, now: Timestamp) -> Self {
        let mut streams: Vec<(Health, &str, &Stream)> = Vec::new();
        for (key, shard) in &workflow.shard_streams {
            let tablet = key.rsplit_once('/').map_or("", |(_, tablet)| tablet);
            streams.extend(shard.streams.iter().map(|stream| (Health::of(stream, now), tablet, stream)));
        }
        streams.sort_by(|(_, a, x), (_, b, y)| x.shard.cmp(&y.shard).then(x.id.cmp(&y.id)).then(a.cmp(b)));
        let is_migration = workflow.workflow_type == "OnlineDDL";
        let mut of_all: Vec<String> = mixture(&streams, is_migration).into_iter().collect();
        // A schema migration's streams end shard by shard: its own line says what is known of each.
        if has_all && !is_migration {
            of_all.extend(cover::gaps(workflow));
        }
        of_all.extend(cover::differences(workflow));
        Self {
            of_streams: troubles(&streams, now),
            of_all,
            aside: aside(workflow, &streams, now),
            left_out: "",
            lag_seconds: largest_lag(workflow, &streams, now),
            streams,
        }
    }

    /// As [`Self::new`], of a reply without the streams that are stopped: a shard of which none is there has none that works.
    pub(super) fn of_active(workflow: &'a Workflow, now: Timestamp) -> Self {
        let mut whole = Self::new(workflow, false, now);
        whole.left_out = "stopped streams are left out";
        // Copies that are to stop end shard by shard.
        let stops = |(_, _, stream): &(Health, &str, &Stream)| stream.binlog_source.as_ref().is_some_and(|it| it.stop_after_copy);
        if !whole.streams.iter().any(stops) {
            whole.of_all.extend(cover::inactive(workflow));
        }
        whole
    }

    pub(super) fn has_trouble(&self) -> bool {
        !self.of_streams.is_empty() || !self.of_all.is_empty()
    }

    /// The worst of its streams.
    pub(super) fn worst(&self) -> Health {
        self.streams.iter().map(|(health, ..)| *health).min().unwrap_or(Health::Stopped(Stop::Hand))
    }

    /// All that there is to say, the worst first.
    pub(super) fn note(&self) -> String {
        let parts: Vec<&str> = self
            .of_streams
            .iter()
            .chain(&self.of_all)
            .chain([&self.aside])
            .map(String::as_str)
            .chain([self.left_out])
            .filter(|text| !text.is_empty())
            .collect();
        parts.join("; ")
    }
}

/// How a stream is silent: `silent for 8m`.
pub(super) fn silence(stream: &Stream, now: Timestamp) -> String {
    match (silent_for(stream, now), updated(stream)) {
        (Some(silent), _) => format!("silent for {}", duration(silent)),
        (None, 1..SMALLEST_DATE) => {
            let ahead = duration(updated(stream).saturating_sub(now.seconds));
            format!("wrote its row at a time to come, {ahead} ahead: whether it works is not known")
        }
        (None, _) => "never wrote its row".into(),
    }
}

/// What is wrong with single streams: for each kind of trouble the first stream, and how many more there are.
fn troubles(streams: &[(Health, &str, &Stream)], now: Timestamp) -> Vec<String> {
    let mut kinds: BTreeMap<Health, Vec<&Stream>> = BTreeMap::new();
    for (health, _, stream) in streams.iter().filter(|(health, ..)| health.is_trouble()) {
        kinds.entry(*health).or_default().push(stream);
    }
    let text = |(health, streams): (Health, Vec<&Stream>)| {
        let first = streams.first()?;
        let (shard, id) = (&first.shard, first.id);
        let said = match health {
            Health::Lagging => format!("{shard}: stream {id} {}", silence(first, now)),
            Health::Stopped(Stop::VDiff) if first.stop_position.is_empty() => {
                format!("{shard}: stopped {}", message(&first.message))
            }
            Health::Stopped(Stop::VDiff) => format!("{shard}: stopped {}, with a stop position", message(&first.message)),
            _ if first.message.is_empty() => format!("{shard}: stream {id} is {}", health.word()),
            _ => format!("{shard}: {}", message(&first.message)),
        };
        let more = streams.len().saturating_sub(1);
        Some(if more == 0 { said } else { format!("{said} (and {more} more {})", health.word()) })
    };
    kinds.into_iter().filter_map(text).collect()
}

/// Streams that are not in one state, said by state.
fn mixture(streams: &[(Health, &str, &Stream)], is_migration: bool) -> Option<String> {
    let stops_after_copy = |stream: &Stream| stream.binlog_source.as_ref().is_some_and(|source| source.stop_after_copy);
    let classes = streams.iter().filter_map(|(health, _, stream)| {
        let is_on_its_way = match health {
            // The shards finish their copies one after the other, and migrations cut over shard by shard.
            Health::Stopped(Stop::AfterCopy) => stops_after_copy(stream),
            Health::Stopped(Stop::CutOver) => is_migration,
            _ => false,
        };
        health.class().map(|class| if is_on_its_way { 1 } else { class })
    });
    let classes: BTreeSet<u8> = classes.collect();
    if classes.len() < 2 {
        return None;
    }
    let mut by_word: BTreeMap<(Health, &str), BTreeSet<&str>> = BTreeMap::new();
    for (health, _, stream) in streams.iter().filter(|(health, ..)| health.class().is_some()) {
        // Why a stream is stopped is said elsewhere.
        let rank = if let Health::Stopped(_) = health { Health::Stopped(Stop::Hand) } else { *health };
        by_word.entry((rank, health.word())).or_default().insert(&stream.shard);
    }
    let parts: Vec<String> = by_word
        .iter()
        .map(|((_, word), shards)| format!("{word} on {}", some(&shards.iter().copied().collect::<Vec<_>>(), 3)))
        .collect();
    Some(format!("not all in one state: {}", parts.join(", ")))
}

/// Whether a stream that goes on now has a position at which it stops.
pub(super) fn will_stop(health: Health, stream: &Stream) -> bool {
    let goes_on = matches!(health, Health::Running | Health::Copying | Health::Init | Health::Lagging | Health::Retrying);
    goes_on && !stream.stop_position.is_empty()
}

/// What there is to say of a workflow that is no trouble.
fn aside(workflow: &Workflow, streams: &[(Health, &str, &Stream)], now: Timestamp) -> String {
    let kind = workflow.workflow_type.as_str();
    let is_all = |wanted: Health| !streams.is_empty() && streams.iter().all(|(health, ..)| *health == wanted);
    let waiting = streams.iter().find(|(health, ..)| *health == Health::Waiting);
    let said = if let Some((_, _, stream)) = waiting {
        format!("{}: stream {} never started", stream.shard, stream.id)
    } else if is_all(Health::Frozen) {
        match kind {
            // Where its traffic goes is not in the reply: it may have been switched back since.
            "CreateLookupIndex" => "frozen: the vindex was externalized".into(),
            _ => "frozen".into(),
        }
    } else if is_all(Health::Stopped(Stop::AfterCopy)) {
        "copied, and stopped as it was made to".into()
    } else {
        let quiet = streams.iter().filter(|(health, ..)| !health.is_trouble() && *health != Health::Frozen);
        quiet.map(|(_, _, stream)| message(&stream.message)).find(|message| !message.is_empty()).unwrap_or_default()
    };
    let ends = streams.iter().filter(|(health, _, stream)| will_stop(*health, stream));
    let ends =
        ends.map(|(_, _, stream)| format!("{}: stream {} stops at a position that was set", stream.shard, stream.id)).next();
    [said, ends.unwrap_or_default(), throttlers(streams, now)]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}
