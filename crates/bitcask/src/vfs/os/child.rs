//! For tests: runs one test of this binary again in a child process, to see it die or to have a second process.

use std::process::{self, Command};

const VARIABLE: &str = "BITCASK_TEST_CHILD";

/// A child that does not outlive its test, even when that fails.
pub(super) struct Child(pub(super) process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that runs the one test `name` (with its module path), which finds `argument` by [`argument`].
pub(super) fn command(name: &str, argument: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(VARIABLE, format!("{name}={argument}"));
    command
}

/// The argument, when this process is the child of the test `name`.
pub(super) fn argument(name: &str) -> Option<String> {
    let value = std::env::var(VARIABLE).ok()?;
    value.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
}
