//! The lines of a dry run as the reference prints them, from the same resolution that the steps are made of.
//!
//! Facts: `go/vt/vtctl/workflow/switcher_dry_run.go`, v24.

use std::collections::BTreeMap;

use crate::{
    cutover::{
        refusals::{Resolved, is_cell_behind},
        request::{Direction, Goal},
        scene::{Member, Scene},
        sequences, streams,
    },
    formats::time,
    proto::topodata::TabletType,
    traffic::kind::Kind,
};

/// The lines. `positions`: where the source is now, by shard; one that is not known is empty.
pub(crate) fn lines(goal: &Goal, resolved: &Resolved, scene: &Scene, positions: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines = Vec::new();
    if !resolved.reads.is_empty() {
        reads(goal, resolved, scene, &mut lines);
    }
    if resolved.writes && !scene.is_frozen() {
        writes(goal, scene, positions, &mut lines);
    }
    if resolved.writes && scene.is_frozen() && is_cell_behind(scene) {
        let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
        locked(source, target, &mut lines, |lines| {
            lines.push(format!("Switch routing from keyspace {source} to keyspace {target}"));
        });
    }
    if resolved.reopens {
        let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
        locked(source, target, &mut lines, |lines| {
            let tables = scene.tables.join(",");
            lines.push(format!("Enable writes on keyspace {source} for tables [{tables}]"));
            let on = list(&scene.targets, |on| format!("tablet:{}", on.alias.uid));
            lines.push(format!("Start vreplication streams that were stopped for cutover on: [{on}]"));
        });
    }
    if lines.is_empty() {
        lines.push("No changes required".into());
    }
    lines
}

/// What stands around both.
pub(crate) fn locked(source: &str, target: &str, lines: &mut Vec<String>, inside: impl FnOnce(&mut Vec<String>)) {
    lines.push(format!("Lock keyspace {source}"));
    if source != target {
        lines.push(format!("Lock keyspace {target}"));
    }
    inside(lines);
    if source != target {
        lines.push(format!("Unlock keyspace {target}"));
    }
    lines.push(format!("Unlock keyspace {source}"));
}

fn types(types: &[TabletType]) -> String {
    types.iter().map(TabletType::as_str_name).collect::<Vec<_>>().join(",")
}

fn unmirror(scene: &Scene, of: &[TabletType], lines: &mut Vec<String>) {
    if scene.mirrored(of).is_ok_and(|rules| !rules.is_empty()) {
        let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
        let of = types(of);
        lines.push(format!(
            "Mirroring 0.00 percent of traffic from keyspace {source} to keyspace {target} for tablet types [{of}]"
        ));
    }
}

fn reads(goal: &Goal, resolved: &Resolved, scene: &Scene, lines: &mut Vec<String>) {
    let (tables, to) = (scene.tables.join(","), &resolved.reads_to);
    locked(&scene.source_keyspace, &scene.target_keyspace, lines, |lines| {
        unmirror(scene, &resolved.reads, lines);
        if scene.kind == Kind::Partial {
            return;
        }
        let of = types(&resolved.reads);
        if scene.kind == Kind::Reshard {
            let list = |members: &BTreeMap<String, Member>| members.keys().map(String::as_str).collect::<Vec<_>>().join(",");
            let (from, shards) = (list(&scene.sources), list(&scene.targets));
            let (from, shards) = if resolved.are_reads_back { (shards, from) } else { (from, shards) };
            lines.push(format!("Switch reads from keyspace {to} to keyspace {to} for shards [{from}] to shards [{shards}]"));
            return;
        }
        if scene.kind == Kind::MultiTenant {
            let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
            let (from, to) = if to == target { (source, target) } else { (target, source) };
            lines.push(format!("Switch reads from keyspace {from} to keyspace {to} for tablet types [{of}]"));
            return;
        }
        lines.push(format!("Switch reads for tables [{tables}] to keyspace {to} for tablet types [{of}]"));
        lines.push(format!("Routing rules for tables [{tables}] will be updated"));
        if !goal.writes || goal.direction == Direction::Backward && !scene.is_reversal {
            lines.push(format!("Serving VSchema will be rebuilt for the {to} keyspace"));
        }
    });
}

