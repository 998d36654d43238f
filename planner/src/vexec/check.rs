//! From the SQL parser's statement to a checked one: which statements, tables and clauses are accepted.
//!
//! What is not known here is refused, not dropped. Expressions are `check_expr.rs`'s. Facts: `go/vt/vtctl/workflow/vexec` (what the
//! reference refuses and how it words it), `go/vt/vttablet/tabletmanager/vreplication/controller_plan.go` (what every tablet takes).

use std::ops::Range;

use sqlparser::{
    ast::{
        AssignmentTarget, Delete, Distinct, Expr as Sql, FromTable, GroupByExpr, LimitClause, ObjectName, OrderByExpr,
        OrderByKind, OrderBySort, Query, Select as SqlSelect, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned,
        Statement, TableFactor, TableWithJoins, Update, Value, WildcardAdditionalOptions,
    },
    tokenizer::Span,
};

use super::{
    parse::{Source, excerpt},
    refusal::Refusal,
    tables::{IMMUTABLE, STATES, Table, nearest},
    tree::{Expr, Item, Order, Select, Tree},
};

/// Checks a statement on its way down.
pub(super) struct Checker<'a> {
    pub(super) source: Source<'a>,
    /// The tables whose columns can be named, the innermost last.
    pub(super) tables: Vec<Table>,
    /// Names of result columns that can be named, where they can.
    pub(super) aliases: Vec<String>,
    /// How deep the expression under way is.
    pub(super) depth: usize,
    /// Why a subquery cannot stand here; empty when it can.
    pub(super) no_subquery: &'static str,
}

