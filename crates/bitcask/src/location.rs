//! Where a record lies, packed into the eight bytes that the keydir keeps for each key.
//!
//! | bits | field |
//! |---|---|
//! | 63 | has expiry |
//! | 43-62 | slot of the file table |
//! | 11-42 | offset of the record in its file |
//! | 0-10 | rounded length of the record: 6 bits of mantissa, 5 of exponent |
//!
//! A location is never zero: a file begins with its header, so no record has offset 0.

use std::num::NonZeroU64;

/// A place in the file table. Slots are used again after their file is gone; file ids never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

impl Slot {
    /// How many files a store can have open at once.
    pub(crate) const COUNT: u32 = 1 << 20;

    pub(crate) const FIRST: Self = Self(0);

    /// The first slot behind all of these.
    pub(crate) fn after(slots: impl Iterator<Item = Self>) -> Option<Self> {
        Self::new(slots.map(|slot| slot.index() + 1).max().unwrap_or(0))
    }

    /// The slot with this index, when there is such a one.
    pub(crate) fn new(index: usize) -> Option<Self> {
        u32::try_from(index).ok().filter(|&index| index < Self::COUNT).map(Self)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether the record at a location carries an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    Some,
}

impl From<Option<u64>> for Expiry {
    fn from(expiry: Option<u64>) -> Self {
        if expiry.is_some() { Self::Some } else { Self::Never }
    }
}

/// Where the newest record of a key lies: file, offset, and an upper bound of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location(NonZeroU64);

const EXPIRY_BIT: u64 = 1 << 63;
const SLOT_SHIFT: u32 = 43;
const OFFSET_SHIFT: u32 = 11;
const LEN_MASK: u64 = (1 << OFFSET_SHIFT) - 1;
const MANTISSA_BITS: u32 = 6;

impl Location {
    /// Packs a location. `offset` is where the record starts, never 0; `len` its length in bytes.
    pub(crate) fn new(slot: Slot, offset: u32, len: u64, expiry: Expiry) -> Self {
        debug_assert!(offset > 0, "a record never starts at 0, where the file header lies");
        let expiry_bit = match expiry {
            Expiry::Never => 0,
            Expiry::Some => EXPIRY_BIT,
        };
        let packed =
            expiry_bit | u64::from(slot.0) << SLOT_SHIFT | u64::from(offset) << OFFSET_SHIFT | round(len);
        Self(NonZeroU64::new(packed).unwrap_or(NonZeroU64::MIN))
    }

    /// Any location but zero: for tests that need some.
    #[cfg(test)]
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    pub(crate) fn slot(self) -> Slot {
        let index = (self.0.get() >> SLOT_SHIFT) & u64::from(Slot::COUNT - 1);
        Slot(u32::try_from(index).unwrap_or(0))
    }

    pub(crate) fn offset(self) -> u32 {
        u32::try_from((self.0.get() >> OFFSET_SHIFT) & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// The record's length, rounded up by less than 1/32.
    pub(crate) fn len(self) -> u64 {
        unround(self.0.get() & LEN_MASK)
    }

    /// Whether the record has an expiry, which only the record itself tells.
    pub(crate) fn has_expiry(self) -> bool {
        self.0.get() & EXPIRY_BIT != 0
    }
}

/// A length rounded up as locations round it, in 11 bits.
pub(crate) fn round_len(len: u64) -> u16 {
    u16::try_from(round(len)).unwrap_or(u16::MAX)
}

/// The length that [`round_len`] made these bits of; `None` when it never does.
pub(crate) fn unround_len(bits: u16) -> Option<u64> {
    let bits = u64::from(bits);
    (bits <= LEN_MASK).then(|| unround(bits))
}

#[cfg(test)]
/// The length that [`Location::len`] gives back for a record of `len` bytes.
pub(crate) fn rounded(len: u64) -> u64 {
    unround(round(len))
}

/// Rounds up to 6 significant bits: an exponent of 5 bits above them. Lengths up to 63 << 31 fit.
fn round(len: u64) -> u64 {
    let significant = u64::BITS - len.leading_zeros();
    let exponent = significant.saturating_sub(MANTISSA_BITS);
    let mantissa = (len + ((1 << exponent) - 1)) >> exponent;
    // Rounding 63.x up gives 64: the same value one exponent higher.
    let (mantissa, exponent) =
        if mantissa == 1 << MANTISSA_BITS { (mantissa >> 1, exponent + 1) } else { (mantissa, exponent) };
    debug_assert!(exponent < 32, "a record's length fits its five bits of exponent");
    mantissa | u64::from(exponent) << MANTISSA_BITS
}

fn unround(bits: u64) -> u64 {
    (bits & ((1 << MANTISSA_BITS) - 1)) << (bits >> MANTISSA_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_field_comes_back(slot in 0..Slot::COUNT, offset in 1u32.., len in 0u64..(1 << 33), expires: bool) {
            let slot = Slot::new(slot as usize).unwrap();
            let expiry = if expires { Expiry::Some } else { Expiry::Never };
            let location = Location::new(slot, offset, len, expiry);
            prop_assert_eq!(location.slot(), slot);
            prop_assert_eq!(location.offset(), offset);
            prop_assert_eq!(location.has_expiry(), expires);
            prop_assert_eq!(location.len(), rounded(len));
        }

        #[test]
        fn a_rounded_length_is_never_short_and_at_most_a_thirty_second_long(len in 0u64..(1 << 33)) {
            prop_assert!(rounded(len) >= len);
            prop_assert!(rounded(len) - len <= len / 32);
            prop_assert_eq!(unround_len(round_len(len)), Some(rounded(len)));
            prop_assert_eq!(rounded(rounded(len)), rounded(len));
        }
    }

    #[test]
    fn bits_that_no_rounding_gives_are_refused() {
        assert_eq!(unround_len(2047), Some(63 << 31));
        assert_eq!(unround_len(2048), None);
    }

    #[test]
    fn the_largest_record_of_the_format_fits() {
        let largest = 32 + 65_535 + u64::from(u32::MAX);
        assert!(rounded(largest) >= largest);
    }
}
