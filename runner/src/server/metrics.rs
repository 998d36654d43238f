//! What happened, as Prometheus reads it: RPCs, and the asks behind them.
//!
//! Labels have few values by construction: methods that nobody knows are one label. Tablets are none, since they come and go;
//! shards are, since one slow shard is what people look for: the topology says which there are, no client does, and beyond
//! [`TARGETS`] they are one.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use vtflow_planner::{Answer, Ask, Failure, FailureKind, What};

use crate::{log::queue, observe::Observer};

/// The metrics of one server.
pub(super) struct Metrics {
    registry: Registry,
    rpcs: Family<Rpc, Counter>,
    rpc_seconds: Family<Method, Histogram, fn() -> Histogram>,
    under_way: Gauge,
    shared: Counter,
    asks: Family<AskOutcome, Counter>,
    ask_seconds: Family<AskKind, Histogram, fn() -> Histogram>,
    target_seconds: Family<Target, Histogram, fn() -> Histogram>,
    /// Those that have a label of their own.
    targets: Mutex<BTreeSet<Target>>,
    rounds: Histogram,
    failures: Family<LostLabel, Counter>,
    connections: Family<Port, Gauge>,
    closed: Family<Closed, Counter>,
    refused: Family<Refused, Counter>,
    lines_dropped: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Port {
    port: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closed {
    port: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    bound: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rpc {
    method: String,
    code: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AskOutcome {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AskKind {
    kind: &'static str,
}

/// Whom a tablet call is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Target {
    cell: String,
    keyspace: String,
    shard: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LostLabel {
    lost: &'static str,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("vtflow"),
            rpcs: Family::default(),
            rpc_seconds: Family::new_with_constructor(seconds),
            under_way: Gauge::default(),
            shared: Counter::default(),
            asks: Family::default(),
            ask_seconds: Family::new_with_constructor(seconds),
            target_seconds: Family::new_with_constructor(few_seconds),
            targets: Mutex::default(),
            rounds: Histogram::new((1..=10).map(f64::from)),
            failures: Family::default(),
            connections: Family::default(),
            closed: Family::default(),
            refused: Family::default(),
            lines_dropped: Counter::default(),
        };
        let Self { registry, rpcs, rpc_seconds, under_way, shared, asks, ask_seconds, target_seconds, rounds, failures, .. } =
            &mut metrics;
        registry.register("rpcs", "RPCs that have ended, by method and gRPC code", rpcs.clone());
        let (help, unit) = ("How long RPCs took, streams to their end", Unit::Seconds);
        registry.register_with_unit("rpc_duration", help, unit, rpc_seconds.clone());
        registry.register("rpcs_under_way", "RPCs that have begun and not ended", under_way.clone());
        registry.register("rpcs_shared", "RPCs answered by an equal read that was under way", shared.clone());
        registry.register("asks", "Asks that have ended, by kind and outcome", asks.clone());
        let (help, unit) = ("How long asks took, waiting for their turn included", Unit::Seconds);
        registry.register_with_unit("ask_duration", help, unit, ask_seconds.clone());
        let (help, unit) = ("How long tablet calls took, by whom they were for, waiting for their turn included", Unit::Seconds);
        registry.register_with_unit("target_duration", help, unit, target_seconds.clone());
        registry.register("rounds", "How many answers deep requests went", rounds.clone());
        let help = "Targets, workflows and rows that replies lack, by what was lost";
        registry.register("failures", help, failures.clone());
        let Self { registry, connections, closed, refused, lines_dropped, .. } = &mut metrics;
        registry.register("connections", "Connections that are open, by port", connections.clone());
        let help = "Connections closed or refused by this server to keep its bounds, by port and reason";
        registry.register("connections_closed", help, closed.clone());
        registry.register(
            "requests_refused",
            "Requests refused before any work, and reads for whose answers there was no room, by the bound that they met",
            refused.clone(),
        );
        registry.register("log_lines_dropped", "Lines of the log that nobody read in time", lines_dropped.clone());
        metrics
    }

    pub(super) fn connection_opened(&self, port: &'static str) {
        self.connections.get_or_create(&Port { port }).inc();
    }

    pub(super) fn connection_gone(&self, port: &'static str) {
        self.connections.get_or_create(&Port { port }).dec();
    }

    pub(super) fn connection_closed(&self, port: &'static str, reason: &'static str) {
        self.closed.get_or_create(&Closed { port, reason }).inc();
    }

    pub(super) fn refused(&self, bound: &'static str) {
        self.refused.get_or_create(&Refused { bound }).inc();
    }

    pub(super) fn rpc_begun(&self) {
        self.under_way.inc();
    }

    pub(super) fn rpc_ended(&self, method: Option<&str>, code: i32, took: Duration) {
        let method = method.unwrap_or("unknown");
        self.under_way.dec();
        self.rpcs.get_or_create(&Rpc { method: method.to_owned(), code }).inc();
        self.rpc_seconds.get_or_create(&Method { method: method.to_owned() }).observe(took.as_secs_f64());
    }

    pub(super) fn rpc_shared(&self) {
        self.shared.inc();
    }

    /// A request has ended that asked so deep and lacks so much.
    pub(super) fn flow_ended(&self, rounds: u32, failures: &[Failure]) {
        self.rounds.observe(f64::from(rounds));
        for failure in failures {
            self.failures.get_or_create(&LostLabel { lost: failure.lost.name() }).inc();
        }
    }

    /// Everything as text, in the format `OpenMetrics`, which Prometheus reads.
    pub(super) fn text(&self) -> String {
        self.lines_dropped.inc_by(queue::dropped().saturating_sub(self.lines_dropped.get()));
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    fn ask_ended(&self, ask: &Ask, outcome: &'static str, took: Duration) {
        let kind = match &ask.what {
            What::TopoGet { .. } => "topo_get",
            What::TopoRange { .. } => "topo_range",
            What::TopoPut { .. } => "topo_put",
            What::TopoDelete { .. } => "topo_delete",
            What::TopoLock { .. } | What::TopoUnlock { .. } => "topo_lock",
            What::TopoList { .. } => "topo_list",
            What::TabletCall { .. } => "tablet_call",
            What::TabletPage { .. } => "tablet_page",
        };
        self.asks.get_or_create(&AskOutcome { kind, outcome }).inc();
        self.ask_seconds.get_or_create(&AskKind { kind }).observe(took.as_secs_f64());
        if let What::TabletCall { tablet, about, .. } = &ask.what {
            let target = self.target(&tablet.cell, &about.keyspace, &about.shard);
            self.target_seconds.get_or_create(&target).observe(took.as_secs_f64());
        }
    }

    fn target(&self, cell: &str, keyspace: &str, shard: &str) -> Target {
        let of = |cell: &str, keyspace: &str, shard: &str| Target {
            cell: cell.to_owned(),
            keyspace: keyspace.to_owned(),
            shard: shard.to_owned(),
        };
        let target = of(cell, keyspace, shard);
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if targets.contains(&target) || targets.len() < TARGETS {
            targets.insert(target.clone());
            return target;
        }
        of("other", "other", "other")
    }
}

impl Observer for Metrics {
    fn answered(&self, ask: &Ask, answer: &Answer, took: Duration) {
        let outcome = match answer {
            Answer::Missing { .. } => "missing",
            _ => "ok",
        };
        self.ask_ended(ask, outcome, took);
    }

    fn failed(&self, ask: &Ask, kind: FailureKind, _: &str, took: Duration) {
        let outcome = match kind {
            FailureKind::Status(_) => "status",
            FailureKind::Unreachable => "unreachable",
            FailureKind::TimedOut => "timed_out",
            FailureKind::NotSent => "not_sent",
            FailureKind::TooLarge => "too_large",
        };
        self.ask_ended(ask, outcome, took);
    }
}

/// Few, since there are many targets.
fn few_seconds() -> Histogram {
    Histogram::new([0.01, 0.1, 1.0, 10.0])
}

/// Targets with a label of their own: seven lines of text each.
const TARGETS: usize = 1024;

/// From a local tablet to the longest deadline that makes sense.
fn seconds() -> Histogram {
    Histogram::new([0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

#[cfg(test)]
mod tests {
    use vtflow_planner::{About, AskId, Effect, TabletAddress};

    use super::*;

    fn call(shard: usize) -> Ask {
        let text = |text: &str| text.to_owned();
        let tablet = TabletAddress { alias: text("zone1-1"), cell: text("zone1"), host: text("h"), grpc_port: 1 };
        let about = About {
            keyspace: text("ks"),
            shard: shard.to_string(),
            db_name: text("vt_ks"),
            subject: "streams".into(),
            statement: String::new(),
        };
        let (path, request) = ("/a/b".into(), Vec::new());
        let what = What::TabletCall { tablet, path, request, effect: Effect::Read, limit_ms: 0, about };
        Ask { id: AskId(0), round: 1, what, gate: None }
    }

    #[test]
    fn each_target_has_its_times_and_too_many_are_one() {
        let metrics = Metrics::new();
        for shard in 0..TARGETS + 10 {
            metrics.answered(&call(shard), &Answer::Called(Vec::new()), Duration::from_millis(50));
        }
        metrics.failed(&call(0), FailureKind::TimedOut, "", Duration::from_secs(2));
        let text = metrics.text();
        let count = |labels: &str| {
            let line = format!("vtflow_target_duration_seconds_count{{{labels}}} ");
            text.lines().find_map(|text| text.strip_prefix(&line)).and_then(|count| count.parse::<usize>().ok())
        };
        assert_eq!(count(r#"cell="zone1",keyspace="ks",shard="0""#), Some(2));
        assert_eq!(count(r#"cell="zone1",keyspace="ks",shard="7""#), Some(1));
        assert_eq!(count(r#"cell="other",keyspace="other",shard="other""#), Some(10));
        assert_eq!(text.matches("vtflow_target_duration_seconds_count{").count(), TARGETS + 1);
        let timed_out = r#"vtflow_asks_total{kind="tablet_call",outcome="timed_out"} 1"#;
        assert!(text.contains(timed_out), "{text}");
    }
}
