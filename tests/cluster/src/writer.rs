//! An application that never stops writing, through vtgate: what is done to the cluster meanwhile must lose none of its rows.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::cluster::Cluster;

/// The rows that it writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// The keyspace that it connects to.
    pub(crate) keyspace: &'static str,
    pub(crate) table: &'static str,
    /// The column of a row's number.
    pub(crate) key: &'static str,
    /// A number that is another one as soon as a row is.
    pub(crate) sum: &'static str,
    /// Inserts the row of a number.
    insert: fn(u64) -> String,
}

/// Rows of a table that MoveTables moves. Routing rules lead them, whatever keyspace the client is connected to.
pub(crate) const ORDERS: Rows = Rows {
    keyspace: "commerce",
    table: "corder",
    key: "order_id",
    sum: "sum(crc32(concat_ws(',', order_id, customer_id, sku, price)))",
    insert: |number| {
        let customer = number % 1000 + 1;
        format!("insert into corder(order_id, customer_id, sku, price) values ({number}, {customer}, 'w', 1)")
    },
};

/// Rows that go to all shards of a keyspace. Each in a transaction of its own that says so: where vtgate v24 has held up a statement
/// that is one by itself until the shards have changed, it fails when it is sent (`unexpected 'autocommitted' state in transaction`),
/// and its row stays locked until the tablet ends the transaction, after half a minute.
pub(crate) const NOTES: Rows = Rows {
    keyspace: "customer",
    table: "note",
    key: "id",
    sum: "sum(crc32(concat_ws(',', id, text)))",
    insert: |number| format!("begin; insert into note(id, text) values ({number}, 'written {number}'); commit"),
};

/// A writer that is at work.
pub(crate) struct Writer {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

/// What a writer did.
pub(crate) struct Written {
    /// How many rows it was told are written. They have the numbers from the first one on, without a gap.
    pub(crate) rows: u64,
    /// How often it was refused.
    pub(crate) refused: u64,
    /// What it was told then, each text once.
    pub(crate) texts: Vec<String>,
    /// The longest time from one row that was written to the next.
    pub(crate) longest: Duration,
}

/// How long it waits after each row, and after it was refused.
const PAUSE: Duration = Duration::from_millis(5);

/// How long it goes on trying to write one row.
const PATIENCE: Duration = Duration::from_secs(60);

impl Writer {
    /// Begins to insert rows with the numbers from `first` on, and never gives one up before it is in: what is refused is sent
    /// again.
    pub(crate) fn start(cluster: &Cluster, rows: Rows, first: u64) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stops);
        let (program, args) = {
            let command = cluster.vtgate_client(rows.keyspace, &["--unbuffered", "--skip-reconnect"]);
            let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            (command.get_program().to_owned(), args)
        };
        let session = move || {
            let mut command = std::process::Command::new(&program);
            command.args(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            Session::of(command.spawn()?)
        };
        Self { stops, thread: thread::spawn(move || write(&told, rows, first, session)) }
    }

    /// Lets it end with the row that it is about.
    pub(crate) fn stop(self) -> anyhow::Result<Written> {
        self.stops.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the writer has ended by itself"))
    }
}

/// A client that is connected. It ends with the first statement that fails.
struct Session {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Session {
    fn of(mut child: Child) -> anyhow::Result<Self> {
        let output = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, output })
    }

    /// Runs a statement; what went wrong, if it did. Then the session is over.
    fn run(&mut self, statement: &str, number: u64) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("no input")?;
        writeln!(input, "{statement}; select 'done {number}' as said;").map_err(|error| error.to_string())?;
        let (mut line, wanted) = (String::new(), format!("done {number}\n"));
        while line != wanted {
            line.clear();
            match self.output.read_line(&mut line) {
                Ok(0) | Err(_) => return Err(self.last_words()),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn last_words(&mut self) -> String {
        drop(self.child.stdin.take());
        let mut text = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            let _ = std::io::Read::read_to_string(&mut BufReader::new(stderr), &mut text);
        }
        let _ = self.child.wait();
        text
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(stops: &AtomicBool, rows: Rows, first: u64, session: impl Fn() -> anyhow::Result<Session>) -> Written {
    let mut written = Written { rows: 0, refused: 0, texts: Vec::new(), longest: Duration::ZERO };
    let (mut open, mut last) = (None, Instant::now());
    let mut was_refused = false;
    while !stops.load(Ordering::Relaxed) || was_refused && last.elapsed() < PATIENCE {
        let number = first + written.rows;
        let statement = (rows.insert)(number);
        let told = match open.take().map_or_else(&session, Ok) {
            Ok(mut session) => {
                let told = session.run(&statement, number);
                if told.is_ok() {
                    open = Some(session);
                }
                told
            }
            Err(error) => Err(error.to_string()),
        };
        match told {
            // It is in already: only the answer was lost.
            Err(text) if !(was_refused && text.contains("Duplicate entry")) => {
                was_refused = true;
                written.refused += 1;
                let text = text.trim().to_owned();
                if !written.texts.contains(&text) && written.texts.len() < 20 {
                    written.texts.push(text);
                }
            }
            Err(_) | Ok(()) => {
                was_refused = false;
                written.rows += 1;
                written.longest = written.longest.max(last.elapsed());
                last = Instant::now();
            }
        }
        thread::sleep(PAUSE);
    }
    if was_refused {
        written.longest = written.longest.max(last.elapsed());
    }
    written
}
