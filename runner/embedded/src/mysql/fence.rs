//! What SQLite may do here, whatever it is given: a snapshot is a stranger's, and so are the statements.
//!
//! Names and statements are checked before they come here (`schema.rs`, `bounds.rs`, `rewrite.rs`); this is what holds should
//! one of those fail. SQLite asks before it prepares a statement: only the schemas of a tablet are read and written, nothing is
//! attached, detached or changed in the way it works, no trigger, view or extension comes to be. What a server says of its own tables is
//! changed by no statement, but where one makes, drops or renames a table ([`Gate`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, InterruptHandle, Result,
    config::DbConfig,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
};

use super::schema::{INFORMATION_SCHEMA, SIDECAR};

/// How long the rows of one tablet may take to load.
const LONGEST_LOAD: Duration = Duration::from_secs(60);

/// Steps of SQLite's between two looks at whether it is to stop.
const STEPS: i32 = 1_000;

/// Functions of SQLite's that reach outside of a database. None is built in here; a build that had one would not have it for statements.
const OUTSIDE: [&str; 5] = ["load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"];

/// Ends the statements of one call, from another thread.
#[derive(Clone)]
pub struct Stop {
    is_set: Arc<AtomicBool>,
    interrupt: Arc<InterruptHandle>,
}

impl Stop {
    /// The statement under way ends with an error, and every later one until [`Self::clear`].
    pub fn stop(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.interrupt.interrupt();
    }

    /// Another call begins.
    pub fn clear(&self) {
        self.is_set.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }
}

/// Where the description of a server's own tables may be changed, and one of the keyspace's made: what makes, drops and renames them opens
/// it, and nobody else.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Does something while it is open.
    pub(super) fn opened<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.store(true, Ordering::SeqCst);
        let done = act();
        self.0.store(false, Ordering::SeqCst);
        done
    }
}

/// What may be done while the tables are made and filled. The two schemas, and that of the keyspace's own tables if there is one, have to
/// be attached already.
pub(super) fn for_loading(connection: &mut Connection, own: Option<&str>) -> Result<()> {
    for (limit, most) in [
        // A value, a row, a statement.
        (Limit::SQLITE_LIMIT_LENGTH, 64 << 20),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 4 << 20),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
        (Limit::SQLITE_LIMIT_VDBE_OP, 2_000_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 3),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    let until = Instant::now() + LONGEST_LOAD;
    connection.progress_handler(STEPS, Some(move || Instant::now() > until))?;
    let own = own.map(str::to_owned);
    connection.authorizer(Some(move |asked: AuthContext<'_>| {
        let is_ours = is_schema(asked.database_name, own.as_deref());
        let makes_tables = matches!(
            asked.action,
            AuthAction::CreateTable { .. }
                | AuthAction::CreateIndex { .. }
                | AuthAction::Insert { .. }
                | AuthAction::Update { .. }
        );
        allow(is_ours && makes_tables || is_read(&asked, own.as_deref()))
    }))
}

/// What may be done from then on, and what stops it.
pub(super) fn for_statements(connection: &mut Connection, own: Option<&str>) -> Result<(Stop, Gate)> {
    let stop = Stop { is_set: Arc::default(), interrupt: Arc::new(connection.get_interrupt_handle()) };
    let is_set = Arc::clone(&stop.is_set);
    connection.progress_handler(STEPS, Some(move || is_set.load(Ordering::SeqCst)))?;
    let gate = Gate::default();
    let (described, own) = (gate.clone(), own.map(str::to_owned));
    connection.authorizer(Some(move |asked: AuthContext<'_>| {
        let is_open = described.0.load(Ordering::SeqCst);
        let is_described = is_open && asked.database_name == Some(INFORMATION_SCHEMA);
        let is_made = is_open && own.is_some() && asked.database_name == own.as_deref();
        let writes = match asked.action {
            AuthAction::Insert { table_name } | AuthAction::Update { table_name, .. } | AuthAction::Delete { table_name } => {
                let is_rows = asked.database_name != Some(INFORMATION_SCHEMA) && is_schema(asked.database_name, own.as_deref());
                is_made || (is_described || is_rows) && !table_name.to_ascii_lowercase().starts_with("sqlite_")
            }
            AuthAction::CreateTable { .. } => is_made,
            _ => false,
        };
        allow(writes || is_read(&asked, own.as_deref()))
    }))?;
    Ok((stop, gate))
}

