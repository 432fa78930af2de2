//! The command line: a command and `--name value` pairs. What nobody asks for is ignored, as `cargo` adds its own.

use std::fmt::Debug;
use std::str::FromStr;

use bitcask::{Durability, Io, Options};

pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn from_env() -> Self {
        Self(std::env::args().skip(1).filter(|argument| argument != "--bench").collect())
    }

    /// The first argument, unless it is an option.
    pub(crate) fn command(&self) -> Option<String> {
        self.0.first().filter(|first| !first.starts_with("--")).cloned()
    }

    /// Whether the flag `--name` is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|argument| argument.strip_prefix("--") == Some(name))
    }

    /// What follows `--name`.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|argument| argument.strip_prefix("--") == Some(name))?;
        self.0.get(at + 1).map(String::as_str)
    }

    /// The number behind `--name`.
    pub(crate) fn number<T: FromStr<Err: Debug>>(&self, name: &str, default: T) -> T {
        self.text(name)
            .map_or(default, |text| text.replace('_', "").parse().expect("an option's value is a number"))
    }

    /// The options of the store to measure.
    pub(crate) fn options(&self) -> Options {
        let io = match self.text("io") {
            None | Some("mapped") => Io::Mapped,
            Some("syscall") => Io::Syscall,
            Some(other) => panic!("--io is mapped or syscall, not {other}"),
        };
        let options = Options::new().io(io);
        match self.text("durability") {
            None | Some("interval") => options,
            Some("os") => options.durability(Durability::Os),
            Some("always") => options.durability(Durability::Always),
            Some(other) => panic!("--durability is interval, os or always, not {other}"),
        }
    }

    /// A directory of our own, removed with the guard.
    pub(crate) fn directory(&self) -> tempfile::TempDir {
        match self.text("dir") {
            Some(parent) => tempfile::tempdir_in(parent),
            None => tempfile::tempdir(),
        }
        .expect("a fresh directory can be made")
    }
}
