//! A hint file on disk: written whole beside its data file, read section by section.
//!
//! It is never needed: whatever is wrong with it, the data file is scanned instead.

use std::sync::Arc;

use super::layout;
use super::replace::{self, ReplaceError};
use crate::error::{Error, Result};
use crate::format::checksum::checksum;
use crate::format::hint::{Binding, HintHeader, Section};
use crate::format::position::FileId;
use crate::keydir::SHARD_COUNT;
use crate::vfs::{self, Access, Dir, File};

/// The hints for one data file, on disk or just made by a scan.
pub(crate) struct Hints {
    header: HintHeader,
    body: Body,
}

enum Body {
    File(Arc<dyn File>),
    Memory(Vec<u8>),
}

impl Hints {
    /// Hints in memory: `sections` tells how `body` is divided.
    pub(crate) fn from_parts(binding: Binding, sections: Vec<Section>, body: Vec<u8>) -> Self {
        Self { header: HintHeader { binding, sections }, body: Body::Memory(body) }
    }

    /// Opens the hint file for `binding.file`; `None` when it is missing, damaged, or another file's.
    pub(crate) fn open(dir: &dyn Dir, binding: &Binding) -> Option<Self> {
        let file = dir.open(&layout::hint(binding.file), Access::Read).ok()?;
        let mut front = [0; 64];
        vfs::read_exact_at(&*file, &mut front, 0).ok()?;
        let len = HintHeader::encoded_len(&front)?;
        let mut bytes = vec![0; len];
        vfs::read_exact_at(&*file, &mut bytes, 0).ok()?;
        let header = HintHeader::decode(&bytes).ok()?;
        if header.sections.iter().any(|section| section.shard >= SHARD_COUNT) {
            // Of a version with more shards, or made up.
            return None;
        }
        let body_len: u64 = header.sections.iter().map(|section| u64::from(section.len)).sum();
        let is_bound = planted!("hints of an older file are taken", true, header.binding == *binding);
        let whole = is_bound && file.len().ok()? == len as u64 + body_len;
        whole.then_some(Self { header, body: Body::File(file) })
    }

    /// Writes the hints beside their data file. A crash leaves the old hint file, the new one, or none.
    pub(crate) fn write(&self, dir: &dyn Dir) -> Result<()> {
        let Body::Memory(body) = &self.body else { return Ok(()) };
        let name = layout::hint(self.header.binding.file);
        // Nobody relies on a hint file, so a failed sync of one puts nothing in doubt.
        replace::replace(dir, &name, &[&self.header.encode(), body]).map_err(ReplaceError::into_error)
    }

    /// Writes the hints, or lets it be: without them the next open scans the data file.
    pub(crate) fn write_if_possible(&self, dir: &dyn Dir) {
        let _ = self.write(dir);
    }

    /// Removes the hint file of a data file that is gone, if there is one.
    pub(crate) fn remove(dir: &dyn Dir, file: FileId) -> Result<()> {
        let name = layout::hint(file);
        vfs::remove_if_present(dir, &name).map_err(|error| Error::io("remove", name, error))
    }

    /// The shards that have entries.
    pub(crate) fn shards(&self) -> impl Iterator<Item = u16> {
        self.header.sections.iter().map(|section| section.shard)
    }

    /// Reads the entries of one shard into `buffer`; `None` when they do not check.
    pub(crate) fn section<'b>(&'b self, shard: u16, buffer: &'b mut Vec<u8>) -> Option<(&'b [u8], Section)> {
        let sections = &self.header.sections;
        let index = match sections.binary_search_by_key(&shard, |section| section.shard) {
            Ok(index) => index,
            Err(_) => return Some((&[], Section { shard, count: 0, len: 0, checksum: checksum(&[]) })),
        };
        let before: u64 = sections[..index].iter().map(|section| u64::from(section.len)).sum();
        let section = sections[index];
        let len = usize::try_from(section.len).ok()?;
        let bytes = match &self.body {
            Body::Memory(body) => body.get(usize::try_from(before).ok()?..)?.get(..len)?,
            Body::File(file) => {
                buffer.resize(len, 0);
                vfs::read_exact_at(&**file, buffer, self.header.len() as u64 + before).ok()?;
                buffer
            }
        };
        planted!("hints are not checked", return Some((bytes, section)));
        (checksum(bytes) == section.checksum).then_some((bytes, section))
    }
}
