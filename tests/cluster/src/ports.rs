//! Free ports of the loopback interface.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::bail;

/// Hands out ports that nobody listens on.
///
/// They are below the range that the kernel takes ports of outgoing connections from (32768 up, on Linux), so that none is taken
/// between the look and the use.
#[derive(Debug)]
pub(crate) struct Ports {
    next: u16,
}

const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

impl Ports {
    /// Begins somewhere else for every process, so that two clusters rarely try the same ones.
    pub(crate) fn new() -> Self {
        let offset = u16::try_from(std::process::id() % 100).unwrap_or_default() * 100;
        Self { next: FIRST + offset }
    }

    /// A port that can be listened on now, on every address.
    pub(crate) fn free(&mut self) -> anyhow::Result<u16> {
        while self.next < LAST {
            let port = self.next;
            self.next += 1;
            if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("no free port from {FIRST} to {LAST}")
    }
}
