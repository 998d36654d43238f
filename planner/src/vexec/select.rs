//! A select, and what every statement has of it: tables, columns, order, limit.
//!
//! Facts: `go/vt/vtctl/workflow/vexec` (what the reference refuses and how it words it),
//! `go/vt/vttablet/tabletmanager/vreplication/controller_plan.go` (what every tablet takes).

use std::ops::Range;

use sqlparser::tokenizer::Token;

use super::{
    parser::Parser,
    parts::excerpt,
    refusal::Refusal,
    tables::{Table, nearest},
    tree::{Item, Order, Select},
};

const TABLES: &str = "_vt.vreplication, _vt.vreplication_log, _vt.copy_state, _vt.schema_migrations";

impl Parser<'_> {
    /// A query, to its last clause.
    pub(super) fn query(&mut self) -> Result<Select, Refusal> {
        let start = self.at;
        if self.is("with") {
            return Err(Refusal::new(self.range(), "query not supported by vexec: with …", "a select of one sidecar table"));
        }
        if self.is_sign(&Token::LParen) {
            return Err(Refusal::new(self.range(), "query not supported by vexec", "a select of one sidecar table"));
        }
        self.expect("select")?;
        let distinct = self.accept("distinct");
        if !distinct {
            self.accept("all");
        }
        // The columns' names are those of a table that comes after them.
        let items = self.at;
        let (end, from) = self.find("from");
        let Some(from) = from else {
            let whole = self.between(start, end);
            return Err(Refusal::new(whole, "table not supported by vexec: dual", format!("from one of {TABLES}")));
        };
        self.at = from + 1;
        let table = self.only_table()?;
        let clauses = self.at;
        self.at = items;
        self.tables.push(table);
        let outer = std::mem::take(&mut self.aliases);
        let select = self.select(start, distinct, table, from, clauses);
        self.aliases = outer;
        self.tables.pop();
        select
    }

    /// A select whose table is known: its columns up to `from`, then what comes after the table.
    fn select(&mut self, start: usize, distinct: bool, table: Table, from: usize, clauses: usize) -> Result<Select, Refusal> {
        let mut items = vec![self.item()?];
        while self.accept_sign(&Token::Comma) {
            items.push(self.item()?);
        }
        if self.is("into") {
            return Err(self.no_into());
        }
        if self.at != from {
            return Err(self.expected("a comma or from"));
        }
        self.at = clauses;
        let condition = self.condition()?;
        // From here on the columns of the result can be named.
        let named =
            items.iter().filter_map(|item| if let Item::Expr(_, Some(alias)) = item { Some(alias.clone()) } else { None });
        self.aliases = named.collect();
        let mut group_by = Vec::new();
        if self.accept("group") {
            self.expect("by")?;
            group_by.push(self.expr()?);
            while self.accept_sign(&Token::Comma) {
                group_by.push(self.expr()?);
            }
            if self.is("with") {
                return Err(Refusal::new(self.range(), "this group by is not supported by vexec", "group by columns"));
            }
        }
        let having = if self.accept("having") { Some(self.expr()?) } else { None };
        let order_by = if self.accept("order") { self.orders()? } else { Vec::new() };
        let limit = if self.accept("limit") { Some(self.limit()?) } else { None };
        if self.one_of(&["union", "except", "intersect", "minus"]).is_some() {
            let (end, _) = self.find("");
            let message = format!("query not supported by vexec: {}", self.excerpt(self.between(start, end)));
            return Err(Refusal::new(self.range(), message, "one select: no union, except, intersect"));
        }
        if self.one_of(&["for", "lock"]).is_some() {
            let message = "locking rows (for update, for share) is not supported by vexec";
            return Err(Refusal::new(self.range(), message, "no lock"));
        }
        if self.is("into") {
            return Err(self.no_into());
        }
        Ok(Select { distinct, items, table, condition, group_by, having, order_by, limit })
    }

    fn no_into(&self) -> Refusal {
        Refusal::new(self.range(), "select into is not supported by vexec", "rows as the answer")
    }

    /// A result column, or all of them.
    fn item(&mut self) -> Result<Item, Refusal> {
        if self.accept_sign(&Token::Mul) {
            return Ok(Item::All(None));
        }
        let start = self.at;
        if let Ok((mut names, last)) = self.name()
            && self.accept_sign(&Token::Period)
        {
            let range = self.since(start);
            self.expect_sign(&Token::Mul, "*")?;
            names.push(last);
            return Ok(Item::All(Some(self.named_table(&names, range)?)));
        }
        self.at = start;
        let expr = self.expr()?;
        let has_as = self.accept("as");
        let alias = match self.peek() {
            Some(Token::Word(word)) if has_as || self.is_name() => word.value.clone(),
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => text.clone(),
            _ if has_as => return Err(self.expected("a name")),
            _ => return Ok(Item::Expr(expr, None)),
        };
        if alias.is_empty() || alias.len() > 64 || alias.chars().any(char::is_control) {
            return Err(Refusal::new(self.range(), "a result column cannot have this name", "1 to 64 characters"));
        }
        self.at += 1;
        Ok(Item::Expr(expr, Some(alias)))
    }

    /// A WHERE clause, if there is one.
    pub(super) fn condition(&mut self) -> Result<Option<super::tree::Expr>, Refusal> {
        if self.accept("where") { self.expr().map(Some) } else { Ok(None) }
    }

    /// What comes after ORDER.
    pub(super) fn orders(&mut self) -> Result<Vec<Order>, Refusal> {
        self.expect("by")?;
        let mut orders = Vec::new();
        loop {
            let expr = self.expr()?;
            let is_descending = self.accept("desc");
            if !is_descending {
                self.accept("asc");
            }
            orders.push(Order { expr, is_descending });
            if !self.accept_sign(&Token::Comma) {
                return Ok(orders);
            }
        }
    }

    /// What comes after LIMIT: how many rows are left out, how many are wanted.
    fn limit(&mut self) -> Result<(Option<u64>, u64), Refusal> {
        let first = self.whole_number()?;
        if self.accept_sign(&Token::Comma) {
            return Ok((Some(first), self.whole_number()?));
        }
        let offset = if self.accept("offset") { Some(self.whole_number()?) } else { None };
        Ok((offset, first))
    }

    fn whole_number(&mut self) -> Result<u64, Refusal> {
        let number = match self.peek() {
            Some(Token::Number(digits, false)) => digits.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| Refusal::new(self.range(), "a limit is a whole number", "a number"))?;
        self.at += 1;
        Ok(number)
    }

    /// The one table of a FROM list: every tablet takes it, and its rows can be told apart.
    pub(super) fn only_table(&mut self) -> Result<Table, Refusal> {
        let start = self.at;
        if self.accept_sign(&Token::LParen) {
            let (end, _) = self.find("");
            return Err(self.no_table(self.between(start, end + 1), TABLES));
        }
        let (qualifiers, name) = self.name()?;
        let range = self.since(start);
        if self.accept_sign(&Token::Comma) {
            let second = self.at;
            let second = if self.name().is_ok() { self.since(second) } else { self.range() };
            return Err(self.no_table(second, "one table; another one in a subquery: … in (select … from …)"));
        }
        let joins = ["join", "inner", "left", "right", "full", "cross", "natural", "straight_join"];
        if joins.into_iter().any(|word| self.is(word)) {
            return Err(self.no_table(self.range(), "no join: one table, another one in a subquery"));
        }
        if self.is_sign(&Token::LParen) || self.one_of(&["partition", "use", "force", "ignore", "tablesample"]).is_some() {
            let range = range.start..self.range().end;
            return Err(self.no_table(range, "the table's name alone: no partition, no index hint"));
        }
        if self.accept("as") || self.is_name() {
            let text = format!("{} as {}", self.excerpt(range), self.excerpt(self.range()));
            let message = format!("table not supported by vexec: {text}");
            return Err(Refusal::new(self.range(), message, "no alias: tablets refuse it"));
        }
        if let (true, Some(table)) = (qualifiers == ["_vt"], Table::ALL.into_iter().find(|table| table.name() == name)) {
            return Ok(table);
        }
        let near = nearest(&name, Table::ALL.map(Table::name));
        Err(self.no_table(range, &near.map_or_else(|| TABLES.to_owned(), |near| format!("did you mean _vt.{near}?"))))
    }

    fn no_table(&self, range: Range<usize>, accepted: &str) -> Refusal {
        let message = format!("table not supported by vexec: {}", self.excerpt(range.clone()));
        Refusal::new(range, message, accepted)
    }

    /// The table that a qualifier names: one of those around, with its database or without.
    pub(super) fn named_table(&self, parts: &[String], range: Range<usize>) -> Result<Table, Refusal> {
        let name = match parts {
            [database, name] if database == "_vt" => Some(name),
            [name] => Some(name),
            _ => None,
        };
        self.tables.iter().copied().find(|table| name.is_some_and(|name| name == table.name())).ok_or_else(|| {
            let here: Vec<String> = self.tables.iter().map(|table| format!("_vt.{}", table.name())).collect();
            Refusal::new(range, format!("no table {} here", excerpt(&parts.join("."))), here.join(", "))
        })
    }

    /// The column of one of the tables, the innermost first.
    pub(super) fn column_of(tables: &[Table], name: &str, range: Range<usize>) -> Result<&'static str, Refusal> {
        if name.starts_with('@') {
            return Err(Refusal::new(range, format!("variables are not accepted: {}", excerpt(name)), "a value"));
        }
        tables.iter().rev().find_map(|table| table.column(name)).ok_or_else(|| {
            let table = tables.last().copied().unwrap_or(Table::Vreplication);
            let near = nearest(name, tables.iter().flat_map(|table| table.columns().iter().copied()));
            let accepted = near
                .map_or_else(|| format!("its columns: {}", table.columns().join(", ")), |near| format!("did you mean {near}?"));
            Refusal::new(range, format!("_vt.{} has no column {}", table.name(), excerpt(name)), accepted)
        })
    }
}
