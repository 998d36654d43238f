//! Cases of the reference's tests, and of its defects, that no other test of completing, cancelling and mirroring is about.
//! `traffic_cases.txt` has all of them.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::{
    Answer, FailureKind, Flow, What,
    proto::{
        topodata::{Shard, TabletType, shard::TabletControl},
        vschema::{Keyspace, MirrorRule, MirrorRules, SrvVSchema},
        vtctldata::{WorkflowDeleteResponse, WorkflowMirrorTrafficRequest},
    },
    rpc,
};

use crate::{
    forward::{Wanted, cancelled, completed, mirrored, stocked, with_tables},
    support::{NOW, live::Live},
    switch, switch_shards,
};

const PRIMARY: i32 = TabletType::Primary as i32;
const REPLICA: i32 = TabletType::Replica as i32;
const RDONLY: i32 = TabletType::Rdonly as i32;

const LEFT: &str = "zone1-0000000200";
const RIGHT: &str = "zone2-0000000300";

fn done(live: &mut Live, wanted: &Wanted) -> Vec<u8> {
    live.run(&wanted.call()).unwrap().result.unwrap_or_else(|status| panic!("{status}\n{:#?}", live.log))
}

fn refused(live: &mut Live, wanted: &Wanted) -> String {
    let before = live.clone();
    let message = live.run(&wanted.call()).unwrap().result.unwrap_err().message;
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "{message}");
    message
}

fn mirrors(live: &Live) -> Vec<String> {
    let rules = live.record::<MirrorRules>("global", "MirrorRules").rules;
    let mut rules: Vec<String> =
        rules.into_iter().map(|it| format!("{} -> {} {}", it.from_table, it.to_table, it.percent)).collect();
    rules.sort();
    rules
}

fn controls(live: &Live, shard: &str) -> Vec<TabletControl> {
    live.record::<Shard>("global", &format!("keyspaces/customer/shards/{shard}/Shard")).tablet_controls
}

// TR-41.
#[test]
fn a_keyspace_that_is_not_there_is_named_as_the_reference_names_it() {
    let request = WorkflowMirrorTrafficRequest {
        keyspace: "no_ks".into(),
        workflow: "c2c".into(),
        tablet_types: vec![PRIMARY],
        percent: 50.0,
    };
    let wanted = Wanted { path: rpc::WORKFLOW_MIRROR_TRAFFIC, request: request.encode_to_vec() };
    let text = refused(&mut switch::cluster(), &wanted);
    let want = "FindAllShardsInKeyspace(no_ks): List: node doesn't exist: ";
    assert!(text.starts_with(want) && text.ends_with("keyspaces/no_ks/shards"), "{text}");
}

// TR-44, TR-45.
#[test]
fn a_type_that_has_moved_is_not_mirrored() {
    for (of, name) in [(REPLICA, "replica"), (PRIMARY, "primary")] {
        let mut live = stocked(switch::cluster());
        live.tablet("elsewhere", "0", "zone2", 900, RDONLY);
        switch::done(&mut live, &switch::request(&[of]));
        let want =
            format!("cannot mirror [{name}] traffic for workflow c2c at this time: traffic for those tablet types is switched");
        assert_eq!(refused(&mut live, &mirrored(&[PRIMARY, REPLICA, RDONLY], 50.0)), want);
    }
}

// TR-48, TR-49, TR-50.
#[test]
fn reads_of_mirrored_tables_are_let_through_on_the_target() {
    for types in [&[PRIMARY, REPLICA, RDONLY][..], &[PRIMARY], &[RDONLY]] {
        let mut live = stocked(switch::cluster());
        done(&mut live, &mirrored(types, 50.0));
        let suffix = |of: &i32| if *of == PRIMARY { "" } else { ["", "", "@replica", "@rdonly"][usize::try_from(*of).unwrap()] };
        let rule = |of: &i32, table: &str| format!("commerce.{table}{} -> customer.{table} 50", suffix(of));
        let mut want: Vec<String> = types.iter().flat_map(|of| [rule(of, "corder"), rule(of, "customer")]).collect();
        want.sort();
        assert_eq!(mirrors(&live), want);
        for shard in ["-80", "80-"] {
            let [control] = &controls(&live, shard)[..] else { panic!("one control") };
            assert_eq!((control.allow_reads, control.denied_tables.len()), (true, 2));
        }
        for cell in ["zone1", "zone2"] {
            assert_eq!(live.record::<SrvVSchema>(cell, "SrvVSchema").mirror_rules.unwrap().rules.len(), want.len());
        }
    }
}

