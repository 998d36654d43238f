//! The IO half of vtflow: it performs the asks of a [`vtflow_planner::Flow`] and hands the answers back undecoded.
//!
//! What to ask and what an answer means is decided in the planner; nothing here knows what a workflow is. The topology's
//! back ends are in [`topo`], calls to tablets in [`tablet`], the loop between them and the flow in [`mod@drive`].

pub mod cli;
pub mod deadline;
pub mod drive;
pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod observe;
pub mod output;
pub mod planner_host;
#[cfg(feature = "embedded")]
pub mod rehearse;
pub mod secret;
pub mod server;
pub mod tablet;
pub mod topo;
pub mod trace_file;

mod log;
mod net;
mod outage;
mod reloaded;

pub use net::{network, tls};
#[cfg(feature = "embedded")]
pub use vtflow_embedded as embedded;
#[cfg(feature = "embedded")]
pub use vtflow_embedded::raw;
