//! Putting an output into the place of its run.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::format::footer::{Ending, Footer};
use crate::format::hint;
use crate::format::manifest::ListedFile;
use crate::format::position::LogPosition;
use crate::keydir::SHARD_COUNT;
use crate::location::Location;
use crate::merge::copy::{Copied, Pinned};
use crate::recovery::inventory::Inventory;
use crate::status::MergeReport;
use crate::store::{Store, WriteSide};
use crate::vfs::Access;
use crate::writer::Writer;

/// How many entries of one shard are exchanged before its lock is let go: some microseconds.
const ENTRIES_AT_ONCE: usize = 256;

impl Store {
    /// Makes the output complete and puts it into the place of its inputs.
    #[expect(clippy::too_many_arguments, reason = "one step of merge_run, in a file of its own")]
    pub(super) fn install(
        &self,
        side: &WriteSide,
        inputs: &[Arc<DataFile>],
        previous: Option<&Arc<DataFile>>,
        output: Arc<DataFile>,
        inventory: Inventory,
        clean: u64,
        copied: &Copied,
        report: &mut MergeReport,
    ) -> Result<()> {
        let installed = if inventory.has_keys() || follows_a_cut(previous)? {
            let sealed = self.seal_output(&output, inventory);
            match sealed {
                Ok(sealed) => Some(sealed),
                Err(error) => {
                    self.discard_output(side, &output);
                    return Err(error);
                }
            }
        } else {
            // Nothing is left of the run.
            self.discard_output(side, &output);
            None
        };
        planted!("inputs are removed before the manifest is replaced", self.remove_files(inputs));
        let listed = self.list(side, inputs, installed.as_ref().map(|(file, _)| file), clean);
        if let Err(error) = listed {
            // After a failed sync of the manifest it may be listed.
            if side.check().is_ok() && installed.is_some() {
                self.discard_output(side, &output);
            }
            return Err(error);
        }
        if let Some((file, hints)) = &installed {
            self.lead_to(inputs, file, hints, &copied.pinned)?;
            file.held.add(copied.held_bytes, copied.tombstones);
            if self.versions.any_snapshot() {
                file.pinned.add(copied.pinned_bytes, copied.pinned.len() as u64);
            }
            report.outputs += 1;
            report.bytes_after += file.data_len();
        }
        // A put publishes and counts under the writer lock.
        let still_led_to = {
            let _writer = side.writer();
            inputs.iter().find(|input| input.live.keys() != 0)
        };
        if let Some(input) = still_led_to {
            let what = format!("{} keys lead into it after its merge: please report this", input.live.keys());
            return Err(side.poison(&Error::corruption(input.name(), 0, what)));
        }
        {
            let _catalog = side.catalog();
            self.files.remove(inputs);
        }
        report.not_removed.extend(self.remove_files(inputs));
        report.runs += 1;
        report.inputs += inputs.len() as u64;
        report.bytes_before += inputs.iter().map(|input| input.data_len()).sum::<u64>();
        report.values_copied += copied.values;
        report.tombstones_kept += copied.tombstones;
        report.records_dropped += copied.dropped;
        Ok(())
    }

    /// Gives the output its footer and its hint file, and opens it for reading.
    fn seal_output(&self, output: &DataFile, inventory: Inventory) -> Result<(Arc<DataFile>, Hints)> {
        let footer = inventory.footer(Ending::Rotated);
        output.seal(&footer, inventory.last_timestamp())?;
        planted!("an output is not synced", (), output.sync()?);
        let data_len = inventory.end;
        let hints = inventory.into_hints(self.identity.store, output, &self.keydir);
        hints.write_if_possible(&*self.dir);
        let file = DataFile::open(&*self.dir, output.id(), &self.identity, output.slot(), Access::Read, 0)?;
        if file.known_footer()? != Some(footer) {
            let what = "the footer that a merge wrote does not come back";
            return Err(Error::corruption(file.name(), data_len, what));
        }
        file.set_data_len(data_len);
        file.raise_synced_len(data_len);
        Ok((file, hints))
    }

