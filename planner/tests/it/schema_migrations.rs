//! `GetSchemaMigrations` from request bytes to reply bytes, on clusters made of plain data.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, NOW, refused, rows, silent};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Code, FailureKind, Flow, Lost, Reply, What, limits,
    proto::{
        tabletmanagerdata::ExecuteFetchAsDbaRequest,
        topodata::Shard,
        vtctldata::{GetSchemaMigrationsRequest, GetSchemaMigrationsResponse, SchemaMigration},
    },
    rpc,
};

const UUID: &str = "82fa54ac_e83e_11ea_96b7_f875a4d24e90";

fn all() -> GetSchemaMigrationsRequest {
    GetSchemaMigrationsRequest { keyspace: "ks".into(), ..GetSchemaMigrationsRequest::default() }
}

fn call(request: &GetSchemaMigrationsRequest) -> Call {
    Call { path: rpc::GET_SCHEMA_MIGRATIONS.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn migrations(reply: &Reply) -> Vec<SchemaMigration> {
    let bytes = reply.result.as_ref().unwrap_or_else(|status| panic!("{status}"));
    GetSchemaMigrationsResponse::decode(bytes.as_slice()).unwrap().migrations
}

fn uuids(reply: &Reply) -> Vec<String> {
    migrations(reply).into_iter().map(|migration| migration.uuid).collect()
}

/// Rows with the columns of a newer or an older release.
fn page(columns: &[&str], list: &[&[&str]]) -> Answer {
    let values: Vec<_> = list.iter().map(|row| row.iter().map(|text| Some((*text).to_owned())).collect()).collect();
    rows(columns, &values)
}

fn ids(range: impl Iterator<Item = usize>) -> Answer {
    let values: Vec<_> = range.map(|id| vec![Some(id.to_string()), Some(format!("m{id}"))]).collect();
    rows(&["#id", "migration_uuid"], &values)
}

/// Two shards of two releases: the columns stand in another order, and one has fewer.
fn mixed() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let new = page(
        &["#id", "migration_uuid", "shard", "migration_status", "stage", "cancelled_timestamp"],
        &[&["1", "a", "-80", "complete", "done", ""], &["2", "b", "-80", "cancelled", "", "2024-01-02 03:04:05"]],
    );
    let old = page(&["#id", "shard", "migration_status", "migration_uuid"], &[&["9", "80-", "running", "a"]]);
    cluster.answer(100, "migrations", new).answer(200, "migrations", old);
    cluster
}

fn statements(asks: &[Ask]) -> Vec<String> {
    let statement = |ask: &Ask| match &ask.what {
        What::TabletCall { about, request, path, .. } => {
            let request = ExecuteFetchAsDbaRequest::decode(request.as_slice()).unwrap();
            assert_eq!(request.query, about.statement.as_bytes(), "what is shown is what is sent");
            assert_eq!((request.db_name.as_str(), request.max_rows, &**path), ("vt_ks", 10_000, rpc::EXECUTE_FETCH_AS_DBA));
            Some(about.statement.clone())
        }
        _ => None,
    };
    asks.iter().filter_map(statement).collect()
}

#[test]
fn columns_are_read_by_name_on_each_tablet() {
    let (reply, asks) = mixed().run(&call(&all()));
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let read: Vec<_> = migrations(&reply).into_iter().map(|m| (m.uuid, m.shard, m.status, m.stage)).collect();
    let want = [("a", "-80", 6, "done"), ("b", "-80", 2, ""), ("a", "80-", 5, "")];
    let want = want.map(|(uuid, shard, status, stage)| (uuid.to_owned(), shard.to_owned(), status, stage.to_owned()));
    assert_eq!(read, want, "by shard, in the tablet's order");
    assert_eq!(migrations(&reply)[1].cancelled_at.as_ref().unwrap().seconds, 1_704_164_645);
    assert_eq!(asks.iter().map(|ask| ask.round).max(), Some(3));
    assert_eq!(statements(&asks).len(), 2);
}

#[test]
fn each_shard_is_asked_for_what_the_request_selects() {
    let request = GetSchemaMigrationsRequest { status: 5, order: 2, limit: 10, skip: 5, ..all() };
    let (_, asks) = mixed().run(&call(&request));
    let want = "select * from _vt.schema_migrations where migration_status='running' order by `id` DESC LIMIT 5,10";
    assert_eq!(statements(&asks), [want, want]);
}

#[test]
fn full_pages_are_followed_up_to_the_limit() {
    let size = limits::MIGRATION_PAGE_ROWS;
    let mut cluster = Cluster::new(&["0"]);
    cluster.pages(100, "migrations", vec![ids(1..=size), ids(size + 1..=size + 2)]);
    let (reply, asks) = cluster.run(&call(&all()));
    assert_eq!((uuids(&reply).len(), reply.failures.len()), (size + 2, 0));
    assert!(statements(&asks)[1].contains(&format!("and id > {size} order by `id` ASC LIMIT 0,{size}")));

    let request = GetSchemaMigrationsRequest { limit: size as u64, skip: 1, ..all() };
    let (reply, asks) = cluster.run(&call(&request));
    assert_eq!((uuids(&reply).len(), statements(&asks).len()), (size, 1), "as many as were asked for");

    // An answer that is too large is asked for in smaller pages.
    let too_large = Answer::Failed { kind: FailureKind::TooLarge, message: "too large".into() };
    cluster.pages(100, "migrations", vec![too_large.clone(), ids(1..=2)]);
    let (reply, asks) = cluster.run(&call(&all()));
    assert_eq!(uuids(&reply), ["m1", "m2"]);
    assert!(statements(&asks)[1].ends_with(&format!("LIMIT 0,{}", size / 8)));
    cluster.answer(100, "migrations", too_large.clone());
    assert_eq!(cluster.run(&call(&all())).0.result.unwrap_err().message, "too large");
    // Pages without end, and small ones.
    let small = size / 8 / 8;
    let pages = (0..250).map(|page| ids(page * small + 1..=(page + 1) * small));
    cluster.pages(100, "migrations", [too_large.clone(), too_large].into_iter().chain(pages).collect());
    let (reply, asks) = cluster.run(&call(&all()));
    assert_eq!(statements(&asks).len(), limits::STATEMENTS_PER_READ);
    assert!(reply.failures[0].message.starts_with("the migrations need more than "));
}

#[test]
fn what_a_shard_does_not_say_is_named() {
    let mut cluster = mixed();
    cluster.answer(200, "migrations", silent(200));
    let (reply, _) = cluster.run(&call(&all()));
    assert_eq!(uuids(&reply), ["a", "b"]);
    let failure = &reply.failures[0];
    assert_eq!((failure.shard.as_str(), failure.lost), ("80-", Lost::Shard));
    assert_eq!(failure.message, "zone1-0000000200 did not answer in 10s");
    let strict = Call { options: CallOptions { strict: true, ..CallOptions::default() }, ..call(&all()) };
    let text = cluster.run(&strict).0.result.unwrap_err().message;
    assert_eq!(text, "ks/80- zone1-0000000200: zone1-0000000200 did not answer in 10s");
    // The other shard has no rows: an empty list would look as if there were none.
    cluster.answer(100, "migrations", ids(0..0));
    assert!(cluster.run(&call(&all())).0.result.is_err());

    // Nothing runs on a shard without primary.
    cluster.global("keyspaces/ks/shards/80-/Shard", Shard::default().encode_to_vec());
    let (reply, _) = cluster.run(&call(&all()));
    assert!(uuids(&reply).is_empty());
    assert_eq!((reply.failures[0].lost, reply.failures.len()), (Lost::NoPrimary, 1));
    cluster.global("keyspaces/ks/shards/-80/Shard", Shard::default().encode_to_vec());
    assert!(cluster.run(&call(&all())).0.result.is_err(), "nobody was asked");
}

#[test]
fn a_column_that_cannot_be_read_hides_no_migration() {
    let mut cluster = mixed();
    let columns = ["#id", "migration_uuid", "added_timestamp"];
    let list: [&[&str]; 2] = [&["1", UUID, "yesterday"], &["2", "b", "2024-01-02 03:04:05"]];
    cluster.answer(100, "migrations", page(&columns, &list));
    let (reply, _) = cluster.run(&call(&all()));
    assert_eq!(uuids(&reply), [UUID, "b", "a"]);
    assert_eq!((reply.failures.len(), reply.failures[0].lost), (1, Lost::Migration));
    assert!(reply.failures[0].message.starts_with(&format!("migration {UUID}: column added_timestamp: parsing time")));
    assert_eq!(reply.failures[0].tablet, "zone1-0000000100");
    // Asked for by its name alone, and strictly: it is the answer.
    cluster.answer(100, "migrations", page(&columns, &list[..1])).answer(200, "migrations", ids(0..0));
    let request = GetSchemaMigrationsRequest { uuid: UUID.into(), ..all() };
    assert_eq!(uuids(&cluster.run(&call(&request)).0), [UUID]);
    let strict = Call { options: CallOptions { strict: true, ..CallOptions::default() }, ..call(&request) };
    assert_eq!(uuids(&cluster.run(&strict).0), [UUID], "nothing is missing");
}

#[test]
fn a_number_that_is_none_is_named() {
    let mut cluster = mixed();
    let columns = ["#id", "migration_uuid", "progress", "#ready_to_complete", "rows_copied", "eta_seconds", "retries"];
    cluster.answer(100, "migrations", page(&columns, &[&["1", "a", "half", "yes", "-5", "-1", ""]]));
    cluster.answer(200, "migrations", ids(0..0));
    let (reply, _) = cluster.run(&call(&all()));
    assert_eq!((uuids(&reply).len(), reply.failures.len(), reply.failures[0].lost), (1, 1, Lost::Migration));
    let text = &reply.failures[0].message;
    for column in ["progress", "ready_to_complete", "rows_copied"] {
        assert!(text.contains(&format!("column {column}: ")), "{text}");
    }
    assert!(!text.contains("eta_seconds") && !text.contains("retries"), "{text}");
}

#[test]
fn many_columns_that_cannot_be_read_are_counted() {
    let mut cluster = mixed();
    let list: Vec<Vec<String>> =
        (0..limits::FAULTS_PER_TABLET + 30).map(|id| vec![id.to_string(), format!("m{id}"), "never".into()]).collect();
    let list: Vec<Vec<&str>> = list.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let list: Vec<&[&str]> = list.iter().map(Vec::as_slice).collect();
    cluster.answer(100, "migrations", page(&["#id", "migration_uuid", "added_timestamp"], &list));
    let (reply, _) = cluster.run(&call(&all()));
    assert_eq!(reply.failures.len(), limits::FAULTS_PER_TABLET + 1);
    let more =
        reply.failures.iter().filter(|failure| failure.message == "and 30 more migrations with a column that cannot be read");
    assert_eq!(more.count(), 1);
}

#[test]
fn where_there_is_nobody_to_ask_there_are_none() {
    let cluster = mixed();
    let nope = GetSchemaMigrationsRequest { keyspace: "nope".into(), ..all() };
    let (reply, _) = cluster.run(&call(&nope));
    assert!(uuids(&reply).is_empty() && reply.failures.is_empty(), "as vtctld, which does not look for the keyspace");
    let mut down = mixed();
    down.broken.insert(0, refused("etcd is gone"));
    assert_eq!(down.run(&call(&all())).0.result.unwrap_err().message, "etcd is gone");
    for (keyspace, code, text) in [
        ("", Code::InvalidArgument, "keyspace is required"),
        ("../x", Code::Unknown, "keyspace \"../x\" cannot exist: invalid character . in name ../x"),
    ] {
        let (reply, asks) = cluster.run(&call(&GetSchemaMigrationsRequest { keyspace: keyspace.into(), ..all() }));
        let status = reply.result.unwrap_err();
        assert_eq!((status.code, status.message.as_str(), asks.len()), (code, text, 0));
    }
    let request = GetSchemaMigrationsRequest { uuid: "nope".into(), ..all() };
    assert_eq!(cluster.run(&call(&request)).0.result.unwrap_err().message, "nope is not a valid UUID");
}

#[test]
fn replies_do_not_depend_on_the_order_of_answers() {
    let mut runner = TestRunner::new_with_rng(Config::with_cases(256), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut broken = Cluster::new(&["-40", "40-80", "80-c0", "c0-"]);
    for (uid, answer) in [(100, ids(1..=3)), (200, silent(200)), (300, refused("no")), (400, ids(1..=1))] {
        broken.answer(uid, "migrations", answer);
    }
    let first = broken.run(&call(&all())).0;
    let strategy = prop::collection::vec(0_usize..16, 1..24);
    runner
        .run(&strategy, |picks| {
            let mut picks = picks.into_iter().cycle();
            let reply = broken.run_in_order(&call(&all()), |count| picks.next().unwrap_or(0) % count).0;
            prop_assert_eq!(&reply, &first);
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_answer_panics() {
    let mut runner = TestRunner::new_with_rng(Config::with_cases(2_000), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let value =
        prop_oneof![Just(None), "[ -~]{0,12}".prop_map(Some), "[0-9]{4}-[0-9]{2}-[0-9]{2} 03:04:05(\\.[0-9]*)?".prop_map(Some)];
    let columns = ["#id", "migration_uuid", "strategy", "tablet", "added_timestamp", "retain_artifacts_seconds", "progress"];
    let answer = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Answer::Called),
        prop::collection::vec(prop::collection::vec(value, columns.len()), 0..4).prop_map(move |list| rows(&columns, &list)),
        Just(refused("no")),
        Just(Answer::Missing { node: "x".into() }),
    ];
    runner
        .run(&(answer, any::<u64>(), any::<u64>()), |(answer, limit, skip)| {
            let mut cluster = Cluster::new(&["-80", "80-"]);
            cluster.answer(100, "migrations", answer.clone()).answer(200, "migrations", ids(1..=2));
            cluster.run(&call(&GetSchemaMigrationsRequest { limit, skip, ..all() }));
            let mut flow = Flow::start(&call(&all()), NOW);
            while flow.reply().is_none() {
                for ask in flow.asks() {
                    flow.answer(ask.id, answer.clone());
                }
            }
            Ok(())
        })
        .unwrap();
}

/// So it does not matter which of them says too much first.
#[test]
fn of_many_shards_each_may_say_its_share() {
    let names: Vec<String> = (0..400).map(|at| format!("s{at:03}")).collect();
    let mut cluster = Cluster::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let share = limits::MIGRATIONS_BYTES / 400;
    let large = |bytes: usize| page(&["#id", "migration_uuid", "message"], &[&["1", "m", &"x".repeat(bytes)]]);
    for uid in (300..=40_000).step_by(100) {
        cluster.answer(uid, "migrations", ids(0..0));
    }
    cluster.answer(100, "migrations", large(share - 500)).answer(200, "migrations", large(share));
    let (reply, _) = cluster.run(&call(&all()));
    assert_eq!((uuids(&reply), reply.failures.len()), (vec!["m".to_owned()], 1));
    assert!(reply.failures[0].message.contains(&format!("more than {share} bytes")), "{}", reply.failures[0].message);
    assert_eq!(reply.failures[0].tablet, "zone1-0000000200");
}

/// The largest first, until the rest fits to the byte. What was wrong with their rows is no news any more.
#[test]
fn shards_are_left_out_of_a_reply_that_has_no_room_for_them() {
    let mut cluster = Cluster::new(&["-40", "40-80", "80-"]);
    let columns = ["#id", "migration_uuid", "message", "added_timestamp"];
    for (uid, bytes) in [(100, 100), (200, 300), (300, 200)] {
        let text = "x".repeat(bytes);
        cluster.answer(uid, "migrations", page(&columns, &[&["1", &format!("m{uid}"), &text, "yesterday"]]));
    }
    let within = |reply_bytes: usize| {
        let options = CallOptions { reply_bytes: u64::try_from(reply_bytes).unwrap(), ..CallOptions::default() };
        cluster.run(&Call { options, ..call(&all()) }).0
    };
    let said = |reply: &Reply| {
        let said = reply.failures.iter().map(|failure| {
            let text = failure.message.split([':', ';']).next().unwrap_or_default();
            format!("{} {text}", failure.shard)
        });
        said.collect::<Vec<_>>()
    };
    let whole = within(0);
    let bytes = whole.result.as_ref().unwrap().len();
    let sizes: Vec<usize> =
        migrations(&whole).iter().map(|migration| prost::encoding::message::encoded_len(1, migration)).collect();
    assert_eq!((sizes.iter().sum::<usize>(), sizes[1] > sizes[2] && sizes[2] > sizes[0]), (bytes, true));
    let told = ["-40 migration m100", "40-80 migration m200", "80- migration m300"];
    assert_eq!((said(&whole), said(&within(bytes))), (told.map(str::to_owned).to_vec(), told.map(str::to_owned).to_vec()));
    for (allowed, want, failures) in [
        (bytes - 1, &["m100", "m300"][..], ["-40 migration m100", "40-80 left out", "80- migration m300"]),
        (bytes - sizes[1], &["m100", "m300"], ["-40 migration m100", "40-80 left out", "80- migration m300"]),
        (bytes - sizes[1] - 1, &["m100"], ["-40 migration m100", "40-80 left out", "80- left out"]),
        (sizes[0], &["m100"], ["-40 migration m100", "40-80 left out", "80- left out"]),
    ] {
        let reply = within(allowed);
        assert_eq!(
            (uuids(&reply), said(&reply)),
            (want.iter().map(|&uuid| uuid.to_owned()).collect(), failures.map(str::to_owned).to_vec())
        );
        let failure = reply.failures.iter().find(|failure| failure.shard == "40-80").unwrap();
        let text = format!(
            "left out: it makes {} bytes of a reply that may have {allowed} in all; ask for one migration, or for those of a time",
            sizes[1]
        );
        assert_eq!((failure.lost, failure.message.as_str()), (Lost::Shard, text.as_str()));
    }
    assert!(within(sizes[0] - 1).result.is_err(), "an empty list would look as if there were none");
}
