//! Whole lines of text files taken out, put in again, swapped: no answer is wrong, and what changes anything is noticed.

use bitcask_testing::Sweep;

use super::ledger::{self, STORE, State};
use super::ways::Way;
use crate::vfs::DirAccess;
use crate::vfs::sim::SimDisk;
use crate::{Durability, verify};

const KEYS: usize = 4;

fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|n| format!("key{n}"))
}

/// A closed store of several files; the last that was written to has no footer.
fn sample(way: Way) -> (SimDisk, State) {
    let disk = way.disk();
    let options = way.options().max_file_size(1600).durability(Durability::Os);
    let db = ledger::open(&disk, &options).unwrap();
    for n in 0..36 {
        let key = format!("key{}", n * 3 % KEYS);
        match n % 5 {
            4 => assert!(db.delete(&key).unwrap()),
            3 => db.sync().unwrap(),
            // All of one length, so that a line fits into the place of another.
            _ => db.put(&key, format!("value {n:02}")).unwrap(),
        }
    }
    let state = ledger::read_all(&db, keys()).unwrap();
    db.close().unwrap();
    (disk, state)
}

/// What becomes of a store when the lines of one of its files are changed.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It opens, and holds what it held.
    Harmless,
    /// It opens, and something is reported or answers with an error; all other answers are right.
    Partly,
    Refused,
}

fn judge(disk: &SimDisk, file: &str, lines: &[&[u8]], state: &State, message: &str) -> (Outcome, bool) {
    let disk = disk.fork();
    disk.write_file(file, &lines.concat());
    let dir = disk.vfs().open_dir(STORE.as_ref(), DirAccess::ReadOnly).unwrap();
    let report = verify::verify_dir(&*dir, &mut |_| {}).unwrap().unwrap();
    let is_reported = !report.damage.is_empty() || report.torn_tail.is_some();
    let db = match ledger::open(&disk, &crate::Options::read_only()) {
        Ok(db) => db,
        Err(error) => {
            assert!(error.is_corruption(), "{message}: {error}");
            return (Outcome::Refused, is_reported);
        }
    };
    let mut outcome = Outcome::Harmless;
    for key in keys() {
        match db.get(&key) {
            Ok(found) => {
                assert_eq!(found.as_deref(), state.get(&key).map(String::as_bytes), "{message}: {key}")
            }
            Err(error) => {
                assert!(error.is_corruption(), "{message}: {key}: {error}");
                outcome = Outcome::Partly;
            }
        }
    }
    (outcome, is_reported)
}

/// Every change of lines of the file with this number. Its last line, and its first ones with the header, stay.
fn change_lines(sweep: &Sweep, way: Way, number: u64) {
    let (disk, state) = sample(way);
    let file = &way.file(number);
    let content = disk.read_file(file);
    let lines: Vec<&[u8]> = content.split_inclusive(|&byte| byte == b'\n').collect();
    let header_lines = if file.ends_with(".csv") { 2 } else { 1 };
    assert!(lines.len() > header_lines + 5, "{}", content.escape_ascii());
    let (outcome, is_reported) = judge(&disk, file, &lines, &state, "nothing");
    assert_eq!((outcome, is_reported), (Outcome::Harmless, false));
    let is_marker = |line: &[u8]| line.windows(11).any(|window| window == b"sync marker");
    let without_markers = |lines: &[&[u8]]| {
        lines.iter().filter(|line| !is_marker(line)).flat_map(|line| line.to_vec()).collect::<Vec<u8>>()
    };
    for at in header_lines + 1..lines.len() - 1 {
        let check = |changed: Vec<&[u8]>, what: &str| {
            let message = format!("{file}, line {}, {what}: {}", at + 1, lines[at].escape_ascii());
            let (outcome, is_reported) = judge(&disk, file, &changed, &state, &message);
            // Of a marker it says nothing new where it stands.
            let is_nothing =
                outcome == Outcome::Harmless && without_markers(&changed) == without_markers(&lines);
            assert!(is_reported || is_nothing, "{message}: verify says nothing");
        };
        let name = |what: &str| format!("{}-{at}-{what}", way_number(way));
        sweep.case(name("out"), |_| {
            let mut without = lines.clone();
            without.remove(at);
            check(without, "taken out");
        });
        for to in header_lines + 1..lines.len() {
            sweep.case(name(&format!("again-{to}")), |_| {
                let mut twice = lines.clone();
                twice.insert(to, lines[at]);
                check(twice, "put in again");
            });
        }
        for other in header_lines + 1..lines.len() - 1 {
            sweep.case(name(&format!("swapped-{other}")), |_| {
                let mut swapped = lines.clone();
                swapped.swap(at, other);
                check(swapped, "swapped");
            });
        }
    }
}

