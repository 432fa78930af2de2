//! Records of one file of some sort: how many bytes, and how many keys.

use crate::sync::atomic::{AtomicU64, Ordering};

/// A count that changes while others read it. Bytes and keys are two numbers: read together they may be of two moments, unless
/// all changes happen under one lock.
#[derive(Default)]
pub(crate) struct Count {
    bytes: AtomicU64,
    keys: AtomicU64,
}

impl Count {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: u64, keys: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.keys.fetch_add(keys, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: u64, keys: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.keys.fetch_sub(keys, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.keys.store(0, Ordering::Relaxed);
    }
}
