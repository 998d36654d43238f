//! An etcd for one run, and a recorded topology in it as Vitess lays it out.

use std::process::Command;

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use tempfile::TempDir;
use vtflow_planner::topo::record::CellRecord;

use crate::{
    http,
    process::{Process, free_port},
};

/// Where Debian puts servers, which is not in everybody's path.
const PATHS: &[&str] = &["etcd", "/usr/sbin/etcd"];

/// A running etcd with nothing in it. Dropping it ends it.
#[derive(Debug)]
pub struct Etcd {
    address: String,
    _process: Process,
    _dir: TempDir,
}

impl Etcd {
    /// Starts one, in a directory of its own.
    ///
    /// # Errors
    ///
    /// There is no etcd, or it does not start.
    pub fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let program = PATHS.iter().find(|path| Command::new(path).arg("--version").output().is_ok());
        let program = program.context("no etcd is installed (Debian's package etcd-server)")?;
        let [client, peer] = [free_port()?, free_port()?].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = Command::new(program);
        command
            .arg("--data-dir")
            .arg(dir.path())
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")]);
        let mut process = Process::start("etcd", command)?;
        let address = client.trim_start_matches("http://").to_owned();
        process.wait_until("it answers", |_| {
            let (status, health) = http::send(&address, "GET", "/health", "").ok()?;
            (status == 200 && health.contains("true")).then_some(())
        })?;
        Ok(Self { address, _process: process, _dir: dir })
    }

    /// Its address, `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Writes a topology's records below a root: the global ones into `ROOT/global`, each cell's into `ROOT/CELL`, and the records of
    /// the cells lead there.
    ///
    /// # Errors
    ///
    /// etcd refuses.
    pub fn put(&self, root: &str, topo: &[CellRecord]) -> anyhow::Result<()> {
        self.put_at(root, topo, &self.address)
    }

    /// The same for an etcd that clients reach by another address: the records of the cells lead to that one.
    ///
    /// # Errors
    ///
    /// etcd refuses.
    pub fn put_at(&self, root: &str, topo: &[CellRecord], address: &str) -> anyhow::Result<()> {
        for record in topo {
            let cell = record.path.strip_prefix("cells/").and_then(|path| path.strip_suffix("/CellInfo"));
            let value = match cell {
                Some(cell) if record.cell == "global" => cell_info(address, &format!("{root}/{cell}")),
                _ => record.value.clone(),
            };
            let key = format!("{root}/{}/{}", record.cell, record.path);
            let body = json!({ "key": BASE64_STANDARD.encode(&key), "value": BASE64_STANDARD.encode(value) });
            let (status, said) = http::send(&self.address, "POST", "/v3/kv/put", &body.to_string())?;
            if status != 200 {
                bail!("etcd refuses {key}: {status} {said}");
            }
        }
        Ok(())
    }
}

/// A `topodata.CellInfo`: field 1 is the server's address, field 2 the root.
fn cell_info(address: &str, root: &str) -> Vec<u8> {
    let field = |tag: u8, text: &str| [&[tag, u8::try_from(text.len()).unwrap_or(u8::MAX)], text.as_bytes()].concat();
    [field(0x0a, address), field(0x12, root)].concat()
}
