//! Whatever SQL and names go in: what comes out touches only rows of the named workflow in the tablet's own database.
//!
//! Statements from a grammar, and the same with letters and words changed at random, are planned and executed on two tablets: one has
//! the workflow's rows and beside them those of other workflows and databases, the other has the workflow's rows alone. Nothing may
//! tell the two apart: same result, same rows afterwards, and the rows of others as they were. `SEED=n` runs one seed,
//! `SEEDS=n` so many.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use vtflow_embedded::{Cell, Release, TabletRows, clock::Clock, controller_plan, engine::Engine, schema};
use vtflow_planner::{
    Timestamp,
    proto::query::Row,
    vexec::{Scope, Statement, Table},
};

/// xorshift64*: enough for tests, the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn yes(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Statements of a usual run.
const SEEDS: u64 = 3_000;

/// The tables whose rows belong to streams, and by which column.
const TABLES: [(&str, &str); 3] = [("vreplication", "id"), ("copy_state", "vrepl_id"), ("vreplication_log", "vrepl_id")];

/// Names that try to be more than names.
const NAMES: &[&str] = &[
    "wf",
    "WF",
    "wf ",
    "it's",
    "a\\",
    "\\' or 1=1 -- ",
    "%",
    "_",
    "w%",
    "'",
    "\"",
    "''",
    "wf' or workflow != '",
    "\u{2019}",
    "日本",
    "x\ny",
    "`",
    "/* */",
    "0",
    "wf\\",
    "\\\\'",
];

const STREAM_COLUMNS: &[&str] = &["id", "workflow", "db_name", "state", "message", "rows_copied", "cell", "ID", "`Workflow`"];
const LITERALS: &[&str] = &[
    "'wf'", "'WF'", "\"wf\"", "'vt_ks'", "'other'", "'it''s'", "'it\\'s'", "'a\\\\'", "'%'", "1", "2", "3", "0", "null", "true",
    "''", "x'7766'", "-1",
];

