//! What one scan of a data file finds: enough for its footer, its hint file, the keydir, and the search for the end
//! of the log.

use std::collections::HashSet;

use crate::error::Result;
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::file::scan::{Scanned, ScannedRecord, ScannedValue, Scanner, display_key};
use crate::format::Defect;
use crate::format::batch::BatchEnd;
use crate::format::checksum::checksum;
use crate::format::file_header::StoreId;
use crate::format::footer::{Ending, Footer};
use crate::format::hint::{Binding, HintEntry, Section};
use crate::format::position::LogPosition;
use crate::format::record::Kind;
use crate::keydir::{Digest, Keydir};
use crate::status::Damage;

/// A record about a key, in the order in which hints are sorted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Draft {
    digest: Digest,
    /// Where its encoded hint entry starts: later records of a key start later.
    start: usize,
}

/// A value whose checksum does not fit.
pub(crate) struct DamagedValue {
    pub(crate) offset: u64,
    pub(crate) end: u64,
    pub(crate) key: Vec<u8>,
}

impl DamagedValue {
    pub(crate) fn report(&self, file: &DataFile) -> Damage {
        Damage {
            file: file.name().to_owned(),
            offset: self.offset,
            what: match &self.key[..] {
                [] => "the payload of a record of the log's own does not fit its checksum".to_owned(),
                key => format!("the value of key \"{}\" does not fit its checksum", display_key(key)),
            },
        }
    }
}

/// What a scan has counted up to some record.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// CRC-32C of the file before that record.
    checksum: u32,
    records: u64,
    values: u64,
    tombstones: u64,
    first_timestamp: u64,
    last_timestamp: u64,
    closed: bool,
}

/// A batch whose end has not come yet, and what was known before it: none of it counts until then.
struct OpenBatch {
    start: u64,
    timestamp: u64,
    count: u64,
    before: Tally,
    drafts: usize,
    entries: usize,
    damaged: usize,
}

/// Everything that a scan of one file learns.
pub(crate) struct Inventory {
    /// Where the scan began.
    pub(crate) start: u64,
    /// Where the last whole record ends, or the last whole batch.
    pub(crate) end: u64,
    /// What stands there, unless it is the end of the file or a footer.
    pub(crate) defect: Option<Defect>,
    pub(crate) damaged: Vec<DamagedValue>,
    /// Positions that syncs had covered, as records of this file say.
    pub(crate) claims: Vec<LogPosition>,
    /// Whether any value is compressed. Nothing here decompresses one.
    pub(crate) has_compressed: bool,
    tally: Tally,
    drafts: Vec<Draft>,
    entries: Vec<u8>,
    /// Whether records check anywhere in the file, so that one may be there twice.
    is_movable: bool,
    /// Then: the keys of the records with the last timestamp.
    keys_of_timestamp: HashSet<Digest>,
}

impl Inventory {
    /// Scans `file` from its first record to its end, to its footer, or to `limit`.
    pub(crate) fn take(file: &DataFile, limit: u64, keydir: &Keydir) -> Result<Self> {
        Self::take_from(file, file.first_record(), limit, keydir)
    }

    /// The same from `start` on, where a record starts: what comes before is not in it, and it has no checksum.
    pub(crate) fn take_from(file: &DataFile, start: u64, limit: u64, keydir: &Keydir) -> Result<Self> {
        let mut inventory = Self {
            start,
            end: start,
            defect: None,
            damaged: Vec::new(),
            claims: Vec::new(),
            has_compressed: false,
            tally: Tally::default(),
            drafts: Vec::new(),
            entries: Vec::new(),
            is_movable: !file.codec().binds_offset(),
            keys_of_timestamp: HashSet::new(),
        };
        let mut scanner = Scanner::starting_at(file, start, limit)?;
        let mut open_batch = None;
        loop {
            inventory.end = scanner.offset();
            inventory.tally.checksum = scanner.checksum();
            match scanner.next()? {
                Scanned::End => break,
                Scanned::Defect(Defect::Newer(what)) => {
                    return Err(file.defect_at(Defect::Newer(what), inventory.end));
                }
                Scanned::Defect(defect) => {
                    inventory.defect = Some(defect);
                    break;
                }
                Scanned::Record(record) => {
                    inventory.claims.extend(record.claim(file));
                    if record.header.kind == Kind::Footer {
                        // One that is not whole was torn while the file was sealed: nothing follows it either.
                        let torn = || Defect::damaged("a footer that does not fit its checksum");
                        inventory.defect = record.is_damaged().then(torn);
                        break;
                    }
                    if let Some(defect) = inventory.add(file, &record, &mut open_batch, keydir) {
                        inventory.defect = Some(defect);
                        break;
                    }
                }
            }
        }
        planted!("a batch counts without its end", open_batch = None);
        if let Some(batch) = open_batch {
            inventory.cut(&batch);
        }
        Ok(inventory)
    }

