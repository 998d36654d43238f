//! What is to be repaired.

use std::collections::BTreeSet;

use crate::{
    contract::{Call, Code, Status},
    operation::decode,
    proto::vtflow::{DiagnoseRequest, RepairRequest},
    traffic::{deviation::Mechanism, repair::Direction},
};

/// A request, read.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) keyspace: String,
    /// Empty: all of the keyspace.
    pub(super) workflow: String,
    /// Which way, where there are two; `None`: it is not said.
    pub(super) way: Option<Direction>,
    /// Empty: all.
    pub(super) only: BTreeSet<Mechanism>,
    pub(super) dry_run: bool,
    /// Whether all tablets read their records again, too.
    pub(super) refresh: bool,
    /// Whether sequences are looked at, too.
    pub(super) sequences: bool,
}

impl Wanted {
    /// Reads it.
    ///
    /// # Errors
    /// No keyspace, or a direction or mechanism that there is not.
    pub(super) fn of(call: &Call) -> Result<Self, Status> {
        let RepairRequest { keyspace, workflow, direction, only, dry_run, refresh, sequences } = decode(call)?;
        let invalid = |message: String| Status { code: Code::InvalidArgument, message };
        if keyspace.is_empty() {
            return Err(invalid("a repair is one of a keyspace: name it".into()));
        }
        let way = match direction.as_str() {
            "" => None,
            "forward" => Some(Direction::Forward),
            "back" => Some(Direction::Back),
            other => return Err(invalid(format!("a repair leads forward or back, not {other:?}"))),
        };
        let mechanism = |name: &String| {
            Mechanism::named(name).ok_or_else(|| {
                let all: Vec<&str> = Mechanism::ALL.iter().map(|it| it.name()).collect();
                invalid(format!("there is no mechanism {name:?}; there are {}", all.join(", ")))
            })
        };
        let only = only.iter().map(mechanism).collect::<Result<_, _>>()?;
        Ok(Self { keyspace, workflow, way, only, dry_run, refresh, sequences })
    }

    /// What is looked at for it.
    pub(super) fn diagnosis(&self) -> DiagnoseRequest {
        DiagnoseRequest { keyspace: self.keyspace.clone(), workflow: self.workflow.clone(), sequences: self.sequences }
    }

    /// Of what it is, for texts.
    pub(super) fn place(&self) -> String {
        if self.workflow.is_empty() { self.keyspace.clone() } else { format!("{}.{}", self.keyspace, self.workflow) }
    }

    /// Whether a mechanism is wanted.
    pub(super) fn has(&self, mechanism: Mechanism) -> bool {
        self.only.is_empty() || self.only.contains(&mechanism)
    }
}
