//! Who may call: nobody asked, a name and a password, or a certificate's subject; and the server's own TLS files.
//!
//! Codes and texts are those that clients of vtctld know. Source: `go/vt/servenv/grpc_server_auth_static.go`,
//! `grpc_server_auth_mtls.go`, `go/vt/servenv/grpc_server.go`.

use std::{fs, path::PathBuf};

use http::{Extensions, HeaderMap, HeaderValue};
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};
use tonic::transport::{
    Certificate, Identity, ServerTlsConfig,
    server::{TcpConnectInfo, TlsConnectInfo},
};
use x509_cert::{
    der::{Decode, asn1::ObjectIdentifier},
    name::Name,
};

use super::message::{Refusal, code};
use crate::tls::OptionError;

/// `--grpc-auth-mode` and what goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuthOptions {
    /// Everybody who reaches the port may call.
    #[default]
    None,
    /// `static`: `--grpc-auth-static-password-file`, a JSON array of `{"Username": "…", "Password": "…"}`.
    Static(PathBuf),
    /// `mtls`: `--grpc-auth-mtls-allowed-substrings`, with colons between.
    Mtls(String),
}

/// PEM files of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// `--grpc-cert`: the server's certificate chain. Needs `key`.
    pub cert: Option<PathBuf>,
    /// `--grpc-key`: the private key of `cert`.
    pub key: Option<PathBuf>,
    /// `--grpc-ca`: who signs clients' certificates. With it, every client must have one.
    pub ca: Option<PathBuf>,
}

impl ServerTls {
    /// The settings; `None` without files: plaintext.
    ///
    /// # Errors
    /// A file that cannot be read, a certificate without a key, clients' certificates without a server's.
    pub(super) fn config(&self) -> Result<Option<ServerTlsConfig>, OptionError> {
        let read = |path: &PathBuf| fs::read(path).map_err(|cause| OptionError::File { path: path.clone(), cause });
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Identity::from_pem(read(cert)?, read(key)?),
            (None, None) if self.ca.is_none() => return Ok(None),
            (None, None) => {
                let cause = "--grpc-ca asks for clients' certificates, which needs --grpc-cert and --grpc-key too".to_owned();
                return Err(OptionError::Tls { cause });
            }
            (Some(_), None) => return Err(OptionError::Tls { cause: "--grpc-cert needs --grpc-key".to_owned() }),
            (None, Some(_)) => return Err(OptionError::Tls { cause: "--grpc-key needs --grpc-cert".to_owned() }),
        };
        let mut config = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_TIMEOUT);
        if let Some(ca) = &self.ca {
            config = config.client_ca_root(Certificate::from_pem(read(ca)?));
        }
        Ok(Some(config))
    }
}

/// A connection that does not finish its handshake must not be kept.
const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Who may call.
pub(super) enum Auth {
    None,
    Static(Vec<Caller>),
    Mtls(Vec<String>),
}

/// One entry of the password file.
#[derive(Deserialize)]
pub(super) struct Caller {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Password")]
    password: String,
}

impl Auth {
    /// Reads the file that the options name.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub(super) fn new(options: &AuthOptions) -> Result<Self, OptionError> {
        Ok(match options {
            AuthOptions::None => Self::None,
            AuthOptions::Static(path) => {
                let text = fs::read(path).map_err(|cause| OptionError::File { path: path.clone(), cause })?;
                let callers = serde_json::from_slice(&text);
                Self::Static(callers.map_err(|cause| OptionError::Passwords { path: path.clone(), cause })?)
            }
            // An empty part would be in every subject.
            AuthOptions::Mtls(list) => Self::Mtls(list.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()),
        })
    }

    /// Lets a call in, or says why not.
    pub(super) fn check(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Refusal> {
        match self {
            Self::None => Ok(()),
            Self::Static(callers) => check_password(callers, headers),
            Self::Mtls(allowed) => {
                let Some(connection) = extensions.get::<TlsConnectInfo<TcpConnectInfo>>() else {
                    return Err(Refusal::new(code::UNAUTHENTICATED, "not connected via TLS"));
                };
                let certificates = connection.peer_certs();
                let mut subjects = certificates.iter().flat_map(|chain| chain.iter()).filter_map(|der| subject(der));
                if subjects.any(|subject| allowed.iter().any(|part| subject.contains(part))) {
                    return Ok(());
                }
                Err(Refusal::new(code::UNAUTHENTICATED, "client certificate not authorized"))
            }
        }
    }
}

/// Who calls, for the log: the name that a password or a certificate proves, and the address. Empty where there is none.
pub(super) fn caller(auth: &Auth, headers: &HeaderMap, extensions: &Extensions) -> (String, String) {
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    let address = match tls {
        Some(tls) => tls.get_ref().remote_addr(),
        None => extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr),
    };
    let from = address.map_or_else(String::new, |address| address.to_string());
    let certificates = tls.and_then(TlsConnectInfo::peer_certs);
    let name = match auth {
        Auth::Static(_) => headers.get("username").map(shown),
        Auth::None | Auth::Mtls(_) => certificates.and_then(|chain| chain.first().and_then(|der| subject(der))),
    };
    (name.unwrap_or_else(|| from.clone()), from)
}

