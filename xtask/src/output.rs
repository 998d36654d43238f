//! Files of `dist/`. What is there already stays untouched, its time of change too: what is built after it is built again only
//! if it is another one.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context;

/// Writes a file, unless it holds just that.
pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content).with_context(|| format!("{} cannot be written", path.display()))
}

/// Makes `to` hold what `from` holds, and nothing else.
pub(crate) fn mirror(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() != target.is_dir() {
            remove(&target)?;
        }
        if source.is_dir() {
            mirror(&source, &target)?;
        } else {
            write(&target, &fs::read(&source).with_context(|| source.display().to_string())?)?;
        }
        names.insert(entry.file_name());
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::time::{Duration, SystemTime};

    use super::*;

    /// A directory of its own, gone at the end.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("vtflow-xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_the_same_is_not_written_again() {
        let scratch = Scratch::new("same");
        let (from, to) = (scratch.0.join("from"), scratch.0.join("to"));
        fs::create_dir_all(from.join("pkg")).unwrap();
        fs::write(from.join("same"), "1").unwrap();
        fs::write(from.join("pkg/changed"), "1").unwrap();
        mirror(&from, &to).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for file in ["same", "pkg/changed"] {
            fs::File::options().append(true).open(to.join(file)).unwrap().set_modified(old).unwrap();
        }
        fs::write(from.join("pkg/changed"), "2").unwrap();
        mirror(&from, &to).unwrap();
        assert_eq!(fs::metadata(to.join("same")).unwrap().modified().unwrap(), old);
        assert_ne!(fs::metadata(to.join("pkg/changed")).unwrap().modified().unwrap(), old);
        assert_eq!(fs::read(to.join("pkg/changed")).unwrap(), b"2");
    }

    #[test]
    fn what_has_gone_goes_and_a_directory_may_become_a_file() {
        let scratch = Scratch::new("gone");
        let (from, to) = (scratch.0.join("from"), scratch.0.join("to"));
        fs::create_dir_all(to.join("name/inner")).unwrap();
        fs::create_dir_all(to.join("gone")).unwrap();
        fs::write(to.join("old"), "").unwrap();
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("name"), "now a file").unwrap();
        mirror(&from, &to).unwrap();
        let names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["name"]);
        assert_eq!(fs::read(to.join("name")).unwrap(), b"now a file");
    }
}
