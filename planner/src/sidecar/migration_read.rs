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
