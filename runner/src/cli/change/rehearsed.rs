//! Changes that can be rehearsed: performed, or tried on a copy.

use std::process::ExitCode;

use super::confirm::{self, Change, ChangeArgs};
#[cfg(feature = "embedded")]
use super::rehearse::{self, RehearsalArgs, Rehearsing};
use crate::cli::cluster::open::OpenCluster;

/// A change of a workflow, as a command line has it.
pub(crate) trait Rehearsed: Sized {
    /// The target keyspace, and the workflow; empty: all that the keyspace has.
    #[cfg(feature = "embedded")]
    fn place(&self) -> (&str, &str);

    /// Whether it is rehearsed, and how.
    #[cfg(feature = "embedded")]
    fn rehearsal(&self) -> &RehearsalArgs;

    /// What goes the other way, by the name of its command; `None`: nothing brings back what it does.
    #[cfg(feature = "embedded")]
    fn back(&self) -> Option<(&'static str, Change)> {
        None
    }

    /// The request, and how it is decided on.
    fn change(self) -> (Change, ChangeArgs);
}

/// Rehearses the change if that is wanted, else performs it.
pub(super) async fn run(cluster: &OpenCluster, wanted: impl Rehearsed) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "embedded")]
    if wanted.rehearsal().is_wanted() {
        let (keyspace, workflow) = wanted.place();
        let (keyspace, workflow) = (keyspace.to_owned(), workflow.to_owned());
        let (how, back) = (wanted.rehearsal().clone(), wanted.back());
        let (change, shown) = wanted.change();
        return rehearse::run(cluster, Rehearsing { keyspace, workflow, change, shown, back, how }).await;
    }
    let (change, how) = wanted.change();
    confirm::run(cluster, change, how).await
}
