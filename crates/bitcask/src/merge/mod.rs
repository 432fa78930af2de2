//! Merge: giving back the space of dead records.
//!
//! ```text
//! survey   what is known of each file, at one moment; choose a run of neighbouring immutable files
//! reserve  an id for the output in the manifest, before a file has it
//! copy     what must stay, in log order, to the output; sync it; read it back
//! install  sync the log to its end: a record may be dropped only for a durable one
//!          sync the directory; replace the manifest by one in which the output has the run's place
//!          lead the keydir to the output; take the inputs out of the file table; remove them
//! ```
//! The output takes the place of its run, so log order stays write order. Reads and writes go on throughout: locations are
//! exchanged one by one, each only where the keydir still leads into the run. A crash before the manifest is replaced leaves
//! the old files and an unlisted output; one after it the new file and unlisted inputs. The next open removes either.

mod copy;
mod facts;
mod install;
mod output;
mod plan;

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use self::copy::{Copied, Copier, CopyError};
pub(crate) use self::facts::{Survey, facts_of};
pub(crate) use self::output::Output;
pub(crate) use self::plan::{FileFacts, Thoroughness, judge};
use crate::error::{Error, Result};
use crate::events::Event;
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::format::position::FileId;
use crate::merge_control::Pace;
use crate::recovery::inventory::Inventory;
use crate::status::MergeReport;
use crate::store::{Store, WriteSide};

impl Store {
    /// Merges everything worth it, whatever the thresholds.
    pub(crate) fn merge(&self) -> Result<MergeReport> {
        self.check_open()?;
        let side = self.write_side()?;
        let _one_at_a_time = side.merging.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        if side.merge_control.is_paused() {
            return Err(Error::MergePaused);
        }
        let mut report = MergeReport::default();
        self.merge_everything(side, &mut report)?;
        Ok(report)
    }

    /// Merges everything worth it, when it is the caller's turn.
    fn merge_everything(&self, side: &WriteSide, report: &mut MergeReport) -> Result<()> {
        // A file whose changes are kept gains nothing by being closed.
        let may_close = !self.options.merge.keeps_changes();
        if may_close && self.survey(side, None).active().is_some_and(FileFacts::is_worth_a_merge) {
            match self.rotate(side) {
                // With fewer files there may be one more: the next merge takes it.
                Err(Error::TooManyFiles { .. }) => {}
                rotated => rotated?,
            }
        }
        self.seal_rotated(side)?;
        // The id that the next file gets.
        let fresh_from = FileId(side.catalog().manifest.next_file.0 - 1);
        self.merge_runs(side, Thoroughness::Everything, Some(fresh_from), report)
    }

    /// Merges what the options ask for; everything worth it when writes were refused because the store is full.
    pub(crate) fn merge_by_policy(&self, side: &WriteSide) -> Result<MergeReport> {
        let _one_at_a_time = side.merging.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        let mut report = MergeReport::default();
        if !self.options.merge.allows(self.clock.now_us()) || side.merge_control.is_paused() {
            return Ok(report);
        }
        let was_refused = side.writer().space.take_refused();
        let merged = if was_refused {
            self.merge_everything(side, &mut report)
        } else {
            self.merge_by_triggers(side, &mut report)
        };
        side.merge_control.set_failure(merged.as_ref().err().map(ToString::to_string));
        merged.map(|()| report)
    }

    fn merge_by_triggers(&self, side: &WriteSide, report: &mut MergeReport) -> Result<()> {
        if self.active_is_mostly_dead(&self.survey(side, None)) {
            self.rotate(side)?;
            self.seal_rotated(side)?;
        }
        self.merge_runs(side, Thoroughness::Triggers, None, report)
    }