// TR-51.
#[test]
fn what_is_mirrored_elsewhere_too_is_mirrored_there_still() {
    let mut live = stocked(switch::cluster());
    for (shard, alias) in [("-80", LEFT), ("80-", RIGHT)] {
        let path = format!("keyspaces/customer/shards/{shard}/Shard");
        let record: Shard = live.record("global", &path);
        live.put("global", &path, Shard { tablet_controls: vec![], ..record }.encode_to_vec());
        live.servers.get_mut(alias).unwrap().denied.clear();
    }
    let rule =
        |table: &str, to: &str, percent| MirrorRule { from_table: format!("commerce.{table}"), to_table: to.into(), percent };
    let rules = vec![
        rule("corder", "customer.corder", 50.0),
        rule("corder", "other.corder", 25.0),
        rule("customer", "customer.customer", 50.0),
    ];
    live.put("global", "MirrorRules", MirrorRules { rules }.encode_to_vec());
    done(&mut live, &mirrored(&[PRIMARY], 0.0));
    assert_eq!(mirrors(&live), ["commerce.corder -> other.corder 25"]);
    assert!(controls(&live, "-80").is_empty() && controls(&live, "80-").is_empty(), "none was there");
}

// TR-61.
#[test]
fn a_stream_that_is_not_frozen_is_named_with_its_tablet() {
    let mut live = stocked(switch::switched());
    live.servers.get_mut(RIGHT).unwrap().streams[0].insert("message", String::new());
    let want = "vreplication streams are not frozen on tablet 300";
    assert_eq!(refused(&mut live, &completed("customer", "c2c", |_| ())), want);
}

// TR-68.
#[test]
fn a_workflow_whose_reads_alone_have_moved_is_cancelled() {
    let mut live = stocked(switch::cluster());
    switch::done(&mut live, &switch::request(&[REPLICA, RDONLY]));
    let reply = WorkflowDeleteResponse::decode(done(&mut live, &cancelled("customer", "c2c", |_| ())).as_slice()).unwrap();
    assert_eq!(reply.summary, "Successfully cancelled the c2c workflow in the customer keyspace");
    assert!(!live.topo.contains_key(&("global".into(), "RoutingRules".into())), "reads go to the source again");
    assert!(live.servers[LEFT].tables.is_empty() && live.servers[LEFT].streams.is_empty());
}

// TR-70.
#[test]
fn a_table_that_is_gone_already_does_not_keep_the_others() {
    let mut live = stocked(switch::cluster());
    with_tables(&mut live, &[LEFT, RIGHT], &["customer"]);
    done(&mut live, &cancelled("customer", "c2c", |_| ()));
    for alias in [LEFT, RIGHT] {
        assert!(live.servers[alias].tables.is_empty() && live.servers[alias].streams.is_empty(), "{alias}");
    }
}

