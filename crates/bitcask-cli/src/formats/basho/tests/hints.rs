//! Hint files: a second witness, and never more.

use super::*;

fn sample() -> Files {
    let mut files = Files::default();
    files.entry(1, b"a", b"1").entry(2, b"b", b"2").tombstone(3, b"a").entry(
        4,
        b"like",
        b"bitcask_tombstones",
    );
    files
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_hint_file_changes_nothing_but_the_report() {
    let place = Place::new();
    let sample = sample();
    sample.write(&place.path(), 1);
    let hint = sample.hint_with_trailer();
    let path = place.path().join("1.bitcask.hint");
    let (expected, whole) = place.import();
    assert_eq!((expected.len(), whole.hints.sound), (2, 1));
    // Nothing covers the bit of the trailer that stands for a tombstone elsewhere.
    let meaningless = (hint.len() - 8) * 8 + 7;
    for bit in (0..hint.len() * 8).filter(|bit| *bit != meaningless) {
        let mut flipped = hint.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, flipped).unwrap();
        let (found, findings) = place.import();
        assert_eq!(found, expected);
        let hints = &findings.hints;
        let is_trailer_gone =
            bit / 8 >= hint.len() - 18 && !(hint.len() - 12..hint.len() - 8).contains(&(bit / 8));
        let counts = (hints.sound, hints.damaged, hints.without_trailer.len(), findings.damage.count);
        assert_eq!(counts, if is_trailer_gone { (0, 0, 1, 0) } else { (0, 1, 0, 1) }, "bit {bit}");
    }
    for cut in 0..hint.len() {
        std::fs::write(&path, &hint[..cut]).unwrap();
        let (found, findings) = place.import();
        assert_eq!((found, findings.hints.without_trailer.len()), (expected.clone(), 1), "cut {cut}");
        assert!(findings.damage.listed.is_empty());
    }
}

#[test]
fn a_hint_file_that_describes_something_else_is_reported_and_not_used() {
    let mut other = Files::default();
    other.entry(1, b"a", b"1").entry(2, b"x", b"2").entry(3, b"a", b"1");
    let mut shorter = Files::default();
    shorter.entry(1, b"a", b"1").entry(2, b"b", b"2");
    for hint in [other.hint_with_trailer(), shorter.hint_with_trailer(), Files::default().hint_with_trailer()]
    {
        let place = Place::new();
        sample().write_data(&place.path(), 1);
        std::fs::write(place.path().join("1.bitcask.hint"), hint).unwrap();
        let (found, findings) = place.import();
        assert_eq!(found, pairs([("b", "2"), ("like", "bitcask_tombstones")]));
        assert_eq!((findings.hints.sound, findings.hints.disagreeing, findings.damage.count), (0, 1, 1));
        assert!(findings.damage.listed[0].file.ends_with("1.bitcask.hint"), "{findings:?}");
        assert_eq!(findings.damage.bytes, 0);
    }
}

#[test]
fn a_hint_file_with_impossible_lengths_disagrees_and_leads_nowhere() {
    for (entry_len, key_len, offset) in
        [(0_u32, 1_u16, 0_u64), (u32::MAX, 1, 0), (16, 65_535, 0), (16, 1, 1 << 40)]
    {
        let place = Place::new();
        let mut files = sample();
        files.data[0] ^= 1;
        files.hint.clear();
        files.hint.extend(1_u32.to_be_bytes());
        files.hint.extend(key_len.to_be_bytes());
        files.hint.extend(entry_len.to_be_bytes());
        files.hint.extend(offset.to_be_bytes());
        files.hint.push(b'a');
        files.write(&place.path(), 1);
        let (found, findings) = place.import();
        if entry_len < u32::MAX {
            assert_eq!(found, pairs([("b", "2"), ("like", "bitcask_tombstones")]), "{findings:?}");
            assert_eq!((findings.hints.disagreeing, findings.damage.count), (1, 2));
        } else {
            // Its own checksum says that it was written so: there is nothing to weigh against it.
            assert_eq!((findings.damage.bytes, findings.torn_tails.count), (files.data.len() as u64, 0));
        }
    }
}

#[test]
fn a_trailer_from_before_the_tombstone_bit_is_one_too() {
    let place = Place::new();
    sample().write_data(&place.path(), 1);
    let mut hint = sample().hint_with_trailer();
    let end = hint.len();
    hint[end - 8..].fill(0xff);
    std::fs::write(place.path().join("1.bitcask.hint"), hint).unwrap();
    let (_, findings) = place.import();
    assert_eq!((findings.hints.sound, findings.damage.count), (1, 0));
}

#[test]
fn hint_files_without_a_data_file_are_named() {
    let place = Place::new();
    sample().write(&place.path(), 1).write(&place.path(), 2);
    std::fs::remove_file(place.path().join("2.bitcask.data")).unwrap();
    let (found, findings) = place.import();
    assert_eq!((found.len(), findings.hints.sound, findings.hints.alone.len()), (2, 1, 1));
    assert!(findings.hints.alone[0].ends_with("2.bitcask.hint"));
}
