//! The system's allocator, which counts for each thread how much it has.

#![expect(unsafe_code, reason = "an allocator is unsafe by its nature; it only passes on and counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static USED: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// To be the `#[global_allocator]` of a binary that asks [`peak_of`].
#[derive(Clone, Copy, Debug)]
pub struct Counting;

fn grown(size: usize) {
    // A thread that ends has nothing to count with any more. What one thread gives back for another makes the count wrap.
    let _ = USED.try_with(|used| {
        used.set(used.get().wrapping_add(size));
        PEAK.with(|peak| peak.set(peak.get().max(used.get())));
    });
}

fn shrunk(size: usize) {
    let _ = USED.try_with(|used| used.set(used.get().wrapping_sub(size)));
}

// SAFETY: all blocks are those of `System`, whose rules are passed on; what is counted beside that changes no block, and
// takes no memory: the counts are constants at first and have nothing to drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps to the rules of `alloc`, which are the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        shrunk(layout.size());
        // SAFETY: the block is one of `System`'s with this layout, since all are.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: the block is one of `System`'s with this layout, since all are.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What `act` returns, and how many bytes this thread asked for at most while it ran, beyond those that it had before.
/// Zero where [`Counting`] is not the allocator.
pub fn peak_of<T>(act: impl FnOnce() -> T) -> (T, usize) {
    // From half of what can be counted, so that giving back what another thread or an earlier act has got does not wrap.
    const START: usize = usize::MAX / 2;
    USED.set(START);
    PEAK.set(START);
    let done = act();
    (done, PEAK.get() - START)
}
