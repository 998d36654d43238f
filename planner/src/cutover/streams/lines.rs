//! The lines of a dry run about streams of other workflows.
//!
//! Facts: `go/vt/vtctl/workflow/switcher_dry_run.go` (`stopStreams`, `migrateStreams`), v24, which comes to print the first of them alone.

use super::{row::OtherStream, taken::Others};
use crate::{
    cutover::scene::{Member, Scene},
    formats::{position, source_text},
};

/// Those that stop; `None`: there are none.
pub(crate) fn stopped(scene: &Scene) -> Option<String> {
    let line = |stream: &OtherStream| {
        let OtherStream { id, source, .. } = stream;
        let rules = source_text::filter(&source.filter.clone().unwrap_or_default());
        let position = plain(stream);
        format!("id:{id};keyspace:{};shard:{};rules:{rules};position:{position}", source.keyspace, source.shard)
    };
    let lines: Vec<String> = scene.others.running().map(|it| line(&it.stream)).collect();
    (!lines.is_empty()).then(|| format!("Stop streams on keyspace {}: [{}]", scene.source_keyspace, lines.join(",")))
}

/// Those that go along, and what becomes of each.
pub(crate) fn copied(scene: &Scene) -> Vec<String> {
    let others: &Others = &scene.others;
    if others.moved.is_empty() {
        return Vec::new();
    }
    let from = |stream: &OtherStream| {
        let OtherStream { shard, id, workflow, source, .. } = stream;
        let (position, source) = (plain(stream), source_text::print(source));
        format!("shard:{shard};id:{id};workflow:{workflow};position:{position};binlogsource:{source}")
    };
    let from: Vec<String> = others.moved.iter().map(|it| from(&it.stream)).collect();
    let made = [false, true].into_iter().flat_map(|is_inner| others.copies_of(is_inner, &scene.sources, &scene.targets));
    let to = |on: &Member, copy: &super::taken::Copy<'_>| {
        let OtherStream { id, workflow, .. } = &copy.of.stream;
        let position = copy.begins_at.as_ref().map_or_else(|| plain(&copy.of.stream), |_| String::new());
        let Member { keyspace, shard, alias, .. } = on;
        let source = &copy.source;
        format!(
            "keyspace:{keyspace};shard:{shard};tablet:{};workflow:{workflow};id:{id},position:{position};binlogsource:{source}",
            alias.uid
        )
    };
    let to: Vec<String> = made.filter_map(|copy| Some(to(scene.targets.get(&copy.shard)?, &copy))).collect();
    vec![
        format!("Migrate streams to {}:", scene.target_keyspace),
        format!("Migrate source streams: [{}]", from.join(",")),
        format!("Create target streams (as stopped): [{}]", to.join(",")),
    ]
}

/// Of a switch that is past its journal: the workflows that it took along.
pub(crate) fn found(scene: &Scene) -> Option<String> {
    let names = scene.others.journaled.as_ref().filter(|names| !names.is_empty())?;
    Some(format!("Source workflows found: [{}]", names.iter().map(String::as_str).collect::<Vec<_>>().join(",")))
}

/// A position without its flavor.
fn plain(stream: &OtherStream) -> String {
    position::decode(stream.position.as_bytes()).unwrap_or_else(|_| stream.position.clone())
}
