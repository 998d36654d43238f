//! What vtflow says while a part of the cluster is stopped, killed or cut off, and after it is back.

pub(crate) fn run(_suite: &mut crate::suite::Suite) -> anyhow::Result<()> {
    Ok(())
}
