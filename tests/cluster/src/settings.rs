//! Where everything is: programs, MySQL, and the folder of the running cluster.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::process::{RunAs, wrapped};

/// Paths, all of them absolute.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Vitess's programs: `VTFLOW_CLUSTER_VITESS`, else `target/clients/v24`.
    pub(crate) vitess: PathBuf,
    /// The program to test: `VTFLOW_CLUSTER_VTFLOW`, else `target/debug/vtflow`.
    pub(crate) vtflow: PathBuf,
    /// MySQL, as `tests/cluster/mysql-root` makes it: `VTFLOW_CLUSTER_MYSQL`, else `target/cluster/mysql`.
    pub(crate) mysql: PathBuf,
    /// What is kept between runs: a data directory of MySQL that is copied for every tablet.
    pub(crate) kept: PathBuf,
    /// The running cluster, made anew by every run: `VTFLOW_CLUSTER_RUN`, else `target/cluster/run`.
    pub(crate) run: PathBuf,
}

/// Vitess's programs that are run.
const VITESS: [&str; 5] = ["mysqlctl", "vtctld", "vtctldclient", "vtgate", "vttablet"];

impl Settings {
    /// From the environment.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("tests/cluster is in the project")?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |given| root.join(given));
        let place = |variable: &str, default: &str| {
            let path = env::var_os(variable).map_or_else(|| target.join(default), PathBuf::from);
            std::path::absolute(path)
        };
        Ok(Self {
            vitess: place("VTFLOW_CLUSTER_VITESS", "clients/v24")?,
            vtflow: place("VTFLOW_CLUSTER_VTFLOW", "debug/vtflow")?,
            mysql: place("VTFLOW_CLUSTER_MYSQL", "cluster/mysql")?,
            kept: target.join("cluster"),
            run: place("VTFLOW_CLUSTER_RUN", "cluster/run")?,
        })
    }

    /// One of Vitess's programs.
    pub(crate) fn vitess(&self, program: &str) -> PathBuf {
        self.vitess.join(program)
    }

    /// The same, when everything is there.
    ///
    /// # Errors
    ///
    /// All that is missing, a line each, and how it is made.
    pub(crate) fn checked(self) -> anyhow::Result<Self> {
        let mut missing = Vec::new();
        let absent: Vec<&str> = VITESS.into_iter().filter(|program| !self.vitess(program).is_file()).collect();
        if !absent.is_empty() {
            missing.push(format!("{}: {} (make cluster builds them)", self.vitess.display(), absent.join(", ")));
        }
        if !self.vtflow.is_file() {
            missing.push(format!("{} (cargo build --bin vtflow)", self.vtflow.display()));
        }
        if !self.mysql.join("done").is_file() {
            missing.push(format!("{} (tests/cluster/mysql-root {})", self.mysql.display(), self.mysql.display()));
        }
        for (program, package) in [("etcd", "etcd-server"), ("mariadb", "mariadb-client-core"), ("setpriv", "util-linux")] {
            if std::process::Command::new(program).arg("--version").output().is_err() {
                missing.push(format!("{program} (Debian's package {package})"));
            }
        }
        if !missing.is_empty() {
            bail!("missing:\n  {}", missing.join("\n  "));
        }
        // The longest path of a socket that Linux takes is 107 bytes.
        let socket = self.run.join("vt_0000000000/mysql.sock");
        if socket.as_os_str().len() > 107 {
            bail!("{} is too long for a socket: set VTFLOW_CLUSTER_RUN to a shorter folder", socket.display());
        }
        let reached = wrapped(RunAs::Nobody, false, Path::new("test")).arg("-x").arg(self.vitess("vttablet")).status();
        if !reached.is_ok_and(|status| status.success()) {
            bail!(
                "{} cannot be run by the user nobody, and Vitess's servers refuse root: the folders above must be readable",
                self.vitess.display()
            );
        }
        Ok(self)
    }
}
