//! How long the sweeps may take.

use std::env;

/// How long the sweeps may take, from the environment variable `BITCASK_TIER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// With every commit: two minutes in all.
    Commit,
    /// The long run: hours.
    Nightly,
    /// Before a release: a day.
    Release,
}

impl Tier {
    /// The tier of this run.
    ///
    /// # Panics
    ///
    /// When the variable names none.
    #[must_use]
    pub fn get() -> Self {
        match env::var("BITCASK_TIER").as_deref() {
            Err(_) | Ok("" | "commit") => Self::Commit,
            Ok("nightly") => Self::Nightly,
            Ok("release") => Self::Release,
            Ok(other) => panic!("BITCASK_TIER is commit, nightly or release, not {other}"),
        }
    }

    /// What belongs to this run's tier: most often the size of something.
    pub fn pick<T>(commit: T, nightly: T, release: T) -> T {
        match Self::get() {
            Self::Commit => commit,
            Self::Nightly => nightly,
            Self::Release => release,
        }
    }

    /// As `BITCASK_TIER` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Nightly => "nightly",
            Self::Release => "release",
        }
    }
}
