//! The cluster: two etcds (the global topology with cell zone1; cell zone2), vtctld, tablets each with its MySQL, vtgate, and the
//! vtflow that is looked at. Everything listens on loopback addresses only.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    mysql::{self, MysqlServer},
    ports::Ports,
    process::{self, Daemon, RunAs, START_LIMIT, Spec, wait_until},
    relay::{Network, Relay},
    settings::Settings,
    tools::{Ran, run},
};

/// One tablet, as planned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) cell: &'static str,
    pub(crate) uid: u32,
    pub(crate) keyspace: &'static str,
    pub(crate) shard: &'static str,
    /// Whether it becomes its shard's primary.
    pub(crate) is_primary: bool,
    /// Whether others reach it by relays, so that its network can be cut.
    pub(crate) is_relayed: bool,
}

/// What is there at the beginning.
pub(crate) const PLACES: [Place; 4] = [
    Place { cell: "zone1", uid: 100, keyspace: "commerce", shard: "0", is_primary: true, is_relayed: false },
    Place { cell: "zone2", uid: 101, keyspace: "commerce", shard: "0", is_primary: false, is_relayed: false },
    Place { cell: "zone1", uid: 200, keyspace: "customer", shard: "-80", is_primary: true, is_relayed: false },
    Place { cell: "zone2", uid: 300, keyspace: "customer", shard: "80-", is_primary: true, is_relayed: true },
];

/// What a reshard of `80-` adds.
pub(crate) const NEW_SHARDS: [Place; 2] = [
    Place { cell: "zone1", uid: 400, keyspace: "customer", shard: "80-c0", is_primary: true, is_relayed: false },
    Place { cell: "zone2", uid: 500, keyspace: "customer", shard: "c0-", is_primary: true, is_relayed: false },
];

impl Place {
    /// As Vitess writes it.
    pub(crate) fn alias(&self) -> String {
        format!("{}-{:010}", self.cell, self.uid)
    }
}

/// A tablet that runs.
#[derive(Debug)]
pub(crate) struct Tablet {
    pub(crate) place: Place,
    pub(crate) mysql: MysqlServer,
    relays: Vec<Relay>,
}

impl Tablet {
    /// The daemon's name.
    pub(crate) fn vttablet(&self) -> String {
        format!("vttablet-{}", self.place.uid)
    }

    /// Cuts what others send to it, or lets it through again.
    pub(crate) fn network(&self, network: Network) {
        self.relays.iter().for_each(|relay| relay.set(network));
    }
}

/// The cluster and everybody in it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) settings: Settings,
    ports: Ports,
    daemons: BTreeMap<String, Daemon>,
    pub(crate) tablets: Vec<Tablet>,
    /// Between vtflow and the global topology; `None` in a cluster that stays, which outlives the relay.
    pub(crate) topo_relay: Option<Relay>,
    etcd: BTreeMap<&'static str, u16>,
    vtctld: u16,
    vtgate: u16,
    vtflow: BTreeMap<&'static str, u16>,
    stays: bool,
}

/// Where relays to a tablet listen, and what its record says.
const RELAYED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// How long a client of a server waits for a command.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);

/// A server of vtflow that answers what it can, and changes things.
pub(crate) const VTFLOW: &str = "vtflow";
/// One that passes on to vtctld what it cannot.
pub(crate) const VTFLOW_FORWARDING: &str = "vtflow-forwarding";

impl Cluster {
    /// Starts everything but what a reshard adds. One that `stays` goes on when this process ends.
    pub(crate) fn start(settings: Settings, stays: bool) -> anyhow::Result<Self> {
        end(&settings)?;
        if settings.run.exists() {
            fs::remove_dir_all(&settings.run).with_context(|| settings.run.display().to_string())?;
        }
        mysql::own(&settings.run)?;
        mysql::own(&settings.run.join("logs"))?;
        let mut cluster = Self {
            settings,
            ports: Ports::new(),
            daemons: BTreeMap::new(),
            tablets: Vec::new(),
            topo_relay: None,
            etcd: BTreeMap::new(),
            vtctld: 0,
            vtgate: 0,
            vtflow: BTreeMap::new(),
            stays,
        };
        let port = cluster.ports.free()?;
        mysql::make_template(&cluster.settings, port)?;
        cluster.start_topology()?;
        for keyspace in ["commerce", "customer"] {
            cluster.vtctldclient(["CreateKeyspace", "--durability-policy", "none", keyspace])?.must_succeed()?;
        }
        cluster.add_tablets(&PLACES)?;
        cluster.start_vtgate()?;
        for (name, more) in [(VTFLOW, None), (VTFLOW_FORWARDING, Some(format!("127.0.0.1:{}", cluster.vtctld)))] {
            cluster.start_vtflow(name, more)?;
        }
        Ok(cluster)
    }