impl<'a> Checker<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
        Self { source: Source(sql), tables: Vec::new(), aliases: Vec::new(), depth: 0, no_subquery: "" }
    }

    pub(super) fn statement(&mut self, statement: &Statement) -> Result<Tree, Refusal> {
        match statement {
            Statement::Query(query) => Ok(Tree::Select(self.query(query)?)),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            _ => Err(self.refuse(statement.span(), "query not supported by vexec", "select, update or delete")),
        }
    }

    pub(super) fn query(&mut self, query: &Query) -> Result<Select, Refusal> {
        let whole = query.span();
        if let Some(with) = &query.with {
            return Err(self.refuse(with.span(), "query not supported by vexec: with …", "a select of one sidecar table"));
        }
        if !query.locks.is_empty() {
            return Err(self.refuse_word(
                whole,
                "for",
                "locking rows (for update, for share) is not supported by vexec",
                "no lock",
            ));
        }
        if query.fetch.is_some() || query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
            return Err(self.refuse(whole, "a clause of this query is not supported by vexec", "limit at the end"));
        }
        if !query.pipe_operators.is_empty() {
            return Err(self.refuse(whole, "query not supported by vexec", "a select of one sidecar table"));
        }
        let select = match &*query.body {
            SetExpr::Select(select) => select,
            SetExpr::SetOperation { .. } => {
                let message = format!("query not supported by vexec: {}", self.excerpt(self.source.range(whole)));
                return Err(self.refuse_word(whole, "union", message, "one select: no union, except, intersect"));
            }
            _ => return Err(self.refuse(whole, "query not supported by vexec", "a select of one sidecar table")),
        };
        let table = self.select_clauses(select)?;
        self.tables.push(table);
        let outer = std::mem::take(&mut self.aliases);
        let checked = self.select_body(query, select, table);
        self.aliases = outer;
        self.tables.pop();
        checked
    }

    /// Refuses what no clause of ours is, and gives the table.
    fn select_clauses(&mut self, select: &SqlSelect) -> Result<Table, Refusal> {
        let whole = select.span();
        self.no_hints(&select.optimizer_hints, whole)?;
        if let Some(into) = &select.into {
            return Err(self.refuse(into.span(), "select into is not supported by vexec", "rows as the answer"));
        }
        let is_plain = select.select_modifiers.is_none()
            && select.top.is_none()
            && select.exclude.is_none()
            && select.lateral_views.is_empty()
            && select.prewhere.is_none()
            && select.connect_by.is_empty()
            && select.cluster_by.is_empty()
            && select.distribute_by.is_empty()
            && select.sort_by.is_empty()
            && select.named_window.is_empty()
            && select.qualify.is_none()
            && select.value_table_mode.is_none();
        if !is_plain {
            let accepted = "select [distinct] … from … where … group by … having … order by … limit …";
            return Err(self.refuse(whole, "a clause of this select is not supported by vexec", accepted));
        }
        self.table(&select.from, whole)
    }

    fn select_body(&mut self, query: &Query, select: &SqlSelect, table: Table) -> Result<Select, Refusal> {
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(self.refuse(select.span(), "distinct on is not supported by vexec", "distinct")),
        };
        let items = select.projection.iter().map(|item| self.item(item)).collect::<Result<Vec<_>, _>>()?;
        let condition = select.selection.as_ref().map(|condition| self.expr(condition)).transpose()?;
        // From here on the columns of the result can be named.
        self.aliases = items
            .iter()
            .filter_map(|item| if let Item::Expr(_, Some(alias)) = item { Some(alias.clone()) } else { None })
            .collect();
        let group_by = match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => {
                exprs.iter().map(|expr| self.expr(expr)).collect::<Result<Vec<_>, _>>()?
            }
            _ => return Err(self.refuse(select.span(), "this group by is not supported by vexec", "group by columns")),
        };
        let having = select.having.as_ref().map(|condition| self.expr(condition)).transpose()?;
        let order_by = match &query.order_by {
            None => Vec::new(),
            Some(order_by) => match &order_by.kind {
                OrderByKind::Expressions(orders) if order_by.interpolate.is_none() => self.orders(orders)?,
                _ => return Err(self.refuse(order_by.span(), "this order by is not supported by vexec", "order by columns")),
            },
        };
        let limit = query.limit_clause.as_ref().map(|limit| self.limit(limit)).transpose()?.flatten();
        Ok(Select { distinct, items, table, condition, group_by, having, order_by, limit })
    }

    fn item(&mut self, item: &SelectItem) -> Result<Item, Refusal> {
        let is_plain = |options: &WildcardAdditionalOptions| {
            let WildcardAdditionalOptions { opt_ilike, opt_exclude, opt_except, opt_replace, opt_rename, opt_alias, .. } =
                options;
            opt_ilike.is_none()
                && opt_exclude.is_none()
                && opt_except.is_none()
                && opt_replace.is_none()
                && opt_rename.is_none()
                && opt_alias.is_none()
        };
        match item {
            SelectItem::UnnamedExpr(expr) => Ok(Item::Expr(self.expr(expr)?, None)),
            SelectItem::ExprWithAlias { expr, alias } => {
                let is_fit = !alias.value.is_empty() && alias.value.len() <= 64 && !alias.value.chars().any(char::is_control);
                if !is_fit {
                    return Err(self.refuse(alias.span, "a result column cannot have this name", "1 to 64 characters"));
                }
                Ok(Item::Expr(self.expr(expr)?, Some(alias.value.clone())))
            }
            SelectItem::Wildcard(options) if is_plain(options) => Ok(Item::All(None)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) if is_plain(options) => {
                Ok(Item::All(Some(self.visible_table(name)?)))
            }
            other => Err(self.refuse(other.span(), "this is no result column for vexec", "a column, an expression, or *")),
        }
    }

    pub(super) fn orders(&mut self, orders: &[OrderByExpr]) -> Result<Vec<Order>, Refusal> {
        orders
            .iter()
            .map(|order| {
                if order.with_fill.is_some() || order.options.nulls_first.is_some() {
                    return Err(self.refuse(order.span(), "this order is not supported by vexec", "asc or desc"));
                }
                let is_descending = match &order.options.sort {
                    None | Some(OrderBySort::Asc) => false,
                    Some(OrderBySort::Desc) => true,
                    Some(OrderBySort::Using(_)) => {
                        return Err(self.refuse(order.span(), "this order is not supported by vexec", "asc or desc"));
                    }
                };
                Ok(Order { expr: self.expr(&order.expr)?, is_descending })
            })
            .collect()
    }

    fn limit(&self, limit: &LimitClause) -> Result<Option<(Option<u64>, u64)>, Refusal> {
        let (offset, rows) = match limit {
            LimitClause::LimitOffset { limit: None, offset: None, limit_by } if limit_by.is_empty() => return Ok(None),
            LimitClause::LimitOffset { limit: Some(limit), offset, limit_by } if limit_by.is_empty() => {
                (offset.as_ref().map(|offset| &offset.value), limit)
            }
            LimitClause::OffsetCommaLimit { offset, limit } => (Some(offset), limit),
            LimitClause::LimitOffset { .. } => {
                return Err(self.refuse(limit.span(), "this limit is not supported by vexec", "limit 10"));
            }
        };
        let number = |expr: &Sql| match expr {
            Sql::Value(value) => match &value.value {
                Value::Number(digits, false) => digits.parse::<u64>().ok(),
                _ => None,
            },
            _ => None,
        };
        let refused = |expr: &Sql| self.refuse(expr.span(), "a limit is a whole number", "a number");
        let rows = number(rows).ok_or_else(|| refused(rows))?;
        let offset = offset.map(|offset| number(offset).ok_or_else(|| refused(offset))).transpose()?;
        Ok(Some((offset, rows)))
    }

    fn update(&mut self, update: &Update) -> Result<Tree, Refusal> {
        let whole = update.span();
        self.no_hints(&update.optimizer_hints, whole)?;
        self.written_table(std::slice::from_ref(&update.table), whole)?;
        if !update.order_by.is_empty() || update.limit.is_some() {
            return Err(self.ordered("UPDATE", &update.order_by, update.limit.as_ref(), whole));
        }
        if update.from.is_some() || update.returning.is_some() || update.output.is_some() || update.or.is_some() {
            return Err(self.refuse(whole, "unsupported query construct: a clause of this update", "update … set … where …"));
        }
        self.tables.push(Table::Vreplication);
        let assignments = update.assignments.iter().map(|assignment| {
            let name = match &assignment.target {
                AssignmentTarget::ColumnName(name) => name,
                AssignmentTarget::Tuple(_) => {
                    return Err(self.refuse(assignment.span(), "one column at a time is set", "column = value"));
                }
            };
            let (parents, last) = self.split(name)?;
            if !parents.is_empty() {
                self.named_table(&parents, name.span())?;
            }
            let column = self.column_of(&[Table::Vreplication], &last, name.span())?;
            if IMMUTABLE.contains(&column) {
                let range = self.source.range(name.span());
                let set = self.excerpt(self.source.range(assignment.span()));
                let message = format!("cannot update immutable column {last}: {set}: {}", self.excerpt(0..self.source.0.len()));
                return Err(Refusal::new(range, message, "it says whose the row is; any other column"));
            }
            self.no_subquery = "a value that is set is computed from the row itself";
            let value = self.expr(&assignment.value);
            self.no_subquery = "";
            let value = value?;
            if column == "state" && !matches!(value, Expr::Text(_)) {
                let message = "a state that is computed: a tablet takes any text but Stopped and Error for a running one";
                return Err(Refusal::new(self.source.range(assignment.value.span()), message, STATES.join(", ")));
            }
            if let (true, Expr::Text(state)) = (column == "state", &value)
                && !STATES.contains(&state.as_str())
            {
                let near = nearest(state, STATES.iter().copied())
                    .map_or_else(|| STATES.join(", "), |near| format!("did you mean {near}?"));
                let message = "no such state: a tablet would take it for a running one";
                return Err(Refusal::new(self.source.range(assignment.value.span()), message, near));
            }
            Ok((column, value))
        });
        let assignments = assignments.collect::<Result<Vec<_>, _>>()?;
        let condition = update.selection.as_ref().map(|condition| self.expr(condition)).transpose()?;
        Ok(Tree::Update { assignments, condition })
    }

    fn delete(&mut self, delete: &Delete) -> Result<Tree, Refusal> {
        let whole = delete.span();
        self.no_hints(&delete.optimizer_hints, whole)?;
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        if !delete.tables.is_empty() || delete.using.is_some() {
            let message = "unsupported query construct: DELETE must not have USING clause or several tables";
            return Err(self.refuse(whole, message, "delete from _vt.vreplication where …"));
        }
        if let Some(TableWithJoins { relation: TableFactor::Table { name, partitions, .. }, .. }) = from.first()
            && !partitions.is_empty()
        {
            let partitions: Vec<&str> = partitions.iter().map(|partition| partition.value.as_str()).collect();
            let message = format!(
                "unsupported query construct: DELETE must not have explicit partitions (have: [{}])",
                partitions.join(" ")
            );
            return Err(self.refuse(name.span(), message, "delete from _vt.vreplication where …"));
        }
        self.written_table(from, whole)?;
        if !delete.order_by.is_empty() || delete.limit.is_some() {
            return Err(self.ordered("DELETE", &delete.order_by, delete.limit.as_ref(), whole));
        }
        if delete.returning.is_some() || delete.output.is_some() {
            return Err(self.refuse(whole, "unsupported query construct: a clause of this delete", "delete from … where …"));
        }
        self.tables.push(Table::Vreplication);
        let condition = delete.selection.as_ref().map(|condition| self.expr(condition)).transpose()?;
        Ok(Tree::Delete { condition })
    }

    fn ordered(&self, verb: &str, order_by: &[OrderByExpr], limit: Option<&Sql>, whole: Span) -> Refusal {
        let have = |spans: Vec<Span>| {
            spans.into_iter().map(|span| self.source.text(self.source.range(span))).collect::<Vec<_>>().join(", ")
        };
        let orders = have(order_by.iter().map(Spanned::span).collect());
        let limits = have(limit.iter().map(|limit| limit.span()).collect());
        let message = format!(
            "unsupported query construct: {verb} must not have explicit ordering (have: [{orders}]) or limit clauses (have: [{limits}])"
        );
        let at = order_by.first().map(Spanned::span).or(limit.map(Spanned::span)).unwrap_or(whole);
        self.refuse(at, message, "a where clause says which rows")
    }

    /// The one table of a write.
    fn written_table(&self, from: &[TableWithJoins], whole: Span) -> Result<(), Refusal> {
        match self.table(from, whole)? {
            Table::Vreplication => Ok(()),
            other => {
                let message = format!("table not supported by vexec: _vt.{} cannot be written", other.name());
                let accepted = if other == Table::SchemaMigrations {
                    "_vt.vreplication; migrations are changed by their own commands"
                } else {
                    "_vt.vreplication: its rows go when their stream is deleted"
                };
                Err(self.refuse(from.first().map_or(whole, Spanned::span), message, accepted))
            }
        }
    }

    /// The one table of a FROM list: every tablet takes it, and its rows can be told apart.
    fn table(&self, from: &[TableWithJoins], whole: Span) -> Result<Table, Refusal> {
        let refused = |span: Span, accepted: &str| {
            let range = self.source.range(span);
            let text = self.excerpt(range.clone());
            Err(Refusal::new(range, format!("table not supported by vexec: {text}"), accepted))
        };
        let [only] = from else {
            let Some(second) = from.get(1) else {
                return Err(self.refuse(whole, "table not supported by vexec: dual", format!("from one of {TABLES}")));
            };
            return refused(second.span(), "one table; another one in a subquery: … in (select … from …)");
        };
        if let Some(join) = only.joins.first() {
            return refused(join.span(), "no join: one table, another one in a subquery");
        }
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } = &only.relation
        else {
            return refused(only.relation.span(), TABLES);
        };
        if let Some(alias) = alias {
            let range = self.source.range(name.span());
            let message = format!(
                "table not supported by vexec: {} as {}",
                self.excerpt(range),
                self.excerpt(self.source.range(alias.name.span))
            );
            return Err(self.refuse(alias.name.span, message, "no alias: tablets refuse it"));
        }
        let is_plain = args.is_none()
            && with_hints.is_empty()
            && version.is_none()
            && !with_ordinality
            && partitions.is_empty()
            && json_path.is_none()
            && sample.is_none()
            && index_hints.is_empty();
        if !is_plain {
            return refused(only.relation.span(), "the table's name alone: no partition, no index hint");
        }
        let (parents, last) = self.split(name)?;
        if let (true, Some(table)) = (parents == ["_vt"], Table::ALL.into_iter().find(|table| table.name() == last)) {
            return Ok(table);
        }
        let near = nearest(&last, Table::ALL.map(Table::name));
        let accepted = near.map_or_else(|| TABLES.to_owned(), |near| format!("did you mean _vt.{near}?"));
        refused(name.span(), &accepted)
    }

    /// The table that a qualifier names: one of those around, with its database or without.
    pub(super) fn visible_table(&self, name: &ObjectName) -> Result<Table, Refusal> {
        let (mut parents, last) = self.split(name)?;
        parents.push(last);
        self.named_table(&parents, name.span())
    }

    pub(super) fn named_table(&self, parts: &[String], span: Span) -> Result<Table, Refusal> {
        let name = match parts {
            [database, name] if database == "_vt" => Some(name),
            [name] => Some(name),
            _ => None,
        };
        self.tables.iter().copied().find(|table| name.is_some_and(|name| name == table.name())).ok_or_else(|| {
            let here: Vec<String> = self.tables.iter().map(|table| format!("_vt.{}", table.name())).collect();
            self.refuse(span, format!("no table {} here", parts.join(".")), here.join(", "))
        })
    }

    /// The column of one of the tables, the innermost first.
    pub(super) fn column_of(&self, tables: &[Table], name: &str, span: Span) -> Result<&'static str, Refusal> {
        if name.starts_with('@') {
            return Err(self.refuse(span, format!("variables are not accepted: {name}"), "a value"));
        }
        tables.iter().rev().find_map(|table| table.column(name)).ok_or_else(|| {
            let table = tables.last().copied().unwrap_or(Table::Vreplication);
            let near = nearest(name, tables.iter().flat_map(|table| table.columns().iter().copied()));
            let accepted = near
                .map_or_else(|| format!("its columns: {}", table.columns().join(", ")), |near| format!("did you mean {near}?"));
            let name = excerpt(name);
            self.refuse(span, format!("_vt.{} has no column {name}", table.name()), accepted)
        })
    }

    /// A dotted name as what is in front of the last part, and that.
    pub(super) fn split(&self, name: &ObjectName) -> Result<(Vec<String>, String), Refusal> {
        let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(|ident| ident.value.clone())).collect();
        let mut parts = parts.unwrap_or_default();
        let last = parts.pop().ok_or_else(|| self.refuse(name.span(), "this is no name", "a name"))?;
        Ok((parts, last))
    }

    fn no_hints(&self, hints: &[sqlparser::ast::OptimizerHint], whole: Span) -> Result<(), Refusal> {
        if hints.is_empty() {
            return Ok(());
        }
        Err(self.refuse_word(whole, "/*", "comment directives are not passed on", "no comment: vexec has no unsafe writes"))
    }

    pub(super) fn refuse(&self, span: Span, message: impl Into<String>, accepted: impl Into<String>) -> Refusal {
        Refusal::new(self.source.range(span), message, accepted)
    }

    /// As [`Self::refuse`], pointing at the last place of a word in the text, where the parser does not say.
    fn refuse_word(&self, span: Span, word: &str, message: impl Into<String>, accepted: impl Into<String>) -> Refusal {
        let found = self.source.0.to_ascii_lowercase().rfind(word);
        Refusal::new(found.map_or_else(|| self.source.range(span), |at| at..at + word.len()), message, accepted)
    }

    fn excerpt(&self, range: Range<usize>) -> String {
        excerpt(self.source.text(range))
    }
}

const TABLES: &str = "_vt.vreplication, _vt.vreplication_log, _vt.copy_state, _vt.schema_migrations";
