//! Code with all its mutants in it, each behind a switch: `if crate::mutants::on(7u32) { … }`.
//!
//! A comparison for equality and the two lazy operators need no second copy of their operands; everything else is written
//! twice. What has to be constant (constants, patterns, lengths of arrays, `const fn`) has no switch: such mutants are not placed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use proc_macro2::Span;
use syn::{
    Arm, BinOp, Block, Expr, ExprBinary, ExprStruct, Pat, PatGuard, Signature, Token, UnOp, parse_quote,
    punctuated::Punctuated,
    spanned::Spanned,
    visit_mut::{self, VisitMut},
};

use crate::list::{Genre, Mutant, Place};

/// A file with its mutants.
pub(crate) struct Instrumented {
    pub(crate) text: String,
    /// Which mutants have a switch, by their index.
    pub(crate) placed: BTreeSet<u32>,
}

/// Puts `mutants` (by index) into a file's text.
///
/// # Errors
/// The text is not Rust.
pub(crate) fn instrument(source: &str, mutants: &[(u32, &Mutant)]) -> anyhow::Result<Instrumented> {
    let mut file = syn::parse_file(source).context("not Rust")?;
    let mut placer = Placer { places: BTreeMap::new(), bodies: Vec::new(), placed: BTreeSet::new() };
    for &(id, mutant) in mutants {
        if mutant.genre == Genre::FnValue {
            placer.bodies.push((id, mutant.clone()));
        } else {
            placer.places.entry((mutant.genre, mutant.span.start)).or_default().push((id, mutant.replacement.clone()));
        }
    }
    placer.visit_file_mut(&mut file);
    Ok(Instrumented { text: prettyplease::unparse(&file), placed: placer.placed })
}

struct Placer {
    /// Mutants of anything but bodies: index and replacement.
    places: BTreeMap<(Genre, Place), Vec<(u32, String)>>,
    /// Mutants of whole bodies that have no place yet.
    bodies: Vec<(u32, Mutant)>,
    placed: BTreeSet<u32>,
}

fn start(span: Span) -> Place {
    Place { line: span.start().line, column: span.start().column + 1 }
}

fn end(span: Span) -> Place {
    Place { line: span.end().line, column: span.end().column + 1 }
}

impl Placer {
    fn take(&mut self, genre: Genre, at: Span) -> Vec<(u32, String)> {
        self.places.remove(&(genre, start(at))).unwrap_or_default()
    }

