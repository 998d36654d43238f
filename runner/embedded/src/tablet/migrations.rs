//! `alter vitess_migration …`: the statements with which schema migrations are controlled, by release, and what they do to rows.
//!
//! There is no scheduler behind it: a migration that is queued again stays queued. Facts: `go/vt/sqlparser/sql.y`,
//! `go/vt/vttablet/onlineddl/executor.go` and `schema.go`, v11 to v24; texts and counts measured on v16, v18, v20, v22 and v24.

use tonic::Code;
use vtflow_planner::proto::query::QueryResult;

use super::streams::literal;
use crate::{
    bounds,
    mysql::{
        engine::{Engine, MAX_ROWS},
        error::TabletError,
        schema::SIDECAR,
    },
    release::Release,
};

/// The tablet that a statement runs on.
pub(crate) struct Place<'a> {
    /// Its alias: a migration that is tried again becomes its own.
    pub(crate) alias: &'a str,
    /// Its shard: some statements name the shards that they are for.
    pub(crate) shard: &'a str,
    /// Its database.
    pub(crate) db_name: &'a str,
    /// Whether its type is PRIMARY.
    pub(crate) is_primary: bool,
}

/// Runs a statement that controls migrations; `None` if it is another one.
///
/// # Errors
///
/// A form that the release does not know, a migration that is not there, an id that is none, MySQL's.
pub(crate) fn execute(engine: &mut Engine, sql: &str, place: &Place<'_>) -> Option<Result<QueryResult, TabletError>> {
    if bounds::check_length(sql).is_err() {
        return None;
    }
    let tokens = tokens(sql);
    let is_control = matches!(tokens.as_slice(), [alter, what, ..] if alter.is("alter") && what.is("vitess_migration"));
    is_control.then(|| {
        let command = parse(tokens.get(2..).unwrap_or_default(), sql, engine.release())?;
        if !place.is_primary {
            return Err(TabletError::coded(Code::FailedPrecondition, "online DDL is disabled"));
        }
        let rows_affected = Executor { engine, place }.run(&command)?;
        Ok(QueryResult { rows_affected, ..QueryResult::default() })
    })
}

/// A form of the statement behind `alter vitess_migration`: `'` is a text, `#` a number, the rest are words. With its first release.
const FORMS: &[(&str, u8)] = &[
    ("' retry", 10),
    ("' cancel", 10),
    ("cancel all", 10),
    ("' complete", 10),
    ("' cleanup", 13),
    ("' throttle", 14),
    ("' throttle expire '", 14),
    ("' throttle ratio #", 14),
    ("' throttle expire ' ratio #", 14),
    ("throttle all", 14),
    ("throttle all expire '", 14),
    ("throttle all ratio #", 14),
    ("throttle all expire ' ratio #", 14),
    ("' unthrottle", 14),
    ("unthrottle all", 14),
    ("' launch", 15),
    ("' launch vitess_shards '", 15),
    ("launch all", 15),
    ("complete all", 15),
    ("' force_cutover", 19),
    ("force_cutover all", 19),
    ("cleanup all", 21),
    ("' cutover_threshold '", 22),
    ("' complete vitess_shards '", 24),
    ("' postpone complete", 24),
    ("postpone complete all", 24),
];

/// A statement: its form without texts, and the texts.
struct Command {
    form: &'static str,
    texts: Vec<String>,
}

fn parse(tokens: &[Token], sql: &str, release: Release) -> Result<Command, TabletError> {
    let mut forms: Vec<&'static str> =
        FORMS.iter().filter(|(_, since)| release >= Release::new(*since)).map(|(form, _)| *form).collect();
    for (index, token) in tokens.iter().enumerate() {
        forms.retain(|form| form.split(' ').nth(index).is_some_and(|part| token.fits(part)));
        if forms.is_empty() {
            let Token { text, end, .. } = token;
            let text = format!("syntax error at position {} near '{text}'", end + 1);
            return Err(TabletError::coded(Code::InvalidArgument, text));
        }
    }
    let whole = forms.into_iter().find(|form| form.split(' ').count() == tokens.len());
    let form =
        whole.ok_or_else(|| TabletError::coded(Code::InvalidArgument, format!("syntax error at position {}", sql.len() + 1)))?;
    let texts = tokens.iter().filter(|token| token.kind == Kind::Text).map(|token| token.text.clone()).collect();
    Ok(Command { form, texts })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Text,
    Number,
    Sign,
}

struct Token {
    kind: Kind,
    text: String,
    /// Where it ends: bytes from the statement's beginning.
    end: usize,
}

impl Token {
    fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    fn fits(&self, part: &str) -> bool {
        match part {
            "'" => self.kind == Kind::Text,
            "#" => self.kind == Kind::Number,
            word => self.is(word),
        }
    }
}

