//! Records that are written, over the version that was read, and looked at again where nobody knows what became of it.

use super::{
    ATTEMPTS, Performing, Waiting,
    written::{is_deleted_when_empty, place, said},
};
use crate::{
    contract::{Answer, What},
    cutover::{
        act::{Act, Deletion, RecordEdit, Run},
        scene::Scene,
        stored::Stored,
    },
    operation::Asks,
    topo::names::GLOBAL,
};

impl Performing {
    pub(super) fn put(
        &mut self,
        at: usize,
        edit: Box<RecordEdit>,
        before: Stored,
        attempt: usize,
        run: &mut Run,
        asks: &mut Asks,
    ) {
        match edit.edit.apply(&before.value) {
            Ok(after) if after == before.value => {
                // What another process has done of a switch that it did not finish is taken back like what is done here.
                if edit.back.is_some() {
                    self.undo_edit(at, &edit, &before);
                }
                run.keep(&edit, before);
            }
            // No rule is left: so is no record.
            Ok(after) if after.is_empty() && before.version != 0 && is_deleted_when_empty(&edit) => {
                let (cell, path) = (edit.cell.clone(), edit.path.clone());
                let what = What::TopoDelete { cell, path, version: before.version };
                self.wait(at, what, Waiting::Put { edit, before, after, attempt }, asks);
            }
            Ok(after) => {
                let what = What::TopoPut {
                    cell: edit.cell.clone(),
                    path: edit.path.clone(),
                    value: after.clone(),
                    version: before.version,
                };
                self.wait(at, what, Waiting::Put { edit, before, after, attempt }, asks);
            }
            Err(error) => self.fail(at, place(&edit), format!("the record {} cannot be read: {error}", edit.path), false, false),
        }
    }

    pub(super) fn delete(&mut self, at: usize, record: Box<Deletion>, attempt: usize, asks: &mut Asks) {
        let (cell, path) = (record.cell.clone(), record.path.clone());
        let what = What::TopoDelete { cell, path, version: record.version };
        self.wait(at, what, Waiting::Deleted { record, attempt }, asks);
    }

    pub(super) fn put_served(&mut self, at: usize, cell: String, after: Vec<u8>, attempt: usize, run: &Run, asks: &mut Asks) {
        let before = run.served.get(&cell).cloned().unwrap_or_default();
        if before.version != 0 && before.value == after {
            return;
        }
        let (path, version) = ("SrvVSchema".to_owned(), before.version);
        let what = What::TopoPut { cell: cell.clone(), path, value: after.clone(), version };
        self.wait(at, what, Waiting::PutServed { cell, after, attempt }, asks);
    }

    #[allow(clippy::too_many_arguments, reason = "all that is known of one write")]
    pub(super) fn read_again(
        &mut self,
        at: usize,
        edit: Box<RecordEdit>,
        first: &Stored,
        after: Vec<u8>,
        attempt: usize,
        why: String,
        answer: Answer,
        run: &mut Run,
        asks: &mut Asks,
    ) {
        let now = match answer {
            Answer::Found { value, version } => Stored { value, version },
            Answer::Missing { .. } if edit.cell == GLOBAL && edit.shard.is_empty() => Stored::default(),
            other => {
                // It may have been written: it is taken back like one that was.
                self.undo_edit(at, &edit, first);
                run.unclear.insert((edit.cell.clone(), edit.path.clone()));
                return self.fail(at, place(&edit), format!("{why}; looking again: {}", said(&edit.path, other)), true, false);
            }
        };
        if now.value == after {
            return self.stored(at, &edit, first, after, now.version, run);
        }
        if attempt >= ATTEMPTS {
            self.undo_edit(at, &edit, first);
            run.unclear.insert((edit.cell.clone(), edit.path.clone()));
            return self.fail(at, place(&edit), why, true, false);
        }
        match edit.edit.apply(&now.value) {
            // Ours, and another change after it.
            Ok(same) if same == now.value => {
                self.undo_edit(at, &edit, first);
                run.keep(&edit, now);
            }
            _ => self.put(at, edit, now, attempt + 1, run, asks),
        }
    }

    pub(super) fn stored(&mut self, at: usize, edit: &RecordEdit, before: &Stored, after: Vec<u8>, version: i64, run: &mut Run) {
        self.undo_edit(at, edit, before);
        self.has_written = true;
        run.keep(edit, Stored { value: after, version });
    }

    pub(super) fn undo_edit(&mut self, at: usize, edit: &RecordEdit, before: &Stored) {
        let inverse = edit.back.clone().map_or_else(|| edit.edit.inverse(&before.value), Ok);
        let Ok(inverse) = inverse else { return };
        let back = RecordEdit { edit: inverse, back: None, ..edit.clone() };
        self.keep_undo(at, Act::Edit(Box::new(back)));
    }

    pub(super) fn keep_undo(&mut self, at: usize, act: Act) {
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.undo.push(vec![act]);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all that is known of one write")]
    pub(super) fn served_again(
        &mut self,
        at: usize,
        cell: String,
        after: &[u8],
        attempt: usize,
        why: String,
        answer: Answer,
        scene: &Scene,
        run: &mut Run,
        asks: &mut Asks,
    ) {
        let now = match answer {
            Answer::Found { value, version } => Stored { value, version },
            Answer::Missing { .. } => Stored::default(),
            other => {
                let text = format!("{why}; looking again: {}", said("SrvVSchema", other));
                return self.fail(at, (String::new(), String::new(), cell), text, true, false);
            }
        };
        let is_there = now.version != 0 && now.value == after;
        // Others have made it anew meanwhile, perhaps with vschemas that are newer than ours.
        let is_anothers = now.version != 0 && run.served.get(&cell).is_none_or(|before| before.version != now.version);
        if is_anothers && !is_there {
            run.remade.insert(cell.clone());
        }
        run.served.insert(cell.clone(), now);
        let wanted = run.srv_vschema(scene, run.remade_copy(&cell));
        match wanted {
            _ if is_there => {}
            Ok(wanted) if attempt < ATTEMPTS => self.put_served(at, cell, wanted, attempt + 1, run, asks),
            Ok(_) => self.fail(at, (String::new(), String::new(), cell), why, true, false),
            Err(text) => self.fail(at, (String::new(), String::new(), cell), text, false, false),
        }
    }
}
