//! Values that are stored compressed, each by itself.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 4 | plain length | of the value as it was put |
//! | | compressed | one LZ4 block, or one Zstandard frame |
//!
//! To everybody but who reads values, these are the bytes of the value: its size, its checksum, what a merge copies.
//! By which algorithm they were made, the record's header says.
//!
//! A plain length is proven by the value's checksum only, so whoever forges one could make a reader allocate 4 GiB for
//! a few bytes: one that so few bytes cannot become is refused before anything is allocated.

#[cfg(not(all(feature = "lz4", feature = "zstd")))]
mod absent;
#[cfg(not(feature = "lz4"))]
use absent as lz4;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(not(feature = "zstd"))]
use absent as zstd;
#[cfg(test)]
mod tests;
#[cfg(feature = "zstd")]
mod zstd;

use super::Defect;
use super::file_header::LogFormat;

/// How values are compressed that are written from now on. What is in the store already stays as it is, and is read
/// whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// LZ4: fast, in both directions. Needs the cargo feature `lz4`, which is on by default.
    Lz4,
    /// Zstandard: smaller, and slower. Needs the cargo feature `zstd`, which is on by default.
    Zstd {
        /// 1 (fast) to 22 (small); 3 is what Zstandard itself takes. From about 16 on, each thread that writes needs
        /// many megabytes of memory for it.
        level: i32,
    },
}

impl Compression {
    /// The algorithm, and its level where it has any.
    fn algorithm(self) -> Option<(Algorithm, i32)> {
        match self {
            Self::None => None,
            Self::Lz4 => Some((Algorithm::Lz4, 0)),
            Self::Zstd { level } => Some((Algorithm::Zstd, level)),
        }
    }

    /// What is wrong with this choice, if anything is.
    pub(crate) fn check(self) -> Result<(), String> {
        match self.algorithm() {
            Some((algorithm, _)) if !algorithm.is_built() => {
                let name = algorithm.name();
                Err(format!("compression by {name} takes a build with the cargo feature `{name}`"))
            }
            Some((Algorithm::Zstd, level)) if !(1..=22).contains(&level) => {
                Err(format!("a level of zstd is 1 to 22, not {level}"))
            }
            _ => Ok(()),
        }
    }
}

/// By what a stored value was compressed. The numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Lz4,
    Zstd,
}

impl Algorithm {
    const ALL: [Self; 2] = [Self::Lz4, Self::Zstd];

    /// The word for it, which is also that of the cargo feature.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The number that stands for it in a record; 0 stands for none.
    pub(crate) fn to_number(self) -> u8 {
        match self {
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.to_number() == number)
    }

    /// Whether this build can compress and decompress by it.
    pub(crate) fn is_built(self) -> bool {
        match self {
            Self::Lz4 => lz4::IS_BUILT,
            Self::Zstd => zstd::IS_BUILT,
        }
    }

    /// The most bytes that `len` compressed ones become.
    fn plain_len_max(self, len: usize) -> usize {
        let factor = match self {
            // A byte lengthens a match by at most 255.
            Self::Lz4 => 255,
            // A block makes at most 128 KiB, and has a header of three bytes and at least one more.
            Self::Zstd => 32 << 10,
        };
        len.saturating_mul(factor)
    }

    /// Appends the compressed bytes to `out`, if they are at most `room`.
    fn compress(self, plain: &[u8], level: i32, room: usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Lz4 => lz4::compress(plain, level, room, out),
            Self::Zstd => zstd::compress(plain, level, room, out),
        }
    }

    /// Fills `plain`; how many bytes of it.
    fn decompress(self, compressed: &[u8], plain: &mut [u8]) -> Option<usize> {
        match self {
            Self::Lz4 => lz4::decompress(compressed, plain),
            Self::Zstd => zstd::decompress(compressed, plain),
        }
    }
}

const PLAIN_LEN: usize = 4;

/// The bytes to store in place of a value, and by what they were made; `None` when the value is better stored plain.
pub(crate) fn compress(
    compression: Compression,
    format: LogFormat,
    plain: &[u8],
) -> Option<(Algorithm, Vec<u8>)> {
    let (algorithm, level) = compression.algorithm()?;
    let mut stored = u32::try_from(plain.len()).ok()?.to_le_bytes().to_vec();
    let room = stored_len_max(format, plain.len()).checked_sub(PLAIN_LEN)?;
    algorithm.compress(plain, level, room, &mut stored)?;
    Some((algorithm, stored))
}

/// How long a stored value may be to be worth its decompression at each read: it saves an eighth, which is LevelDB's rule.
fn stored_len_max(format: LogFormat, plain_len: usize) -> usize {
    let most = plain_len - plain_len.div_ceil(8);
    match format.syntax() {
        None => most,
        // In base64 three bytes become four.
        Some(_) => most / 4 * 3,
    }
}

/// The length of the value that `stored` was made of, as far as that can be true.
pub(crate) fn plain_len(algorithm: Algorithm, stored: &[u8]) -> Result<usize, Defect> {
    let Some((len, compressed)) = stored.split_first_chunk::<PLAIN_LEN>() else {
        return Err(Defect::damaged("a compressed value without its length"));
    };
    let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
    if len > algorithm.plain_len_max(compressed.len()) {
        let what = format!("a value of {} bytes cannot decompress to {len}", stored.len());
        return Err(Defect::damaged(what));
    }
    Ok(len)
}

/// Puts the plain value in the place of the stored one, with which `bytes` end from `start` on.
pub(crate) fn decompress(algorithm: Algorithm, bytes: &mut Vec<u8>, start: usize) -> Result<(), Defect> {
    let len = plain_len(algorithm, &bytes[start..])?;
    if !algorithm.is_built() {
        return Err(Defect::MissingFeature(algorithm.name()));
    }
    let end = bytes.len();
    // Behind the stored value, so that who reads many values needs no memory beside the one buffer.
    bytes.resize(end + len, 0);
    let (stored, plain) = bytes.split_at_mut(end);
    if algorithm.decompress(&stored[start + PLAIN_LEN..], plain) != Some(len) {
        let what = format!("the value does not decompress to its {len} bytes by {}", algorithm.name());
        return Err(Defect::damaged(what));
    }
    bytes.drain(start..end);
    Ok(())
}
