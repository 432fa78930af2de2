//! The system's allocator, which counts, and refuses a large block where it is told to.

#![expect(unsafe_code, reason = "an allocator is unsafe by its nature; it only passes on and counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A block from this size on is large: a value of some length, a piece of a scan, a chunk of the keydir.
pub(crate) const LARGE: usize = 4 << 10;

#[global_allocator]
static COUNTING: Counting = Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGE_COUNT: AtomicU64 = AtomicU64::new(0);
/// Which of the large blocks cannot be had, counted from 1; 0 for none.
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Whether large blocks are counted yet.
static COUNTS: AtomicBool = AtomicBool::new(false);

struct Counting;

/// Whether a block of this size can be had.
fn allows(size: usize) -> bool {
    if size < LARGE || !COUNTS.load(Relaxed) {
        return true;
    }
    LARGE_COUNT.fetch_add(1, Relaxed) + 1 != REFUSED.load(Relaxed)
}

fn grown(size: usize) {
    let used = USED.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(used, Relaxed);
}

// SAFETY: all blocks are those of `System`, whose rules are passed on; what is counted beside that changes no block.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !allows(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps to the rules of `alloc`, which are the same here.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            grown(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !allows(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: as for `alloc`.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            grown(layout.size());
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && !allows(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: the block is one of `System`'s with this layout, since all are.
        let moved = unsafe { System.realloc(block, layout, size) };
        if !moved.is_null() {
            USED.fetch_sub(layout.size(), Relaxed);
            grown(size);
        }
        moved
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the block is one of `System`'s with this layout, since all are.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Lets one test go on after the other, as long as each keeps what is returned: the counts are those of the process.
pub(crate) fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `act` returns, and how many bytes of memory there were at most while it ran, beyond those before.
pub(crate) fn peak_of<T>(act: impl FnOnce() -> T) -> (T, usize) {
    let before = USED.load(Relaxed);
    PEAK.store(before, Relaxed);
    let done = act();
    (done, PEAK.load(Relaxed).saturating_sub(before))
}

/// Counts large blocks from now on, and refuses the one of this number; 0 for none.
pub(crate) fn refuse(number: u64) {
    REFUSED.store(number, Relaxed);
    COUNTS.store(true, Relaxed);
}

/// How many large blocks were asked for since [`refuse`].
pub(crate) fn large_count() -> u64 {
    LARGE_COUNT.load(Relaxed)
}
