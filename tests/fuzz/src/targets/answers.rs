//! Recorded requests whose answers go wrong: bytes, cells, columns and rows changed, answers of another kind or of another ask, failures
//! of every kind, answers that come late or never.

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, FailureKind, Flow, Record, What,
    proto::{
        query::{Field, QueryResult, Row},
        tabletmanagerdata::{VDiffResponse, VReplicationExecResponse},
    },
    rpc,
    trace::{Trace, replay},
};

use super::requests::options;
use crate::{
    flow::{self, Driven, Order},
    input::{Input, Output},
    world::{CALLS, WORLDS, World},
};

/// What is done to one answer.
#[derive(Clone, Debug)]
enum Change {
    Fail(FailureKind, String),
    /// The answer is replaced by one of another kind.
    Kind(u8, Vec<u8>),
    /// Bytes at a place are replaced by others: how many are taken out, and what is put in.
    Bytes(u16, u8, Vec<u8>),
    /// A cell of the rows.
    Cell(u8, u8, Option<Vec<u8>>),
    /// A column has another name.
    Column(u8, String),
    /// A column has another type.
    Type(u8, i32),
    /// A row is there so many times; 0: it is gone.
    Row(u8, u8),
    /// A column is gone.
    NoColumn(u8),
    /// What some other ask was answered.
    Another(u8),
    /// A record of the topology, or the path of one in a range, is another one.
    Path(u8, String),
    /// The answer never comes.
    Never,
}

/// Texts of failures that decide something, and some that do not.
const TEXTS: &[&str] = &[
    "",
    "vreplication engine is closed",
    "Table '_vt.copy_state' doesn't exist (errno 1146) (sqlstate 42S02) during query: select 1",
    "Unknown column 'options' in 'field list' (errno 1054) (sqlstate 42S22) during query: select 1",
    "invalid table name: _vt.vreplication_log",
    "unknown method ReadVReplicationWorkflow for service tabletmanagerservice.TabletManager",
    "node doesn't exist: x",
    "Row count exceeded 10000",
    "grpc: received message larger than max (17000000 vs. 16777216)",
    "\u{1b}[31mred\u{202e}\n",
];

fn change(input: &mut Input<'_>) -> Change {
    match input.below(12) {
        0 | 1 => {
            let kind = match input.below(8) {
                0 => FailureKind::Unreachable,
                1 => FailureKind::TimedOut,
                2 => FailureKind::NotSent,
                3 => FailureKind::TooLarge,
                4 => FailureKind::Status(12),
                5 => FailureKind::Status(9),
                6 => FailureKind::Status(i32::from(input.byte())),
                _ => FailureKind::Status(2),
            };
            let text = (*input.one(TEXTS)).to_owned();
            Change::Fail(kind, if text.is_empty() { input.text() } else { text })
        }
        2 => Change::Kind(input.byte(), input.bytes().to_vec()),
        3 => Change::Bytes(input.short(), input.byte(), input.bytes().to_vec()),
        4 | 5 => {
            let (row, column) = (input.byte(), input.byte());
            Change::Cell(row, column, if input.byte() == 0 { None } else { Some(input.bytes().to_vec()) })
        }
        6 => Change::Column(input.byte(), input.text()),
        7 => Change::Type(input.byte(), i32::from(input.short())),
        8 => Change::Row(input.byte(), input.byte()),
        9 => Change::NoColumn(input.byte()),
        10 => match input.byte() % 4 {
            0 => Change::Never,
            1 => Change::Path(input.byte(), input.text()),
            _ => Change::Another(input.byte()),
        },
        _ => Change::Another(input.byte()),
    }
}

