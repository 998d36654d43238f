//! What happened, as Prometheus reads it: RPCs, and the asks behind them.
//!
//! Labels have few values by construction: methods that nobody knows are one label, tablets and keyspaces are none.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use vtflow_planner::{Answer, Ask, Failure, FailureKind, Lost, What};

use crate::observe::Observer;

/// The metrics of one server.
pub(super) struct Metrics {
    registry: Registry,
    rpcs: Family<Rpc, Counter>,
    rpc_seconds: Family<Method, Histogram, fn() -> Histogram>,
    under_way: Gauge,
    shared: Counter,
    asks: Family<AskOutcome, Counter>,
    ask_seconds: Family<AskKind, Histogram, fn() -> Histogram>,
    rounds: Histogram,
    failures: Family<LostLabel, Counter>,
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
            rounds: Histogram::new((1..=10).map(f64::from)),
            failures: Family::default(),
        };
        let Self { registry, rpcs, rpc_seconds, under_way, shared, asks, ask_seconds, rounds, failures } = &mut metrics;
        registry.register("rpcs", "RPCs that have ended, by method and gRPC code", rpcs.clone());
        let (help, unit) = ("How long RPCs took, streams to their end", Unit::Seconds);
        registry.register_with_unit("rpc_duration", help, unit, rpc_seconds.clone());
        registry.register("rpcs_under_way", "RPCs that have begun and not ended", under_way.clone());
        registry.register("rpcs_shared", "RPCs answered by an equal read that was under way", shared.clone());
        registry.register("asks", "Asks that have ended, by kind and outcome", asks.clone());
        let (help, unit) = ("How long asks took, waiting for their turn included", Unit::Seconds);
        registry.register_with_unit("ask_duration", help, unit, ask_seconds.clone());
        registry.register("rounds", "How many answers deep requests went", rounds.clone());
        let help = "Targets, workflows and rows that replies lack, by what was lost";
        registry.register("failures", help, failures.clone());
        metrics
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
            let lost = match failure.lost {
                Lost::NoPrimary => "no_primary",
                Lost::Shard => "shard",
                Lost::CopyState => "copy_state",
                Lost::Logs => "logs",
                Lost::Stream => "stream",
                Lost::Workflow => "workflow",
                Lost::Record => "record",
                Lost::Migration => "migration",
            };
            self.failures.get_or_create(&LostLabel { lost }).inc();
        }
    }

    /// Everything as text, in the format `OpenMetrics`, which Prometheus reads.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    fn ask_ended(&self, ask: &Ask, outcome: &'static str, took: Duration) {
        let kind = match &ask.what {
            What::TopoGet { .. } => "topo_get",
            What::TopoRange { .. } => "topo_range",
            What::TopoList { .. } => "topo_list",
            What::TabletCall { .. } => "tablet_call",
        };
        self.asks.get_or_create(&AskOutcome { kind, outcome }).inc();
        self.ask_seconds.get_or_create(&AskKind { kind }).observe(took.as_secs_f64());
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
            FailureKind::TooLarge => "too_large",
        };
        self.ask_ended(ask, outcome, took);
    }
}

/// From a local tablet to the longest deadline that makes sense.
fn seconds() -> Histogram {
    Histogram::new([0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}
