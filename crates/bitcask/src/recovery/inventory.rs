//! What one scan of a data file finds: enough for its footer, its hint file, the keydir, and the search for the end
//! of the log.

use crate::error::Result;
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::file::scan::{Scanned, ScannedRecord, Scanner, display_key};
use crate::format::Defect;
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

/// Everything that a scan of one file learns.
pub(crate) struct Inventory {
    /// Where the last whole record ends.
    pub(crate) end: u64,
    /// What stands there, unless it is the end of the file or a footer.
    pub(crate) defect: Option<Defect>,
    pub(crate) damaged: Vec<DamagedValue>,
    /// Positions that syncs had covered, as records of this file say.
    pub(crate) claims: Vec<LogPosition>,
    /// Whether the last record is a close marker.
    pub(crate) closed: bool,
    pub(crate) last_timestamp: u64,
    first_timestamp: u64,
    records: u64,
    values: u64,
    tombstones: u64,
    checksum: u32,
    drafts: Vec<Draft>,
    entries: Vec<u8>,
}

impl Inventory {
    /// Scans `file` from its first record to its end, to its footer, or to `limit`.
    pub(crate) fn take(file: &DataFile, limit: u64, keydir: &Keydir) -> Result<Self> {
        let mut inventory = Self {
            end: file.first_record(),
            defect: None,
            damaged: Vec::new(),
            claims: Vec::new(),
            closed: false,
            last_timestamp: 0,
            first_timestamp: 0,
            records: 0,
            values: 0,
            tombstones: 0,
            checksum: 0,
            drafts: Vec::new(),
            entries: Vec::new(),
        };
        let mut scanner = Scanner::new(file, limit)?;
        loop {
            inventory.end = scanner.offset();
            inventory.checksum = scanner.checksum();
            match scanner.next()? {
                Scanned::End => break,
                Scanned::Defect(Defect::Newer(what)) => {
                    return Err(Defect::Newer(what).at(file.name(), inventory.end));
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
                    if let Some(defect) = inventory.add(&record, keydir) {
                        inventory.defect = Some(defect);
                        break;
                    }
                }
            }
        }
        Ok(inventory)
    }

    fn add(&mut self, record: &ScannedRecord<'_>, keydir: &Keydir) -> Option<Defect> {
        let header = &record.header;
        if header.timestamp < self.last_timestamp {
            return Some(Defect::damaged("a record older than the one before it"));
        }
        self.last_timestamp = header.timestamp;
        self.records += 1;
        self.closed = header.kind == Kind::CloseMarker && !record.is_damaged();
        if record.is_damaged() {
            let (offset, end) = (record.offset, record.end());
            self.damaged.push(DamagedValue { offset, end, key: record.key.to_vec() });
        }
        match header.kind {
            Kind::Value => self.values += 1,
            Kind::Tombstone => self.tombstones += 1,
            _ => return None,
        }
        if self.first_timestamp == 0 {
            self.first_timestamp = header.timestamp;
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
        self.values + self.tombstones > 0
    }

    pub(crate) fn first_timestamp(&self) -> u64 {
        self.first_timestamp
    }

    /// Count of all records, the log's own among them.
    pub(crate) fn record_count(&self) -> u64 {
        self.records
    }

    /// CRC-32C of the file before [`Inventory::end`].
    pub(crate) fn checksum(&self) -> u32 {
        self.checksum
    }

    /// The footer of the file, if it ends here.
    pub(crate) fn footer(&self, ending: Ending) -> Footer {
        Footer {
            records: self.records,
            values: self.values,
            tombstones: self.tombstones,
            first_timestamp: self.first_timestamp,
            last_timestamp: self.last_timestamp,
            data_len: self.end,
            checksum: self.checksum,
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
        let binding = binding(store, file, self.end, self.checksum, keydir);
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