/// The words, texts and numbers of a statement, without comments and a semicolon at its end.
fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql.char_indices().peekable();
    while let Some((start, first)) = rest.next() {
        let from = sql.get(start..).unwrap_or_default();
        if first.is_whitespace() {
            continue;
        }
        if from.starts_with("/*") {
            let length = from.find("*/").map_or(from.len(), |at| at + 2);
            while rest.next_if(|(at, _)| *at < start + length).is_some() {}
            continue;
        }
        let mut text = String::new();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let kind = match first {
            '\'' | '"' => {
                while let Some((_, c)) = rest.next() {
                    match c {
                        '\\' => text.extend(rest.next().map(|(_, c)| c)),
                        c if c == first && rest.next_if(|(_, next)| *next == first).is_none() => break,
                        c => text.push(c),
                    }
                }
                Kind::Text
            }
            c if is_part(c) => {
                text.push(c);
                while let Some((_, c)) = rest.next_if(|(_, c)| is_part(*c)) {
                    text.push(c);
                }
                if c.is_ascii_digit() { Kind::Number } else { Kind::Word }
            }
            c => {
                text.push(c);
                Kind::Sign
            }
        };
        tokens.push(Token { kind, text, end: rest.peek().map_or(sql.len(), |(at, _)| *at) });
    }
    while tokens.last().is_some_and(|token| token.kind == Kind::Sign && token.text == ";") {
        tokens.pop();
    }
    tokens
}

const PENDING: &str = "migration_status in ('queued', 'ready', 'running')";

struct Executor<'a> {
    engine: &'a mut Engine,
    place: &'a Place<'a>,
}

