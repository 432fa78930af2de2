//! What can go wrong in a verb, and the exit code that each of it leads to.
//!
//! The codes are an interface: scripts branch on them. They are listed in the help of the command and in `docs/cli.md`.

use std::io;
use std::path::Path;
use std::process::ExitCode;

/// What the process tells its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// The answer is no, or there is nothing by that name.
    No,
    Usage,
    Damage,
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::Damage => 3,
            Exit::Failed => 4,
        })
    }
}

/// Why a verb ended early. Its text is one sentence for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),

    /// The key (already escaped for a terminal) is not in the store.
    #[error("the key \"{0}\" is not in the store")]
    NotFound(String),

    /// The key (already escaped for a terminal) was to be absent.
    #[error("the key \"{0}\" is in the store already")]
    Present(String),

    /// A condition does not hold, so that nothing was written.
    #[error("{0}; nothing was written")]
    Unmet(String),

    /// The verb ran to its end and found damaged bytes.
    #[error("{0}")]
    Damage(String),

    /// The verb did a part of its work.
    #[error("{0}")]
    Incomplete(String),

    /// Whoever read our standard output has gone: there is nobody left to tell.
    #[error("standard output is closed")]
    ClosedPipe,

    /// What was to be read does not have the form it should have.
    #[error("{place}: {what}")]
    Input { place: String, what: String },

    #[error("cannot {operation} {what}: {source}")]
    Io { operation: &'static str, what: String, source: io::Error },

    #[error(transparent)]
    Engine(#[from] bitcask::Error),

    /// An import ended early.
    #[error("{source}; what came before it ({before}) is in the store")]
    Stopped { source: Box<Failure>, before: String },

    /// The engine refused an entry that came from a file.
    #[error("{place}: {source}")]
    EngineAt { place: String, source: bitcask::Error },
}

impl Failure {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, what: path.display().to_string(), source }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::ClosedPipe => Exit::Done,
            Self::NotFound(_) | Self::Present(_) | Self::Unmet(_) => Exit::No,
            Self::Usage(_) => Exit::Usage,
            Self::Damage(_) => Exit::Damage,
            Self::Stopped { source, .. } => source.exit(),
            Self::Engine(source) | Self::EngineAt { source, .. } => engine_exit(source),
            Self::Incomplete(_) | Self::Input { .. } | Self::Io { .. } => Exit::Failed,
        }
    }
}

fn engine_exit(error: &bitcask::Error) -> Exit {
    match error {
        // The engine checks the ranges of what `--max-file-size` and its siblings set.
        bitcask::Error::InvalidOptions { .. } => Exit::Usage,
        _ if error.is_corruption() => Exit::Damage,
        _ => Exit::Failed,
    }
}
