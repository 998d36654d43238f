//! Requests that move traffic, or end a workflow whose traffic was moved.

use prost::Message;
use vtflow_planner::{
    proto::{topodata::TabletType, vtctldata as data, vtflow::RepairRequest, vttime::Duration},
    rpc,
};

use crate::{
    random::Random,
    traffic::case::{Case, Side},
    world::CELLS,
};

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    pub(crate) path: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Switch {
        types: Vec<TabletType>,
        is_back: bool,
        has_reverse: bool,
        cells: Vec<String>,
    },
    Mirror {
        percent: u8,
    },
    Complete {
        keeps_data: bool,
    },
    Cancel {
        keeps_data: bool,
    },
    /// What vtflow itself finds to be wrong is put right.
    Repair {
        direction: &'static str,
        /// All tablets are told to read their records, too.
        refreshes: bool,
    },
}

pub(crate) const ALL: [TabletType; 3] = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];
pub(crate) const READS: [TabletType; 2] = [TabletType::Replica, TabletType::Rdonly];
pub(crate) const WRITES: [TabletType; 1] = [TabletType::Primary];

impl Ask {
    /// One that makes sense mostly, where writes are whose they are.
    pub(crate) fn make(case: &Case, owner: Side, random: &mut Random) -> Self {
        let number = match (random.percent(75), owner) {
            (false, _) => random.below(100),
            (true, Side::Source) => random.pick(&[0, 0, 0, 0, 30, 30, 45, 85, 99]).copied().unwrap_or(0),
            (true, Side::Target) => random.pick(&[60, 60, 60, 75, 80, 45, 92]).copied().unwrap_or(60),
        };
        let kind = match number {
            0..=27 => Kind::switch(&ALL, false),
            28..=40 => Kind::switch(&WRITES, false),
            41..=50 => Kind::switch(&READS, false),
            51..=72 => Kind::switch(&ALL, true),
            73..=78 => Kind::switch(&WRITES, true),
            79..=84 => Kind::switch(&READS, true),
            85..=90 => Kind::Mirror { percent: if random.percent(70) { 10 } else { 0 } },
            91..=95 => Kind::Complete { keeps_data: random.percent(20) },
            _ => Kind::Cancel { keeps_data: random.percent(20) },
        };
        let kind = match kind {
            Kind::Switch { types, is_back, .. } => {
                let is_reads = !types.contains(&TabletType::Primary);
                let cells = if is_reads && random.percent(30) { vec![CELLS[0].to_owned()] } else { Vec::new() };
                Kind::Switch { types, is_back, has_reverse: random.percent(85), cells }
            }
            kind => kind,
        };
        let timeout = random.pick(&[1, 5, 30]).copied().unwrap_or(30);
        Self::of(case, kind, timeout)
    }

    /// A request for all traffic.
    pub(crate) fn switch(case: &Case, is_back: bool) -> Self {
        Self::of(case, Kind::switch(&ALL, is_back), 30)
    }

    /// This.
    pub(crate) fn of(case: &Case, kind: Kind, timeout: i64) -> Self {
        let (keyspace, workflow) = (case.target.to_owned(), case.workflow.to_owned());
        let (path, bytes) = match &kind {
            Kind::Switch { types, is_back, has_reverse, cells } => {
                let request = data::WorkflowSwitchTrafficRequest {
                    keyspace,
                    workflow,
                    cells: cells.clone(),
                    tablet_types: types.iter().map(|of| i32::from(*of)).collect(),
                    // Streams note no times here.
                    max_replication_lag_allowed: Some(Duration { seconds: 86_400, nanos: 0 }),
                    enable_reverse_replication: *has_reverse,
                    direction: i32::from(*is_back),
                    timeout: Some(Duration { seconds: timeout, nanos: 0 }),
                    ..Default::default()
                };
                (rpc::WORKFLOW_SWITCH_TRAFFIC, request.encode_to_vec())
            }
            Kind::Mirror { percent } => {
                let tablet_types = ALL.map(i32::from).to_vec();
                let percent = f32::from(*percent);
                let request = data::WorkflowMirrorTrafficRequest { keyspace, workflow, tablet_types, percent };
                (rpc::WORKFLOW_MIRROR_TRAFFIC, request.encode_to_vec())
            }
            Kind::Complete { keeps_data } => {
                let (target_keyspace, keep_data) = (keyspace, *keeps_data);
                let request = data::MoveTablesCompleteRequest { workflow, target_keyspace, keep_data, ..Default::default() };
                (rpc::MOVE_TABLES_COMPLETE, request.encode_to_vec())
            }
            Kind::Cancel { keeps_data } => {
                // With the data and without the rules, nobody could tell which keyspace a table is in.
                let (keep_data, keep_routing_rules) = (*keeps_data, *keeps_data);
                let request =
                    data::WorkflowDeleteRequest { keyspace, workflow, keep_data, keep_routing_rules, ..Default::default() };
                (rpc::WORKFLOW_DELETE, request.encode_to_vec())
            }
            Kind::Repair { direction, refreshes } => {
                let (direction, refresh) = ((*direction).to_owned(), *refreshes);
                let request = RepairRequest { keyspace, workflow, direction, refresh, ..Default::default() };
                (rpc::REPAIR, request.encode_to_vec())
            }
        };
        Self { kind, path, bytes }
    }

    /// The same after it has failed: a repair has to tell all tablets then.
    pub(crate) fn again(self, case: &Case) -> Self {
        match self.kind {
            Kind::Repair { direction, .. } => Self::of(case, Kind::Repair { direction, refreshes: true }, 0),
            _ => self,
        }
    }

    pub(crate) fn method(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl Kind {
    /// In a few words.
    pub(crate) fn name(&self, case: &Case) -> String {
        let what = match self {
            Self::Switch { types, is_back, .. } => match (types.as_slice(), is_back) {
                ([TabletType::Primary], false) => "writes",
                ([TabletType::Primary], true) => "writes back",
                ([TabletType::Primary, ..], false) => "switch",
                ([TabletType::Primary, ..], true) => "back",
                (_, false) => "reads",
                (_, true) => "reads back",
            },
            Self::Mirror { percent: 0 } => "mirror no more",
            Self::Mirror { .. } => "mirror",
            Self::Complete { .. } => "complete",
            Self::Cancel { .. } => "cancel",
            Self::Repair { .. } => "repair",
        };
        format!("{}: {what}", case.shape.name())
    }

    fn switch(types: &[TabletType], is_back: bool) -> Self {
        Self::Switch { types: types.to_vec(), is_back, has_reverse: true, cells: Vec::new() }
    }
}
