//! One part of a change that only goes forward.

use crate::cutover::act::Lane;

/// The part in which tablets that came meanwhile are told of tables that are allowed.
pub(super) const TELL: &str = "tell the other tablets";

/// A part: the ones before it have to be done, and what it does is done at once as far as its lanes allow.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Its name in plans.
    pub(crate) name: &'static str,
    /// In front of what has failed.
    pub(crate) failure: String,
    pub(crate) lanes: Vec<Lane>,
    /// What nobody can bring back afterwards, by name and side; empty: nothing.
    pub(crate) gone: Vec<String>,
    /// What stays of what one might think is gone; empty: nothing.
    pub(crate) kept: Option<String>,
}

/// The parts of a change, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stages(pub(crate) Vec<Stage>);

impl Stages {
    /// Adds a part, if there is anything in it.
    pub(crate) fn add(&mut self, name: &'static str, lanes: impl IntoIterator<Item = Lane>) {
        self.failing(name, String::new(), lanes);
    }

    /// Adds one whose failures begin with a text.
    pub(crate) fn failing(&mut self, name: &'static str, failure: String, lanes: impl IntoIterator<Item = Lane>) {
        let lanes: Vec<Lane> = lanes.into_iter().filter(|lane| lane.iter().any(|group| !group.is_empty())).collect();
        if !lanes.is_empty() {
            self.0.push(Stage { name, failure, lanes, gone: Vec::new(), kept: None });
        }
    }

    /// Adds one after which something is gone for good; the texts say what, and where.
    pub(crate) fn destroying(
        &mut self,
        name: &'static str,
        failure: String,
        gone: impl IntoIterator<Item = String>,
        lanes: impl IntoIterator<Item = Lane>,
    ) {
        let before = self.0.len();
        self.failing(name, failure, lanes);
        if let Some(stage) = self.0.get_mut(before) {
            stage.gone = gone.into_iter().collect();
        }
    }

    /// Adds one after which something is there under another name or in another place; the text says what.
    pub(crate) fn keeping(&mut self, name: &'static str, kept: String, lanes: impl IntoIterator<Item = Lane>) {
        let before = self.0.len();
        self.add(name, lanes);
        if let Some(stage) = self.0.get_mut(before) {
            stage.kept = Some(kept);
        }
    }
}
