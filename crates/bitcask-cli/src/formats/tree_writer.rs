//! A directory tree as a sink: every entry becomes a file whose relative path is the key.
//!
//! Keys come from anywhere, so none is trusted. A key is refused when it is no plain relative path, when a symbolic link
//! lies on its way, or when something is there already: nothing outside the root is written, nothing that exists is
//! changed. Paths are walked part by part below an open directory (crate `cap-std`), so this also holds when somebody
//! changes the tree meanwhile.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Component, Path};
use std::time::SystemTime;

use cap_fs_ext::DirExt;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::{Sink, Taken};
use crate::bytes::os_name;
use crate::failure::Failure;

/// No file system has longer names.
const MAX_NAME_LEN: usize = 255;
/// The longest path that Linux takes in one call. A deeper tree could be built, but hardly be removed again.
const MAX_PATH_LEN: usize = 4_095;

/// Writes one file an entry.
pub(crate) struct TreeWriter {
    root: Dir,
    path: std::path::PathBuf,
    /// The directory of the last file: the next file is often its neighbour.
    parent: Option<(Vec<u8>, Dir)>,
}

/// Why an entry was not written.
enum Stop {
    /// This key cannot be written; the next one may.
    Refused(String),
    /// The disk fails, and would fail for others too.
    Failed(io::Error),
}

impl TreeWriter {
    /// Creates the directory, with its parents, when it is missing.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let open = || {
            std::fs::create_dir_all(path)?;
            Dir::open_ambient_dir(path, ambient_authority())
        };
        let root = open().map_err(|source| Failure::io("create", path, source))?;
        Ok(Self { root, path: path.to_owned(), parent: None })
    }

    fn write_file(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        check(key)?;
        let (parent, name) = split_name(key);
        if self.parent.as_ref().is_none_or(|(path, _)| path != parent) {
            let dir = open_parent(&self.root, parent)?;
            self.parent = Some((parent.to_vec(), dir));
        }
        let dir = self.parent.as_ref().map_or(&self.root, |(_, dir)| dir);
        let name = to_name(name)?;
        let mut options = OpenOptions::new();
        // `create_new` neither follows a link nor opens what is there.
        options.write(true).create_new(true);
        let mut file = dir.open_with(name, &options).map_err(|error| explain(dir, name, error))?;
        file.write_all(value).map_err(|error| {
            // Half a value must not look like a whole one. If that fails too, the first failure is the one to tell.
            let _ = dir.remove_file(name);
            Stop::Failed(error)
        })
    }
}

impl Sink for TreeWriter {
    fn write(&mut self, key: &[u8], value: &[u8], _: Option<SystemTime>) -> Result<Taken, Failure> {
        match self.write_file(key, value) {
            Ok(()) => Ok(Taken::Yes),
            Err(Stop::Refused(reason)) => Ok(Taken::No(reason)),
            Err(Stop::Failed(source)) => {
                let what = format!("\"{}\" below {}", crate::bytes::escaped(key), self.path.display());
                Err(Failure::Io { operation: "write", what, source })
            }
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Refuses a key that is no plain relative path, before anything is touched.
fn check(key: &[u8]) -> Result<(), Stop> {
    let refuse = |reason: &str| Err(Stop::Refused(reason.to_owned()));
    if key.contains(&0) {
        return refuse("it contains NUL");
    }
    if key.starts_with(b"/") {
        return refuse("it is an absolute path");
    }
    if key.len() > MAX_PATH_LEN {
        return refuse("it is longer than a path may be");
    }
    for part in key.split(|&byte| byte == b'/') {
        match part {
            b"" => return refuse("a part of the path is empty"),
            b"." | b".." => return refuse("a part of the path is \".\" or \"..\""),
            _ if part.len() > MAX_NAME_LEN => {
                return refuse("a part of the path is longer than a name may be");
            }
            _ => {}
        }
        // Whatever else the system takes for more than a name, such as `C:` or a backslash.
        let name = to_name(part)?;
        let mut components = Path::new(name).components();
        if components.next() != Some(Component::Normal(name)) || components.next().is_some() {
            return refuse("a part of the path is no plain name here");
        }
        if cfg!(windows) && part.contains(&b':') {
            return refuse("a part of the path contains a colon");
        }
    }
    Ok(())
}

fn to_name(part: &[u8]) -> Result<&OsStr, Stop> {
    os_name(part).ok_or_else(|| Stop::Refused("it is not UTF-8, which file names are here".to_owned()))
}

/// The key's directory part, empty where there is none, and its last part.
fn split_name(key: &[u8]) -> (&[u8], &[u8]) {
    match key.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&key[..slash], &key[slash + 1..]),
        None => (b"", key),
    }
}

/// Goes down part by part, never through a link, and makes what is missing.
fn open_parent(root: &Dir, parent: &[u8]) -> Result<Dir, Stop> {
    let mut dir = root.try_clone().map_err(Stop::Failed)?;
    for part in parent.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        let name = to_name(part)?;
        let next = match dir.open_dir_nofollow(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                dir.create_dir(name).and_then(|()| dir.open_dir_nofollow(name))
            }
            result => result,
        };
        dir = next.map_err(|error| explain(&dir, name, error))?;
    }
    Ok(dir)
}

