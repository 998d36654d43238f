//! Which command a legacy command line is, or what vtctld says of one that is none.
//!
//! It reads the line and asks nobody. Facts: `go/vt/vtctl/vtctl.go:RunCommand`, `commandWorkflow`, `commandOnlineDDL`, v16 on;
//! the names are those of v10 to v24.

use super::flags::{Flags, Kind};
use crate::{
    contract::{Code, Status},
    proto::{
        vtctldata::{GetSchemaMigrationsRequest, QueryOrdering, schema_migration},
        vttime::Duration,
    },
    sidecar::migration_statement::is_uuid,
};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// `Workflow KEYSPACE listall`.
    List { keyspace: String, shards: Vec<String> },
    /// `Workflow KEYSPACE.WORKFLOW show`.
    Show { keyspace: String, workflow: String, shards: Vec<String> },
    /// `OnlineDDL KEYSPACE show`.
    Migrations { request: GetSchemaMigrationsRequest, json: bool },
    /// There is nothing to ask: a text for the output, and how it ends.
    Print(String, Result<(), Status>),
    /// A command of vtctld's that vtflow does not have, or that only a vtctld can answer in full. What to say without one.
    Forward(String, Result<(), Status>),
}

/// Reads a command line.
pub(super) fn read(args: &[String]) -> Command {
    let Some((name, rest)) = args.split_first() else {
        let text = format!("No command specified. Please see the list below:\n\n{}", list());
        return Command::Forward(text, Err(Status::unknown("no command was specified")));
    };
    // A separator behind the command itself was needed once, and is none.
    let rest = rest.strip_prefix(&["--".to_owned()][..]).unwrap_or(rest);
    match name.to_ascii_lowercase().as_str() {
        "workflow" => workflow(name, rest).unwrap_or_else(refused),
        "onlineddl" => online_ddl(name, rest).unwrap_or_else(refused),
        "help" => help(rest),
        lower if COMMANDS.iter().any(|known| known.eq_ignore_ascii_case(lower)) => elsewhere(name),
        _ => Command::Forward(String::new(), Err(Status::unknown("unknown command"))),
    }
}

fn refused(text: String) -> Command {
    Command::Print(String::new(), Err(Status::unknown(text)))
}

fn elsewhere(what: &str) -> Command {
    let message =
        format!("vtflow does not serve the command {what}; with --forward-to HOST:PORT it would be forwarded to a vtctld");
    Command::Forward(String::new(), Err(Status { code: Code::Unimplemented, message }))
}

fn usage(name: &str, [parameters, help]: [&str; 2]) -> Command {
    Command::Print(format!("Usage: {name} {parameters}\n\n{help}\n\n"), Ok(()))
}

fn list() -> String {
    format!("  Workflow {}\n  OnlineDDL {}\n  Help [command name]\n", WORKFLOW[0], ONLINE_DDL[0])
}

fn help(rest: &[String]) -> Command {
    match rest {
        [] => {
            let others = "Others are those of a vtctld: vtflow forwards them with --forward-to HOST:PORT.\n";
            Command::Forward(format!("Available commands:\n\n{}\n{others}", list()), Ok(()))
        }
        [one] => read(&[one.clone(), "--help".to_owned()]),
        _ => refused(
            "when calling the Help command, either specify a single argument that identifies the name of the command to get help \
             with or do not specify any additional arguments"
                .to_owned(),
        ),
    }
}

const WORKFLOW: [&str; 2] = [
    "[--shards <shards>] [--dry-run] <keyspace>[.<workflow>] show/listall",
    "Shows a workflow, or lists the workflows of a keyspace.",
];

