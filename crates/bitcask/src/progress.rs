//! How far a long task has come.

/// How far a task that reads or writes a whole store has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that are done.
    pub done: u64,
    /// Bytes that there are to do in all.
    pub total: u64,
}

/// Who wants to know.
pub(crate) type Watcher<'a> = &'a mut dyn FnMut(Progress);

/// Nobody.
pub(crate) fn unwatched(_: Progress) {}

/// Counts what is done, and tells the watcher.
pub(crate) struct Meter<'a> {
    progress: Progress,
    watcher: Watcher<'a>,
}

impl<'a> Meter<'a> {
    /// A count of `total` bytes of which none is done.
    pub(crate) fn new(total: u64, watcher: Watcher<'a>) -> Self {
        let progress = Progress { done: 0, total };
        watcher(progress);
        Self { progress, watcher }
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        self.progress.done += bytes;
        (self.watcher)(self.progress);
    }
}
