//! `vtflow man DIR`: a manual page for each command, for those who make packages.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Command};

#[derive(Args, Clone, Debug)]
pub(crate) struct ManArgs {
    /// Where to; made if it is not there
    dir: PathBuf,
}

pub(crate) fn run(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    let written = fs::create_dir_all(&args.dir).and_then(|()| clap_mangen::generate_to(command, &args.dir));
    written.with_context(|| format!("manual pages cannot be written into {}", args.dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::TempDir::new().unwrap();
        let dir = directory.path().join("man");
        run(&ManArgs { dir: dir.clone() }, Cli::command()).unwrap();
        for (page, said) in
            [("vtflow", "vtflow"), ("vtflow-get-workflows", "active\\-only"), ("vtflow-workflow-complete", "rename\\-tables")]
        {
            let text = fs::read_to_string(dir.join(format!("{page}.1"))).unwrap();
            assert!(text.contains(".TH") && text.contains(said), "{page}: {text}");
        }
    }
}
