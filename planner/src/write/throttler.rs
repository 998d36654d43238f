//! `UpdateThrottlerConfig`, as far as it throttles an application: a migration, all of them, or anything else by its name.
//!
//! No tablet is called: the rule goes into the keyspace's record and into the `SrvKeyspace` record of every cell that serves it, and
//! tablets watch those. Every field but the one rule stays as it is, byte for byte.
//!
//! Facts: `go/vt/vtctl/grpcvtctldserver/server.go:UpdateThrottlerConfig`,
//! `go/vt/topo/srv_keyspace.go:UpdateSrvKeyspaceThrottlerConfig`.

use prost::{DecodeError, Message as _};

use crate::{
    contract::{Call, Code, Status, Timestamp},
    formats::time::ansic,
    proto::{
        topodata::ThrottledAppRule,
        vtctldata::{UpdateThrottlerConfigRequest, UpdateThrottlerConfigResponse},
    },
    topo::names::{GLOBAL, KeyspaceName},
    wire::{Message, content, fields},
    words::{duration, plural},
    write::kind::{Lock, RecordWrite},
};

/// The name under which all schema migrations are throttled. Source: `go/vt/vttablet/tabletserver/throttle/throttlerapp`.
const ALL_MIGRATIONS: &str = "online-ddl";

/// The number of `throttler_config` in a Keyspace record.
const IN_KEYSPACE: u32 = 9;
/// The number of `throttler_config` in a `SrvKeyspace` record.
const IN_SRV_KEYSPACE: u32 = 6;
/// The number of `throttled_apps` in a throttler's configuration.
const THROTTLED_APPS: u32 = 5;
/// The number of `throttled_app` in the request.
const THROTTLED_APP: u32 = 9;

/// Whether a request throttles an application, or is none: the rest of `UpdateThrottlerConfig` is a vtctld's.
pub(crate) fn throttles_an_app(request: &[u8]) -> bool {
    UpdateThrottlerConfigRequest::decode(request).map_or(true, |request| is_served(&request))
}

fn is_served(request: &UpdateThrottlerConfigRequest) -> bool {
    let has_app = request.throttled_app.as_ref().is_some_and(|rule| !rule.name.is_empty());
    let rest = UpdateThrottlerConfigRequest { keyspace: String::new(), throttled_app: None, ..request.clone() };
    has_app && rest == UpdateThrottlerConfigRequest::default()
}

/// One application's throttling in one keyspace.
pub(crate) struct Throttle {
    keyspace: KeyspaceName,
    rule: ThrottledAppRule,
    /// The rule's own bytes; `None`: the application is let go.
    raw: Option<Vec<u8>>,
    now: Timestamp,
}

impl Throttle {
    /// Reads the request.
    ///
    /// # Errors
    /// A keyspace that cannot exist, or a request of another kind or for some shards only.
    pub(crate) fn new(call: &Call, now: Timestamp) -> Result<Self, Status> {
        let request: UpdateThrottlerConfigRequest = crate::operation::decode(call)?;
        let keyspace = KeyspaceName::of_request(&request.keyspace)?;
        if !is_served(&request) {
            let text =
                "vtflow changes throttled applications only (throttled_app with a name, and nothing else); nothing was changed";
            return Err(Status { code: Code::Unimplemented, message: text.into() });
        }
        if !call.options.shards.is_empty() {
            let text = "applications are throttled in a whole keyspace, not in some of its shards; nothing was changed";
            return Err(Status { code: Code::InvalidArgument, message: text.into() });
        }
        let rule = request.throttled_app.unwrap_or_default();
        let until = rule.expires_at.unwrap_or_default();
        let is_over = (until.seconds, until.nanoseconds) <= (now.seconds, now.nanos.cast_signed());
        let bad = |error| Status { code: Code::InvalidArgument, message: format!("the request cannot be read: {error}") };
        let raw = joined(&call.request, THROTTLED_APP).map_err(bad)?.filter(|_| !is_over);
        Ok(Self { keyspace, rule, raw, now })
    }

    fn until(&self) -> i64 {
        self.rule.expires_at.unwrap_or_default().seconds
    }

    fn exempt(&self) -> &'static str {
        if self.rule.exempt { ", exempt from all other rules" } else { "" }
    }
}

impl RecordWrite for Throttle {
    fn keyspace(&self) -> &KeyspaceName {
        &self.keyspace
    }

    fn locks(&self) -> Vec<Lock> {
        vec![Lock {
            path: self.keyspace.directory(),
            action: "UpdateThrottlerConfig",
            is_named: false,
            is_patient: true,
            failure: String::new(),
        }]
    }

    fn edited(&self, cell: &str, record: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let field = if cell == GLOBAL { IN_KEYSPACE } else { IN_SRV_KEYSPACE };
        edited(record, field, &self.rule.name, self.raw.as_deref())
    }

    fn summary(&self, records: usize) -> String {
        let (keyspace, ratio, records) = (&self.keyspace, self.rule.ratio, plural(records, "record"));
        let app = match self.rule.name.as_str() {
            ALL_MIGRATIONS => "all schema migrations".to_owned(),
            name => format!("application {name}"),
        };
        if self.raw.is_none() {
            return format!("This lets {app} of {keyspace} go on, in {records}");
        }
        let left = duration(self.until().saturating_sub(self.now.seconds));
        format!("This throttles {app} of {keyspace}: {ratio} of its requests, for {left}{}, in {records}", self.exempt())
    }

    fn statement(&self) -> String {
        let ThrottledAppRule { name, ratio, .. } = &self.rule;
        if self.raw.is_none() {
            return format!("throttled_apps[{name:?}] is removed");
        }
        let until = ansic(self.until());
        format!("throttled_apps[{name:?}] = ratio {ratio}, until {until} UTC{}", self.exempt())
    }

    fn reply(&self) -> Vec<u8> {
        UpdateThrottlerConfigResponse {}.encode_to_vec()
    }
}

/// The content of a message field; several of one number are one message, joined. `None` if there is none.
fn joined(message: &[u8], number: u32) -> Result<Option<Vec<u8>>, DecodeError> {
    let mut all: Option<Vec<u8>> = None;
    for field in fields(message)?.into_iter().filter(|(of, _)| *of == number) {
        all.get_or_insert_default().extend_from_slice(content(field).unwrap_or_default());
    }
    Ok(all)
}

/// A record with its throttler's rule for one application replaced, or removed. Every other byte is as before.
fn edited(record: &[u8], number: u32, app: &str, rule: Option<&[u8]>) -> Result<Vec<u8>, DecodeError> {
    let config = joined(record, number)?;
    let mut kept = Vec::new();
    let mut has_rule = false;
    for field in fields(config.as_deref().unwrap_or_default())? {
        let is_rule =
            field.0 == THROTTLED_APPS && joined(content(field).unwrap_or_default(), 1)?.unwrap_or_default() == app.as_bytes();
        has_rule |= is_rule;
        if !is_rule {
            kept.extend_from_slice(field.1);
        }
    }
    if rule.is_none() && !has_rule {
        return Ok(record.to_vec());
    }
    if let Some(rule) = rule {
        kept.extend(Message::new().entry(THROTTLED_APPS, app, rule).into_bytes());
    }
    let config = Message::new().message(number, &kept).into_bytes();
    let (mut after, mut is_placed) = (Vec::new(), false);
    for (of, field) in fields(record)? {
        if of >= number && !is_placed {
            after.extend_from_slice(&config);
            is_placed = true;
        }
        if of != number {
            after.extend_from_slice(field);
        }
    }
    if !is_placed {
        after.extend_from_slice(&config);
    }
    Ok(after)
}
