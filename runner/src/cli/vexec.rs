//! `vtflow vexec KEYSPACE[.WORKFLOW] SQL`.

use std::{fmt::Write, process::ExitCode};

use clap::{Args, ValueEnum};
use prost::Message;
use serde_json::{Map, Value, json};
use vtflow_planner::{
    Call, CallOptions,
    proto::vtflow::{VExecRequest, VExecResponse},
    rpc,
    vexec::{Scope, Statement},
};
use vtflow_screen::vexec::{ResultTable, ResultValue};

use super::{
    args::shard_name,
    change::confirm::{self, Change, ChangeArgs},
    cluster::open::OpenCluster,
    failures,
    read::view,
};
use crate::output::{
    table::{Column, Fit, table},
    terminal::{self, Style},
};

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Tables: _vt.vreplication, _vt.vreplication_log, _vt.copy_state, _vt.schema_migrations (its workflow is the migration's UUID).
The statement is checked, restricted to the workflow in each tablet's own database, and sent to the primary of each shard.")]
pub(crate) struct VexecArgs {
    /// The keyspace and, after a dot, the workflow; without one, all of the keyspace's
    #[arg(value_name = "KEYSPACE[.WORKFLOW]")]
    target: String,
    /// One statement
    sql: String,
    /// Show each tablet's statement and send none; of one that writes, the plan that `vtflow apply` takes (-o json)
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    write: WriteArgs,
    /// Only these shards
    #[arg(long, value_delimiter = ',', value_name = "SHARD,...", allow_hyphen_values = true, value_parser = shard_name)]
    shards: Vec<String>,
    /// Fail altogether if any shard gives no answer
    #[arg(long)]
    strict: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// Of a statement that writes.
#[derive(Args, Clone, Copy, Debug)]
struct WriteArgs {
    /// Of a statement that writes: do not ask, go on as soon as the plan is known
    #[arg(short = 'y', long)]
    yes: bool,
    /// Of a statement that writes: change frozen streams, too, and while the keyspace is locked
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// All tablets' rows in one table, the tablet first; on a terminal too narrow for the columns, a block for each row
    Table,
    /// Statements, columns and rows
    Json,
}

pub(crate) async fn run(cluster: &OpenCluster, args: VexecArgs) -> anyhow::Result<ExitCode> {
    let (keyspace, workflow) = args.target.split_once('.').unwrap_or((&args.target, ""));
    let request = VExecRequest {
        keyspace: keyspace.into(),
        workflow: workflow.into(),
        sql: args.sql.clone(),
        shards: args.shards.clone(),
        dry_run: args.dry_run,
    };
    let scope = Scope { workflow: request.workflow.clone() };
    if Statement::parse(&args.sql, scope).is_ok_and(|statement| statement.kind().is_write()) {
        let request = VExecRequest { dry_run: false, ..request }.encode_to_vec();
        let how = ChangeArgs::new(Vec::new(), args.dry_run, args.write.yes, args.output == Format::Json);
        return confirm::run(cluster, Change { path: rpc::VEXEC.into(), request, force: args.write.force, word: None }, how)
            .await;
    }
    let options = CallOptions { strict: args.strict, ..CallOptions::default() };
    let call = Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options };
    let reply = cluster.perform(&call, cluster.now()).await;
    failures::print(&reply.failures);
    let bytes = reply.result.map_err(|status| anyhow::anyhow!("{}", status.message))?;
    let response = VExecResponse::decode(bytes.as_slice())?;
    let text = match args.output {
        Format::Json => json_text(response)?,
        Format::Table if args.dry_run => statements(&response),
        Format::Table => {
            let asked = response.targets.len();
            let rows = vtflow_screen::vexec::table(response).map_err(|error| anyhow::anyhow!("{error}"))?;
            rows_text(&rows, asked, terminal::width())
        }
    };
    terminal::print(&text);
    Ok(if reply.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What each tablet would be sent, what was added to it marked for those who see colour.
fn statements(response: &VExecResponse) -> String {
    let mut text = String::new();
    for target in &response.targets {
        let mut statement = String::new();
        let mut done = 0;
        for span in &target.added {
            let (start, end) = (span.start as usize, span.end as usize);
            statement += &terminal::printable(target.statement.get(done..start).unwrap_or(""));
            let added = terminal::printable(target.statement.get(start..end).unwrap_or(""));
            statement += &terminal::on_stdout(Style::Hint, &added);
            done = end;
        }
        statement += &terminal::printable(target.statement.get(done..).unwrap_or(""));
        let db_name = terminal::printable(&target.db_name);
        let _ = writeln!(text, "{}  {}  db {db_name}\n  {statement}", target.tablet, target.shard);
    }
    let count = response.targets.len();
    text + &format!("{count} {}, nothing was sent\n", if count == 1 { "statement" } else { "statements" })
}

fn rows_text(rows: &ResultTable, asked: usize, width: Option<usize>) -> String {
    if rows.rows.is_empty() {
        return format!("No rows on {asked} {}.\n", if asked == 1 { "tablet" } else { "tablets" });
    }
    if width.is_some_and(|width| (rows.columns.len() + 1) * COLUMN > width) {
        return blocks(rows);
    }
    let headings = std::iter::once("tablet").chain(rows.columns.iter().map(String::as_str)).map(terminal::printable);
    let headings: Vec<String> = headings.collect();
    let columns: Vec<Column<'_>> = headings
        .iter()
        .enumerate()
        .map(|(i, heading)| Column { heading, fit: if i == 0 { Fit::Whole } else { Fit::Middle(COLUMN - 2) } })
        .collect();
    let cells = rows.rows.iter().map(|row| std::iter::once(row.tablet.clone()).chain(row.values.iter().map(cell)).collect());
    table(&view::laid_out(&columns), &cells.collect::<Vec<Vec<String>>>(), width)
}

/// Characters of a column; narrower than this it says nothing.
const COLUMN: usize = 10;

/// A line per value: what is wide is read from top to bottom.
fn blocks(rows: &ResultTable) -> String {
    let width = rows.columns.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows.rows {
        let _ = writeln!(text, "{}  {}", row.tablet, row.shard);
        for (name, value) in rows.columns.iter().zip(&row.values) {
            let line = format!("  {:<width$}  {}", terminal::printable(name), cell(value));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// NULL in words; a column that the tablet does not have as a dash.
fn cell(value: &ResultValue) -> String {
    match value {
        ResultValue::Missing => "-".into(),
        ResultValue::Null => "NULL".into(),
        ResultValue::Integer(text) | ResultValue::Bytes(text) => text.clone(),
        ResultValue::Text(text) => terminal::printable(text),
    }
}

fn json_text(response: VExecResponse) -> anyhow::Result<String> {
    let statements: Vec<Value> = response
        .targets
        .iter()
        .map(|t| json!({ "tablet": t.tablet, "shard": t.shard, "db_name": t.db_name, "statement": t.statement }))
        .collect();
    let table = vtflow_screen::vexec::table(response).map_err(|error| anyhow::anyhow!("{error}"))?;
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| {
            let values: Map<String, Value> = table
                .columns
                .iter()
                .cloned()
                .zip(&row.values)
                .filter_map(|(name, value)| Some((name, json_value(value)?)))
                .collect();
            json!({ "tablet": row.tablet, "shard": row.shard, "values": values })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({ "statements": statements, "columns": table.columns, "rows": rows }))? + "\n")
}

/// `None` for a column that the tablet does not have. Integers beyond 64 bits stay texts.
fn json_value(value: &ResultValue) -> Option<Value> {
    Some(match value {
        ResultValue::Missing => return None,
        ResultValue::Null => Value::Null,
        ResultValue::Integer(text) => {
            text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).unwrap_or_else(|_| json!(text))
        }
        ResultValue::Text(text) | ResultValue::Bytes(text) => json!(text),
    })
}

#[cfg(test)]
mod tests {
    use vtflow_screen::vexec::ResultRow;

    use super::*;

    fn rows() -> ResultTable {
        let row = |tablet: &str, values| ResultRow { tablet: tablet.into(), shard: "-80".into(), values };
        let values = vec![ResultValue::Integer("7".into()), ResultValue::Text("a\u{1b}[31m\n".into())];
        let other = vec![ResultValue::Null, ResultValue::Missing];
        ResultTable { columns: vec!["id".into(), "message".into()], rows: vec![row("zone1-1", values), row("zone1-2", other)] }
    }

    #[test]
    fn rows_of_all_tablets_are_one_table_and_cannot_move_the_cursor() {
        let want = "tablet   id    message\nzone1-1  7     a\\u{1b}[31m\\n\nzone1-2  NULL  -\n";
        assert_eq!(rows_text(&rows(), 2, None), want);
        let want = "zone1-1  -80\n  id       7\n  message  a\\u{1b}[31m\\n\nzone1-2  -80\n  id       NULL\n  message  -\n";
        assert_eq!(rows_text(&rows(), 2, Some(29)), want);
        assert_eq!(rows_text(&ResultTable::default(), 1, None), "No rows on 1 tablet.\n");
    }
}
