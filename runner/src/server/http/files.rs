//! The page in the browser: the files of `dist/page` as they were when this program was built.
//!
//! Nothing here knows what is in them. A build without them says so, and how to make one with them.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// Names relative to the page's folder, and contents.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Whether this build has the page.
pub(crate) fn is_there() -> bool {
    !FILES.is_empty()
}

/// The file under a path; `None` if there is none.
pub(crate) fn file(path: &str) -> Option<Response<Full<Bytes>>> {
    let name = match path.trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let (_, content) = FILES.iter().find(|(known, _)| *known == name)?;
    let mut response = Response::new(Full::new(Bytes::from_static(content)));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    // The next version has the same names.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Some(response)
}

/// Its own files and nothing else; WebAssembly has to be allowed by name, pictures are drawn with styles of their own.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
                      connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}
