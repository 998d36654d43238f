//! What the page costs to load: every file of `dist/page`, as it is and as gzip makes it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use flate2::{Compression, write::GzEncoder};

/// Bytes of all that the page loads, compressed, and of the planner among it: what was set out to be kept. They grow with what the
/// planner can do (700,000 before it could diagnose, and create `VDiffs`; 960,000 before it repaired and raised sequences; 1,030,000 before
/// the page had diagnoses, plans in steps and rehearsals, which are read back from their documents, a reshard took streams of others along, and
/// a way back that died was told; 1,100,000 before sequences were diagnosed and tablets were asked one statement; 1,115,000 before every half of
/// streams that a reshard takes along was told and gone on from; 1,120,000 before tablets that come while their shard is closed were looked
/// for, and what raises sequences was rehearsed), never by themselves.
const PAGE: usize = 1_176_000;
const PLANNER: usize = 1_124_000;

/// Prints a line for each file, and the sums beside what they may be.
#[allow(clippy::print_stdout, reason = "its only purpose")]
pub(crate) fn print(root: &Path) -> anyhow::Result<()> {
    let page = root.join("dist/page");
    let mut files = Vec::new();
    collect(&page, &mut files).context("dist/page: make web builds it")?;
    files.retain(|file| file.extension().is_none_or(|extension| extension != "ts"));
    files.sort();
    if files.is_empty() {
        bail!("dist/page is empty: make web builds it");
    }
    let (mut all, mut planner) = (0, 0);
    for file in files {
        let content = fs::read(&file)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&content)?;
        let compressed = encoder.finish()?.len();
        all += compressed;
        if file.extension().is_some_and(|extension| extension == "wasm") {
            planner += compressed;
        }
        println!("{:>9} {compressed:>9} gzip  {}", content.len(), file.strip_prefix(&page).unwrap_or(&file).display());
    }
    let mut is_over = false;
    for (name, bytes, limit) in [("the planner's wasm", planner, PLANNER), ("the page, all of it", all, PAGE)] {
        let verdict = if bytes <= limit { "within" } else { "OVER" };
        println!("{name}: {bytes} bytes gzip, {verdict} {limit}");
        is_over |= bytes > limit;
    }
    if is_over {
        bail!("larger than it may be: see above");
    }
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
