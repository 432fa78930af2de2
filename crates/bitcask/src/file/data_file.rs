//! One data file, open: its header, its bytes, and how far they are written, allocated and synced.
//!
//! Invariants:
//! - `data_len` only grows, and everything below it is whole: it is raised after the bytes are in place.
//! - Bytes below `data_len` never change while the file is open.
//! - `synced_len <= data_len`; it is raised only after a sync has returned.

use std::sync::{Arc, OnceLock};

use super::count::Count;
use super::layout;
use crate::error::{Error, Result};
use crate::format::Defect;
use crate::format::codec::{Codec, LogRecord};
use crate::format::file_header::{FileHeader, LogFormat};
use crate::format::footer::Footer;
use crate::format::manifest::Identity;
use crate::format::position::{FileId, LogPosition};
use crate::format::record::Kind;
use crate::location::{Location, Slot};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::vfs::{self, Access, Dir, File};

pub(crate) struct DataFile {
    name: String,
    header: FileHeader,
    first_record: u64,
    codec: Codec,
    slot: Slot,
    file: Arc<dyn File>,
    data_len: AtomicU64,
    allocated_len: AtomicU64,
    synced_len: AtomicU64,
    /// Records that the keydir points to; bytes are rounded as locations round them. After the open it changes under the
    /// writer lock.
    pub(crate) live: Count,
    /// Tombstones that the merge which made this file had to keep.
    pub(crate) held: Count,
    /// Superseded records that the merge which made this file had to keep for snapshots, as long as there are any.
    pub(crate) pinned: Count,
    /// The footer, once it was read or written.
    known_footer: OnceLock<Footer>,
}

impl DataFile {
    /// Creates the file and syncs its header; its name is durable only after the directory's sync.
    /// The first `map_len` bytes are mapped where the directory can map.
    pub(crate) fn create(dir: &dyn Dir, header: FileHeader, slot: Slot, map_len: u64) -> Result<Arc<Self>> {
        let name = layout::data(header.id, header.format);
        Self::create_as(dir, name, header, slot, map_len)
    }

    /// Creates a text file beside the place of the one that it is to replace, where an unfinished one may lie.
    pub(crate) fn create_staged(dir: &dyn Dir, header: FileHeader) -> Result<Arc<Self>> {
        let name = layout::temporary(&layout::data(header.id, header.format));
        vfs::remove_if_present(dir, &name).map_err(|source| Error::io("remove", &name, source))?;
        Self::create_as(dir, name, header, Slot::FIRST, 0)
    }

    fn create_as(
        dir: &dyn Dir,
        name: String,
        header: FileHeader,
        slot: Slot,
        map_len: u64,
    ) -> Result<Arc<Self>> {
        let failed = |operation| {
            let name = name.clone();
            move |source| Error::io(operation, name, source)
        };
        let file = dir.create(&name).map_err(failed("create"))?;
        let bytes = header.encode();
        let written = (|| {
            vfs::write_all_at(&*file, &bytes, 0).map_err(failed("write"))?;
            if header.format.syntax().is_none() {
                file.map(map_len).map_err(failed("map"))?;
            }
            planted!("a new file is not synced", return Ok(()));
            file.sync().map_err(failed("sync"))
        })();
        if let Err(error) = written {
            // Nothing refers to the file yet. If it cannot be removed either, the next open will.
            let _ = dir.remove(&name);
            return Err(error);
        }
        let len = bytes.len() as u64;
        let file = Self::new(name, header, len, slot, file, len);
        file.set_data_len(len);
        Ok(Arc::new(file))
    }

    /// Opens a file of the store and checks its header. `data_len` is 0 until somebody has found it out.
    pub(crate) fn open(
        dir: &dyn Dir,
        id: FileId,
        identity: &Identity,
        slot: Slot,
        access: Access,
        map_len: u64,
    ) -> Result<Arc<Self>> {
        let (file, file_len) = Self::open_header(dir, id, identity.format, slot, access)?;
        if planted!("a file of another store is taken", false, file.header.store != identity.store) {
            return Err(Error::ForeignFile {
                file: file.name,
                reason: "its header says that it belongs to another store".to_owned(),
            });
        }
        if identity.format.syntax().is_none() {
            let map_len = map_len.max(file_len);
            file.file.map(map_len).map_err(|source| file.failed("map", source))?;
        }
        Ok(Arc::new(file))
    }

    /// Opens a file of whatever store to look at it.
    pub(crate) fn open_of_any_store(
        dir: &dyn Dir,
        id: FileId,
        format: LogFormat,
        slot: Slot,
        access: Access,
    ) -> Result<Arc<Self>> {
        Self::open_header(dir, id, format, slot, access).map(|(file, _)| Arc::new(file))
    }