    /// Merges the files that `choose` picks of so many immutable ones, oldest first, worth it or not.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn merge_chosen(&self, choose: impl FnOnce(usize) -> Range<usize>) -> Result<MergeReport> {
        self.check_open()?;
        let side = self.write_side()?;
        let _one_at_a_time = side.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let survey = self.survey(side, None);
        let count = survey.facts.iter().take_while(|facts| facts.excluded.is_none()).count();
        let mut report = MergeReport::default();
        let run = choose(count);
        if !run.is_empty() {
            let mut pace = Pace::new(0, self.clock.monotonic());
            self.merge_run(side, &survey, run, &mut pace, &mut report)?;
        }
        Ok(report)
    }

    /// Whether the options ask for a merge.
    pub(crate) fn needs_merge(&self) -> bool {
        let side = self.write_side.as_ref();
        let survey = side.map_or_else(|| self.survey_of_reader(), |side| self.survey(side, None));
        self.active_is_mostly_dead(&survey) || self.first_run(&survey, Thoroughness::Triggers).is_some()
    }

    /// Closes the active file, so that a merge can take it, and goes on in the next.
    pub(crate) fn rotate(&self, side: &WriteSide) -> Result<()> {
        loop {
            {
                let mut writer = self.writer(side)?;
                if !writer.has_keys() {
                    return Ok(());
                }
                if writer.rotate().map_err(|error| side.append_failed(error))? {
                    self.rotated(side, &writer);
                    return Ok(());
                }
            }
            self.prepare_successor(side)?;
        }
    }

    /// The active file is as long as one that is not small, and would trigger a merge if it were immutable.
    fn active_is_mostly_dead(&self, survey: &Survey) -> bool {
        let options = &self.options.merge;
        survey.active().filter(|_| !options.keeps_changes()).is_some_and(|active| {
            let dead = active.dead_bytes();
            let percent = dead.saturating_mul(100).checked_div(active.bytes).unwrap_or(0);
            let is_mostly_dead =
                percent >= u64::from(options.fragmentation_trigger) || dead >= options.dead_bytes_trigger;
            is_mostly_dead && active.bytes >= options.small_file_threshold.max(1)
        })
    }

    fn first_run(&self, survey: &Survey, how: Thoroughness) -> Option<Range<usize>> {
        let max_file_size = self.options.max_file_size;
        plan::first_run(&survey.facts, survey.clean, &self.options.merge, how, max_file_size, survey.room)
    }

    /// Merges run by run until there is none left.
    fn merge_runs(
        &self,
        side: &WriteSide,
        how: Thoroughness,
        fresh_from: Option<FileId>,
        report: &mut MergeReport,
    ) -> Result<()> {
        // One pace for all runs, so that the rate holds over the pauses between them.
        let mut pace = Pace::new(self.options.merge.rate, self.clock.monotonic());
        loop {
            let survey = self.survey(side, fresh_from);
            let Some(run) = self.first_run(&survey, how) else { return Ok(()) };
            if side.merge_control.is_interrupted() {
                return Ok(());
            }
            self.merge_run(side, &survey, run, &mut pace, report)?;
        }
    }

    /// Merges the files of `run`, which are immutable neighbours, and keeps room for the output meanwhile.
    fn merge_run(
        &self,
        side: &WriteSide,
        survey: &Survey,
        run: Range<usize>,
        pace: &mut Pace,
        report: &mut MergeReport,
    ) -> Result<()> {
        if !side.writer().space.begin_merge(&survey.files[run.clone()]) {
            return Ok(());
        }
        let began = self.clock.monotonic();
        self.events.note(|| {
            let inputs = &survey.files[run.clone()];
            Event::MergeBegun {
                files: inputs.iter().map(|input| input.name().to_owned()).collect(),
                bytes: inputs.iter().map(|input| input.data_len()).sum(),
            }
        });
        let mut of_run = MergeReport::default();
        let merged = self.replace_run(side, survey, run, pace, &mut of_run);
        side.writer().space.end_merge(&self.order());
        self.events.note(|| match (&merged, of_run.quarantined.first()) {
            (Err(error), _) => Event::MergeFailed { error: error.clone() },
            (Ok(()), Some(damage)) => Event::Quarantined { damage: damage.clone() },
            (Ok(()), None) => {
                let took = self.clock.monotonic().saturating_sub(began);
                Event::MergeEnded { report: of_run.clone(), took }
            }
        });
        report.add(of_run);
        merged
    }

    /// Puts the output of a run into its place.
    fn replace_run(
        &self,
        side: &WriteSide,
        survey: &Survey,
        run: Range<usize>,
        pace: &mut Pace,
        report: &mut MergeReport,
    ) -> Result<()> {
        side.check()?;
        let before = &survey.facts[..run.start];
        let inputs = &survey.files[run.clone()];
        let floor = before.iter().map(|facts| facts.clean).fold(survey.clean, u64::min);
        planted!("what lies before a run does not matter", let floor = survey.clean);
        let output = self.make_output(side, inputs)?;
        let file = Arc::clone(&output.file);
        match self.copy_run(side, inputs, output, floor, pace) {
            Ok((copied, inventory)) => {
                let previous = run.start.checked_sub(1).map(|index| &survey.files[index]);
                self.install(side, inputs, previous, file, inventory, survey.clean, &copied, report)
            }
            Err(error) => {
                self.discard_output(side, &file);
                match error {
                    CopyError::Input(index, damage) => {
                        side.merge_control.quarantine(inputs[index].id(), damage.to_string());
                        report.quarantined.push(damage);
                        Ok(())
                    }
                    CopyError::Failed(error) => Err(error),
                    CopyError::Stopped if side.merge_control.is_stopped() => Err(Error::Closed),
                    // Whoever interrupts a merge leaves nothing that is worth it.
                    CopyError::Stopped => Ok(()),
                }
            }
        }
    }

    fn make_output(&self, side: &WriteSide, inputs: &[Arc<DataFile>]) -> Result<Output> {
        let last_timestamp = side.writer().timestamps.last();
        let mut catalog = self.catalog(side)?;
        let slot = self.free_slot()?;
        let ids = inputs.iter().map(|input| input.id()).collect();
        let made = catalog.make_output(&*self.dir, &self.identity, slot, ids, last_timestamp);
        let file = made.map_err(|error| side.make_failed(error))?;
        // No location leads to it yet, but the slot is taken.
        self.files.insert(Arc::clone(&file));
        Ok(Output::new(file))
    }

    /// Removes an output that is not listed, and so of no use.
    fn discard_output(&self, side: &WriteSide, output: &Arc<DataFile>) {
        {
            let _catalog = side.catalog();
            self.files.remove(std::slice::from_ref(output));
        }
        // If they cannot be removed, the next open will.
        let _ = self.dir.remove(output.name());
        let _ = Hints::remove(&*self.dir, output.id());
    }

    /// Fills the output with what must stay.
    fn copy_run(
        &self,
        side: &WriteSide,
        inputs: &[Arc<DataFile>],
        mut output: Output,
        floor: u64,
        pace: &mut Pace,
    ) -> Result<(Copied, Inventory), CopyError> {
        let mut copier = Copier::new(self, side, inputs, floor, pace);
        copier.run(&mut output)?;
        let copied = copier.copied;
        let end = output.offset();
        // Read back, so that no input goes for an output that does not hold what was written to it.
        let inventory = Inventory::take(&output.file, end, &self.keydir)?;
        planted!("an output is not read back", return Ok((copied, inventory)));
        if inventory.end != end || inventory.defect.is_some() || !inventory.damaged.is_empty() {
            let what = "what a merge wrote does not come back";
            return Err(CopyError::Failed(Error::corruption(output.file.name(), inventory.end, what)));
        }
        Ok((copied, inventory))
    }
}