    /// Forgets the records of a batch that does not come to its end: the file ends where the batch begins.
    fn cut(&mut self, batch: &OpenBatch) {
        self.end = batch.start;
        self.tally = batch.before;
        self.drafts.truncate(batch.drafts);
        self.entries.truncate(batch.entries);
        self.damaged.truncate(batch.damaged);
        self.defect.get_or_insert_with(|| Defect::damaged("a batch without its end"));
    }

    /// What shows that a record that checks anywhere in its file was put there, or what stood before it taken away.
    fn look_for_moved(
        &mut self,
        file: &DataFile,
        record: &ScannedRecord<'_>,
        keydir: &Keydir,
    ) -> Option<Defect> {
        planted!("a line may be copied", return None);
        if record.header.timestamp > self.tally.last_timestamp {
            self.keys_of_timestamp.clear();
        }
        // A commit has a timestamp of its own, and a key occurs once in it.
        let has_key = record.header.kind.has_key();
        if has_key && !self.keys_of_timestamp.insert(keydir.digest(record.key)) {
            return Some(Defect::damaged("a record that is there twice"));
        }
        // A claim is about what stands before it.
        let is_past = |claim: LogPosition| claim.file == file.id() && claim.offset > record.offset;
        let what = "records that a sync had covered are missing before this one";
        record.claim(file).is_some_and(is_past).then(|| Defect::damaged(what))
    }

    /// Follows a record into, through, or out of a batch; what is wrong with it there.
    fn follow_batch(&self, open: &mut Option<OpenBatch>, record: &ScannedRecord<'_>) -> Option<Defect> {
        let header = &record.header;
        match (&mut *open, header.kind) {
            (None, Kind::BatchEnd) => Some(Defect::damaged("the end of a batch without its records")),
            (None, kind) if header.in_batch && kind.has_key() => {
                *open = Some(OpenBatch {
                    start: record.offset,
                    timestamp: header.timestamp,
                    count: 1,
                    before: self.tally,
                    drafts: self.drafts.len(),
                    entries: self.entries.len(),
                    damaged: self.damaged.len(),
                });
                None
            }
            (None, Kind::Ignorable(_)) => None,
            (None, _) => header.in_batch.then(|| Defect::damaged("a record of the log's own in a batch")),
            (Some(batch), Kind::BatchEnd) => {
                let expected = BatchEnd { count: batch.count, start: batch.start };
                let end = match &record.value {
                    ScannedValue::Whole(payload) => BatchEnd::decode(payload).ok(),
                    _ => None,
                };
                if end != Some(expected) || header.timestamp != batch.timestamp {
                    return Some(Defect::damaged("the end of a batch that does not fit its records"));
                }
                *open = None;
                None
            }
            (Some(batch), kind) => {
                batch.count += 1;
                let belongs = header.in_batch && kind.has_key() && header.timestamp == batch.timestamp;
                (!belongs).then(|| Defect::damaged("a batch without its end"))
            }
        }
    }