/// Applies a change. `None`: there is no answer any more.
fn changed(answer: Answer, ask: &Ask, change: &Change, world: &World) -> Option<Answer> {
    Some(match change {
        Change::Never => return None,
        Change::Fail(kind, message) => Answer::Failed { kind: *kind, message: message.clone() },
        Change::Kind(kind, bytes) => match kind % 9 {
            0 => Answer::Found { value: bytes.clone(), version: i64::MAX },
            1 => {
                Answer::Range(vec![Record { path: String::from_utf8_lossy(bytes).into(), value: bytes.clone(), version: -1 }; 2])
            }
            2 => Answer::Missing { node: String::from_utf8_lossy(bytes).into() },
            3 => Answer::Called(bytes.clone()),
            4 => Answer::Stored { version: i64::MIN },
            5 => Answer::Locked,
            6 => Answer::Unlocked,
            7 => Answer::Deleted,
            _ => Answer::Range(Vec::new()),
        },
        Change::Another(which) => world.any_answer(usize::from(*which)).unwrap_or(answer),
        Change::Bytes(at, less, more) => on_bytes(answer, |value| {
            let at = usize::from(*at).min(value.len());
            let end = (at + usize::from(*less)).min(value.len());
            value.splice(at..end, more.iter().copied());
        }),
        Change::Path(which, path) => match answer {
            Answer::Range(mut records) => {
                let count = records.len();
                if let Some(at) = usize::from(*which).checked_rem(count) {
                    records[at].path.clone_from(path);
                }
                Answer::Range(records)
            }
            Answer::Missing { .. } => Answer::Missing { node: path.clone() },
            answer => answer,
        },
        Change::Cell(..) | Change::Column(..) | Change::Type(..) | Change::Row(..) | Change::NoColumn(_) => {
            let Answer::Called(bytes) = answer else { return Some(answer) };
            Answer::Called(on_rows(&bytes, ask, |table| table.change(change)))
        }
    })
}

fn on_bytes(answer: Answer, change: impl FnOnce(&mut Vec<u8>)) -> Answer {
    match answer {
        Answer::Found { mut value, version } => {
            change(&mut value);
            Answer::Found { value, version }
        }
        Answer::Called(mut value) => {
            change(&mut value);
            Answer::Called(value)
        }
        Answer::Range(mut records) => {
            // As if all values stood one after the other.
            let at = records.len() / 2;
            if let Some(record) = records.get_mut(at) {
                change(&mut record.value);
            }
            Answer::Range(records)
        }
        answer => answer,
    }
}

/// The rows in a response, whichever RPC's: its result is field 1, a `VDiff`'s is field 2.
fn on_rows(response: &[u8], ask: &Ask, change: impl FnOnce(&mut Table)) -> Vec<u8> {
    let on_result = |result: &mut QueryResult| {
        let mut table = Table::of(result);
        change(&mut table);
        table.put(result);
    };
    if matches!(&ask.what, What::TabletCall { path, .. } if path == rpc::VDIFF) {
        let Ok(mut response) = VDiffResponse::decode(response) else { return response.to_vec() };
        on_result(response.output.get_or_insert_default());
        return response.encode_to_vec();
    }
    let Ok(mut response) = VReplicationExecResponse::decode(response) else { return response.to_vec() };
    on_result(response.result.get_or_insert_default());
    response.encode_to_vec()
}

/// A result taken apart.
struct Table {
    fields: Vec<Field>,
    rows: Vec<Vec<Option<Vec<u8>>>>,
}

impl Table {
    fn of(result: &QueryResult) -> Self {
        let row = |row: &Row| {
            let mut rest = row.values.as_slice();
            let cell = |length: &i64| {
                let length = usize::try_from(*length).ok()?;
                let (value, after) = rest.split_at(length.min(rest.len()));
                rest = after;
                Some(value.to_vec())
            };
            row.lengths.iter().map(cell).collect()
        };
        Self { fields: result.fields.clone(), rows: result.rows.iter().map(row).collect() }
    }

    fn put(self, result: &mut QueryResult) {
        result.fields = self.fields;
        let row = |cells: Vec<Option<Vec<u8>>>| Row {
            lengths: cells.iter().map(|cell| cell.as_ref().map_or(-1, |cell| i64::try_from(cell.len()).unwrap_or(0))).collect(),
            values: cells.into_iter().flatten().flatten().collect(),
        };
        result.rows = self.rows.into_iter().map(row).collect();
    }

