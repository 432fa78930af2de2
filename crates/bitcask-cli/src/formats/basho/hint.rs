//! A hint file: what one data file holds, without the values. All integers are big-endian.
//!
//! ```text
//! offset  bytes  field
//!      0      4  timestamp, as in the data file
//!      4      2  length of the key
//!      6      4  length of the entry in the data file
//!     10      8  one bit: is a tombstone; 63 bits: offset in the data file
//!     18         key
//! ```
//!
//! The last 18 bytes are a trailer of the same layout: timestamp 0, no key, all 63 bits of the offset set, and as the
//! length the CRC-32 of all bytes before it. Versions that knew no tombstone bit set all 64 bits. The oldest ones wrote
//! no trailer, and a crash leaves none.
//!
//! Nothing is imported from a hint file: it holds no value, and the data file tells its keys itself. It is a second
//! witness. One whose trailer fits tells where the entry behind a damaged one begins, which key the damaged one had, and
//! that entries are missing from the end of the data file.

use super::file::SourceFile;
use crate::failure::Failure;

const FIXED_LEN: u64 = 18;
/// The offset of the trailer, and what masks the tombstone bit off.
const OFFSET_MASK: u64 = u64::MAX >> 1;

/// One entry, but for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fixed {
    timestamp: u32,
    key_len: u16,
    entry_len: u32,
    offset: u64,
}

impl Fixed {
    fn decode(bytes: [u8; 18]) -> Self {
        let [t0, t1, t2, t3, k0, k1, l0, l1, l2, l3, o0, o1, o2, o3, o4, o5, o6, o7] = bytes;
        Self {
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            key_len: u16::from_be_bytes([k0, k1]),
            entry_len: u32::from_be_bytes([l0, l1, l2, l3]),
            // The tombstone bit adds nothing: it is set for every value that begins like a tombstone.
            offset: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]) & OFFSET_MASK,
        }
    }

    fn is_trailer(&self) -> bool {
        (self.timestamp, self.key_len, self.offset) == (0, 0, OFFSET_MASK)
    }
}

/// What the trailer says.
pub(super) enum Hint {
    /// The trailer fits: the file is as it was written, to its end.
    Sound(HintReader),
    WithoutTrailer,
    /// There is a trailer, and its checksum does not fit. It begins at this offset.
    Damaged(u64),
}

impl Hint {
    /// Reads the whole file to check it.
    pub(super) fn open(mut file: SourceFile) -> Result<Self, Failure> {
        let Some(end) = file.len().checked_sub(FIXED_LEN) else {
            return Ok(Self::WithoutTrailer);
        };
        let trailer = Fixed::decode(file.array(end)?);
        if !trailer.is_trailer() {
            return Ok(Self::WithoutTrailer);
        }
        if file.checksum(0..end)? != trailer.entry_len {
            return Ok(Self::Damaged(end));
        }
        Ok(Self::Sound(HintReader { file, next: 0, end }))
    }
}

/// What a hint file says of one entry of the data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HintEntry {
    pub(super) timestamp: u32,
    /// Of the data entry.
    pub(super) offset: u64,
    /// Of the data entry.
    pub(super) len: u64,
    pub(super) key: Vec<u8>,
}

/// Reads the entries of a sound hint file in order, which is the order of the data file.
pub(super) struct HintReader {
    file: SourceFile,
    next: u64,
    end: u64,
}

impl HintReader {
    /// The next entry, without going on to the one behind it; `None` at the end, or where no entry fits in.
    pub(super) fn peek(&mut self) -> Result<Option<HintEntry>, Failure> {
        if self.end - self.next < FIXED_LEN {
            return Ok(None);
        }
        let fixed = Fixed::decode(self.file.array(self.next)?);
        if self.end - self.next < FIXED_LEN + u64::from(fixed.key_len) {
            return Ok(None);
        }
        let key = self.file.bytes(self.next + FIXED_LEN, usize::from(fixed.key_len))?.to_vec();
        let (timestamp, offset, len) = (fixed.timestamp, fixed.offset, u64::from(fixed.entry_len));
        Ok(Some(HintEntry { timestamp, offset, len, key }))
    }

    /// Goes on behind an entry that was peeked at.
    pub(super) fn skip(&mut self, entry: &HintEntry) {
        self.next += FIXED_LEN + entry.key.len() as u64;
    }
}
