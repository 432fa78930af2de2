//! Damage to a store that was closed in good order: whatever is flipped, cut, swapped or put back, no answer is
//! wrong. An open refuses and changes nothing, or it serves each key's value or an error that says *corruption*.

use bitcask_testing::{Sweep, Tier};

use super::ledger::{self, STORE, State};
use super::ways::{Way, is_data_file};
use crate::vfs::DirAccess;
use crate::vfs::sim::{Random, SimDisk};
use crate::{Bitcask, Error, LogFormat, Options, verify};

const KEYS: usize = 12;
fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key{n}"))
}

/// A store of a few files, most of them complete and with hints, and what it holds.
struct Sample {
    way: Way,
    disk: SimDisk,
    state: State,
}

impl Sample {
    fn new(way: Way) -> Self {
        let disk = way.disk();
        let mut state = State::new();
        let db = ledger::open(&disk, &way.small_files()).unwrap();
        for n in 0..40 {
            let key = format!("key{}", n * 7 % KEYS);
            if n % 6 == 5 {
                db.delete(&key).unwrap();
                state.remove(&key);
            } else if n % 6 == 2 {
                let mut batch = db.batch();
                for key in [&key, "key1", "key5"] {
                    let value = format!("{key} in the batch {n}");
                    batch.put(key, &value);
                    state.insert(key.to_owned(), value);
                }
                batch.delete("key3");
                batch.commit().unwrap();
                state.remove("key3");
            } else {
                let value = format!("{key} at {n} {}", "v".repeat(n % 9));
                db.put(&key, &value).unwrap();
                state.insert(key, value);
            }
            if n == 20 {
                db.sync().unwrap();
            }
        }
        db.close().unwrap();
        drop(db);
        assert!(state.len() < KEYS && disk.files().iter().filter(|name| name.ends_with(".hint")).count() > 2);
        Self { way, disk, state }
    }

    /// The files whose damage must show.
    fn files(&self) -> Vec<String> {
        self.disk.files().into_iter().filter(|name| name != "LOCK").collect()
    }

    /// Judges every way to look at a damaged copy of the store. What is damaged is for the message.
    fn judge(&self, disk: &SimDisk, damage: &str) -> Outcome {
        let before = content(disk);
        let verified = verified(disk);
        let read_only = ledger::open(disk, &Options::read_only()).map(|db| self.judge_open(&db, damage));
        let read_only = read_only.map_err(|error| judge_refusal(&error, damage)).is_ok();
        assert_eq!(content(disk), before, "{damage}: looking changed something");
        let opened = match ledger::open(disk, &self.way.small_files()) {
            Ok(db) => {
                self.judge_open(&db, damage);
                true
            }
            Err(error) => {
                judge_refusal(&error, damage);
                assert_eq!(content(disk), before, "{damage}: a refused open changed something");
                false
            }
        };
        if opened {
            // What the open and its close made of the damage is judged again.
            match ledger::open(disk, &self.way.small_files()) {
                Ok(db) => self.judge_open(&db, damage),
                Err(error) => judge_refusal(&error, damage),
            }
        }
        Outcome { verified, read_only, opened }
    }

    fn judge_open(&self, db: &Bitcask, damage: &str) {
        for key in keys() {
            match db.get(&key) {
                Ok(value) => {
                    let right = self.state.get(&key).map(String::as_bytes);
                    assert_eq!(value.as_deref(), right, "{damage}: {key}");
                }
                Err(error) => assert!(error.is_corruption(), "{damage}: {key}: {error}"),
            }
        }
        for entry in db.iter() {
            match entry {
                Ok((key, value)) => {
                    let right = std::str::from_utf8(&key).ok().and_then(|key| self.state.get(key));
                    assert_eq!(
                        right.map(String::as_bytes),
                        Some(&*value),
                        "{damage}: {}",
                        key.escape_ascii()
                    );
                }
                Err(error) => assert!(error.is_corruption(), "{damage}: {error}"),
            }
        }
    }
}

