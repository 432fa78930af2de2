//! The digest of a key: what the keydir keeps in the key's place.
//!
//! | bits of the 128-bit hash, from the top | field |
//! |---|---|
//! | 9 | shard |
//! | 64 | high |
//! | 32 | low |
//! | 23 | not used |
//!
//! The hash is SipHash-1-3 with 128 bits of output under the store's secret: a pseudo-random function, so nobody
//! who does not know the secret can choose keys that collide or that crowd one shard. 105 bits tell keys apart.
//! Among n keys some two have the same digest with a probability of about n^2 / 2^106: 1.2e-14 for 10^9 keys.
//!
//! Invariants: a digest's shard is below [`SHARD_COUNT`]. Digests are ordered by shard, high and low, which is the
//! order of the hash's bits: *digest order*. The hash and the split are part of the format, because hint files
//! are sorted by shard and cursors of scans outlive the process.
//!
//! Left out: comparing keys. The record holds the key, and who reads a record compares.

use siphasher::sip128::SipHasher13;

/// How many shards the keydir has: enough that threads seldom meet, and that growing one shard takes little time.
pub(crate) const SHARD_COUNT: u16 = 1 << SHARD_BITS;

const SHARD_BITS: u32 = 9;
const SHARD_SHIFT: u32 = u64::BITS - SHARD_BITS;

/// 105 bits of a key's hash, in digest order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest {
    shard: u16,
    high: u64,
    low: u32,
}

impl Digest {
    /// The first digest of the order: where a pass over the keydir begins.
    pub(crate) const FIRST: Self = Self { shard: 0, high: 0, low: 0 };

    fn from_hash(first: u64, second: u64) -> Self {
        Self {
            shard: (first >> SHARD_SHIFT) as u16,
            high: first << SHARD_BITS | second >> SHARD_SHIFT,
            low: (second << SHARD_BITS >> u32::BITS) as u32,
        }
    }

    pub(super) fn from_parts(shard: u16, high: u64, low: u32) -> Self {
        debug_assert!(shard < SHARD_COUNT, "shard {shard} of {SHARD_COUNT}");
        Self { shard, high, low }
    }

    /// The lowest digest whose cursor is `cursor`.
    pub(crate) fn from_cursor(cursor: u64) -> Self {
        Self::from_hash(cursor, 0)
    }

    /// The lowest digest of `shard`; `None` after the last shard.
    pub(crate) fn first_of_shard(shard: u16) -> Option<Self> {
        (shard < SHARD_COUNT).then_some(Self { shard, high: 0, low: 0 })
    }

    /// The digest's top 64 bits, for the cursors of scans.
    ///
    /// Among 10^9 keys some two share a cursor with a probability of 3 %. A page of a scan that ends between two
    /// such keys would begin again at the first: it ends where the cursor changes, beyond its limit if need be.
    pub(crate) fn cursor(self) -> u64 {
        u64::from(self.shard) << SHARD_SHIFT | self.high >> SHARD_BITS
    }

    /// The shard that keeps the key's entry, below [`SHARD_COUNT`].
    pub(crate) fn shard(self) -> u16 {
        self.shard
    }

    /// The part that chooses the entry's home in its shard.
    pub(super) fn high(self) -> u64 {
        self.high
    }

    pub(super) fn low(self) -> u32 {
        self.low
    }
}

/// Makes digests under the secret of one store.
pub(super) struct Digester(SipHasher13);

impl Digester {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(&secret))
    }

    pub(super) fn digest(&self, key: &[u8]) -> Digest {
        let hash = self.0.hash(key);
        Digest::from_hash(hash.h1, hash.h2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The secret of SipHash's own test vectors: the bytes 0 to 15.
    fn secret() -> [u8; 16] {
        std::array::from_fn(|index| u8::try_from(index).unwrap())
    }

    fn hash_of(digest: Digest) -> u128 {
        u128::from(digest.shard) << 119 | u128::from(digest.high) << 55 | u128::from(digest.low) << 23
    }

    /// Stores keep their secret, and hint files are sorted by shard: another hash would make every hint file wrong.
    /// The hashes were computed by a second implementation, written from the SipHash paper
    /// and held against the published vectors of SipHash-2-4.
    #[test]
    fn the_hash_is_sip_hash_1_3_with_128_bits_for_ever() {
        let digester = Digester::new(secret());
        let vectors: [(&[u8], u128); 5] = [
            (b"", 0xbea58827_b2bc7ee7_013030dd_6adb62fd),
            (b"k", 0x9e38e549_f8edc686_8e1c7cfb_716ac0e9),
            (b"user:1", 0x32d9b116_1a89e3a8_35159ad9_8620fb8b),
            (b"sixteen bytes ok", 0x34996c55_f8e68104_327bc3f0_32ec5a66),
            (b"a key of more than sixteen bytes", 0x652ad7a0_c2963469_5f593636_74847bae),
        ];
        for (key, hash) in vectors {
            let unused = (1 << 23) - 1;
            assert_eq!(hash_of(digester.digest(key)), hash & !unused, "key {key:?}");
        }
    }

    #[test]
    fn another_secret_gives_another_digest() {
        assert_ne!(Digester::new([1; 16]).digest(b"key"), Digester::new([2; 16]).digest(b"key"));
    }

    proptest! {
        #[test]
        fn digest_order_is_the_order_of_the_hashes(first: [u64; 2], second: [u64; 2]) {
            let [one, two] = [first, second].map(|[first, second]| Digest::from_hash(first, second));
            prop_assert_eq!(one.cmp(&two), hash_of(one).cmp(&hash_of(two)));
            prop_assert_eq!(hash_of(one) >> 64, u128::from(first[0]));
        }

        #[test]
        fn a_cursor_leads_back_to_the_first_digest_that_has_it(first: u64, second: u64) {
            let digest = Digest::from_hash(first, second);
            let start = Digest::from_cursor(digest.cursor());
            prop_assert!(start <= digest);
            prop_assert_eq!(start.cursor(), digest.cursor());
            prop_assert_eq!(hash_of(start), u128::from(digest.cursor()) << 64);
        }
    }
}
