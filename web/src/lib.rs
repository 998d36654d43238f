//! The planner for the browser. The page and its bindings are not built yet; this crate keeps their place in the workspace
//! and proves that the planner links for `wasm32-unknown-unknown`.

pub use vtflow_planner as planner;
