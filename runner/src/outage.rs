//! For how long writes were refused by a change: the moments at which the asks went out and came back that the planner marks
//! (`vtflow_planner::contract::Gate`), by the clock of this machine.
//!
//! From when an ask left that closes a shard: earlier it cannot have been closed. Until the last one was answered that opens it: later it
//! cannot have been. Which shards refuse writes in the end is the planner's to say.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::time::Instant;
use vtflow_planner::{
    Answer, Ask, FailureKind,
    contract::{Gate, Refuses, Turn},
    formats::time::ansic,
};

use crate::observe::Observer;

/// Watches a change.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    /// By shard of the source; an empty one stands for all of them.
    stamps: Mutex<BTreeMap<String, Stamp>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    /// The first time that something closed it.
    closed: Option<Moment>,
    /// The last time.
    closed_last: Option<Moment>,
    /// The last time that something opened it.
    opened: Option<Moment>,
    /// Asks under way that open it.
    opening: usize,
    /// Whether an ask that closes or opens it had no answer that tells whether it did.
    is_doubtful: bool,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    /// For durations.
    at: Instant,
    /// For people: since 1970.
    time: Duration,
}

/// Writes to the tables of one shard that were refused, or are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Outage {
    keyspace: String,
    shard: String,
    /// Empty: every table of the shard.
    tables: Vec<String>,
    /// Milliseconds since 1970; `None`: since before the change was begun.
    from_unix_ms: Option<u64>,
    /// Milliseconds since 1970; `None`: they are refused still, or may be.
    until_unix_ms: Option<u64>,
    /// Milliseconds between the two.
    duration_ms: Option<u64>,
    /// Whether nobody can tell if writes were refused: an answer was lost.
    is_doubtful: bool,
}

impl Observer for Outages {
    fn asked(&self, ask: &Ask) {
        self.turn(ask, Turn::Opens, |stamp| stamp.opening += 1);
    }

    fn sent(&self, ask: &Ask) {
        let now = Moment::now();
        self.turn(ask, Turn::Closes, |stamp| {
            stamp.closed.get_or_insert(now);
            stamp.closed_last = Some(now);
        });
    }

    fn answered(&self, ask: &Ask, _: &Answer, _: Duration) {
        let now = Moment::now();
        self.turn(ask, Turn::Opens, |stamp| {
            stamp.opening = stamp.opening.saturating_sub(1);
            stamp.opened = Some(now);
        });
    }

    fn failed(&self, ask: &Ask, kind: FailureKind, _: &str, _: Duration) {
        let is_lost = matches!(kind, FailureKind::TimedOut | FailureKind::Unreachable | FailureKind::TooLarge);
        self.turn(ask, Turn::Closes, |stamp| stamp.is_doubtful |= kind != FailureKind::NotSent);
        self.turn(ask, Turn::Opens, |stamp| {
            stamp.opening = stamp.opening.saturating_sub(1);
            stamp.is_doubtful |= is_lost;
        });
    }
}

impl Outages {
    fn turn(&self, ask: &Ask, wanted: Turn, change: impl FnOnce(&mut Stamp)) {
        if let Some(Gate { turn, shard, .. }) = &ask.gate
            && *turn == wanted
        {
            change(self.stamps.lock().unwrap_or_else(PoisonError::into_inner).entry(shard.clone()).or_default());
        }
    }

    /// The shard's own moments, and those of all shards at once.
    fn of(&self, shard: &str) -> Stamp {
        let stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let own = stamps.get(shard).copied().unwrap_or_default();
        let all = stamps.get("").copied().unwrap_or_default();
        let opened = own.opened.into_iter().chain(all.opened).max_by_key(|moment| moment.at);
        let is_doubtful = own.is_doubtful || all.is_doubtful;
        Stamp { opened, opening: own.opening + all.opening, is_doubtful, ..own }
    }

    /// Each outage of a change that has ended, by shard. `refused`: shards that refuse writes still, or may.
    pub(crate) fn ended(&self, refuses: &Refuses, refused: &[String]) -> Vec<Outage> {
        let one = |shard: &String| {
            let Stamp { closed, opened, is_doubtful, .. } = self.of(shard);
            let is_refused = refused.contains(shard);
            // Those of before have no beginning that anybody here knows.
            let from = closed.filter(|_| !refuses.before.contains(shard));
            let until = opened.filter(|_| !is_refused);
            if !is_refused && (until.is_none() || from.is_none() && !refuses.before.contains(shard)) {
                return None;
            }
            Some(Outage {
                keyspace: refuses.keyspace.clone(),
                shard: shard.clone(),
                tables: refuses.tables.clone(),
                from_unix_ms: from.map(Moment::unix_ms),
                until_unix_ms: until.map(Moment::unix_ms),
                duration_ms: from.zip(until).map(|(from, until)| milliseconds(until.at.saturating_duration_since(from.at))),
                is_doubtful,
            })
        };
        refuses.shards.iter().filter_map(one).collect()
    }

