//! What is refused before anything is touched: what is no file, no store, no key.

use std::path::Path;
use std::process::Command;

use bitcask::{Error, Options};
use bitcask_testing::{content, skip};

#[test]
fn what_is_no_regular_file_is_refused_where_a_data_file_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let db = bitcask::open(&store, Options::default()).unwrap();
    db.put("key", "value").unwrap();
    db.close().unwrap();
    drop(db);
    let file = store.join("0000000001.data");
    let moved = dir.path().join("moved");
    std::fs::rename(&file, &moved).unwrap();
    let before = content(&store);
    let plant = |command: &str| {
        let status = Command::new("sh").args(["-c", command]).current_dir(&store).status().unwrap();
        status.success()
    };
    for command in ["ln -s ../moved 0000000001.data", "mkfifo 0000000001.data", "mknod 0000000001.data c 1 3"]
    {
        if !plant(command) {
            skip(format_args!("this machine does not allow {command}"));
            continue;
        }
        for options in [Options::default(), Options::read_only()] {
            let error = bitcask::open(&store, options).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{command}: {error}");
        }
        std::fs::remove_file(&file).unwrap();
    }
    assert_eq!(content(&store), before);
    // A hard link is the file itself.
    std::fs::hard_link(&moved, &file).unwrap();
    assert!(bitcask::open(&store, Options::default()).unwrap().contains("key").unwrap());
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let db = bitcask::open(dir.path(), Options::new().max_value_size(1000)).unwrap();
    db.put("key", "value").unwrap();
    let before = db.status().data_bytes;
    let long = vec![b'k'; 65_536];
    assert!(matches!(db.put("", "value"), Err(Error::KeySize { len: 0 })));
    assert!(matches!(db.put(&long, "value"), Err(Error::KeySize { len: 65_536 })));
    assert!(matches!(db.get(""), Err(Error::KeySize { len: 0 })));
    assert!(matches!(db.delete(&long), Err(Error::KeySize { .. })));
    assert!(matches!(db.contains(&long), Err(Error::KeySize { .. })));
    assert!(matches!(db.put("key", vec![0; 1001]), Err(Error::ValueSize { len: 1001, max: 1000 })));
    assert_eq!(db.status().data_bytes, before);
    db.put(&long[1..], vec![1; 1000]).unwrap();
    assert_eq!(db.get(&long[1..]).unwrap().unwrap().len(), 1000);
}

/// The directory stays byte for byte as it was.
fn refused(store: &Path, expected: &str) {
    let before = content(store);
    for options in [Options::default(), Options::read_only()] {
        let error = bitcask::open(store, options).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut after = content(store);
    if !before.contains_key("LOCK") {
        after.remove("LOCK");
    }
    assert_eq!(after, before);
}

#[test]
fn what_is_not_a_store_of_this_version_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    refused(dir.path(), "notes.txt");
    assert_eq!(content(dir.path()).len(), 1);

    let dir = tempfile::tempdir().unwrap();
    bitcask::open(dir.path(), Options::default()).unwrap().close().unwrap();
    let foreign = dir.path().join("0000000001.data.bak");
    std::fs::write(&foreign, "a copy").unwrap();
    refused(dir.path(), "0000000001.data.bak");
    std::fs::remove_file(foreign).unwrap();
    for (file, place) in [("MANIFEST", 8), ("0000000001.data", 8)] {
        let path = dir.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        let mut later = bytes.clone();
        later[place] = 2;
        std::fs::write(&path, &later).unwrap();
        refused(dir.path(), "newer version");
        std::fs::write(&path, &bytes).unwrap();
    }
    bitcask::open(dir.path(), Options::default()).unwrap();
}
