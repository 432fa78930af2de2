//! Bugs that the sweeps have found, each with its story, and the failures that have a name in the test plan.

use std::sync::Arc;

use super::harness::{Crash, Depth, STORE, check_recovery, check_sound, open};
use super::model::{History, Map, Stored, Write};
use super::ways::Way;
use crate::vfs::sim::{CrashModel, DirOrder, Random, SimClock, SimDisk};
use crate::{Bitcask, Durability, LogFormat, Options};

/// A store and its history, written to by hand.
struct Store {
    disk: SimDisk,
    clock: Arc<SimClock>,
    options: Options,
    history: History,
    db: Option<Bitcask>,
}

impl Store {
    fn new(way: Way, options: Options) -> Self {
        Self::on(way.disk(), options.format(way.format), History::default())
    }

    fn on(disk: SimDisk, options: Options, history: History) -> Self {
        let clock = Arc::new(SimClock::new(1_800_000_000_000_000));
        let db = Some(open(&disk, &clock, &options).unwrap());
        let store = Self { disk, clock, options, history, db };
        store.check();
        store
    }

    fn db(&self) -> &Bitcask {
        self.db.as_ref().unwrap()
    }

    fn check(&self) {
        assert_eq!(Map::of(self.db()), *self.history.latest());
    }

    fn put(&mut self, key: &str, value: impl AsRef<[u8]>) {
        self.db().put(key, &value).unwrap();
        self.history.push(Write { key: key.into(), value: Some(Stored::forever(value.as_ref())) });
    }

    fn delete(&mut self, key: &str) {
        assert!(self.db().delete(key).unwrap());
        self.history.push(Write { key: key.into(), value: None });
    }

    fn reopen(&mut self) {
        self.db().close().unwrap();
        self.db = None;
        self.db = Some(open(&self.disk, &self.clock, &self.options).unwrap());
        self.check();
    }
}

fn in_every_way(test: impl Fn(Way)) {
    Way::ALL.into_iter().for_each(test);
}

/// After a close and an open, the first rotation wrote the link of the new file at offset 0, over the file's header:
/// an open did not note that the data of the successor, which it found in the manifest, begins behind its header.
/// The store was poisoned at the next sealing, and could not be opened again.
#[test]
fn a_successor_made_before_a_close_is_rotated_into_after_it() {
    in_every_way(|way| {
        let mut store = Store::new(way, Options::new().max_file_size(400));
        store.put("one", [1; 250]);
        store.put("two", [2; 250]);
        store.reopen();
        for round in 3..9 {
            store.put("three", [round; 250]);
        }
        store.check();
        store.reopen();
        check_sound(&store.disk);
    });
}

/// Kills `store` at each moment of the recovery from `left`; then lives on with writes acknowledged as durable, and
/// loses power. Everything must be there.
fn killed_in_recovery_then_powerless(left: &SimDisk, options: &Options, history: &History) {
    let recovering = left.fork();
    recovering.keep_snapshots();
    let clock = Arc::new(SimClock::new(1));
    drop(open(&recovering, &clock, options).unwrap());
    let mut random = Random::new(7);
    for (_, moment) in recovering.take_snapshots() {
        let options = options.clone().durability(Durability::Always);
        let mut store = Store::on(moment.kill(), options, history.clone());
        for number in 0..2 {
            store.put("later", format!("number {number}"));
            let all = store.history.len();
            for crash in 0..Crash::COUNT {
                let left = Crash::number(crash).strike(&store.disk, &mut random);
                check_recovery(&left, &store.history, all, all, &store.options, Depth::Recovery, &mut random);
            }
        }
    }
}

/// A recovery that was killed between giving the last file its footer *cut* and syncing it left both in the cache.
/// The next open took the footer for durable and went on behind it. When the power failed, the torn tail was back in
/// its place, and in front of it stood a log that a sync had covered: so it was taken for corruption.
#[test]
fn a_cut_that_only_the_cache_has_seen_is_synced_before_the_log_goes_on() {
    in_every_way(|way| {
        let mut store = Store::new(way, Options::new().max_file_size(4096).durability(Durability::Always));
        store.put("kept", "value");
        let history = store.history.clone();
        store.options = store.options.durability(Durability::Os);
        store.reopen();
        store.put("torn", [b'7'; 100]);
        store.put("behind", "value");
        // The value of the first is damaged, as by a sector that was lost; what follows it is whole.
        let left = store.disk.crash(0, CrashModel::KeepAll);
        let bytes = left.read_file(&way.file(1));
        let at = bytes.windows(100).position(|window| window == [b'7'; 100]).unwrap();
        left.overwrite(&way.file(1), u64::try_from(at).unwrap(), &[0; 40]);
        killed_in_recovery_then_powerless(&left, &store.options, &history);
    });
}

