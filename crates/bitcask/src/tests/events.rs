//! What an observer is told of a store, in which order, and that nothing it does harms the store.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::harness::{self, check_sound};
use super::story::{HOUR_US, NOW_US};
use super::ways::Way;
use crate::expiry::to_time;
use crate::vfs::sim::{Failure, OpKind, Repeat, SimClock, SimDisk};
use crate::{Bitcask, Durability, Error, Event, MergeOptions, MergePolicy, Options, PutOptions};

/// What was told.
type Told = Arc<Mutex<Vec<Event>>>;

fn listen() -> (Told, impl Fn(&Event) + Send + Sync + 'static) {
    let told = Told::default();
    let to = Arc::clone(&told);
    (told, move |event: &Event| to.lock().unwrap().push(event.clone()))
}

/// What has been told since the last time, in short.
fn taken(told: &Told) -> Vec<String> {
    std::mem::take(&mut *told.lock().unwrap()).iter().map(short).collect()
}

fn short(event: &Event) -> String {
    match event {
        Event::Opened { keys, files, recovery, .. } => {
            let torn = recovery.torn_tail.as_ref().map_or(0, |tail| tail.bytes);
            let clean = if recovery.clean { "clean" } else { "unclean" };
            format!("opened {clean}: {keys} keys, {files} files, {torn} bytes torn")
        }
        Event::Rotated { from, bytes, to } => format!("rotated from {from} of {bytes} to {to}"),
        Event::Sealed { file, bytes } => format!("sealed {file} of {bytes}"),
        Event::MergeBegun { files, bytes } => format!("merge of {} begun, {bytes}", files.join(" ")),
        Event::MergeEnded { report, .. } => format!(
            "merged {} into {}, {} into {}: {} copied, {} dropped",
            report.inputs,
            report.outputs,
            report.bytes_before,
            report.bytes_after,
            report.values_copied,
            report.records_dropped
        ),
        Event::MergeFailed { error } => format!("merge failed: {error}"),
        Event::Quarantined { damage } => format!("quarantined {}", damage.file),
        Event::SlowSync { took, behind } => format!("sync of {took:?}, {behind} behind"),
        Event::Poisoned { cause } => format!("poisoned: {cause}"),
        Event::Reaped { keys } => format!("reaped {keys}"),
        Event::Cleared { report } => format!("cleared of {} keys", report.keys),
        Event::BackedUp { path, files, copied_bytes, bytes, .. } => {
            format!("backed up {files} to {}: {}", path.display(), bytes - copied_bytes)
        }
        Event::Closed { error } => format!("closed: {:?}", error.as_ref().map(ToString::to_string)),
        Event::Missed { count } => format!("missed {count}"),
    }
}

fn options(way: Way) -> Options {
    let merge = MergeOptions::new().policy(MergePolicy::Never);
    way.options().durability(Durability::Os).merge(merge)
}

fn open(disk: &SimDisk, options: &Options) -> Bitcask {
    harness::open(disk, &Arc::new(SimClock::new(NOW_US)), options).unwrap()
}

/// The length of the data file with this number.
fn len_of(db: &Bitcask, name: &str) -> u64 {
    db.status().files.into_iter().find(|file| file.name == name).unwrap().len
}

