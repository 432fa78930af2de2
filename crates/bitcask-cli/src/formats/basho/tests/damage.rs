//! Damage anywhere: it is always reported, it costs no entry but the damaged one, and no wrong value is ever taken.

use super::*;

/// Entries of the same length among them: a bit of a length can lead from one right to the end of another.
fn sample() -> (Files, Vec<(usize, Pairs)>) {
    let mut files = Files::default();
    // Where each entry begins, and what there is without it.
    let mut starts = Vec::new();
    let entries: [(&[u8], &[u8]); 9] = [
        (b"a", b"0"),
        (b"bb", b"0123456789abcdef"),
        (b"c", b"0123456789abcdefX"),
        (b"dd", b"0123456789abcdef"),
        (b"a", b"2"),
        (b"empty", b""),
        (b"f", b"0123456789abcdefY"),
        (b"empty", b"bitcask_tombstone"),
        (b"end", b"\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    for (key, value) in entries {
        starts.push(files.data.len());
        files.entry(1_300_000_000, key, value);
    }
    let without = |left_out: usize| {
        let mut model = Pairs::new();
        for (index, (key, value)) in entries.iter().enumerate() {
            if index == left_out {
                continue;
            }
            match *value {
                b"bitcask_tombstone" => drop(model.remove(*key)),
                _ => drop(model.insert(key.to_vec(), value.to_vec())),
            }
        }
        model
    };
    let places = starts.into_iter().enumerate().map(|(index, start)| (start, without(index))).collect();
    (files, places)
}

/// The entry that this byte is in: where it begins and ends, and what there is without it.
fn entry_at(places: &[(usize, Pairs)], at: usize, len: usize) -> (usize, usize, &Pairs) {
    let index = places.iter().rposition(|(start, _)| *start <= at).unwrap();
    let end = places.get(index + 1).map_or(len, |(start, _)| *start);
    (places[index].0, end, &places[index].1)
}

/// Directories with the sample, and whether its hint file is there.
fn without_and_with_hint(sample: &Files) -> [(Place, bool); 2] {
    [false, true].map(|with_hint| {
        let place = Place::new();
        sample.write(&place.path(), 1);
        if !with_hint {
            std::fs::remove_file(place.path().join("1.bitcask.hint")).unwrap();
        }
        (place, with_hint)
    })
}

#[test]
fn every_flipped_bit_costs_its_own_entry_and_is_reported() {
    let (sample, places) = sample();
    for (place, with_hint) in without_and_with_hint(&sample) {
        for bit in 0..sample.data.len() * 8 {
            let mut flipped = sample.clone();
            flipped.data[bit / 8] ^= 1 << (bit % 8);
            flipped.write_data(&place.path(), 1);
            let (found, findings) = place.import();
            let (start, end, expected) = entry_at(&places, bit / 8, sample.data.len());
            assert_eq!(&found, expected, "bit {bit}, hint {with_hint}: {findings:?}");
            let notes = [&findings.damage.listed[..], &findings.torn_tails.listed].concat();
            let [note] = &notes[..] else { panic!("bit {bit}: {findings:?}") };
            assert_eq!((note.offset, note.bytes), (start as u64, (end - start) as u64), "bit {bit}");
            // Only the last entry can be taken for one that was not finished, and not where a hint file knows better.
            let may_be_torn = !with_hint && end == sample.data.len();
            assert!(findings.torn_tails.listed.is_empty() || may_be_torn, "bit {bit}: {findings:?}");
        }
    }
}

#[test]
fn every_cut_leaves_the_entries_before_it_and_reports_the_rest() {
    let (sample, places) = sample();
    for (place, with_hint) in without_and_with_hint(&sample) {
        for cut in 0..sample.data.len() {
            let mut short = sample.clone();
            short.data.truncate(cut);
            short.write_data(&place.path(), 1);
            let (_, findings) = place.import();
            let (start, ..) = entry_at(&places, cut, sample.data.len());
            assert_eq!(
                findings.entries,
                places.iter().filter(|(at, _)| *at < start).count() as u64,
                "cut {cut}"
            );
            let torn = (cut - start) as u64;
            if with_hint {
                let last = findings.damage.listed.last().unwrap();
                assert_eq!((findings.damage.bytes, findings.torn_tails.count), (torn, 0), "cut {cut}");
                let more = places.len() as u64 - findings.entries - u64::from(torn > 0);
                assert!(more == 0 || last.what.ends_with(&format!("lists more entries: {more}")), "{last:?}");
            } else {
                let tails: Vec<_> =
                    findings.torn_tails.listed.iter().map(|tail| (tail.offset, tail.bytes)).collect();
                let expected = if torn > 0 { vec![(start as u64, torn)] } else { vec![] };
                assert_eq!((tails, findings.damage.count), (expected, 0), "cut {cut}");
            }
        }
    }
}

#[test]
fn every_file_may_have_a_torn_tail() {
    let place = Place::new();
    for id in [1, 2, 3] {
        let mut files = Files::default();
        files.entry(1, format!("key {id}").as_bytes(), b"1").entry(1, b"torn", b"123");
        files.data.pop();
        files.write_data(&place.path(), id);
    }
    let (found, findings) = place.import();
    assert_eq!(found, pairs([("key 1", "1"), ("key 2", "1"), ("key 3", "1")]));
    let tails: Vec<_> = findings.torn_tails.listed.iter().map(|tail| (tail.offset, tail.bytes)).collect();
    assert_eq!((tails, findings.damage.count), (vec![(20, 20); 3], 0));
}

#[test]
fn sizes_that_are_announced_and_not_there_are_not_believed() {
    for key_len in [0_u16, 1, u16::MAX] {
        for value_len in [1 << 20, 1 << 31, u32::MAX] {
            let place = Place::new();
            let mut files = Files::default();
            files.entry(1, b"a", b"1");
            files.data.extend([0xff; 8]);
            files.data.extend(key_len.to_be_bytes());
            files.data.extend(value_len.to_be_bytes());
            files.data.extend(b"kvkvkv");
            let damaged_len = files.data.len() as u64 - 16;
            files.entry(1, b"b", b"2").write_data(&place.path(), 1);
            let (found, findings) = place.import();
            assert_eq!(found, pairs([("a", "1"), ("b", "2")]));
            assert_eq!(
                (findings.damage.listed[0].offset, findings.damage.listed[0].bytes),
                (16, damaged_len)
            );
        }
    }
}

#[test]
fn a_sector_of_zeros_costs_the_entries_it_touches() {
    let mut files = Files::default();
    for index in 0..100 {
        files.entry(1, format!("key {index}").as_bytes(), &[b'v'; 40]);
    }
    let mut zeroed = files.clone();
    zeroed.data[1_000..1_512].fill(0);
    for with_hint in [false, true] {
        let place = Place::new();
        zeroed.write_data(&place.path(), 1);
        if with_hint {
            std::fs::write(place.path().join("1.bitcask.hint"), files.hint_with_trailer()).unwrap();
        }
        let (found, findings) = place.import();
        // Entries have 59 bytes, or 60 from the eleventh on.
        let (first, last) = (10 + (1_000 - 590) / 60, 10 + (1_511 - 590) / 60);
        assert_eq!(found.len(), 100 - (last - first + 1));
        assert!(!found.contains_key(format!("key {first}").as_bytes()));
        assert!(!found.contains_key(format!("key {last}").as_bytes()));
        assert_eq!(findings.damage.bytes, (last - first + 1) as u64 * 60);
        let named = findings.damage.listed.iter().filter(|note| note.what.contains("its key is \"key "));
        assert_eq!(named.count(), if with_hint { last - first + 1 } else { 0 });
    }
}

#[test]
fn an_entry_inside_a_damaged_value_is_not_taken_for_one_of_the_file() {
    let mut inner = Files::default();
    inner.entry(1, b"a", b"from another life").entry(1, b"b", b"2");
    for last in [false, true] {
        for prefix in [&b""[..], b"some bytes"] {
            let place = Place::new();
            let mut files = Files::default();
            files.entry(1, b"a", b"1").entry(1, b"backup", &[prefix, &inner.data].concat());
            if !last {
                files.entry(1, b"c", b"3");
            }
            // A bit of the damaged entry's checksum: its lengths are as they were.
            files.data[16] ^= 1;
            files.write_data(&place.path(), 1);
            let (found, findings) = place.import();
            let expected = if last { pairs([("a", "1")]) } else { pairs([("a", "1"), ("c", "3")]) };
            assert_eq!((found, findings.damage.count), (expected, 1), "{findings:?}");
        }
    }
}

#[test]
fn the_next_entry_is_found_behind_much_damage() {
    let place = Place::new();
    let mut files = Files::default();
    files.entry(1, b"a", b"1");
    let mut state = 1_u64;
    let garbage: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(1_500_000)
    .collect();
    files.data.extend(&garbage);
    files.entry(1, b"b", b"2").entry(1, b"c", &garbage[..500_000]).write_data(&place.path(), 1);
    let (found, findings) = place.import();
    assert_eq!(found.keys().map(Vec::as_slice).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    assert_eq!((findings.damage.count, findings.damage.bytes), (1, 1_500_000));
}

#[test]
fn damage_among_long_entries_costs_only_what_it_touches() {
    let place = Place::new();
    let mut files = Files::default();
    for index in 0..20_u8 {
        files.entry(1, &[b'k', index], &vec![index; 10_000 + usize::from(index % 3) * 300_000]);
    }
    let len = files.data.len();
    for at in (0..len).step_by(len / 7) {
        files.data[at] ^= 0x10;
    }
    for with_hint in [false, true] {
        files.write_data(&place.path(), 1);
        if with_hint {
            files.write(&place.path(), 1);
        }
        let (found, findings) = place.import();
        assert_eq!(findings.entries + findings.damage.count, 20, "{findings:?}");
        assert!(findings.damage.count >= 5 && findings.torn_tails.count == 0);
        for (key, value) in found {
            assert_eq!(value, vec![key[1]; 10_000 + usize::from(key[1] % 3) * 300_000]);
        }
    }
}

#[test]
fn a_file_of_anything_is_damage_and_not_a_panic() {
    let place = Place::new();
    for bytes in [&b"x"[..], &[0; 13], &[0; 14], &[0; 4_000], &[0xff; 4_000], b"not a data file at all"] {
        std::fs::create_dir_all(place.path()).unwrap();
        std::fs::write(place.path().join("1.bitcask.data"), bytes).unwrap();
        let (found, findings) = place.import();
        let unread = findings.damage.bytes + findings.torn_tails.bytes;
        assert_eq!((found.len(), unread), (0, bytes.len() as u64), "{findings:?}");
    }
}
