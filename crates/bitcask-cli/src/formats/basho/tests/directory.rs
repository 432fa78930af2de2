//! What a source may be, what is read of it, and that nothing in it changes.

use super::*;

fn one(key: &[u8], value: &[u8]) -> Files {
    let mut files = Files::default();
    files.entry(1, key, value);
    files
}

#[test]
fn partitions_are_read_each_for_itself() {
    let place = Place::new();
    // A root has partitions of up to 49 digits, and one may be empty.
    let [first, second, third] =
        ["0", "9", "1438665674247607560106752257205091097473808596992"].map(|name| place.path().join(name));
    Files::default()
        .entry(10, b"both", b"old")
        .entry(10, b"kept", b"1")
        .entry(9, b"stale", b"1")
        .write(&first, 1);
    Files::default()
        .entry(20, b"both", b"new")
        .entry(20, b"kept", b"2")
        .tombstone(30, b"kept")
        .entry(5, b"stale", b"0")
        .write(&third, 1);
    std::fs::create_dir_all(second).unwrap();
    let (found, findings) = place.import();
    // What one partition has deleted, another one may still have.
    assert_eq!(found, pairs([("both", "new"), ("kept", "1"), ("stale", "1")]));
    assert_eq!((findings.partitions, findings.files, findings.in_other_partition), (3, 2, 2));
    assert_eq!((findings.overwritten, findings.tombstones.v2), (1, 1));
    assert_clean(&findings);
}

#[test]
fn a_root_of_empty_partitions_has_no_entries() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().join("0")).unwrap();
    let (found, findings) = place.import();
    assert_eq!((found.len(), findings.partitions, findings.files), (0, 1, 0));
}

#[test]
fn what_is_no_source_is_refused_with_the_reason() {
    let refused = |place: &Place| place.try_import(&options()).unwrap_err().to_string();
    let place = Place::new();
    assert!(refused(&place).starts_with("cannot read"));
    std::fs::create_dir_all(place.path().join("some directory")).unwrap();
    std::fs::write(place.path().join("0000000001.data"), "").unwrap();
    assert!(refused(&place).contains("there is neither a data file of Bitcask"));
    one(b"a", b"1").write(&place.path(), 1);
    assert_eq!(place.import().0.len(), 1);
    one(b"b", b"1").write(&place.path().join("7"), 1);
    assert!(refused(&place).contains("name the one that is meant"));
    let inside = BashoReader::open(&place.path(), &place.path().join("7/store"), options());
    assert!(matches!(inside, Err(Failure::Usage(_))));
}

#[test]
fn names_that_are_not_those_of_bitcask_are_passed_over_and_named() {
    let place = Place::new();
    one(b"a", b"1").write(&place.path(), 1);
    let strange = ["01.bitcask.data", "-2.bitcask.data", "x.bitcask.data", "3.bitcask.data.bak", "4.data"];
    let huge = "99999999999999999999.bitcask.data";
    for name in strange.iter().chain([&huge]) {
        std::fs::write(place.path().join(name), &one(b"x", b"x").data).unwrap();
    }
    for name in ["version.txt", "merge.txt", "upgrade.txt"] {
        std::fs::write(place.path().join(name), "2.0.0").unwrap();
    }
    std::fs::create_dir(place.path().join("6.bitcask.data")).unwrap();
    let (found, findings) = place.import();
    assert_eq!(found, pairs([("a", "1")]));
    assert_eq!(findings.not_read.len(), strange.len() + 2);
    // A directory in the place of a data file is the one that may hide entries.
    let missed: Vec<_> = findings.not_read.iter().filter(|name| name.is_missed).collect();
    assert!(missed.len() == 1 && missed[0].path.ends_with("6.bitcask.data"), "{missed:?}");
    assert_eq!(findings.missed(), 1);
}

#[test]
fn a_directory_in_use_is_refused_unless_that_is_overridden() {
    for lock in ["bitcask.write.lock", "bitcask.merge.lock", "bitcask.create.lock"] {
        let place = Place::new();
        let partition = place.path().join("5");
        one(b"a", b"1").write(&partition, 1);
        std::fs::write(partition.join(lock), "4711 /var/lib/riak/bitcask/5/1.bitcask.data\n").unwrap();
        let refused = place.try_import(&options()).unwrap_err().to_string();
        assert!(
            refused.contains(lock) && refused.contains("process 4711 has the directory open"),
            "{refused}"
        );
        assert!(refused.contains("--ignore-lock"));
        let (found, findings) = place.import_with(&BashoOptions { locks: Locks::Ignore, ..options() });
        assert_eq!((found.len(), findings.not_read.len()), (1, 0));
        for content in [&b""[..], b"\xff\xfe \n", b"no pid", b" "] {
            std::fs::write(partition.join(lock), content).unwrap();
            let refused = place.try_import(&options()).unwrap_err().to_string();
            assert!(refused.contains("a process that it does not name has the directory open"), "{refused}");
        }
    }
}

