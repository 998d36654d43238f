//! What the code of one module names: its imports, and the paths in its code, in macros and attributes too.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemFn, ItemUse, Macro, Meta, PatIdent, UseTree, Visibility,
    visit::{self, Visit},
};

/// The names in a module's code.
#[derive(Default)]
pub(super) struct Names {
    pub(super) imports: Vec<Import>,
    pub(super) mentions: Vec<Mention>,
    /// What its functions call something of their own: a variable, an item within.
    local: BTreeSet<String>,
}

/// One name of a `use`.
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// How the module calls it. `None`: all that is in there.
    pub(super) name: Option<String>,
    /// Whether others may take it from here: the module then only shows it.
    pub(super) is_shown: bool,
    pub(super) line: usize,
}

/// A path in the code.
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

impl Names {
    /// Of a module's items; modules among them are left to themselves.
    pub(super) fn of<'a>(items: impl Iterator<Item = &'a Item>) -> Self {
        let mut names = Self::default();
        for item in items {
            if !matches!(item, Item::Mod(_)) {
                visit::visit_item(&mut names, item);
            }
        }
        let local = std::mem::take(&mut names.local);
        names.mentions.retain(|mention| mention.path.len() > 1 || !mention.path.iter().any(|name| local.contains(name)));
        names
    }

    fn import(&mut self, tree: &UseTree, before: &[String], is_shown: bool) {
        let mut path = before.to_vec();
        let (name, line) = match tree {
            UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                return self.import(&inner.tree, &path, is_shown);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before, is_shown);
                }
                return;
            }
            UseTree::Glob(glob) => (None, glob.star_token.spans[0].start().line),
            UseTree::Name(leaf) => {
                if leaf.ident != "self" {
                    path.push(leaf.ident.to_string());
                }
                (path.last().cloned(), leaf.ident.span().start().line)
            }
            UseTree::Rename(leaf) => {
                if leaf.ident != "self" {
                    path.push(leaf.ident.to_string());
                }
                (Some(leaf.rename.to_string()), leaf.ident.span().start().line)
            }
        };
        self.imports.push(Import { path, name, is_shown, line });
    }

    /// Paths in tokens that are not parsed: a macro's, an attribute's. A single name counts where it is a type's or is called.
    fn tokens(&mut self, tokens: &TokenStream, is_attribute: bool) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(&group.stream(), is_attribute),
                TokenTree::Ident(first) => {
                    let is_outside = at >= 2 && is_colons(&tokens, at - 2);
                    let is_member = at >= 1 && is_punct(&tokens, at - 1, '.');
                    let line = first.span().start().line;
                    let mut path = vec![first.to_string()];
                    while is_colons(&tokens, at + 1)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    let is_called = matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
                    let is_type = path[0].starts_with(char::is_uppercase);
                    if !is_outside && !is_member && (path.len() > 1 || is_type || is_called) {
                        self.mentions.push(Mention { path, line });
                    } else if is_attribute && path.len() == 1 && is_punct(&tokens, at + 1, '=') {
                        self.named_in_text(&path[0], tokens.get(at + 2), line);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// A path that an attribute of serde has as a text: `with = "crate::plain"`.
    fn named_in_text(&mut self, key: &str, value: Option<&TokenTree>, line: usize) {
        const KEYS: [&str; 9] = [
            "default",
            "deserialize_with",
            "from",
            "getter",
            "into",
            "serialize_with",
            "skip_serializing_if",
            "try_from",
            "with",
        ];
        let Some(TokenTree::Literal(value)) = value else { return };
        let text = value.to_string();
        let text = text.trim_matches('"');
        if !KEYS.contains(&key) || !text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
            return;
        }
        let mut path: Vec<String> = text.split("::").map(str::to_owned).collect();
        if key == "with" {
            path.push("serialize".to_owned());
        }
        self.mentions.push(Mention { path, line });
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let (None, Some(first)) = (&path.leading_colon, path.segments.first()) {
            let line = first.ident.span().start().line;
            let path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.mentions.push(Mention { path, line });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast Macro) {
        // These make code of another crate: what it names there is not named here.
        let makes_code = it.path.segments.last().is_some_and(|last| last.ident == "quote" || last.ident == "parse_quote");
        if !makes_code {
            self.tokens(&it.tokens, false);
        }
        visit::visit_macro(self, it);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            Meta::List(list) => self.tokens(&list.tokens, true),
            // Texts for people.
            Meta::NameValue(_) | Meta::Path(_) => {}
        }
    }

    /// Who may see an item is no import.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        self.local.insert(pattern.ident.to_string());
        visit::visit_pat_ident(self, pattern);
    }

    /// An item within a function.
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_of_tests(attributes(item)) {
            self.local.extend(defined(item));
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_of_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_of_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':')
}

/// Whether an item is there in tests only, by its `cfg`.
pub(super) fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(|list| requires_test(&list.tokens))
    })
}

/// Whether a condition of `cfg` holds in tests only: `test`, or `all` with it.
fn requires_test(condition: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.clone().into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| match token {
        TokenTree::Ident(name) => name == "test",
        TokenTree::Group(group) => {
            let is_all = at >= 1 && matches!(&tokens[at - 1], TokenTree::Ident(name) if name == "all");
            is_all && requires_test(&group.stream())
        }
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// The name of an item, if paths can name it.
pub(super) fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The attributes of an item.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
