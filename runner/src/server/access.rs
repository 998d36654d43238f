//! Who may call: nobody asked, a name and a password, or a certificate's subject.
//!
//! Codes and texts are those that clients of vtctld know. Source: `go/vt/servenv/grpc_server_auth_static.go`,
//! `grpc_server_auth_mtls.go`, `go/vt/servenv/grpc_server.go`.

use std::path::PathBuf;

use http::{Extensions, HeaderMap, HeaderValue};
use subtle::{Choice, ConstantTimeEq};
use vtflow_files::given_file;

use super::{
    door::{Peer, ServerTls},
    refusal::Refusal,
    subject::is_allowed,
};
use crate::{error::OptionError, log::sparing::Sparing, net::grpc::code, reloaded::Reloaded, secret::Credentials};

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

/// Who may call. Both ports ask it, for every request.
pub(super) struct Auth {
    mode: Mode,
    /// Whether every caller needs a certificate, whatever the mode (`--grpc-ca`).
    wants_certificate: bool,
    /// Lines about callers who are not let in.
    logins: Sparing,
}

enum Mode {
    None,
    Static(Reloaded<Vec<Credentials>>),
    Mtls(Vec<String>),
}

impl Auth {
    /// Reads the file that the options name. It is read again when it changes.
    ///
    /// # Errors
    /// It cannot be read, or is something else; certificates decide, and none are asked for.
    pub(super) fn new(options: &AuthOptions, tls: &ServerTls) -> Result<Self, OptionError> {
        let wants_certificate = tls.ca.is_some();
        let mode = match options {
            AuthOptions::None => Mode::None,
            AuthOptions::Static(path) => {
                let of = path.clone();
                Mode::Static(Reloaded::new("the password file", vec![path.clone()], move || {
                    let text = given_file::read(&of, given_file::SETTINGS_BYTES)
                        .map_err(|cause| OptionError::File { path: of.clone(), cause })?;
                    let callers = serde_json::from_slice(&text);
                    callers.map_err(|cause| OptionError::Passwords { path: of.clone(), cause: (&cause).into() })
                })?)
            }
            AuthOptions::Mtls(_) if !wants_certificate => {
                let cause = "subjects of certificates decide who may call, and without --grpc-ca nobody has one".to_owned();
                return Err(OptionError::Tls { cause });
            }
            // An empty part would be in every subject.
            AuthOptions::Mtls(list) => Mode::Mtls(list.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()),
        };
        Ok(Self { mode, wants_certificate, logins: Sparing::new() })
    }

    /// Whether callers prove who they are by name and password.
    pub(super) fn is_by_password(&self) -> bool {
        matches!(self.mode, Mode::Static(_))
    }

    /// Whether callers prove who they are by a certificate.
    pub(super) fn is_by_certificate(&self) -> bool {
        self.wants_certificate
    }

    /// Lets a caller in, or says why not, and leaves a line about it.
    pub(super) fn let_in(&self, port: &str, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Refusal> {
        let checked = self.check(headers, extensions);
        if let Err(refusal) = &checked {
            let from = extensions.get::<Peer>().and_then(|peer| peer.address).map_or_else(String::new, |from| from.to_string());
            let fields = [("port", port.to_owned()), ("from", from), ("error", refusal.message.clone())];
            self.logins.warn("login failed", &fields);
        }
        checked
    }

    /// Whether a call is let in. The extensions have the connection's [`Peer`].
    fn check(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Refusal> {
        let unauthenticated = |text| Err(Refusal::new(code::UNAUTHENTICATED, text));
        let peer = extensions.get::<Peer>();
        let certificate = peer.and_then(|peer| peer.certificate.as_ref());
        if self.wants_certificate && certificate.is_none() {
            let is_tls = peer.is_some_and(|peer| peer.is_tls);
            return unauthenticated(if is_tls {
                "client certificate not authorized: there is none"
            } else {
                "not connected via TLS"
            });
        }
        match &self.mode {
            Mode::None => Ok(()),
            Mode::Static(callers) => check_password(&callers.current(), headers),
            Mode::Mtls(allowed) => {
                let subject = certificate.and_then(|certificate| certificate.subject.as_deref());
                if subject.is_some_and(|subject| is_allowed(subject, allowed)) {
                    return Ok(());
                }
                unauthenticated("client certificate not authorized")
            }
        }
    }

    /// Who calls, for the log: the name that a password or a certificate proves, and the address. Empty where there is none.
    pub(super) fn caller(&self, headers: &HeaderMap, extensions: &Extensions) -> (String, String) {
        let peer = extensions.get::<Peer>();
        let from = peer.and_then(|peer| peer.address).map_or_else(String::new, |address| address.to_string());
        let name = match self.mode {
            Mode::Static(_) => headers.get("username").map(shown),
            Mode::None | Mode::Mtls(_) => peer.and_then(|peer| Some(peer.certificate.as_ref()?.subject.as_deref()?.to_owned())),
        };
        (name.unwrap_or_else(|| from.clone()), from)
    }
}

/// Compares with every caller's name and password, whichever fits, so that the time tells nothing but their lengths.
fn check_password(callers: &[Credentials], headers: &HeaderMap) -> Result<(), Refusal> {
    let (Some(username), Some(password)) = (headers.get("username"), headers.get("password")) else {
        return Err(Refusal::new(code::UNAUTHENTICATED, "username and password must be provided"));
    };
    let matches = callers.iter().fold(Choice::from(0), |found, caller| {
        let is_name = caller.username.as_bytes().ct_eq(username.as_bytes());
        let is_password = caller.password.reveal().as_bytes().ct_eq(password.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::{super::door::Proven, *};

    fn callers() -> Vec<Credentials> {
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
            assert_eq!(check_password(&callers(), &headers), want, "{username:?} {password:?}");
        }
    }

    #[test]
    fn certificates_are_asked_for_over_tls_only() {
        let asking = ServerTls { ca: Some("ca.pem".into()), ..ServerTls::default() };
        let auth = Auth::new(&AuthOptions::Mtls("CN=a::CN=b".to_owned()), &asking).unwrap();
        assert!(matches!(&auth.mode, Mode::Mtls(parts) if parts == &["CN=a", "CN=b"]));
        let refusal = auth.check(&HeaderMap::new(), &Extensions::new()).unwrap_err();
        assert_eq!(refusal, Refusal::new(16, "not connected via TLS"));
        assert!(Auth::new(&AuthOptions::Mtls("CN=a".to_owned()), &ServerTls::default()).is_err());
    }

    #[test]
    fn where_certificates_are_asked_for_nobody_gets_in_without_one() {
        let asking = ServerTls { ca: Some("ca.pem".into()), ..ServerTls::default() };
        let auth = Auth::new(&AuthOptions::None, &asking).unwrap();
        let mut extensions = Extensions::new();
        extensions.insert(Peer { is_tls: true, ..Peer::default() });
        assert_eq!(auth.check(&HeaderMap::new(), &extensions).unwrap_err().code, 16);
        extensions.insert(Peer { is_tls: true, certificate: Some(Proven { subject: None }), ..Peer::default() });
        assert_eq!(auth.check(&HeaderMap::new(), &extensions), Ok(()));
    }
}