fn way_number(way: Way) -> usize {
    Way::ALL.into_iter().position(|other| other == way).unwrap()
}

#[test]
fn lines_of_a_file_without_a_footer_in_the_wrong_place_give_no_wrong_answer() {
    let sweep = Sweep::new("lines_of_a_file_without_a_footer_in_the_wrong_place_give_no_wrong_answer");
    for way in [Way::JSON, Way::CSV] {
        let (disk, _) = sample(way);
        let written = disk.files().into_iter().filter(|name| name.ends_with(".hint")).count() as u64;
        change_lines(&sweep, way, written + 1);
    }
    sweep.finish(100);
}

#[test]
fn lines_of_a_complete_file_in_the_wrong_place_are_reported_and_give_no_wrong_answer() {
    let sweep =
        Sweep::new("lines_of_a_complete_file_in_the_wrong_place_are_reported_and_give_no_wrong_answer");
    for way in [Way::JSON, Way::CSV] {
        change_lines(&sweep, way, 1);
    }
    sweep.finish(200);
}

/// A damaged line is named by its number, where it is met.
#[test]
fn errors_and_reports_name_the_line() {
    for way in [Way::JSON, Way::CSV] {
        let (disk, _) = sample(way);
        let file = &way.file(1);
        let content = disk.read_file(file);
        let at = content.windows(8).position(|window| window == b"value 02").unwrap();
        let line = content[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        disk.overwrite(file, at as u64, b"VALUE 02");
        let named = format!(
            "line {line}: the line does not fit its checksum; if it was edited by hand, see `bitcask seal-line`"
        );
        let dir = disk.vfs().open_dir(STORE.as_ref(), DirAccess::ReadOnly).unwrap();
        let report = verify::verify_dir(&*dir, &mut |_| {}).unwrap().unwrap();
        assert!(report.damage.iter().any(|damage| damage.what == named), "{:?}", report.damage);
        disk.remove_file(&format!("{}.hint", &file[..10]));
        let error = ledger::open(&disk, &way.options()).unwrap_err();
        assert!(error.is_corruption() && error.to_string().contains(&named), "{error}");
    }
}

/// A line that is longer than what is read at once is believed once its end is found and its checksum fits.
#[test]
fn a_long_line_that_is_cut_or_damaged_anywhere_is_a_torn_tail() {
    for way in [Way::JSON, Way::CSV] {
        let disk = way.disk();
        let db = ledger::open(&disk, &way.options().durability(Durability::Os)).unwrap();
        db.put("short", "before").unwrap();
        let start = db.status().files[0].len;
        db.put("long", "x".repeat(900_000)).unwrap();
        let end = db.status().files[0].len;
        disk.stop();
        let whole = disk.read_file(&way.file(1));
        for at in [start + 1, start + 100, start + 262_144, start + 600_000, end - 1, end] {
            for is_cut in [true, false] {
                let left = disk.fork().kill();
                let mut bytes = whole.clone();
                let at = usize::try_from(at).unwrap();
                match is_cut {
                    true => bytes.truncate(at),
                    false => bytes[at - 1] ^= 1,
                }
                left.write_file(&way.file(1), &bytes);
                let db = ledger::open(&left, &way.options()).unwrap();
                assert_eq!(db.get("short").unwrap().as_deref(), Some(&b"before"[..]));
                let is_whole = is_cut && at == whole.len();
                assert_eq!(db.get("long").unwrap().map(|value| value.len()), is_whole.then_some(900_000));
                let torn = db.status().recovery.torn_tail.map(|torn| torn.offset);
                assert_eq!(torn, (!is_whole).then_some(start), "{way:?}, {at}, {is_cut}");
            }
        }
    }
}