/// Compares with every caller's name and password, whichever fits, so that the time tells nothing but their lengths.
fn check_password(callers: &[Caller], headers: &HeaderMap) -> Result<(), Refusal> {
    let (Some(username), Some(password)) = (headers.get("username"), headers.get("password")) else {
        return Err(Refusal::new(code::UNAUTHENTICATED, "username and password must be provided"));
    };
    let matches = callers.iter().fold(Choice::from(0), |found, caller| {
        let is_name = caller.username.as_bytes().ct_eq(username.as_bytes());
        let is_password = caller.password.as_bytes().ct_eq(password.as_bytes());
        found | (is_name & is_password)
    });
    if bool::from(matches) {
        return Ok(());
    }
    let username = shown(username);
    Err(Refusal::new(code::PERMISSION_DENIED, format!("auth failure: caller {username:?} provided invalid credentials")))
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// A certificate's subject as Go prints it: `CN=client,OU=databases,O=Example,C=DE`. Source: `crypto/x509/pkix:Name.String`.
fn subject(der: &[u8]) -> Option<String> {
    x509_cert::Certificate::from_der(der).ok().map(|certificate| distinguished_name(certificate.tbs_certificate().subject()))
}

fn distinguished_name(name: &Name) -> String {
    let attributes: Vec<(ObjectIdentifier, String)> = name
        .iter()
        .map(|attribute| {
            // `CN=client`, special characters escaped.
            let text = attribute.to_string();
            (attribute.oid, text.split_once('=').map_or(text.clone(), |(_, value)| value.to_owned()))
        })
        .collect();
    // Go sorts the attributes into fields, which come in this order; several values of one are joined by a plus.
    let known = KINDS.iter().filter_map(|(kind, oid)| {
        let values: Vec<String> =
            attributes.iter().filter(|(of, _)| of.to_string() == *oid).map(|(_, value)| format!("{kind}={value}")).collect();
        (!values.is_empty()).then(|| values.join("+"))
    });
    let others = attributes
        .iter()
        .filter(|(of, _)| KINDS.iter().all(|(_, oid)| of.to_string() != *oid))
        .map(|(oid, value)| format!("{oid}={value}"));
    others.chain(known).collect::<Vec<_>>().join(",")
}

const KINDS: [(&str, &str); 9] = [
    ("SERIALNUMBER", "2.5.4.5"),
    ("CN", "2.5.4.3"),
    ("POSTALCODE", "2.5.4.17"),
    ("STREET", "2.5.4.9"),
    ("ST", "2.5.4.8"),
    ("L", "2.5.4.7"),
    ("OU", "2.5.4.11"),
    ("O", "2.5.4.10"),
    ("C", "2.5.4.6"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn callers() -> Vec<Caller> {
        serde_json::from_str(r#"[{"Username": "a", "Password": "one"}, {"Username": "b", "Password": "two"}]"#).unwrap()
    }

    #[test]
    fn name_and_password_must_be_of_one_caller() {
        let denied = |name: &str| Refusal::new(7, format!("auth failure: caller \"{name}\" provided invalid credentials"));
        let missing = || Refusal::new(16, "username and password must be provided");
        for (username, password, want) in [
            (Some("a"), Some("one"), Ok(())),
            (Some("b"), Some("two"), Ok(())),
            (Some("a"), Some("two"), Err(denied("a"))),
            (Some("a"), Some("on"), Err(denied("a"))),
            (Some(""), Some(""), Err(denied(""))),
            (Some("c"), Some("one"), Err(denied("c"))),
            (Some("a"), None, Err(missing())),
            (None, Some("one"), Err(missing())),
            (None, None, Err(missing())),
        ] {
            let mut headers = HeaderMap::new();
            for (key, value) in [("username", username), ("password", password)] {
                if let Some(value) = value {
                    headers.insert(key, value.parse().unwrap());
                }
            }
            assert_eq!(Auth::Static(callers()).check(&headers, &Extensions::new()), want, "{username:?} {password:?}");
        }
    }

    #[test]
    fn certificates_are_asked_for_over_tls_only() {
        let auth = Auth::new(&AuthOptions::Mtls("CN=a::CN=b".to_owned())).unwrap();
        assert!(matches!(&auth, Auth::Mtls(parts) if parts == &["CN=a", "CN=b"]));
        let refusal = auth.check(&HeaderMap::new(), &Extensions::new()).unwrap_err();
        assert_eq!(refusal, Refusal::new(16, "not connected via TLS"));
    }

    #[test]
    fn subjects_are_printed_as_go_prints_them() {
        use std::str::FromStr;
        let name = Name::from_str("CN=client 1,OU=b,OU=a,O=Example\\, Inc,C=DE").unwrap();
        let text = distinguished_name(&name);
        assert!(text.starts_with("CN=client 1,OU="), "{text}");
        assert!(text.ends_with(",O=Example\\, Inc,C=DE"), "{text}");
        assert!(text.contains("OU=a+OU=b") || text.contains("OU=b+OU=a"), "{text}");
    }
}