fn workflow(name: &str, args: &[String]) -> Result<Command, String> {
    let text = |name| (name, Kind::Text);
    let known = [("dry-run", Kind::Bool), text("shards"), text("cells"), text("tablet-types"), text("on-ddl")];
    let flags = Flags::parse(args, &known)?;
    if flags.wants_help {
        return Ok(usage(name, WORKFLOW));
    }
    let usage = |actions: &str| format!("usage: Workflow --dry-run keyspace[.workflow] {actions}");
    let [place, action, rest @ ..] = flags.arguments.as_slice() else {
        return Err(usage("start/stop/update/delete/show/listall/tags [<tags>]"));
    };
    let shards = flags.text("shards").split(',').map(|shard| shard.trim().to_owned()).filter(|shard| !shard.is_empty()).collect();
    let action = action.to_lowercase();
    if action == "listall" {
        return if rest.is_empty() {
            Ok(Command::List { keyspace: place.clone(), shards })
        } else {
            Err(usage("start/stop/update/delete/show/listall"))
        };
    }
    let parts: Vec<&str> = place.split('.').collect();
    let &[keyspace, workflow] = parts.as_slice() else {
        return Err(format!("invalid format for <keyspace.workflow>: {place}"));
    };
    if workflow.is_empty() {
        return Err(format!("workflow has to be defined for action {action}"));
    }
    match action.as_str() {
        "start" | "stop" | "delete" | "update" | "tags" => Ok(elsewhere(&format!("{name} {place} {action}"))),
        _ if !rest.is_empty() => Err(usage("start/stop/update/delete/show/listall")),
        "show" | "list" => Ok(Command::Show { keyspace: keyspace.into(), workflow: workflow.into(), shards }),
        _ => Err(format!("invalid action found: {action}")),
    }
}

const ONLINE_DDL: [&str; 2] = [
    "[--json] [--order <ascending|descending>] [--limit <rows>] [--skip <rows>] <keyspace> show [all|recent|<status>|<uuid>|<context>]",
    "Shows the schema migrations of a keyspace.",
];

fn online_ddl(name: &str, args: &[String]) -> Result<Command, String> {
    let known = [("json", Kind::Bool), ("order", Kind::Text), ("limit", Kind::Integer), ("skip", Kind::Integer)];
    let flags = Flags::parse(args, &known)?;
    if flags.wants_help {
        return Ok(usage(name, ONLINE_DDL));
    }
    let Some((keyspace, rest)) = flags.arguments.split_first() else {
        return Err("the <keyspace> argument is required for the OnlineDDL command".into());
    };
    let Some((command, rest)) = rest.split_first() else {
        return Err("the <command> argument is required for the OnlineDDL command".into());
    };
    match command.as_str() {
        "show" => {}
        write if MIGRATION_WRITES.contains(&write) => return Ok(elsewhere(&format!("{name} {keyspace} {write}"))),
        _ => return Err(format!("Unknown OnlineDDL command: {command}")),
    }
    let order =
        if matches!(flags.text("order"), "desc" | "descending") { QueryOrdering::Descending } else { QueryOrdering::Ascending };
    let unsigned = |name| {
        let value = flags.integer(name);
        u64::try_from(value).map_err(|_| format!("--{name} is {value}: it cannot be less than 0"))
    };
    let mut request = GetSchemaMigrationsRequest {
        keyspace: keyspace.clone(),
        order: order.into(),
        limit: unsigned("limit")?,
        skip: unsigned("skip")?,
        ..GetSchemaMigrationsRequest::default()
    };
    let status = |status: schema_migration::Status| status.into();
    match rest.first().map_or("", String::as_str) {
        "" | "all" => {}
        "recent" => request.recent = Some(Duration { seconds: 7 * 24 * 3600, nanos: 0 }),
        "cancelled" => request.status = status(schema_migration::Status::Cancelled),
        "queued" => request.status = status(schema_migration::Status::Queued),
        "ready" => request.status = status(schema_migration::Status::Ready),
        "running" => request.status = status(schema_migration::Status::Running),
        "complete" => request.status = status(schema_migration::Status::Complete),
        "failed" => request.status = status(schema_migration::Status::Failed),
        uuid if is_uuid(uuid) => request.uuid = uuid.into(),
        context => request.migration_context = context.into(),
    }
    Ok(Command::Migrations { request, json: flags.is_set("json") })
}

/// What `OnlineDDL` can do to migrations. Source: `go/vt/vtctl/vtctl.go:commandOnlineDDL`, v8 to v24.
const MIGRATION_WRITES: &[&str] = &[
    "cancel",
    "cancel-all",
    "cleanup",
    "complete",
    "complete-all",
    "force-cutover",
    "force-cutover-all",
    "launch",
    "launch-all",
    "retry",
    "revert",
    "throttle",
    "throttle-all",
    "unthrottle",
    "unthrottle-all",
];

