//! Lines that were edited by hand and sealed: the store holds what they say, and a crash or a failed call loses nothing.

use std::path::Path;

use bitcask_testing::{Sweep, Tier};

use super::harness::{Crash, check_sound};
use super::ledger::{self, STORE, State};
use super::ways::{Way, compressions};
use crate::repair::{edited_lines_on, repair_on, seal_lines_on};
use crate::vfs::sim::{CrashModel, Failure, Random, Repeat, SimClock, SimDisk};
use crate::{Compression, Durability, EditedLine, Error, Options, Remedy, Repair, Result};

const KEYS: usize = 7;
pub(super) const WAYS: [Way; 2] = [Way::JSON, Way::CSV];

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key{n}"))
}

pub(super) fn options(way: Way) -> Options {
    way.options().max_file_size(1200).durability(Durability::Os)
}

/// A closed store of several files with markers and batches, the last file without a footer; one is a merge's output.
/// Each value is there once.
pub(super) fn sample(way: Way) -> (SimDisk, State) {
    let disk = way.disk();
    let db = ledger::open(&disk, &options(way)).unwrap();
    db.put("key6", "never written again").unwrap();
    for n in 0..40 {
        let key = format!("key{}", n * 5 % 6);
        match n % 8 {
            7 => assert!(db.delete(&key).unwrap()),
            5 => db.sync().unwrap(),
            3 => {
                let mut batch = db.batch();
                batch.put(&key, format!("value {n:02}"));
                batch.put(format!("key{}", (n + 1) % 6), format!("other {n:02}"));
                assert!(batch.commit().unwrap());
            }
            _ => db.put(&key, format!("value {n:02}")).unwrap(),
        }
        if n == 30 {
            let merged = db.merge_chosen(|count| {
                assert!(count > 1, "there are {count} immutable files");
                0..2
            });
            assert_eq!(merged.unwrap().outputs, 1);
        }
    }
    let state = ledger::read_all(&db, keys()).unwrap();
    db.close().unwrap();
    (disk, state)
}

pub(super) fn edited(disk: &SimDisk) -> Vec<EditedLine> {
    edited_lines_on(&*disk.vfs(), Path::new(STORE)).unwrap()
}

fn seal(disk: &SimDisk, file: &str, lines: &[u64]) -> Result<Vec<EditedLine>> {
    seal_lines_on(&*disk.vfs(), Path::new(STORE), file, lines)
}

/// The data files that have all of these texts in them.
fn files_with(disk: &SimDisk, texts: &[&str]) -> Vec<String> {
    let holds = |name: &String| {
        let text = String::from_utf8(disk.read_file(name)).unwrap_or_default();
        texts.iter().all(|wanted| text.contains(wanted))
    };
    let is_data = |name: &String| name.ends_with(".jsonl") || name.ends_with(".csv");
    disk.files().into_iter().filter(is_data).filter(holds).collect()
}

/// Edits the line that holds `old`, wherever it is. Returns its file and number.
fn edit(disk: &SimDisk, old: &str, new: &str) -> (String, u64) {
    let file = files_with(disk, &[old]).pop().unwrap();
    let text = String::from_utf8(disk.read_file(&file)).unwrap();
    assert_eq!(text.matches(old).count(), 1, "{old}");
    let line = text[..text.find(old).unwrap()].matches('\n').count() + 1;
    disk.write_file(&file, text.replace(old, new).as_bytes());
    (file, u64::try_from(line).unwrap())
}

/// The values that keys have, with one of them replaced.
fn replaced(state: &State, old: &str, new: &str) -> State {
    let replace = |(key, value): (&String, &String)| (key.clone(), value.replace(old, new));
    state.iter().map(replace).collect()
}