#[test]
fn a_source_that_changes_while_it_is_read_is_noticed() {
    type Change = fn(&Path);
    // Each of these is done once the first reading is over.
    let changes: [(&str, Change); 6] = [
        ("changed while it was read", |source| _ = one(b"b", b"1").write(source, 2)),
        ("changed while it was read", |source| std::fs::remove_file(source.join("1.bitcask.hint")).unwrap()),
        ("changed while it was read", |source| {
            Files::default().entry(1, b"a", b"1").entry(2, b"a", b"2").write_data(source, 1);
        }),
        ("it is not what it was a moment ago", |source| {
            std::fs::write(source.join("1.bitcask.data"), "").unwrap();
        }),
        ("it is not what it was a moment ago", |source| {
            std::fs::write(source.join("1.bitcask.data"), [0; 16]).unwrap();
        }),
        ("cannot read", |source| std::fs::remove_file(source.join("1.bitcask.data")).unwrap()),
    ];
    for (expected, change) in changes {
        let place = Place::new();
        one(b"a", b"1").write(&place.path(), 1);
        let (mut reader, _) = place.open(&options()).unwrap();
        change(&place.path());
        let failure = drain(&mut reader).unwrap_err().to_string();
        assert!(failure.contains(expected), "{failure}");
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn set_mode(place: &Place, id: u64, mode: u32) {
        let path = place.path().join(format!("{id}.bitcask.data"));
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn files_that_are_pending_deletion_are_not_read_and_named() {
        // A merge of files 1 and 2 has dropped the deleted key with its tombstone. File 2 is gone, file 1 not yet.
        for mode in [0o601, 0o4600] {
            let place = Place::new();
            Files::default().entry(1, b"deleted", b"1").entry(1, b"kept", b"1").write(&place.path(), 1);
            set_mode(&place, 1, mode);
            one(b"kept", b"1").write(&place.path(), 3);
            let (found, findings) = place.import();
            assert_eq!(found, pairs([("kept", "1")]));
            assert_eq!(
                (findings.files, findings.pending.count, findings.pending.listed[0].bytes),
                (1, 1, 41)
            );
            assert!(findings.pending.listed[0].file.ends_with("1.bitcask.data"));
            let (found, findings) = place.import_with(&BashoOptions { pending: Pending::Take, ..options() });
            assert_eq!((found.len(), findings.files, findings.pending.count), (2, 2, 1));
        }
    }

    #[test]
    fn a_source_where_everything_is_pending_is_refused() {
        let place = Place::new();
        one(b"a", b"1").write(&place.path(), 1);
        set_mode(&place, 1, 0o777);
        let refused = place.try_import(&options()).unwrap_err().to_string();
        assert!(
            refused.contains("every data file is marked") && refused.contains("--take-pending"),
            "{refused}"
        );
        assert_eq!(place.import_with(&BashoOptions { pending: Pending::Take, ..options() }).0.len(), 1);
    }

    #[test]
    fn links_and_special_files_are_not_followed() {
        let place = Place::new();
        let outside = place.path().with_file_name("outside");
        one(b"secret", b"1").write(&outside, 1);
        one(b"a", b"1").write(&place.path().join("1"), 1);
        symlink(&outside, place.path().join("2")).unwrap();
        symlink(outside.join("1.bitcask.data"), place.path().join("1/2.bitcask.data")).unwrap();
        symlink(outside.join("1.bitcask.hint"), place.path().join("1/3.bitcask.hint")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(place.path().join("1/4.bitcask.data")).unwrap();
        let (found, findings) = place.import();
        assert_eq!(found, pairs([("a", "1")]));
        assert_eq!((findings.not_read.len(), findings.missed()), (4, 3), "{findings:?}");
    }

    /// Names and contents of everything below, with mode and time of change.
    fn snapshot(path: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32, [i64; 2])> {
        let found = walkdir::WalkDir::new(path).sort_by_file_name().into_iter().map(Result::unwrap);
        let all = found.map(|found| {
            let metadata = found.metadata().unwrap();
            let content = if metadata.is_file() { std::fs::read(found.path()).unwrap() } else { Vec::new() };
            let changed = [metadata.ctime(), metadata.ctime_nsec()];
            (found.into_path(), (content, metadata.mode(), changed))
        });
        all.collect()
    }

    #[test]
    fn nothing_in_the_source_changes() {
        let place = Place::new();
        let partition = place.path().join("3");
        one(b"a", b"1").write(&partition, 1);
        let mut damaged = Files::default();
        damaged.entry(1, b"b", b"1").entry(1, b"c", b"1").data[0] ^= 1;
        damaged.write_data(&partition, 2);
        std::fs::write(partition.join("bitcask.write.lock"), "1 x\n").unwrap();
        let before = snapshot(&place.path());
        let (found, _) = place.import_with(&BashoOptions { locks: Locks::Ignore, ..options() });
        assert_eq!(found.len(), 2);
        assert_eq!(snapshot(&place.path()), before);
        // Nor does it take the permission to write.
        std::fs::set_permissions(partition.join("1.bitcask.data"), Permissions::from_mode(0o400)).unwrap();
        std::fs::set_permissions(&partition, Permissions::from_mode(0o500)).unwrap();
        let again = place.import_with(&BashoOptions { locks: Locks::Ignore, ..options() });
        std::fs::set_permissions(&partition, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(again.0, found);
    }
}