#[test]
fn the_events_of_a_store_are_told_in_order_and_puts_and_gets_are_none() {
    for way in Way::ALL {
        let disk = way.disk();
        let (told, observer) = listen();
        let clock = Arc::new(SimClock::new(NOW_US));
        let options = options(way).observer(observer);
        let db = harness::open(&disk, &clock, &options).unwrap();
        assert_eq!(taken(&told), ["opened clean: 0 keys, 1 files, 0 bytes torn"]);

        db.put("a", "1").unwrap();
        let soon = PutOptions::new().expires_at(to_time(NOW_US + HOUR_US));
        db.put_with("b", "2", &soon).unwrap();
        db.put("a", "3").unwrap();
        assert_eq!(db.get("a").unwrap().as_deref(), Some(&b"3"[..]));
        db.sync().unwrap();
        assert_eq!(taken(&told), [""; 0]);

        let (first, second) = (way.file(1), way.file(2));
        db.rotate().unwrap();
        db.put("c", "4").unwrap();
        let bytes = len_of(&db, &first);
        assert_eq!(
            taken(&told),
            [format!("rotated from {first} of {bytes} to {second}"), format!("sealed {first} of {bytes}")]
        );

        let report = db.merge_chosen(|count| 0..count).unwrap();
        clock.advance(Duration::from_secs(3600));
        db.reap_all();
        db.reap_all();
        let backup = db.backup_on(&*disk.vfs(), Path::new("copy"), &mut |_| ()).unwrap();
        let not_copied = backup.bytes - backup.copied_bytes;
        let after = report.bytes_after;
        assert_eq!(
            taken(&told),
            [
                format!("merge of {first} begun, {bytes}"),
                format!("merged 1 into 1, {bytes} into {after}: 2 copied, 1 dropped"),
                "reaped 1".to_owned(),
                format!("backed up 3 to copy: {not_copied}"),
            ]
        );

        db.close().unwrap();
        db.close().unwrap();
        drop(db);
        let reader = harness::open(&disk, &clock, &options.clone().mode(crate::OpenMode::ReadOnly)).unwrap();
        reader.close().unwrap();
        let opened = "opened clean: 2 keys, 3 files, 0 bytes torn";
        assert_eq!(taken(&told), ["closed: None", opened, "closed: None"], "{way:?}");
        assert!(disk.exists(&second));
    }
}

#[test]
fn a_clear_is_told_after_the_rotation_that_it_begins_with() {
    for way in Way::ALL {
        let (told, observer) = listen();
        let db = open(&way.disk(), &options(way).observer(observer));
        db.put("a", "1").unwrap();
        db.put("b", "1").unwrap();
        let (first, second) = (way.file(1), way.file(2));
        let bytes = len_of(&db, &first);
        drop(taken(&told));
        db.clear().unwrap();
        assert_eq!(
            taken(&told)[..2],
            [format!("rotated from {first} of {bytes} to {second}"), "cleared of 2 keys".to_owned()]
        );
    }
}

#[test]
fn an_open_after_a_crash_tells_what_it_found() {
    for way in Way::ALL {
        let disk = way.disk();
        let db = open(&disk, &options(way));
        db.put("kept", "value").unwrap();
        db.sync().unwrap();
        let end = len_of(&db, &way.file(1));
        db.put("torn", "x".repeat(100)).unwrap();
        let left = disk.crash_cut(&way.file(1), end + 50);
        let (told, observer) = listen();
        let db = open(&left, &options(way).observer(observer));
        let tail = db.status().recovery.torn_tail.expect("the last write is torn");
        assert!(tail.bytes > 0, "{tail:?}");
        let expected = format!("opened unclean: 1 keys, 2 files, {} bytes torn", tail.bytes);
        assert_eq!(taken(&told), [expected]);
    }
}

#[test]
fn a_sync_that_fails_is_told_once_whoever_asks_again() {
    for way in Way::ALL {
        let disk = way.disk();
        let (told, observer) = listen();
        let db = open(&disk, &options(way).durability(Durability::Always).observer(observer));
        db.put("a", "1").unwrap();
        disk.inject(disk.operations(), OpKind::is_sync, Failure::Os(5), Repeat::Once);
        let failed = db.put("b", "2").unwrap_err();
        assert!(matches!(db.put("c", "3"), Err(Error::Poisoned { .. })));
        assert!(matches!(db.sync(), Err(Error::Poisoned { .. })));
        let closed = db.close().unwrap_err();
        assert!(matches!(closed, Error::Poisoned { .. }), "{closed}");
        let opened = "opened clean: 0 keys, 1 files, 0 bytes torn".to_owned();
        let events = taken(&told);
        assert_eq!(
            events,
            [opened, format!("poisoned: {failed}"), format!("closed: {:?}", Some(closed.to_string()))]
        );
    }
}

#[test]
fn a_slow_sync_is_told_and_a_quick_one_is_not() {
    for way in Way::ALL {
        let (told, observer) = listen();
        let clock = Arc::new(SimClock::new(NOW_US));
        let db = harness::open(&way.disk(), &clock, &options(way).observer(observer)).unwrap();
        assert_eq!(taken(&told).len(), 1);
        let always = PutOptions::new().durability(Durability::Always);
        clock.step_each_reading(Duration::from_micros(999_999));
        db.put_with("a", "1", &always).unwrap();
        assert_eq!(taken(&told), [""; 0]);
        clock.step_each_reading(Duration::from_secs(1));
        db.put_with("a", "2", &always).unwrap();
        assert_eq!(taken(&told), ["sync of 1s, 0 behind"]);
    }
}