/// The second part: the scope's own names, which a statement may name as well.
struct Grammar<'a>(&'a mut Random, [&'a str; 2]);

impl Grammar<'_> {
    fn statement(&mut self) -> String {
        match self.0.below(10) {
            0..=1 => format!("delete from _vt.vreplication{}", self.condition(0)),
            2..=4 => {
                let column =
                    self.0.one(&["message", "state", "tags", "cell", "max_tps", "rows_copied", "id", "workflow", "db_name"]);
                let value = match (column, self.0.below(3)) {
                    ("state", _) => self.0.one(&["'Stopped'", "'Running'", "'Error'"]).to_owned(),
                    (_, 0) => self.scalar(2, STREAM_COLUMNS),
                    _ => self.literal(),
                };
                format!("update _vt.vreplication set {column} = {value}{}", self.condition(0))
            }
            _ => self.select(0),
        }
    }

    fn select(&mut self, depth: usize) -> String {
        let table = self.0.one(&[
            "_vt.vreplication",
            "_vt.vreplication",
            "_vt.copy_state",
            "_vt.vreplication_log",
            "`_vt`.`vreplication`",
        ]);
        let columns: &[&str] = if table.ends_with("copy_state") {
            &["id", "vrepl_id", "table_name", "lastpk"]
        } else if table.ends_with("log") {
            &["id", "vrepl_id", "state", "message", "count"]
        } else {
            STREAM_COLUMNS
        };
        let item = match self.0.below(5) {
            0 if depth == 0 => "*".to_owned(),
            1 => "count(*)".to_owned(),
            2 if depth == 0 => format!("{}, {} as x", self.scalar(depth + 1, columns), self.scalar(depth + 1, columns)),
            3 => format!("max({})", self.0.one(columns)),
            _ => self.0.one(columns).to_owned(),
        };
        let distinct = if self.0.yes(10) { "distinct " } else { "" };
        let condition = self.condition_on(depth, columns);
        let group = if self.0.yes(10) { format!(" group by {}", self.0.one(columns)) } else { String::new() };
        // SQLite knows HAVING only of groups.
        let having = if !group.is_empty() && self.0.yes(50) {
            format!(" having {}", self.predicate(depth + 1, columns))
        } else {
            String::new()
        };
        let order = if self.0.yes(30) { " order by id desc" } else { "" };
        let limit = if self.0.yes(15) { " limit 2" } else { "" };
        format!("select {distinct}{item} from {table}{condition}{group}{having}{order}{limit}")
    }

    fn condition(&mut self, depth: usize) -> String {
        self.condition_on(depth, STREAM_COLUMNS)
    }

    fn condition_on(&mut self, depth: usize, columns: &[&str]) -> String {
        // Scope that says more than it should, where it would count.
        if columns == STREAM_COLUMNS && self.0.yes(25) {
            let (column, own) = if self.0.yes(50) { ("workflow", self.1[0]) } else { ("db_name", self.1[1]) };
            let (own, other) = (quoted(own), quoted(self.0.one(NAMES)));
            let list = if self.0.yes(50) { format!("{own}, {other}") } else { format!("{other}, {own}") };
            return format!(" where {column} in ({list})");
        }
        if self.0.yes(15) { String::new() } else { format!(" where {}", self.predicate(depth, columns)) }
    }

    fn predicate(&mut self, depth: usize, columns: &[&str]) -> String {
        if depth > 4 {
            return format!("{} = {}", self.0.one(columns), self.literal());
        }
        match self.0.below(14) {
            0 => format!("{} or {}", self.predicate(depth + 1, columns), self.predicate(depth + 1, columns)),
            1 => format!("{} and {}", self.predicate(depth + 1, columns), self.predicate(depth + 1, columns)),
            2 => format!("({})", self.predicate(depth + 1, columns)),
            3 => format!("not {}", self.predicate(depth + 1, columns)),
            4 => {
                let column = if self.0.yes(50) { self.0.one(&["workflow", "db_name"]) } else { self.0.one(columns) };
                format!("{column} in ({}, {})", self.literal(), self.literal())
            }
            5 => format!("{} not in ({})", self.0.one(columns), self.literal()),
            6 => format!("{} like {}", self.0.one(columns), self.literal()),
            7 => format!("{} is not null", self.0.one(columns)),
            8 => format!("{} in ({})", self.0.one(columns), self.select(depth + 2)),
            9 => format!("exists ({})", self.select(depth + 2)),
            10 => format!("{} = ({})", self.0.one(columns), self.select(depth + 2)),
            11 => self.0.one(&["true", "1", "1 = 1", "id = id", "workflow = workflow", "null is null"]).to_owned(),
            _ => {
                let op = self.0.one(&["=", "!=", "<>", "<", ">=", "<=>", "="]);
                format!("{} {op} {}", self.scalar(depth + 1, columns), self.scalar(depth + 1, columns))
            }
        }
    }

    fn scalar(&mut self, depth: usize, columns: &[&str]) -> String {
        match self.0.below(if depth > 3 { 6 } else { 10 }) {
            0..=2 => self.0.one(columns).to_owned(),
            3..=5 => self.literal(),
            6 => format!("concat({}, {})", self.scalar(depth + 1, columns), self.literal()),
            7 => format!("({})", self.select(depth + 2)),
            8 => format!("{} + {}", self.scalar(depth + 1, columns), self.literal()),
            _ => format!("ifnull({}, {})", self.0.one(columns), self.literal()),
        }
    }

    fn literal(&mut self) -> String {
        if self.0.yes(25) {
            let name = self.1[self.0.below(2)];
            return quoted(name);
        }
        self.0.one(LITERALS).to_owned()
    }
}

fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "''"))
}

/// Words that change what a statement is, put anywhere.
const WORDS: &[&str] = &[
    " or ",
    " and ",
    "'",
    "\"",
    "\\",
    "`",
    "--  ",
    "/*",
    "*/",
    ";",
    "(",
    ")",
    " union select * from _vt.vreplication ",
    " or 1=1 ",
    "#\n",
    " limit 1",
    "!",
    "=",
    " || ",
    " && ",
    " not ",
    " as x",
    "_vt.",
    " for update",
    "\0",
    "\u{ff07}",
    "@a",
    ", _vt.copy_state",
];