/// Tells what is in the way of a name from what is wrong with the disk.
fn explain(dir: &Dir, name: &OsStr, error: io::Error) -> Stop {
    let shown = crate::bytes::os_bytes(name).map(|bytes| crate::bytes::escaped(&bytes)).unwrap_or_default();
    match dir.symlink_metadata(name) {
        Ok(found) if found.is_symlink() => Stop::Refused(format!("\"{shown}\" is a symbolic link there")),
        Ok(found) if error.kind() == io::ErrorKind::AlreadyExists && found.is_dir() => {
            Stop::Refused(format!("\"{shown}\" is a directory there"))
        }
        Ok(found) if !found.is_dir() => Stop::Refused(format!("\"{shown}\" is a file there already")),
        _ if matches!(error.kind(), io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput) => {
            Stop::Refused(format!("\"{shown}\" is no name there: {error}"))
        }
        _ => Stop::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(writer: &mut TreeWriter, key: &str) -> Taken {
        writer.write(key.as_bytes(), b"value", None).unwrap()
    }

    fn reason(writer: &mut TreeWriter, key: &str) -> String {
        match write(writer, key) {
            Taken::No(reason) => reason,
            Taken::Yes => panic!("{key:?} was written"),
        }
    }

    #[test]
    fn keys_that_are_no_plain_relative_paths_are_refused_and_nothing_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = TreeWriter::create(&dir.path().join("out")).unwrap();
        for key in ["/a", "/", "//", "../a", "a/../../b", "..", ".", "./a", "a/.", "a//b", "a/", "a\0b", ""] {
            reason(&mut writer, key);
        }
        reason(&mut writer, &"a/".repeat(3_000));
        reason(&mut writer, &format!("a/{}", "b".repeat(300)));
        assert_eq!(std::fs::read_dir(dir.path().join("out")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_only_look_hostile_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = TreeWriter::create(dir.path()).unwrap();
        for key in ["...", "..a", "a..", "~", "-rf", "a b/\n"] {
            assert_eq!(write(&mut writer, key), Taken::Yes, "{key:?}");
            assert_eq!(std::fs::read(dir.path().join(key)).unwrap(), b"value");
        }
    }

    #[test]
    fn a_key_that_continues_another_one_is_refused_whichever_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = TreeWriter::create(dir.path()).unwrap();
        assert_eq!(write(&mut writer, "a"), Taken::Yes);
        assert_eq!(reason(&mut writer, "a/b"), "\"a\" is a file there already");
        assert_eq!(write(&mut writer, "c/d"), Taken::Yes);
        assert_eq!(reason(&mut writer, "c"), "\"c\" is a directory there");
    }

    #[test]
    fn what_exists_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "old").unwrap();
        let mut writer = TreeWriter::create(dir.path()).unwrap();
        assert_eq!(reason(&mut writer, "a"), "\"a\" is a file there already");
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"old");
    }

    #[cfg(unix)]
    #[test]
    fn no_way_leads_through_a_symbolic_link() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (out, outside) = (dir.path().join("out"), dir.path().join("outside"));
        std::fs::create_dir_all(out.join("inside")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, out.join("away")).unwrap();
        symlink("inside", out.join("within")).unwrap();
        symlink(outside.join("new"), out.join("dangling")).unwrap();
        let mut writer = TreeWriter::create(&out).unwrap();
        for key in ["away/a", "within/a", "dangling/a", "away", "within", "dangling"] {
            assert!(reason(&mut writer, key).ends_with("is a symbolic link there"), "{key}");
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(out.join("inside")).unwrap().count(), 0);
    }
}
