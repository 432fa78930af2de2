//! A store written anew, in another log format or with other compression.
//!
//! ```text
//! open the source read-only; take the target, which must be empty
//! gather the locations of all keys, in log order
//! put record after record into the target, by a clock that shows each record's timestamp
//! close the target; verify it; if anything failed, leave no store
//! ```
//! Log order is timestamp order, so timestamps stay as they are; only the records of one batch, which share theirs,
//! are told apart by a microsecond each.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backup::target;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::expiry;
use crate::keydir::Digest;
use crate::location::Slot;
use crate::opening;
use crate::options::{Durability, Maintenance, OpenMode, Options, PutOptions};
use crate::progress::{self, Meter, Progress, Watcher};
use crate::store::Store;
use crate::verify;
use crate::vfs::os::OsVfs;
use crate::vfs::{Io, Vfs};

/// How many keys are taken from the keydir at once.
const PAGE: usize = 1024;

/// Copies every key of the store `source`, with its value, timestamp and expiry, into a new store `target`, and verifies
/// that. Returns the count of keys.
///
/// Of the options those count that say how the log is written: its format, its compression, the size of its files. They
/// do not depend on how the source was written: without [`Options::compression`] all values are stored plain.
///
/// Old values and deleted keys are left behind. The source is opened read-only, and not changed; it may be open for
/// writing elsewhere, and is then copied as it is when this begins.
///
/// # Errors
/// [`Error::InvalidOptions`] when the options contradict each other; [`Error::UnfitTarget`] when `target` is a directory that is not empty, or lies in the source. What makes it fail later,
/// damage in the source above all, is returned, and there is no new store then.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let (binary, json) = (dir.path().join("binary"), dir.path().join("json"));
/// use bitcask::{LogFormat, Options};
/// let db = bitcask::open(&binary, Options::default())?;
/// db.put("user:1", "Ada")?;
/// db.close()?;
/// assert_eq!(bitcask::convert(&binary, &json, Options::new().format(LogFormat::Json))?, 1);
/// let log = std::fs::read_to_string(json.join("0000000001.jsonl")).unwrap();
/// assert!(log.contains(r#""key":"user:1","value":"Ada""#));
/// # Ok::<(), bitcask::Error>(())
/// ```
pub fn convert(source: impl AsRef<Path>, target: impl AsRef<Path>, options: Options) -> Result<u64> {
    convert_with(source, target, options, &mut progress::unwatched)
}

/// [`convert`], telling `progress` how far it has come, in bytes of the records that are copied. Each is copied, then checked
/// in the new store, so it counts twice.
///
/// # Errors
/// Those of [`convert`].
pub fn convert_with(
    source: impl AsRef<Path>,
    target: impl AsRef<Path>,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64> {
    options.check()?;
    let (vfs, target) = (OsVfs::new(Io::Mapped), target.as_ref());
    let source = opening::open(&vfs, Arc::new(SystemClock::new()), source.as_ref(), Options::read_only())?;
    let (dir, lock) = target::take(&vfs, &*source.dir, target, |dir| target::check_empty(dir, target))?;
    drop(lock);
    let copied = copy(&vfs, &source, target, options, progress);
    if copied.is_err() {
        target::clear(&*dir);
    }
    copied
}

fn copy(vfs: &dyn Vfs, source: &Store, target: &Path, options: Options, watcher: Watcher<'_>) -> Result<u64> {
    let clock = Arc::new(RecordClock::default());
    let options = options
        .mode(OpenMode::Create)
        .durability(Durability::Os)
        .max_value_size(u64::from(u32::MAX))
        .maintenance(Maintenance::Callers);
    let copy = opening::open(vfs, Arc::clone(&clock) as Arc<dyn Clock>, target, options)?;
    let bytes = source.order().iter().map(|file| file.live.bytes()).sum();
    let mut meter = Meter::new(bytes * 2, watcher);
    let count = copy_all(source, &copy, &clock, &mut meter)?;
    copy.close()?;
    drop(copy);
    check_copy(target, count, &mut |progress| meter.reach(bytes + progress.part_of(bytes)))?;
    Ok(count)
}

/// A wall clock that shows the timestamp of the record that is copied. The monotonic one agrees, so it is believed.
#[derive(Default)]
struct RecordClock(AtomicU64);

impl Clock for RecordClock {
    fn now_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.now_us())
    }
}

/// The digests of all keys, in the order in which their records stand in the log.
fn in_log_order(store: &Store) -> Vec<Digest> {
    let order: HashMap<Slot, usize> =
        store.order().iter().enumerate().map(|(index, file)| (file.slot(), index)).collect();
    let mut places = Vec::new();
    let (mut page, mut next) = (Vec::new(), Some(Digest::FIRST));
    while let Some(from) = next {
        next = store.keydir.page(from, PAGE, &mut page);
        places.extend(
            page.drain(..)
                .map(|(digest, location)| (order.get(&location.slot()).copied(), location.offset(), digest)),
        );
    }
    places.sort_unstable();
    places.into_iter().map(|(_, _, digest)| digest).collect()
}

fn copy_all(source: &Store, copy: &Store, clock: &RecordClock, meter: &mut Meter<'_>) -> Result<u64> {
    let mut count = 0;
    for digest in in_log_order(source) {
        let Some(found) = source.find(digest)? else { continue };
        meter.add(found.location.len());
        let header = found.record.header;
        if source.has_expired(&header) {
            continue;
        }
        clock.0.fetch_max(header.timestamp, Ordering::Relaxed);
        let mut options = PutOptions::new();
        if let Some(expiry) = header.expiry {
            options = options.expires_at(expiry::to_time(expiry));
        }
        copy.put(found.record.key(), found.record.value(), &options)?;
        count += 1;
    }
    Ok(count)
}

fn check_copy(target: &Path, count: u64, watcher: Watcher<'_>) -> Result<()> {
    let report = verify::verify_with(target, watcher)?;
    if let Some(damage) = report.damage.into_iter().next() {
        return Err(Error::corruption(damage.file, damage.offset, damage.what));
    }
    let options = Options::read_only();
    let copy = opening::open(&OsVfs::new(Io::Syscall), Arc::new(RecordClock::default()), target, options)?;
    if copy.keydir.len() == count {
        return Ok(());
    }
    let what = format!("{} of {count} keys are there after the conversion", copy.keydir.len());
    Err(Error::corruption(target.display().to_string(), 0, what))
}
