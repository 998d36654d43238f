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

    /// One more certificate under the authority, valid between two moments (`YYYYMMDDhhmmssZ`), with this subject.
    pub(crate) fn issue(&self, name: &str, subject: &str, alternatives: &str, valid: (&str, &str)) {
        let at = self.directory.path();
        let [key, request, certificate, extensions] = ["key", "csr", "pem", "ext"].map(|kind| format!("{name}.{kind}"));
        openssl(at, &[&["req"], NEW_KEY, &["-subj", subject, "-keyout", &key, "-out", &request]].concat());
        fs::write(at.join(&extensions), format!("subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\n")).unwrap();
        // Of the commands that sign, only `ca` takes both dates in every release, and it wants its books kept.
        let books = "[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n\
            unique_subject=no\n[p]\ncountryName=optional\norganizationName=optional\norganizationalUnitName=optional\ncommonName=supplied\n";
        fs::write(at.join("ca.cnf"), books).unwrap();
        fs::write(at.join("index.txt"), "").unwrap();
        let by = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"];
        let dates = ["-startdate", valid.0, "-enddate", valid.1];
        openssl(at, &[&by[..], &dates, &["-in", &request, "-out", &certificate, "-extfile", &extensions]].concat());
    }

    /// A certificate that nobody but its owner has signed.
    pub(crate) fn self_signed(&self, name: &str, subject: &str) {
        let [key, certificate] = ["key", "pem"].map(|kind| format!("{name}.{kind}"));
        let rest = ["-x509", "-days", "2", "-subj", subject, "-keyout", &key, "-out", &certificate];
        openssl(self.directory.path(), &[&["req"], NEW_KEY, &rest].concat());
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