/// A recovery that was killed between emptying a file whose records were lost and syncing it left it empty in the
/// cache only. The next open took it for a file never written to, dropped it from the manifest, and went on. When
/// the power failed its old records were back, and the open refused it as a file of another store.
#[test]
fn a_file_emptied_in_the_cache_only_is_synced_before_it_is_dropped_or_used() {
    in_every_way(|way| {
        // Two records in the first file, whatever their form.
        let file_size = if way.format == LogFormat::Binary { 512 } else { 1000 };
        let options = Options::new().max_file_size(file_size).durability(Durability::Os);
        let mut store = Store::new(way, options.clone());
        store.put("a", [b'1'; 250]);
        store.db().sync().unwrap();
        let history = store.history.clone();
        store.put("b", [b'2'; 40]);
        let end = store.db().status().files[0].len;
        store.disk.keep_snapshots();
        store.put("c", [b'3'; 250]);
        // The second file is written to, and the end of the first one is not synced yet.
        let moments = store.disk.take_snapshots();
        let before_sync = moments.iter().map(|(_, moment)| moment).find(|moment| {
            moment.exists(&way.file(2))
                && moment.read_file(&way.file(2)).windows(250).any(|it| it == [b'3'; 250])
        });
        let left = before_sync.unwrap().crash_cut(&way.file(1), end - 10);
        killed_in_recovery_then_powerless(&left, &options, &history);
    });
}

/// Whoever made a store was killed between giving its first MANIFEST that name and syncing the directory. The next open
/// took the name for durable and put the old content beside it as MANIFEST.bak. When the power failed the later name was
/// there and the earlier one was not, so the empty store was refused as one that somebody had taken the manifest from.
#[test]
fn a_first_manifest_that_only_the_cache_has_seen_is_durable_before_its_copy_has_a_name() {
    in_every_way(|way| {
        let options = Options::new().format(way.format).max_file_size(4096);
        let history = History::default();
        let clock = Arc::new(SimClock::new(1));
        let disk = way.disk();
        disk.keep_snapshots();
        drop(open(&disk, &clock, &options).unwrap());
        let is_first = |disk: &SimDisk| disk.exists("MANIFEST") && !disk.exists(&way.file(1));
        let moments = disk.take_snapshots().into_iter().filter(|(_, moment)| is_first(moment));
        let mut random = Random::new(3);
        let mut lost = 0;
        for (_, moment) in moments {
            let killed = moment.kill();
            killed.keep_snapshots();
            drop(open(&killed, &clock, &options).unwrap());
            for (_, moment) in killed.take_snapshots().into_iter().filter(|(_, moment)| is_first(moment)) {
                for _ in 0..12 {
                    let left = moment.crash(random.next(), CrashModel::Random(DirOrder::AnySubset));
                    lost += u64::from(!left.exists("MANIFEST"));
                    check_recovery(&left, &history, 0, 0, &options, Depth::Recovery, &mut random);
                }
            }
        }
        assert!(lost > 20, "a first manifest is lost in {lost} cases only");
    });
}

/// Where the records of a data file begin.
fn header_len(way: Way, bytes: &[u8]) -> usize {
    let line_ends = || bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    match way.format {
        LogFormat::Binary => 68,
        LogFormat::Json => line_ends().next().unwrap(),
        LogFormat::Csv => line_ends().nth(1).unwrap(),
    }
}

