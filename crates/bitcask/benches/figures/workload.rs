//! Keys, values and orders that follow from a number, so that nothing of it has to be kept.

/// A good mixer of 64 bits (the finaliser of SplitMix64): different numbers give different results.
pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The key with this number: 16 bytes.
pub(crate) fn key(number: u32) -> [u8; 16] {
    let mut key = [0; 16];
    let (first, second) = key.split_at_mut(8);
    first.copy_from_slice(&mix(u64::from(number)).to_le_bytes());
    second.copy_from_slice(&mix(u64::from(number) << 32).to_le_bytes());
    key
}

/// The numbers below `count` in a random order that follows from `seed`.
pub(crate) fn shuffled(count: u32, seed: u64) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count).collect();
    for last in (1..numbers.len()).rev() {
        let random = u128::from(mix(seed ^ (last as u64) << 20));
        let other = usize::try_from((random * (last as u128 + 1)) >> 64).unwrap_or(0);
        numbers.swap(last, other);
    }
    numbers
}

/// Values: slices of a few random pages.
pub(crate) struct Values {
    bytes: Vec<u8>,
    size: usize,
}

impl Values {
    const STARTS: usize = 4_000;

    pub(crate) fn new(size: usize) -> Self {
        let words = (0..(size + Self::STARTS).div_ceil(8) as u64).map(mix);
        Self { bytes: words.flat_map(u64::to_le_bytes).collect(), size }
    }

    /// The value of the key with this number.
    pub(crate) fn get(&self, number: u32) -> &[u8] {
        let start = number as usize % Self::STARTS;
        &self.bytes[start..start + self.size]
    }
}