/// The store holds `expected`, goes on, can be merged, and is sound.
fn check(disk: &SimDisk, way: Way, expected: &State, what: &str) {
    let disk = disk.fork();
    let mut expected = expected.clone();
    for round in 0..2 {
        let db = ledger::open(&disk, &options(way)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(ledger::read_all(&db, keys()).unwrap(), expected, "{what}, round {round}");
        db.put("key1", "written later").unwrap();
        expected.insert("key1".to_owned(), "written later".to_owned());
        db.delete("key2").unwrap();
        expected.remove("key2");
        db.merge().unwrap();
        db.close().unwrap();
    }
    check_sound(&disk);
}

#[test]
fn an_edited_value_of_any_length_in_any_file_is_what_the_store_holds_once_it_is_sealed() {
    for way in WAYS {
        let (sample, state) = sample(way);
        let mut sealed_files = std::collections::BTreeSet::new();
        for old in state.values() {
            for new in ["VALUE", "a longer value, \\u00e9 and all", "", old] {
                let disk = sample.fork();
                // The same text again, as an editor or a tool writes it: spaces in JSON, quotes in CSV.
                let (old_text, new_text) = match (way == Way::JSON, new == old) {
                    (true, true) => (format!(":\"{old}\""), format!(" : \"{old}\"")),
                    (false, true) => (format!(",{old},"), format!(",\"{old}\",")),
                    (true, false) => (format!("\"{old}\""), format!("\"{new}\"")),
                    (false, false) => (format!(",{old},"), format!(",\"{new}\",")),
                };
                let (file, line) = edit(&disk, &old_text, &new_text);
                let bytes = disk.read_file(&file);
                let listed = edited(&disk);
                assert_eq!(listed.len(), 1, "{listed:?}");
                assert!(listed[0].can_be_sealed && listed[0].what.starts_with("the value of key \"key"));
                assert_eq!((&listed[0].file, listed[0].line), (&file, line));
                assert_eq!(seal(&disk, &file, &[line]).unwrap(), listed);
                assert_eq!(edited(&disk), []);
                check_sound(&disk);
                assert_eq!(disk.read_file(&format!("{file}.damaged")), bytes);
                let value = if way == Way::JSON { new.replace("\\u00e9", "é") } else { new.to_owned() };
                check(&disk, way, &replaced(&state, old, &value), &format!("{file}, line {line}, {new}"));
                sealed_files.insert(file);
            }
        }
        assert!(sealed_files.len() > 1, "{sealed_files:?}");
    }
}

#[test]
fn several_lines_of_a_file_are_sealed_together_and_other_files_later() {
    for way in WAYS {
        let (disk, state) = sample(way);
        let values: Vec<&String> = state.values().collect();
        let mut expected = state.clone();
        for old in &values {
            edit(&disk, old, "edited");
            expected = replaced(&expected, old, "edited");
        }
        let listed = edited(&disk);
        assert_eq!(listed.len(), values.len());
        let mut files: Vec<&String> = listed.iter().map(|line| &line.file).collect();
        files.dedup();
        assert!(files.len() > 1, "{listed:?}");
        for file in files {
            let lines: Vec<u64> =
                listed.iter().filter(|line| line.file == *file).map(|line| line.line).collect();
            if let [one, _, ..] = lines[..] {
                let error = seal(&disk, file, &[one]).unwrap_err();
                assert!(error.to_string().contains("either: seal both at once"), "{error}");
            }
            seal(&disk, file, &lines).unwrap();
        }
        check(&disk, way, &expected, "all edited");
    }
}

/// A value that a line used to hold is deleted by it, or is one of another key. What merges know of the files before it
/// must not make them drop such a tombstone.
#[test]
fn a_line_may_become_a_tombstone_or_be_about_another_key() {
    for way in WAYS {
        let disk = way.disk();
        let db = ledger::open(&disk, &options(way)).unwrap();
        db.put("key0", "first").unwrap();
        db.rotate().unwrap();
        db.put("key1", "second").unwrap();
        db.merge_chosen(|_| 0..1).unwrap();
        db.close().unwrap();
        let (old, new) = match way == Way::JSON {
            true => ("\"value\",\"key\":\"key1\",\"value\":\"second\"", "\"tombstone\",\"key\":\"key0\""),
            false => ("value,,,key1,,second,", "tombstone,,,key0,,,"),
        };
        let (file, line) = edit(&disk, old, new);
        assert_eq!(edited(&disk)[0].what, "the tombstone of key \"key0\"");
        seal(&disk, &file, &[line]).unwrap();
        let db = ledger::open(&disk, &options(way)).unwrap();
        assert_eq!(db.merge_chosen(|_| 1..2).unwrap().tombstones_kept, 1);
        db.close().unwrap();
        check(&disk, way, &State::new(), "deleted by hand");
    }
}

#[test]
fn what_cannot_be_sealed_is_refused_with_the_reason_and_nothing_is_changed() {
    for way in WAYS {
        let is_json = way == Way::JSON;
        let (sample, state) = sample(way);
        let old = state.values().next().unwrap();
        let refuse = |disk: &SimDisk, file: &str, lines: &[u64], reason: &str| {
            let content = |disk: &SimDisk| -> Vec<_> {
                disk.files().into_iter().map(|name| (disk.read_file(&name), name)).collect()
            };
            let before = content(disk);
            let error = seal(disk, file, lines).unwrap_err();
            assert!(matches!(error, Error::UnfitTarget { .. }), "{error}");
            assert!(error.to_string().contains(reason), "{reason}: {error}");
            assert_eq!(content(disk), before, "{reason}");
        };
        let file = files_with(&sample, &[old]).pop().unwrap();
        refuse(&sample, "0000000099.jsonl", &[3], "no data file 0000000099.jsonl");
        refuse(&sample, &file, &[], "no line was named");
        refuse(&sample, &file, &[4], "line 4: there is no such line, or it fits its checksum");
        let edits: &[(&str, &str, &str)] = match is_json {
            true => &[
                ("\"key\":", "\"key\"", "cannot be read"),
                ("\"kind\":\"value\",", "", "without the member \"kind\""),
                ("\"key\":", "\"kea\":", "a key of a length that no key has"),
                ("\"key\":", "\"of\":1,\"key\":", "the member \"of\" of a line, unknown to this version"),
                ("\"key\":\"key", "\"key\":\"\",\"key64\":\"key", "both \"key\" and \"key64\""),
                ("\"timestamp\":", "\"timestamp\":1", "a timestamp"),
            ],
            false => &[
                (",,key", ",key", "not one CSV record of nine fields"),
                (",value,", ",,", "without the member \"kind\""),
                (",value,", ",vault,", "record kind \"vault\", unknown to this version"),
            ],
        };
        for (from, to, reason) in edits {
            let disk = sample.fork();
            let text = String::from_utf8(disk.read_file(&file)).unwrap();
            let line = text.split_inclusive('\n').find(|line| line.contains(&old[..])).unwrap();
            assert!(line.contains(from), "{line}");
            let (file, number) = edit(&disk, line, &line.replacen(from, to, 1));
            let is_readable = edited(&disk)[0].can_be_sealed;
            assert_eq!(is_readable, *reason == "a timestamp");
            // In the last file only the order of timestamps shows.
            let is_last = files_with(&disk, &["close marker"]).contains(&file);
            let order = if is_last { "older than the one before it" } else { *reason };
            refuse(&disk, &file, &[number], if is_readable { order } else { reason });
        }
        // A marker, and a line taken out beside one that was edited.
        let disk = sample.fork();
        let with_footer = files_with(&disk, &["footer", "sync marker"]).pop().unwrap();
        let text = String::from_utf8(disk.read_file(&with_footer)).unwrap();
        let marker = text.split_inclusive('\n').find(|line| line.contains("sync marker")).unwrap();
        let (_, number) = edit(&disk, marker, &marker.replace("offset", "ofset"));
        assert!(!edited(&disk)[0].can_be_sealed);
        let disk_with_marker = disk;
        refuse(&disk_with_marker, &with_footer, &[number], "without the member \"offset\"");
        let disk = sample.fork();
        let (_, number) =
            edit(&disk, marker, &marker.replace("\"file\":", "\"file\": ").replace("file=", "file=0"));
        refuse(&disk, &with_footer, &[number], "a sync marker is the log's own");
        let disk = sample.fork();
        let values = |text: &str| -> Vec<String> {
            let is_value = |line: &&str| line.contains("value ") && !line.contains("true");
            text.split_inclusive('\n').filter(is_value).map(str::to_owned).collect()
        };
        let [taken, kept, ..] = &values(&text)[..] else { panic!("{text}") };
        edit(&disk, taken, "");
        let (_, number) = edit(&disk, kept, &kept.replace("value ", "VALUE "));
        refuse(&disk, &with_footer, &[number], "was added or taken out");
    }
    let (disk, way) = (Way::SYSCALL.disk(), Way::SYSCALL);
    ledger::open(&disk, &way.options()).unwrap().close().unwrap();
    let error = seal(&disk, "0000000001.data", &[1]).unwrap_err();
    assert!(error.to_string().contains("its log is binary"), "{error}");
    assert!(edited_lines_on(&*disk.vfs(), Path::new(STORE)).is_err());
}

#[test]
fn a_store_that_is_open_is_not_touched_and_a_report_names_the_way() {
    for way in WAYS {
        let (disk, state) = sample(way);
        let old = state.values().next().unwrap();
        let db = ledger::open(&disk, &options(way)).unwrap();
        let (file, line) = edit(&disk, old, "edited");
        assert!(seal(&disk, &file, &[line]).unwrap_err().is_locked());
        drop(db);
        let clock = std::sync::Arc::new(SimClock::new(1));
        let report = repair_on(&*disk.vfs(), clock, Path::new(STORE), &Repair::Report, &mut |_| ()).unwrap();
        assert!(report.remedies.contains(&Remedy::SealLines), "{report:?}");
    }
}

/// A file that a crash has left without a footer may have lost its end, which nobody could tell after an edit.
#[test]
fn a_file_whose_end_is_in_doubt_is_not_sealed() {
    for way in WAYS {
        let disk = way.disk();
        let db = ledger::open(&disk, &options(way)).unwrap();
        db.put("key0", "first").unwrap();
        db.put("key1", "second").unwrap();
        disk.keep_snapshots();
        db.rotate().unwrap();
        db.put("key2", "third").unwrap();
        let left = disk.kill();
        let footerless = files_with(&left, &["first"]).pop().unwrap();
        let text = String::from_utf8(left.read_file(&footerless)).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').filter(|line| !line.contains("footer")).collect();
        left.write_file(&footerless, lines.concat().as_bytes());
        let (file, line) = edit(&left, "first", "edited");
        let error = seal(&left, &file, &[line]).unwrap_err();
        assert!(error.to_string().contains("was not closed before it was edited"), "{error}");
    }
}

/// A store with one line edited by hand.
pub(super) struct Edited {
    way: Way,
    pub(super) disk: SimDisk,
    file: String,
    line: u64,
    /// The file as it was edited.
    bytes: Vec<u8>,
    /// What the store holds once the line is sealed.
    expected: State,
}

impl Edited {
    /// Edits the line that holds `old`.
    pub(super) fn new(way: Way, sample: &SimDisk, state: &State, old: &str) -> Self {
        let disk = sample.fork();
        let (file, line) = edit(&disk, old, "edited by hand");
        let (bytes, expected) = (disk.read_file(&file), replaced(state, old, "edited by hand"));
        Self { way, disk, file, line, bytes, expected }
    }

    pub(super) fn seal(&self, disk: &SimDisk) -> Result<Vec<EditedLine>> {
        seal(disk, &self.file, &[self.line])
    }

    /// What a sealing that was cut short or failed leaves: the store as it was edited, or as it is sealed. Returns whether
    /// it is sealed.
    pub(super) fn check_left(&self, left: &SimDisk) -> bool {
        let listed = edited(left);
        if listed.is_empty() {
            assert_eq!(left.read_file(&format!("{}.damaged", self.file)), self.bytes);
        } else {
            assert_eq!(left.read_file(&self.file), self.bytes);
            self.seal(left).unwrap();
        }
        check(left, self.way, &self.expected, "after sealing again");
        listed.is_empty()
    }
}

#[test]
fn a_crash_at_any_moment_of_a_sealing_leaves_the_edited_file_or_the_sealed_one() {
    let sweep = Sweep::new("a_crash_at_any_moment_of_a_sealing_leaves_the_edited_file_or_the_sealed_one");
    let crashes_each = Crash::COUNT * Tier::pick(3, 10, 40);
    for (number, way) in (0..).zip(WAYS).filter(|&(number, _)| sweep.wants(number)) {
        let (sample, state) = sample(way);
        let sample = sample.crash(0, CrashModel::KeepAll);
        // One in the first file, and one in the last.
        for (place, old) in
            [state.values().min().unwrap(), state.values().max().unwrap()].into_iter().enumerate()
        {
            let it = Edited::new(way, &sample, &state, old);
            let disk = it.disk.fork();
            disk.keep_snapshots();
            it.seal(&disk).unwrap();
            let mut moments = disk.take_snapshots();
            moments.push((disk.operations(), disk.fork()));
            let mut sealed = 0;
            for (operation, moment) in &moments {
                for crash in 0..crashes_each {
                    let is_sealed = sweep.case(format!("{number}-{place}-{operation}-{crash}"), |seed| {
                        it.check_left(&Crash::number(crash).strike(moment, &mut Random::new(seed)))
                    });
                    sealed += u64::from(is_sealed == Some(true));
                }
            }
            let all = moments.len() as u64 * crashes_each;
            assert!(!sweep.is_whole() || sealed >= Crash::COUNT && sealed < all, "{sealed} of {all}");
        }
    }
    sweep.finish(50 * crashes_each);
}

#[test]
fn whichever_call_of_a_sealing_fails_nothing_is_lost() {
    let sweep = Sweep::new("whichever_call_of_a_sealing_fails_nothing_is_lost");
    for (number, way) in (0..).zip(WAYS).filter(|&(number, _)| sweep.wants(number)) {
        let (sample, state) = sample(way);
        let it = Edited::new(way, &sample, &state, state.values().max().unwrap());
        let calls = {
            let disk = it.disk.fork();
            let before = disk.operations();
            it.seal(&disk).unwrap();
            disk.operations() - before
        };
        let mut failed = 0;
        for call in 0..calls {
            // EIO, and a full disk.
            for code in [5, 28] {
                let has_failed = sweep.case(format!("{number}-{call}-{code}"), |_| {
                    let disk = it.disk.fork();
                    disk.fail_at(disk.operations() + call, Failure::Os(code), Repeat::Once);
                    let result = it.seal(&disk);
                    disk.clear_faults();
                    it.check_left(&disk);
                    result.is_err()
                });
                failed += u64::from(has_failed == Some(true));
            }
        }
        assert!(!sweep.is_whole() || failed > calls, "{failed} of {calls}");
    }
    sweep.finish(100);
}

/// The checksum of a compressed value is made anew with the line, so nothing else would tell that it is none.
#[test]
fn a_compressed_value_is_sealed_only_if_it_decompresses() {
    for (way, compression) in
        WAYS.into_iter().flat_map(|way| compressions().into_iter().map(move |compression| (way, compression)))
    {
        let disk = way.disk();
        let db = ledger::open(&disk, &options(way).compression(compression)).unwrap();
        let value = "compressed ".repeat(60);
        db.put("key0", &value).unwrap();
        db.close().unwrap();
        let state = State::from([("key0".to_owned(), value)]);
        let kept = disk.fork();
        // The line as another tool writes it.
        let (from, to) = if way == Way::JSON { ("\"key0\"", " \"key0\"") } else { (",key0,", ",\"key0\",") };
        let (file, line) = edit(&kept, from, to);
        seal(&kept, &file, &[line]).unwrap();
        check(&kept, way, &state, "the same value");
        if compression == Compression::None {
            continue;
        }
        let text = String::from_utf8(disk.read_file(&file)).unwrap();
        let found = text.split_inclusive('\n').find(|line| line.contains("key0")).unwrap();
        // The plain length, with which the stored value begins.
        let start = if way == Way::JSON {
            found.find("value64").unwrap() + 10
        } else {
            found.rfind(',').unwrap() + 1
        };
        let cut = format!("{}AAAA{}", &found[..start], &found[start + 4..]);
        let (file, line) = edit(&disk, found, &cut);
        assert!(!edited(&disk)[0].can_be_sealed, "{compression:?}: {cut}");
        let error = seal(&disk, &file, &[line]).unwrap_err();
        assert!(error.to_string().contains("decompress"), "{error}");
    }
}
