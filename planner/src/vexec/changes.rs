//! Updates and deletes of streams.
//!
//! Facts: `go/vt/vtctl/workflow/vexec/query_planner.go` and `query_plan.go`: what the reference refuses, in its words.

use std::ops::Range;

use sqlparser::tokenizer::Token;

use super::{
    parser::Parser,
    refusal::Refusal,
    tables::{IMMUTABLE, STATES, Table, nearest},
    tree::{Expr, Tree},
};

impl Parser<'_> {
    pub(super) fn update(&mut self) -> Result<Tree, Refusal> {
        self.expect("update")?;
        self.written_table()?;
        self.expect("set")?;
        self.tables.push(Table::Vreplication);
        let mut assignments = vec![self.assignment()?];
        while self.accept_sign(&Token::Comma) {
            assignments.push(self.assignment()?);
        }
        let condition = self.condition()?;
        self.no_order("UPDATE")?;
        Ok(Tree::Update { assignments, condition })
    }

    pub(super) fn delete(&mut self) -> Result<Tree, Refusal> {
        let start = self.at;
        self.expect("delete")?;
        let several = |range: Range<usize>| {
            let message = "unsupported query construct: DELETE must not have USING clause or several tables";
            Err(Refusal::new(range, message, "delete from _vt.vreplication where …"))
        };
        if !self.accept("from") {
            let (_, from) = self.find("from");
            return from.map_or_else(|| Err(self.expected("from")), |from| several(self.between(start, from)));
        }
        let table = self.at;
        if self.name().is_ok() {
            let name = self.since(table);
            if self.accept("partition") {
                let (_, partitions) = (self.accept_sign(&Token::LParen), self.at);
                let (end, _) = self.find("");
                let partitions = self.excerpt(self.between(partitions, end));
                let partitions: Vec<&str> = partitions.split(',').map(str::trim).collect();
                let message = format!(
                    "unsupported query construct: DELETE must not have explicit partitions (have: [{}])",
                    partitions.join(" ")
                );
                return Err(Refusal::new(name, message, "delete from _vt.vreplication where …"));
            }
            if self.is("using") || self.is_sign(&Token::Comma) && self.find("using").1.is_some() {
                return several(self.range());
            }
        }
        self.at = table;
        self.written_table()?;
        self.tables.push(Table::Vreplication);
        let condition = self.condition()?;
        self.no_order("DELETE")?;
        Ok(Tree::Delete { condition })
    }

    /// The one table of a write.
    fn written_table(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        match self.only_table()? {
            Table::Vreplication => Ok(()),
            other => {
                let message = format!("table not supported by vexec: _vt.{} cannot be written", other.name());
                let accepted = if other == Table::SchemaMigrations {
                    "_vt.vreplication; migrations are changed by their own commands"
                } else {
                    "_vt.vreplication: its rows go when their stream is deleted"
                };
                Err(Refusal::new(self.since(start), message, accepted))
            }
        }
    }

    fn assignment(&mut self) -> Result<(&'static str, Expr), Refusal> {
        let start = self.at;
        if self.is_sign(&Token::LParen) {
            return Err(Refusal::new(self.range(), "one column at a time is set", "column = value"));
        }
        let (qualifiers, name) = self.name()?;
        let range = self.since(start);
        if !qualifiers.is_empty() {
            self.named_table(&qualifiers, range.clone())?;
        }
        let column = Self::column_of(&[Table::Vreplication], &name, range.clone())?;
        self.expect_sign(&Token::Eq, "=")?;
        let value_at = self.at;
        self.no_subquery = "a value that is set is computed from the row itself";
        let value = self.expr();
        self.no_subquery = "";
        if IMMUTABLE.contains(&column) {
            let set = self.excerpt(self.since(start));
            let message = format!("cannot update immutable column {name}: {set}: {}", self.excerpt(0..self.sql.len()));
            return Err(Refusal::new(range, message, "it says whose the row is; any other column"));
        }
        let value = value?;
        if column == "state" {
            let Expr::Text(state) = &value else {
                let message = "a state that is computed: a tablet takes any text but Stopped and Error for a running one";
                return Err(Refusal::new(self.since(value_at), message, STATES.join(", ")));
            };
            if !STATES.contains(&state.as_str()) {
                let near = nearest(state, STATES.iter().copied())
                    .map_or_else(|| STATES.join(", "), |near| format!("did you mean {near}?"));
                let message = "no such state: a tablet would take it for a running one";
                return Err(Refusal::new(self.since(value_at), message, near));
            }
        }
        Ok((column, value))
    }

    /// Refuses ORDER BY and LIMIT.
    fn no_order(&mut self, verb: &str) -> Result<(), Refusal> {
        let at = self.at;
        let (end, limit) = self.find("limit");
        let orders = if self.accept("order") && self.accept("by") { self.at..limit.unwrap_or(end) } else { at..at };
        let limits = limit.map_or(end..end, |limit| limit + 1..end);
        if self.at == at && limit != Some(at) {
            return Ok(());
        }
        let text = |parts: &Range<usize>| {
            if parts.is_empty() { String::new() } else { self.excerpt(self.between(parts.start, parts.end)) }
        };
        let message = format!(
            "unsupported query construct: {verb} must not have explicit ordering (have: [{}]) or limit clauses (have: [{}])",
            text(&orders),
            text(&limits)
        );
        let first = if orders.is_empty() { limits.start } else { orders.start };
        Err(Refusal::new(self.between(first, first + 1), message, "a where clause says which rows"))
    }
}
