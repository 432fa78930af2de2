//! What threads share and wait for: the standard library's, or, under `--cfg shuttle`, that of a scheduler which tries
//! one order of steps after the other.
//!
//! Everything through which two threads of a store can meet is taken from here, so that the scheduler sees it:
//! `tests/schedules.rs` has what is run under it. It takes every atomic operation for sequentially consistent, and no wait
//! for timed out. In any other build this file is names only.
//!
//! Left out: what threads of a store share without waiting or deciding by it (`OnceLock`s), loading by several threads,
//! `convert`, and the real file system.

pub(crate) use std::sync::{Arc, LockResult, OnceLock, PoisonError, Weak};

#[cfg(not(shuttle))]
pub(crate) use arc_swap::{ArcSwap, Guard};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockWriteGuard, atomic};
#[cfg(not(shuttle))]
pub(crate) use std::thread;

#[cfg(shuttle)]
pub(crate) use self::seen::{ArcSwap, Guard};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockWriteGuard, atomic};
#[cfg(shuttle)]
pub(crate) use shuttle::thread;

/// Whether a thread has panicked while it held the lock.
#[cfg(not(shuttle))]
pub(crate) fn is_poisoned<T>(lock: &Mutex<T>) -> bool {
    lock.is_poisoned()
}

/// Under the scheduler a panic ends the test.
#[cfg(shuttle)]
pub(crate) fn is_poisoned<T>(_: &Mutex<T>) -> bool {
    false
}

/// How many threads may work on one thing.
#[cfg(not(shuttle))]
pub(crate) fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The scheduler has no scoped threads with names.
#[cfg(shuttle)]
pub(crate) fn parallelism() -> usize {
    1
}

#[cfg(shuttle)]
mod seen {
    use std::ops::Deref;

    use super::{Arc, PoisonError, RwLock};

    /// As that of the crate `arc-swap`, of which the scheduler sees nothing.
    pub(crate) struct ArcSwap<T>(RwLock<Arc<T>>);

    /// What was there when it was loaded.
    pub(crate) struct Guard<T>(T);

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(RwLock::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Guard<Arc<T>> {
            Guard(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            let old = {
                let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *place, value)
            };
            // What goes with it may be seen by the scheduler.
            drop(old);
        }
    }

    impl<T> Deref for Guard<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}
