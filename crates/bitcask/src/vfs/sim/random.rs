//! The only source of chance in the simulation: splitmix64, so that one `u64` reproduces a whole failing case.
//!
//! Or a script: bytes that decide instead, as long as there are some, so that a fuzzer can choose what happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A stream of pseudo-random numbers that its seed determines, and its script.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    script: Option<Arc<Script>>,
}

/// Bytes that decide, each once. All that share a script take turns.
#[derive(Debug)]
struct Script {
    bytes: Vec<u8>,
    used: AtomicUsize,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, script: None }
    }

    /// One whose choices these bytes make, the first ones first.
    pub(crate) fn scripted(bytes: &[u8]) -> Self {
        let script = Script { bytes: bytes.to_vec(), used: AtomicUsize::new(0) };
        Self { state: 0, script: Some(Arc::new(script)) }
    }

    /// From now on the script of the other one, if it has one, makes the choices here, too.
    pub(crate) fn share_script(&mut self, other: &Self) {
        self.script.clone_from(&other.script);
    }

    /// Whether the script has choices left to make.
    pub(crate) fn has_script(&self) -> bool {
        self.script.as_ref().is_some_and(|script| script.used.load(Ordering::Relaxed) < script.bytes.len())
    }

    fn scripted_byte(&self) -> Option<u64> {
        let script = self.script.as_ref()?;
        script.bytes.get(script.used.fetch_add(1, Ordering::Relaxed)).map(|&byte| byte.into())
    }

    pub(crate) fn next(&mut self) -> u64 {
        // Never the same number twice, whatever the script says: it only leads to another one.
        let choice = self.scripted_byte().unwrap_or(0) << 8;
        self.state = self.state.wrapping_add(choice);
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0. The bias of the remainder does not matter to a test.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let choice = if bound <= 256 { self.scripted_byte() } else { None };
        choice.unwrap_or_else(|| self.next()) % bound
    }

    /// An index into something with `count` elements, which are not none.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        super::to_usize(self.below(super::to_u64(count)))
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
