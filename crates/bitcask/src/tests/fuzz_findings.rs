//! What the fuzzer has found, each by itself. The inputs are in `fuzz/corpus`, too.

use std::sync::Arc;

use super::harness::{STORE, open};
use super::ways::Way;
use crate::file::layout;
use crate::format::hint::HintHeader;
use crate::format::manifest::Manifest;
use crate::format::position::FileId;
use crate::vfs::sim::SimClock;

/// The section of a shard that the keydir does not have was looked for in the keydir, and the open panicked. A later
/// version may have more shards.
#[test]
fn a_hint_file_for_more_shards_than_the_keydir_has_is_not_used() {
    let (disk, clock) = (Way::SYSCALL.disk(), Arc::new(SimClock::new(1)));
    let options = Way::SYSCALL.small_files();
    let db = open(&disk, &clock, &options).unwrap();
    db.put("key", "value").unwrap();
    db.rotate().unwrap();
    db.close().unwrap();
    let name = format!("{STORE}/{}", layout::hint(FileId::FIRST));
    let file = disk.read_file(&name);
    let len = HintHeader::encoded_len(file.first_chunk().unwrap()).unwrap();
    let mut header = HintHeader::decode(&file[..len]).unwrap();
    assert_eq!(header.sections.len(), 1, "the hint file has one key");
    header.sections[0].shard = 759;
    disk.write_file(&name, &[&header.encode()[..], &file[len..]].concat());
    let db = open(&disk, &clock, &options).unwrap();
    assert_eq!(db.status().recovery.hints_loaded, 0);
    assert_eq!(db.get("key").unwrap().as_deref(), Some(&b"value"[..]));
}

/// The id before the next one was reckoned without a look, and the open panicked where the next one is 0.
#[test]
fn a_manifest_that_has_reserved_no_file_is_damage() {
    let (disk, clock) = (Way::SYSCALL.disk(), Arc::new(SimClock::new(1)));
    let options = Way::SYSCALL.small_files();
    open(&disk, &clock, &options).unwrap().close().unwrap();
    let name = format!("{STORE}/{}", layout::MANIFEST);
    let mut manifest = Manifest::decode(&disk.read_file(&name)).unwrap();
    manifest.next_file = FileId::NONE;
    disk.write_file(&name, &manifest.encode());
    let refused = open(&disk, &clock, &options);
    assert!(refused.is_err_and(|error| error.is_corruption()));
}
