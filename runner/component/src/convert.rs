//! Between the planner's types and those of the interface: every field by name, nothing decided. The component has the other
//! half of it, in `planner/component/src/convert.rs`.

use vtflow_planner as p;

use crate::wit::exports::vtflow::planner::planning as w;

impl From<p::Call> for w::Call {
    fn from(call: p::Call) -> Self {
        let p::CallOptions { strict, mode, force, shards, reply_bytes } = call.options;
        let mode = match mode {
            p::Mode::Perform => w::Mode::Perform,
            p::Mode::Preview => w::Mode::Preview,
            p::Mode::Planned(digest) => w::Mode::Planned(digest),
        };
        Self { path: call.path, request: call.request, options: w::CallOptions { strict, mode, force, shards, reply_bytes } }
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

impl From<p::Answer> for w::Answer {
    fn from(answer: p::Answer) -> Self {
        match answer {
            p::Answer::Found { value, version } => Self::Found(w::Found { value, version }),
            p::Answer::Range(records) => Self::Range(
                records.into_iter().map(|p::Record { path, value, version }| w::Entry { path, value, version }).collect(),
            ),
            p::Answer::Missing { node } => Self::Missing(node),
            p::Answer::Called(bytes) => Self::Called(bytes),
            p::Answer::Stored { version } => Self::Stored(version),
            p::Answer::Locked => Self::Locked,
            p::Answer::Deleted => Self::Deleted,
            p::Answer::Unlocked => Self::Unlocked,
            p::Answer::Failed { kind, message } => Self::Failed(w::Failed { kind: kind.into(), message }),
        }
    }
}

impl From<p::FailureKind> for w::FailureKind {
    fn from(kind: p::FailureKind) -> Self {
        match kind {
            p::FailureKind::Status(code) => Self::Status(code),
            p::FailureKind::Unreachable => Self::Unreachable,
            p::FailureKind::TimedOut => Self::TimedOut,
            p::FailureKind::NotSent => Self::NotSent,
            p::FailureKind::TooLarge => Self::TooLarge,
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

impl TryFrom<w::Reply> for p::Reply {
    type Error = String;

    /// Fails if the component says what no planner of this interface says: a code or an outcome that is unknown here.
    fn try_from(reply: w::Reply) -> Result<Self, String> {
        let status = |status: w::Status| Ok(p::Status { code: p::Code::try_from(status.code)?, message: status.message });
        let written = reply.written.map(|text| {
            serde_json::from_str(&text).map_err(|error| format!("what the planner says of its writes cannot be read: {error}"))
        });
        Ok(Self {
            stream: reply.stream,
            result: match reply.result {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(status(error).map_err(|error: String| error)?),
            },
            rest: p::Parts::default(),
            failures: reply.failures.into_iter().map(Into::into).collect(),
            written: written.transpose()?,
        })
    }
}
