//! Sequences of a switch of writes: whoever writes to the target first takes a value above all that the tables hold, whatever fails on the
//! way. Cases TR-143 to TR-154 are those of the reference's `sequences_test.go` and of its code.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use vtflow_planner::{
    Effect, Flow, What,
    proto::{
        topodata::Tablet,
        vschema::{AutoIncrement, Keyspace, RoutingRule, RoutingRules, SrvVSchema},
        vtctldata::WorkflowSwitchTrafficRequest,
    },
};

use crate::{
    support::{
        NOW,
        live::{Fault, Live},
    },
    switch::{ALL, COMMERCE, LEFT, PRIMARY, RIGHT, back, call, cluster, done, refused, request, seen, writes_of},
    switch_faults::run,
};

pub(crate) const UUID: &str = "65b309ae-eb92-11f1-97ea-02fc00000009";

const FAILURES: [Fault; 4] = [Fault::Refused, Fault::NotSent, Fault::LostBefore, Fault::LostAfter];

pub(crate) fn vschema(live: &mut Live, keyspace: &str, change: impl FnOnce(&mut Keyspace)) {
    let path = format!("keyspaces/{keyspace}/VSchema");
    let mut record =
        if live.topo.contains_key(&("global".into(), path.clone())) { live.record("global", &path) } else { Keyspace::default() };
    change(&mut record);
    live.put("global", &path, record.encode_to_vec());
}

/// The column of a table of the target is filled from a sequence.
pub(crate) fn uses(live: &mut Live, table: &str, column: &str, sequence: &str) {
    let auto_increment = Some(AutoIncrement { column: column.into(), sequence: sequence.into() });
    vschema(live, "customer", |it| it.tables.get_mut(table).unwrap().auto_increment = auto_increment);
}

/// A keyspace declares a sequence, and the tablet has it.
pub(crate) fn sequence(live: &mut Live, keyspace: &str, alias: &str, name: &str, next: Option<i64>) {
    vschema(live, keyspace, |it| it.tables.entry(name.into()).or_default().r#type = "sequence".into());
    let server = live.servers.get_mut(alias).unwrap();
    server.sequences.insert(name.into(), next);
    server.cached.insert(name.into());
}

pub(crate) fn holds(live: &mut Live, alias: &str, column: &str, highest: &str) {
    live.servers.get_mut(alias).unwrap().highest.insert(column.into(), highest.into());
}

/// Orders up to 55 on both shards, customers up to 7 on one; the sequence of orders has not begun, that of customers is far ahead.
pub(crate) fn with_sequences() -> Live {
    let mut live = cluster();
    sequence(&mut live, "commerce", COMMERCE, "corder_seq", None);
    sequence(&mut live, "commerce", COMMERCE, "customer_seq", Some(1000));
    uses(&mut live, "corder", "order_id", "`corder_seq`");
    uses(&mut live, "customer", "`id`", "commerce.customer_seq");
    holds(&mut live, LEFT, "corder.order_id", "41");
    holds(&mut live, RIGHT, "corder.order_id", "55");
    holds(&mut live, LEFT, "customer.id", "7");
    live
}

fn initializing(types: &[i32]) -> WorkflowSwitchTrafficRequest {
    WorkflowSwitchTrafficRequest { initialize_target_sequences: true, ..request(types) }
}

pub(crate) fn values(live: &Live, alias: &str) -> Vec<(String, Option<i64>)> {
    live.servers[alias].sequences.iter().map(|(name, next)| (name.clone(), *next)).collect()
}

pub(crate) fn raised() -> Vec<(String, Option<i64>)> {
    vec![("corder_seq".into(), Some(56)), ("customer_seq".into(), Some(1000))]
}

fn lines(live: &mut Live, wanted: WorkflowSwitchTrafficRequest) -> Vec<String> {
    let before = live.clone();
    let lines = done(live, &WorkflowSwitchTrafficRequest { dry_run: true, ..wanted }).dry_run_results;
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "a dry run changes nothing");
    lines
}

/// Without a change: the switch is refused.
fn is_refused(live: &mut Live, want: &str) {
    let before = live.clone();
    assert_eq!(refused(live, &initializing(&ALL)), want);
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "{want}");
    let dry = WorkflowSwitchTrafficRequest { dry_run: true, ..initializing(&ALL) };
    assert_eq!(refused(live, &dry), want, "a dry run refuses alike");
}