/// The store after a merge of its first file, whose output is the second last of the names; the last one has `later`.
fn merged_then(way: Way, later: &[(&str, &str)]) -> (Store, String, String) {
    let options = Options::new().max_file_size(4096).durability(Durability::Always);
    let mut store = Store::new(way, options);
    store.put("a", "1");
    store.put("b", "2");
    store.put("c", "3");
    store.put("b", "4");
    store.db().rotate().unwrap();
    for (key, value) in later {
        store.put(key, value);
    }
    assert_eq!(store.db().merge_chosen(|_| 0..1).unwrap().outputs, 1);
    store.check();
    let files = store.db().status().files;
    let [output, active] = [0, 1].map(|index| files[index].name.clone());
    (store, format!("{STORE}/{output}"), format!("{STORE}/{active}"))
}

fn open_error(disk: &SimDisk, store: &Store) -> String {
    let error = open(disk, &store.clock, &store.options).map(|db| Map::of(&db)).unwrap_err();
    assert!(error.is_corruption(), "{error}");
    error.to_string()
}

/// A disk that lies about syncs lost the end of a merge's output, and the link in the file behind it. The open took
/// the output for a file with a torn tail, though its inputs were gone: keys that had been durable for long were missing
/// between others.
#[test]
fn a_merged_file_without_its_end_is_no_torn_tail() {
    in_every_way(|way| {
        let (store, output, active) = merged_then(way, &[]);
        let (whole, behind) = (store.disk.read_file(&output), store.disk.read_file(&active));
        let begun = behind[..header_len(way, &behind)].to_vec();
        for len in header_len(way, &whole)..whole.len() {
            let left = store.disk.crash(0, CrashModel::KeepAll);
            left.write_file(&output, &whole[..len]);
            left.write_file(&active, &begun);
            let text = open_error(&left, &store);
            assert!(text.contains(output.split('/').next_back().unwrap()), "{len}: {text}");
        }
    });
}

/// A disk that lies about syncs lost the file that was being written, after a merge had dropped records because of
/// others in it. What was left was whole, so it was taken for the store: it had keys that were written after those that
/// it lacked.
#[test]
fn a_log_that_lost_what_a_merge_relied_on_is_refused() {
    in_every_way(|way| {
        let (store, output, active) = merged_then(way, &[("a", "5")]);
        let bytes = store.disk.read_file(&active);
        for keeps_link in [false, true] {
            let left = store.disk.crash(0, CrashModel::KeepAll);
            let mut begun = bytes[..header_len(way, &bytes)].to_vec();
            if keeps_link {
                let last = bytes.windows(1).rposition(|byte| byte[0] != 0).unwrap();
                // The last byte of the record about `a`.
                begun = bytes[..last].to_vec();
            }
            left.write_file(&active, &begun);
            let text = open_error(&left, &store);
            assert!(text.contains("though a sync had covered what follows"), "{text}");
        }
        assert!(store.disk.exists(&output));
    });
}

/// A store with a first file that is complete, and a second one with synced records in front of one that is not, killed.
fn killed_in_second_file(way: Way) -> Store {
    let mut store = Store::new(way, Options::new().max_file_size(4096).durability(Durability::Os));
    store.put("a", "1");
    store.put("b", "2");
    store.db().rotate().unwrap();
    store.put("c", "3");
    store.db().sync().unwrap();
    store.put("d", "4");
    store.disk = store.disk.kill();
    store
}

/// The process was killed, the first file was damaged, and its hint file was missing. The open made the end of the log final,
/// with a footer, a new file and two manifests, and only then met the damage; its error said that nothing was changed.
#[test]
fn an_open_that_refuses_a_damaged_file_has_settled_nothing() {
    in_every_way(|way| {
        let store = killed_in_second_file(way);
        let file = way.file(1);
        store.disk.remove_file("0000000001.hint");
        store.disk.flip_bit(&file, 8 * (header_len(way, &store.disk.read_file(&file)) as u64 + 9));
        let content = || -> Vec<(String, Vec<u8>)> {
            store.disk.files().into_iter().map(|name| (name.clone(), store.disk.read_file(&name))).collect()
        };
        let before = content();
        assert!(open_error(&store.disk, &store).starts_with(&file));
        assert!(content() == before, "something was changed");
    });
}

