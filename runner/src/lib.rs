//! runner

pub mod embedded;
