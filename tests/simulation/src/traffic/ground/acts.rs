//! What tablets and etcd do besides what their rows and records answer, as far as the truth of a run depends on it.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use bytes::Bytes;
use prost::Message;
use tokio::time::{Duration, Instant, sleep};
use tonic::Status;
use vtflow_planner::proto::{
    query::{Field, QueryResult, Row},
    tabletmanagerdata as data,
};

use super::Ground;
use crate::{
    etcd::{self, Etcd},
    strike::Strike,
    tablets::{Acts, Tablet},
    traffic::kinds::{self, Step, statement_of},
    wire::Doing,
};

/// How long `LOCK TABLES` waits at most: `lock_wait_timeout` of the tablets' sessions is longer than any call.
const LOCK_WAIT: Duration = Duration::from_secs(30);

impl Ground {
    /// A statement that is not of the sidecar tables.
    async fn statement(&self, tablet: &Tablet, text: &str) -> Option<Result<QueryResult, Status>> {
        let lower = text.to_lowercase();
        let place = (tablet.shard.keyspace.clone(), tablet.shard.name.clone());
        if lower.starts_with("lock tables") {
            let until = Instant::now() + LOCK_WAIT;
            let before: BTreeSet<u64> = self.state().ledgers.get(&place).map(|ledger| ledger.holding.clone()).unwrap_or_default();
            let is_held = || self.state().ledgers.get(&place).is_some_and(|it| !it.holding.is_disjoint(&before));
            while is_held() && Instant::now() < until {
                sleep(Duration::from_millis(5)).await;
            }
            return Some(Ok(QueryResult::default()));
        }
        if lower.starts_with("select sleep(") {
            sleep(Duration::from_millis(100)).await;
            return Some(Ok(QueryResult::default()));
        }
        if lower.contains("information_schema.tables") {
            let state = self.state();
            let tables = state.ledgers.get(&place).map(|ledger| ledger.tables.clone()).unwrap_or_default();
            let wanted = text.split("table_name = '").nth(1).and_then(|rest| rest.split('\'').next());
            let found: Vec<&String> = tables.iter().filter(|table| wanted.is_none_or(|wanted| wanted == **table)).collect();
            let has_types = lower.contains("table_type");
            return Some(Ok(table_rows(&found, has_types)));
        }
        if lower.starts_with("drop table") || lower.starts_with("rename table") {
            let name = text.split('`').nth(3).unwrap_or_default().to_owned();
            let mut state = self.state();
            let tables = &mut state.ledgers.get_mut(&place)?.tables;
            if tables.remove(&name) {
                self.journal.event(&tablet.host, format_args!("table {name} is gone"));
                return Some(Ok(QueryResult::default()));
            }
            let text = format!("Unknown table 'vt_{}.{name}' (errno 1051) (sqlstate 42S02) during query: {text}", place.0);
            return Some(Err(Status::unknown(text)));
        }
        None
    }

    fn took(&self) -> Duration {
        let mut state = self.state();
        state.lag_number = state.lag_number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((state.lag_number >> 33).checked_rem(self.lag + 1).unwrap_or(0))
    }
}

fn table_rows(tables: &[&String], has_types: bool) -> QueryResult {
    const VARCHAR: i32 = 6165;
    let names: &[&str] = if has_types { &["TABLE_NAME", "TABLE_TYPE"] } else { &["TABLE_NAME"] };
    let field = |name: &&str| Field { name: name.as_bytes().to_vec(), r#type: VARCHAR, ..Field::default() };
    let row = |table: &&String| {
        let kind = if has_types { "BASE TABLE" } else { "" };
        let mut lengths = vec![i64::try_from(table.len()).unwrap_or(0)];
        lengths.extend(has_types.then(|| i64::try_from(kind.len()).unwrap_or(0)));
        Row { lengths, values: format!("{table}{kind}").into_bytes() }
    };
    QueryResult { fields: names.iter().map(field).collect(), rows: tables.iter().map(row).collect(), ..QueryResult::default() }
}

impl Acts for Ground {
    fn perform<'a>(&'a self, tablet: &'a Tablet, method: &'a str, request: &'a [u8]) -> Doing<'a, Option<Result<Bytes, Status>>> {
        Box::pin(async move {
            match method {
                "RefreshState" => {
                    self.refresh(tablet);
                    Some(Ok(Bytes::new()))
                }
                "PrimaryPosition" => {
                    let position = self.position(&tablet.shard.keyspace, &tablet.shard.name);
                    Some(Ok(data::PrimaryPositionResponse { position }.encode_to_vec().into()))
                }
                "VReplicationWaitForPos" => {
                    sleep(self.took()).await;
                    self.bring();
                    None
                }
                "ExecuteFetchAsDba" => {
                    let result = self.statement(tablet, &statement_of(method, request)).await?;
                    let encoded = |result| data::ExecuteFetchAsDbaResponse { result: Some(result) }.encode_to_vec().into();
                    Some(result.map(encoded))
                }
                _ => None,
            }
        })
    }

    fn is_step(&self, method: &str, _: &[u8]) -> bool {
        matches!(method, "PrimaryPosition" | "VReplicationWaitForPos" | "ValidateVReplicationPermissions")
    }

    fn is_write(&self, method: &str, request: &[u8]) -> bool {
        let text = statement_of(method, request).to_lowercase();
        method == "ExecuteFetchAsDba" && !text.trim_start().starts_with("select")
    }

    fn strikes(&self, tablet: &Tablet, method: &str, request: &[u8]) -> Option<Strike> {
        let step = kinds::of_call(method, request)?;
        self.mine.step(&self.world, &tablet.host, Some(&tablet.shard), step)
    }

    fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    fn kill(&self) {
        self.mine.kill.notify_one();
    }

    fn has_changed(&self, tablet: &Tablet, request: &[u8]) {
        self.directions();
        let statement = statement_of("VReplicationExec", request);
        if statement.to_lowercase().starts_with("insert into _vt.resharding_journal") {
            self.journal_written(tablet, &statement);
        }
    }

    fn has_begun(&self, tablet: &Tablet) {
        self.refresh(tablet);
        if tablet.is_primary() {
            self.end_all(tablet);
        }
    }

    fn primary_moved(&self, tablet: &Tablet) {
        self.refresh(tablet);
        self.end_all(tablet);
    }
}

impl etcd::Acts for Ground {
    fn strikes(&self, host: &str, etcd: &Etcd, path: &str, request: &[u8]) -> Option<Strike> {
        let step = if path == "/etcdserverpb.Lease/LeaseRevoke" {
            Step::Unlock
        } else if etcd::takes_lock(path, request) {
            Step::Lock
        } else {
            let written = etcd::written(etcd, path, request);
            let (key, before, after) = written.first()?;
            kinds::of_record(below_root(key), before.as_deref(), after.as_deref())?
        };
        self.mine.step(&self.world, host, None, step)
    }

    fn has_changed(&self) {
        self.sides();
    }

    fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    fn kill(&self) {
        self.mine.kill.notify_one();
    }
}

/// A record's path below the root of its cell.
fn below_root(key: &str) -> &str {
    key.splitn(4, '/').nth(3).unwrap_or(key)
}
