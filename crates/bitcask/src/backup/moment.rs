//! The store at one moment: which files make up its log, how long each is, and what the backup's manifest says.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::manifest_file;
use crate::file::scan::{Scanned, Scanner};
use crate::format::codec::Codec;
use crate::format::file_header::FileHeader;
use crate::format::footer::Footer;
use crate::format::manifest::{ListedFile, Manifest};
use crate::format::position::{FileId, LogPosition};
use crate::format::record::Kind;
use crate::store::{Store, WriteSide};

pub(super) struct Moment {
    /// The files of the log, in order.
    pub(super) parts: Vec<Part>,
    /// The file with which the backup ends, unless the store was never written to.
    pub(super) end_file: Option<EndFile>,
    /// The backup's manifest.
    pub(super) manifest: Manifest,
    /// How many of the bytes appended since the store was opened are in it.
    pub(super) appended: u64,
}

/// A file as it goes into the backup.
pub(super) struct Part {
    pub(super) file: Arc<DataFile>,
    /// How much of it.
    pub(super) len: u64,
    /// The footer with which it ends, if it is complete.
    pub(super) footer: Option<Footer>,
}

/// A file that only the backup has, behind all others: a link and a close marker. The link names the end of the file
/// before it, and the marker claims all before itself, so that no file of the backup can lose its end unnoticed. A
/// writer that opens the backup goes on in this file, which is nobody else's.
pub(super) struct EndFile {
    pub(super) id: FileId,
    pub(super) bytes: Vec<u8>,
}

impl Moment {
    /// This moment, for the store's one writer. The caller holds the locks that keep its files as they are.
    pub(super) fn of_writer(store: &Store, side: &WriteSide, manifest: &Manifest) -> Result<Self> {
        side.check()?;
        let mut files = store.order().clone();
        let (end, last_timestamp, appended) = {
            let writer = side.writer();
            store.check_open()?;
            (writer.end(), writer.timestamps.last(), writer.appended)
        };
        let count = files.iter().position(|file| file.id() == end.file).map_or(0, |index| index + 1);
        files.truncate(count);
        let ends = files.iter().map(|file| if file.id() == end.file { end.offset } else { file.data_len() });
        let ends = ends.collect::<Vec<_>>();
        Self::new(store, files.into_iter().zip(ends), last_timestamp, appended, manifest)
    }

    /// What a reader sees: the moment when it was opened.
    pub(super) fn of_reader(store: &Store) -> Result<Self> {
        // It may be newer than the reader. What it adds to the files holds for their state then as well: `clean`
        // stays true when later records are left out, and the numbers only grow.
        let manifest = manifest_file::read(&*store.dir)?.ok_or_else(|| Error::NotAStore {
            path: store.path.clone(),
            reason: "its MANIFEST is gone".to_owned(),
        })?;
        let mut files = store.order().clone();
        let count = files.iter().rposition(|file| file.data_len() > 0).map_or(0, |index| index + 1);
        files.truncate(count);
        let last_timestamp = files.last().map_or(Ok(0), |last| last_timestamp(last, last.data_len()))?;
        let files = files.into_iter().map(|file| (Arc::clone(&file), file.data_len()));
        Self::new(store, files, last_timestamp, 0, &manifest)
    }

    /// The moment when the files had these lengths, without their footers.
    fn new(
        store: &Store,
        files: impl Iterator<Item = (Arc<DataFile>, u64)>,
        last_timestamp: u64,
        appended: u64,
        manifest: &Manifest,
    ) -> Result<Self> {
        let mut parts = Vec::new();
        for (file, end) in files {
            let footer = file.footer()?.filter(|footer| footer.data_len == end);
            let len = if footer.is_some() { file.file_len()? } else { end };
            parts.push(Part { file, len, footer });
        }
        let clean_of = |id| manifest.files.iter().find(|file| file.id == id).map_or(0, |file| file.clean);
        let listed = parts.iter().map(|part| part.file.id());
        let mut manifest = Manifest {
            files: listed.map(|id| ListedFile { id, clean: clean_of(id) }).collect(),
            highest_timestamp: manifest.highest_timestamp.max(last_timestamp),
            // The close marker in its last file claims more; and this moment may be older than the manifest.
            synced: None,
            ..manifest.clone()
        };
        let mut end_file = None;
        if let Some(Part { file, len, footer }) = parts.last() {
            let offset = footer.as_ref().map_or(*len, |footer| footer.data_len);
            let made =
                EndFile::new(store, &manifest, LogPosition { file: file.id(), offset }, last_timestamp)?;
            manifest.next_file = FileId(made.id.0 + 2);
            manifest.files.push(ListedFile { id: made.id, clean: 0 });
            end_file = Some(made);
        }
        Ok(Self { parts, end_file, manifest, appended })
    }
}

impl EndFile {
    /// The file behind `previous`, under the id that is reserved and not listed.
    fn new(store: &Store, manifest: &Manifest, previous: LogPosition, timestamp: u64) -> Result<Self> {
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(|error| Error::io("draw", "a random salt", error.into()))?;
        let id = FileId(manifest.next_file.0 - 1);
        let header = FileHeader {
            format: store.identity.format,
            store: store.identity.store,
            id,
            salt: u64::from_le_bytes(salt),
            inputs: Vec::new(),
        };
        let codec = Codec::new(header.format, header.salt);
        let mut bytes = header.encode();
        codec.encode_log(Kind::Link, timestamp, bytes.len() as u64, &previous.encode(), &mut bytes);
        let end = LogPosition { file: id, offset: bytes.len() as u64 };
        codec.encode_log(Kind::CloseMarker, timestamp, end.offset, &end.encode(), &mut bytes);
        Ok(Self { id, bytes })
    }
}

/// The timestamp of the last record before `end`.
fn last_timestamp(file: &DataFile, end: u64) -> Result<u64> {
    let mut scanner = Scanner::new(file, end)?;
    let mut last = 0;
    loop {
        let offset = scanner.offset();
        match scanner.next()? {
            Scanned::Record(record) => last = record.header.timestamp,
            Scanned::Defect(defect) => return Err(defect.at(file.name(), offset)),
            Scanned::End => return Ok(last),
        }
    }
}
