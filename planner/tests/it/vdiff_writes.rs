//! `VDiffCreate`, `VDiffStop`, `VDiffResume`, `VDiffDelete` on clusters made of plain data: what is refused before anything is changed,
//! what each tablet is sent, what becomes of a half.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use crate::support::{
    Cluster, StreamOf, THEN, VDIFF_COLUMNS, copy_states, refused, rows, same_in_every_order, silent, stream, streams, vdiff_row,
};
use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Effect, FailureKind, Mode, Reply, What,
    contract::Verdict,
    formats::uuid,
    proto::{
        tabletmanagerdata::{VDiffCoreOptions, VDiffRequest, VDiffResponse},
        vtctldata::{VDiffCreateRequest, VDiffCreateResponse, VDiffDeleteRequest, VDiffStopRequest},
        vttime::Duration,
    },
    rpc, serve,
};

const UUID: &str = "b3f59678-5241-41ee-be56-0242ac120002";
const OTHER: &str = "11111111-1111-1111-1111-111111111111";
const ALIASES: [&str; 2] = ["zone1-0000000200", "zone1-0000000300"];

/// Of three shards two have the workflow. `vdiffs` are those of both.
fn cluster(vdiffs: &[Vec<Option<String>>]) -> Cluster {
    let mut cluster = Cluster::new(&["-40", "40-80", "80-"]);
    cluster.answer(100, "vdiffs", rows(&VDIFF_COLUMNS, &[])).answer(100, "vdiff tables", rows(&["state"], &[]));
    cluster.answer(100, "v21", Answer::Called(Vec::new()));
    for (uid, id) in [(200, 7), (300, 8)] {
        cluster
            .answer(uid, "names", rows(&["workflow"], &[vec![Some("wf".into())]]))
            .answer(uid, "streams", streams(&[stream(id, "wf")]))
            .answer(uid, "v21", Answer::Called(Vec::new()))
            .answer(uid, "vdiff", Answer::Called(VDiffResponse { id: 2, ..VDiffResponse::default() }.encode_to_vec()))
            .answer(uid, "vdiff undone", Answer::Called(Vec::new()));
        show(&mut cluster, uid, vdiffs, &["completed"]);
    }
    cluster
}

/// What a tablet has.
fn show(cluster: &mut Cluster, uid: u32, vdiffs: &[Vec<Option<String>>], tables: &[&str]) {
    let tables: Vec<_> = tables.iter().map(|state| vec![Some((*state).to_owned())]).collect();
    cluster.answer(uid, "vdiffs", rows(&VDIFF_COLUMNS, vdiffs)).answer(uid, "vdiff tables", rows(&["state"], &tables));
}

