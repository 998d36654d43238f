//! Which files of a crate name which: every path followed, through what modules show of others, to the file that defines it.

use std::collections::BTreeMap;

use super::modules::{Module, Sources};

/// For each pair of files, by index: where the first names the second first, and as what.
pub(super) type Imports = BTreeMap<(usize, usize), Named>;

/// A name in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) path: String,
}

/// What a path leads to.
#[derive(Clone, Copy)]
enum Place {
    /// A definition in a file.
    Definition(usize),
    Module(usize),
}

/// How a name is looked up in a module.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// By the module itself: a name that is not found is another crate's.
    Within,
    /// By a path that leads here: a name that is not found is one that a macro made.
    Into,
    /// As one of many that may be there.
    Glob,
}

/// The names that were looked up on the way to one: a name may lead to itself.
type Seen = Vec<(usize, Vec<String>, bool)>;

/// The imports of a crate.
pub(super) fn imports(sources: &Sources) -> Imports {
    let mut imports = Imports::new();
    for module in 0..sources.modules.len() {
        sources.module_imports(module, &mut imports);
    }
    imports
}

impl Sources {
    fn module_imports(&self, at: usize, imports: &mut Imports) {
        let module = &self.modules[at];
        let mut add = |file: usize, path: &[String], line: usize| {
            if file == module.file {
                return;
            }
            let named = Named { line, path: path.join("::") };
            let first = imports.entry((module.file, file)).or_insert_with(|| named.clone());
            if named.line < first.line {
                *first = named;
            }
        };
        for mention in &module.names.mentions {
            if let Some(Place::Definition(file)) = self.find(at, &mention.path, How::Within, &mut Seen::new()) {
                add(file, &mention.path, mention.line);
            }
        }
        for import in module.names.imports.iter().filter(|import| !import.is_shown) {
            match self.find(at, &import.path, How::Within, &mut Seen::new()) {
                Some(Place::Definition(file)) => add(file, &import.path, import.line),
                // A module whose items are named one by one is no more than the way to them.
                Some(Place::Module(target)) if !self.is_way(at, target, import.name.as_deref()) => {
                    add(self.modules[target].file, &import.path, import.line);
                }
                Some(Place::Module(_)) | None => {}
            }
        }
    }

    /// Whether something is named by way of an imported module: as `name::Item`, or, with all that is in it imported, as `Item`.
    fn is_way(&self, at: usize, target: usize, name: Option<&str>) -> bool {
        let module = &self.modules[at];
        module.names.mentions.iter().any(|mention| match (name, mention.path.as_slice()) {
            (Some(name), [first, _, ..]) => first == name,
            (None, [first, ..]) => !module.has(first) && self.find(target, &mention.path, How::Glob, &mut Seen::new()).is_some(),
            _ => false,
        })
    }

    fn find(&self, at: usize, path: &[String], how: How, seen: &mut Seen) -> Option<Place> {
        let Some((name, rest)) = path.split_first() else { return Some(Place::Module(at)) };
        let module = &self.modules[at];
        match name.as_str() {
            "crate" => return self.find(self.root(at), rest, How::Into, seen),
            "self" => return self.find(at, rest, How::Into, seen),
            "super" => return self.find(module.parent?, rest, How::Into, seen),
            _ => {}
        }
        let lookup = (at, path.to_vec(), how == How::Glob);
        if seen.contains(&lookup) {
            return None;
        }
        seen.push(lookup);
        let child = module.children.get(name).copied();
        // A module may have the name of a function: what follows tells which.
        if let (Some(child), false) = (child, rest.is_empty()) {
            return self.find(child, rest, How::Into, seen);
        }
        // So may an imported one.
        if module.defined.contains(name) && (rest.is_empty() || !module.imports(name)) {
            return Some(Place::Definition(module.file));
        }
        let mut imported = None;
        for import in module.names.imports.iter().filter(|import| import.name.as_ref() == Some(name)) {
            imported = Some(import.is_shown);
            // `use name::name`: a path does not begin with what it brings in, so this is another crate.
            if child.is_none() && import.path.first() == Some(name) {
                continue;
            }
            let whole = [import.path.as_slice(), rest].concat();
            if let Some(place) = self.find(at, &whole, How::Within, seen) {
                return Some(place);
            }
        }
        if let Some(child) = child {
            return Some(Place::Module(child));
        }
        if let Some(is_shown) = imported {
            // Another crate's, which this module shows as its own.
            return (is_shown && how == How::Into).then_some(Place::Definition(module.file));
        }
        for import in module.names.imports.iter().filter(|import| import.name.is_none()) {
            if let Some(Place::Module(target)) = self.find(at, &import.path, How::Within, seen)
                && let Some(place) = self.find(target, path, How::Glob, seen)
            {
                return Some(place);
            }
        }
        (how == How::Into).then_some(Place::Definition(module.file))
    }

    fn root(&self, mut at: usize) -> usize {
        while let Some(parent) = self.modules[at].parent {
            at = parent;
        }
        at
    }
}

impl Module {
    fn has(&self, name: &str) -> bool {
        self.children.contains_key(name) || self.defined.contains(name) || self.imports(name)
    }

    fn imports(&self, name: &str) -> bool {
        self.names.imports.iter().any(|import| import.name.as_deref() == Some(name))
    }
}