#[test]
fn a_merge_that_fails_and_one_that_finds_damage_are_told() {
    for way in Way::ALL {
        let disk = way.disk();
        let (told, observer) = listen();
        let db = open(&disk, &options(way).observer(observer));
        db.put("a", [b'7'; 64]).unwrap();
        db.put("b", "2").unwrap();
        db.rotate().unwrap();
        let (name, bytes) = (way.file(1), len_of(&db, &way.file(1)));
        db.sync().unwrap();
        db.put("told", "what came before").unwrap();
        taken(&told);

        let full: fn(OpKind) -> bool = |kind| kind == OpKind::Create;
        disk.inject(disk.operations(), full, Failure::Os(28), Repeat::Once);
        let failed = db.merge_chosen(|_| 0..1).unwrap_err();
        let at = disk.read_file(&name).windows(8).position(|bytes| bytes == [b'7'; 8]).unwrap();
        disk.overwrite(&name, at as u64, b"x");
        let report = db.merge_chosen(|_| 0..1).unwrap();
        assert_eq!(report.quarantined.len(), 1);
        db.close().unwrap();
        let begun = format!("merge of {name} begun, {bytes}");
        assert_eq!(
            taken(&told),
            [
                begun.clone(),
                format!("merge failed: {failed}"),
                begun,
                format!("quarantined {name}"),
                "closed: None".to_owned()
            ]
        );
    }
}

#[test]
fn an_observer_that_panics_each_time_harms_nothing_and_is_told_the_rest() {
    for way in Way::ALL {
        let disk = way.disk();
        let (told, observer) = listen();
        let options = options(way).observer(move |event| {
            observer(event);
            panic!("by the observer, as the test wants it");
        });
        let db = open(&disk, &options);
        db.put("a", "1").unwrap();
        db.rotate().unwrap();
        db.put("b", "2").unwrap();
        db.merge_chosen(|count| 0..count).unwrap();
        db.put("a", "3").unwrap();
        assert_eq!(db.status().poisoned, None);
        db.close().unwrap();
        drop(db);
        assert_eq!(taken(&told).len(), 6, "opened, rotated, sealed, merge begun and ended, closed");
        let db = open(&disk, &options);
        assert!(db.status().recovery.clean);
        assert_eq!(db.get("a").unwrap().as_deref(), Some(&b"3"[..]));
        assert_eq!(db.get("b").unwrap().as_deref(), Some(&b"2"[..]));
        drop(db);
        check_sound(&disk);
    }
}

/// Without threads the caller tells, here in the middle of a put.
#[test]
fn an_observer_may_use_the_store_that_it_is_told_of() {
    for way in Way::ALL {
        let disk = way.disk();
        let store: Arc<OnceLock<Bitcask>> = Arc::default();
        let (told, observer) = listen();
        let seen = Arc::clone(&store);
        let first = way.file(1);
        let observer = move |event: &Event| {
            observer(event);
            let (Some(db), Event::Sealed { file, .. }) = (seen.get(), event) else { return };
            if *file == first {
                assert_eq!(db.get("a").unwrap().as_deref(), Some(&b"1"[..]));
                assert_eq!(db.status().files[0].name, *file);
                db.put("seen", file).unwrap();
                db.sync().unwrap();
                db.rotate().unwrap();
                db.merge_chosen(|count| 0..count).unwrap();
            }
        };
        let db = open(&disk, &options(way).observer(observer));
        assert!(store.set(db.clone()).is_ok());
        db.put("a", "1").unwrap();
        db.rotate().unwrap();
        db.put("b", "2").unwrap();
        let events = taken(&told);
        let words: Vec<_> = events.iter().filter_map(|event| event.split(' ').next()).collect();
        let expected = ["opened", "rotated", "sealed", "rotated", "sealed", "merge", "merged"];
        assert_eq!(words, expected, "{events:?}");
        assert_eq!(db.get("seen").unwrap().as_deref(), Some(way.file(1).as_bytes()));
        db.close().unwrap();
        assert_eq!(taken(&told), ["closed: None"]);
        check_sound(&disk);
    }
}

