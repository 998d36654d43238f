//! Whose rows a statement touches: its workflow's, in the tablet's own database, at every level.
//!
//! Every FROM, also in subqueries, gets the condition that its rows are in scope, so no row of another workflow or database can be
//! changed, shown or counted. What the text already says counts only where it can mean nothing else: a part of the AND list of the
//! WHERE clause, the column bare and on the left, `=` or `in`, and literals that are the scope's own names. Anything else stays and the
//! scope is added beside it. Only then does a write's WHERE clause also pass the check of tablets of v19 on
//! (`controller_plan.go:isSelective`).

use super::{
    refusal::Refusal,
    tables::Table,
    tree::{Expr, Item, Order, Select, Tree},
};

/// A workflow (empty: all of the database's) on one tablet.
pub(super) struct Scoper<'a> {
    pub(super) workflow: &'a str,
    pub(super) db_name: &'a str,
}

impl Scoper<'_> {
    pub(super) fn tree(&self, tree: &mut Tree) {
        match tree {
            Tree::Select(select) => self.select(select),
            Tree::Update { condition, .. } | Tree::Delete { condition } => {
                self.inside(condition);
                self.rows(Table::Vreplication, condition);
            }
        }
    }

    fn select(&self, select: &mut Select) {
        for item in &mut select.items {
            if let Item::Expr(expr, _) = item {
                self.expr(expr);
            }
        }
        self.inside(&mut select.condition);
        self.inside(&mut select.having);
        for expr in &mut select.group_by {
            self.expr(expr);
        }
        self.orders(&mut select.order_by);
        self.rows(select.table, &mut select.condition);
    }

    fn inside(&self, condition: &mut Option<Expr>) {
        if let Some(condition) = condition {
            self.expr(condition);
        }
    }

    fn orders(&self, orders: &mut [Order]) {
        for order in orders {
            self.expr(&mut order.expr);
        }
    }

    /// Adds to a condition that the rows are in scope.
    fn rows(&self, table: Table, condition: &mut Option<Expr>) {
        let mut parts = match condition.take() {
            None => Vec::new(),
            Some(Expr::And(parts)) => parts,
            Some(other) => vec![other],
        };
        for added in self.conditions(table) {
            let names_the_same = match &added {
                Expr::Binary { left, right, .. } => match (&**left, &**right) {
                    (Expr::Column { name, .. }, Expr::Text(text)) => says(&parts, name, text),
                    _ => false,
                },
                _ => false,
            };
            let is_said = names_the_same || parts.contains(&added);
            if !is_said {
                parts.push(Expr::Added(Box::new(added)));
            }
        }
        *condition = Some(Expr::And(parts));
    }

    fn conditions(&self, table: Table) -> Vec<Expr> {
        let Some((database, workflow)) = table.owner_columns() else {
            let streams = Select {
                distinct: false,
                items: vec![Item::Expr(Expr::column("id"), None)],
                table: Table::Vreplication,
                condition: Some(Expr::And(self.conditions(Table::Vreplication))),
                group_by: Vec::new(),
                having: None,
                order_by: Vec::new(),
                limit: None,
            };
            let expr = Box::new(Expr::column("vrepl_id"));
            return vec![Expr::InSelect { expr, negated: false, select: Box::new(streams) }];
        };
        let mut conditions = vec![Expr::equals(database, self.db_name)];
        if !self.workflow.is_empty() {
            conditions.push(Expr::equals(workflow, self.workflow));
        }
        conditions
    }

    /// The subqueries of an expression.
    fn expr(&self, expr: &mut Expr) {
        match expr {
            Expr::Column { .. } | Expr::Alias(_) | Expr::Text(_) | Expr::Number(_) | Expr::Hex(_) | Expr::Word(_) => {}
            Expr::And(parts) | Expr::Or(parts) => parts.iter_mut().for_each(|part| self.expr(part)),
            Expr::Binary { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
            Expr::Unary { expr, .. }
            | Expr::Is { expr, .. }
            | Expr::Cast { expr, .. }
            | Expr::Using { expr, .. }
            | Expr::Interval { value: expr, .. }
            | Expr::Added(expr) => self.expr(expr),
            Expr::InList { expr, list, .. } => {
                self.expr(expr);
                for value in list {
                    self.expr(value);
                }
            }
            Expr::InSelect { expr, select, .. } => {
                self.expr(expr);
                self.select(select);
            }
            Expr::Between { expr, low, high, .. } => [expr, low, high].into_iter().for_each(|part| self.expr(part)),
            Expr::Match { expr, pattern, .. } => {
                self.expr(expr);
                self.expr(pattern);
            }
            Expr::Exists { select, .. } | Expr::Subquery(select) => self.select(select),
            Expr::Call(call) => {
                call.args.iter_mut().for_each(|arg| self.expr(arg));
                self.orders(&mut call.order_by);
            }
            Expr::Case { operand, arms, otherwise } => {
                operand.iter_mut().chain(otherwise).for_each(|part| self.expr(part));
                for (when, then) in arms {
                    self.expr(when);
                    self.expr(then);
                }
            }
        }
    }
}

/// Whether a part of an AND list restricts the column to this text and nothing else.
fn says(parts: &[Expr], column: &str, text: &str) -> bool {
    let is_text = |value: &Expr| matches!(value, Expr::Text(value) if value == text);
    names(parts, column).any(|values| values.iter().all(is_text))
}

/// The values of each `=` and `in` that an AND list has for a bare column.
fn names<'a>(parts: &'a [Expr], column: &'a str) -> impl Iterator<Item = &'a [Expr]> {
    let is_column = move |expr: &Expr| matches!(expr, Expr::Column { table: None, name } if *name == column);
    parts.iter().filter_map(move |part| match part {
        Expr::Binary { left, op: "=", right } if is_column(left) => Some(std::slice::from_ref(&**right)),
        Expr::InList { expr, negated: false, list } if is_column(expr) => Some(list.as_slice()),
        _ => None,
    })
}

/// Refuses a write that says neither which workflow nor which streams.
pub(super) fn check_write(tree: &Tree, workflow: &str, sql_end: usize) -> Result<(), Refusal> {
    let (Tree::Update { condition, .. } | Tree::Delete { condition }) = tree else { return Ok(()) };
    let parts = match condition {
        Some(Expr::And(parts)) => parts.as_slice(),
        Some(other) => std::slice::from_ref(other),
        None => &[],
    };
    let has = |column, is_value: fn(&Expr) -> bool| names(parts, column).any(|values| values.iter().all(is_value));
    let is_named = !workflow.is_empty()
        || has("workflow", |value| matches!(value, Expr::Text(_)))
        || has("id", |value| matches!(value, Expr::Number(_)));
    if is_named {
        return Ok(());
    }
    let message = "the write names neither a workflow nor a stream: it would touch every stream of the database";
    Err(Refusal::new(sql_end..sql_end, message, "where workflow = '…', where id in (…), or KEYSPACE.WORKFLOW as the target"))
}