    /// Makes the manifest list the output instead of its inputs, durably; and the file table hold both.
    fn list(
        &self,
        side: &WriteSide,
        inputs: &[Arc<DataFile>],
        output: Option<&Arc<DataFile>>,
        clean: u64,
    ) -> Result<()> {
        // A record was dropped because of a later one: that must not be lost now.
        let (appended, end) = {
            let writer = self.writer(side)?;
            (writer.appended, self.end_of_keys(&writer))
        };
        planted!("a merge rests on what is not durable", let appended = 0);
        self.sync_through(side, appended)?;
        let last_timestamp = side.writer().timestamps.last();
        let mut catalog = self.catalog(side)?;
        self.dir.sync().map_err(|source| side.poison(&Error::io("sync", "the store's directory", source)))?;
        let mut manifest = catalog.manifest.clone();
        let is_input = |listed: &ListedFile| inputs.iter().any(|input| input.id() == listed.id);
        let place = manifest.files.iter().position(is_input).unwrap_or(manifest.files.len());
        planted!("an output comes last in the log", let place = manifest.files.len() - inputs.len());
        manifest.files.retain(|listed| !is_input(listed));
        if let Some(output) = output {
            manifest.files.insert(place, ListedFile { id: output.id(), clean });
        }
        let footers = inputs.iter().filter_map(|input| input.known_footer().ok().flatten());
        let with_keys = footers.filter(|footer: &Footer| footer.values + footer.tombstones > 0);
        let merged_through = with_keys.map(|footer| footer.last_timestamp).max().unwrap_or(0);
        manifest.merged_through = manifest.merged_through.max(merged_through);
        planted!("a manifest does not say what a merge rests on", let end = None);
        manifest.synced = end;
        let installed = catalog.install(&*self.dir, manifest, last_timestamp);
        installed.map_err(|error| side.make_failed(error))?;
        if let Some(output) = output {
            self.files.insert(Arc::clone(output));
        }
        let mut order = self.order();
        order.retain(|file| !inputs.iter().any(|input| input.id() == file.id()));
        order.splice(place..place, output.cloned());
        Ok(())
    }

    /// The end of the log, as a claim that holds as long as its file is listed: recovery drops a file without keys, whatever
    /// was synced, so then it is the end of the file before.
    fn end_of_keys(&self, writer: &Writer) -> Option<LogPosition> {
        if writer.has_keys() {
            return Some(writer.end());
        }
        let order = self.order();
        let active = order.iter().position(|file| file.id() == writer.active.id())?;
        active.checked_sub(1).map(|before| order[before].end())
    }

    /// Leads the keydir to the output wherever it still leads into the run. An entry that does leads to the newest record
    /// of its key in the run, for the inputs are immutable; the output holds that record, and the hints name it.
    ///
    /// An older version that a snapshot sees was copied because of that, and is in `pinned`, or was the newest when it was
    /// copied.
    fn lead_to(
        &self,
        inputs: &[Arc<DataFile>],
        output: &DataFile,
        hints: &Hints,
        pinned: &HashMap<Location, Pinned>,
    ) -> Result<()> {
        let input_in = |location: Location| inputs.iter().find(|input| input.slot() == location.slot());
        let mut buffer = Vec::new();
        for shard in 0..SHARD_COUNT {
            let section = hints.section(shard, &mut buffer);
            let (section, _) = section.ok_or_else(|| Error::corruption(output.name(), 0, "its hints"))?;
            let mut entries = hint::entries(section).flatten().peekable();
            while entries.peek().is_some() {
                let mut table = self.keydir.write_shard(shard);
                for entry in entries.by_ref().take(ENTRIES_AT_ONCE).filter(|entry| !entry.is_tombstone) {
                    let digest = self.keydir.digest(entry.key);
                    let new = Location::new(output.slot(), entry.offset, entry.len, entry.expiry.into());
                    if self.versions.any_snapshot() {
                        self.versions.relocate(digest, |old| {
                            (input_in(old).is_some() && !pinned.contains_key(&old)).then_some(new)
                        });
                    }
                    let Some(old) = table.get(digest) else { continue };
                    planted!("a merge overwrites newer entries", table.replace(digest, old, new));
                    let Some(input) = input_in(old) else { continue };
                    table.replace(digest, old, new);
                    output.count_live(new);
                    input.count_dead(old);
                }
            }
        }
        for (&old, &Pinned { digest, new }) in pinned {
            let _table = self.keydir.write_shard(digest.shard());
            planted!("snapshots do not follow a merge", continue);
            self.versions.relocate(digest, |location| (location == old).then_some(new));
        }
        Ok(())
    }
}

/// Behind a file that recovery cut only a file follows whose link names it: such a link must stay.
fn follows_a_cut(previous: Option<&Arc<DataFile>>) -> Result<bool> {
    let Some(previous) = previous else { return Ok(false) };
    Ok(previous.known_footer()?.is_some_and(|footer| footer.ending == Ending::Cut))
}
