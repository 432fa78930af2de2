//! Starts the command and collects what it says.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Arguments of different types in one list.
macro_rules! args {
    ($($argument:expr),* $(,)?) => {
        vec![$(std::ffi::OsString::from($argument)),*]
    };
}
pub(crate) use args;

/// What a run of the command came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self
    }

    /// Standard error is one sentence of the command that contains this.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "{:?} is not in {:?}", part, self.stderr);
        assert!(self.stderr.lines().all(|line| line.starts_with("bitcask: ")), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn prints(self, text: impl AsRef<[u8]>) -> Self {
        let (found, expected) = (self.stdout.escape_ascii(), text.as_ref().escape_ascii());
        assert_eq!(found.to_string(), expected.to_string());
        self
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }

    /// The lines of standard output, sorted: most verbs promise no order.
    #[track_caller]
    pub(crate) fn sorted_lines(&self) -> Vec<&str> {
        let mut lines: Vec<_> = self.text().lines().collect();
        lines.sort_unstable();
        lines
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) fn command(args: impl AsRef<[OsString]>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitcask"));
    command.args(args.as_ref()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Whoever runs the tests may have asked for a log.
    command.env_remove("BITCASK_LOG");
    command
}

pub(crate) fn bitcask(args: impl AsRef<[OsString]>) -> Run {
    command(args).output().unwrap().into()
}

pub(crate) fn bitcask_with_input(args: impl AsRef<[OsString]>, input: &[u8]) -> Run {
    let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The command may stop reading at a bad line.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap().into()
    })
}

/// A directory for one test, gone at its end.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The directory that the test keeps its store in.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// A store that holds these entries.
    pub(crate) fn store_with(&self, entries: &[(&[u8], &[u8])]) -> PathBuf {
        let lines: Vec<_> = entries.iter().map(|(key, value)| json_line(key, value)).collect();
        let store = self.store();
        bitcask_with_input(args!["import", &store, "--jsonl", "-"], lines.concat().as_bytes()).done();
        store
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn json_line(key: &[u8], value: &[u8]) -> String {
    let encode = data_encoding::BASE64;
    format!("{{\"key64\":\"{}\",\"value64\":\"{}\"}}\n", encode.encode(key), encode.encode(value))
}

/// The data files of a store, oldest first.
pub(crate) fn data_files(store: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(store).unwrap().map(|found| found.unwrap().path());
    let is_data = |path: &PathBuf| {
        ["data", "jsonl", "csv"].map(Some).contains(&path.extension().and_then(|it| it.to_str()))
    };
    let mut files: Vec<_> = names.filter(is_data).collect();
    files.sort();
    files
}

/// Turns the first of these bytes around, in the oldest data file that has them. Returns that file.
pub(crate) fn damage(store: &Path, bytes: &[u8]) -> PathBuf {
    for path in data_files(store) {
        let mut content = std::fs::read(&path).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) {
            content[at] ^= 0xff;
            std::fs::write(&path, content).unwrap();
            return path;
        }
    }
    panic!("no data file has these bytes");
}
