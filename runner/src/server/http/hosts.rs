//! By which names the HTTP port may be called. A page of a foreign name that is made to resolve to this machine (DNS rebinding) is
//! same-origin for the browser, and so is told apart by the name alone; a page that asks across origins says which it is of.

use gethostname::gethostname;
use http::{HeaderMap, Request, header, uri::Authority};

/// The names that lead here.
pub(crate) struct Hosts {
    /// In lower case. One that begins with a dot stands for every name that ends in it.
    names: Vec<String>,
}

impl Hosts {
    /// `more` is what `--allowed-hosts` says and where the server listens; empty ones are left out.
    pub(crate) fn new(more: impl IntoIterator<Item = String>) -> Self {
        let own = gethostname().to_string_lossy().into_owned();
        let names = ["localhost".to_owned(), own].into_iter().chain(more);
        Self { names: names.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect() }
    }

    /// Whether a request may be answered.
    ///
    /// # Errors
    /// What is wrong with its `Host` or `Origin`, and what to do.
    pub(crate) fn check<B>(&self, request: &Request<B>, is_tls: bool) -> Result<(), String> {
        let host = match one(request.headers(), &header::HOST)? {
            Some(host) => Some(host.parse::<Authority>().map_err(|_| format!("the header Host is no host: {host:?}"))?),
            // No browser is that old.
            None => None,
        };
        // What the request line says counts more, and both have to be right.
        for authority in request.uri().authority().into_iter().chain(&host) {
            if !self.has(authority.host()) {
                let host = authority.host();
                return Err(format!(
                    "{host:?} is not a name of this server: ask by address, as localhost, or start it with --allowed-hosts {host}"
                ));
            }
        }
        let Some(origin) = one(request.headers(), &header::ORIGIN)? else { return Ok(()) };
        let scheme = if is_tls { "https" } else { "http" };
        let host = request.uri().authority().or(host.as_ref()).map(|host| format!("{scheme}://{host}"));
        if host.is_some_and(|host| host.eq_ignore_ascii_case(origin)) {
            return Ok(());
        }
        Err(format!("this is not for pages of other origins: {origin:?}"))
    }

    fn has(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.parse::<std::net::IpAddr>().is_ok() {
            // An address cannot be rebound.
            return true;
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.names.iter().any(|name| *name == host || name.starts_with('.') && host.ends_with(name.as_str()))
    }
}

fn one<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(format!("the header {name} is there more than once"));
    }
    first.map(|value| value.to_str().map_err(|_| format!("the header {name} is not readable"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_server_and_its_own_pages_are_answered() {
        let hosts = Hosts::new(["vtflow.example".to_owned(), ".svc.local".to_owned(), String::new()]);
        for (uri, host, origin, is_tls, want) in [
            ("/", Some("127.0.0.1:15000"), None, false, true),
            ("/", Some("[::1]:15000"), None, false, true),
            ("/", Some("10.1.2.3"), None, false, true),
            ("/", Some("LOCALHOST:1"), None, false, true),
            ("/", Some("localhost."), None, false, true),
            ("/", Some("vtflow.example:15000"), None, false, true),
            ("/", Some("a.svc.local"), None, false, true),
            ("/", None, None, false, true),
            ("/", Some("evil.example"), None, false, false),
            ("/", Some("evil.example:15000"), None, false, false),
            ("/", Some("127.0.0.1.evil.example"), None, false, false),
            ("/", Some("vtflow.example.evil"), None, false, false),
            ("/", Some("xvtflow.example"), None, false, false),
            ("/", Some("svc.local"), None, false, false),
            ("/", Some("2130706433"), None, false, false),
            ("/", Some(""), None, false, false),
            ("/", Some("a b"), None, false, false),
            ("http://evil.example/", Some("127.0.0.1"), None, false, false),
            ("/", Some("127.0.0.1:15000"), Some("http://127.0.0.1:15000"), false, true),
            ("/", Some("127.0.0.1:15000"), Some("https://127.0.0.1:15000"), true, true),
            ("/", Some("127.0.0.1:15000"), Some("https://127.0.0.1:15000"), false, false),
            ("/", Some("127.0.0.1:15000"), Some("http://127.0.0.1:15001"), false, false),
            ("/", Some("127.0.0.1:15000"), Some("http://evil.example"), false, false),
            ("/", Some("127.0.0.1:15000"), Some("null"), false, false),
            ("/", None, Some("http://127.0.0.1"), false, false),
        ] {
            let mut request = Request::get(uri);
            for (name, value) in [("host", host), ("origin", origin)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            let said = hosts.check(&request.body(()).unwrap(), is_tls);
            assert_eq!(said.is_ok(), want, "{uri} {host:?} {origin:?}: {said:?}");
        }
        let twice = Request::get("/").header("host", "localhost").header("host", "evil").body(()).unwrap();
        assert!(hosts.check(&twice, false).is_err());
    }
}
