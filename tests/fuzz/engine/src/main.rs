//! libFuzzer around one target: `VTFLOW_FUZZ_TARGET=answers vtflow-fuzz-engine CORPUS…`, or with a file, that input alone. With
//! `VTFLOW_FUZZ_SEEDS=FOLDER` it puts the inputs to begin with there instead, for every target.

#![no_main]

use std::{env, fs, path::Path, process, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use vtflow_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = env::var("VTFLOW_FUZZ_TARGET").unwrap_or_default();
    vtflow_fuzz::target(&name).unwrap_or_else(|| panic!("VTFLOW_FUZZ_TARGET={name}: there is no such target"))
});

fn put_seeds(folder: &Path) -> std::io::Result<()> {
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (name, seed) in (target.seeds)() {
            fs::write(folder.join(name), seed)?;
        }
    }
    Ok(())
}

fuzz_target!(
    init: {
        if let Some(folder) = env::var_os("VTFLOW_FUZZ_SEEDS") {
            put_seeds(Path::new(&folder)).expect("the inputs can be written");
            process::exit(0);
        }
        // What a target makes once, such as a compiled component, is not counted in the time of an input.
        for first in 0..4 {
            (TARGET.run)(&[first]);
        }
    },
    |data: &[u8]| (TARGET.run)(data)
);