    fn change(&mut self, change: &Change) {
        let (rows, columns) = (self.rows.len(), self.fields.len());
        let row = |row: &u8| usize::from(*row).checked_rem(rows);
        let column = |column: &u8| usize::from(*column).checked_rem(columns);
        match change {
            Change::Cell(at, of, value) => {
                if let (Some(at), Some(of)) = (row(at), column(of))
                    && let Some(cell) = self.rows[at].get_mut(of)
                {
                    cell.clone_from(value);
                }
            }
            Change::Column(of, name) => {
                if let Some(of) = column(of) {
                    self.fields[of].name = name.clone().into_bytes();
                }
            }
            Change::Type(of, kind) => {
                if let Some(of) = column(of) {
                    self.fields[of].r#type = *kind;
                }
            }
            Change::Row(at, times) => {
                if let Some(at) = row(at) {
                    let copies = vec![self.rows[at].clone(); usize::from(*times % 32)];
                    self.rows.splice(at..=at, copies);
                }
            }
            Change::NoColumn(of) => {
                if let Some(of) = column(of) {
                    self.fields.remove(of);
                    for row in self.rows.iter_mut().filter(|row| of < row.len()) {
                        row.remove(of);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A recorded request, and what becomes of its answers.
pub(super) struct Scenario {
    pub(super) world: &'static World,
    pub(super) call: Call,
    pub(super) order: Order,
    /// By the number of the ask, in the order in which they are asked.
    changes: BTreeMap<usize, Vec<Change>>,
}

impl Scenario {
    /// `call`, `options`, `order`; then for each change which ask it is for, and what it is.
    pub(super) fn of(mut input: Input<'_>) -> Self {
        let (world, call) = input.one(&CALLS);
        let world = &WORLDS[*world];
        let call = Call { options: options(&mut input), ..call.clone() };
        let order = Order::of(input.byte());
        let mut changes: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
        for _ in 0..8 {
            if input.is_empty() {
                break;
            }
            let at = usize::from(input.byte()) % 64;
            changes.entry(at).or_default().push(change(&mut input));
        }
        Self { world, call, order, changes }
    }

    /// What the ask of this number is answered; `None`: nothing.
    pub(super) fn answer(&self, number: usize, ask: &Ask, times: usize) -> Option<Answer> {
        let answer = Some(self.world.answer(ask, times));
        let changes = self.changes.get(&number).into_iter().flatten();
        changes.fold(answer, |answer, change| changed(answer?, ask, change, self.world))
    }
}

pub(super) fn run(data: &[u8]) {
    let scenario = Scenario::of(Input::new(data));
    let Scenario { world, call, order, .. } = &scenario;
    // First in the order of asks, so that changes have a place; then what stood at that place, in another order.
    let mut given: BTreeMap<(String, usize), Option<Answer>> = BTreeMap::new();
    let mut number = 0;
    let first = flow::drive(&mut Flow::start(call, world.now), Order::First, |ask, place, times| {
        let answer = scenario.answer(number, ask, times);
        number += 1;
        given.insert((place.to_owned(), times), answer.clone());
        answer
    });
    first.check(call);
    let again = flow::drive(&mut Flow::start(call, world.now), *order, |ask, place, times| {
        given.get(&(place.to_owned(), times)).cloned().unwrap_or_else(|| Some(world.answer(ask, times)))
    });
    again.check(call);
    if first.reply.is_some() {
        assert_eq!(first.reply, again.reply, "{order:?}: another reply than in the order of asks");
        // As expensive as all the rest: where the order is one by chance.
        if matches!(order, Order::Seed(_)) {
            traced(&again, call, world);
        }
    }
}

/// What was written down replays to the same, and so does what is left of it when rows are taken out.
fn traced(driven: &Driven, call: &Call, world: &World) {
    let trace = driven.trace(call, world.now);
    let json = serde_json::to_string(&trace).expect("a trace is data");
    let read: Trace = serde_json::from_str(&json).expect("what was written");
    assert_eq!(read, trace);
    let replayed = replay(&mut Flow::start(&trace.call, trace.now), &trace);
    assert_eq!(replayed.differences, Vec::<String>::new());
    let redacted = trace.redacted(|call, now| Box::new(Flow::start(call, now)));
    let replayed = replay(&mut Flow::start(&redacted.call, redacted.now), &redacted);
    assert_eq!(replayed.differences, Vec::<String>::new(), "of a redacted trace");
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (at, (_, call)) in CALLS.iter().enumerate() {
        let name = call.path.rsplit('/').next().unwrap_or_default();
        let head = || Output::default().byte(u8::try_from(at).unwrap_or(0)).byte(0).byte(0).byte(1);
        seeds.push((format!("{at:02}-{name}"), head().0));
        // One ask of the middle fails, is answered otherwise, or has another cell.
        for (kind, change) in [
            ("fails", Output::default().byte(0).byte(7).byte(1)),
            ("unknown-method", Output::default().byte(0).byte(4).byte(5)),
            ("cell", Output::default().byte(4).byte(0).byte(2).byte(1).bytes(b"x")),
            ("bytes", Output::default().byte(3).short(9).byte(1).bytes(&[0xff])),
            ("row", Output::default().byte(8).byte(0).byte(2)),
        ] {
            let Output(mut seed) = head().byte(3);
            seed.extend(change.0);
            seeds.push((format!("{at:02}-{name}-{kind}"), seed));
        }
    }
    seeds
}
