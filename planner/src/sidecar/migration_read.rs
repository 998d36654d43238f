//! A read of `_vt.schema_migrations` on one tablet: which statement comes next, and when all selected rows are there.

use crate::{
    contract::Answer,
    limits,
    sidecar::{
        migration_statement::Selection,
        paging::{Paging, Taken},
        query::Query,
        read::Next,
        result::RowSet,
    },
};

/// A read under way.
pub(crate) struct MigrationRead {
    selection: Selection,
    db_name: String,
    paging: Paging,
    /// Rows that came.
    read: usize,
    last_id: Option<i64>,
    pages: Vec<RowSet>,
}

impl MigrationRead {
    /// Of what is selected, in a tablet's database.
    pub(crate) fn new(selection: Selection, db_name: &str) -> Self {
        let paging = Paging::new(limits::MIGRATION_PAGE_ROWS, limits::STATEMENTS_PER_READ, limits::READ_BYTES);
        Self { selection, db_name: db_name.to_owned(), paging, read: 0, last_id: None, pages: Vec::new() }
    }

    /// The same read with fewer bytes: one of many of a request.
    #[must_use]
    pub(crate) fn within(mut self, bytes: usize) -> Self {
        self.paging.within(bytes);
        self
    }

    /// The statement to send now.
    pub(crate) fn query(&self) -> Query {
        let rows = self.selection.rows(self.read, self.paging.rows);
        Query::dba("migrations", self.selection.statement(self.last_id, rows), &self.db_name)
    }

    /// Takes the answer to the statement.
    pub(crate) fn answered(&mut self, answer: Answer) -> Next {
        let page = match self.paging.take(answer) {
            Taken::Response(response) => RowSet::from_execute_fetch(&response),
            Taken::Smaller(_) if self.paging.may_ask() => return Next::Again,
            Taken::TooMuch(allowed) => {
                let text = format!("the migrations have more than {allowed} bytes: ask for one of them, or for those of a time");
                return Next::Failed(text);
            }
            Taken::Smaller(message) | Taken::Failed(message) => return Next::Failed(message),
            Taken::NoCall => return Next::Failed("the tablet call was answered with a topology record".into()),
        };
        match page {
            Ok(page) => self.page(page),
            Err(error) => Next::Failed(format!("the tablet's answer cannot be read: {error}")),
        }
    }

    fn page(&mut self, page: RowSet) -> Next {
        let asked = self.selection.rows(self.read, self.paging.rows);
        if page.len() > asked {
            return Next::Failed(format!("the tablet answered {} migrations where {asked} were asked for at most", page.len()));
        }
        let is_full = page.len() == asked;
        self.read += page.len();
        let last = page.rows().last().map(|row| row.integer("id"));
        let wants_more = is_full && !page.is_empty() && self.selection.rows(self.read, self.paging.rows) > 0;
        self.pages.push(page);
        match last {
            _ if !wants_more => Next::Done,
            Some(Ok(Some(id))) if self.last_id.is_some_and(|before| !self.selection.leads_on(before, id)) => {
                let before = self.last_id.unwrap_or_default();
                Next::Failed(format!("no next page: the migrations after id {before} were asked for, and they end with id {id}"))
            }
            Some(Ok(Some(id))) if self.paging.may_ask() => {
                self.last_id = Some(id);
                Next::Again
            }
            Some(Ok(Some(_))) => {
                Next::Failed(format!("the migrations need more than {} statements", limits::STATEMENTS_PER_READ))
            }
            Some(Err(error)) => Next::Failed(format!("no next page after a row whose id cannot be read: {error}")),
            Some(Ok(None)) | None => Next::Failed("no next page after a row without id".into()),
        }
    }

    /// The rows that came, a page at a time; also those before a failure.
    pub(crate) fn into_pages(self) -> Vec<RowSet> {
        self.pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract::FailureKind, proto::vtctldata::GetSchemaMigrationsRequest, sidecar::result::tests::answer};

    const UP: i32 = 1;
    const DOWN: i32 = 2;

    fn ids(ids: &[i64]) -> Answer {
        answer(&["#id"], &ids.iter().map(|id| vec![id.to_string()]).collect::<Vec<_>>())
    }

