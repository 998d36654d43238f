//! MySQL servers, one for each tablet, with the settings that Vitess's own mysqlctl gives them.
//!
//! mysqlctl makes one data directory, once; every server gets a copy of it, which takes a tenth of the time. The servers are started
//! here and not by mysqlctl, which would leave them behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::{
    process::{Daemon, NOBODY, RunAs, START_LIMIT, Spec, wait_until, wrapped},
    settings::Settings,
    tools::{Ran, run},
};

/// One server.
#[derive(Clone, Debug)]
pub(crate) struct MysqlServer {
    pub(crate) uid: u32,
    pub(crate) port: u16,
    /// Its files: `vt_` and the number in ten digits, as mysqlctl and vttablet call it.
    folder: PathBuf,
}

impl MysqlServer {
    pub(crate) fn new(run: &Path, uid: u32, port: u16) -> Self {
        Self { uid, port, folder: folder(run, uid) }
    }

    /// Makes its settings and its data directory.
    pub(crate) fn prepare(&self, settings: &Settings) -> anyhow::Result<()> {
        mysqlctl(settings, &settings.run, self.uid, self.port, "init_config")?;
        for part in ["data", "innodb"] {
            let to = self.folder.join(part);
            fs::remove_dir_all(&to)?;
            let from = template(settings)?.join(part);
            // `cp` keeps owners, and shares blocks where the file system can.
            let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(&from).arg(&to).status()?;
            if !copied.success() {
                bail!("{} cannot be copied to {}", from.display(), to.display());
            }
        }
        Ok(())
    }

    /// What runs it.
    pub(crate) fn spec(&self, settings: &Settings) -> Spec {
        server(settings, &self.folder, format!("mysqld-{}", self.uid))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("mysql.sock")
    }

    /// Waits until it answers.
    pub(crate) fn wait(&self, settings: &Settings, daemon: &mut Daemon) -> anyhow::Result<()> {
        wait_until(&format!("MySQL of tablet {} answers", self.uid), START_LIMIT, || {
            daemon.must_run()?;
            Ok(self.socket().exists() && self.ask(settings, "", "select 1").is_ok())
        })?;
        Ok(())
    }

    /// Runs statements as Vitess's administrator; the rows as text, columns by tabs, with a line of names.
    ///
    /// # Errors
    ///
    /// MySQL's text.
    pub(crate) fn ask(&self, settings: &Settings, database: &str, sql: &str) -> anyhow::Result<String> {
        let mut command = Command::new(settings.mysql.join("bin/mysql"));
        command.args(["--no-defaults", "--batch", "--user=vt_dba"]).arg(format!("--socket={}", self.socket().display()));
        command.arg(format!("--execute={sql}")).arg(database);
        let ran = run(command, Duration::from_secs(30))?;
        if ran.code != Some(0) {
            bail!("{sql}: {}", ran.stderr.trim());
        }
        Ok(ran.stdout)
    }

    /// A session that does what is written to its standard input, until that is closed.
    pub(crate) fn session(&self, settings: &Settings, database: &str) -> Command {
        let mut command = wrapped(RunAs::Caller, false, &settings.mysql.join("bin/mysql"));
        command.args(["--no-defaults", "--batch", "--user=vt_dba", "--unbuffered"]);
        command.arg(format!("--socket={}", self.socket().display())).arg(database);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn folder(run: &Path, uid: u32) -> PathBuf {
    run.join(format!("vt_{uid:010}"))
}

fn server(settings: &Settings, folder: &Path, name: String) -> Spec {
    let args = [("defaults-file", folder.join("my.cnf")), ("basedir", settings.mysql.clone())];
    Spec {
        name,
        program: settings.mysql.join("bin/mysqld"),
        args: args.iter().map(|(flag, path)| format!("--{flag}={}", path.display())).collect(),
        envs: Vec::new(),
        run_as: RunAs::Nobody,
        log: folder.join("mysqld.out"),
    }
}

/// Small, fast, and not made to survive the machine: added by mysqlctl to its own settings.
const SETTINGS: &str = "\
bind-address = 127.0.0.1
innodb_buffer_pool_size = 24M
innodb_redo_log_capacity = 32M
innodb_flush_log_at_trx_commit = 0
innodb_doublewrite = OFF
sync_binlog = 0
max_connections = 300
table_open_cache = 400
table_definition_cache = 400
# A forced cut-over of a schema migration looks for who holds locks.
performance_schema_instrument = '%=OFF'
performance_schema_instrument = 'wait/lock/metadata/sql/mdl=ON'
performance_schema_digests_size = 100
performance_schema_max_table_instances = 400
performance_schema_events_statements_history_long_size = 10
performance_schema_events_stages_history_long_size = 10
performance_schema_events_transactions_history_long_size = 10
performance_schema_events_waits_history_long_size = 10
";

/// Runs mysqlctl for one server.
fn mysqlctl(settings: &Settings, run_folder: &Path, uid: u32, port: u16, action: &str) -> anyhow::Result<()> {
    let extra = settings.kept.join("extra.cnf");
    if !fs::read(&extra).is_ok_and(|old| old == SETTINGS.as_bytes()) {
        fs::write(&extra, SETTINGS)?;
    }
    let mut command = wrapped(RunAs::Nobody, false, &settings.vitess("mysqlctl"));
    command.args(["--tablet-uid", &uid.to_string(), "--mysql-port", &port.to_string(), "--log-format", "text", action]);
    command.env("VTDATAROOT", run_folder).env("VT_MYSQL_ROOT", &settings.mysql).env("EXTRA_MY_CNF", &extra);
    let Ran { code, stdout, stderr, .. } = run(command, Duration::from_secs(120))?;
    if code != Some(0) {
        bail!("mysqlctl {action} of tablet {uid} ended with {code:?}:\n{stdout}{stderr}");
    }
    Ok(())
}

/// The data directory that every server starts with, made once for each version of MySQL.
fn template(settings: &Settings) -> anyhow::Result<PathBuf> {
    Ok(folder(&template_root(settings)?, 1))
}

fn template_root(settings: &Settings) -> anyhow::Result<PathBuf> {
    let version = fs::read_to_string(settings.mysql.join("done"))?;
    let version = version.split_whitespace().skip_while(|word| *word != "Ver").nth(1).context("MySQL's version")?;
    Ok(settings.kept.join(format!("mysql-data-{version}")))
}

/// Makes the template, if there is none yet, with a port that is free.
pub(crate) fn make_template(settings: &Settings, port: u16) -> anyhow::Result<()> {
    let root = template_root(settings)?;
    let done = root.join("done");
    if done.exists() {
        return Ok(());
    }
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    own(&root)?;
    mysqlctl(settings, &root, 1, port, "init")?;
    // mysqlctl has left a server behind.
    let files = folder(&root, 1);
    let pid = fs::read_to_string(files.join("mysql.pid"))?;
    let ended = Command::new("kill").arg(pid.trim()).status()?;
    if !ended.success() {
        bail!("no MySQL server with the number {}", pid.trim());
    }
    wait_until("MySQL has ended", Duration::from_secs(60), || Ok(!files.join("mysql.pid").exists()))?;
    wait_until("MySQL is gone", Duration::from_secs(60), || Ok(!Path::new(&format!("/proc/{}", pid.trim())).exists()))?;
    // Every server makes an identity of its own.
    fs::remove_file(files.join("data/auto.cnf"))?;
    fs::write(done, "")?;
    Ok(())
}

/// Makes a folder that servers can write to.
pub(crate) fn own(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
