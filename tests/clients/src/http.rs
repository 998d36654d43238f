//! HTTP/1.0, as much of it as etcd's gateway and `VTAdmin` need: one request a connection, an answer that ends with it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::Context;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sends a request to an address; `body` is JSON, empty for none.
///
/// # Errors
///
/// Nobody listens, the answer takes longer than five minutes, or is none.
pub fn send(address: &str, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let answer = || -> anyhow::Result<(u16, String)> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        let status = head.split(' ').nth(1).context("an answer without a status")?;
        Ok((status.parse()?, body.to_owned()))
    };
    answer().with_context(|| format!("{method} http://{address}{path}"))
}
