//! Replies as people and scripts read them: tables, JSON, YAML, progress.

pub mod json;
pub mod lines;
pub mod progress;
pub mod table;
pub mod terminal;

mod yaml;
