//! The ways in which the stores of these tests work: how bytes are moved, and how records are written.

#[cfg(test)]
use bitcask_testing::{Sweep, Tier};

use crate::file::layout::{self, Name};
use crate::format::position::FileId;
use crate::vfs::sim::SimDisk;
use crate::{Compression, Durability, Io, LogFormat, Options};

/// Every kind of compression that this build has, and none.
pub(super) fn compressions() -> Vec<Compression> {
    let all = [Compression::None, Compression::Lz4, Compression::Zstd { level: 3 }];
    all.into_iter().filter(|compression| compression.check().is_ok()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(super) io: Io,
    pub(super) format: LogFormat,
}

impl Way {
    pub(super) const MAPPED: Self = Self { io: Io::Mapped, format: LogFormat::Binary };
    pub(super) const SYSCALL: Self = Self { io: Io::Syscall, format: LogFormat::Binary };
    /// Text files are not mapped on a disk that can map either.
    pub(super) const JSON: Self = Self { io: Io::Mapped, format: LogFormat::Json };
    pub(super) const CSV: Self = Self { io: Io::Syscall, format: LogFormat::Csv };
    pub(crate) const ALL: [Self; 4] = [Self::MAPPED, Self::SYSCALL, Self::JSON, Self::CSV];

    pub(super) fn disk(self) -> SimDisk {
        SimDisk::new(self.io)
    }

    pub(super) fn options(self) -> Options {
        Options::new().format(self.format)
    }

    /// With a few records in each file, whatever their form, and no sync but those asked for.
    pub(super) fn small_files(self) -> Options {
        let file_size = if self.format == LogFormat::Binary { 450 } else { 1100 };
        self.options().max_file_size(file_size).durability(Durability::Os)
    }

    /// The name of the data file with this number.
    pub(super) fn file(self, number: u64) -> String {
        layout::data(FileId(number), self.format)
    }
}

/// How sweeps go through them.
#[cfg(test)]
impl Way {
    /// The ways that take turns where there is not the time for all of them: those that write by system calls.
    const IN_TURN: [Self; 3] = [Self::SYSCALL, Self::JSON, Self::CSV];

    /// The ways that a sweep wants, each with the number that the names of its cases begin with.
    pub(super) fn numbered(sweep: &Sweep) -> impl Iterator<Item = (u64, Self)> {
        (0..).zip(Self::ALL).filter(|&(number, _)| sweep.wants(number))
    }

    /// How many ways take turns with this one, and when its turn is: each alone, but with every commit.
    pub(super) fn turn(self) -> (u64, u64) {
        Tier::pick(self.turn_of_commit(), (1, 0), (1, 0))
    }

    /// Whether this way has its turn with the part of a sweep that has this number.
    pub(super) fn has_turn(self, number: u64) -> bool {
        let (turns, turn) = self.turn();
        number % turns == turn
    }

    /// What is left for this way of so many cases.
    pub(super) fn share(self, count: u64) -> u64 {
        count / self.turn().0
    }

    fn turn_of_commit(self) -> (u64, u64) {
        match (0..).zip(Self::IN_TURN).find(|(_, way)| *way == self) {
            Some((turn, _)) => (Self::IN_TURN.len() as u64, turn),
            None => (1, 0),
        }
    }
}

/// Whether the name is that of a data file, in whichever directory.
pub(super) fn is_data_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(layout::parse(name), Name::Data(..))
}
