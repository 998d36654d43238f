//! Clusters on which a wrong answer was once given: what people see of their workflows, and that what is offered to them works.

use std::process::Command;

use crate::support::program::{Ran, case, vtflow};

/// A command on one of `tests/cases`.
fn on(name: &str, args: &[&str]) -> Ran {
    vtflow(&[&["--snapshot", case(name).to_str().unwrap()], args].concat())
}

/// What a command shows, with one blank between words, so that it does not matter where lines end.
fn shown(name: &str, args: &[&str]) -> String {
    let ran = on(name, args);
    assert!(ran.code < 2, "{name} {args:?}: {ran:?}");
    ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn described(name: &str, workflow: &str) -> String {
    shown(name, &["describe", "workflow", "customer", "--", workflow])
}

/// The table in the order of its rows: which of these workflows come before which.
fn are_in_order(table: &str, workflows: &[&str]) {
    let places: Vec<_> = workflows.iter().map(|name| table.find(&format!(" {name} ")).expect("a row")).collect();
    assert!(places.is_sorted(), "{workflows:?}: {table}");
}

#[test]
fn a_position_is_shown_whatever_it_is() {
    let table = shown("01-filepos-large", &["get", "workflows", "customer"]);
    assert!(table.contains("import_big MoveTables legacy/0 customer (2) 2 Running"), "{table}");
    let json = on("01-filepos-large", &["get", "workflows", "customer", "-w", "import_big", "-o", "json"]).stdout;
    assert!(json.contains("vt-1448040107-bin.003222:4663881395"), "{json}");
    // One with a tag is nothing that can be read: it is shown as it is stored, and named.
    let ran = on("02-tagged-gtid", &["get", "workflows", "customer"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("import_cluster  MoveTables  commerce/0  customer (2)  2 Running"), "{ran:?}");
    assert!(ran.stderr.contains("stream 3: column pos: invalid MySQL 5.6 GTID set"), "{ran:?}");
    let json = on("02-tagged-gtid", &["get", "workflows", "customer", "-w", "import_cluster", "-o", "json"]).stdout;
    assert!(json.contains("1-12045:mysqlsh:1-3"), "{json}");
    for command in [["workflow", "stop"], ["workflow", "delete"]] {
        let plan = on("02-tagged-gtid", &[command.as_slice(), &["customer", "import_cluster", "--dry-run"]].concat());
        assert!(plan.code == 0 && plan.stdout.contains("2 streams on 2 tablets"), "what is hidden is not changed: {plan:?}");
    }
}

#[test]
fn what_stopped_after_its_copy_is_not_to_be_started() {
    let table = shown("12-lookup-externalized", &["get", "workflows", "customer"]);
    assert!(table.contains("4 Stopped – done copied, and stopped as it was made to"), "{table}");
    assert!(table.contains("4 frozen – done frozen: the vindex was externalized"), "{table}");
    assert!(!table.contains("traffic was switched"), "{table}");
    let lookup = described("12-lookup-externalized", "sku_lookup");
    assert!(lookup.contains("traffic moves none") && lookup.contains(" externalize "), "{lookup}");
    assert!(described("12-lookup-externalized", "sku_frozen").contains(" complete --keyspace customer"));
    let moved = described("12-lookup-externalized", "move_stop_after_copy");
    assert!(moved.contains("nothing: it was made to stop after its copy, which is done"), "{moved}");
    for workflow in ["sku_lookup", "sku_frozen", "move_stop_after_copy"] {
        assert!(!described("12-lookup-externalized", workflow).contains("workflow start"), "{workflow}");
    }
}

#[test]
fn a_source_that_is_gone_is_said_and_what_needs_it_is_not_offered() {
    for (workflow, source) in [("old_copy", "gone/0"), ("old_materialize", "gone/0"), ("cust2cust", "customer/-")] {
        let text = described("13-source-pruned", workflow);
        assert!(text.contains(&format!("trouble its source is gone: {source}")), "{text}");
        assert!(text.contains(&format!("vtflow workflow delete customer {workflow} --ignore-source")), "{text}");
        for needs_it in ["workflow start", "SwitchTraffic", "vdiff create", " complete --"] {
            assert!(!text.contains(needs_it), "{needs_it}: {text}");
        }
        assert!(!text.contains("100%"), "what a source that is gone holds is not known: {text}");
        let args = ["workflow", "delete", "customer", workflow, "--dry-run"];
        let refused = on("13-source-pruned", &args);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("--ignore-source"), "{refused:?}");
        let plan = on("13-source-pruned", &[args.as_slice(), &["--ignore-source"]].concat());
        assert!(plan.code == 0 && plan.stdout.contains("2 streams on 2 tablets"), "{plan:?}");
    }
}

#[test]
fn a_record_that_says_primary_is_not_believed_against_its_shards() {
    for args in [&["get", "tablets", "customer"][..], &["get", "tablets", "customer/-80"]] {
        let table = shown("19-stale-primary", args);
        assert!(table.contains("zone1-0000000401 customer/-80 unknown"), "{table}");
        assert!(table.contains("its record says primary, but another tablet became primary later"), "{table}");
    }
}

#[test]
fn a_stream_with_a_stop_position_would_stop_again() {
    let table = shown("20-for-vdiff", &["get", "workflows", "customer"]);
    assert!(table.contains("-80: stopped for vdiff, with a stop position"), "{table}");
    assert!(table.contains("not all in one state: Running on 80-, Stopped on -80"), "{table}");
    let text = described("20-for-vdiff", "move_t1");
    assert!(text.contains("it would stop there again") && !text.contains("vtflow workflow start"), "{text}");
    // It is the VDiff that starts it again, if there is one.
    let (first, then) = (text.find("vtflow get vdiff customer move_t1"), text.find("stop_pos = null"));
    assert!(first.is_some() && first < then, "{text}");
}

#[test]
fn a_rule_of_another_source_switches_nothing() {
    let text = described("27-partial-unrelated", "p1");
    assert!(text.contains("traffic Reads Not Switched. Writes Not Switched"), "{text}");
}

#[test]
fn a_mixture_of_states_is_trouble_and_a_tables_name_is_none() {
    let table = shown("30-mixed-states", &["get", "workflows", "customer"]);
    assert!(table.contains("1 Running, 1 frozen – done not all in one state: Running on 80-, frozen on -80"), "{table}");
    assert!(table.contains("1 Running, 1 Stopped – done not all in one state: Running on 80-, Stopped on -80"), "{table}");
    assert!(table.contains("2 Stopped") && !table.contains("Error"), "{table}");
    are_in_order(&table, &["half_frozen", "all_stopped_ddl"]);
    let frozen = described("30-mixed-states", "half_frozen");
    assert!(frozen.contains("trouble not all in one state") && !frozen.contains("workflow start"), "{frozen}");
    assert!(!described("30-mixed-states", "all_stopped_ddl").contains("Error"));
    // Clients get what vtctld tells them.
    let json = on("30-mixed-states", &["get", "workflows", "customer", "-w", "all_stopped_ddl", "-o", "json"]).stdout;
    assert!(json.contains("\"Error\""), "{json}");
}

#[test]
fn commands_take_odd_names() {
    for name in ["", "%s", "-dash", "a b", "a/b", "back\\slash", "it's", "quote\"d", "wf.v2", "näme"] {
        let text = described("32-odd-workflow-names", name);
        assert!(text.contains(" Running"), "{name:?}: {text}");
        let flag = format!("--workflow={name}");
        let table = shown("32-odd-workflow-names", &["get", "workflows", "customer", &flag]);
        assert!(table.contains(" Running"), "{name:?}: {table}");
        if !name.is_empty() {
            let plan = on("32-odd-workflow-names", &["workflow", "stop", "customer", "--dry-run", "--", name]);
            assert!(plan.code == 0 && plan.stdout.contains("This stops 1 stream on 1 tablet"), "{name:?}: {plan:?}");
        }
    }
}

/// Debian's `sh` is dash, which knows no `$'…'`: there the name is a wrong one, and nothing of it is run.
#[test]
fn no_shell_runs_a_name() {
    let here = tempfile::TempDir::new().unwrap();
    for name in [
        "a\u{200b}'; touch ran; #",
        "\n'$(touch ran)'",
        "\\\u{202e}\\'`touch ran`",
        "$(touch ran)",
        "'; touch ran; '",
        "~ && touch ran",
    ] {
        for shell in ["sh", "bash"] {
            let line = format!("printf %s {}", vtflow_screen::quoted(name));
            let ran = Command::new(shell).args(["-c", &line]).env("LC_ALL", "C").current_dir(here.path()).output().unwrap();
            assert!(ran.status.success(), "{shell} {name:?}: {ran:?}");
            assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0, "{shell} ran {name:?}");
            assert!(shell != "bash" || ran.stdout == name.as_bytes(), "{name:?}: {ran:?}");
        }
    }
}