impl Executor<'_> {
    fn run(&mut self, Command { form, texts }: &Command) -> Result<u64, TabletError> {
        let (id, second) = (texts.first().map_or("", String::as_str), texts.get(1).map(String::as_str));
        let one = format!("migration_uuid = {}", literal(id));
        let is_for_us = second.is_none_or(|shards| shards.split(',').any(|shard| shard.trim() == self.place.shard));
        let is_id = |command: &str| {
            let text = format!("Not a valid migration ID in {command}: {id}");
            if is_uuid(id) { Ok(()) } else { Err(TabletError::plain(text)) }
        };
        match *form {
            "' retry" => {
                is_id("RETRY")?;
                self.retry(&one)
            }
            "' cancel" => {
                let migrations = self.migrations(&one)?;
                let (id, status) = migrations.first().ok_or_else(|| TabletError::plain("migration not found"))?;
                self.cancel(id, status, "CANCEL issued by user")
            }
            "cancel all" => {
                let mut sum = 0;
                for (id, status) in self.migrations(PENDING)? {
                    sum += self.cancel(&id, &status, "CANCEL ALL issued by user")?;
                }
                Ok(sum)
            }
            "' complete" | "' complete vitess_shards '" => {
                if self.engine.release() < Release::new(13) {
                    let text = "ALTER VITESS_MIGRATION COMPLETE is not implemented yet";
                    return Err(TabletError::coded(Code::Unimplemented, text));
                }
                is_id("COMPLETE")?;
                let only = format!("{one} and postpone_completion <> 0");
                if is_for_us { self.set(&[("postpone_completion", "0")], &only) } else { Ok(0) }
            }
            "complete all" => self.set(&[("postpone_completion", "0")], &format!("{PENDING} and postpone_completion <> 0")),
            "' cleanup" => {
                is_id("CLEANUP")?;
                self.set(&[("retain_artifacts_seconds", "-1")], &one)
            }
            "cleanup all" => {
                let only = "migration_status in ('complete', 'cancelled', 'failed') and cleanup_timestamp is null \
                            and retain_artifacts_seconds > 0";
                self.set(&[("retain_artifacts_seconds", "-1")], only)
            }
            "' launch" | "' launch vitess_shards '" => {
                is_id("EXECUTE")?;
                let only = format!("{one} and postpone_launch <> 0");
                if is_for_us { self.set(&[("postpone_launch", "0")], &only) } else { Ok(0) }
            }
            "launch all" => {
                let reviewed = if self.has("reviewed_timestamp") { " and reviewed_timestamp is not null" } else { "" };
                self.set(&[("postpone_launch", "0")], &format!("migration_status = 'queued' and postpone_launch <> 0{reviewed}"))
            }
            "' force_cutover" => {
                is_id("FORCE_CUTOVER")?;
                self.set(&[("force_cutover", "1")], &one)
            }
            "force_cutover all" => self.set(&[("force_cutover", "1")], PENDING),
            "' cutover_threshold '" => {
                let seconds = threshold(second.unwrap_or_default())?.to_string();
                self.set(&[("cutover_threshold_seconds", &seconds)], &one)
            }
            "' postpone complete" => {
                is_id("POSTPONE COMPLETE")?;
                self.set(&[("postpone_completion", "1")], &one)
            }
            "postpone complete all" => self.set(&[("postpone_completion", "1")], PENDING),
            // The throttler's rules are kept in memory, and no row tells of them.
            _ => Ok(0),
        }
    }

    fn retry(&mut self, one: &str) -> Result<u64, TabletError> {
        let alias = literal(self.place.alias);
        let set = [
            ("migration_status", "'queued'"),
            ("tablet", &alias),
            ("retries", "retries + 1"),
            ("tablet_failure", "0"),
            ("message", "''"),
            ("stage", "''"),
            ("cutover_attempts", "0"),
            ("ready_timestamp", "null"),
            ("started_timestamp", "null"),
            ("liveness_timestamp", "null"),
            ("cancelled_timestamp", "null"),
            ("completed_timestamp", "null"),
            ("last_cutover_attempt_timestamp", "null"),
            ("shadow_analyzed_timestamp", "null"),
            ("cleanup_timestamp", "null"),
            ("in_order_completion_pending_count", "0"),
        ];
        self.set(&set, &format!("migration_status in ('failed', 'cancelled') and {one}"))
    }

    fn cancel(&mut self, id: &str, status: &str, message: &str) -> Result<u64, TabletError> {
        if matches!(status, "complete" | "failed" | "cancelled") {
            return Ok(0);
        }
        let (id, message, db_name) = (literal(id), literal(message), literal(self.place.db_name));
        if status == "running" {
            let only = format!("db_name = {db_name} and workflow = {id}");
            self.engine.vreplication_exec(&format!("update {SIDECAR}.vreplication set state = 'Stopped' where {only}"))?;
        }
        let set = [
            ("cancelled_timestamp", "now(6)"),
            ("migration_status", "'cancelled'"),
            ("completed_timestamp", "now(6)"),
            ("message", &message),
            ("message_timestamp", "now(6)"),
        ];
        self.set(&set, &format!("migration_uuid = {id}")).map(|_| 1)
    }

    /// Changes rows; columns that the release lacks are left out. The number of rows that were changed.
    fn set(&mut self, columns: &[(&str, &str)], condition: &str) -> Result<u64, TabletError> {
        let known = columns.iter().filter(|(column, _)| self.has(column));
        let set: Vec<String> = known.map(|(column, value)| format!("{column} = {value}")).collect();
        if set.is_empty() {
            return Ok(0);
        }
        let sql = format!("update {SIDECAR}.schema_migrations set {} where {condition}", set.join(", "));
        self.engine.execute(&sql, Some(SIDECAR), MAX_ROWS).map(|result| result.rows_affected)
    }

    fn has(&self, column: &str) -> bool {
        let table = self.engine.catalog.get("schema_migrations");
        // Without the table, MySQL is to say so.
        table.is_none_or(|table| table.columns.iter().any(|known| known.name == column))
    }

    /// Ids and statuses, oldest first.
    fn migrations(&mut self, condition: &str) -> Result<Vec<(String, String)>, TabletError> {
        let columns = "migration_uuid, migration_status";
        let sql = format!("select {columns} from {SIDECAR}.schema_migrations where {condition} order by id");
        let result = self.engine.execute(&sql, Some(SIDECAR), MAX_ROWS)?;
        let pair = |row: &vtflow_planner::proto::query::Row| {
            let length = row.lengths.first().and_then(|length| usize::try_from(*length).ok()).unwrap_or_default();
            let (id, status) = row.values.split_at(length.min(row.values.len()));
            (String::from_utf8_lossy(id).into_owned(), String::from_utf8_lossy(status).into_owned())
        };
        Ok(result.rows.iter().map(pair).collect())
    }
}

/// Source: `go/vt/schema/online_ddl.go:IsOnlineDDLUUID`, whose range of characters is more than hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let has_groups = text.len() == 36 && [8, 13, 18, 23].iter().all(|&place| text.as_bytes().get(place) == Some(&b'_'));
    has_groups && text.bytes().all(|c| (b'0'..=b'f').contains(&c))
}

/// Seconds of a cut-over's threshold: 5 to 30, and 0 stands for 10.
fn threshold(text: &str) -> Result<u64, TabletError> {
    let bad = || TabletError::plain(format!("invalid cut-over threshold value: {text}. Try '5s' to '30s'"));
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "" if number == 0 => 0,
        "s" => number,
        "m" => number.saturating_mul(60),
        "ms" => number / 1000,
        _ => return Err(bad()),
    };
    match seconds {
        0 => Ok(10),
        1..5 => Err(TabletError::plain("cut-over min value is 5s")),
        5..=30 => Ok(seconds),
        _ => Err(TabletError::plain("cut-over max value is 30s")),
    }
}
