//! The list of crates and layers in `docs/architecture.md`.
//!
//! A section `Crates` has a line for each crate; a section ``Layers of `CRATE/src` `` has one for each layer, lowest first. Such a line
//! begins with the places that it is about: ``- `folder/`, `file.rs`: what they are``. A folder's own places may have lines besides.

/// What the document says.
#[derive(Default)]
pub(super) struct Listed {
    /// The folder of each crate.
    pub(super) crates: Vec<Entry>,
    pub(super) layers: Vec<Layers>,
    /// Lines of another form.
    pub(super) faults: Vec<String>,
}

/// The layers of one crate.
pub(super) struct Layers {
    /// Its `src`.
    pub(super) src: String,
    pub(super) line: usize,
    pub(super) places: Vec<Entry>,
}

/// A place in a list.
pub(super) struct Entry {
    /// A folder's ends in a slash, but for a crate's.
    pub(super) path: String,
    /// Places of one line are in one layer.
    pub(super) line: usize,
}

enum Section {
    Crates,
    Layers,
    Other,
}

/// Reads the document.
pub(super) fn read(text: &str) -> Listed {
    let mut listed = Listed::default();
    let mut section = Section::Other;
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(heading) = text.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim();
            section = match heading.strip_prefix("Layers of `").and_then(|rest| rest.strip_suffix('`')) {
                Some(src) => {
                    listed.layers.push(Layers { src: src.to_owned(), line, places: Vec::new() });
                    Section::Layers
                }
                None if heading == "Crates" => Section::Crates,
                None => Section::Other,
            };
            continue;
        }
        let Some(item) = text.strip_prefix("- ") else { continue };
        let entries = match (&section, listed.layers.last_mut()) {
            (Section::Crates, _) => &mut listed.crates,
            (Section::Layers, Some(layers)) => &mut layers.places,
            _ => continue,
        };
        if let Some(places) = places(item) {
            entries.extend(places.into_iter().map(|path| Entry { path, line }));
        } else {
            listed.faults.push(format!("line {line} is not of the form: - `place`, `place`: what they are"));
        }
    }
    listed
}

fn places(item: &str) -> Option<Vec<String>> {
    let mut places = Vec::new();
    let mut rest = item;
    loop {
        let (place, after) = rest.strip_prefix('`')?.split_once('`')?;
        places.push(place.to_owned());
        match after.strip_prefix(", ") {
            Some(after) => rest = after,
            None => return after.starts_with(": ").then_some(places),
        }
    }
}

impl Layers {
    /// The layer of a file: of all places that it is in, the innermost's.
    pub(super) fn of(&self, file: &str) -> Option<&Entry> {
        self.places.iter().filter(|place| place.holds(file)).max_by_key(|place| place.path.len())
    }

    /// What is in a layer, as the document has it.
    pub(super) fn name(&self, line: usize) -> String {
        let places: Vec<_> =
            self.places.iter().filter(|place| place.line == line).map(|place| format!("`{}`", place.path)).collect();
        places.join(", ")
    }
}

impl Entry {
    /// Whether a file is this place, or in it.
    pub(super) fn holds(&self, file: &str) -> bool {
        if self.path.ends_with('/') { file.starts_with(&self.path) } else { file == self.path }
    }
}