    /// What is to be known of a change that is broken off: shards that it has closed and not opened again.
    pub(crate) fn broken_off(&self, refuses: &Refuses) -> Vec<String> {
        let is_open = |Stamp { closed_last, opened, opening, .. }: Stamp| {
            let is_opened = |closed: Moment| opened.is_some_and(|opened| opened.at >= closed.at) && opening == 0;
            closed_last.is_none_or(is_opened)
        };
        let shut: Vec<String> = refuses.shards.iter().filter(|shard| !is_open(self.of(shard))).cloned().collect();
        let doubtful = |outage: Outage| Outage { is_doubtful: true, ..outage };
        let shut: Vec<Outage> =
            self.ended(refuses, &shut).into_iter().filter(|outage| outage.until_unix_ms.is_none()).map(doubtful).collect();
        trouble(refuses, &shut)
    }
}

/// What people read of outages that are over, a line for all shards of which the same is to be said.
pub(crate) fn told(refuses: &Refuses, outages: &[Outage]) -> Vec<String> {
    let over: Vec<&Outage> = outages.iter().filter(|outage| outage.until_unix_ms.is_some()).collect();
    let (known, before): (Vec<&Outage>, Vec<&Outage>) = over.into_iter().partition(|outage| outage.from_unix_ms.is_some());
    let mut lines = Vec::new();
    let from = known.iter().filter_map(|outage| outage.from_unix_ms).min();
    let until = known.iter().filter_map(|outage| outage.until_unix_ms).max();
    if let Some((from, until)) = from.zip(until) {
        let longest = known.iter().filter_map(|outage| outage.duration_ms).max().unwrap_or_default();
        let each = if known.len() > 1 { "at most " } else { "" };
        let (what, from, until) = (refuses.of_shards(&shards(&known)), clock(from), clock(until));
        lines.push(format!("Writes to {what} were refused for {each}{longest} ms, from {from} to {until} UTC"));
    }
    if let Some(until) = before.iter().filter_map(|outage| outage.until_unix_ms).max() {
        let (what, until) = (refuses.of_shards(&shards(&before)), clock(until));
        lines.push(format!("Writes to {what} were refused until {until} UTC, and had been before this was begun"));
    }
    lines
}

/// What people must know of outages that are not over.
pub(crate) fn trouble(refuses: &Refuses, outages: &[Outage]) -> Vec<String> {
    let shut: Vec<&Outage> = outages.iter().filter(|outage| outage.until_unix_ms.is_none()).collect();
    let said = if shut.iter().any(|outage| outage.is_doubtful) { "may be refused" } else { "are refused" };
    let (known, before): (Vec<&Outage>, Vec<&Outage>) = shut.into_iter().partition(|outage| outage.from_unix_ms.is_some());
    let mut lines = Vec::new();
    if let Some(from) = known.iter().filter_map(|outage| outage.from_unix_ms).min() {
        lines.push(format!("writes to {} {said} since {} UTC", refuses.of_shards(&shards(&known)), clock(from)));
    }
    if !before.is_empty() {
        lines.push(format!("writes to {} {said}, as they were before this was begun", refuses.of_shards(&shards(&before))));
    }
    lines
}

fn shards(outages: &[&Outage]) -> Vec<String> {
    outages.iter().map(|outage| outage.shard.clone()).collect()
}

