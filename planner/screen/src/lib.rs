//! Replies as people read them: one line per thing, trouble first.
//!
//! Words and numbers only, as plain data; how they are laid out on a terminal or a page is the host's matter. What is not known
//! is `None` or said to be unknown, never a number that looks like one. One file per kind of reply.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod advice;
mod answer_rows;
mod around;
mod asks;
mod cover;
mod describe;
mod diagnose;
mod failures;
mod health;
mod logs;
mod migrations;
mod nothing;
mod overview;
mod picture;
pub mod plans;
pub mod rehearsal;
mod stored;
mod table;
mod text;
mod topology;
mod vdiff;
pub mod vexec;
mod words;
mod workflows;

pub use advice::Step;
pub use answer_rows::{AnswerRows, answer_rows};
pub use around::{SourceShards, Surroundings, forward, forward_is_there};
pub use asks::{Answered, Asked, Outcome, answered, asked, waited_for};
pub use describe::{Description, Progress, Reading, StreamLine, TableLine, copy_table, describe, stream_table};
pub use diagnose::{DeviationLines, DiagnosedPart, DiagnosisScreen, Verdict, diagnosis};
pub use failures::{Missing, MissingPart, missing, next_step};
pub use logs::LogLine;
pub use migrations::{Beside, MigrationLine, ShardState, migration_table, migrations};
pub use nothing::nothing;
pub use overview::{
    Counted, KeyspaceRead, OverviewLine, Said, Standing, Thing, Troubled, migrations_read, overview, overview_table,
    workflows_read,
};
pub use picture::{Band, Lane, Picture, picture};
pub use stored::{put_stored_states, stored_states};
pub use table::{Column, Extent, Kind, Row, Table};
pub use text::{Command, printable, quoted};
pub use topology::{
    KeyspaceLine, ShardLine, TabletLine, keyspace_names, keyspace_table, keyspaces, shard_table, shards, tablet_table, tablets,
};
pub use vdiff::{
    VDiffLine, VDiffReports, VDiffShard, VDiffSummary, VDiffTable, vdiff_is_under_way, vdiff_list, vdiff_list_table,
    vdiff_summary, vdiff_tables,
};
pub use words::{duration, visible_name};
pub use workflows::{WorkflowLine, source_keyspaces, workflow_table, workflows, workflows_of, workflows_with};
