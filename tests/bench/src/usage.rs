//! What a process has used, as Linux counts it.

use std::{fs, time::Duration};

use anyhow::Context;

/// A process that is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched(pub(crate) u32);

impl Watched {
    /// Processor time of all its threads so far.
    pub(crate) fn cpu(self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanos += text.split(' ').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// From now on the most memory counts anew.
    pub(crate) fn forget_peak(self) -> anyhow::Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.0), "5")?)
    }

    /// The most memory since then, and that of now, in bytes.
    pub(crate) fn memory(self) -> anyhow::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line of memory")?;
            anyhow::Ok(line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse::<u64>()? * 1024)
        };
        Ok((of("VmHWM")?, of("VmRSS")?))
    }
}