fn mutate(random: &mut Random, sql: &str) -> String {
    let mut letters: Vec<char> = sql.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(letters.len() + 1);
        match random.below(4) {
            0 if at < letters.len() => drop(letters.remove(at)),
            1 if at < letters.len() => {
                let other = random.below(letters.len());
                letters.swap(at, other);
            }
            _ => {
                let word = random.one(WORDS);
                letters.splice(at..at, word.chars());
            }
        }
    }
    letters.into_iter().collect()
}

/// Who has rows: workflow and database of each stream.
fn streams(random: &mut Random, workflow: &str, db_name: &str) -> Vec<(i64, Option<String>, String)> {
    let mut streams = Vec::new();
    for id in 1..=14 {
        let own_workflow = if workflow.is_empty() { random.one(NAMES).to_owned() } else { workflow.to_owned() };
        let (stream_workflow, database) = match random.below(6) {
            0 | 1 => (Some(own_workflow), db_name.to_owned()),
            2 => (Some(own_workflow), random.one(NAMES).to_owned()),
            3 => (Some(random.one(NAMES).to_owned()), db_name.to_owned()),
            4 => (None, db_name.to_owned()),
            _ => (Some(random.one(NAMES).to_owned()), random.one(NAMES).to_owned()),
        };
        streams.push((id, stream_workflow, database));
    }
    streams
}

