//! Changes of a workflow that only go forward: completing one, cancelling one, mirroring its reads.
//!
//! What they do (drop tables, delete streams and records) cannot be taken back, so nothing is: the request that failed or whose process
//! died is made again, and goes on with what is left. For that the streams go last: as long as they are there, the workflow is found.
//! [`request`] reads what is wanted; [`complete`], [`cancel`] and [`mirror`] refuse it or make its [`stage`]s from what is there;
//! [`engine`] does them one after the other.

mod acts;
mod cancel;
mod complete;
mod deletion;
mod engine;
mod gone;
mod lines;
mod mirror;
mod request;
mod rules;
pub(super) mod stage;
mod standing;

pub(crate) use deletion::Deletion;
pub(crate) use engine::Forward;
pub(crate) use request::Task;