/// The first record of a file, its link, was damaged. The open said that the file before it, which is complete, was damaged at
/// its end.
#[test]
fn a_file_that_begins_with_damage_is_the_one_that_is_named() {
    in_every_way(|way| {
        let store = killed_in_second_file(way);
        let file = way.file(2);
        let start = header_len(way, &store.disk.read_file(&file));
        store.disk.flip_bit(&file, 8 * (start as u64 + 9));
        let text = open_error(&store.disk, &store);
        assert!(text.starts_with(&format!("{file} is damaged at byte {start}: ")), "{text}");
    });
}

/// F2 (the original Bitcask wrote 42,918 lines to its log): zeros behind the end are no torn tail however many they
/// are, and noise of any length is one report.
#[test]
fn a_tail_of_any_length_is_at_most_one_report() {
    in_every_way(|way| {
        let mut store = Store::new(way, Options::new());
        store.put("key", "value");
        let left = store.disk.crash(0, CrashModel::KeepAll);
        let end = left.read_file(&way.file(1)).iter().rposition(|&byte| byte != 0).unwrap() + 1;
        for (byte, reports) in [(0, 0), (0xee, 1)] {
            let left = left.fork();
            let mut bytes = left.read_file(&way.file(1));
            bytes.resize(end, 0);
            bytes.resize(end + (3 << 20), byte);
            left.write_file(&way.file(1), &bytes);
            let recovered = Store::on(left, Options::new(), store.history.clone());
            let recovery = recovered.db().status().recovery;
            assert!(recovery.damaged.is_empty() && !recovery.clean, "{recovery:?}");
            let torn = recovery.torn_tail.iter().map(|tail| (tail.offset, tail.bytes));
            let expected = (u64::try_from(end).unwrap(), 3 << 20);
            assert_eq!(torn.collect::<Vec<_>>(), vec![expected; reports]);
        }
    });
}

/// F4 and F26: whole records, of an older file or of this one, that lie where a tear has exposed them are never
/// returned, wherever the tear is.
#[test]
fn a_value_that_contains_records_never_speaks_for_itself() {
    in_every_way(|way| {
        let mut store = Store::new(way, Options::new().max_file_size(8192).durability(Durability::Os));
        store.put("key", "old value");
        store.put("other", "value");
        store.db().sync().unwrap();
        let start = store.db().status().files[0].len;
        let records = store.disk.read_file(&way.file(1))[68..usize::try_from(start).unwrap()].to_vec();
        store.delete("other");
        store.put("key", &records);
        let end = store.db().status().files[0].len;
        let left = store.disk.crash(0, CrashModel::KeepAll);
        let first = left.read_file(&way.file(1))[usize::try_from(start).unwrap()];
        let mut random = Random::new(3);
        // Everything from the sync to here is lost; what follows, the copies of records among it, is whole.
        for torn_to in start..end {
            let left = left.fork();
            let mut torn = vec![0; usize::try_from(torn_to + 1 - start).unwrap()];
            // The first byte is one of a checksum, and may have been zero.
            torn[0] = !first;
            left.overwrite(&way.file(1), start, &torn);
            check_recovery(&left, &store.history, 2, 3, &store.options, Depth::Afterlife, &mut random);
        }
    });
}

/// F21: whatever the wall clock does, between writes and between lives, the last write wins.
#[test]
fn a_clock_that_jumps_never_changes_the_order() {
    const DAY_US: u64 = 24 * 3_600_000_000;
    in_every_way(|way| {
        let mut store = Store::new(way, Options::new().max_file_size(1024));
        let mut random = Random::new(11);
        let jumps = [0, 1, 400 * DAY_US, 20_000 * DAY_US, 20_000 * DAY_US - 1, 80_000 * DAY_US, 5 * DAY_US];
        for (number, now_us) in jumps.into_iter().cycle().take(42).enumerate() {
            store.clock.set_now_us(now_us);
            store.put("key", format!("value {number}"));
            store.put("gone", "soon");
            store.clock.set_now_us(now_us / 2);
            store.delete("gone");
            match number % 3 {
                0 => store.reopen(),
                1 => {
                    let left = store.disk.kill();
                    let clock = Arc::clone(&store.clock);
                    clock.set_now_us(random.below(now_us + 2));
                    store = Store::on(left, store.options.clone(), store.history.clone());
                    store.clock.set_now_us(0);
                }
                _ => store.check(),
            }
        }
    });
}
