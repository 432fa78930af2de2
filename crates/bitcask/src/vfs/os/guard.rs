//! The fault guard: a copy into or out of a map that the kernel cannot serve becomes an error.
//!
//! A load from a mapped page that the disk cannot read, or that lies behind the end of a file which somebody cut,
//! raises `SIGBUS`, and by default that ends the process. The guard's handler asks whether the faulting thread is
//! copying through one of our maps and whether the address lies in it:
//!
//! ```text
//! copy:     thread's region = this map;  copy;  thread's region = none;  map broken? => error
//! handler:  inside the thread's region:  map broken = true;  a page of zeros over the faulting page;  return
//!           elsewhere:  put back the action from before us;  return (the fault happens again, under that action)
//! ```
//!
//! Invariants:
//! - `broken` is set before the page of zeros appears, and every copy looks at it afterwards: whoever met such a
//!   page knows that it may have. A broken map stays broken.
//! - The handler does only what is safe in a signal handler: it reads a thread-local without a destructor, stores
//!   an atomic, and calls `mmap`, `sigaction` and `raise`. It never calls the action from before us (that of the
//!   standard library must not be called by others); it steps aside for it.
//! - A thread copies through one map at a time.
//!
//! Left out on purpose: taking the signal again after we stepped aside. That happens for a fault which is not ours,
//! and nearly always ends the process. Where a stranger's handler survives it, later faults in our maps are
//! that handler's. A handler that somebody installs after ours must pass on what is not its own.

#![expect(unsafe_code, reason = "signal handling and copies between raw addresses")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

/// One `memcpy` is never longer. Above some size `memcpy` takes a way that is 10 to 25 times slower on some
/// processors when source and destination differ by 8 to 24 bytes modulo 4096.
const PIECE_LEN: usize = 2048;

thread_local! {
    /// The map this thread is copying through, or null. Const and without destructor: the handler reads it.
    static COPYING: Cell<*const Region> = const { Cell::new(ptr::null()) };
}

/// The action for `SIGBUS` from before us.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Where a map lies in memory, as the handler needs to know it.
#[derive(Debug)]
pub(super) struct Region {
    start: usize,
    len: usize,
    page_len: usize,
    protection: c_int,
    broken: AtomicBool,
}