    fn body(&mut self, signature: &Signature, block: &mut Block) {
        let (first, last) = (start(block.brace_token.span.open()), end(block.brace_token.span.close()));
        let name = signature.ident.to_string();
        let (own, others) = std::mem::take(&mut self.bodies).into_iter().partition(|(_, mutant): &(u32, Mutant)| {
            let of = mutant.function.as_ref().and_then(|function| function.function_name.rsplit("::").next());
            mutant.span.start > first && mutant.span.end <= last && of == Some(name.as_str())
        });
        self.bodies = others;
        for (id, mutant) in own {
            if let Ok(value) = syn::parse_str::<Expr>(&mutant.replacement) {
                block.stmts.insert(0, parse_quote! { if crate::mutants::on(#id) { return (#value); } });
                self.placed.insert(id);
            }
        }
    }

    /// `value`, or what one of the mutants makes of it.
    fn chosen(&mut self, value: Expr, mutants: Vec<(u32, Expr)>) -> Expr {
        if mutants.is_empty() {
            return value;
        }
        let mut whole: Expr = parse_quote! { { (#value) } };
        for (id, mutant) in mutants {
            self.placed.insert(id);
            whole = parse_quote! { if crate::mutants::on(#id) { (#mutant) } else #whole };
        }
        parse_quote! { (#whole) }
    }

    fn binary(&mut self, binary: ExprBinary, mutants: Vec<(u32, String)>) -> Expr {
        let ExprBinary { left, op, right, .. } = &binary;
        if let [(id, replacement)] = mutants.as_slice() {
            match (op, replacement.as_str()) {
                // In a chain of `let`s there is no other operator.
                (BinOp::And(_), "||") if binds(left) || binds(right) => return Expr::Binary(binary),
                (BinOp::And(_), "||") => {
                    self.placed.insert(*id);
                    return parse_quote! {
                        ({ let left: bool = (#left); if left != crate::mutants::on(#id) { (#right) } else { left } })
                    };
                }
                (BinOp::Or(_), "&&") => {
                    self.placed.insert(*id);
                    return parse_quote! {
                        ({ let left: bool = (#left); if left == crate::mutants::on(#id) { (#right) } else { left } })
                    };
                }
                (BinOp::Eq(_), "!=") | (BinOp::Ne(_), "==") => {
                    self.placed.insert(*id);
                    return parse_quote! { ((#binary) != crate::mutants::on(#id)) };
                }
                _ => {}
            }
        }
        let others = mutants
            .into_iter()
            .filter_map(|(id, replacement)| {
                let other = ExprBinary { op: syn::parse_str(&replacement).ok()?, ..binary.clone() };
                Some((id, Expr::Binary(other)))
            })
            .collect();
        self.chosen(Expr::Binary(binary), others)
    }

    fn fields(&mut self, expr: ExprStruct, mutants: Vec<(u32, usize)>) -> Expr {
        let others = mutants
            .into_iter()
            .map(|(id, field)| {
                let fields = expr.fields.iter().enumerate().filter(|(index, _)| *index != field).map(|(_, field)| field.clone());
                let mut fields: Punctuated<_, Token![,]> = fields.collect();
                if !fields.empty_or_trailing() {
                    fields.push_punct(syn::token::Comma::default());
                }
                (id, Expr::Struct(ExprStruct { fields, ..expr.clone() }))
            })
            .collect();
        self.chosen(Expr::Struct(expr), others)
    }
}

/// Whether the operand of a lazy operator has a `let` of the chain.
fn binds(operand: &Expr) -> bool {
    match operand {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => binds(&binary.left) || binds(&binary.right),
        _ => false,
    }
}

impl VisitMut for Placer {
    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Binary(binary) => {
                let mutants = self.take(Genre::BinaryOperator, binary.op.span());
                visit_mut::visit_expr_binary_mut(self, binary);
                *expr = self.binary(binary.clone(), mutants);
            }
            Expr::Unary(unary) => {
                let mutants = if matches!(unary.op, UnOp::Deref(_)) {
                    Vec::new()
                } else {
                    self.take(Genre::UnaryOperator, unary.op.span())
                };
                visit_mut::visit_expr_unary_mut(self, unary);
                let others = mutants.into_iter().map(|(id, _)| (id, (*unary.expr).clone())).collect();
                *expr = self.chosen(expr.clone(), others);
            }
            Expr::Struct(whole) => {
                let mut mutants = Vec::new();
                for (index, field) in whole.fields.iter().enumerate() {
                    let of_field = self.take(Genre::StructField, field.span());
                    mutants.extend(of_field.into_iter().map(|(id, _)| (id, index)));
                }
                visit_mut::visit_expr_struct_mut(self, whole);
                *expr = self.fields(whole.clone(), mutants);
            }
            Expr::Repeat(repeat) => self.visit_expr_mut(&mut repeat.expr),
            Expr::Const(_) => {}
            _ => visit_mut::visit_expr_mut(self, expr),
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        let deleted = self.take(Genre::MatchArm, arm.span());
        if let Pat::Guard(guarded) = &mut arm.pat {
            let forced = self.take(Genre::MatchArmGuard, guarded.guard.span());
            let binding = binds(&guarded.guard);
            self.visit_expr_mut(&mut guarded.guard);
            if !binding {
                for (id, value) in forced {
                    self.placed.insert(id);
                    let guard = &guarded.guard;
                    guarded.guard = if value == "true" {
                        parse_quote! { (crate::mutants::on(#id) || (#guard)) }
                    } else {
                        parse_quote! { (!crate::mutants::on(#id) && (#guard)) }
                    };
                }
            }
        }
        for (id, _) in deleted {
            self.placed.insert(id);
            arm.pat = match arm.pat.clone() {
                Pat::Guard(PatGuard { attrs, pat, if_token, guard }) => {
                    let guard = parse_quote! { !crate::mutants::on(#id) && (#guard) };
                    Pat::Guard(PatGuard { attrs, pat, if_token, guard: Box::new(guard) })
                }
                pat => Pat::Guard(PatGuard {
                    attrs: Vec::new(),
                    pat: Box::new(pat),
                    if_token: syn::token::If::default(),
                    guard: parse_quote! { !crate::mutants::on(#id) },
                }),
            };
        }
        self.visit_expr_mut(&mut arm.body);
    }

    fn visit_item_fn_mut(&mut self, function: &mut syn::ItemFn) {
        if function.sig.constness.is_none() {
            visit_mut::visit_item_fn_mut(self, function);
            self.body(&function.sig, &mut function.block);
        }
    }

    fn visit_impl_item_fn_mut(&mut self, function: &mut syn::ImplItemFn) {
        if function.sig.constness.is_none() {
            visit_mut::visit_impl_item_fn_mut(self, function);
            self.body(&function.sig, &mut function.block);
        }
    }

    fn visit_trait_item_fn_mut(&mut self, function: &mut syn::TraitItemFn) {
        visit_mut::visit_trait_item_fn_mut(self, function);
        if let Some(block) = &mut function.default {
            self.body(&function.sig, block);
        }
    }

    // What has to be constant.
    fn visit_item_const_mut(&mut self, _: &mut syn::ItemConst) {}
    fn visit_item_static_mut(&mut self, _: &mut syn::ItemStatic) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}
    fn visit_trait_item_const_mut(&mut self, _: &mut syn::TraitItemConst) {}
    fn visit_variant_mut(&mut self, _: &mut syn::Variant) {}
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_pat_mut(&mut self, _: &mut Pat) {}
}
