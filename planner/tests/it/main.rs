//! The tests of the planner from outside, as one program: every file is a module, what they share is in `support`.

mod bounds;
mod diagnose;
mod get_workflows;
mod hostile;
mod legacy;
mod orders;
mod redaction;
mod reference_cases;
mod rows;
mod schema_migrations;
mod second_looks;
mod snapshot;
mod support;
mod throttler;
mod topology;
mod trace;
mod traffic;
mod vdiff_show;
mod vdiff_writes;
mod vexec;
mod vexec_grammar;
mod workflow_status;
mod write_locks;
mod write_plans;
mod write_sources;
mod writes;
