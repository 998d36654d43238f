//! Asks and answers in words: of whom, what, and what came of it.

use serde::Serialize;

use vtflow_planner::{
    contract::{Answer, What},
    topo::names::GLOBAL,
};

/// An ask in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// A tablet's alias, a cell's name, or `global`.
    pub whom: String,
    /// The keyspace and shard that a tablet is called for: `customer/-80`. Empty for other asks.
    pub place: String,
    /// What of the topology is read or written, such as `get keyspaces/customer/Keyspace`; what a tablet is called for, such as `streams`.
    pub what: String,
}

/// Of whom an ask asks, and what, in words.
pub fn asked(what: &What) -> Asked {
    let of = |whom: &str, what: String| Asked { whom: whom.into(), place: String::new(), what };
    match what {
        What::TopoGet { cell, path } => of(cell, format!("get {path}")),
        What::TopoRange { cell, prefix } => of(cell, format!("range {prefix}")),
        What::TopoList { cell, prefix } => of(cell, format!("list {prefix}")),
        What::TopoPut { cell, path, .. } => of(cell, format!("put {path}")),
        What::TopoDelete { cell, path, .. } => of(cell, format!("delete {path}")),
        What::TopoLock { path, .. } => of(GLOBAL, format!("lock {path}")),
        What::TopoUnlock { .. } => of(GLOBAL, "unlock".into()),
        What::TabletCall { tablet, about, .. } => {
            Asked { place: format!("{}/{}", about.keyspace, about.shard), ..of(&tablet.alias, about.subject.to_string()) }
        }
        What::TabletPage { tablet, path } => of(&tablet.alias, format!("page {path}")),
    }
}

/// Whose answer is waited for: `zone1-0000000100`, `topology of zone1`.
pub fn waited_for(what: &What) -> String {
    match what {
        What::TabletCall { tablet, .. } => tablet.alias.clone(),
        What::TabletPage { tablet, .. } => tablet.alias.clone(),
        What::TopoLock { .. } | What::TopoUnlock { .. } => "a lock of the topology".into(),
        What::TopoGet { cell, .. }
        | What::TopoPut { cell, .. }
        | What::TopoDelete { cell, .. }
        | What::TopoRange { cell, .. }
        | What::TopoList { cell, .. } => format!("topology of {cell}"),
    }
}

/// How an ask ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered.
    Ok,
    /// It was answered that there is no such thing.
    Missing,
    /// It could not be done.
    Failed,
    /// There is no answer.
    None,
}

/// What came of an ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// How it ended.
    pub outcome: Outcome,
    /// The same in words: `1042 bytes`, `missing`, or why it failed.
    pub text: String,
    /// Bytes that the tablet or the topology sent, without their framing.
    pub bytes: usize,
}

/// What came of an ask; `answer`: `None` when there is none.
pub fn answered(answer: Option<&Answer>) -> Answered {
    let ok = |text: &str| Answered { outcome: Outcome::Ok, text: text.into(), bytes: 0 };
    let sent = |bytes: usize| Answered { bytes, ..ok(&format!("{bytes} bytes")) };
    match answer {
        None => Answered { outcome: Outcome::None, ..ok("no answer") },
        Some(Answer::Found { value, .. }) => sent(value.len()),
        Some(Answer::Range(records)) => {
            let bytes = records.iter().fold(0_usize, |sum, record| sum.saturating_add(record.value.len()));
            Answered { bytes, ..ok(&format!("{} records", records.len())) }
        }
        Some(Answer::Missing { .. }) => Answered { outcome: Outcome::Missing, ..ok("missing") },
        Some(Answer::Called(bytes)) => sent(bytes.len()),
        Some(Answer::Locked) => ok("locked"),
        Some(Answer::Unlocked) => ok("unlocked"),
        Some(Answer::Stored { .. }) => ok("stored"),
        Some(Answer::Deleted) => ok("deleted"),
        Some(Answer::Failed { message, .. }) => Answered { outcome: Outcome::Failed, ..ok(message) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtflow_planner::contract::{FailureKind, Record};

    #[test]
    fn an_ask_says_of_whom_and_what() {
        let get = What::TopoGet { cell: "zone1".into(), path: "tablets/x/Tablet".into() };
        let want = Asked { whom: "zone1".into(), place: String::new(), what: "get tablets/x/Tablet".into() };
        assert_eq!((asked(&get), waited_for(&get)), (want, "topology of zone1".to_owned()));
        let lock = What::TopoLock { path: "keyspaces/ks".into(), action: String::new(), is_named: false };
        assert_eq!((asked(&lock).whom.as_str(), waited_for(&lock).as_str()), ("global", "a lock of the topology"));
    }

    #[test]
    fn an_answer_says_how_much_came() {
        let record = |value: &[u8]| Record { path: "p".into(), value: value.to_vec(), version: 1 };
        let range = answered(Some(&Answer::Range(vec![record(b"abc"), record(b"")])));
        assert_eq!((range.outcome, range.text.as_str(), range.bytes), (Outcome::Ok, "2 records", 3));
        let failed = Answer::Failed { kind: FailureKind::TimedOut, message: "too late".into() };
        assert_eq!(answered(Some(&failed)), Answered { outcome: Outcome::Failed, text: "too late".into(), bytes: 0 });
        assert_eq!(answered(None).outcome, Outcome::None);
    }
}