/// Whether it is one of the schemas that a tablet has.
fn is_schema(name: Option<&str>, own: Option<&str>) -> bool {
    matches!(name, Some(SIDECAR | INFORMATION_SCHEMA)) || name.is_some() && name == own
}

fn is_read(asked: &AuthContext<'_>, own: Option<&str>) -> bool {
    match asked.action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Transaction { .. } => true,
        // Common tables and subqueries belong to no database.
        AuthAction::Read { .. } => asked.database_name.is_none() || is_schema(asked.database_name, own),
        AuthAction::Function { function_name } => !OUTSIDE.iter().any(|outside| outside.eq_ignore_ascii_case(function_name)),
        _ => false,
    }
}

fn allow(is_allowed: bool) -> Authorization {
    if is_allowed { Authorization::Allow } else { Authorization::Deny }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_a_tablets_tables() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let attach = format!("ATTACH '{}' AS x", file.display());
        let vacuum = format!("VACUUM INTO '{}'", file.display());
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&format!("ATTACH ':memory:' AS {SIDECAR}; ATTACH ':memory:' AS {INFORMATION_SCHEMA}")).unwrap();
        for_loading(&mut connection, None).unwrap();
        let table = "CREATE TABLE _vt.t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT UNIQUE); INSERT INTO _vt.t VALUES (1, 'a')";
        connection.execute_batch(table).unwrap();
        let refused = [
            attach.as_str(),
            &vacuum,
            "DETACH _vt",
            "PRAGMA journal_mode = off",
            "PRAGMA _vt.writable_schema = on",
            "SELECT load_extension('x')",
            "CREATE TABLE t (id)",
            "CREATE TEMP TABLE t (id)",
            "CREATE TRIGGER _vt.x AFTER INSERT ON t BEGIN SELECT 1; END",
            "CREATE TEMP TRIGGER x AFTER INSERT ON _vt.t BEGIN SELECT 1; END",
            "CREATE VIEW _vt.v AS SELECT 1",
            "CREATE VIRTUAL TABLE _vt.v USING fts5(a)",
            "DROP TABLE _vt.t",
            "ALTER TABLE _vt.t ADD COLUMN b",
            "SELECT * FROM pragma_database_list",
            "SELECT * FROM main.sqlite_schema",
            "ANALYZE",
            "REINDEX",
        ];
        for statement in refused {
            assert!(connection.execute_batch(statement).is_err(), "while loading: {statement}");
        }
        assert!(connection.execute_batch("DELETE FROM _vt.t").is_err(), "while loading nothing is deleted");
        connection.execute_batch("CREATE TABLE information_schema.d (a)").unwrap();
        let (_, gate) = for_statements(&mut connection, None).unwrap();
        for statement in refused {
            assert!(connection.execute_batch(statement).is_err(), "{statement}");
        }
        for statement in
            ["CREATE TABLE _vt.u (id)", "INSERT INTO _vt.sqlite_sequence VALUES ('t', 9)", "DELETE FROM _vt.sqlite_schema"]
        {
            assert!(connection.execute_batch(statement).is_err(), "{statement}");
        }
        for statement in ["INSERT INTO information_schema.d VALUES (1)", "DELETE FROM information_schema.d"] {
            assert!(connection.execute_batch(statement).is_err(), "{statement}");
            gate.opened(|| connection.execute_batch(statement)).unwrap();
            assert!(connection.execute_batch(statement).is_err(), "shut again: {statement}");
        }
        let writes = "BEGIN; UPDATE _vt.t SET a = 'b'; INSERT INTO _vt.t (a) VALUES ('c'); DELETE FROM _vt.t; COMMIT";
        connection.execute_batch(writes).unwrap();
        let reads = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT count(*) FROM n";
        assert_eq!(connection.query_one(reads, [], |row| row.get::<_, i64>(0)).unwrap(), 3);
        assert!(!file.exists());
    }

    #[test]
    fn a_stop_holds_for_all_statements_of_a_call() {
        let mut connection = Connection::open_in_memory().unwrap();
        let (stop, _) = for_statements(&mut connection, None).unwrap();
        let endless = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        stop.stop();
        for _ in 0..2 {
            let error = connection.query_one(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
            assert_eq!(error.to_string(), "interrupted");
        }
        stop.clear();
        assert!(!stop.is_set() && connection.query_one("SELECT 1", [], |row| row.get::<_, i64>(0)).is_ok());
    }
}
