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

impl Progress {
    /// As much of `total` as is done of what there is to do.
    pub(crate) fn part_of(self, total: u64) -> u64 {
        let part = u128::from(total) * u128::from(self.done) / u128::from(self.total.max(1));
        u64::try_from(part).unwrap_or(total)
    }
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

    /// So many are done in all.
    pub(crate) fn reach(&mut self, done: u64) {
        self.progress.done = done;
        (self.watcher)(self.progress);
    }
}
