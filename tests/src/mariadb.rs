//! A real MariaDB in a temporary directory, and a connection that speaks just enough of MySQL's protocol to run statements.
//!
//! The protocol and not a client program, because a tablet sees the same: NULL apart from the text NULL, any byte, the types of
//! the columns, and errors with number, state and text. It reads no options file and listens on a socket file only.
//!
//! Facts: the "Client/Server Protocol" pages of MariaDB's and MySQL's manuals; the types of `query.Type` in `go/sqltypes/const.go`.

use std::{
    io::{BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use vtflow_planner::proto::query::{Field, QueryResult, Row};

/// A server of its own, killed when dropped.
pub struct MariaDb {
    server: Child,
    directory: TempDir,
}

/// One session.
pub struct Connection {
    stream: BufReader<UnixStream>,
}

/// An error of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// MySQL's number, such as 1054.
    pub errno: u16,
    /// Five characters.
    pub sqlstate: String,
    /// The text.
    pub text: String,
}

impl MariaDb {
    /// Makes a database directory, starts a server on it and waits until it answers.
    pub fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("data");
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--user=root", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .arg(format!("--datadir={}", data.display()))
            // Two servers that share /tmp remove each other's temporary tables.
            .env("TMPDIR", directory.path())
            .output()
            .expect("these tests need MariaDB: apt-get install mariadb-server");
        assert!(installed.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&installed.stderr));
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let server = Command::new(program())
            .args(["--no-defaults", "--user=root", "--skip-networking", "--skip-grant-tables", "--skip-log-bin"])
            .args(["--default-time-zone=+00:00", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"])
            .arg(format!("--datadir={}", data.display()))
            .env("TMPDIR", directory.path())
            .arg(format!("--socket={}", directory.path().join("socket").display()))
            .arg(format!("--pid-file={}", directory.path().join("pid").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("these tests need MariaDB: apt-get install mariadb-server");
        let mut started = Self { server, directory };
        started.wait();
        started
    }

    /// Opens a session.
    pub fn connect(&self) -> Connection {
        Connection::open(&self.socket()).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while let Err(error) = Connection::open(&self.socket()) {
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(self.server.try_wait().unwrap().is_none(), "MariaDB ended:\n{}", log());
            assert!(begun.elapsed() < Duration::from_secs(60), "MariaDB does not answer ({error}):\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl Connection {
    fn open(socket: &Path) -> std::io::Result<Self> {
        let mut connection = Self { stream: BufReader::new(UnixStream::connect(socket)?) };
        connection.receive()?;
        let mut response = Vec::new();
        response.extend((LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION).to_le_bytes());
        response.extend(LONGEST_PACKET.to_le_bytes());
        response.push(UTF8MB4_GENERAL_CI);
        response.extend([0; 23]);
        // The user, and a password of no bytes.
        response.extend(b"root\0\0");
        connection.send(1, &response)?;
        match connection.receive()?.first() {
            Some(&OK) => Ok(connection),
            first => Err(std::io::Error::other(format!("no welcome: {first:?}"))),
        }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// The server's.
    pub fn query(&mut self, sql: &str) -> Result<QueryResult, ServerError> {
        self.command(sql).expect("the connection holds")
    }

    /// Runs statements that must not fail.
    pub fn run<S: AsRef<str>>(&mut self, statements: impl IntoIterator<Item = S>) {
        for sql in statements {
            let sql = sql.as_ref();
            if let Err(error) = self.query(sql) {
                panic!("{error:?}: {}", sql.chars().take(2_000).collect::<String>());
            }
        }
    }

    fn command(&mut self, sql: &str) -> std::io::Result<Result<QueryResult, ServerError>> {
        let mut packet = vec![COM_QUERY];
        packet.extend(sql.as_bytes());
        assert!(packet.len() < LONGEST_PACKET as usize, "a statement of {} bytes needs several packets", packet.len());
        self.send(0, &packet)?;
        let first = self.receive()?;
        match first.first() {
            Some(&OK) => return Ok(Ok(QueryResult::default())),
            Some(&ERR) => return Ok(Err(server_error(&first))),
            _ => {}
        }
        let columns = Reader(&first).length().unwrap_or_default();
        let mut result = QueryResult::default();
        for _ in 0..columns {
            result.fields.push(field(&self.receive()?));
        }
        self.receive()?;
        loop {
            let packet = self.receive()?;
            match packet.first() {
                Some(&EOF) if packet.len() < 9 => return Ok(Ok(result)),
                Some(&ERR) => return Ok(Err(server_error(&packet))),
                _ => result.rows.push(row(&packet, columns)),
            }
        }
    }

    fn send(&mut self, sequence: u8, payload: &[u8]) -> std::io::Result<()> {
        let mut packet = u32::try_from(payload.len()).unwrap().to_le_bytes();
        packet[3] = sequence;
        let stream = self.stream.get_mut();
        stream.write_all(&packet)?;
        stream.write_all(payload)
    }

    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let mut head = [0; 4];
            self.stream.read_exact(&mut head)?;
            head[3] = 0;
            let length = u32::from_le_bytes(head);
            let start = payload.len();
            payload.resize(start + length as usize, 0);
            self.stream.read_exact(&mut payload[start..])?;
            if length < LONGEST_PACKET {
                return Ok(payload);
            }
        }
    }
}

/// The rest of a packet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes);
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// A number of variable length; `None` is the mark of NULL.
    fn length(&mut self) -> Option<usize> {
        let number = match self.number(1) {
            0xfb => return None,
            0xfc => self.number(2),
            0xfd => self.number(3),
            0xfe => self.number(8),
            small => small,
        };
        Some(usize::try_from(number).unwrap())
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        self.length().map(|length| self.take(length))
    }
}

fn row(packet: &[u8], columns: usize) -> Row {
    let mut reader = Reader(packet);
    let mut row = Row::default();
    for _ in 0..columns {
        let value = reader.text();
        row.lengths.push(value.map_or(-1, |value| i64::try_from(value.len()).unwrap()));
        row.values.extend(value.unwrap_or_default());
    }
    row
}

/// Name and type, which is all that readers of a tablet's rows look at.
fn field(packet: &[u8]) -> Field {
    let mut reader = Reader(packet);
    // Catalog, database, table, table's own name.
    for _ in 0..4 {
        reader.text();
    }
    let name = reader.text().unwrap_or_default().to_vec();
    reader.text();
    reader.length();
    let (charset, _length, kind, flags) = (reader.number(2), reader.number(4), reader.number(1), reader.number(2));
    let is_unsigned = flags & 32 != 0;
    let is_bytes = charset == 63;
    let signed = |signed, unsigned| if is_unsigned { unsigned } else { signed };
    let r#type = match kind {
        1 => signed(257, 770),
        2 => signed(259, 772),
        3 => signed(263, 776),
        4 => 1035,
        5 => 1036,
        7 => 2061,
        8 => signed(265, 778),
        12 => 2064,
        249..=252 => {
            if is_bytes {
                10_260
            } else {
                6_163
            }
        }
        253 => {
            if is_bytes {
                10_262
            } else {
                6_165
            }
        }
        254 => {
            if is_bytes {
                10_264
            } else {
                6_167
            }
        }
        other => panic!("column {} has type {other}", String::from_utf8_lossy(&name)),
    };
    Field { name, r#type, ..Field::default() }
}

fn server_error(packet: &[u8]) -> ServerError {
    let mut reader = Reader(&packet[1..]);
    let errno = u16::try_from(reader.number(2)).unwrap();
    let sqlstate = match reader.0.strip_prefix(b"#") {
        Some(rest) => {
            reader.0 = rest;
            String::from_utf8_lossy(reader.take(5)).into_owned()
        }
        None => "HY000".to_owned(),
    };
    ServerError { errno, sqlstate, text: String::from_utf8_lossy(reader.0).into_owned() }
}

/// The server is often outside the PATH of people.
fn program() -> &'static str {
    ["/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd", "/usr/libexec/mariadbd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("mariadbd")
}

const LONG_PASSWORD: u32 = 1;
const PROTOCOL_41: u32 = 0x200;
const TRANSACTIONS: u32 = 0x2000;
const SECURE_CONNECTION: u32 = 0x8000;
/// One byte less than a packet that says of itself that it goes on.
const LONGEST_PACKET: u32 = 0xff_ffff;
const UTF8MB4_GENERAL_CI: u8 = 45;
const COM_QUERY: u8 = 3;
const OK: u8 = 0;
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;