/// A store with threads, on a real disk, whose observer says when it is called and goes on when it is let.
struct Held {
    _dir: tempfile::TempDir,
    db: Bitcask,
    called: Receiver<()>,
    let_go: Sender<()>,
}

fn held() -> Held {
    let dir = tempfile::tempdir().unwrap();
    let ((calls, called), (let_go, may_go)) = (channel(), channel());
    let may_go = Mutex::new(may_go);
    let options = Options::new().max_file_size(1000).durability(Durability::Os).observer(move |_| {
        // The test is over when nobody listens any more.
        let _ = calls.send(());
        let _ = may_go.lock().unwrap().recv();
    });
    let db = crate::open(dir.path(), options).unwrap();
    Held { _dir: dir, db, called, let_go }
}

#[test]
fn nobody_waits_for_an_observer_that_does_not_return_but_the_close() {
    let Held { _dir, db, called, let_go } = held();
    called.recv().unwrap();
    for n in 0..100_u32 {
        db.put(n.to_le_bytes(), [7; 100]).unwrap();
        assert!(db.get(n.to_le_bytes()).unwrap().is_some());
    }
    db.sync().unwrap();
    db.merge().unwrap();
    assert!(called.try_recv().is_err(), "the first event is still being told");
    drop(let_go);
    db.close().unwrap();
    let count = called.try_iter().count();
    assert!(count > 10, "{count} events after the first");
}

/// A close waits for the threads of the store: here for the one that closes.
#[test]
fn the_last_handle_may_be_dropped_by_the_observer() {
    let dir = tempfile::tempdir().unwrap();
    let handle: Arc<Mutex<Option<Bitcask>>> = Arc::default();
    let ((let_go, may_drop), (closed, is_closed)) = (channel(), channel());
    let (last, may_drop) = (Arc::clone(&handle), Mutex::new(may_drop));
    let observer = move |event: &Event| match event {
        Event::Rotated { .. } => {
            let last = last.lock().unwrap().take();
            may_drop.lock().unwrap().recv().unwrap();
            drop(last);
        }
        Event::Closed { error } => closed.send(error.is_none()).unwrap(),
        _ => {}
    };
    let options = Options::new().max_file_size(1000).observer(observer);
    let db = crate::open(dir.path(), options).unwrap();
    *handle.lock().unwrap() = Some(db.clone());
    db.put("a", [1; 900]).unwrap();
    db.put("b", [2; 900]).unwrap();
    drop(db);
    let_go.send(()).unwrap();
    assert!(is_closed.recv().unwrap(), "the close goes well");
    let db = crate::open(dir.path(), Options::read_only()).unwrap();
    assert!(db.status().recovery.clean);
    assert_eq!(db.len(), 2);
}

/// Beside writers, and merges and rotations by threads, an observer that asks, writes and merges meets no lock that is held.
/// Each merge is an event that leads to the next one, and still the close comes to an end.
#[test]
fn an_observer_of_a_store_with_threads_may_use_it() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<OnceLock<Bitcask>> = Arc::default();
    let (told, observer) = listen();
    let (merged, has_merged) = channel();
    let seen = Arc::clone(&store);
    let observer = move |event: &Event| {
        observer(event);
        if let (Some(db), Event::Sealed { file, .. }) = (seen.get(), event) {
            // Once the store is closed it says so.
            let _ = db.put("seen", file).and_then(|()| db.sync());
            if db.get("seen").is_ok_and(|seen| seen.is_some()) && db.merge().is_ok() {
                let _ = merged.send(db.status().keys);
            }
        }
    };
    let options = Options::new().max_file_size(2000).durability(Durability::Always).observer(observer);
    let db = crate::open(dir.path(), options).unwrap();
    assert!(store.set(db.clone()).is_ok());
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..200_u64 {
                    db.put([thread, n].map(u64::to_le_bytes).concat(), [7; 100]).unwrap();
                }
            });
        }
    });
    assert!(has_merged.recv().unwrap() > 0);
    db.close().unwrap();
    let events = taken(&told);
    let count = |what: &str| events.iter().filter(|event| event.starts_with(what)).count();
    assert!(events[0].starts_with("opened clean"), "{events:?}");
    assert_eq!(events.last().unwrap(), "closed: None");
    assert!(count("sealed") > 10, "{events:?}");
    assert_eq!(count("merge of"), count("merged") + count("merge failed"), "{events:?}");
}