/// `02:28:28.417`, of milliseconds since 1970, UTC.
fn clock(unix_ms: u64) -> String {
    let text = ansic(i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX));
    format!("{}.{:03}", text.get(11..19).unwrap_or(&text), unix_ms % 1000)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Moment {
    fn now() -> Self {
        Self { at: Instant::now(), time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    fn unix_ms(self) -> u64 {
        milliseconds(self.time)
    }
}

#[cfg(test)]
mod tests {
    use vtflow_planner::{AskId, What};

    use super::*;

    /// Two shards of `commerce`, of which the second was closed before if `before` says so.
    fn refuses(before: &[&str]) -> Refuses {
        Refuses {
            keyspace: "commerce".into(),
            shards: vec!["-80".into(), "80-".into()],
            tables: vec!["corder".into(), "customer".into()],
            before: before.iter().map(|&shard| shard.to_owned()).collect(),
        }
    }

    fn ask(turn: Turn, shard: &str) -> Ask {
        let gate = Some(Gate { turn, keyspace: "commerce".into(), shard: shard.into() });
        Ask { id: AskId(0), round: 1, what: What::TopoGet { cell: "zone1".into(), path: "SrvVSchema".into() }, gate }
    }

    async fn after(milliseconds: u64) {
        tokio::time::advance(Duration::from_millis(milliseconds)).await;
    }

    fn close(outages: &Outages, shard: &str) {
        let ask = ask(Turn::Closes, shard);
        outages.asked(&ask);
        outages.sent(&ask);
        outages.answered(&ask, &Answer::Called(Vec::new()), Duration::ZERO);
    }

    /// The time of day is the machine's: it is left out.
    fn timeless(lines: &[String]) -> Vec<String> {
        let is_time = |word: &str| word.len() == 12 && word.contains(':');
        let line =
            |line: &String| line.split(' ').map(|word| if is_time(word) { "T" } else { word }).collect::<Vec<_>>().join(" ");
        lines.iter().map(line).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_lasts_from_the_first_call_that_closes_to_the_last_answer_that_opens() {
        let (outages, refuses) = (Outages::default(), refuses(&[]));
        close(&outages, "-80");
        after(100).await;
        close(&outages, "80-");
        let (first, second) = (ask(Turn::Opens, ""), ask(Turn::Opens, ""));
        outages.asked(&first);
        outages.asked(&second);
        after(50).await;
        outages.answered(&first, &Answer::Stored { version: 1 }, Duration::ZERO);
        let shut = outages.broken_off(&refuses);
        assert_eq!(timeless(&shut), ["writes to corder, customer on commerce/-80, commerce/80- may be refused since T UTC"]);
        after(7).await;
        outages.answered(&second, &Answer::Stored { version: 2 }, Duration::ZERO);
        assert_eq!(outages.broken_off(&refuses), Vec::<String>::new());
        let ended = outages.ended(&refuses, &[]);
        assert_eq!(ended.iter().map(|outage| outage.duration_ms).collect::<Vec<_>>(), [Some(157), Some(57)]);
        let want = "Writes to corder, customer on commerce/-80, commerce/80- were refused for at most 157 ms, from T to T UTC";
        assert_eq!(timeless(&told(&refuses, &ended)), [want]);
        assert_eq!(trouble(&refuses, &ended), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_opened_again_is_said_with_its_time_and_what_never_was_closed_is_not() {
        let (outages, refuses) = (Outages::default(), refuses(&[]));
        assert_eq!(outages.ended(&refuses, &[]), []);
        close(&outages, "80-");
        let open = ask(Turn::Opens, "80-");
        outages.asked(&open);
        outages.failed(&open, FailureKind::Status(2), "refused", Duration::ZERO);
        let refused = ["80-".to_owned()];
        let ended = outages.ended(&refuses, &refused);
        assert_eq!(ended.iter().map(|outage| (outage.shard.as_str(), outage.until_unix_ms)).collect::<Vec<_>>(), [("80-", None)]);
        let said = timeless(&trouble(&refuses, &ended));
        assert_eq!(said, ["writes to corder, customer on commerce/80- are refused since T UTC"]);
        assert_eq!(timeless(&outages.broken_off(&refuses)), [said[0].replace("are", "may be")]);
        assert_eq!(told(&refuses, &ended), Vec::<String>::new());
        // Whether it was opened by the call that nobody answered is not known.
        outages.failed(&open, FailureKind::TimedOut, "no answer", Duration::ZERO);
        let said = timeless(&trouble(&refuses, &outages.ended(&refuses, &refused)));
        assert_eq!(said, ["writes to corder, customer on commerce/80- may be refused since T UTC"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_opened_before_it_is_closed_anew_is_shut_until_it_is_opened_again() {
        let (outages, refuses) = (Outages::default(), refuses(&["80-"]));
        let open = ask(Turn::Opens, "80-");
        outages.asked(&open);
        outages.answered(&open, &Answer::Called(Vec::new()), Duration::ZERO);
        after(5).await;
        assert_eq!(outages.broken_off(&refuses), Vec::<String>::new());
        close(&outages, "80-");
        let want = "writes to corder, customer on commerce/80- may be refused, as they were before this was begun";
        assert_eq!(outages.broken_off(&refuses), [want]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_closed_before_has_no_beginning() {
        let (outages, refuses) = (Outages::default(), refuses(&["-80", "80-"]));
        let open = ask(Turn::Opens, "");
        outages.asked(&open);
        outages.answered(&open, &Answer::Stored { version: 1 }, Duration::ZERO);
        let ended = outages.ended(&refuses, &[]);
        assert!(ended.iter().all(|outage| outage.from_unix_ms.is_none() && outage.duration_ms.is_none()), "{ended:?}");
        let want = "Writes to corder, customer on commerce/-80, commerce/80- were refused until T UTC, and had been before this was begun";
        assert_eq!(timeless(&told(&refuses, &ended)), [want]);
        let shut = outages.ended(&refuses, &refuses.shards);
        let want = "writes to corder, customer on commerce/-80, commerce/80- are refused, as they were before this was begun";
        assert_eq!(trouble(&refuses, &shut), [want]);
    }

    #[test]
    fn a_time_of_day_has_its_milliseconds() {
        assert_eq!(clock(1_764_296_908_007), "02:28:28.007");
    }
}
