//! One part of a change that only goes forward.

use crate::cutover::act::Lane;

/// A part: the ones before it have to be done, and what it does is done at once as far as its lanes allow.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Its name in plans.
    pub(crate) name: &'static str,
    /// In front of what has failed.
    pub(crate) failure: String,
    pub(crate) lanes: Vec<Lane>,
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
            self.0.push(Stage { name, failure, lanes });
        }
    }
}