/// By the number of the tablet.
fn by_uid(members: &BTreeMap<String, Member>) -> Vec<&Member> {
    let mut members: Vec<&Member> = members.values().collect();
    members.sort_by_key(|on| on.alias.uid);
    members
}

/// The members by the numbers of their primaries, as a list.
pub(crate) fn list(members: &BTreeMap<String, Member>, text: impl Fn(&Member) -> String) -> String {
    by_uid(members).into_iter().map(text).collect::<Vec<_>>().join(",")
}

fn writes(goal: &Goal, scene: &Scene, positions: &BTreeMap<String, String>, lines: &mut Vec<String>) {
    let (source, target, tables) = (&scene.source_keyspace, &scene.target_keyspace, scene.tables.join(","));
    let tablet = |on: &Member| format!("tablet:{}", on.alias.uid);
    locked(source, target, lines, |lines| {
        unmirror(scene, &[TabletType::Primary], lines);
        if scene.journals.is_empty() {
            let at = |on: &Member| {
                let position = positions.get(&on.shard).map_or("", String::as_str);
                format!("keyspace:{};shard:{};position:{position}", on.keyspace, on.shard)
            };
            lines.push(format!("Stop writes on keyspace {source} for tables [{tables}]: [{}]", list(&scene.sources, at)));
            lines.extend(streams::stopped(scene));
            lines.push(format!("Wait for vreplication on stopped streams to catchup for up to {}", goal.timeout_text));
            lines.extend(streams::copied(scene));
            if !sequences::moved(scene).is_empty() {
                lines.push("The sequence caches will be reset on the source since sequence tables are being moved".into());
            }
            lines.push(format!("Create reverse vreplication workflow {}", scene.reverse));
            lines.extend(sequences::lines(&scene.sequences));
        }
        lines.push("Create journal entries on source databases".into());
        lines.extend(streams::found(scene));
        lines.push(format!("Enable writes on keyspace {target} for tables [{tables}]"));
        lines.push(format!("Switch routing from keyspace {source} to keyspace {target}"));
        if scene.kind == Kind::Reshard {
            let of = |on: &Member| format!("shard:{};tablet:{}", on.shard, on.alias.uid);
            let (closed, open) = (list(&scene.sources, of), list(&scene.targets, of));
            lines.push(format!("IsPrimaryServing will be set to false for: [{closed}]"));
            lines.push(format!("IsPrimaryServing will be set to true for: [{open}]"));
        } else {
            lines.push(format!("Routing rules for tables [{tables}] will be updated"));
        }
        let on = list(&scene.targets, tablet);
        lines.push(format!("Switch writes completed, freeze and delete vreplication streams on: [{on}]"));
        if goal.enable_reverse {
            lines.push(format!("Start reverse vreplication streams on: [{}]", list(&scene.sources, tablet)));
        }
        let frozen = |on: &Member| {
            let Member { keyspace, shard, db_name, alias, .. } = on;
            format!("keyspace:{keyspace};shard:{shard};tablet:{};workflow:{};dbname:{db_name}", alias.uid, scene.workflow)
        };
        lines.push(format!("Mark vreplication streams frozen on: [{}]", list(&scene.targets, frozen)));
    });
}

/// Unix seconds as Go's `time.RFC822` has them, UTC: `29 Nov 26 02:15 UTC`.
pub(crate) fn rfc822(seconds: i64) -> String {
    let text = time::ansic(seconds);
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [_, month, day, clock, year] = parts.as_slice() else { return text };
    let year = year.get(year.len().saturating_sub(2)..).unwrap_or_default();
    let clock = clock.get(..5).unwrap_or_default();
    format!("{day:0>2} {month} {year} {clock} UTC")
}

#[cfg(test)]
mod tests {
    use super::rfc822;

    #[test]
    fn moments_are_as_go_prints_them() {
        assert_eq!(rfc822(1_795_918_500), "29 Nov 26 02:15 UTC");
        assert_eq!(rfc822(0), "01 Jan 70 00:00 UTC");
    }
}
