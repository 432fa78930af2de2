//! What goes wrong while the engine runs: errors at chosen operations, short calls, a write that arrives as something
//! else, a sync that lies.
//!
//! Operations are counted from 0, one for each call through the seam; copies in a map count too, so that a test can
//! crash between two of them, but only [`Failure::Map`] and [`Failure::Panic`] reach them.

use super::random::Random;
use super::to_u64;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Which call of the seam an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum OpKind {
    OpenDir,
    List,
    Create,
    Open,
    Rename,
    Link,
    Remove,
    SyncDir,
    Lock,
    IsIntact,
    Space,
    Len,
    ReadAt,
    WriteAt,
    CopyOut,
    CopyIn,
    Map,
    Allocate,
    Truncate,
    SyncFile,
}

impl OpKind {
    /// Whether a crash before this operation can leave another disk than a crash after it.
    pub(crate) fn changes_disk(self) -> bool {
        match self {
            Self::Create | Self::Rename | Self::Link | Self::Remove | Self::SyncDir | Self::Lock => true,
            Self::WriteAt | Self::CopyIn | Self::Allocate | Self::Truncate | Self::SyncFile => true,
            Self::OpenDir | Self::List | Self::Open | Self::IsIntact | Self::Space | Self::Len => false,
            Self::ReadAt | Self::CopyOut | Self::Map => false,
        }
    }

    pub(crate) fn is_sync(self) -> bool {
        matches!(self, Self::SyncDir | Self::SyncFile)
    }
}

/// One operation, as the trace shows it: `17 WriteAt 0000000001.data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) kind: OpKind,
    /// The file, or the path of the directory.
    pub(crate) name: Arc<str>,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?} {}", self.number, self.kind, self.name)
    }
}

/// How an operation fails. It changes nothing then, but for a sync, whose pending changes are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Kind(io::ErrorKind),
    /// An error number of the operating system, such as 5 for EIO.
    Os(i32),
    /// A copy in a map meets a page that cannot be read or written.
    Map,
    /// No error: the call panics, by system call or in a map.
    Panic,
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Kind(kind) => kind.into(),
            Self::Os(number) => io::Error::from_raw_os_error(number),
            Self::Map => map_fault(),
            Self::Panic => panic!("the simulated disk panics"),
        }
    }
}

/// The error of a copy in a map that meets a bad page.
pub(super) fn map_fault() -> io::Error {
    io::Error::other("a page of the mapped file could not be accessed")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Once,
    /// From the first hit on, until the faults are cleared.
    Forever,
}

/// How much of its work a read or a write by system call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    Whole,
    /// A part, at least a byte; now and then none at all and `Interrupted`.
    Short {
        seed: u64,
    },
}

/// What a sync that returns `Ok` has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncMode {
    Honest,
    /// Nothing: the changes stay pending.
    Lies,
}

/// How an operation reaches the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Call,
    Map,
}

#[derive(Clone)]
struct Injection {
    from: u64,
    only: fn(OpKind) -> bool,
    failure: Failure,
    repeat: Repeat,
}

impl Injection {
    fn hits(&self, number: u64, kind: OpKind, way: Way) -> bool {
        let reaches = match self.failure {
            Failure::Kind(_) | Failure::Os(_) => way == Way::Call,
            Failure::Map => way == Way::Map,
            Failure::Panic => true,
        };
        number >= self.from && reaches && (self.only)(kind)
    }
}

/// The faults that a test has ordered.
#[derive(Clone)]
pub(super) struct Faults {
    /// How many operations have begun.
    pub(super) operations: u64,
    /// How many of them were made to fail.
    pub(super) fired: u64,
    /// The name of the thread that called the last of those.
    pub(super) fired_in: Option<String>,
    pub(super) sync_mode: SyncMode,
    injections: Vec<Injection>,
    /// From which operation on the next write by a system call arrives with a bit flipped, and in which byte of it; behind
    /// its end they are counted from the start again.
    pub(super) garbles: Option<(u64, usize)>,
    /// Chance for short calls; `None` when they are whole.
    short: Option<Random>,
}

impl Faults {
    pub(super) fn none() -> Self {
        Self {
            operations: 0,
            fired: 0,
            fired_in: None,
            sync_mode: SyncMode::Honest,
            injections: Vec::new(),
            garbles: None,
            short: None,
        }
    }

    pub(super) fn inject(&mut self, from: u64, only: fn(OpKind) -> bool, failure: Failure, repeat: Repeat) {
        self.injections.push(Injection { from, only, failure, repeat });
    }

    pub(super) fn clear(&mut self) {
        *self = Self {
            operations: self.operations,
            fired: self.fired,
            fired_in: self.fired_in.take(),
            ..Self::none()
        };
    }

    pub(super) fn set_calls(&mut self, calls: Calls) {
        self.short = match calls {
            Calls::Whole => None,
            Calls::Short { seed } => Some(Random::new(seed)),
        };
    }

    /// Whether this operation fails.
    pub(super) fn check(&mut self, number: u64, kind: OpKind, way: Way) -> io::Result<()> {
        let Some(index) = self.injections.iter().position(|injection| injection.hits(number, kind, way))
        else {
            return Ok(());
        };
        self.fired += 1;
        self.fired_in = std::thread::current().name().map(str::to_owned);
        let failure = self.injections[index].failure;
        if self.injections[index].repeat == Repeat::Once {
            self.injections.remove(index);
        }
        Err(failure.error())
    }

    /// What arrives of bytes that are written by the operation that was counted last.
    pub(super) fn arriving<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let written_by = self.operations - 1;
        let hit = self.garbles.take_if(|(from, _)| *from <= written_by && !bytes.is_empty());
        let Some((_, place)) = hit else { return Cow::Borrowed(bytes) };
        self.fired += 1;
        let mut bytes = bytes.to_vec();
        let place = place % bytes.len();
        bytes[place] ^= 1;
        Cow::Owned(bytes)
    }

    /// How many of `len` bytes a system call moves.
    pub(super) fn part(&mut self, len: usize) -> io::Result<usize> {
        let Some(random) = self.short.as_mut().filter(|_| len > 0) else { return Ok(len) };
        if random.one_in(8) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(1 + super::to_usize(random.below(to_u64(len))))
    }
}
