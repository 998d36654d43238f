//! Between the planner's types and those of the interface: every field by name, nothing decided.

use vtflow_planner as p;

use crate::wit::exports::vtflow::planner::planning as w;

impl From<w::Call> for p::Call {
    fn from(call: w::Call) -> Self {
        let w::CallOptions { strict, mode, force, shards, reply_bytes } = call.options;
        let mode = match mode {
            w::Mode::Perform => p::Mode::Perform,
            w::Mode::Preview => p::Mode::Preview,
            w::Mode::Planned(digest) => p::Mode::Planned(digest),
        };
        Self { path: call.path, request: call.request, options: p::CallOptions { strict, mode, force, shards, reply_bytes } }
    }
}

impl From<p::Ask> for w::Ask {
    fn from(ask: p::Ask) -> Self {
        let what = match ask.what {
            p::What::TopoGet { cell, path } => w::What::TopoGet(w::TopoPath { cell, path }),
            p::What::TopoRange { cell, prefix } => w::What::TopoRange(w::TopoPath { cell, path: prefix }),
            p::What::TopoList { cell, prefix } => w::What::TopoList(w::TopoPath { cell, path: prefix }),
            p::What::TopoPut { cell, path, value, version } => w::What::TopoPut(w::TopoPut { cell, path, value, version }),
            p::What::TopoDelete { cell, path, version } => w::What::TopoDelete(w::TopoDelete { cell, path, version }),
            p::What::TopoLock { path, action, is_named } => w::What::TopoLock(w::TopoLock { path, action, is_named }),
            p::What::TopoUnlock { lock } => w::What::TopoUnlock(lock.0),
            p::What::TabletCall { tablet, path, request, effect, limit_ms, about } => w::What::TabletCall(w::TabletCall {
                tablet: w::Address { alias: tablet.alias, cell: tablet.cell, host: tablet.host, port: tablet.grpc_port },
                path: path.into_owned(),
                request,
                effect: match effect {
                    p::Effect::Read => w::Effect::Read,
                    p::Effect::Write => w::Effect::Write,
                },
                limit_ms,
                about: w::About {
                    keyspace: about.keyspace,
                    shard: about.shard,
                    db_name: about.db_name,
                    subject: about.subject.into_owned(),
                    statement: about.statement,
                },
            }),
            p::What::TabletPage { tablet, path } => w::What::TabletPage(w::TabletPage {
                tablet: w::Address { alias: tablet.alias, cell: tablet.cell, host: tablet.host, port: tablet.port },
                path: path.into_owned(),
            }),
        };
        let gate = ask.gate.map(|p::contract::Gate { turn, keyspace, shard }| w::Gate {
            turn: match turn {
                p::contract::Turn::Closes => w::Turn::Closes,
                p::contract::Turn::Opens => w::Turn::Opens,
            },
            keyspace,
            shard,
        });
        Self { id: ask.id.0, round: ask.round, what, gate }
    }
}

