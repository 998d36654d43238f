//! A real etcd of one member on loopback ports, with its data in a temporary directory; gone when dropped.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub(crate) struct Etcd {
    server: Child,
    directory: TempDir,
    extra: Vec<String>,
    scheme: &'static str,
    client_port: u16,
    peer_port: u16,
}

impl Etcd {
    /// Starts one and waits until it serves.
    pub(crate) fn start() -> Self {
        Self::start_with("http", &[])
    }

    pub(crate) fn start_with(scheme: &'static str, extra: &[String]) -> Self {
        let directory = TempDir::new().unwrap();
        // Both ports are held at once, so that they differ.
        let (client, peer) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (client_port, peer_port) = (client.local_addr().unwrap().port(), peer.local_addr().unwrap().port());
        drop((client, peer));
        let server = spawn(&directory, scheme, client_port, peer_port, extra);
        let etcd = Self { server, directory, extra: extra.to_vec(), scheme, client_port, peer_port };
        etcd.wait();
        etcd
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.client_port
    }

    /// Ends the server; its data stay.
    pub(crate) fn stop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Starts it again on the same ports with the same data.
    pub(crate) fn restart(&mut self) {
        self.server = spawn(&self.directory, self.scheme, self.client_port, self.peer_port, &self.extra);
        self.wait();
    }

    /// Keeps it from running without closing anything: connections are accepted by the kernel, nobody answers.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
        // A busy machine takes its time to stop every thread.
        let tasks = format!("/proc/{}/task", self.server.id());
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat"))).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        let started = Instant::now();
        while !std::fs::read_dir(&tasks).unwrap().all(is_stopped) {
            assert!(started.elapsed() < Duration::from_secs(10), "etcd does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// Writes keys as they are, past everything that is under test.
    pub(crate) async fn put(&self, pairs: &[(&str, Vec<u8>)]) {
        let mut client = etcd_client::Client::connect([self.address()], None).await.unwrap();
        for (key, value) in pairs {
            let mut tries = 0;
            while let Err(error) = client.put(*key, value.clone(), None).await {
                tries += 1;
                assert!(tries < 50, "etcd does not take {key}: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Takes the lock of a directory past everything under test, as a vtctld does; the lease is what the lock is called.
    pub(crate) async fn lock_as_a_vtctld(&self, directory: &str) -> i64 {
        let mut client = etcd_client::Client::connect([self.address()], None).await.unwrap();
        let lease = client.lease_grant(60, None).await.unwrap().id();
        let content = "{\n  \"Action\": \"SwitchTraffic\",\n  \"HostName\": \"vtctld-7\"\n}";
        let options = etcd_client::PutOptions::new().with_lease(lease);
        client.put(format!("{directory}/locks/{lease}"), content, Some(options)).await.unwrap();
        lease
    }

    /// Takes a lease away, and the locks that it is of.
    pub(crate) async fn revoke(&self, lease: i64) {
        etcd_client::Client::connect([self.address()], None).await.unwrap().lease_revoke(lease).await.unwrap();
    }

    /// The leases of the locks of a directory.
    pub(crate) async fn locks(&self, directory: &str) -> Vec<i64> {
        let mut client = etcd_client::Client::connect([self.address()], None).await.unwrap();
        let options = etcd_client::GetOptions::new().with_prefix().with_keys_only();
        let found = client.get(format!("{directory}/locks/"), Some(options)).await.unwrap();
        found.kvs().iter().map(|pair| pair.key_str().unwrap().rsplit('/').next().unwrap().parse().unwrap()).collect()
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.server.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    fn wait(&self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.client_port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "etcd does not listen on port {}", self.client_port);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn spawn(directory: &TempDir, scheme: &str, client_port: u16, peer_port: u16, extra: &[String]) -> Child {
    let (client, peer) = (format!("{scheme}://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    Command::new("etcd")
        .arg("--data-dir")
        .arg(directory.path())
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(extra)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need etcd in the PATH: apt-get install etcd-server")
}