fn call(path: &str, request: &impl Message) -> Call {
    Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn creation() -> VDiffCreateRequest {
    VDiffCreateRequest { workflow: "wf".into(), target_keyspace: "ks".into(), uuid: UUID.into(), ..VDiffCreateRequest::default() }
}

fn create(request: &VDiffCreateRequest) -> Call {
    call(rpc::VDIFF_CREATE, request)
}

fn on_shards(path: &str, uuid: &str, shards: &[&str]) -> Call {
    let request = VDiffStopRequest {
        workflow: "wf".into(),
        target_keyspace: "ks".into(),
        uuid: uuid.into(),
        target_shards: shards.iter().map(|shard| (*shard).to_owned()).collect(),
    };
    call(path, &request)
}

fn stop() -> Call {
    on_shards(rpc::VDIFF_STOP, UUID, &[])
}

fn resume() -> Call {
    on_shards(rpc::VDIFF_RESUME, UUID, &[])
}

fn delete(arg: &str) -> Call {
    let request = VDiffDeleteRequest { workflow: "wf".into(), target_keyspace: "ks".into(), arg: arg.into() };
    call(rpc::VDIFF_DELETE, &request)
}

/// The calls that write, by tablet.
fn sent(asks: &[Ask]) -> Vec<(String, VDiffRequest)> {
    let call = |ask: &Ask| match &ask.what {
        What::TabletCall { tablet, path, request, effect: Effect::Write, .. } => {
            assert_eq!(path, rpc::VDIFF);
            Some((tablet.alias.clone(), VDiffRequest::decode(request.as_slice()).expect("such a message")))
        }
        What::TopoLock { .. } | What::TopoPut { .. } => panic!("{ask:?}: no lock is taken, and no record written"),
        _ => None,
    };
    asks.iter().filter_map(call).collect()
}

fn error(reply: &Reply) -> &str {
    &reply.result.as_ref().expect_err("an error").message
}

/// What is refused with this text, and that nothing is sent.
fn is_refused(cluster: &Cluster, call: &Call, text: &str) {
    let (reply, asks) = cluster.run(call);
    assert_eq!(error(&reply), text);
    assert_eq!(sent(&asks), [], "{text}");
}

fn verdicts(reply: &Reply) -> Vec<(Verdict, &str)> {
    let written = reply.written.as_ref().expect("a request that writes");
    written.outcomes.iter().map(|outcome| (outcome.verdict, outcome.message.as_str())).collect()
}

fn kept(reply: &Reply) -> &[String] {
    &reply.written.as_ref().expect("a request that writes").plan.kept
}

#[test]
fn one_is_created_on_every_target() {
    let request = VDiffCreateRequest {
        uuid: format!(" {} ", UUID.to_uppercase()),
        tablet_types: vec![3, 2, 1],
        tablet_selection_preference: 1,
        limit: i64::MAX,
        filtered_replication_wait_time: Some(Duration { seconds: 30, nanos: 0 }),
        max_extra_rows_to_compare: 1000,
        max_report_sample_rows: 10,
        row_diff_column_truncate_at: 128,
        auto_start: Some(true),
        ..creation()
    };
    let reply = same_in_every_order(&cluster(&[]), &create(&request));
    let (_, asks) = cluster(&[]).run(&create(&request));
    let response = VDiffCreateResponse::decode(reply.result.as_ref().expect("a reply").as_slice()).expect("such a message");
    assert_eq!(response.uuid, UUID, "as tablets look for it");
    let sent = sent(&asks);
    assert_eq!(sent.iter().map(|(alias, _)| alias.as_str()).collect::<Vec<_>>(), ALIASES);
    for (_, request) in sent {
        let options = request.options.clone().expect("options");
        let core = options.core_options.expect("options");
        assert_eq!((core.max_rows, core.timeout_seconds, core.auto_start), (i64::MAX, 30, Some(true)));
        assert_eq!(options.picker_options.expect("options").tablet_types, "in_order:rdonly,replica,primary");
        let (keyspace, workflow, action, vdiff_uuid) = ("ks".into(), "wf".into(), "create".into(), UUID.into());
        let want = VDiffRequest { keyspace, workflow, action, vdiff_uuid, ..VDiffRequest::default() };
        assert_eq!(VDiffRequest { options: None, ..request }, want);
    }
    assert_eq!(verdicts(&reply), [(Verdict::Applied, ""), (Verdict::Applied, "")]);
    let text = vtflow_screen::plans::text(&reply.written.expect("a request that writes").plan);
    let statement = "insert into _vt.vdiff(keyspace, workflow, state, options, shard, db_name, vdiff_uuid) values ('ks', 'wf', 'pending', \
        '{\"picker_options\":{\"tablet_types\":\"in_order:rdonly,replica,primary\"},\"core_options\":{\"max_rows\":9223372036854775807,\
        \"timeout_seconds\":30,\"max_extra_rows_to_compare\":1000,\"auto_start\":true},\"report_options\":{\"max_sample_rows\":10,\
        \"row_diff_column_truncate_at\":128}}'";
    assert_eq!(
        text,
        format!(
            "This creates VDiff {UUID} of ks.wf on 2 tablets:\n\
             \x20 zone1-0000000200  ks/40-80  1 row\n    vdiff {UUID}  new\n    {statement}, '40-80', 'vt_ks', '{UUID}')\n\
             \x20 zone1-0000000300  ks/80-  1 row\n    vdiff {UUID}  new\n    {statement}, '80-', 'vt_ks', '{UUID}')\n\
             Note: if one tablet does not take it, it is deleted again where it was created\n"
        )
    );
}

#[test]
fn one_without_a_uuid_gets_one() {
    let request = VDiffCreateRequest { uuid: String::new(), ..creation() };
    let (reply, asks) = cluster(&[]).run(&create(&request));
    let response = VDiffCreateResponse::decode(reply.result.expect("a reply").as_slice()).expect("such a message");
    assert_eq!(uuid::parse(&response.uuid).as_ref(), Ok(&response.uuid));
    assert!(sent(&asks).iter().all(|(_, sent)| sent.vdiff_uuid == response.uuid));
}

#[test]
fn what_means_nothing_is_refused_before_anybody_is_asked() {
    let with = |change: fn(&mut VDiffCreateRequest)| {
        let mut request = creation();
        change(&mut request);
        create(&request)
    };
    for (call, text) in [
        (
            create(&VDiffCreateRequest::default()),
            "FindAllShardsInKeyspace() invalid keyspace name: UnescapeID err: invalid input identifier ''",
        ),
        (with(|request| request.uuid = " x ".into()), "invalid UUID provided: x: invalid UUID length: 1"),
        (with(|request| request.limit = -1), "limit must be a positive value"),
        (with(|request| request.workflow = String::new()), "no streams found in keyspace ks for "),
        (delete("last"), "action argument last not supported: it is all or a UUID; nothing was changed"),
        (delete(""), "action argument  not supported: it is all or a UUID; nothing was changed"),
    ] {
        let (reply, asks) = cluster(&[]).run(&call);
        assert_eq!(error(&reply), text);
        assert_eq!(asks.len(), 0, "{text}");
    }
}

#[test]
fn what_no_target_could_do_is_refused_before_anything_is_changed() {
    let nobody = Cluster::new(&["-80"]);
    let mut nobody_has_it = nobody.clone();
    nobody_has_it.answer(100, "vdiffs", rows(&VDIFF_COLUMNS, &[])).answer(100, "vdiff tables", rows(&["state"], &[]));
    for call in [create(&creation()), stop(), resume(), delete("all")] {
        is_refused(&nobody_has_it, &call, "no streams found in keyspace ks for wf");
        let mut gone = Cluster::default();
        gone.global("keyspaces/other/Keyspace", vec![]);
        is_refused(&gone, &call, "FindAllShardsInKeyspace(ks): List: node doesn't exist: /vitess/global/keyspaces/ks/shards");
    }
    let exists = |alias| format!("vdiff with UUID {UUID} already exists on tablet {alias}");
    let all = ALIASES.map(exists).join("\n");
    is_refused(&cluster(&[vdiff_row(UUID, "started")]), &create(&creation()), &format!("{all}\nnothing was changed"));
    let mut one = cluster(&[]);
    show(&mut one, 300, &[vdiff_row(UUID, "completed")], &[]);
    is_refused(&one, &create(&creation()), &format!("{}\nnothing was changed", exists(ALIASES[1])));
    let missing = ALIASES.map(|alias| format!("vdiff with UUID {UUID} not found on tablet {alias}")).join("\n");
    is_refused(&cluster(&[]), &resume(), &format!("{missing}\nnothing was changed"));
    let none = ALIASES.map(|alias| format!("no vdiff found for UUID {UUID} on tablet {alias}")).join("\n");
    is_refused(&cluster(&[vdiff_row(OTHER, "started")]), &delete(UUID), &format!("{none}\nnothing was changed"));
    for shard in ["0", "-40"] {
        let text = format!("specified target shard {shard} not a valid target for workflow wf");
        for path in [rpc::VDIFF_STOP, rpc::VDIFF_RESUME] {
            is_refused(&cluster(&[vdiff_row(UUID, "stopped")]), &on_shards(path, UUID, &["80-", shard]), &text);
        }
    }
    // A tablet would take it for the one that was meant.
    let mut foreign = vdiff_row(UUID, "started");
    foreign[2] = Some("other".into());
    let text = ALIASES.map(|alias| format!("vdiff {UUID} on tablet {alias} is of workflow ks.other")).join("\n");
    for call in [stop(), resume(), delete(UUID)] {
        is_refused(&cluster(&[foreign.clone()]), &call, &format!("{text}\nnothing was changed"));
    }
    for (subject, answer) in [("vdiffs", silent(300)), ("vdiffs", Answer::Called(vec![0xff; 3])), ("names", silent(300))] {
        let mut cluster = cluster(&[]);
        cluster.answer(300, subject, answer);
        for call in [create(&creation()), stop(), resume(), delete("all")] {
            let (reply, asks) = cluster.run(&call);
            assert!(error(&reply).contains("nothing was changed"), "{subject}: {}", error(&reply));
            assert_eq!(sent(&asks), []);
        }
    }
}

#[test]
fn one_is_only_created_where_every_stream_runs() {
    let with = |change: &dyn Fn(&mut StreamOf)| {
        let mut second = stream(8, "wf");
        change(&mut second);
        let mut cluster = cluster(&[]);
        cluster.answer(300, "streams", streams(&[second]));
        cluster
    };
    let not_all = "not all streams are running in workflow ks.wf";
    for state in ["Stopped", "Copying", "Error"] {
        is_refused(&with(&|stream| stream.state = state), &create(&creation()), not_all);
    }
    let mut copying = cluster(&[]);
    copying.answer(300, "copy state", copy_states(&[(1, 8, "t1")]));
    is_refused(&copying, &create(&creation()), not_all);
    let frozen = "invalid VDiff run: writes have been already been switched for workflow ks.wf";
    let freeze = |stream: &mut StreamOf| (stream.state, stream.message) = ("Stopped", "FROZEN");
    is_refused(&with(&freeze), &create(&creation()), frozen);
    // The streams of other workflows are not looked at.
    let (_, asks) = cluster(&[]).run(&create(&creation()));
    let statements: Vec<&str> = asks
        .iter()
        .filter_map(|ask| match &ask.what {
            What::TabletCall { about, .. } if about.subject == "streams and copy state" => Some(about.statement.as_str()),
            _ => None,
        })
        .collect();
    assert!(!statements.is_empty());
    assert!(statements.iter().all(|statement| statement.contains(" and workflow = 'wf'")), "{statements:?}");
    // The others are for workflows in any state.
    let mut cluster = with(&freeze);
    for uid in [200, 300] {
        show(&mut cluster, uid, &[vdiff_row(UUID, "started")], &["started"]);
    }
    for call in [stop(), delete("all"), delete(UUID)] {
        assert!(cluster.run(&call).0.result.is_ok());
    }
}

#[test]
fn tables_that_the_workflow_does_not_have_are_refused() {
    let of = |tables: &[&str]| {
        create(&VDiffCreateRequest { tables: tables.iter().map(|&table| table.to_owned()).collect(), ..creation() })
    };
    is_refused(&cluster(&[]), &of(&["t1", "nosuch"]), "table \"nosuch\" is none of workflow ks.wf; nothing was changed");
    let (reply, asks) = cluster(&[]).run(&of(&["t1"]));
    assert!(reply.result.is_ok(), "{reply:?}");
    let core = |request: &VDiffRequest| request.options.clone().and_then(|options| options.core_options).unwrap_or_default();
    assert!(sent(&asks).iter().all(|(_, request)| core(request).tables == "t1"));
    // What a pattern stands for only the source knows.
    let mut all = cluster(&[]);
    for uid in [200, 300] {
        let source = r#"keyspace:"src" shard:"0" filter:{rules:{match:"/.*" filter:"-80"}}"#.to_owned();
        all.answer(uid, "streams", streams(&[StreamOf { source, ..stream(7, "wf") }]));
    }
    assert!(all.run(&of(&["t1", "nosuch"])).0.result.is_ok());
}

#[test]
fn one_that_is_not_to_begin_is_not_given_to_tablets_that_would_begin() {
    let late = create(&VDiffCreateRequest { auto_start: Some(false), ..creation() });
    let mut old = cluster(&[]);
    let text = "unknown method ValidateVReplicationPermissions for service tabletmanagerservice.TabletManager";
    old.answer(300, "v21", Answer::Failed { kind: FailureKind::Status(12), message: text.into() });
    let text = "tablet zone1-0000000300 is older than v21 and would start it at once; nothing was changed";
    is_refused(&old, &late, text);
    assert!(old.run(&create(&creation())).0.result.is_ok(), "any other tablet takes it");
    let (reply, asks) = cluster(&[]).run(&late);
    assert!(reply.result.is_ok());
    let core = |request: &VDiffRequest| request.options.clone().and_then(|options| options.core_options).unwrap_or_default();
    assert!(
        sent(&asks).iter().all(|(_, request)| core(request) == VDiffCoreOptions { auto_start: Some(false), ..core(request) })
    );
}

#[test]
fn the_tablets_get_what_vtctld_sends_them() {
    let started = cluster(&[vdiff_row(UUID, "started"), vdiff_row(OTHER, "completed")]);
    let stopped = cluster(&[vdiff_row(UUID, "stopped")]);
    let base = |action: &str| VDiffRequest {
        keyspace: "ks".into(),
        workflow: "wf".into(),
        action: action.into(),
        ..VDiffRequest::default()
    };
    let of_uuid = |action: &str| VDiffRequest { vdiff_uuid: UUID.into(), ..base(action) };
    let of_arg = |arg: &str| VDiffRequest { action_arg: arg.into(), ..base("delete") };
    let braced = format!("{{{}}}", UUID.to_uppercase());
    for (cluster, call, want, tablets) in [
        (&started, stop(), of_uuid("stop"), &ALIASES[..]),
        (&started, on_shards(rpc::VDIFF_STOP, UUID, &["40-80"]), of_uuid("stop"), &ALIASES[..1]),
        (&started, on_shards(rpc::VDIFF_STOP, &braced, &[]), of_uuid("stop"), &ALIASES[..]),
        (&stopped, resume(), of_uuid("resume"), &ALIASES[..]),
        (&stopped, on_shards(rpc::VDIFF_RESUME, UUID, &["80-", "80-"]), of_uuid("resume"), &ALIASES[1..]),
        (&started, delete(UUID), of_arg(UUID), &ALIASES[..]),
        (&started, delete(&braced), of_arg(UUID), &ALIASES[..]),
        (&started, delete("all"), of_arg("all"), &ALIASES[..]),
    ] {
        let (reply, asks) = cluster.run(&call);
        assert_eq!(reply.result.as_deref(), Ok(&[][..]), "{call:?}");
        let sent = sent(&asks);
        assert_eq!(sent.iter().map(|(alias, _)| alias.as_str()).collect::<Vec<_>>(), tablets, "{call:?}");
        assert!(sent.iter().all(|(_, request)| *request == want), "{sent:?}");
    }
}

#[test]
fn what_is_done_already_is_left_alone() {
    // One that no tablet has: clients rely on success.
    let (reply, asks) = cluster(&[]).run(&stop());
    assert_eq!(reply.result.as_deref(), Ok(&[][..]));
    assert_eq!(sent(&asks), []);
    assert_eq!(
        kept(&reply),
        ["ks/40-80 zone1-0000000200 has no VDiff of this UUID", "ks/80- zone1-0000000300 has no VDiff of this UUID"]
    );
    assert!(cluster(&[]).run(&delete("all")).0.result.is_ok());
    // A part of it was done before: the rest is done now.
    for (call, before, after, why) in [
        (stop(), Some("started"), Some("stopped"), "has stopped it already"),
        (stop(), Some("started"), Some("completed"), "has completed it"),
        (stop(), Some("error"), None, "has no VDiff of this UUID"),
        (resume(), Some("stopped"), Some("started"), "compares already"),
        (delete(UUID), Some("started"), None, "has no VDiff of this UUID"),
        (delete("all"), Some("started"), None, "has no VDiff of it"),
    ] {
        let row = |state: Option<&str>| state.map(|state| vdiff_row(UUID, state)).into_iter().collect::<Vec<_>>();
        let mut cluster = cluster(&row(before));
        show(&mut cluster, 200, &row(after), &["completed"]);
        let (reply, asks) = cluster.run(&call);
        assert!(reply.result.is_ok(), "{call:?}: {reply:?}");
        assert_eq!(sent(&asks).iter().map(|(alias, _)| alias.as_str()).collect::<Vec<_>>(), ALIASES[1..], "{call:?}");
        assert_eq!(kept(&reply), [format!("ks/40-80 zone1-0000000200 {why}")]);
    }
}

#[test]
fn only_what_has_ended_or_never_begun_is_resumed() {
    let untouched = || vec![Some(UUID.into()), Some("ks".into()), Some("wf".into()), Some("stopped".into()), None, None];
    for (row, tables, is_resumed) in [
        (vdiff_row(UUID, "completed"), &["completed"][..], true),
        (vdiff_row(UUID, "stopped"), &["completed", "stopped"], true),
        (vdiff_row(UUID, "stopped"), &["pending", "stopped"], true),
        (untouched(), &[], true),
        // Stopped before its first table.
        (vdiff_row(UUID, "stopped"), &[], false),
        (vdiff_row(UUID, "completed"), &[], false),
        (vdiff_row(UUID, "error"), &["completed"], false),
        (vdiff_row(UUID, "started"), &["started"], false),
    ] {
        let mut cluster = cluster(&[]);
        for uid in [200, 300] {
            show(&mut cluster, uid, std::slice::from_ref(&row), tables);
        }
        let (reply, asks) = cluster.run(&resume());
        assert_eq!(sent(&asks).len(), if is_resumed { 2 } else { 0 }, "{row:?} {tables:?}");
        if !is_resumed {
            let text = |alias| format!("no completed or stopped vdiff found for UUID {UUID} on tablet {alias}");
            assert_eq!(error(&reply), format!("{}\nnothing was changed", ALIASES.map(text).join("\n")), "{row:?} {tables:?}");
        }
    }
    // One that failed on one shard keeps all as they are.
    let mut half = cluster(&[vdiff_row(UUID, "stopped")]);
    show(&mut half, 300, &[vdiff_row(UUID, "error")], &["error"]);
    let text = format!("no completed or stopped vdiff found for UUID {UUID} on tablet {}\nnothing was changed", ALIASES[1]);
    is_refused(&half, &resume(), &text);
}

#[test]
fn a_creation_that_one_tablet_refuses_is_taken_back() {
    let mut cluster = cluster(&[]);
    cluster.answer(300, "vdiff", refused("TabletManager.VDiff on zone1-0000000300: vdiff engine is closed"));
    let call = create(&creation());
    let reply = same_in_every_order(&cluster, &call);
    let (_, asks) = cluster.run(&call);
    let actions: Vec<_> = sent(&asks).into_iter().map(|(alias, request)| (alias, request.action, request.action_arg)).collect();
    let action = |alias: &str, action: &str, arg: &str| (alias.to_owned(), action.to_owned(), arg.to_owned());
    let [first, second] = ALIASES;
    assert_eq!(actions, [action(first, "create", ""), action(second, "create", ""), action(first, "delete", UUID)]);
    assert_eq!(
        verdicts(&reply),
        [
            (Verdict::NotApplied, "made, and taken back, since it was not made everywhere"),
            (
                Verdict::NotApplied,
                "TabletManager.VDiff on zone1-0000000300: vdiff engine is closed (a second look shows the rows as they were)"
            ),
        ]
    );
    assert!(error(&reply).contains("ks/80- zone1-0000000300: not applied") && !error(&reply).contains("goes by"));
    for (answer, verdict, text) in [
        (refused("no"), Verdict::Applied, "made, and not taken back: no"),
        (silent(200), Verdict::Unknown, "made; whether it was taken back is not known: zone1-0000000200 did not answer in 10s"),
    ] {
        cluster.answer(200, "vdiff undone", answer);
        let (reply, _) = cluster.run(&call);
        assert_eq!(verdicts(&reply)[0], (verdict, text));
        let hint = format!("what is there of it goes by: vtflow vdiff delete ks wf {UUID}");
        assert!(error(&reply).ends_with(&hint), "{}", error(&reply));
    }
}

#[test]
fn an_answer_that_is_lost_is_told_as_what_a_second_look_shows() {
    let lost = || Answer::Failed { kind: FailureKind::TimedOut, message: "no answer".into() };
    let row = |state: &str| vec![vdiff_row(UUID, state)];
    let mut resumed = vdiff_row(UUID, "completed");
    resumed[4] = Some(THEN.replace("04", "05"));
    let cases = [
        (create(&creation()), vec![], row("pending"), Verdict::Applied, "a second look shows the change"),
        (create(&creation()), vec![], vec![], Verdict::Unknown, "may still be at work"),
        (stop(), row("started"), row("stopped"), Verdict::Applied, "a second look shows the change"),
        (stop(), row("started"), row("started"), Verdict::Unknown, "may still be at work"),
        (stop(), row("started"), row("completed"), Verdict::Unknown, "a second look shows that it has completed"),
        (stop(), row("started"), vec![], Verdict::Unknown, "no VDiff of this UUID any more"),
        (resume(), row("completed"), row("started"), Verdict::Applied, "a second look shows the change"),
        (resume(), row("completed"), vec![resumed], Verdict::Applied, "a second look shows the change"),
        (resume(), row("completed"), row("completed"), Verdict::Unknown, "may still be at work"),
        (delete(UUID), row("completed"), vec![], Verdict::Applied, "a second look shows the change"),
        (delete("all"), row("completed"), row("completed"), Verdict::Unknown, "may still be at work"),
        (
            delete("all"),
            vec![vdiff_row(UUID, "completed"), vdiff_row(OTHER, "completed")],
            row("completed"),
            Verdict::Unknown,
            "a second look shows 1 VDiff left",
        ),
    ];
    for (call, before, after, verdict, words) in cases {
        let mut cluster = cluster(&before);
        cluster.answer(300, "vdiff", lost());
        cluster.pages(300, "vdiffs", vec![rows(&VDIFF_COLUMNS, &before), rows(&VDIFF_COLUMNS, &after)]);
        let reply = same_in_every_order(&cluster, &call);
        let (_, asks) = cluster.run(&call);
        let outcomes = verdicts(&reply);
        assert_eq!(outcomes[0], (Verdict::Applied, ""), "{call:?}");
        assert!(outcomes[1].0 == verdict && outcomes[1].1.contains(words), "{call:?}: {outcomes:?}");
        assert_eq!(reply.result.is_ok(), verdict == Verdict::Applied, "{call:?}");
        assert_eq!(sent(&asks).len(), 2, "{call:?}: nothing is sent twice, and nothing taken back that may be there");
    }
    // Nor is it known where nobody can look again.
    let mut blind = cluster(&[]);
    blind.answer(300, "vdiff", lost()).pages(300, "vdiffs", vec![rows(&VDIFF_COLUMNS, &[]), silent(300)]);
    let (reply, _) = blind.run(&create(&creation()));
    assert_eq!(verdicts(&reply)[1], (Verdict::Unknown, "no answer (looking again: zone1-0000000300 did not answer in 10s)"));
}

#[test]
fn one_tablet_that_refuses_does_not_keep_the_others_from_deleting() {
    let mut cluster = cluster(&[vdiff_row(UUID, "completed")]);
    cluster.answer(200, "vdiff", refused("error on invalid delete"));
    cluster.pages(300, "vdiffs", vec![rows(&VDIFF_COLUMNS, &[vdiff_row(UUID, "completed")]), rows(&VDIFF_COLUMNS, &[])]);
    let (reply, asks) = cluster.run(&delete(UUID));
    assert!(error(&reply).contains("error on invalid delete"), "{}", error(&reply));
    assert_eq!(sent(&asks).len(), 2);
    assert_eq!(verdicts(&reply).iter().map(|(verdict, _)| *verdict).collect::<Vec<_>>(), [Verdict::NotApplied, Verdict::Applied]);
}

#[test]
fn a_plan_is_held_to_what_it_rests_on() {
    let digest = |cluster: &Cluster, call: &Call| {
        let options = CallOptions { mode: Mode::Preview, ..CallOptions::default() };
        let (reply, asks) = cluster.run(&Call { options, ..call.clone() });
        assert_eq!(sent(&asks), []);
        reply.written.expect("a request that writes").plan.digest
    };
    let planned = |digest: String, call: &Call| {
        let options = CallOptions { mode: Mode::Planned(digest), ..CallOptions::default() };
        Call { options, ..call.clone() }
    };
    // That it goes on by itself changes nothing of the plan.
    let pending = digest(&cluster(&[vdiff_row(UUID, "pending")]), &stop());
    assert!(cluster(&[vdiff_row(UUID, "started")]).run(&planned(pending, &stop())).0.result.is_ok());
    let stopped = digest(&cluster(&[vdiff_row(UUID, "stopped")]), &resume());
    is_refused(
        &cluster(&[vdiff_row(UUID, "completed")]),
        &planned(stopped, &resume()),
        "the plan is not the one any more: nothing was changed",
    );
}

#[test]
fn streams_that_cannot_be_read_are_named_where_one_is_to_be_created() {
    let mut cluster = cluster(&[]);
    cluster.answer(300, "streams", silent(300));
    let (reply, asks) = cluster.run(&create(&creation()));
    let text = error(&reply);
    assert!(text.contains("zone1-0000000300 did not answer in 10s") && text.contains("nothing was changed"), "{text}");
    assert_eq!(sent(&asks), []);
}

#[test]
fn one_is_created_on_some_shards_by_the_streams_of_these() {
    let options = CallOptions { shards: vec!["80-".into()], ..CallOptions::default() };
    let some = Call { options, ..create(&creation()) };
    let mut cluster = cluster(&[]);
    cluster.answer(200, "streams", streams(&[StreamOf { state: "Stopped", ..stream(7, "wf") }]));
    is_refused(&cluster, &create(&creation()), "not all streams are running in workflow ks.wf");
    let (reply, asks) = cluster.run(&some);
    assert!(reply.result.is_ok(), "{reply:?}");
    assert_eq!(sent(&asks).iter().map(|(alias, _)| alias.as_str()).collect::<Vec<_>>(), ALIASES[1..]);
}

#[test]
fn a_stop_before_the_first_table_says_that_it_may_begin_again() {
    let plan = |call: &Call, state: &str, tables: &[&str]| {
        let mut cluster = cluster(&[]);
        for uid in [200, 300] {
            let mut row = vdiff_row(UUID, state);
            if state == "stopped" {
                row[4] = None;
            }
            show(&mut cluster, uid, &[row], tables);
        }
        let options = CallOptions { mode: Mode::Preview, ..CallOptions::default() };
        let (reply, _) = cluster.run(&Call { options, ..call.clone() });
        vtflow_screen::plans::text(&reply.written.expect("a request that writes").plan)
    };
    let late = "started, no table yet: it may begin again when its tablet restarts";
    assert!(plan(&stop(), "started", &[]).contains(late));
    for (call, state, tables) in
        [(stop(), "started", &["started"][..]), (resume(), "stopped", &[]), (delete(UUID), "started", &[])]
    {
        let text = plan(&call, state, tables);
        assert!(text.contains(UUID) && !text.contains("may begin again"), "{text}");
    }
}

#[test]
fn a_request_of_a_later_release_is_not_ours() {
    for call in [create(&creation()), stop(), resume(), delete("all")] {
        assert!(serve::serves(&call.path, &call.request));
        assert!(!serve::serves(&call.path, &[call.request.clone(), vec![0xf8, 0x07, 1]].concat()), "{}", call.path);
    }
}
