//! Certificates for a test, made by the openssl command: an authority, a server and a client under it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

pub(crate) struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// The server's certificate is for the address 127.0.0.1 and the name `tablet.test`.
    pub(crate) fn create() -> Self {
        let directory = TempDir::new().unwrap();
        let at = directory.path();
        let authority = ["-x509", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem", "-addext"];
        openssl(at, &[&["req"], NEW_KEY, &authority, &["basicConstraints=critical,CA:TRUE"]].concat());
        for (name, alternatives) in [("server", "IP:127.0.0.1,DNS:tablet.test"), ("client", "DNS:client.test")] {
            let (key, request, certificate, extensions) =
                (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"), format!("{name}.ext"));
            let subject = format!("/CN={name}");
            openssl(at, &[&["req"], NEW_KEY, &["-subj", &subject, "-keyout", &key, "-out", &request]].concat());
            fs::write(at.join(&extensions), format!("subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\n")).unwrap();
            let signed_by = ["x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
            openssl(at, &[&signed_by[..], &["-in", &request, "-out", &certificate, "-extfile", &extensions]].concat());
        }
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

const NEW_KEY: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn openssl(directory: &Path, arguments: &[&str]) {
    let done = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("these tests need the openssl command");
    assert!(done.success(), "openssl {arguments:?}");
}
