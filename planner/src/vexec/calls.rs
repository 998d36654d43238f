//! Calls: of the functions on the list, and those that have a grammar of their own.

use sqlparser::tokenizer::Token;

use super::{
    expr::SUM,
    functions,
    parser::Parser,
    parts::excerpt,
    refusal::Refusal,
    tables::nearest,
    tree::{Call, Expr},
};

impl Parser<'_> {
    /// A call whose name, from the part `start` on, has been read.
    pub(super) fn call(&mut self, start: usize) -> Result<Expr, Refusal> {
        let range = self.since(start);
        let written = self.text(range.clone());
        self.expect_sign(&Token::LParen, "(")?;
        let expr = match written.to_ascii_lowercase().as_str() {
            "cast" => self.cast(start)?,
            "convert" => self.convert(start)?,
            "substring" | "substr" => self.substring()?,
            "trim" => self.trim()?,
            "position" => {
                let what = self.operand(SUM)?;
                self.expect("in")?;
                Expr::call("locate", vec![what, self.expr()?])
            }
            _ => {
                let name = functions::allowed(written).ok_or_else(|| {
                    let near = nearest(written, functions::names());
                    let accepted = near.map_or_else(
                        || format!("functions of the row: {}", functions::names().collect::<Vec<_>>().join(", ")),
                        |near| format!("did you mean {near}?"),
                    );
                    Refusal::new(range, format!("function not supported by vexec: {}", excerpt(written)), accepted)
                })?;
                self.arguments(name)?
            }
        };
        self.expect_sign(&Token::RParen, ")")?;
        if self.one_of(&["over", "filter", "within"]).is_some() {
            let message = "this form of a call is not supported by vexec";
            return Err(Refusal::new(self.range(), message, format!("{}(…)", excerpt(written))));
        }
        Ok(expr)
    }

    /// The arguments of a plain function, up to the parenthesis that ends them.
    fn arguments(&mut self, name: &'static str) -> Result<Expr, Refusal> {
        let mut call = Call { name, distinct: false, star: false, args: Vec::new(), order_by: Vec::new(), separator: None };
        if self.is_sign(&Token::RParen) {
            return Ok(Expr::Call(call));
        }
        if name == "count" && self.accept_sign(&Token::Mul) {
            call.star = true;
            return Ok(Expr::Call(call));
        }
        call.distinct = self.accept("distinct");
        loop {
            let is_interval = name.starts_with("date_") && self.is("interval");
            call.args.push(if is_interval { self.interval()? } else { self.expr()? });
            if !self.accept_sign(&Token::Comma) {
                break;
            }
        }
        if name == "group_concat" {
            if self.accept("order") {
                call.order_by = self.orders()?;
            }
            if self.accept("separator") {
                let Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) = self.peek() else {
                    return Err(Refusal::new(self.range(), "a separator is a text", "separator ','"));
                };
                call.separator = Some(text.clone());
                self.at += 1;
            }
        }
        Ok(Expr::Call(call))
    }

    /// `interval 10 minute`.
    pub(super) fn interval(&mut self) -> Result<Expr, Refusal> {
        let start = self.at;
        self.expect("interval")?;
        let value = Box::new(self.expr()?);
        let units = &["microsecond", "second", "minute", "hour", "day", "week", "month", "year"];
        let Some(unit) = self.one_of(units) else {
            let range = self.since(start).start..self.range().end;
            return Err(Refusal::new(range, "this interval is not supported by vexec", "interval 10 second"));
        };
        self.at += 1;
        Ok(Expr::Interval { value, unit })
    }

    fn cast(&mut self, start: usize) -> Result<Expr, Refusal> {
        let expr = Box::new(self.expr()?);
        self.expect("as")?;
        Ok(Expr::Cast { expr, to: self.data_type(start)? })
    }

    fn convert(&mut self, start: usize) -> Result<Expr, Refusal> {
        let expr = Box::new(self.expr()?);
        if self.accept_sign(&Token::Comma) {
            return Ok(Expr::Cast { expr, to: self.data_type(start)? });
        }
        self.expect("using")?;
        let Some(charset) = self.one_of(&["utf8mb4", "utf8", "latin1", "binary"]) else {
            return Err(Refusal::new(self.range(), "unknown character set", "utf8mb4"));
        };
        self.at += 1;
        Ok(Expr::Using { expr, charset })
    }

    fn data_type(&mut self, start: usize) -> Result<&'static str, Refusal> {
        let name = self.one_of(&["char", "binary", "signed", "unsigned", "json", "date", "datetime"]);
        self.at += usize::from(name.is_some());
        if matches!(name, Some("signed" | "unsigned")) {
            self.accept("integer");
        }
        name.filter(|_| self.is_sign(&Token::RParen)).ok_or_else(|| {
            let range = self.since(start).start..self.range().end;
            let accepted = "char, binary, signed, unsigned, json, or using utf8mb4";
            Refusal::new(range, "this conversion is not supported by vexec", accepted)
        })
    }

    /// With commas, or with `from` and `for`.
    fn substring(&mut self) -> Result<Expr, Refusal> {
        let mut args = vec![self.expr()?];
        if self.accept_sign(&Token::Comma) || self.accept("from") {
            args.push(self.expr()?);
        }
        if args.len() == 2 && (self.accept_sign(&Token::Comma) || self.accept("for")) {
            args.push(self.expr()?);
        }
        Ok(Expr::call("substring", args))
    }

    fn trim(&mut self) -> Result<Expr, Refusal> {
        let name = match self.one_of(&["both", "leading", "trailing"]) {
            Some("leading") => "ltrim",
            Some("trailing") => "rtrim",
            Some(_) => "trim",
            None => return Ok(Expr::call("trim", vec![self.expr()?])),
        };
        self.at += 1;
        self.expect("from")?;
        Ok(Expr::call(name, vec![self.expr()?]))
    }
}
