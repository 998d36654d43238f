//! Compiles `proto/*.proto` to Rust types (protox, so that no `protoc` is needed) and keeps the descriptors beside them.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a build script is IO; the planner is not")]

use std::path::PathBuf;

use prost_build::Config;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir("proto")?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(files)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    Config::new()
        .btree_map(["."]) // the order of a HashMap is random, and so would be the bytes
        .include_file("proto.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