    fn too_large() -> Answer {
        Answer::Failed { kind: FailureKind::TooLarge, message: "too large".into() }
    }

    /// The ends of the statements of a read with pages of two rows, and its own end: how many rows came, or why not all did.
    fn read(order: i32, limit: u64, statements: usize, answers: Vec<Answer>) -> (Vec<String>, Result<usize, String>) {
        let request = GetSchemaMigrationsRequest { order, limit, ..GetSchemaMigrationsRequest::default() };
        let mut read = MigrationRead::new(Selection::new(&request).unwrap(), "vt_ks");
        read.paging = Paging::new(2, statements, 1 << 20);
        let mut sent = Vec::new();
        for answer in answers {
            let statement = read.query().statement;
            sent.push(statement.split_once(" where migration_uuid like '%' ").unwrap().1.to_owned());
            match read.answered(answer) {
                Next::Again => {}
                Next::Done => return (sent, Ok(read.into_pages().iter().map(RowSet::len).sum())),
                Next::Failed(text) => return (sent, Err(text)),
            }
        }
        panic!("it goes on after {sent:?}");
    }

    #[test]
    fn pages_follow_each_other_until_there_are_as_many_rows_as_are_wanted() {
        for (name, order, limit, answers, want, rows) in [
            (
                "up to a page that is not full",
                UP,
                0,
                vec![ids(&[1, 2]), ids(&[3, 7]), ids(&[8])],
                &[
                    "order by `id` ASC LIMIT 0,2",
                    "and id > 2 order by `id` ASC LIMIT 0,2",
                    "and id > 7 order by `id` ASC LIMIT 0,2",
                ][..],
                5,
            ),
            (
                "down to the limit",
                DOWN,
                3,
                vec![ids(&[9, 8]), ids(&[7])],
                &["order by `id` DESC LIMIT 0,2", "and id < 8 order by `id` DESC LIMIT 0,1"],
                3,
            ),
            (
                "down, page after page",
                DOWN,
                0,
                vec![ids(&[9, 8]), ids(&[7, 6]), ids(&[])],
                &[
                    "order by `id` DESC LIMIT 0,2",
                    "and id < 8 order by `id` DESC LIMIT 0,2",
                    "and id < 6 order by `id` DESC LIMIT 0,2",
                ],
                4,
            ),
            ("the limit is one page", UP, 2, vec![ids(&[1, 2])], &["order by `id` ASC LIMIT 0,2"], 2),
            (
                "of one row where two are too large",
                UP,
                2,
                vec![too_large(), ids(&[1]), ids(&[2])],
                &["order by `id` ASC LIMIT 0,2", "order by `id` ASC LIMIT 0,1", "and id > 1 order by `id` ASC LIMIT 0,1"],
                2,
            ),
        ] {
            let (sent, end) = read(order, limit, 9, answers);
            assert_eq!((sent, end), (want.iter().map(|text| (*text).to_owned()).collect(), Ok(rows)), "{name}");
        }
    }

    #[test]
    fn a_read_that_leads_nowhere_ends() {
        let back = |before: i64, id: i64| {
            format!("no next page: the migrations after id {before} were asked for, and they end with id {id}")
        };
        for (order, pages, want) in [
            (UP, [[1, 5], [4, 5]], back(5, 5)),
            (UP, [[1, 5], [6, 4]], back(5, 4)),
            (DOWN, [[9, 5], [6, 5]], back(5, 5)),
            (DOWN, [[9, 5], [4, 6]], back(5, 6)),
        ] {
            assert_eq!(read(order, 0, 9, pages.map(|page| ids(&page)).to_vec()).1, Err(want), "{pages:?}");
        }
        let needs_more = format!("the migrations need more than {} statements", limits::STATEMENTS_PER_READ);
        assert_eq!(read(UP, 0, 2, vec![ids(&[1, 2]), ids(&[3, 4])]).1, Err(needs_more));
        assert_eq!(read(UP, 0, 2, vec![ids(&[1, 2]), too_large()]).1, Err("too large".to_owned()));
        assert_eq!(read(UP, 0, 9, vec![too_large(), too_large()]).1, Err("too large".to_owned()), "one row alone");
    }
}
