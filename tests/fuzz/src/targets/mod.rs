//! The targets: each a way in for bytes of strangers.

mod answers;
mod component;
mod formats;
mod grpc;
mod requests;
mod screen;
mod snapshots;
mod stranger;
mod topology;
mod traces;
mod vexec;

/// One way in.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its folder in `corpus/`.
    pub name: &'static str,
    /// Takes any bytes, and panics if something is wrong.
    pub run: fn(&[u8]),
    /// Inputs to begin with, each with a name: made of recordings and by hand.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "answers", run: answers::run, seeds: answers::seeds },
    Target { name: "component", run: component::run, seeds: component::seeds },
    Target { name: "formats", run: formats::run, seeds: formats::seeds },
    Target { name: "grpc", run: grpc::run, seeds: grpc::seeds },
    Target { name: "requests", run: requests::run, seeds: requests::seeds },
    Target { name: "screen", run: screen::run, seeds: screen::seeds },
    Target { name: "snapshots", run: snapshots::run, seeds: snapshots::seeds },
    Target { name: "topology", run: topology::run, seeds: topology::seeds },
    Target { name: "traces", run: traces::run, seeds: traces::seeds },
    Target { name: "vexec", run: vexec::run, seeds: vexec::seeds },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