impl From<w::Ask> for p::Ask {
    fn from(ask: w::Ask) -> Self {
        let what = match ask.what {
            w::What::TopoGet(w::TopoPath { cell, path }) => p::What::TopoGet { cell, path },
            w::What::TopoRange(w::TopoPath { cell, path }) => p::What::TopoRange { cell, prefix: path },
            w::What::TopoList(w::TopoPath { cell, path }) => p::What::TopoList { cell, prefix: path },
            w::What::TopoPut(w::TopoPut { cell, path, value, version }) => p::What::TopoPut { cell, path, value, version },
            w::What::TopoDelete(w::TopoDelete { cell, path, version }) => p::What::TopoDelete { cell, path, version },
            w::What::TopoLock(w::TopoLock { path, action, is_named }) => p::What::TopoLock { path, action, is_named },
            w::What::TopoUnlock(lock) => p::What::TopoUnlock { lock: p::AskId(lock) },
            w::What::TabletCall(w::TabletCall { tablet, path, request, effect, limit_ms, about }) => p::What::TabletCall {
                tablet: p::TabletAddress { alias: tablet.alias, cell: tablet.cell, host: tablet.host, grpc_port: tablet.port },
                path: path.into(),
                request,
                effect: match effect {
                    w::Effect::Read => p::Effect::Read,
                    w::Effect::Write => p::Effect::Write,
                },
                limit_ms,
                about: p::About {
                    keyspace: about.keyspace,
                    shard: about.shard,
                    db_name: about.db_name,
                    subject: about.subject.into(),
                    statement: about.statement,
                },
            },
            w::What::TabletPage(w::TabletPage { tablet, path }) => p::What::TabletPage {
                tablet: p::PageAddress { alias: tablet.alias, cell: tablet.cell, host: tablet.host, port: tablet.port },
                path: path.into(),
            },
        };
        let gate = ask.gate.map(|w::Gate { turn, keyspace, shard }| p::contract::Gate {
            turn: match turn {
                w::Turn::Closes => p::contract::Turn::Closes,
                w::Turn::Opens => p::contract::Turn::Opens,
            },
            keyspace,
            shard,
        });
        Self { id: p::AskId(ask.id), round: ask.round, what, gate }
    }
}

impl From<w::Answer> for p::Answer {
    fn from(answer: w::Answer) -> Self {
        match answer {
            w::Answer::Found(w::Found { value, version }) => Self::Found { value, version },
            w::Answer::Range(entries) => Self::Range(
                entries.into_iter().map(|w::Entry { path, value, version }| p::Record { path, value, version }).collect(),
            ),
            w::Answer::Missing(node) => Self::Missing { node },
            w::Answer::Called(bytes) => Self::Called(bytes),
            w::Answer::Stored(version) => Self::Stored { version },
            w::Answer::Locked => Self::Locked,
            w::Answer::Deleted => Self::Deleted,
            w::Answer::Unlocked => Self::Unlocked,
            w::Answer::Failed(w::Failed { kind, message }) => Self::Failed { kind: kind.into(), message },
        }
    }
}

impl From<w::FailureKind> for p::FailureKind {
    fn from(kind: w::FailureKind) -> Self {
        match kind {
            w::FailureKind::Status(code) => Self::Status(code),
            w::FailureKind::Unreachable => Self::Unreachable,
            w::FailureKind::TimedOut => Self::TimedOut,
            w::FailureKind::NotSent => Self::NotSent,
            w::FailureKind::TooLarge => Self::TooLarge,
        }
    }
}

/// The kinds of loss, both ways.
macro_rules! lost {
    ($($name:ident),*) => {
        impl From<p::Lost> for w::Lost {
            fn from(lost: p::Lost) -> Self {
                match lost { $(p::Lost::$name => Self::$name),* }
            }
        }

        impl From<w::Lost> for p::Lost {
            fn from(lost: w::Lost) -> Self {
                match lost { $(w::Lost::$name => Self::$name),* }
            }
        }
    };
}

lost!(NoPrimary, Shard, CopyState, Logs, Stream, Workflow, Traffic, Record, Migration);

impl From<p::Failure> for w::Failure {
    fn from(failure: p::Failure) -> Self {
        let p::Failure { keyspace, shard, tablet, workflow, lost, message } = failure;
        Self { keyspace, shard, tablet, workflow, lost: lost.into(), message }
    }
}

impl From<w::Failure> for p::Failure {
    fn from(failure: w::Failure) -> Self {
        let w::Failure { keyspace, shard, tablet, workflow, lost, message } = failure;
        Self { keyspace, shard, tablet, workflow, lost: lost.into(), message }
    }
}

impl From<p::Reply> for w::Reply {
    fn from(reply: p::Reply) -> Self {
        Self {
            stream: reply.stream,
            result: reply.result.map_err(|status| w::Status { code: status.code.into(), message: status.message }),
            failures: reply.failures.into_iter().map(Into::into).collect(),
            // What was written is texts and numbers: there is always JSON of it.
            written: reply.written.map(|written| serde_json::to_string(&written).unwrap_or_default()),
        }
    }
}
