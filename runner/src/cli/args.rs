//! Arguments that several commands take.

use clap::Args;

/// Which workflows of a keyspace: the request's own fields.
#[derive(Args, Clone, Debug)]
pub(crate) struct WorkflowsArgs {
    /// Only this workflow
    #[arg(short, long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Leave out streams that are stopped
    #[arg(long)]
    pub(crate) active_only: bool,
    /// Fetch the streams' logs, the newest 250 entries of each
    #[arg(long, visible_alias = "include-logs")]
    pub(crate) logs: bool,
    /// Only these shards
    #[arg(long, value_delimiter = ',', value_name = "SHARD,...", allow_hyphen_values = true, value_parser = shard_name)]
    pub(crate) shards: Vec<String>,
}

/// A shard's name. Shards may begin with a dash, and so may flags that were meant for somebody else.
pub(crate) fn shard_name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("empty name: is there a comma too many?".into()),
        flag if flag.starts_with("--") => Err(format!("{flag} is a flag, no shard")),
        shard => Ok(shard.into()),
    }
}
