//! Children: this test binary again, in another process, with the role that the environment names.
//!
//! A binary that has children has one test that is their entry: it asks [`role`], which is nothing in an ordinary run.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may what only tests use")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

const ROLE: &str = "BITCASK_TEST_ROLE";
/// The environment variable that names the directory of a child.
pub const STORE: &str = "BITCASK_TEST_STORE";

/// What this process is to do, and in which directory, if it is a child.
#[must_use]
pub fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    Some((role, PathBuf::from(std::env::var_os(STORE).unwrap())))
}

/// A child that does not outlive its test, and what it says on lines that begin with `> `.
#[derive(Debug)]
pub struct OtherProcess {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl OtherProcess {
    /// Runs the test `entry` of this binary, by way of a shell in which `exec`, or what is asked for in its place,
    /// comes before the command.
    pub fn start(entry: &str, role: &str, store: &Path, exec: &str) -> Self {
        let script = format!("{exec} \"$0\" --exact {entry} --nocapture --test-threads=1");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(std::env::current_exe().unwrap());
        command.env(ROLE, role).env(STORE, store);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next thing it says; `None` when it has ended.
    pub fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The test harness may have begun the line.
            if let Some((_, said)) = line.split_once("> ") {
                return line.ends_with('\n').then(|| said.trim_end().to_owned());
            }
        }
    }

    /// Sends it a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", &format!("kill -s {name} {}", self.id())]).status();
        assert!(kill.unwrap().success(), "SIG{name}");
    }

    /// Its process id, where the shell has become the command.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go on from [`wait_for_parent`].
    pub fn let_go(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end: what it had still to say, and how it ended.
    pub fn end(mut self) -> (Vec<String>, ExitStatus) {
        let lines = std::iter::from_fn(|| self.line()).collect();
        (lines, self.child.wait().unwrap())
    }

    /// `kill -9`; then what it had said before.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.line()).collect()
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says something to the parent.
pub fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    println!("> {text}");
    std::io::stdout().flush().unwrap();
}

/// Returns once the parent lets go.
pub fn wait_for_parent() {
    let mut nothing = String::new();
    let _ = std::io::stdin().read_line(&mut nothing);
}

/// The bytes of every file in a directory.
pub fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let regular = entries.filter(|entry| entry.file_type().unwrap().is_file());
    regular
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}