/// The commands under NEXT that are vtflow's own, as they stand there.
fn offered(name: &str, workflow: &str) -> Vec<String> {
    let ran = on(name, &["describe", "workflow", "customer", "--", workflow]);
    let (_, next) = ran.stdout.split_once("\nNEXT\n").unwrap_or_default();
    next.lines().map(str::trim).filter(|line| line.starts_with("vtflow ")).map(str::to_owned).collect()
}

/// Copied into a shell, they do what they say: previewed, where they would change something.
#[test]
fn what_is_offered_works() {
    let mut tried = 0;
    for name in ["01-filepos-large", "12-lookup-externalized", "13-source-pruned", "20-for-vdiff", "30-mixed-states"] {
        let names = on(name, &["get", "workflows", "customer", "-o", "name"]).stdout;
        for workflow in names.lines() {
            for command in offered(name, workflow) {
                let rest = command.strip_prefix("vtflow ").unwrap();
                let changes = rest.starts_with("workflow ") || rest.starts_with("vexec ");
                let line = format!("\"$0\" --snapshot \"$1\" {rest}{}", if changes { " --dry-run" } else { "" });
                let ran = Command::new("sh").args(["-c", &line, env!("CARGO_BIN_EXE_vtflow")]).arg(case(name)).output().unwrap();
                assert!(ran.status.success(), "{name} {command}: {ran:?}");
                let plan = String::from_utf8(ran.stdout).unwrap();
                assert!(!changes || plan.contains(" on "), "{name} {command} would change nothing: {plan}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 8, "{tried}");
}