    fn spec<I: IntoIterator<Item = String>>(&self, name: &str, program: PathBuf, run_as: RunAs, args: I) -> Spec {
        let log = self.settings.run.join("logs").join(format!("{name}.log"));
        let envs = [("VTDATAROOT", &self.settings.run), ("VT_MYSQL_ROOT", &self.settings.mysql)];
        let envs = envs.map(|(key, path)| (key.to_owned(), path.display().to_string())).to_vec();
        Spec { name: name.to_owned(), program, args: args.into_iter().collect(), envs, run_as, log }
    }

    fn launch(&mut self, spec: Spec) -> anyhow::Result<()> {
        let name = spec.name.clone();
        let daemon = Daemon::start(spec, self.stays)?;
        process::register(&registry(&self.settings), &daemon)?;
        self.daemons.insert(name, daemon);
        Ok(())
    }

    /// One that runs, or did.
    pub(crate) fn daemon(&mut self, name: &str) -> anyhow::Result<&mut Daemon> {
        self.daemons.get_mut(name).with_context(|| format!("there is no {name}"))
    }

    /// Starts one again that was ended, with the same words.
    pub(crate) fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        let registry = registry(&self.settings);
        let daemon = self.daemon(name)?;
        daemon.restart()?;
        process::register(&registry, daemon)
    }

    /// The same of vtctld, until it listens.
    pub(crate) fn restart_vtctld(&mut self) -> anyhow::Result<()> {
        self.restart("vtctld")?;
        self.listens("vtctld", self.vtctld)
    }

    /// Waits until one of them listens.
    fn listens(&mut self, name: &str, port: u16) -> anyhow::Result<()> {
        let daemon = self.daemon(name)?;
        wait_until(&format!("{name} listens"), START_LIMIT, || {
            daemon.must_run()?;
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        })?;
        Ok(())
    }

    fn start_topology(&mut self) -> anyhow::Result<()> {
        for name in ["etcd-global", "etcd-zone2"] {
            let [client, peer] = [self.ports.free()?, self.ports.free()?];
            let [client_url, peer_url] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
            let folder = self.settings.run.join(name);
            mysql::own(&folder)?;
            let flags = [
                ("name", name.to_owned()),
                ("data-dir", folder.join("data").display().to_string()),
                ("listen-client-urls", client_url.clone()),
                ("advertise-client-urls", client_url),
                ("listen-peer-urls", peer_url.clone()),
                ("initial-advertise-peer-urls", peer_url.clone()),
                ("initial-cluster", format!("{name}={peer_url}")),
            ];
            self.launch(self.spec(
                name,
                PathBuf::from("etcd"),
                RunAs::Nobody,
                flags.map(|(flag, value)| format!("--{flag}={value}")),
            ))?;
            self.etcd.insert(name, client);
        }
        for (name, port) in self.etcd.clone() {
            self.listens(name, port)?;
        }
        if !self.stays {
            let global = SocketAddr::from((Ipv4Addr::LOCALHOST, self.etcd_port("etcd-global")?));
            self.topo_relay = Some(Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), global)?);
        }
        let [http, grpc] = [self.ports.free()?, self.ports.free()?];
        let mut args = self.topo_flags(self.etcd_port("etcd-global")?);
        args.extend(Self::server_flags(http, grpc, "grpc-vtctl,grpc-vtctld"));
        self.launch(self.spec("vtctld", self.settings.vitess("vtctld"), RunAs::Nobody, args))?;
        self.vtctld = grpc;
        self.listens("vtctld", grpc)?;
        for (cell, etcd) in [("zone1", "etcd-global"), ("zone2", "etcd-zone2")] {
            let address = format!("127.0.0.1:{}", self.etcd_port(etcd)?);
            let root = format!("/vitess/{cell}");
            self.vtctldclient(["AddCellInfo", "--root", &root, "--server-address", &address, cell])?.must_succeed()?;
        }
        Ok(())
    }

    fn etcd_port(&self, name: &str) -> anyhow::Result<u16> {
        self.etcd.get(name).copied().with_context(|| format!("there is no {name}"))
    }

    fn topo_flags(&self, port: u16) -> Vec<String> {
        let _ = self;
        let address = format!("127.0.0.1:{port}");
        ["--topo-implementation", "etcd2", "--topo-global-server-address", &address, "--topo-global-root", "/vitess/global"]
            .map(str::to_owned)
            .to_vec()
    }

    fn server_flags(http: u16, grpc: u16, services: &str) -> Vec<String> {
        let [http, grpc] = [http, grpc].map(|port| port.to_string());
        [
            ["--port", &http],
            ["--grpc-port", &grpc],
            ["--bind-address", "127.0.0.1"],
            ["--grpc-bind-address", "127.0.0.1"],
            ["--service-map", services],
            ["--log-format", "text"],
            ["--config-file-not-found-handling", "ignore"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }

    /// Starts tablets, makes primaries of those that are planned as such, and waits until they serve.
    pub(crate) fn add_tablets(&mut self, places: &[Place]) -> anyhow::Result<()> {
        let from = self.tablets.len();
        for place in places {
            let port = self.ports.free()?;
            self.tablets.push(Tablet {
                place: *place,
                mysql: MysqlServer::new(&self.settings.run, place.uid, port),
                relays: Vec::new(),
            });
        }
        // Copies of files, two at a time; processes are started by this thread alone.
        let settings = &self.settings;
        let prepared: Vec<anyhow::Result<()>> = thread::scope(|scope| {
            let workers = self.tablets.iter().skip(from).map(|tablet| scope.spawn(move || tablet.mysql.prepare(settings)));
            let workers: Vec<_> = workers.collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a thread has ended"))).collect()
        });
        prepared.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
        let servers: Vec<MysqlServer> = self.tablets.iter().skip(from).map(|tablet| tablet.mysql.clone()).collect();
        for server in &servers {
            self.launch(server.spec(&self.settings))?;
        }
        let settings = self.settings.clone();
        for server in &servers {
            server.wait(&settings, self.daemon(&format!("mysqld-{}", server.uid))?)?;
        }
        let mut listening = Vec::new();
        for index in from..self.tablets.len() {
            listening.push(self.start_vttablet(index)?);
        }
        for (name, port) in listening {
            self.listens(&name, port)?;
        }
        for place in places.iter().filter(|place| place.is_primary) {
            let shard = format!("{}/{}", place.keyspace, place.shard);
            let alias = place.alias();
            let words = ["PlannedReparentShard", "--new-primary", &alias, &shard];
            wait_until(&format!("{alias} is the primary of {shard}"), START_LIMIT, || {
                Ok(self.vtctldclient(words)?.code == Some(0))
            })?;
        }
        Ok(())
    }

    /// Ends the tablets of shards and takes the shards out of the topology.
    pub(crate) fn remove_shards(&mut self, places: &[Place]) -> anyhow::Result<()> {
        for place in places {
            for name in [format!("vttablet-{}", place.uid), format!("mysqld-{}", place.uid)] {
                self.daemon(&name)?.kill();
                self.daemons.remove(&name);
            }
            self.tablets.retain(|tablet| tablet.place.uid != place.uid);
            let shard = format!("{}/{}", place.keyspace, place.shard);
            self.vtctldclient(["DeleteShards", "--recursive", "--even-if-serving", "--force", &shard])?.must_succeed()?;
            fs::remove_dir_all(self.settings.run.join(format!("vt_{:010}", place.uid)))?;
        }
        // Tablets that come later number their streams from 1 on again. A vtctld would take the journals of these here for theirs, and would
        // wait for nothing.
        let keyspaces: Vec<&str> = places.iter().map(|place| place.keyspace).collect();
        for tablet in self.tablets.iter().filter(|tablet| keyspaces.contains(&tablet.place.keyspace) && tablet.place.is_primary) {
            tablet.mysql.ask(&self.settings, "_vt", "delete from resharding_journal")?;
        }
        Ok(())
    }

    fn start_vttablet(&mut self, index: usize) -> anyhow::Result<(String, u16)> {
        let [http, grpc] = [self.ports.free()?, self.ports.free()?];
        let tablet = self.tablets.get(index).context("a tablet")?;
        let (place, name) = (tablet.place, tablet.vttablet());
        // Relays end with this process.
        let is_relayed = place.is_relayed && !self.stays;
        let host = if is_relayed { RELAYED } else { Ipv4Addr::LOCALHOST };
        let mut args = self.topo_flags(self.etcd_port("etcd-global")?);
        args.extend(Self::server_flags(http, grpc, "grpc-queryservice,grpc-tabletmanager,grpc-updatestream"));
        let (alias, host_text) = (place.alias(), host.to_string());
        let flags = [
            ["--tablet-path", &alias],
            ["--tablet-hostname", &host_text],
            ["--init-keyspace", place.keyspace],
            ["--init-shard", place.shard],
            ["--init-tablet-type", "replica"],
            ["--health-check-interval", "1s"],
            ["--heartbeat-on-demand-duration", "5s"],
            ["--vreplication-retry-delay", "1s"],
            ["--migration-check-interval", "3s"],
            ["--shutdown-grace-period", "1s"],
        ];
        args.extend(flags.concat().into_iter().map(str::to_owned));
        if is_relayed {
            let ports = [http, grpc, tablet.mysql.port];
            let pass = |port| Relay::start(SocketAddr::from((host, port)), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            let relays = ports.into_iter().map(pass).collect::<anyhow::Result<Vec<Relay>>>()?;
            self.tablets.get_mut(index).context("a tablet")?.relays = relays;
        }
        self.launch(self.spec(&name, self.settings.vitess("vttablet"), RunAs::Nobody, args))?;
        Ok((name, grpc))
    }

    fn start_vtgate(&mut self) -> anyhow::Result<()> {
        let [http, grpc, mysql] = [self.ports.free()?, self.ports.free()?, self.ports.free()?];
        let mut args = self.topo_flags(self.etcd_port("etcd-global")?);
        args.extend(Self::server_flags(http, grpc, "grpc-vtgateservice"));
        let port = mysql.to_string();
        let flags = [
            ["--cell", "zone1"],
            ["--cells-to-watch", "zone1,zone2"],
            ["--tablet-types-to-wait", "PRIMARY"],
            ["--mysql-server-port", &port],
            ["--mysql-server-bind-address", "127.0.0.1"],
            ["--mysql-auth-server-impl", "none"],
            ["--tablet-refresh-interval", "2s"],
        ];
        args.extend(flags.concat().into_iter().map(str::to_owned));
        args.push("--enable-buffer".to_owned());
        self.launch(self.spec("vtgate", self.settings.vitess("vtgate"), RunAs::Nobody, args))?;
        self.vtgate = mysql;
        self.listens("vtgate", mysql)
    }

    fn start_vtflow(&mut self, name: &'static str, forward_to: Option<String>) -> anyhow::Result<()> {
        let grpc = self.ports.free()?;
        let mut args = vec!["serve".to_owned()];
        args.extend(self.vtflow_flags()?);
        let port = grpc.to_string();
        args.extend(["--grpc-port", &port, "--port", "none", "--bind-address", "127.0.0.1", "--allow-writes"].map(str::to_owned));
        args.extend(forward_to.into_iter().flat_map(|address| ["--forward-to".to_owned(), address]));
        self.launch(self.spec(name, self.settings.vtflow.clone(), RunAs::Caller, args))?;
        self.vtflow.insert(name, grpc);
        self.listens(name, grpc)
    }

    fn vtflow_flags(&self) -> anyhow::Result<Vec<String>> {
        let direct = self.etcd_port("etcd-global")?;
        Ok(self.topo_flags(self.topo_relay.as_ref().map_or(direct, |relay| relay.address.port())))
    }

    /// Runs vtctldclient against vtctld.
    pub(crate) fn vtctldclient<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Ran> {
        self.client_of(self.vtctld, words, COMMAND_LIMIT)
    }

    /// Runs vtctldclient against one of vtflow's servers.
    pub(crate) fn vtctldclient_of_vtflow<'a>(
        &self,
        server: &str,
        words: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Ran> {
        let port = self.vtflow.get(server).copied().with_context(|| format!("there is no {server}"))?;
        self.client_of(port, words, COMMAND_LIMIT)
    }

    fn client_of<'a>(&self, port: u16, words: impl IntoIterator<Item = &'a str>, limit: Duration) -> anyhow::Result<Ran> {
        run(self.client_command(port, words, limit), limit + Duration::from_secs(10))
    }

    fn client_command<'a>(&self, port: u16, words: impl IntoIterator<Item = &'a str>, limit: Duration) -> Command {
        let mut command = Command::new(self.settings.vitess("vtctldclient"));
        command.arg("--server").arg(format!("127.0.0.1:{port}"));
        command.args(["--action-timeout", &format!("{}s", limit.as_secs())]).args(words);
        command
    }

    /// vtctldclient against vtctld, to be run.
    pub(crate) fn vtctldclient_command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        self.client_command(self.vtctld, words, COMMAND_LIMIT)
    }

    /// Runs vtflow's command line.
    pub(crate) fn vtflow<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Ran> {
        run(self.vtflow_command(words)?, COMMAND_LIMIT)
    }

    /// vtflow's command line, to be run.
    pub(crate) fn vtflow_command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.settings.vtflow);
        command.args(self.vtflow_flags()?).args(words);
        Ok(command)
    }

    /// Runs vtflow's command line on a recorded cluster.
    pub(crate) fn vtflow_on_snapshot<'a>(&self, folder: &Path, words: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Ran> {
        let mut command = Command::new(&self.settings.vtflow);
        command.arg("--snapshot").arg(folder).args(words);
        run(command, COMMAND_LIMIT)
    }

    /// Runs statements through vtgate, as an application does.
    pub(crate) fn vtgate(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let ran = run(self.vtgate_client(database, &[&format!("--execute={sql}")]), COMMAND_LIMIT)?;
        Ok(ran.must_succeed()?.stdout)
    }

    /// A client of vtgate: what an application would be.
    pub(crate) fn vtgate_client(&self, database: &str, words: &[&str]) -> Command {
        // MySQL's own client of version 9 has no mysql_native_password any more, which vtgate asks for; MariaDB's has.
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "--batch", "--host=127.0.0.1", "--user=app"]).arg(format!("--port={}", self.vtgate));
        command.args(words).arg(database);
        command
    }

    /// The tablet with a number.
    pub(crate) fn tablet(&self, uid: u32) -> anyhow::Result<&Tablet> {
        self.tablets.iter().find(|tablet| tablet.place.uid == uid).with_context(|| format!("there is no tablet {uid}"))
    }

    /// Runs statements on a tablet's MySQL.
    pub(crate) fn mysql(&self, uid: u32, database: &str, sql: &str) -> anyhow::Result<String> {
        self.tablet(uid)?.mysql.ask(&self.settings, database, sql)
    }

    /// How to use it, for a person.
    pub(crate) fn directions(&self) -> anyhow::Result<String> {
        let flags = self.vtflow_flags()?.join(" ");
        let forwarding = self.vtflow.get(VTFLOW_FORWARDING).copied().unwrap_or_default();
        Ok(format!(
            "vtflow:        {} {flags} get workflows\n\
             vtctldclient:  {} --server 127.0.0.1:{} GetKeyspaces\n\
             through vtflow: the same with --server 127.0.0.1:{forwarding}\n\
             vtgate:        mariadb --no-defaults -h 127.0.0.1 -P {} -u app commerce\n\
             logs:          {}",
            self.settings.vtflow.display(),
            self.settings.vitess("vtctldclient").display(),
            self.vtctld,
            self.vtgate,
            self.settings.run.join("logs").display(),
        ))
    }

    /// MiB of memory that its processes hold, each page counted once.
    pub(crate) fn memory_mib(&self) -> u64 {
        let of = |daemon: &Daemon| {
            let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", daemon.pid())).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with("Pss:"));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or_default()
        };
        self.daemons.values().map(of).sum::<u64>() / 1024
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        for daemon in self.daemons.values_mut() {
            daemon.kill();
        }
        let _ = end(&self.settings);
        // Logs are kept.
        for entry in fs::read_dir(&self.settings.run).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("vt_") || name.to_string_lossy().starts_with("etcd-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn registry(settings: &Settings) -> PathBuf {
    settings.run.join("processes")
}

/// Ends a cluster that another process started; how many processes that were.
pub(crate) fn end(settings: &Settings) -> anyhow::Result<usize> {
    process::end_registered(&registry(settings))
}

/// How long something took, in seconds.
pub(crate) fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