    fn add(
        &mut self,
        file: &DataFile,
        record: &ScannedRecord<'_>,
        open_batch: &mut Option<OpenBatch>,
        keydir: &Keydir,
    ) -> Option<Defect> {
        let header = &record.header;
        planted!("older records may follow newer ones", self.tally.last_timestamp = 0);
        if header.timestamp < self.tally.last_timestamp {
            return Some(Defect::damaged("a record older than the one before it"));
        }
        if self.is_movable
            && let Some(defect) = self.look_for_moved(file, record, keydir)
        {
            return Some(defect);
        }
        if let Some(defect) = self.follow_batch(open_batch, record) {
            return Some(defect);
        }
        self.tally.last_timestamp = header.timestamp;
        self.tally.records += 1;
        self.has_compressed |= header.compression.is_some();
        self.tally.closed = header.kind == Kind::CloseMarker && !record.is_damaged();
        if record.is_damaged() {
            let (offset, end) = (record.offset, record.end());
            self.damaged.push(DamagedValue { offset, end, key: record.key.to_vec() });
        }
        match header.kind {
            Kind::Value => self.tally.values += 1,
            Kind::Tombstone => self.tally.tombstones += 1,
            _ => return None,
        }
        if self.tally.first_timestamp == 0 {
            self.tally.first_timestamp = header.timestamp;
        }
        let entry = HintEntry {
            timestamp: header.timestamp,
            // The scanner hands over no record that starts behind 4 GiB.
            offset: u32::try_from(record.offset).unwrap_or(u32::MAX),
            len: record.len,
            is_tombstone: header.kind == Kind::Tombstone,
            expiry: header.expiry,
            key: record.key,
        };
        self.drafts.push(Draft { digest: keydir.digest(record.key), start: self.entries.len() });
        entry.encode(&mut self.entries);
        None
    }

    /// Whether the file holds any value or tombstone.
    pub(crate) fn has_keys(&self) -> bool {
        self.tally.values + self.tally.tombstones > 0
    }

    /// The timestamp of the first value or tombstone; 0 when there is none.
    pub(crate) fn first_timestamp(&self) -> u64 {
        self.tally.first_timestamp
    }

    /// The highest timestamp of any record.
    pub(crate) fn last_timestamp(&self) -> u64 {
        self.tally.last_timestamp
    }

    /// Whether the last record is a close marker.
    pub(crate) fn is_closed(&self) -> bool {
        self.tally.closed
    }

    /// Count of all records, the log's own among them.
    pub(crate) fn record_count(&self) -> u64 {
        self.tally.records
    }

    /// CRC-32C of the file before [`Inventory::end`].
    pub(crate) fn checksum(&self) -> u32 {
        self.tally.checksum
    }

    /// The footer of the file, if it ends here.
    pub(crate) fn footer(&self, ending: Ending) -> Footer {
        Footer {
            records: self.tally.records,
            values: self.tally.values,
            tombstones: self.tally.tombstones,
            first_timestamp: self.tally.first_timestamp,
            last_timestamp: self.tally.last_timestamp,
            data_len: self.end,
            checksum: self.tally.checksum,
            ending,
        }
    }

    /// The hints of the file, if it ends here: of each key its newest record, by shard, in digest order.
    pub(crate) fn into_hints(mut self, store: StoreId, file: &DataFile, keydir: &Keydir) -> Hints {
        self.drafts.sort_unstable();
        let mut sections: Vec<Section> = Vec::new();
        let mut body = Vec::with_capacity(self.entries.len());
        let mut section_start = 0;
        for (index, draft) in self.drafts.iter().enumerate() {
            let next = self.drafts.get(index + 1);
            if next.is_some_and(|next| next.digest == draft.digest) {
                continue;
            }
            let entry = crate::format::hint::entries(&self.entries[draft.start..]).next().flatten();
            debug_assert!(entry.is_some(), "what was encoded decodes");
            let Some(entry) = entry else { continue };
            let shard = draft.digest.shard();
            if sections.last().is_none_or(|section| section.shard != shard) {
                section_start = body.len();
                sections.push(Section { shard, count: 0, len: 0, checksum: 0 });
            }
            entry.encode(&mut body);
            if let Some(section) = sections.last_mut() {
                section.count += 1;
                section.len = u32::try_from(body.len() - section_start).unwrap_or(u32::MAX);
                if next.is_none_or(|next| next.digest.shard() != shard) {
                    section.checksum = checksum(&body[section_start..]);
                }
            }
        }
        let binding = binding(store, file, self.end, self.tally.checksum, keydir);
        Hints::from_parts(binding, sections, body)
    }
}

/// What a hint file of `file` must be bound to.
pub(crate) fn binding(
    store: StoreId,
    file: &DataFile,
    data_len: u64,
    checksum: u32,
    keydir: &Keydir,
) -> Binding {
    Binding {
        store,
        file: file.id(),
        data_len,
        data_checksum: checksum,
        // A key that no store can hold.
        secret_fingerprint: keydir.digest(b"").cursor(),
    }
}
