//! Writes files as Riak's original Bitcask does. This follows the description of the format and shares nothing with the
//! code that reads it, down to the checksum.

use std::path::Path;

/// CRC-32 as zlib has it, bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// A data file and its hint file, growing together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub(crate) data: Vec<u8>,
    /// Without a trailer.
    pub(crate) hint: Vec<u8>,
}

impl Files {
    /// Appends an entry.
    pub(crate) fn entry(&mut self, timestamp: u32, key: &[u8], value: &[u8]) -> &mut Self {
        let mut covered = timestamp.to_be_bytes().to_vec();
        covered.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
        covered.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        covered.extend(key);
        covered.extend(value);
        let offset = self.data.len() as u64;
        self.data.extend(crc32(&covered).to_be_bytes());
        self.data.extend(&covered);
        self.hint.extend(timestamp.to_be_bytes());
        self.hint.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
        self.hint.extend(u32::try_from(covered.len() + 4).unwrap().to_be_bytes());
        let is_tombstone = u64::from(value.starts_with(b"bitcask_tombstone"));
        self.hint.extend(((is_tombstone << 63) | offset).to_be_bytes());
        self.hint.extend(key);
        self
    }

    /// Appends a tombstone of version 2, the one that Bitcask has written last.
    pub(crate) fn tombstone(&mut self, timestamp: u32, key: &[u8]) -> &mut Self {
        self.entry(timestamp, key, b"bitcask_tombstone2\0\0\0\x01")
    }

    /// The hint file as it is after a clean end.
    pub(crate) fn hint_with_trailer(&self) -> Vec<u8> {
        let mut hint = self.hint.clone();
        hint.extend([0; 6]);
        hint.extend(crc32(&self.hint).to_be_bytes());
        hint.extend((u64::MAX >> 1).to_be_bytes());
        hint
    }

    /// Writes both files, the hint file with its trailer.
    pub(crate) fn write(&self, dir: &Path, id: u64) -> &Self {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join(format!("{id}.bitcask.hint")), self.hint_with_trailer()).unwrap();
        self.write_data(dir, id)
    }

    /// Writes the data file alone.
    pub(crate) fn write_data(&self, dir: &Path, id: u64) -> &Self {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join(format!("{id}.bitcask.data")), &self.data).unwrap();
        self
    }
}

#[test]
fn the_checksum_is_that_of_zlib() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}