/// TR-143.
#[test]
fn sequences_go_on_above_what_the_tables_hold_and_are_never_lowered() {
    let mut live = with_sequences();
    let mut unasked = live.clone();
    done(&mut unasked, &request(&ALL));
    assert_eq!(values(&unasked, COMMERCE), values(&live, COMMERCE), "nobody has asked for it");
    done(&mut live, &initializing(&ALL));
    assert_eq!(values(&live, COMMERCE), raised());
    assert!(live.servers[COMMERCE].cached.is_empty(), "what was taken in advance is forgotten");
    assert_eq!(seen(&live), seen(&unasked), "all else is as without");
}

/// TR-144.
#[test]
fn a_sequence_of_empty_tables_begins_with_one() {
    let mut live = with_sequences();
    for alias in [LEFT, RIGHT] {
        live.servers.get_mut(alias).unwrap().highest.clear();
    }
    holds(&mut live, LEFT, "corder.order_id", "-5");
    done(&mut live, &initializing(&[PRIMARY]));
    assert_eq!(values(&live, COMMERCE)[0], ("corder_seq".into(), Some(1)));
}

/// Lines W8 and W10, TR-154: the value of a tablet whose database has a name of its own.
#[test]
fn a_dry_run_says_what_the_sequences_are_and_will_be() {
    let mut live = with_sequences();
    let path = format!("tablets/{COMMERCE}/Tablet");
    let tablet: Tablet = live.record("zone1", &path);
    live.put("zone1", &path, Tablet { db_name_override: "vt_own".into(), ..tablet }.encode_to_vec());
    let lines = lines(&mut live, initializing(&[PRIMARY]));
    let at = lines.iter().position(|line| line == "Create reverse vreplication workflow c2c_reverse").unwrap();
    assert_eq!(
        lines[at + 1..at + 5],
        [
            "The following sequence backing tables used by tables being moved will be initialized:",
            "\tBacking table: corder_seq, current value 0, new value 56",
            "\tBacking table: customer_seq, current value 1000, new value 8",
            "Create journal entries on source databases",
        ]
    );
    let mut flow = Flow::start(&call(&initializing(&[PRIMARY])), NOW);
    let (mut waiting, mut asked) = (flow.asks(), Vec::new());
    while !waiting.is_empty() {
        let ask = waiting.remove(0);
        if let What::TabletCall { about, effect: Effect::Read, .. } = &ask.what {
            asked.push(about.statement.clone());
        }
        flow.answer(ask.id, live.perform(&ask).unwrap());
        waiting.extend(flow.asks());
    }
    for statement in [
        "select next_id from `vt_own`.`corder_seq` where id = 0",
        "select max(`order_id`) as maxval from `vt_customer`.`corder`",
        "select max(`id`) as maxval from `vt_customer`.`customer`",
    ] {
        assert!(asked.iter().any(|it| it == statement), "{statement}: {asked:#?}");
    }
}

/// What can be prepared is done before a write is refused; the values are read when no row is on its way any more.
#[test]
fn sequences_are_raised_after_the_last_row_and_before_the_journal() {
    let mut live = with_sequences();
    let mut flow = Flow::start(&call(&initializing(&[PRIMARY])), NOW);
    let (mut waiting, mut order) = (flow.asks(), Vec::new());
    while !waiting.is_empty() {
        let ask = waiting.remove(0);
        order.push(match &ask.what {
            What::TabletCall { about, path, .. } if about.statement.is_empty() => path.rsplit('/').next().unwrap().to_owned(),
            What::TabletCall { about, .. } => about.statement.clone(),
            What::TopoPut { path, .. } => format!("put {path}"),
            _ => String::new(),
        });
        if order.last().unwrap().contains("'stopped for cutover' where id=1") {
            // The last rows.
            holds(&mut live, LEFT, "corder.order_id", "99");
        }
        flow.answer(ask.id, live.perform(&ask).unwrap());
        waiting.extend(flow.asks());
    }
    let steps = [
        "select max(`order_id`)",
        "reset sequences corder_seq, customer_seq",
        "put keyspaces/commerce/shards/0/Shard",
        "LOCK TABLES",
        "'stopped for cutover' where id=1",
        "insert into _vt.vreplication (",
        "select max(`order_id`)",
        "insert into `vt_commerce`.`corder_seq` (id, next_id, cache) values (0, 100, 1000)",
        "reset sequences corder_seq, customer_seq",
        "insert into _vt.resharding_journal",
        "put RoutingRules",
    ];
    let mut done = order.iter();
    for step in steps {
        assert!(done.any(|it| it.contains(step)), "{step} in its place of {order:#?}");
    }
    assert_eq!(values(&live, COMMERCE)[0].1, Some(100));
}

