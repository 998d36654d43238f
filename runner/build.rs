//! Embeds what is there of `dist/`: of `cargo xtask web` the list of the page's files, each with its content, and of
//! `cargo xtask component` the planner.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a build script is IO")]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for made in ["../dist/page", "../dist/planner.wasm"] {
        // Where it is missing, the directory that is always there: what is missing would make every build a new one.
        let watched = if Path::new(made).exists() { made } else { "../dist" };
        println!("cargo:rerun-if-changed={watched}");
    }
    let page = Path::new("../dist/page").canonicalize().ok();
    let mut files = Vec::new();
    if let Some(page) = &page {
        collect(page, page, &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for (name, mut path) in files {
        if name == "index.html" {
            // A page on a static host has no server to ask.
            let served = fs::read_to_string(&path)?.replacen("<html ", "<html data-served ", 1);
            path = out.join("index.html");
            fs::write(&path, served)?;
        }
        writeln!(list, "    ({name:?}, include_bytes!({:?})),", path.display().to_string())?;
    }
    list.push_str("]\n");
    fs::write(out.join("page.rs"), list)?;
    let component = match Path::new("../dist/planner.wasm").canonicalize() {
        Ok(path) => {
            // A quarter of it, in a program that mostly does without.
            fs::write(out.join("planner.zlib"), miniz_oxide::deflate::compress_to_vec_zlib(&fs::read(path)?, 6))?;
            "Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/planner.zlib\")))"
        }
        Err(_) => "None",
    };
    fs::write(out.join("planner.rs"), component)?;
    Ok(())
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_none_or(|extension| extension != "ts") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.push((name, path));
        }
    }
    Ok(())
}