/// vtctld's other commands. Source: `go/vt/vtctl`, the lists of commands.
const COMMANDS: &[&str] = &[
    "AddCellInfo",
    "AddCellsAlias",
    "ApplyRoutingRules",
    "ApplySchema",
    "ApplyShardRoutingRules",
    "ApplyVSchema",
    "Backup",
    "BackupShard",
    "ChangeTabletType",
    "CopySchemaShard",
    "CreateKeyspace",
    "CreateLookupVindex",
    "CreateShard",
    "DeleteCellInfo",
    "DeleteCellsAlias",
    "DeleteKeyspace",
    "DeleteShard",
    "DeleteSrvVSchema",
    "DeleteTablet",
    "EmergencyReparentShard",
    "ExecuteFetchAsApp",
    "ExecuteFetchAsDba",
    "ExecuteHook",
    "ExternalizeVindex",
    "FindAllShardsInKeyspace",
    "GenerateShardRanges",
    "GetCellInfo",
    "GetCellInfoNames",
    "GetCellsAliases",
    "GetKeyspace",
    "GetKeyspaces",
    "GetPermissions",
    "GetRoutingRules",
    "GetSchema",
    "GetShard",
    "GetShardReplication",
    "GetShardRoutingRules",
    "GetSrvKeyspace",
    "GetSrvKeyspaceNames",
    "GetSrvVSchema",
    "GetTablet",
    "GetThrottlerConfiguration",
    "GetVSchema",
    "GetVersion",
    "InitShardMaster",
    "InitShardPrimary",
    "InitTablet",
    "ListAllTablets",
    "ListBackups",
    "ListShardTablets",
    "ListTablets",
    "Materialize",
    "Migrate",
    "Mount",
    "MoveTables",
    "Ping",
    "PlannedReparentShard",
    "RebuildKeyspaceGraph",
    "RebuildVSchemaGraph",
    "RefreshState",
    "RefreshStateByShard",
    "ReloadSchema",
    "ReloadSchemaKeyspace",
    "ReloadSchemaShard",
    "RemoveBackup",
    "RemoveKeyspaceCell",
    "RemoveShardCell",
    "ReparentTablet",
    "ResetThrottlerConfiguration",
    "Reshard",
    "RestoreFromBackup",
    "RunHealthCheck",
    "SetKeyspaceDurabilityPolicy",
    "SetReadOnly",
    "SetReadWrite",
    "SetShardIsPrimaryServing",
    "SetShardTabletControl",
    "ShardReplicationAdd",
    "ShardReplicationFix",
    "ShardReplicationPositions",
    "ShardReplicationRemove",
    "Sleep",
    "SourceShardAdd",
    "SourceShardDelete",
    "StartReplication",
    "StopReplication",
    "SwitchReads",
    "SwitchWrites",
    "TabletExternallyReparented",
    "ThrottlerMaxRates",
    "ThrottlerSetMaxRate",
    "TopoCat",
    "TopoCp",
    "UpdateCellInfo",
    "UpdateCellsAlias",
    "UpdateSrvKeyspacePartition",
    "UpdateTabletAddrs",
    "UpdateThrottlerConfig",
    "UpdateThrottlerConfiguration",
    "VDiff",
    "VExec",
    "VReplicationExec",
    "Validate",
    "ValidateKeyspace",
    "ValidatePermissionsKeyspace",
    "ValidatePermissionsShard",
    "ValidateSchemaKeyspace",
    "ValidateSchemaShard",
    "ValidateShard",
    "ValidateVSchema",
    "ValidateVersionKeyspace",
    "ValidateVersionShard",
    "VtGateExecute",
    "VtTabletExecute",
    "WaitForFilteredReplication",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Command {
        read(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn reads_are_told_from_everything_else() {
        let list = |shards: &[&str]| Command::List {
            keyspace: "ks".into(),
            shards: shards.iter().map(|shard| (*shard).to_owned()).collect(),
        };
        for text in
            ["Workflow ks listall", "workflow -- ks LISTALL", "Workflow --dry-run ks listall", "Workflow -dry_run ks listall"]
        {
            assert_eq!(line(text), list(&[]), "{text}");
        }
        assert_eq!(line("Workflow ks listall --shards -80,80-"), list(&["-80", "80-"]));
        let show = Command::Show { keyspace: "ks".into(), workflow: "wf".into(), shards: Vec::new() };
        for text in ["Workflow ks.wf show", "Workflow ks.wf List", "Workflow -- --dry_run ks.wf show"] {
            assert_eq!(line(text), show, "{text}");
        }
    }

    #[test]
    fn migrations_are_selected_by_the_first_word_that_fits() {
        let all = GetSchemaMigrationsRequest { keyspace: "ks".into(), order: 1, ..GetSchemaMigrationsRequest::default() };
        let uuid = "82fa54ac_e83e_11ea_96b7_f875a4d24e90";
        for (text, request, json) in [
            ("OnlineDDL ks show", all.clone(), false),
            ("OnlineDDL -json ks show all", all.clone(), true),
            ("OnlineDDL ks show running", GetSchemaMigrationsRequest { status: 5, ..all.clone() }, false),
            (
                "OnlineDDL ks show 82fa54ac_e83e_11ea_96b7_f875a4d24e90",
                GetSchemaMigrationsRequest { uuid: uuid.into(), ..all.clone() },
                false,
            ),
            ("OnlineDDL ks show ctx:1", GetSchemaMigrationsRequest { migration_context: "ctx:1".into(), ..all.clone() }, false),
            (
                "OnlineDDL ks show recent --order desc --limit=3 --skip 1",
                GetSchemaMigrationsRequest {
                    order: 2,
                    limit: 3,
                    skip: 1,
                    recent: Some(Duration { seconds: 604_800, nanos: 0 }),
                    ..all
                },
                false,
            ),
        ] {
            assert_eq!(line(text), Command::Migrations { request, json }, "{text}");
        }
    }

    #[test]
    fn mistakes_have_vitess_texts_and_are_answered_here() {
        for (text, want) in [
            ("Workflow ks", "usage: Workflow --dry-run keyspace[.workflow] start/stop/update/delete/show/listall/tags [<tags>]"),
            ("Workflow ks show", "invalid format for <keyspace.workflow>: ks"),
            ("Workflow a.b.c show", "invalid format for <keyspace.workflow>: a.b.c"),
            ("Workflow ks. show", "workflow has to be defined for action show"),
            ("Workflow ks.wf dance", "invalid action found: dance"),
            ("Workflow ks.wf show more", "usage: Workflow --dry-run keyspace[.workflow] start/stop/update/delete/show/listall"),
            ("Workflow --nope ks.wf show", "unknown flag: --nope"),
            ("OnlineDDL", "the <keyspace> argument is required for the OnlineDDL command"),
            ("OnlineDDL ks", "the <command> argument is required for the OnlineDDL command"),
            ("OnlineDDL ks dance", "Unknown OnlineDDL command: dance"),
            ("OnlineDDL ks show --skip -1", "--skip is -1: it cannot be less than 0"),
        ] {
            assert_eq!(line(text), Command::Print(String::new(), Err(Status::unknown(want))), "{text}");
        }
    }

    #[test]
    fn what_vtflow_does_not_have_is_a_vtctlds() {
        for (text, what) in [
            ("Workflow ks.wf stop", "Workflow ks.wf stop"),
            ("Workflow --dry-run ks.wf delete", "Workflow ks.wf delete"),
            ("Workflow ks.wf tags blue", "Workflow ks.wf tags"),
            ("Workflow -- --cells zone1 ks.wf update", "Workflow ks.wf update"),
            ("OnlineDDL ks cancel x", "OnlineDDL ks cancel"),
            ("VExec ks.wf select", "VExec"),
            ("getkeyspace ks", "getkeyspace"),
        ] {
            let Command::Forward(said, Err(status)) = line(text) else { panic!("{text}") };
            assert_eq!((said.as_str(), status.code), ("", Code::Unimplemented), "{text}");
            let want = format!("vtflow does not serve the command {what}; with --forward-to ");
            assert!(status.message.starts_with(&want), "{text}: {}", status.message);
        }
        let nosuch = Command::Forward(String::new(), Err(Status::unknown("unknown command")));
        assert_eq!(line("Nosuch"), nosuch);
        let Command::Forward(said, Err(status)) = line("") else { panic!("no command") };
        assert!(said.contains("  Workflow ") && status.message == "no command was specified");
        assert!(COMMANDS.is_sorted());
    }

    #[test]
    fn help_is_given() {
        for text in ["help Workflow", "Workflow --help", "Help OnlineDDL"] {
            let Command::Print(said, Ok(())) = line(text) else { panic!("{text}") };
            assert!(said.starts_with("Usage: "), "{text}: {said}");
        }
        assert!(matches!(line("Help a b"), Command::Print(_, Err(_))));
    }
}
