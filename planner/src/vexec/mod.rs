//! `VExec`: SQL from people on the sidecar tables, read, scoped and printed. Pure: nothing here asks a tablet.
//!
//! A statement goes through a tree of our own ([`tree`]) that has room for nothing but what is accepted; what comes out is printed from
//! that tree, so no byte of the input reaches a tablet unread. [`scope`] makes it touch only rows of the named workflow in the
//! tablet's own database, in subqueries too. Writes are planned here and applied elsewhere.
//!
//! Facts: `go/vt/vtctl/workflow/vexec`, `go/vt/wrangler/vexec*.go`; what differs is in `docs/compat.md`, why in
//! `docs/design/0003-vexec.md`.

use std::ops::Range;

mod calls;
mod changes;
mod expr;
mod functions;
mod parser;
mod parts;
mod print;
mod refusal;
mod scope;
mod select;
mod tables;
mod tree;

pub use refusal::Refusal;
pub use tables::Table;

use print::Printer;
use scope::Scoper;
use tree::{Expr, Item, Order, Select, Tree};

use crate::{contract::Status, limits};

/// Whose rows a statement may touch. The database is each tablet's own and comes with the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The workflow's name, for `_vt.schema_migrations` the migration's UUID. Empty: all of the database's; a write must then name a
    /// workflow or the streams' ids itself.
    pub workflow: String,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Shows rows.
    Select,
    /// Changes streams. Tablets restart every stream that it touches.
    Update,
    /// Deletes streams, and with them their copy state.
    Delete,
}

impl Kind {
    /// Whether it changes anything.
    pub fn is_write(self) -> bool {
        self != Self::Select
    }
}

/// A statement that was accepted: ready to be printed for any target.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    tree: Tree,
    scope: Scope,
}

/// A statement for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scoped {
    /// The SQL.
    pub text: String,
    /// The parts of it that the scope added, as ranges of bytes, in order: each from its `where` or `and` to its end.
    pub added: Vec<Range<usize>>,
}

impl Statement {
    /// Parses and checks a statement.
    ///
    /// # Errors
    /// The [`Refusal`] says what is wrong, where in `sql`, and what would be accepted. Texts begin as those of vtctld.
    pub fn parse(sql: &str, scope: Scope) -> Result<Self, Refusal> {
        if scope.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            let message = format!("a workflow's name has at most {} bytes", limits::WORKFLOW_NAME_BYTES);
            return Err(Refusal::new(0..0, message, "the name of a workflow"));
        }
        let tree = parser::parse(sql)?;
        scope::check_write(&tree, &scope.workflow, sql.trim_end().len())?;
        let statement = Self { tree, scope };
        // Printing adds parentheses: what tablets are sent is not too deep either, so that a plan's text can be given back.
        parser::check_depth(&statement.for_target(""))?;
        Ok(statement)
    }

    /// What it does.
    pub fn kind(&self) -> Kind {
        match self.tree {
            Tree::Select(_) => Kind::Select,
            Tree::Update { .. } => Kind::Update,
            Tree::Delete { .. } => Kind::Delete,
        }
    }

    /// The table that it reads or writes.
    pub fn table(&self) -> Table {
        match &self.tree {
            Tree::Select(select) => select.table,
            Tree::Update { .. } | Tree::Delete { .. } => Table::Vreplication,
        }
    }

    /// The text for a target with this database.
    pub fn for_target(&self, db_name: &str) -> String {
        self.scoped(db_name).text
    }

    /// The text for a target with this database, and which parts of it the scope added.
    pub fn scoped(&self, db_name: &str) -> Scoped {
        print(self.tree.clone(), &self.scope, db_name)
    }

    /// For a write: the select that shows the rows which it would touch on a target with this database, whole and by id. `None` for a
    /// read. More than 10,000 rows are an error of the tablet, for this as for the write.
    pub fn rows_expected(&self, db_name: &str) -> Option<String> {
        let (Tree::Update { condition, .. } | Tree::Delete { condition }) = &self.tree else { return None };
        let select = Select {
            distinct: false,
            items: vec![Item::All(None)],
            table: Table::Vreplication,
            condition: condition.clone(),
            group_by: Vec::new(),
            having: None,
            order_by: vec![Order { expr: Expr::column("id"), is_descending: false }],
            limit: None,
        };
        Some(print(Tree::Select(select), &self.scope, db_name).text)
    }
}

fn print(mut tree: Tree, scope: &Scope, db_name: &str) -> Scoped {
    Scoper { workflow: &scope.workflow, db_name }.tree(&mut tree);
    let mut printer = Printer::default();
    printer.tree(&tree);
    Scoped { text: printer.text, added: printer.added }
}

/// The status that a refused statement makes: the text with the caret.
pub(crate) fn status(refusal: &Refusal, sql: &str) -> Status {
    Status { code: crate::contract::Code::InvalidArgument, message: refusal.with_caret(sql) }
}
