//! `GetVersion`: which build a tablet runs, from the variables that it shows on its HTTP port.
//!
//! Two rounds: the tablet's record, then its page. The text is vtctld's: the values of four variables as Go prints a struct.
//!
//! Facts: `go/vt/wrangler/version.go:getVersionFromTabletDebugVars`, v10 to v24 (there also in `grpcvtctldserver`).

use prost::Message;
use serde_json::Value;

use crate::{
    contract::{Answer, AskId, Call, Code, PageAddress, Reply, Status, What},
    operation::{Asks, Operation},
    proto::{
        topodata::Tablet,
        vtctldata::{GetVersionRequest, GetVersionResponse},
    },
    topo::{names, targets},
};

/// The page of a tablet's variables.
const VARIABLES: &str = "/debug/vars";

pub(crate) struct GetVersion {
    alias: String,
    cell: String,
    /// Replaced by the last answer.
    result: Result<Vec<u8>, Status>,
}

impl GetVersion {
    pub(crate) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: GetVersionRequest = crate::operation::decode(call)?;
        let Some(alias) = request.tablet_alias else {
            return Err(Status { code: Code::InvalidArgument, message: "tablet_alias is required".into() });
        };
        names::check_cell(&alias.cell).map_err(|bad| Status::unknown(format!("cell {:?} cannot exist: {bad}", alias.cell)))?;
        let text = names::alias_text(Some(&alias));
        asks.release(What::TopoGet { cell: alias.cell.clone(), path: names::tablet_path(&text) });
        Ok(Self { alias: text, cell: alias.cell, result: Err(Status::unknown("no answer")) })
    }

    /// Where the tablet's pages are. Source: `go/vt/topo/tablet.go:Addr`.
    fn page(&self, record: &[u8]) -> Result<PageAddress, String> {
        let alias = &self.alias;
        let record = Tablet::decode(record).map_err(|error| format!("the record of tablet {alias} cannot be read: {error}"))?;
        if record.hostname.is_empty() {
            return Err(format!("tablet {alias} has no version: its record says no host, so it was shut down"));
        }
        let port = record.port_map.get("vt").copied().unwrap_or(0);
        let port = u16::try_from(port).ok().filter(|&port| port > 0);
        let port =
            port.ok_or_else(|| format!("tablet {alias} has no version: its record says no port \"vt\", where its pages are"))?;
        Ok(PageAddress { alias: alias.clone(), cell: self.cell.clone(), host: record.hostname, port })
    }
}

impl Operation for GetVersion {
    fn answered(&mut self, _id: AskId, answer: Answer, asks: &mut Asks) {
        let text = match answer {
            Answer::Found { value, .. } => match self.page(&value) {
                Ok(tablet) => {
                    asks.release(What::TabletPage { tablet, path: VARIABLES.into() });
                    return;
                }
                Err(text) => text,
            },
            Answer::Missing { node } => format!("node doesn't exist: {node}"),
            Answer::Failed { message, .. } => message,
            Answer::Called(page) => match version(&page) {
                Ok(version) => {
                    self.result = Ok(GetVersionResponse { version }.encode_to_vec());
                    return;
                }
                Err(cause) => format!("the page {VARIABLES} of tablet {} cannot be read: {cause}", self.alias),
            },
            other => targets::unexpected("a read of one record", &other),
        };
        self.result = Err(Status::unknown(text));
    }

    fn finish(&mut self) -> Reply {
        let result = std::mem::replace(&mut self.result, Ok(Vec::new()));
        Reply::new(result, Vec::new())
    }
}

/// `{host user timestamp revision}`. A variable that is not there is empty, the timestamp 0.
fn version(page: &[u8]) -> Result<String, String> {
    let page: Value = serde_json::from_slice(page).map_err(|error| error.to_string())?;
    let variables = page.as_object().ok_or("it is no JSON object")?;
    // As Go reads JSON: the exact name first, else the name in any case.
    let variable = |name: &str| {
        variables.get(name).or_else(|| variables.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    };
    let text = |name: &str| match variable(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => Err(format!("{name} is {other}, not a text")),
    };
    let timestamp = match variable("BuildTimestamp") {
        None | Some(Value::Null) => 0,
        Some(number) => number.as_i64().ok_or_else(|| format!("BuildTimestamp is {number}, not an integer"))?,
    };
    Ok(format!("{{{} {} {timestamp} {}}}", text("BuildHost")?, text("BuildUser")?, text("BuildGitRev")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_four_variables() {
        for (name, page, want) in [
            (
                "all",
                r#"{"BuildVersion":"24.0.0","BuildHost":"h","BuildUser":"u","BuildTimestamp":17,"BuildGitRev":"abc","x":{}}"#,
                Ok("{h u 17 abc}"),
            ),
            ("none", "{}", Ok("{  0 }")),
            ("in another case", r#"{"buildhost":"h","BuildUser":null}"#, Ok("{h  0 }")),
            ("a number for a text", r#"{"BuildHost":7}"#, Err("BuildHost is 7, not a text")),
            ("a fraction", r#"{"BuildTimestamp":1.5}"#, Err("BuildTimestamp is 1.5, not an integer")),
            ("no object", "[]", Err("it is no JSON object")),
        ] {
            let want = want.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(version(page.as_bytes()), want, "{name}");
        }
        assert!(version(b"<html>").unwrap_err().contains("line 1 column 1"));
    }
}
