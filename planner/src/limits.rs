//! Every bound of the planner, in one place: what is refused or cut, in which unit, and why at that size.
//!
//! A limit that is hit is never silent: the request fails or the target becomes a failure. One exception, by design: of a
//! stream's log only the newest [`LOG_ROWS_PER_STREAM`] rows are shown, as the documentation of the flag says.

/// Bytes of a request message. Source: the default of `--grpc-max-message-size`, 16 MiB.
pub const REQUEST_BYTES: usize = 16 << 20;

/// Targets (shards) of one request. The largest known keyspaces have a few hundred.
pub const TARGETS: usize = 4096;

/// Cells that one request reads in, where it is for all that the topology has. Real topologies have a few dozen.
pub const CELLS: usize = 1_000;

/// Bytes of a keyspace, shard or workflow name in a request. Source: `go/vt/topo/keyspace.go:validateObjectName` allows 64
/// for keyspaces and shards; `_vt.vreplication.workflow` is `varbinary(1000)`.
pub const OBJECT_NAME_BYTES: usize = 64;
/// Bytes of a workflow name. Source: column `workflow varbinary(1000)`.
pub const WORKFLOW_NAME_BYTES: usize = 1000;

/// Rows that a tablet answers at most; one more is an error there, not a cut. Source:
/// `go/vt/vttablet/tabletmanager/vreplication/engine.go:maxRows`.
pub const TABLET_ROWS: usize = 10_000;

/// Columns of a result. Source: MySQL has no more in a table.
pub const COLUMNS: usize = 4_096;

/// Bytes of the answers to one read of one sidecar table of one tablet, all pages together: tens of thousands of streams.
pub const READ_BYTES: usize = 32 << 20;
/// Bytes of the answers to the reads of one sidecar table by one request, shared alike by its targets: which of them has said too
/// much must not depend on which answered first.
pub const READS_BYTES: usize = 256 << 20;
/// The same for the reads of schema migrations, whose rows are the largest.
pub const MIGRATIONS_BYTES: usize = 512 << 20;

/// Rows asked for in one statement on `_vt.vreplication`. Well below [`TABLET_ROWS`]: a stream's source text can be tens of
/// kilobytes, and an answer has to fit 16 MiB.
pub const STREAM_PAGE_ROWS: usize = 2_000;
/// Rows asked for in one statement on `_vt.copy_state` (two keys and a last primary key each).
pub const COPY_STATE_PAGE_ROWS: usize = 5_000;
/// Rows of `_vt.copy_state`, or of the log, taken from one answer that has them beside streams. More, and they are asked for by
/// themselves.
pub const FUSED_ROWS: usize = 100_000;
/// Rows asked for in one statement on `_vt.vreplication_log` (messages of up to 64 KiB each).
pub const LOG_PAGE_ROWS: usize = 2_000;
/// Rows asked for in one statement on `_vt.schema_migrations` (a statement of up to 64 KiB and several texts each).
pub const MIGRATION_PAGE_ROWS: usize = 2_000;
/// Workflow names asked for in one statement.
pub const NAME_PAGE_ROWS: usize = TABLET_ROWS;

/// Log rows kept for one stream, the newest. vtctld has no bound: a stream that failed for a week brings its whole history.
pub const LOG_ROWS_PER_STREAM: usize = 250;

/// Statements sent to one tablet for one sidecar table, paging and fallbacks together.
pub const STATEMENTS_PER_READ: usize = 200;

/// Rows of one statement when a snapshot is taken.
pub const SNAPSHOT_PAGE_ROWS: usize = 2_000;
/// Rows of one table of one tablet that a snapshot keeps.
pub const SNAPSHOT_TABLE_ROWS: usize = 100_000;
/// Bytes of the values of one table of one tablet that a snapshot keeps, but for the page that exceeds it.
pub const SNAPSHOT_TABLE_BYTES: usize = 64 << 20;
/// Statements sent for one table of one tablet when a snapshot is taken. 50 are enough unless rows are so large that pages shrink.
pub const SNAPSHOT_TABLE_STATEMENTS: usize = 500;
/// Columns of a table in a snapshot. `_vt.schema_migrations` of v24 has 58.
pub const SNAPSHOT_COLUMNS: usize = 200;
/// Tablets of a snapshot: [`TARGETS`] with their replicas.
pub const SNAPSHOT_TABLETS: usize = 20_000;

/// Keyspaces that one diagnosis looks at. Real clusters have up to a few hundred.
pub const DIAGNOSED_KEYSPACES: usize = 1_000;
/// Records of what cells serve that one diagnosis reads: one for each keyspace and cell.
pub const DIAGNOSED_RECORDS: usize = 50_000;
/// Times that a diagnosis of one keyspace begins again because streams lead to further keyspaces. Each adds those at one remove.
pub const DIAGNOSE_GROWTHS: usize = 2;
/// Columns that take values from sequences, of which one diagnosis reads the largest values. Real clusters have a few hundred.
pub const DIAGNOSED_COLUMNS: usize = 10_000;
/// Journals that one statement asks for: a shard is the source of so many workflows at most.
pub const JOURNALS: usize = 1_000;

/// Bytes that one compressed position may inflate to. A GTID set of 1,000 servers with 100 gaps each is about 1.3 MB.
pub const POSITION_BYTES: usize = 4 << 20;
/// Bytes that the compressed positions of one request may inflate to, all together: a few bytes of a row can claim millions.
pub const POSITIONS_BYTES: usize = 64 << 20;

/// Nesting of messages in a text-format `source`. Real ones have 4.
pub const TEXT_FORMAT_DEPTH: usize = 32;

/// Rows of one tablet that are named one by one because a column of theirs cannot be read; the rest is counted.
pub const FAULTS_PER_TABLET: usize = 20;

/// Failures of one request that are named; the rest is counted. One for each of [`TARGETS`], and some.
pub const FAILURES: usize = 5_000;
/// Bytes of what a tablet or a topology says of its failure.
pub const FAILURE_BYTES: usize = 16 << 10;

/// Bytes of a failure's text where it stands beside every stream or workflow that it concerns; the whole text is in the failures,
/// once.
pub const REPEATED_BYTES: usize = 200;
/// Bytes of the stand-ins for shards that gave no answer, in all workflows of one reply together.
pub const STAND_INS_BYTES: usize = 8 << 20;
/// Bytes of one such stand-in without its text, and with the shortest; more only where names are very long.
pub const STAND_IN_BYTES: usize = 256;

/// Bytes of a quoted value in an error or failure text.
pub const EXCERPT_BYTES: usize = 60;

/// Bytes of one statement for `VExec`. Room for an `in` list of all ids of a tablet.
pub const STATEMENT_BYTES: usize = 64 << 10;
/// Words and signs of one statement for `VExec`, values and commas not counted.
pub const STATEMENT_PARTS: usize = 1_000;
/// Nesting of parentheses, subqueries and calls in a statement for `VExec`. Each level costs stack in the parser.
pub const STATEMENT_DEPTH: usize = 32;

/// Bytes of the message of a status: room for a line of each of several hundred shards. A server may have to cut it further.
pub const STATUS_BYTES: usize = 64 << 10;
