//! Commands that are ways out by themselves, as they can be copied.

use super::deviation::Mechanism as M;
use crate::shell;

/// The command that goes on with what was begun, as far as the mechanism and the phase, by its name, say what that was. `keyspace`: the
/// target's.
pub fn again(mechanism: M, phase: &str, keyspace: &str, workflow: &str, at_any_lag: bool) -> String {
    let command = |verb, flags: &[&str]| shell::workflow(verb, keyspace, workflow, flags);
    let (verb, types) = match mechanism {
        M::DeletionInterrupted => return command("cancel", &[]),
        M::CompletionInterrupted => return command("complete", &[]),
        _ if phase.starts_with("back_stopped_") => ("reverse", "--tablet-types=primary"),
        M::ServedShardsClosed => ("switch", "--tablet-types=replica,rdonly"),
        _ => ("switch", "--tablet-types=primary"),
    };
    let lag: &[&str] = if at_any_lag { &["--max-replication-lag-allowed=24h"] } else { &[] };
    command(verb, &[&[types], lag].concat())
}

/// The command that starts all streams. `keyspace`: the target's.
pub fn start(keyspace: &str, workflow: &str) -> String {
    shell::workflow("start", keyspace, workflow, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_gone_on_with_by_its_own_command() {
        for (mechanism, at_any_lag, want) in [
            (M::WritesClosed, false, "vtflow workflow switch ks w --tablet-types=primary"),
            (
                M::JournalWithoutRouting,
                true,
                "vtflow workflow switch ks w --tablet-types=primary --max-replication-lag-allowed=24h",
            ),
            (
                M::ReversalInterrupted,
                true,
                "vtflow workflow reverse ks w --tablet-types=primary --max-replication-lag-allowed=24h",
            ),
            (M::CellServesOldShards, false, "vtflow workflow reverse ks w --tablet-types=primary"),
            (M::ServedShardsClosed, false, "vtflow workflow switch ks w --tablet-types=replica,rdonly"),
            (M::DeletionInterrupted, false, "vtflow workflow cancel ks w"),
            (M::CompletionInterrupted, false, "vtflow workflow complete ks w"),
        ] {
            let phase = if want.contains(" reverse ") { "back_stopped_before_journal" } else { "stopped_before_journal" };
            assert_eq!(again(mechanism, phase, "ks", "w", at_any_lag), want, "{mechanism:?}");
        }
        assert_eq!(start("ks", "w"), "vtflow workflow start ks w");
    }
}