/// Numbers of the writes that are about sequences, and of those right behind them.
fn sequence_writes(before: &Live, wanted: &WorkflowSwitchTrafficRequest) -> BTreeSet<usize> {
    let (mut live, mut numbers) = (before.clone(), BTreeSet::new());
    live.writes = 0;
    run(&mut live, &call(wanted), |live, ask| {
        let is_it = match &ask.what {
            What::TabletCall { about, effect: Effect::Write, .. } => about.statement.contains("_seq"),
            What::TopoPut { path, .. } => path == "keyspaces/commerce/VSchema",
            _ => false,
        };
        if is_it {
            numbers.extend([live.writes, live.writes + 1]);
        }
        None
    });
    numbers
}

/// Whatever fails: nobody is led to the target while a sequence is behind, none is lowered, and the same request ends it.
#[test]
fn a_failure_never_leaves_writes_with_a_sequence_that_is_behind() {
    let mut new = with_sequences();
    vschema(&mut new, "commerce", |it| drop(it.tables.remove("corder_seq")));
    new.servers.get_mut(COMMERCE).unwrap().sequences.remove("corder_seq");
    options(&mut new, r#"{"global_keyspace":"commerce"}"#);
    for (name, before) in [("there", with_sequences()), ("created", new)] {
        let (was, wanted) = (seen(&before), initializing(&[PRIMARY]));
        let (count, own) = (writes_of(&before, &wanted), sequence_writes(&before, &wanted));
        assert!(own.len() > 5, "{own:?}");
        let mut whole = before.clone();
        done(&mut whole, &wanted);
        let after = seen(&whole);
        assert_eq!(values(&whole, COMMERCE), raised());
        // Other writes fail in other tests as well.
        let failing = own.iter().flat_map(|at| FAILURES.map(|fault| (*at, fault)));
        for (at, fault) in failing.chain((0..count).map(|at| (at, Fault::Killed))) {
            let mut live = before.clone();
            live.writes = 0;
            live.faults.insert(at, fault);
            let reply = live.run(&call(&wanted));
            let context = || format!("{name}: write {at} of {count} {fault:?}: {reply:?}\n{:#?}", live.log);
            let server = &live.servers[COMMERCE];
            assert!(server.sequences["customer_seq"] >= Some(1000), "{}", context());
            if !server.journals.is_empty() {
                assert_eq!(values(&live, COMMERCE), raised(), "{}", context());
                assert!(server.cached.is_empty(), "{}", context());
            } else if let Some(Err(status)) = reply.as_ref().map(|reply| &reply.result)
                && !status.message.contains("make the same request again")
            {
                assert_eq!(seen(&live), was, "{}", context());
            }
            live.faults.clear();
            let reply = live.run(&call(&wanted)).unwrap();
            assert!(reply.result.is_ok(), "again: {name}: write {at} {fault:?}: {:?}", reply.result);
            assert_eq!(values(&live, COMMERCE), raised(), "again: {name}: write {at} {fault:?}");
            assert_eq!(seen(&live), after, "again: {name}: write {at} {fault:?}");
            let served: SrvVSchema = live.record("zone2", "SrvVSchema");
            assert!(served.keyspaces["commerce"].tables.contains_key("corder_seq"), "again: {name}: write {at} {fault:?}");
        }
    }
}

#[test]
fn answers_about_sequences_may_come_in_any_order() {
    let before = with_sequences();
    for broken in ["", "insert into `vt_commerce`", "ResetSequences", "zone1-0000000200 ExecuteFetchAsDba"] {
        let mut first = before.clone();
        if !broken.is_empty() {
            first.broken.push((broken.into(), "broken".into()));
        }
        let run = |pick: &mut dyn FnMut(usize) -> usize| {
            let mut live = first.clone();
            let reply = live.run_choosing(&call(&initializing(&ALL)), pick).unwrap();
            (reply, seen(&live), values(&live, COMMERCE), live.servers[COMMERCE].cached.clone())
        };
        let want = run(&mut |_| 0);
        for seed in 0..12 {
            let mut state = seed;
            let mut pick = |count: usize| usize::try_from(crate::support::scattered(&mut state) % count as u64).unwrap();
            assert_eq!(run(&mut pick), want, "{broken}, seed {seed}");
        }
    }
}

/// B18: the reference sets a sequence that several tables use by one of them alone.
#[test]
fn a_sequence_of_several_tables_is_above_all_of_them() {
    let mut live = with_sequences();
    uses(&mut live, "customer", "id", "corder_seq");
    holds(&mut live, RIGHT, "customer.id", "70");
    let lines = lines(&mut live, initializing(&[PRIMARY]));
    assert!(lines.contains(&"\tBacking table: corder_seq, current value 0, new value 71".to_owned()), "{lines:#?}");
    done(&mut live, &initializing(&[PRIMARY]));
    assert_eq!(values(&live, COMMERCE)[0], ("corder_seq".into(), Some(71)));
}

/// B18: the reference looks for a sequence elsewhere although its keyspace is named.
#[test]
fn a_sequence_whose_keyspace_is_named_is_not_looked_for_elsewhere() {
    let mut live = with_sequences();
    live.shard("aaa", "0", "zone1", 900, UUID, None);
    sequence(&mut live, "aaa", "zone1-0000000900", "customer_seq", Some(3));
    done(&mut live, &initializing(&[PRIMARY]));
    assert_eq!(values(&live, "zone1-0000000900")[0].1, Some(3));
}

/// B18: which of them the reference finds is chance.
#[test]
fn a_sequence_that_several_keyspaces_have_is_refused_unless_a_rule_leads_to_one() {
    let mut live = with_sequences();
    live.shard("aaa", "0", "zone1", 900, UUID, None);
    sequence(&mut live, "aaa", "zone1-0000000900", "corder_seq", Some(3));
    is_refused(
        &mut live,
        "failed to get the sequence information in the customer keyspace: sequence corder_seq of table corder is in several keyspaces \
         (aaa, commerce): name its keyspace in the vschema of customer",
    );
    // As after a move of the sequence, whose vtgates follow the rule.
    let mut rules: RoutingRules = live.record("global", "RoutingRules");
    rules.rules.push(RoutingRule { from_table: "corder_seq".into(), to_tables: vec!["aaa.corder_seq".into()] });
    live.put("global", "RoutingRules", rules.encode_to_vec());
    done(&mut live, &initializing(&[PRIMARY]));
    assert_eq!(values(&live, "zone1-0000000900")[0].1, Some(56));
    assert_eq!(values(&live, COMMERCE)[0].1, None, "nobody takes values from this one");
}

fn options(live: &mut Live, options: &str) {
    for alias in [LEFT, RIGHT] {
        live.servers.get_mut(alias).unwrap().streams[0].insert("options", options.into());
    }
}

/// TR-146 and B10: created where the workflow's options say, in a dry run not.
#[test]
fn a_missing_sequence_is_created_in_the_keyspace_for_such() {
    let mut live = with_sequences();
    live.shard("aaa", "0", "zone1", 900, UUID, None);
    uses(&mut live, "corder", "order_id", "t1_seq");
    options(&mut live, r#"{"sharded_auto_increment_handling":2,"global_keyspace":"aaa"}"#);
    let lines = lines(&mut live, initializing(&[PRIMARY]));
    assert!(lines.contains(&"\tBacking table: t1_seq, current value 0, new value 56".to_owned()), "{lines:#?}");
    done(&mut live, &initializing(&[PRIMARY]));
    assert_eq!(values(&live, "zone1-0000000900"), [("t1_seq".into(), Some(56))]);
    for cell in ["zone1", "zone2"] {
        let served: SrvVSchema = live.record(cell, "SrvVSchema");
        assert_eq!(served.keyspaces["aaa"].tables["t1_seq"].r#type, "sequence", "{cell}");
    }
}

#[test]
fn what_keeps_sequences_from_being_raised_is_refused_before_anything_is_touched() {
    type Break = fn(&mut Live);
    let cases: [(Break, &str); 9] = [
        // TR-152.
        (
            |live| uses(live, "corder", "order_id", "s1"),
            "failed to get the sequence information in the customer keyspace: failed to locate all of the backing sequence tables being \
             used and no global-keyspace was provided to auto create them in: customer_seq,s1",
        ),
        // TR-153.
        (
            |live| {
                uses(live, "corder", "order_id", "s1");
                options(live, r#"{"global_keyspace":"customer"}"#);
            },
            "failed to get the sequence information in the customer keyspace: global-keyspace customer is not unsharded",
        ),
        (
            |live| uses(live, "corder", "order_id", "nowhere.s1"),
            "failed to get the sequence information in the customer keyspace: failed to get the primary tablet for keyspace nowhere: it \
             has 0 shards, a sequence's has one",
        ),
        // TR-149.
        (
            |live| sequence(live, "commerce", COMMERCE, "`my-`seq1`", None),
            "failed to get the sequence information in the customer keyspace: invalid table name \"`my-`seq1`\" in keyspace commerce: \
             UnescapeID err: unexpected single backtick at position 3 in 'my-`seq1'",
        ),
        // TR-150.
        (
            |live| uses(live, "customer", "`id`", "`ks`1`.`my-seq1`"),
            "failed to get the sequence information in the customer keyspace: invalid keyspace in qualified sequence table name \
             \"`ks`1`.`my-seq1`\" defined in sequence table column_vindexes:{column:\"id\" name:\"hash\"} auto_increment:{column:\"`id`\" \
             sequence:\"`ks`1`.`my-seq1`\"}: UnescapeID err: unexpected single backtick at position 2 in 'ks`1'",
        ),
        // TR-151.
        (
            |live| uses(live, "corder", "`order_id`", "`my-`seq1`"),
            "failed to get the sequence information in the customer keyspace: invalid sequence table name \"`my-`seq1`\" defined in \
             sequence table column_vindexes:{column:\"customer_id\" name:\"hash\"} auto_increment:{column:\"`order_id`\" \
             sequence:\"`my-`seq1`\"}: UnescapeID err: unexpected single backtick at position 3 in 'my-`seq1'",
        ),
        (
            |live| holds(live, RIGHT, "corder.order_id", "9223372036854775807"),
            "failed to initialize the sequences used in the customer keyspace: failed to get the max used sequence values on tablet \
             zone2-0000000300 in order to initialize the backing sequence table: no sequence can go on after 9223372036854775807",
        ),
        (
            |live| holds(live, RIGHT, "corder.order_id", "abc"),
            "failed to initialize the sequences used in the customer keyspace: failed to get the max used sequence values on tablet \
             zone2-0000000300 in order to initialize the backing sequence table: the largest value is no whole number: \"abc\"",
        ),
        (
            |live| live.broken.push(("as maxval".into(), "too slow".into())),
            "failed to initialize the sequences used in the customer keyspace: failed to get the max used sequence values on tablet \
             zone1-0000000200 in order to initialize the backing sequence table: too slow\nfailed to get the max used sequence values on \
             tablet zone2-0000000300 in order to initialize the backing sequence table: too slow",
        ),
    ];
    for (damage, want) in cases {
        let mut live = with_sequences();
        damage(&mut live);
        is_refused(&mut live, want);
    }
}

/// A tablet before v18 keeps the values that it has taken in advance: it is found while writes are taken still.
#[test]
fn a_tablet_that_cannot_forget_values_is_found_before_a_write_is_refused() {
    let mut live = with_sequences();
    live.broken.push(("ResetSequences".into(), "unknown method ResetSequences".into()));
    let before = seen(&live);
    let text = refused(&mut live, &initializing(&ALL));
    assert_eq!(
        text,
        "failed to get the sequence information in the customer keyspace: failed to initialize the backing sequence tables on tablet \
         zone1-0000000100: unknown method ResetSequences"
    );
    assert_eq!(seen(&live), before);
    assert!(!live.log.iter().any(|line| line.contains("LOCK TABLES") || line.contains("put ")), "{:#?}", live.log);
}

/// TR-147, TR-148.
#[test]
fn names_may_stand_between_backquotes() {
    let mut live = with_sequences();
    sequence(&mut live, "commerce", COMMERCE, "`my-seq1`", None);
    let names = BTreeMap::from([("my-seq1".to_owned(), None), ("customer_seq".to_owned(), Some(1000))]);
    live.servers.get_mut(COMMERCE).unwrap().sequences = names;
    uses(&mut live, "corder", "`my-col`", "`my-seq1`");
    uses(&mut live, "customer", "id", "`commerce`.`customer_seq`");
    holds(&mut live, RIGHT, "corder.my-col", "34");
    done(&mut live, &initializing(&[PRIMARY]));
    assert_eq!(values(&live, COMMERCE), [("customer_seq".into(), Some(1000)), ("my-seq1".into(), Some(35))]);
}

/// TR-145, and a keyspace that is sharded already: its tables use their sequences.
#[test]
fn where_no_table_needs_a_sequence_nothing_is_done_about_any() {
    let mut plain = cluster();
    let mut sharded = with_sequences();
    vschema(&mut sharded, "commerce", |it| {
        it.sharded = true;
        let vindexes: Keyspace = cluster().record("global", "keyspaces/customer/VSchema");
        it.vindexes = vindexes.vindexes;
        for (name, table) in vindexes.tables {
            it.tables.insert(name, table);
        }
    });
    for live in [&mut plain, &mut sharded] {
        let before = values(live, COMMERCE);
        done(live, &initializing(&ALL));
        assert_eq!(values(live, COMMERCE), before);
        assert!(!live.log.iter().any(|line| line.contains("ResetSequences")), "{:#?}", live.log);
    }
}

/// A vtctld, or whoever has not asked for it, has stopped after the journal.
#[test]
fn sequences_are_raised_by_the_request_that_finishes_a_switch() {
    let before = with_sequences();
    let count = writes_of(&before, &request(&ALL));
    for at in 0..count {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call(&request(&ALL))).is_none());
        live.faults.clear();
        done(&mut live, &initializing(&ALL));
        assert_eq!(values(&live, COMMERCE), raised(), "dead at {at} of {count}");
    }
}

fn with_moved_sequence() -> Live {
    let mut live = cluster();
    for (keyspace, alias) in [("commerce", COMMERCE), ("customer", LEFT), ("customer", RIGHT)] {
        sequence(&mut live, keyspace, alias, "corder", Some(10));
    }
    live
}

/// The row of a sequence that moves is copied like any other; what the source has taken of it in advance it must not give away later.
#[test]
fn a_source_forgets_the_values_of_a_sequence_that_moves() {
    let mut live = with_moved_sequence();
    let lines = lines(&mut live, request(&[PRIMARY]));
    let text = "The sequence caches will be reset on the source since sequence tables are being moved";
    let at = lines.iter().position(|line| line == text).unwrap();
    assert_eq!(lines[at + 1], "Create reverse vreplication workflow c2c_reverse");
    let before = live.clone();
    done(&mut live, &request(&ALL));
    assert!(live.servers[COMMERCE].cached.is_empty());
    assert!(live.servers[LEFT].cached.contains("corder"), "the target has taken none yet that are not its own");
    done(&mut live, &back(&ALL));
    assert!(live.servers[LEFT].cached.is_empty() && live.servers[RIGHT].cached.is_empty(), "on the way back it is the source");

    let mut failing = before.clone();
    failing.broken.push(("ResetSequences".into(), "away".into()));
    assert_eq!(refused(&mut failing, &request(&ALL)), "failed to reset the sequences: away");
    assert_eq!(seen(&failing), seen(&before), "taken back");
}

/// A moved sequence that a moved table uses gives its values in the target once writes are switched.
#[test]
fn a_sequence_that_moves_with_its_table_is_raised_in_the_target() {
    let mut live = cluster();
    // One shard alone.
    live.topo.remove(&("global".into(), "keyspaces/customer/shards/80-/Shard".into()));
    live.servers.get_mut(RIGHT).unwrap().streams.clear();
    vschema(&mut live, "customer", |it| {
        it.sharded = false;
        it.tables.get_mut("corder").unwrap().column_vindexes.clear();
        it.tables.get_mut("customer").unwrap().column_vindexes.clear();
    });
    sequence(&mut live, "commerce", COMMERCE, "customer", Some(10));
    sequence(&mut live, "customer", LEFT, "customer", Some(10));
    uses(&mut live, "corder", "order_id", "customer");
    holds(&mut live, LEFT, "corder.order_id", "41");
    done(&mut live, &initializing(&ALL));
    assert_eq!(values(&live, LEFT), [("customer".into(), Some(42))]);
    assert_eq!(values(&live, COMMERCE), [("customer".into(), Some(10))]);
}