    fn open_header(
        dir: &dyn Dir,
        id: FileId,
        format: LogFormat,
        slot: Slot,
        access: Access,
    ) -> Result<(Self, u64)> {
        let name = layout::data(id, format);
        let file = dir.open(&name, access).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                Error::corruption(&name, 0, "the manifest lists it, but it is missing")
            }
            _ => Error::io("open", &name, source),
        })?;
        let file_len = file.len().map_err(|source| Error::io("measure", &name, source))?;
        let (header, first_record) = read_header(&*file, &name, format, file_len)?;
        if header.id != id {
            return Err(Error::ForeignFile {
                file: name,
                reason: format!("its header says that it is file {}: it was renamed or copied", header.id),
            });
        }
        Ok((Self::new(name, header, first_record, slot, file, file_len), file_len))
    }

    fn new(
        name: String,
        header: FileHeader,
        first_record: u64,
        slot: Slot,
        file: Arc<dyn File>,
        file_len: u64,
    ) -> Self {
        Self {
            name,
            codec: Codec::new(header.format, header.salt),
            header,
            first_record,
            slot,
            file,
            data_len: AtomicU64::new(0),
            allocated_len: AtomicU64::new(file_len),
            synced_len: AtomicU64::new(0),
            live: Count::default(),
            held: Count::default(),
            pinned: Count::default(),
            known_footer: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The file itself, to be read by who copies it.
    pub(crate) fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    pub(crate) fn id(&self) -> FileId {
        self.header.id
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn format(&self) -> LogFormat {
        self.header.format
    }

    /// How its records are written.
    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Where the first record starts.
    pub(crate) fn first_record(&self) -> u64 {
        self.first_record
    }

    /// Whether a merge made this file.
    pub(crate) fn is_merge_output(&self) -> bool {
        !self.header.inputs.is_empty()
    }

    /// Bytes that every file has of its own: its header and its link. In a text format perhaps a few more.
    pub(crate) fn own_len(&self) -> u64 {
        self.first_record() + self.codec.link_len()
    }

    /// The length in bytes of what is written and published, without footer or preallocated tail.
    pub(crate) fn data_len(&self) -> u64 {
        self.data_len.load(Ordering::Acquire)
    }

    pub(crate) fn set_data_len(&self, len: u64) {
        self.data_len.store(len, Ordering::Release);
    }

    pub(crate) fn allocated_len(&self) -> u64 {
        self.allocated_len.load(Ordering::Acquire)
    }

    pub(crate) fn synced_len(&self) -> u64 {
        self.synced_len.load(Ordering::Acquire)
    }

    /// To be called after a sync has returned that began when `len` bytes were written.
    pub(crate) fn raise_synced_len(&self, len: u64) {
        self.synced_len.fetch_max(len, Ordering::AcqRel);
    }

    /// The position behind the data.
    pub(crate) fn end(&self) -> LogPosition {
        LogPosition { file: self.id(), offset: self.data_len() }
    }

    /// Counts a record of this file that the keydir has begun to point to.
    pub(crate) fn count_live(&self, location: Location) {
        self.live.add(location.len(), 1);
    }

    /// Counts a record of this file that the keydir has ceased to point to.
    pub(crate) fn count_dead(&self, location: Location) {
        self.live.subtract(location.len(), 1);
    }

    /// The length of the file on disk, with footer and preallocated tail.
    pub(crate) fn file_len(&self) -> Result<u64> {
        self.file.len().map_err(|source| self.failed("measure", source))
    }

    /// Fills `buffer` by the map where there is one.
    pub(crate) fn copy_out(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        vfs::copy_out_exact(&*self.file, buffer, offset).map_err(|source| self.failed("read", source))
    }

    /// Fills `buffer` by positioned reads.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        vfs::read_exact_at(&*self.file, buffer, offset).map_err(|source| self.failed("read", source))
    }

    /// Puts bytes behind the data, by the map where there is one. They count as data once the caller says so.
    pub(crate) fn copy_in(&self, bytes: &[u8], offset: u64) -> Result<()> {
        vfs::copy_in_all(&*self.file, bytes, offset).map_err(|source| self.failed("write", source))
    }

    /// Puts bytes into the file by positioned writes.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        vfs::write_all_at(&*self.file, bytes, offset).map_err(|source| self.failed("write", source))
    }

    /// Makes sure that the first `len` bytes can be written without running out of disk.
    pub(crate) fn allocate(&self, len: u64) -> Result<()> {
        self.file.allocate(len).map_err(|source| self.failed("extend", source))?;
        self.allocated_len.fetch_max(len, Ordering::AcqRel);
        Ok(())
    }

    pub(crate) fn truncate(&self, len: u64) -> Result<()> {
        self.file.truncate(len).map_err(|source| self.failed("truncate", source))?;
        self.allocated_len.store(len, Ordering::Release);
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|source| self.failed("sync", source))
    }

    fn failed(&self, operation: &'static str, source: std::io::Error) -> Error {
        Error::io(operation, &self.name, source)
    }

    /// The error for a defect of the record at `offset`. Of a text file it names the line.
    pub(crate) fn defect_at(&self, defect: Defect, offset: u64) -> Error {
        defect.on_line(self.line_at(offset)).at(&self.name, offset)
    }

    /// The number of the line at `offset` of a text file, from 1.
    pub(crate) fn line_at(&self, offset: u64) -> Option<u64> {
        self.header.format.syntax()?;
        let mut piece = vec![0; 64 << 10];
        let (mut at, mut ends) = (0, 0_u64);
        while at < offset {
            let len = usize::try_from(offset - at).unwrap_or(piece.len()).min(piece.len());
            self.read(&mut piece[..len], at).ok()?;
            ends += memchr::memchr_iter(b'\n', &piece[..len]).count() as u64;
            at += len as u64;
        }
        Some(ends + 1)
    }

    /// Cuts what was allocated behind the data, and appends the footer. All data was synced before; the footer is
    /// not yet. Where there is no room for a footer, no part of it stays: that would look like damage.
    pub(crate) fn seal(&self, footer: &Footer, timestamp: u64) -> Result<()> {
        let mut record = Vec::new();
        self.codec.encode_log(Kind::Footer, timestamp, footer.data_len, &footer.encode(), &mut record);
        self.truncate(footer.data_len)?;
        self.write(&record, footer.data_len).inspect_err(|_| {
            // What it cannot cut the next open does.
            let _ = self.truncate(footer.data_len);
        })
    }

    /// As [`DataFile::footer`], read once: a footer never changes.
    pub(crate) fn known_footer(&self) -> Result<Option<Footer>> {
        if self.known_footer.get().is_none()
            && let Some(footer) = self.footer()?
        {
            let _ = self.known_footer.set(footer);
        }
        Ok(self.known_footer.get().cloned())
    }

    /// The footer, when the file ends with one: then the file is complete. Only reading can fail.
    pub(crate) fn footer(&self) -> Result<Option<Footer>> {
        let file_len = self.file_len()?;
        let tail_start = file_len.saturating_sub(self.codec.log_record_max() as u64);
        let mut tail = vec![0; usize::try_from(file_len - tail_start).unwrap_or(0)];
        self.read(&mut tail, tail_start)?;
        let Some(start) = self.codec.footer_start(&tail) else { return Ok(None) };
        let offset = tail_start + start as u64;
        if offset < self.first_record() {
            return Ok(None);
        }
        let record = self.codec.decode_log(&tail[start..], offset);
        let footer = record.filter(|record| record.kind == Kind::Footer);
        match footer.map(|record| Footer::decode(&record.payload)) {
            Some(Ok(footer)) if footer.data_len == offset => Ok(Some(footer)),
            Some(Err(defect)) => Err(self.defect_at(defect, offset)),
            _ => Ok(None),
        }
    }

    /// What the first record says of the file before this one in the log; `None` when there is no whole link.
    pub(crate) fn link(&self) -> Result<Option<LogPosition>> {
        let offset = self.first_record();
        let room = self.file_len()?.saturating_sub(offset).min(self.codec.log_record_max() as u64);
        let mut bytes = vec![0; usize::try_from(room).unwrap_or(0)];
        self.read(&mut bytes, offset)?;
        let link = self.codec.decode_log(&bytes, offset).filter(|record| record.kind == Kind::Link);
        Ok(link.and_then(|LogRecord { payload, .. }| LogPosition::decode(&payload)))
    }
}

fn read_header(file: &dyn File, name: &str, format: LogFormat, file_len: u64) -> Result<(FileHeader, u64)> {
    const FIRST_LOOK: usize = 512;
    let failed = |source| Error::io("read", name, source);
    let within_file = |len: usize| usize::try_from(file_len).unwrap_or(len).min(len);
    let mut bytes = vec![0; within_file(FIRST_LOOK)];
    vfs::read_exact_at(file, &mut bytes, 0).map_err(failed)?;
    let len = within_file(FileHeader::len_max(format, &bytes));
    if len > bytes.len() {
        bytes.resize(len, 0);
        vfs::read_exact_at(file, &mut bytes, 0).map_err(failed)?;
    }
    FileHeader::decode(format, &bytes).map_err(|defect| defect.at(name, 0))
}