// TR-73.
#[test]
fn shards_of_one_tenant_are_not_cancelled() {
    let mut live = switch_shards::cluster();
    for alias in ["zone1-0000000400", "zone1-0000000500"] {
        live.servers.get_mut(alias).unwrap().streams[0].insert("options", r#"{"tenant_id":"1"}"#.into());
    }
    let want = "unsupported workflow type \"Reshard\" for multi-tenant migration";
    assert_eq!(refused(&mut live, &cancelled("ks", "r", |_| ())), want);
}

// TR-74.
#[test]
fn tables_that_others_deny_are_denied_still() {
    let mut live = stocked(switch::cluster());
    for (shard, alias) in [("-80", LEFT), ("80-", RIGHT)] {
        let path = format!("keyspaces/customer/shards/{shard}/Shard");
        let record: Shard = live.record("global", &path);
        let denied_tables: Vec<String> = ["corder", "t2", "t3"].map(str::to_owned).to_vec();
        live.servers.get_mut(alias).unwrap().denied.clone_from(&denied_tables);
        let control = TabletControl { tablet_type: PRIMARY, denied_tables, ..TabletControl::default() };
        live.put("global", &path, Shard { tablet_controls: vec![control], ..record }.encode_to_vec());
    }
    done(&mut live, &cancelled("customer", "c2c", |_| ()));
    for shard in ["-80", "80-"] {
        assert_eq!(controls(&live, shard)[0].denied_tables, ["t2", "t3"]);
    }
}

// B32.
#[test]
fn a_cancellation_that_waited_for_a_switch_sees_what_that_has_done() {
    let mut live = stocked(switch::cluster());
    let mut flow = Flow::start(&cancelled("customer", "c2c", |_| ()).call(), NOW);
    let (mut waiting, mut switched) = (flow.asks(), None);
    while !waiting.is_empty() {
        let ask = waiting.remove(0);
        if matches!(&ask.what, What::TopoLock { .. }) && switched.is_none() {
            switch::done(&mut live, &switch::request(&switch::ALL));
            switched = Some((live.topo.clone(), live.servers.clone()));
        }
        flow.answer(ask.id, live.perform(&ask).unwrap());
        waiting.extend(flow.asks());
    }
    let text = flow.into_reply().unwrap().result.unwrap_err().message;
    assert_eq!(text, "cannot delete workflow because you have already switched write traffic");
    assert_eq!(switched, Some((live.topo, live.servers)));
}

// TR-75.
#[test]
fn a_workflow_that_is_locked_is_left_alone() {
    let mut live = stocked(switch::cluster());
    let before = live.clone();
    let mut flow = Flow::start(&cancelled("customer", "c2c", |_| ()).call(), NOW);
    let mut waiting = flow.asks();
    while !waiting.is_empty() {
        let ask = waiting.remove(0);
        let answer = match &ask.what {
            What::TopoLock { path, .. } => {
                Answer::Failed { kind: FailureKind::TimedOut, message: format!("deadline exceeded: {path}") }
            }
            _ => live.perform(&ask).unwrap(),
        };
        flow.answer(ask.id, answer);
        waiting.extend(flow.asks());
    }
    let text = flow.into_reply().unwrap().result.unwrap_err().message;
    let want = "failed to lock the customer/c2c workflow: deadline exceeded: internal/named_locks/customer/c2c";
    assert_eq!(text, want);
    assert_eq!((live.topo, live.servers), (before.topo, before.servers));
}

// B17.
#[test]
fn tables_of_another_cluster_are_denied_no_more() {
    let mut live = stocked(switch::cluster());
    let source =
        r#"keyspace:"far" shard:"0" filter:{rules:{match:"corder" filter:"select * from corder"}} external_cluster:"ext""#;
    for alias in [LEFT, RIGHT] {
        for (column, value) in [("workflow_type", "3"), ("source", source)] {
            live.servers.get_mut(alias).unwrap().streams[0].insert(column, value.into());
        }
    }
    let known: Keyspace = live.record("global", "keyspaces/customer/VSchema");
    done(&mut live, &completed("customer", "c2c", |_| ()));
    assert_eq!(live.record::<Keyspace>("global", "keyspaces/customer/VSchema"), known, "what was said of them stays");
    for (shard, alias) in [("-80", LEFT), ("80-", RIGHT)] {
        assert_eq!(controls(&live, shard)[0].denied_tables, ["customer"], "another's");
        assert_eq!(live.servers[alias].denied, ["customer"]);
    }
}
