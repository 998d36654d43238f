//! Which mutants a compiler's message is about: those within whose code it points.

use std::collections::BTreeSet;

use serde::Deserialize;
use syn::{
    Arm, Block, Expr, ExprCall, ExprIf, ExprMatch, Lit, Pat, Signature, Stmt,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::list::Place;

/// One message of rustc, as JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) level: String,
    #[serde(default)]
    pub(crate) rendered: Option<String>,
    pub(crate) spans: Vec<Pointed>,
}

/// A place that a message points to.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Pointed {
    pub(crate) file_name: String,
    pub(crate) line_start: usize,
    pub(crate) column_start: usize,
    pub(crate) line_end: usize,
    pub(crate) column_end: usize,
    pub(crate) is_primary: bool,
    #[serde(default)]
    pub(crate) expansion: Option<Box<Expansion>>,
}

/// Where the macro was called that has the place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Expansion {
    pub(crate) span: Pointed,
}

/// The code of the mutants of one file.
pub(crate) struct Ranges {
    /// What is there for one mutant alone.
    own: Vec<(Place, Place, u32)>,
    /// What is there for several, with the code as it was.
    shared: Vec<(Place, Place, BTreeSet<u32>)>,
    /// Functions, with the mutants that return at once: of a hidden type they may make another one.
    functions: Vec<(Place, Place, BTreeSet<u32>)>,
}

impl Ranges {
    /// # Errors
    /// The text is not Rust.
    pub(crate) fn of(text: &str) -> syn::Result<Self> {
        let mut ranges = Self { own: Vec::new(), shared: Vec::new(), functions: Vec::new() };
        ranges.visit_file(&syn::parse_file(text)?);
        Ok(ranges)
    }

    /// The mutants to blame for what is at one of these places of this file: the first place first. Empty: none is.
    pub(crate) fn blamed(&self, places: &[&Pointed]) -> BTreeSet<u32> {
        let within = |(from, to): (Place, Place), at: &Pointed| {
            from <= Place { line: at.line_start, column: at.column_start }
                && Place { line: at.line_end, column: at.column_end } <= to
        };
        // Ranges are either within each other or apart: of those that hold a place, the last to start is the innermost.
        for at in places {
            let own = self.own.iter().filter(|(from, to, _)| within((*from, *to), at)).max_by_key(|(from, ..)| *from);
            if let Some((.., id)) = own {
                return [*id].into();
            }
        }
        for ranges in [&self.shared, &self.functions] {
            for at in places {
                let innermost = ranges.iter().filter(|(from, to, _)| within((*from, *to), at)).max_by_key(|(from, ..)| *from);
                if let Some((.., ids)) = innermost {
                    return ids.clone();
                }
            }
        }
        BTreeSet::new()
    }
}

/// The mutant that `expr` asks for: `crate::mutants::on(7u32)`.
fn asked(call: &ExprCall) -> Option<u32> {
    let Expr::Path(path) = &*call.func else { return None };
    let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    if names != ["crate", "mutants", "on"] {
        return None;
    }
    match call.args.first() {
        Some(Expr::Lit(literal)) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The mutant that is the arm's deletion.
fn deleted(arm: &Arm) -> Option<u32> {
    let Pat::Guard(guarded) = &arm.pat else { return None };
    let first = match &*guarded.guard {
        Expr::Binary(binary) => &binary.left,
        _ => &guarded.guard,
    };
    match &**first {
        Expr::Unary(not) => match &*not.expr {
            Expr::Call(call) => asked(call),
            _ => None,
        },
        _ => None,
    }
}

fn range(from: &impl Spanned, to: &impl Spanned) -> (Place, Place) {
    let (from, to) = (from.span().start(), to.span().end());
    (Place { line: from.line, column: from.column + 1 }, Place { line: to.line, column: to.column + 1 })
}

impl Ranges {
    fn function(&mut self, signature: &Signature, block: &Block) {
        let ids: BTreeSet<u32> = block
            .stmts
            .iter()
            .map_while(|statement| match statement {
                Stmt::Expr(Expr::If(choice), _) => match &*choice.cond {
                    Expr::Call(call) => asked(call),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        if !ids.is_empty() {
            let (from, to) = range(signature, block);
            self.functions.push((from, to, ids));
        }
    }
}

impl<'ast> Visit<'ast> for Ranges {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_expr_match(&mut self, choice: &'ast ExprMatch) {
        // What is not covered is the fault of the last arm that has a guard now and had none.
        if let Some(id) = choice.arms.iter().rev().find_map(deleted) {
            let (from, to) = range(&choice.expr, &choice.expr);
            self.shared.push((from, to, [id].into()));
        }
        visit::visit_expr_match(self, choice);
    }

    fn visit_expr_if(&mut self, choice: &'ast ExprIf) {
        if let Expr::Call(call) = &*choice.cond
            && let Some(id) = asked(call)
        {
            let (from, to) = range(choice, &choice.then_branch);
            self.own.push((from, to, id));
            let mut ids = BTreeSet::from([id]);
            let mut last = choice.else_branch.as_ref().map(|(_, other)| &**other);
            while let Some(Expr::If(next)) = last {
                if let Expr::Call(call) = &*next.cond {
                    ids.extend(asked(call));
                }
                last = next.else_branch.as_ref().map(|(_, other)| &**other);
            }
            let (from, to) = range(choice, choice);
            self.shared.push((from, to, ids));
        }
        visit::visit_expr_if(self, choice);
    }

    fn visit_expr_paren(&mut self, paren: &'ast syn::ExprParen) {
        // What has no copy of its own: `((a == b) != on(7u32))`, `({ let left …; if left != on(7u32) … })`.
        let mut inside = Asked::default();
        match &*paren.expr {
            Expr::Binary(binary) => inside.operand(&binary.right),
            Expr::Block(block) => {
                for statement in &block.block.stmts {
                    if let Stmt::Expr(Expr::If(choice), None) = statement
                        && let Expr::Binary(binary) = &*choice.cond
                    {
                        inside.operand(&binary.right);
                    }
                }
            }
            _ => {}
        }
        if !inside.ids.is_empty() {
            let (from, to) = range(paren, paren);
            self.shared.push((from, to, inside.ids));
        }
        visit::visit_expr_paren(self, paren);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Some(id) = asked(call) {
            let (from, to) = range(call, call);
            self.own.push((from, to, id));
        }
        visit::visit_expr_call(self, call);
    }
}

#[derive(Default)]
struct Asked {
    ids: BTreeSet<u32>,
}

impl Asked {
    fn operand(&mut self, expr: &Expr) {
        if let Expr::Call(call) = expr {
            self.ids.extend(asked(call));
        }
    }
}
