//! The statements on `_vt.schema_migrations`: which migrations a request selects, page by page.
//!
//! Written with `_vt`, whatever the sidecar database is called: tablets put its name in. Facts:
//! `go/vt/vtctl/grpcvtctldserver/server.go:GetSchemaMigrations`, `go/vt/schema/online_ddl.go:IsOnlineDDLUUID`.

use crate::{
    contract::{Code, Status},
    proto::{
        vtctldata::{GetSchemaMigrationsRequest, QueryOrdering, schema_migration},
        vttime::Duration,
    },
    sidecar::literal::quote,
};

/// Which rows, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    condition: String,
    is_descending: bool,
    /// Rows of each shard left out at the start. Only with a limit.
    skip: u64,
    /// Rows of each shard; `None`: all.
    limit: Option<u64>,
}

impl Selection {
    /// What the request selects. Of several filters the first counts: uuid, context, status, recent.
    ///
    /// # Errors
    /// The uuid is none, or the duration cannot be.
    pub(crate) fn new(request: &GetSchemaMigrationsRequest) -> Result<Self, Status> {
        let is_descending = request.order == i32::from(QueryOrdering::Descending);
        let limit = Some(request.limit).filter(|&limit| limit > 0);
        let skip = if limit.is_some() { request.skip } else { 0 };
        Ok(Self { condition: condition(request)?, is_descending, skip, limit })
    }

    /// Rows still wanted of a shard that has brought `read`; at most `page`. 0: none.
    pub(crate) fn rows(&self, read: usize, page: usize) -> usize {
        let left = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        left.saturating_sub(read).min(page)
    }

    /// Whether a page that ends with `id` is behind the row `before` that it was asked for from.
    pub(crate) fn leads_on(&self, before: i64, id: i64) -> bool {
        if self.is_descending { id < before } else { id > before }
    }

    /// The next `rows` rows, after the one with this id.
    pub(crate) fn statement(&self, after: Option<i64>, rows: usize) -> String {
        let (direction, side) = if self.is_descending { ("DESC", '<') } else { ("ASC", '>') };
        let (page, skip) = match after {
            Some(id) => (format!(" and id {side} {id}"), 0),
            None => (String::new(), self.skip),
        };
        format!(
            "select * from _vt.schema_migrations where {}{page} order by `id` {direction} LIMIT {skip},{rows}",
            self.condition
        )
    }
}

fn condition(request: &GetSchemaMigrationsRequest) -> Result<String, Status> {
    let GetSchemaMigrationsRequest { uuid, migration_context, status, recent, .. } = request;
    if !uuid.is_empty() {
        if !is_uuid(uuid) {
            return Err(Status { code: Code::Unknown, message: format!("{uuid} is not a valid UUID") });
        }
        return Ok(format!("migration_uuid={}", quote(uuid)));
    }
    if !migration_context.is_empty() {
        return Ok(format!("migration_context={}", quote(migration_context)));
    }
    if *status != 0 {
        let name = schema_migration::Status::try_from(*status).map_or("", |known| known.as_str_name());
        return Ok(format!("migration_status={}", quote(&name.to_lowercase())));
    }
    match recent {
        Some(recent) => Ok(format!("requested_timestamp > now() - interval {} second", seconds(recent)?)),
        None => Ok("migration_uuid like '%'".into()),
    }
}

/// Whether a text is a migration's UUID: five groups of 8, 4, 4, 4 and 12 characters between `0` and `f`, which is more than
/// hexadecimal digits. Source: `go/vt/schema/online_ddl.go:IsOnlineDDLUUID`.
pub fn is_uuid(text: &str) -> bool {
    // An underscore stands between 0 and f, too: the groups are told by their places.
    let has_groups = text.len() == 36 && [8, 13, 18, 23].iter().all(|&place| text.as_bytes().get(place) == Some(&b'_'));
    has_groups && text.bytes().all(|c| (b'0'..=b'f').contains(&c))
}

