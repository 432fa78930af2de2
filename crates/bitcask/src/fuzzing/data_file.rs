//! A whole data file, read front to back.

use std::path::Path;
use std::sync::Arc;

use super::Choice;
use super::seal;
use crate::dump::Dump;
use crate::file::data_file::DataFile;
use crate::file::layout;
use crate::file::scan::{self, Scanned, ScannedValue, Scanner};
use crate::format::file_header::{FileHeader, StoreId};
use crate::format::position::FileId;
use crate::location::Slot;
use crate::vfs::sim::SimDisk;
use crate::vfs::{Access, DirAccess, Io};

/// A choice, then a data file, or what is behind a header that is made for it.
pub(super) fn scan(bytes: &[u8]) {
    let Some((choice, rest)) = Choice::split(bytes) else { return };
    let format = choice.format;
    let mut file = rest.to_vec();
    if choice.front {
        let header =
            FileHeader { format, store: StoreId([7; 16]), id: FileId::FIRST, salt: 42, inputs: Vec::new() };
        file = [&header.encode()[..], rest].concat();
    }
    if choice.seals {
        file = seal::data_file(format, &file);
    }
    let disk = SimDisk::new(Io::Syscall);
    let dir = disk.vfs().open_dir(Path::new("store"), DirAccess::Create).unwrap();
    disk.write_file(&layout::data(FileId::FIRST, format), &file);
    match DataFile::open_of_any_store(&*dir, FileId::FIRST, format, Slot::FIRST, Access::Read) {
        Ok(file) => check(&file),
        Err(_) => assert!(!choice.front, "the header is good"),
    }
}

/// Records lie one behind the other, each as the codec reads it at its place.
fn check(file: &Arc<DataFile>) {
    let end = file.file_len().unwrap();
    let mut scanner = Scanner::new(file, end).unwrap();
    let (mut at, mut offsets) = (file.first_record(), Vec::new());
    while let Scanned::Record(record) = scanner.next().unwrap() {
        assert_eq!(record.offset, at);
        assert!(record.len > 0 && record.end() <= end, "a record goes on behind the end");
        let mut bytes = vec![0; usize::try_from(record.len).unwrap()];
        file.read(&mut bytes, at).unwrap();
        let read = file.codec().decode_unsound(bytes, at).expect("what was scanned can be read");
        assert_eq!((read.header, read.key()), (record.header, record.key));
        assert_eq!(read.is_sound(), !record.is_damaged());
        if let ScannedValue::Whole(value) = record.value {
            assert_eq!(read.value(), value);
        }
        let decompression = record.decompression_defect(file).unwrap();
        assert!(decompression.is_none() || record.header.compression.is_some());
        record.claim(file);
        offsets.push(record.offset);
        at = record.end();
    }
    assert_eq!(scanner.offset(), at, "the scan stays where it ends");
    assert!(scan::end_of_content(file, at).unwrap() <= end.max(at));
    scan::claims_behind(file, at).unwrap();
    if let Ok(Some(footer)) = file.footer() {
        assert!(footer.data_len <= end, "a footer tells of more than there is");
    }
    // Errors are what the last file may end with.
    let _ = file.link();
    let dumped: Vec<u64> =
        Dump::of(file.clone()).unwrap().map_while(Result::ok).map(|record| record.offset).collect();
    assert_eq!(dumped, offsets, "what is dumped is what is scanned");
}