fn tablet(release: Release, streams: &[(i64, Option<String>, String)]) -> Engine {
    let mut rows = TabletRows { vitess_release: Some(format!("v{}.0.0", release.major())), ..TabletRows::default() };
    for table in schema::tables(release) {
        let mut content = table.without_rows();
        let cell = |name: &str, kind: &str, (id, workflow, database): &(i64, Option<String>, String), n: i64| match name {
            "id" if table.name == "vreplication" => Cell::Int(*id),
            "id" => Cell::Int(id * 10 + n),
            "vrepl_id" => Cell::Int(*id),
            "workflow" => workflow.clone().map_or(Cell::Null, Cell::Text),
            "db_name" => Cell::Text(database.clone()),
            "source" => Cell::Text(r#"keyspace:"s" shard:"0" filter:{rules:{match:"t"}}"#.into()),
            "options" => Cell::Text("{}".into()),
            "state" => Cell::Text(if id % 3 == 0 { "Stopped" } else { "Running" }.into()),
            "message" | "table_name" | "lastpk" => Cell::Text(format!("{name} {id} {n}")),
            "created_at" | "updated_at" => Cell::Text("2026-01-02 03:04:05".into()),
            _ if kind.contains("int") => Cell::Int(id * 7 % 5),
            _ => Cell::Text(format!("{}", id % 2)),
        };
        let per_stream = match &*table.name.to_string() {
            "vreplication" => 1,
            "copy_state" | "vreplication_log" => 2,
            _ => 0,
        };
        for stream in streams {
            for n in 0..per_stream {
                let row = table.columns.iter().map(|column| cell(&column.name, &column.mysql_type, stream, n));
                content.rows.push(row.collect());
            }
        }
        rows.sidecar.insert(table.name.to_string(), content);
    }
    Engine::new(&rows, Clock::starting_at(Timestamp::default())).expect("a database")
}

/// The rows of these streams in a table, whole.
fn rows_of(engine: &mut Engine, table: &str, key: &str, ids: &[i64]) -> Vec<Row> {
    let ids: Vec<String> = ids.iter().chain(&[-1]).map(ToString::to_string).collect();
    let sql = format!("select * from _vt.{table} where {key} in ({}) order by id", ids.join(","));
    engine.execute(&sql, Some("_vt"), 10_000).expect("rows").rows
}

struct Outcome {
    accepted: bool,
    executed: bool,
    wrote: bool,
}

fn check(seed: u64) -> Outcome {
    let random = &mut Random::new(seed);
    let workflow = if random.yes(8) { "" } else { random.one(NAMES) };
    let db_name = random.one(NAMES);
    let mut sql = Grammar(random, [workflow, db_name]).statement();
    if random.yes(40) {
        sql = mutate(random, &sql);
    }
    let none = Outcome { accepted: false, executed: false, wrote: false };
    let statement = match Statement::parse(&sql, Scope { workflow: workflow.into() }) {
        Ok(statement) => statement,
        Err(refusal) => {
            assert!(!refusal.message.is_empty() && refusal.with_caret(&sql).contains('^'), "seed {seed}: {sql}");
            return none;
        }
    };
    let text = statement.for_target(db_name);
    let context = format!("SEED={seed}\n  given {sql:?}\n  for {workflow:?} in {db_name:?}\n  sent {text:?}");
    let again =
        Statement::parse(&text, Scope { workflow: workflow.into() }).unwrap_or_else(|refusal| panic!("{context}\n{refusal}"));
    assert_eq!(again.for_target(db_name), text, "printed is a fixed point: {context}");
    if statement.table() == Table::SchemaMigrations {
        return none;
    }
    let majors = if statement.table() == Table::VreplicationLog { 11..=24 } else { 10..=24 };
    for major in majors {
        let planned = controller_plan::plan(&text, Release::new(major));
        assert!(planned.is_ok(), "v{major} does not take it: {planned:?}\n{context}");
    }

    let release = Release::new([11, 15, 16, 18, 20, 24][random.below(6)]);
    let all = streams(random, workflow, db_name);
    let is_own = |(_, of, database): &(i64, Option<String>, String)| {
        database == db_name && (workflow.is_empty() || of.as_deref() == Some(workflow))
    };
    let (own, others): (Vec<_>, Vec<_>) = all.iter().cloned().partition(is_own);
    let ids = |streams: &[(i64, Option<String>, String)]| streams.iter().map(|stream| stream.0).collect::<Vec<_>>();
    let (own_ids, other_ids) = (ids(&own), ids(&others));
    let mut shared = tablet(release, &all);
    let mut alone = tablet(release, &own);
    // Tables of v10 to v15 have no id to order by.
    let tables = TABLES.iter().filter(|(table, _)| *table != "copy_state" || release.major() >= 16);
    let before: Vec<_> = tables.clone().map(|(table, key)| rows_of(&mut shared, table, key, &other_ids)).collect();
    // What SQLite cannot do it can do of neither.
    let expected =
        statement.rows_expected(db_name).and_then(|select| shared.vreplication_exec(&select).ok()).map(|result| result.rows);
    let with_others =
        shared.vreplication_exec(&text).map(|result| (result.rows, result.rows_affected)).map_err(|error| error.to_string());
    let without =
        alone.vreplication_exec(&text).map(|result| (result.rows, result.rows_affected)).map_err(|error| error.to_string());
    assert_eq!(with_others.is_ok(), without.is_ok(), "{with_others:?} {without:?}\n{context}");
    if let (Ok(with_others), Ok(without)) = (&with_others, &without) {
        assert_eq!(with_others, without, "the others' rows show\n{context}");
    }
    let after: Vec<_> = tables.map(|(table, key)| rows_of(&mut shared, table, key, &other_ids)).collect();
    assert_eq!(before, after, "the others' rows changed\n{context}");
    let own_after = rows_of(&mut shared, "vreplication", "id", &own_ids);
    assert_eq!(own_after, rows_of(&mut alone, "vreplication", "id", &own_ids), "{context}");
    if let (Some(expected), Ok((_, affected))) = (&expected, &with_others) {
        assert!(*affected <= expected.len() as u64, "more rows than expected\n{context}");
        if statement.kind() == vtflow_planner::vexec::Kind::Delete {
            assert_eq!(*affected, expected.len() as u64, "{context}");
        }
    }
    let wrote = statement.kind().is_write() && with_others.as_ref().is_ok_and(|(_, affected)| *affected > 0);
    Outcome { accepted: true, executed: with_others.is_ok(), wrote }
}

#[test]
fn no_statement_reaches_rows_of_others() {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        check(seed);
        return;
    }
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let (mut accepted, mut executed, mut wrote) = (0, 0, 0);
    for seed in 0..seeds {
        let outcome = check(seed);
        accepted += usize::from(outcome.accepted);
        executed += usize::from(outcome.executed);
        wrote += usize::from(outcome.wrote);
    }
    println!("{seeds} statements: {accepted} accepted, {executed} executed, {wrote} changed rows");
    assert!(accepted > 1_000 && executed > 800 && wrote > 100, "{accepted} accepted, {executed} executed, {wrote} wrote");
}