/// Whole seconds, the nearest; of two the even one.
fn seconds(duration: &Duration) -> Result<i128, Status> {
    let Duration { seconds, nanos } = *duration;
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let has_one_sign = nanos == 0 || seconds == 0 || seconds.is_negative() == nanos.is_negative();
    if !has_one_sign || i64::try_from(total).is_err() {
        let message =
            format!("error parsing duration: duration: seconds:{seconds} nanos:{nanos} is out of range for time.Duration");
        return Err(Status { code: Code::Unknown, message });
    }
    let (whole, rest) = (total.div_euclid(1_000_000_000), total.rem_euclid(1_000_000_000));
    let up = rest > 500_000_000 || rest == 500_000_000 && whole % 2 != 0;
    Ok(whole + i128::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "82fa54ac_e83e_11ea_96b7_f875a4d24e90";

    fn all() -> GetSchemaMigrationsRequest {
        GetSchemaMigrationsRequest { keyspace: "ks".into(), ..GetSchemaMigrationsRequest::default() }
    }

    fn statement(request: &GetSchemaMigrationsRequest) -> String {
        let selection = Selection::new(request).unwrap();
        let text = selection.statement(None, selection.rows(0, 2_000));
        text.strip_prefix("select * from _vt.schema_migrations where ").expect("the one table").to_owned()
    }

    #[test]
    fn the_first_filter_counts() {
        let recent = |seconds, nanos| Some(Duration { seconds, nanos });
        for (request, want) in [
            (all(), "migration_uuid like '%' order by `id` ASC LIMIT 0,2000".to_owned()),
            (
                GetSchemaMigrationsRequest { uuid: UUID.into(), migration_context: "x".into(), status: 5, ..all() },
                format!("migration_uuid='{UUID}' order by `id` ASC LIMIT 0,2000"),
            ),
            (
                GetSchemaMigrationsRequest { migration_context: "vtctl:a'b".into(), status: 5, ..all() },
                r"migration_context='vtctl:a\'b' order by `id` ASC LIMIT 0,2000".to_owned(),
            ),
            (
                GetSchemaMigrationsRequest { status: 5, limit: 10, skip: 5, order: 2, recent: recent(1, 0), ..all() },
                "migration_status='running' order by `id` DESC LIMIT 5,10".to_owned(),
            ),
            (GetSchemaMigrationsRequest { status: 99, ..all() }, "migration_status='' order by `id` ASC LIMIT 0,2000".to_owned()),
            (
                GetSchemaMigrationsRequest { recent: recent(604_800, 0), skip: 5, ..all() },
                "requested_timestamp > now() - interval 604800 second order by `id` ASC LIMIT 0,2000".to_owned(),
            ),
        ] {
            assert_eq!(statement(&request), want);
        }
        for ((seconds, nanos), want) in [
            ((1, 500_000_000), "2"),
            ((2, 500_000_000), "2"),
            ((0, 499_999_999), "0"),
            ((-1, -500_000_000), "-2"),
            ((-5, 0), "-5"),
            ((0, -500_000_001), "-1"),
        ] {
            let text = statement(&GetSchemaMigrationsRequest { recent: recent(seconds, nanos), ..all() });
            assert!(text.contains(&format!("interval {want} second")), "{seconds} {nanos}: {text}");
        }
    }

    #[test]
    fn later_pages_follow_the_last_row() {
        let up = Selection::new(&all()).unwrap();
        assert!(up.statement(Some(7), 10).ends_with("like '%' and id > 7 order by `id` ASC LIMIT 0,10"));
        let down = Selection::new(&GetSchemaMigrationsRequest { order: 2, limit: 25, skip: 3, ..all() }).unwrap();
        assert!(down.statement(Some(7), 10).ends_with("like '%' and id < 7 order by `id` DESC LIMIT 0,10"));
        assert_eq!((down.rows(0, 10), down.rows(20, 10), down.rows(25, 10)), (10, 5, 0));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = |request: &GetSchemaMigrationsRequest| Selection::new(request).unwrap_err().message;
        for uuid in ["82fa54ac-e83e-11ea-96b7-f875a4d24e90", "x", &UUID.replace('e', "g"), &format!("{UUID}0")] {
            let request = GetSchemaMigrationsRequest { uuid: uuid.into(), ..all() };
            assert_eq!(error(&request), format!("{uuid} is not a valid UUID"));
        }
        assert!(is_uuid(&UUID.replace('e', "E")) && is_uuid(&UUID.replace('e', "_")), "as Vitess has it");
        for (seconds, nanos) in [(1, -5), (-1, 5), (i64::MAX, 0)] {
            let request = GetSchemaMigrationsRequest { recent: Some(Duration { seconds, nanos }), ..all() };
            assert!(error(&request).starts_with("error parsing duration: "), "{seconds} {nanos}");
        }
    }
}
