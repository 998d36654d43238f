//! The tests of the runner, as one program: every file is a module, what they share is in `support`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod cases_migrations;
mod cli_diagnose;
mod cli_etcd;
mod cli_forward;
mod cli_reads;
mod cli_rehearse;
mod cli_repair;
mod cli_switch;
mod cli_vdiff;
mod cli_writes;
mod faults;
mod given_files;
mod hosts;
mod locks;
mod lost;
mod overview;
mod page;
mod planner_limits;
mod redaction;
mod serve;
mod serve_doors;
mod serve_faults;
mod serve_faults_topology;
mod serve_forward;
mod serve_legacy;
mod serve_load;
mod serve_page;
mod serve_process;
mod serve_tls;
mod serve_trace;
mod serve_writes;
mod strangers;
mod support;
mod tablet;
mod throttle;
mod topo;
mod topo_load;
mod trace;
mod vexec;
mod watch;
mod write_faults;
mod write_locks;
mod write_names;