struct Outcome {
    verified: Verified,
    read_only: bool,
    opened: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verified {
    Sound,
    /// Nothing worse than an unclean end leaves.
    TornTail,
    Damaged,
}

fn verified(disk: &SimDisk) -> Verified {
    let dir = disk.vfs().open_dir(STORE.as_ref(), DirAccess::ReadOnly).unwrap();
    match verify::verify_dir(&*dir, &mut |_| ()) {
        Ok(Some(report)) if !report.damage.is_empty() => Verified::Damaged,
        Ok(Some(report)) if report.torn_tail.is_some() => Verified::TornTail,
        Ok(Some(_)) => Verified::Sound,
        Ok(None) | Err(_) => Verified::Damaged,
    }
}

fn content(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.files().into_iter().map(|name| (name.clone(), disk.read_file(&name))).collect()
}

/// An open may refuse damage, and must say what is wrong.
fn judge_refusal(error: &Error, damage: &str) {
    let is_clear = matches!(
        error,
        Error::Corruption { .. } | Error::Newer { .. } | Error::ForeignFile { .. } | Error::NotAStore { .. }
    );
    assert!(is_clear, "{damage}: {error}");
}

#[test]
fn the_sample_is_sound() {
    for way in Way::ALL {
        let sample = Sample::new(way);
        let outcome = sample.judge(&sample.disk.fork(), "no damage");
        assert_eq!(outcome.verified, Verified::Sound);
        assert!(outcome.read_only && outcome.opened);
    }
}

#[test]
fn any_flipped_bit_is_detected_reported_and_never_believed() {
    let sweep = Sweep::new("any_flipped_bit_is_detected_reported_and_never_believed");
    let mut refused = 0_u64;
    for (number, way) in Way::numbered(&sweep) {
        let sample = Sample::new(way);
        // The first way has most of the bits; each of the others has another form of files or way to read them.
        let step = Tier::pick(if way == Way::SYSCALL { 13 } else { 53 }, 1, 1);
        for (index, file) in (0..).zip(sample.files()) {
            let len = u64::try_from(sample.disk.read_file(&file).len()).unwrap();
            // Another offset in each file, so that with a step all bits of a byte have their turn.
            let first = sweep.seed_of(index) % u64::try_from(step).unwrap();
            for bit in (first..len * 8).step_by(step) {
                let outcome = sweep.case(format!("{number}-{index}-{bit}"), |_| {
                    let disk = sample.disk.fork();
                    disk.flip_bit(&file, bit);
                    let damage = format!("{way:?}: bit {bit} of {file} flipped");
                    let outcome = sample.judge(&disk, &damage);
                    let needs_report = file != "MANIFEST.bak";
                    assert!(
                        !needs_report || outcome.verified != Verified::Sound,
                        "{damage}: verify reports nothing"
                    );
                    outcome
                });
                refused += u64::from(outcome.is_some_and(|outcome| !outcome.opened));
            }
        }
    }
    println!("{refused} opens refused");
    sweep.finish(Tier::pick(10_000, 200_000, 200_000));
}

#[test]
fn a_file_cut_at_any_length_gives_no_wrong_answer() {
    let sweep = Sweep::new("a_file_cut_at_any_length_gives_no_wrong_answer");
    let step = Tier::pick(13, 1, 1);
    for (number, way) in Way::numbered(&sweep) {
        let sample = Sample::new(way);
        let data: Vec<String> = sample.files().into_iter().filter(|name| is_data_file(name)).collect();
        // With the end of the log its own proof is gone: see `the_end_of_the_log_cut_off_is_an_earlier_state`.
        let last = &data[data.len() - 2];
        for (index, file) in (0..).zip(sample.files()).filter(|(_, file)| file != last) {
            let bytes = sample.disk.read_file(&file);
            let first = usize::try_from(sweep.seed_of(index)).unwrap() % step;
            for len in (first..bytes.len()).step_by(step) {
                sweep.case(format!("{number}-{index}-{len}"), |_| {
                    let disk = sample.disk.fork();
                    disk.write_file(&file, &bytes[..len]);
                    sample.judge(&disk, &format!("{way:?}: {file} cut to {len} bytes"));
                });
            }
        }
    }
    sweep.finish(Tier::pick(2_500, 25_000, 25_000));
}

/// The one limit: cut off the last synced records together with the marker that proves them, and nothing is left that
/// could tell it from a tear. What is there then is the store of an earlier moment, not before the last other proof.
#[test]
fn the_end_of_the_log_cut_off_is_an_earlier_state() {
    Way::ALL.into_iter().for_each(cut_off_the_end);
}

fn cut_off_the_end(way: Way) {
    let disk = way.disk();
    let db = ledger::open(&disk, &way.options()).unwrap();
    let value = |n: usize| format!("value {n}");
    for n in 0..20 {
        db.put("key", value(n)).unwrap();
        if n == 10 {
            db.sync().unwrap();
        }
    }
    db.close().unwrap();
    let bytes = disk.read_file(&way.file(1));
    let mut last_seen = 20_usize;
    for len in (0..bytes.len()).rev() {
        let cut = disk.fork();
        cut.write_file(&way.file(1), &bytes[..len]);
        let found = ledger::open(&cut, &Options::new()).and_then(|db| db.get("key"));
        match found {
            Ok(found) => {
                let found = found.map(|value| String::from_utf8(value.into_vec()).unwrap());
                let seen = (0..=last_seen).rev().find(|&n| found == n.checked_sub(1).map(value));
                last_seen = seen.unwrap_or_else(|| panic!("{len} bytes: {found:?}"));
            }
            Err(error) => judge_refusal(&error, &format!("{len} bytes")),
        }
    }
    assert_eq!(last_seen, 0);
}

#[test]
fn files_missing_swapped_foreign_or_old_give_no_wrong_answer() {
    let sweep = Sweep::new("files_missing_swapped_foreign_or_old_give_no_wrong_answer");
    for (number, way) in Way::numbered(&sweep) {
        let (sample, other) = (Sample::new(way), Sample::new(way));
        let files = sample.files();
        let is_help = |file: &str| file.ends_with(".hint") || file == "MANIFEST.bak";
        for (index, file) in files.iter().enumerate() {
            sweep.case(format!("{number}-{index}-missing"), |_| {
                let disk = sample.disk.fork();
                disk.remove_file(file);
                let outcome = sample.judge(&disk, &format!("{file} missing"));
                assert_eq!(outcome.opened, is_help(file), "{file} missing");
                assert_eq!(outcome.read_only, is_help(file), "{file} missing");
            });
            sweep.case(format!("{number}-{index}-foreign"), |_| {
                let disk = sample.disk.fork();
                disk.write_file(file, &other.disk.read_file(file));
                let outcome = sample.judge(&disk, &format!("{file} of another store"));
                assert_eq!(outcome.opened, is_help(file), "{file} of another store");
            });
            for (with, second) in files.iter().enumerate() {
                sweep.case(format!("{number}-{index}-{with}"), |_| {
                    let disk = sample.disk.fork();
                    disk.write_file(file, &sample.disk.read_file(second));
                    disk.write_file(second, &sample.disk.read_file(file));
                    let outcome = sample.judge(&disk, &format!("{file} and {second} swapped"));
                    let harmless = file == second || is_help(file) && second.ends_with(".hint");
                    assert!(outcome.opened || !harmless, "{file} and {second} swapped");
                });
            }
        }
    }
    sweep.finish(700);
}

/// Every manifest that the store ever had is put back over the last one.
#[test]
fn an_old_manifest_is_refused_or_harmless() {
    let way = Way::SYSCALL;
    let disk = way.disk();
    let db = ledger::open(&disk, &way.small_files()).unwrap();
    let mut manifests = Vec::new();
    for n in 0..60 {
        let manifest = disk.read_file("MANIFEST");
        if manifests.last() != Some(&manifest) {
            manifests.push(manifest);
        }
        db.put(format!("key{}", n % KEYS), format!("value {n} {}", "w".repeat(30))).unwrap();
    }
    let state = ledger::read_all(&db, keys()).unwrap();
    db.close().unwrap();
    drop(db);
    manifests.pop();
    let sample = Sample { way, disk, state };
    assert!(manifests.len() > 3);
    let mut refused = 0;
    for (index, manifest) in manifests.iter().enumerate() {
        let disk = sample.disk.fork();
        disk.write_file("MANIFEST", manifest);
        let outcome = sample.judge(&disk, &format!("manifest {index} of {}", manifests.len()));
        refused += usize::from(!outcome.opened);
    }
    println!("{} old manifests, {refused} refused", manifests.len());
}

#[test]
fn noise_and_misdirected_writes_give_no_wrong_answer() {
    let sweep = Sweep::new("noise_and_misdirected_writes_give_no_wrong_answer");
    let cases_each = Tier::pick(500, 50_000, 2_500_000);
    for (number, way) in Way::numbered(&sweep) {
        let sample = Sample::new(way);
        // What ends a log that was closed in good order, and proves that all of it was synced.
        let close_marker_len = if way.format == LogFormat::Binary { 40 } else { 100 };
        let files: Vec<(String, Vec<u8>)> = content(&sample.disk);
        let files: Vec<_> =
            files.into_iter().filter(|(_, bytes)| bytes.len() > close_marker_len + 1).collect();
        for case in 0..cases_each {
            sweep.case(format!("{number}-{case}"), |seed| {
                let mut random = Random::new(seed);
                let (file, bytes) = &files[random.index(files.len())];
                // The close marker stays: see `the_end_of_the_log_cut_off_is_an_earlier_state`.
                let room = bytes.len() - close_marker_len;
                let mut noise = vec![0; 1 + random.index(64.min(room - 1))];
                let offset = random.index(room - noise.len() + 1);
                if random.one_in(2) {
                    random.fill(&mut noise);
                } else {
                    let (_, source) = &files[random.index(files.len())];
                    let from = random.index(source.len() - noise.len() + 1);
                    let len = noise.len();
                    noise.copy_from_slice(&source[from..from + len]);
                }
                let disk = sample.disk.fork();
                disk.overwrite(file, u64::try_from(offset).unwrap(), &noise);
                sample.judge(&disk, &format!("{way:?}: {} bytes at {offset} of {file}", noise.len()));
            });
        }
    }
    sweep.finish(4 * cases_each);
}

/// A pipe, a link, or a device in place of any file is refused, never opened.
#[test]
fn what_is_no_regular_file_is_refused() {
    let sample = Sample::new(Way::SYSCALL);
    for file in sample.disk.files().iter().filter(|file| !file.ends_with(".hint") && *file != "MANIFEST.bak")
    {
        let disk = sample.disk.fork();
        disk.make_special(file);
        let error = ledger::open(&disk, &sample.way.small_files()).unwrap_err();
        assert!(error.to_string().contains(file.as_str()), "{file}: {error}");
    }
}
