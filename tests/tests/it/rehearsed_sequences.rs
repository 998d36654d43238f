//! Rehearsals of what raises sequences: a copy has the values that the change reads on the cluster, and only where it reads some.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use prost::Message;
use vtflow::{
    drive::drive,
    embedded::OwnTables,
    observe::Observer,
    planner_host::PlannerHost,
    rehearse::{
        Change,
        report::{FaultEnd, FaultLine, Rehearsal, RehearsalVerdict, RehearsedSequence},
        take,
    },
};
use vtflow_planner::{
    Ask, Call, CallOptions, What,
    proto::{
        vschema::{AutoIncrement, Keyspace},
        vtctldata::WorkflowSwitchTrafficRequest,
        vtflow::RepairRequest,
    },
    rpc,
};

use crate::{
    lifecycle::{Moment, Recorded, Running, Seen},
    rehearsal::{assert_is_then_done, rehearsed_change},
    sequences::{LEFT, RIGHT, SEQUENCE, SOURCE, own, switched, table},
};

/// Rows of a table.
type Rows<'a> = &'a [&'a [i64]];

const STEP: &str = "06-mt-switch-writes";

/// Before writes are switched: orders of both shards, and their sequence, if it is there.
fn moment(left: Rows<'_>, right: Rows<'_>, sequence: Option<Rows<'_>>) -> Moment {
    let declare = |record: Vec<u8>| {
        let mut vschema = Keyspace::decode(record.as_slice()).unwrap();
        vschema.tables.entry("corder_seq".into()).or_default().r#type = "sequence".into();
        vschema.encode_to_vec()
    };
    let using = |record: Vec<u8>| {
        let mut vschema = Keyspace::decode(record.as_slice()).unwrap();
        let auto_increment = AutoIncrement { column: "order_id".into(), sequence: "corder_seq".into() };
        vschema.tables.entry("corder".into()).or_default().auto_increment = Some(auto_increment);
        vschema.encode_to_vec()
    };
    let orders = |rows: Rows<'_>| own("vt_customer", &[("corder", table(&[("order_id", "bigint"), ("sku", "bigint")], rows))]);
    let sequence: Vec<_> = sequence.into_iter().map(|rows| ("corder_seq", table(&SEQUENCE, rows))).collect();
    Recorded::step(STEP)
        .before
        .with_record("global", "keyspaces/commerce/VSchema", declare)
        .with_record("global", "keyspaces/customer/VSchema", using)
        .with_own(SOURCE, own("vt_commerce", &sequence))
        .with_own(LEFT, orders(left))
        .with_own(RIGHT, orders(right))
}

/// A switch of writes.
fn switch(sequences: bool) -> Change {
    let recorded = WorkflowSwitchTrafficRequest::decode(Recorded::step(STEP).request.as_slice()).unwrap();
    let call = |wanted: WorkflowSwitchTrafficRequest| Call {
        path: rpc::WORKFLOW_SWITCH_TRAFFIC.into(),
        request: wanted.encode_to_vec(),
        options: CallOptions::default(),
    };
    let back = WorkflowSwitchTrafficRequest { direction: 1, ..recorded.clone() };
    Change {
        keyspace: recorded.keyspace.clone(),
        workflow: recorded.workflow.clone(),
        call: call(WorkflowSwitchTrafficRequest { initialize_target_sequences: sequences, ..recorded }),
        back: Some(("reverse".to_owned(), call(back))),
    }
}

/// A repair of the sequences of `customer`.
fn repair() -> Change {
    let only = vec!["sequence_behind".to_owned()];
    let request = RepairRequest { keyspace: "customer".into(), sequences: true, only, ..RepairRequest::default() };
    let call = Call { path: rpc::REPAIR.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    Change { keyspace: "customer".into(), workflow: String::new(), call, back: None }
}

fn goes(before: Option<i64>, after: Option<i64>) -> Vec<RehearsedSequence> {
    vec![RehearsedSequence { name: "commerce.corder_seq".into(), before, after }]
}

async fn next_value(live: &Running) -> Option<i64> {
    let rows = live.rows(SOURCE, "select next_id from `vt_commerce`.`corder_seq` where id = 0").await;
    rows.rows().next().map(|row| row.text("next_id").parse().unwrap())
}

fn told(of: &Rehearsal) -> String {
    format!("{:?} {:?} {:?} {:?} {:?}", of.error, of.differs, of.notes, of.copy.missing, of.after)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_goes_in_the_copy_where_it_then_goes_in_the_cluster() {
    let rows: (Rows<'_>, Rows<'_>) = (&[&[41, 1], &[7, 2]], &[&[55, 1]]);
    let cases: [(&str, (Rows<'_>, Rows<'_>), Option<Rows<'_>>, _, _); 8] = [
        ("below", rows, Some(&[&[0, 10, 1000]]), Some(10), Some(56)),
        ("equal", rows, Some(&[&[0, 55, 1000]]), Some(55), Some(56)),
        ("right behind", rows, Some(&[&[0, 56, 1000]]), Some(56), Some(56)),
        ("far ahead", rows, Some(&[&[0, 3000, 1000]]), Some(3000), Some(3000)),
        ("no row yet", rows, Some(&[]), None, Some(56)),
        ("no table yet", rows, None, None, Some(56)),
        ("empty tables", (&[], &[]), Some(&[&[0, 10, 1000]]), Some(10), Some(10)),
        ("values below one", (&[&[-5, 1]], &[]), None, None, Some(1)),
    ];
    for (name, (left, right), sequence, before, after) in cases {
        let moment = moment(left, right, sequence);
        let live = Running::start(&moment).await;
        let rehearsal = rehearsed_change(&live, switch(true), None).await;
        assert_eq!(live.writes(), 0, "{name}: calls that change something have come to the cluster");
        live.seen().await.assert_is(&Seen::recorded(&moment), name);
        assert_eq!(rehearsal.verdict, RehearsalVerdict::Healthy, "{name}: {}", told(&rehearsal));
        assert_eq!((&rehearsal.differs, &rehearsal.sequences), (&Vec::new(), &goes(before, after)), "{name}");
        let steps: Vec<_> = rehearsal.steps.iter().map(|step| step.name.as_str()).collect();
        assert!(steps.contains(&"raise the sequences"), "{name}: {steps:?}");
        assert_is_then_done(&live, &switch(true).call, &rehearsal, name).await;
        assert_eq!(next_value(&live).await, after, "{name}");
    }
}

/// What is asked of tablets.
#[derive(Default)]
struct Statements(Mutex<Vec<String>>);

impl Observer for Statements {
    fn asked(&self, ask: &Ask) {
        if let What::TabletCall { about, .. } = &ask.what {
            self.0.lock().unwrap().push(about.statement.clone());
        }
    }
}

/// The statements about sequences that the cluster is asked, in the change's preview alone or for a rehearsal.
async fn reads(live: &Running, change: &Change, rehearsed: bool) -> Vec<String> {
    let statements = Statements::default();
    let perform = async |call: &Call, watcher: &dyn Observer| {
        drive(PlannerHost::Native.start(call, live.now), &live.io, None, &(watcher, &statements)).await
    };
    if rehearsed {
        take(perform, change, live.now).await.unwrap();
    } else {
        let mut call = change.call.clone();
        call.options.mode = vtflow_planner::Mode::Preview;
        perform(&call, &vtflow::observe::Nobody).await.result.unwrap();
    }
    let mut all = statements.0.into_inner().unwrap();
    all.retain(|text| text.contains(" as maxval from ") || text.starts_with("select next_id from "));
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_reads_of_sequences_what_the_change_reads_and_nothing_where_nobody_asks() {
    let live = Running::start(&moment(&[&[41, 1]], &[], Some(&[&[0, 10, 1000]]))).await;
    let own = reads(&live, &switch(true), false).await;
    assert_eq!(own.len(), 3, "a sequence, and two shards: {own:?}");
    assert_eq!(reads(&live, &switch(true), true).await, own);
    assert_eq!(reads(&live, &switch(false), true).await, Vec::<String>::new());
    let rehearsal = rehearsed_change(&live, switch(false), None).await;
    assert_eq!((rehearsal.verdict, &rehearsal.sequences), (RehearsalVerdict::Healthy, &Vec::new()), "{}", told(&rehearsal));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_in_the_words_of_the_change() {
    let sequence: Rows<'_> = &[&[0, 10, 1000]];
    let other = |column: &str| own("vt_customer", &[("corder", table(&[(column, "bigint")], &[]))]);
    let whole = moment(&[&[41, 1]], &[&[55, 1]], Some(sequence));
    for (name, moment, want) in [
        ("no table", whole.clone().with_own(RIGHT, own("vt_customer", &[])), "(errno 1146)"),
        ("no column", whole.clone().with_own(RIGHT, other("id")), "(errno 1054)"),
        ("no number", whole.with_own(RIGHT, texts()), "the largest value is no whole number: \"many\""),
    ] {
        let live = Running::start(&moment).await;
        let rehearsal = rehearsed_change(&live, switch(true), None).await;
        assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::Refused, 0), "{name}: {}", told(&rehearsal));
        let said = rehearsal.error.unwrap();
        assert!(said.contains(&format!("on tablet {RIGHT}")) && said.contains(want), "{name}: {said}");
        let reply = live.ask(&switch(true).call).await;
        assert_eq!(reply.result.unwrap_err().message, said, "{name}");
    }
}

fn texts() -> OwnTables {
    let mut orders = table(&[("order_id", "varchar(10)")], &[&[1]]);
    orders.rows[0][0] = vtflow::embedded::Cell::Text("many".into());
    OwnTables { database: "vt_customer".into(), tables: BTreeMap::from([("corder".to_owned(), orders)]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_heals_and_the_sequence_is_raised_then() {
    let live = Running::start(&moment(&[&[41, 1]], &[&[55, 1]], None)).await;
    let rehearsal = rehearsed_change(&live, switch(true), Some(Duration::from_secs(600))).await;
    assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::Healthy, 0), "{}", told(&rehearsal));
    let faults = rehearsal.faults.as_ref().unwrap();
    let of = |step: &str| faults.lines.iter().filter(|line| line.step == step).collect::<Vec<_>>();
    assert_eq!(rehearsal.sequences, goes(None, Some(56)));
    for step in ["prepare the sequences", "raise the sequences"] {
        assert!(of(step).len() >= 3, "{step}: {:#?}", of(step));
    }
    // What was raised stays so, and that alone is no half.
    assert!(of("write the journal").iter().any(|line| line.end == FaultEnd::AsBefore), "{:#?}", of("write the journal"));
    for line in faults.lines.iter().filter(|line| line.end == FaultEnd::HalfWay) {
        assert!(line.phase.starts_with("stopped_") || line.phase == "writes_switched", "{line:#?}");
    }
    assert!(faults.is_whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_of_sequences_is_rehearsed() {
    for (next, after) in [(10, 56), (55, 56)] {
        let live = Running::start(&switched(next)).await;
        let rehearsal = rehearsed_change(&live, repair(), Some(Duration::from_secs(600))).await;
        assert_eq!(live.writes(), 0, "{next}");
        assert_eq!(rehearsal.sequences, goes(Some(next), Some(after)), "{next}: {}", told(&rehearsal));
        assert_eq!((&rehearsal.error, &rehearsal.differs), (&None, &Vec::new()), "{next}");
        let hurts = format!("{:?}", rehearsal.after);
        assert!(!hurts.contains("sequence"), "{hurts}");
        let faults = rehearsal.faults.as_ref().unwrap();
        assert!(faults.lines.iter().all(FaultLine::heals) && faults.lines.len() == 9, "{:#?}", faults.lines);
        assert_is_then_done(&live, &repair().call, &rehearsal, "repair").await;
        assert_eq!(next_value(&live).await, Some(after));
    }
}

/// What the cluster does not tell the copy does not tell either: a column that cannot be read is no empty table.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_repair_cannot_read_is_said_of_the_copy_too() {
    let moment = switched(10).with_own(RIGHT, own("vt_customer", &[("corder", table(&[("id", "bigint")], &[]))]));
    let live = Running::start(&moment).await;
    let rehearsal = rehearsed_change(&live, repair(), None).await;
    let after = format!("{:?}", rehearsal.after);
    assert!(after.contains("(errno 1054)") && !after.contains("(errno 1146)"), "{after}");
    assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::CouldNotLook, 0), "{}", told(&rehearsal));
}
