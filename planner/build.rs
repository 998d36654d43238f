//! Compiles `proto/*.proto` to Rust types (protox, so that no `protoc` is needed), keeps the descriptors beside them, and
//! digests the sources.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a build script is IO; the planner is not")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost_build::Config;
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rustc-env=VTFLOW_PLANNER_DIGEST={}", digest()?);
    let mut files: Vec<PathBuf> =
        fs::read_dir("proto")?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(files)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    Config::new()
        .btree_map(["."]) // the order of a HashMap is random, and so would be the bytes
        .include_file("proto.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// SHA-256 over the crate's version and every file of `src` and `proto`: its name, its length, its content with line ends as in
/// the repository. Files in the order of their names, so that every machine gets the same.
fn digest() -> std::io::Result<String> {
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files)?;
    collect(Path::new("proto"), &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    for (name, path) in files {
        let content: Vec<u8> = fs::read(path)?.into_iter().filter(|byte| *byte != b'\r').collect();
        hash.update(format!("\n{name} {}\n", content.len()));
        hash.update(content);
    }
    Ok(hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}

fn collect(dir: &Path, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push((path.to_string_lossy().replace('\\', "/"), path));
        }
    }
    Ok(())
}