impl Region {
    /// `start` and `len` are multiples of `page_len`, which is a power of two. `protection` is that of the map.
    pub(super) fn new(start: *mut u8, len: usize, page_len: usize, protection: c_int) -> Self {
        let start = start.expose_provenance();
        Self { start, len, page_len, protection, broken: AtomicBool::new(false) }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// An error when a page was ever lost.
    pub(super) fn check(&self) -> Result<(), Broken> {
        if self.is_broken() { Err(Broken) } else { Ok(()) }
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn contains(&self, address: usize) -> bool {
        address >= self.start && address - self.start < self.len
    }

    /// Marks the map broken and puts a page of zeros where `address` lies. Called by the handler. False when
    /// the kernel has no memory for the page.
    fn cover(&self, address: usize) -> bool {
        self.broken.store(true, Ordering::SeqCst);
        let page = ptr::with_exposed_provenance_mut(address & !(self.page_len - 1));
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page lies inside a live map of ours (the faulting thread borrows it), which nobody
        // points into but copies like the one that faulted.
        let covered = unsafe { libc::mmap(page, self.page_len, self.protection, flags, -1, 0) };
        covered != libc::MAP_FAILED
    }
}

/// A page of the map was lost, now or before.
#[derive(Debug)]
pub(super) struct Broken;

impl From<Broken> for io::Error {
    fn from(_: Broken) -> Self {
        io::Error::other(
            "a page of the mapped file could not be read or written: \
             the disk failed, or the file was cut by someone else",
        )
    }
}

/// Copies `len` bytes out of `region`. On an error the destination holds anything.
///
/// # Safety
/// As for [`copy`]; `source` lies in the region.
pub(super) unsafe fn copy_out(
    region: &Region,
    source: *const u8,
    destination: *mut u8,
    len: usize,
) -> Result<(), Broken> {
    // SAFETY: the caller vouches for it.
    unsafe { copy(region, source, destination, len) };
    // Another thread's fault may have put a page of zeros where we copied. Our loads come before our look at
    // `broken`; a full fence would keep the processor from overlapping the misses of several reads.
    fence(Ordering::Acquire);
    region.check()
}

/// Copies `len` bytes into `region`. On an error some of them may be there.
///
/// # Safety
/// As for [`copy`]; `destination` lies in the region, which is writable.
pub(super) unsafe fn copy_in(
    region: &Region,
    source: *const u8,
    destination: *mut u8,
    len: usize,
) -> Result<(), Broken> {
    // SAFETY: the caller vouches for it.
    unsafe { copy(region, source, destination, len) };
    // As above, but only a full fence keeps stores before a later load.
    fence(Ordering::SeqCst);
    region.check()
}

/// Copies `len` bytes, of which one side lies in `region`, until done or the region is broken.
///
/// # Safety
/// [`install`] has succeeded. `source` and `destination` are valid for `len` bytes and do not overlap, but for
/// pages of `region` that the kernel cannot serve. Nobody writes these bytes at the same time.
unsafe fn copy(region: &Region, source: *const u8, destination: *mut u8, len: usize) {
    COPYING.set(region);
    compiler_fence(Ordering::SeqCst);
    let mut done = 0;
    while done < len && !region.is_broken() {
        let piece = PIECE_LEN.min(len - done);
        // SAFETY: `done + piece` is at most `len`, and the caller vouches for that many bytes.
        unsafe { ptr::copy_nonoverlapping(source.add(done), destination.add(done), piece) };
        done += piece;
    }
    compiler_fence(Ordering::SeqCst);
    COPYING.set(ptr::null());
}

/// Installs the handler, once for the process. Before the first copy.
pub(super) fn install() -> io::Result<()> {
    static OUTCOME: OnceLock<Result<(), Option<i32>>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| set_handler().map_err(|error| error.raw_os_error()));
    outcome.map_err(|code| {
        code.map_or_else(|| io::Error::other("no signal handler"), io::Error::from_raw_os_error)
    })
}

fn set_handler() -> io::Result<()> {
    // SAFETY: all zeros is a value of this C struct (the default action, an empty mask).
    let (mut previous, mut action) =
        unsafe { (mem::zeroed::<libc::sigaction>(), mem::zeroed::<libc::sigaction>()) };
    // SAFETY: asks only; `previous` is writable.
    check(unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut previous) })?;
    // Known before the handler can run.
    let _ = PREVIOUS.set(previous);
    action.sa_sigaction = on_bus_error as *const () as usize;
    // On the alternate stack, if the thread has one: never deepen a stack that we know nothing of.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for and does only what a handler may.
    check(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) })
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_bus_error(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the thread's own errno; the code that we interrupt may be about to read it.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel passes a valid `info`.
    let code = unsafe { (*info).si_code };
    // Positive codes are the kernel's: a fault, with an address. Others were sent by a process.
    let is_fault = code > 0;
    // SAFETY: as above; `si_addr` is what the kernel fills in for a fault.
    let handled = is_fault && absorb(unsafe { (*info).si_addr() }.addr());
    if !handled {
        step_aside();
        if !is_fault {
            // Nothing will happen again by itself. Blocked until we return, so the action put back gets it.
            // SAFETY: may be called in a handler.
            unsafe { libc::raise(libc::SIGBUS) };
        }
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Deals with a fault in the map that this thread is copying through. False when it is somewhere else.
fn absorb(address: usize) -> bool {
    let region = COPYING.get();
    // SAFETY: not null only while `copy` on this thread borrows it.
    match unsafe { region.as_ref() } {
        Some(region) => region.contains(address) && region.cover(address),
        None => false,
    }
}

/// Puts back the action from before us.
fn step_aside() {
    let previous = PREVIOUS.get().map_or(ptr::null(), ptr::from_ref);
    if !previous.is_null() {
        // SAFETY: `previous` was filled in by the kernel.
        unsafe { libc::sigaction(libc::SIGBUS, previous, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::os::child;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    const EXIT_CODE: c_int = 42;

    /// Runs the test `name` again in a child that is expected to die.
    fn run(name: &str) -> ExitStatus {
        child::command(name, "").output().unwrap().status
    }

    /// Loads a byte from a page of a mapped file that does not exist, without telling the guard.
    fn fault_like_a_stranger() {
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let file = tempfile::tempfile().unwrap();
        // SAFETY: a new mapping of one page, and a load that is expected to fault.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
            let fd = file.as_raw_fd();
            let page = libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, fd, 0);
            assert_ne!(page, libc::MAP_FAILED);
            ptr::read_volatile(page.cast::<u8>());
        }
    }

    extern "C" fn exit_at_once(_signal: c_int) {
        // SAFETY: may be called in a handler.
        unsafe { libc::_exit(EXIT_CODE) };
    }

    fn install_a_strangers_handler() {
        // SAFETY: all zeros is a value of this struct; the handler only exits.
        unsafe {
            let mut action = mem::zeroed::<libc::sigaction>();
            action.sa_sigaction = exit_at_once as *const () as usize;
            check(libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut())).unwrap();
        }
    }

    #[test]
    fn a_fault_that_is_not_ours_still_ends_the_process() {
        const NAME: &str = "vfs::os::guard::tests::a_fault_that_is_not_ours_still_ends_the_process";
        if child::argument(NAME).is_some() {
            install().unwrap();
            fault_like_a_stranger();
            return;
        }
        assert_eq!(run(NAME).signal(), Some(libc::SIGBUS));
    }

    #[test]
    fn a_fault_that_is_not_ours_goes_to_the_handler_from_before_us() {
        const NAME: &str =
            "vfs::os::guard::tests::a_fault_that_is_not_ours_goes_to_the_handler_from_before_us";
        if child::argument(NAME).is_some() {
            install_a_strangers_handler();
            install().unwrap();
            fault_like_a_stranger();
            return;
        }
        assert_eq!(run(NAME).code(), Some(EXIT_CODE));
    }

    #[test]
    fn a_sent_signal_goes_to_the_handler_from_before_us() {
        const NAME: &str = "vfs::os::guard::tests::a_sent_signal_goes_to_the_handler_from_before_us";
        if child::argument(NAME).is_some() {
            install_a_strangers_handler();
            install().unwrap();
            // SAFETY: may be called at any time.
            unsafe { libc::raise(libc::SIGBUS) };
            return;
        }
        assert_eq!(run(NAME).code(), Some(EXIT_CODE));
    }

    #[test]
    fn a_fault_behind_our_map_while_copying_is_not_ours() {
        const NAME: &str = "vfs::os::guard::tests::a_fault_behind_our_map_while_copying_is_not_ours";
        if child::argument(NAME).is_some() {
            install().unwrap();
            let mut ours = [0; 16];
            let region = Region::new(ours.as_mut_ptr(), ours.len(), 16, libc::PROT_READ);
            COPYING.set(&raw const region);
            fault_like_a_stranger();
            COPYING.set(ptr::null());
            return;
        }
        assert_eq!(run(NAME).signal(), Some(libc::SIGBUS));
    }

    #[test]
    fn the_error_number_of_the_interrupted_code_is_kept() {
        install().unwrap();
        let page_len = rustix::param::page_size();
        let file: fs::File = tempfile::tempfile().unwrap();
        // SAFETY: a new mapping of one page; the copy faults, and the guard knows the region.
        unsafe {
            let flags = libc::MAP_SHARED;
            let page = libc::mmap(ptr::null_mut(), page_len, libc::PROT_READ, flags, file.as_raw_fd(), 0);
            assert_ne!(page, libc::MAP_FAILED);
            let region = Region::new(page.cast(), page_len, page_len, libc::PROT_READ);
            let mut byte = 1;
            *libc::__errno_location() = libc::EXDEV;
            assert!(copy_out(&region, page.cast(), &raw mut byte, 1).is_err());
            assert_eq!(*libc::__errno_location(), libc::EXDEV);
            assert_eq!(byte, 0);
            libc::munmap(page, page_len);
        }
    }
}
