//! Which files are merged, and why: a decision on numbers alone.
//!
//! A *run* is a stretch of neighbouring immutable files whose live and held bytes fit one output. The oldest run comes
//! first, because superseded values in older files hold tombstones of later files back.

use std::ops::Range;

use crate::format::file_header::INPUTS_MAX;
use crate::merge_options::MergeOptions;
use crate::status::MergeVerdict;

/// A tombstone of an input that no merge has looked at is taken for this long where its output is estimated.
const TOMBSTONE_LEN: u64 = 64;
/// So many small neighbours are joined without any other reason.
const SMALL_RUN: usize = 4;
/// A thorough merge leaves a file alone of which less than one in this many bytes is dead.
const THOROUGH: u64 = 20;

/// What is known of one file when a merge is planned. Bytes are without what every file has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Why the file cannot be merged; `None` when it can.
    pub(crate) excluded: Option<MergeVerdict>,
    /// Whether the file is an output of the merge in progress, which does not look at it again for dead bytes.
    pub(crate) is_fresh: bool,
    /// Bytes of records.
    pub(crate) bytes: u64,
    /// Bytes of the file, with what it has of its own.
    pub(crate) whole: u64,
    pub(crate) live_bytes: u64,
    /// Bytes of tombstones that an earlier merge had to keep.
    pub(crate) held_bytes: u64,
    /// Count of values and tombstones.
    pub(crate) keys: u64,
    pub(crate) live_keys: u64,
    pub(crate) held_keys: u64,
    /// Bytes of superseded records that an earlier merge had to keep for snapshots, and their count.
    pub(crate) pinned_bytes: u64,
    pub(crate) pinned_keys: u64,
    pub(crate) tombstones: u64,
    pub(crate) last_timestamp: u64,
    /// No value in the file is superseded by a record with a timestamp up to this one.
    pub(crate) clean: u64,
}

impl FileFacts {
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.live_bytes + self.held_bytes + self.pinned_bytes)
    }

    pub(crate) fn dead_keys(&self) -> u64 {
        self.keys.saturating_sub(self.live_keys + self.held_keys + self.pinned_keys)
    }

    /// Whether so much of it is dead that a thorough merge takes it.
    pub(crate) fn is_worth_a_merge(&self) -> bool {
        self.dead_bytes().saturating_mul(THOROUGH) > self.bytes
    }

    /// The share of keys or bytes that is dead, in percent; a file without keys is all dead.
    fn fragmentation(&self, dead_bytes: u64, dead_keys: u64) -> u64 {
        let percent = |part: u64, whole: u64| part.saturating_mul(100).checked_div(whole).unwrap_or(100);
        percent(dead_keys, self.keys).max(percent(dead_bytes, self.bytes)).min(100)
    }

    /// What a merge would leave of the file, at most.
    fn bytes_after(&self) -> u64 {
        let raw_tombstones = self.tombstones.saturating_sub(self.held_keys);
        let kept = self.live_bytes + self.held_bytes + self.pinned_bytes + raw_tombstones * TOMBSTONE_LEN;
        kept.min(self.bytes)
    }
}

/// How much a merge is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thoroughness {
    /// What reaches a threshold, once a trigger is reached.
    Triggers,
    /// Everything worth it, whatever the thresholds.
    Everything,
}

/// Leaves out the files whose changes are to be kept: they are the last of the log. Of what was merged before there is
/// nothing to keep.
pub(crate) fn keep_changes(
    files: &mut [FileFacts],
    now_us: u64,
    merged_through: u64,
    options: &MergeOptions,
) {
    if !options.keeps_changes() {
        return;
    }
    let time = u64::try_from(options.keep_changes_for.as_micros()).unwrap_or(u64::MAX);
    let mut behind = 0;
    for file in files.iter_mut().rev() {
        let is_recent = time > 0 && file.last_timestamp >= now_us.saturating_sub(time);
        if file.last_timestamp > merged_through && (is_recent || behind < options.keep_changes_bytes) {
            file.excluded.get_or_insert(MergeVerdict::KeepsChanges);
        }
        behind += file.bytes;
    }
}

/// The verdict on each file, oldest first. `clean` is the clean position of an output that is begun now.
pub(crate) fn judge(
    files: &[FileFacts],
    clean: u64,
    options: &MergeOptions,
    how: Thoroughness,
) -> Vec<MergeVerdict> {
    let live: u64 = files.iter().map(|file| file.live_bytes).sum();
    let held: u64 = files.iter().map(|file| file.held_bytes).sum();
    let too_many_held = held > live / 4;
    // The highest timestamp of a file with held tombstones behind each file.
    let mut held_behind = vec![0; files.len()];
    let mut highest = 0;
    for (file, held_behind) in files.iter().zip(&mut held_behind).rev() {
        *held_behind = highest;
        if file.held_bytes > 0 {
            highest = highest.max(file.last_timestamp);
        }
    }
    let mut floor = clean;
    let mut verdicts = Vec::with_capacity(files.len());
    for (file, held_behind) in files.iter().zip(held_behind) {
        let may_shed = file.held_bytes > 0 && file.last_timestamp <= floor;
        let holds_back = too_many_held && file.clean < held_behind && held_behind <= clean;
        verdicts.push(judge_one(file, options, how, may_shed, holds_back));
        floor = floor.min(file.clean);
    }
    verdicts
}

fn judge_one(
    file: &FileFacts,
    options: &MergeOptions,
    how: Thoroughness,
    may_shed: bool,
    holds_back: bool,
) -> MergeVerdict {
    if let Some(excluded) = &file.excluded {
        return excluded.clone();
    }
    let (dead_bytes, dead_keys) = (file.dead_bytes(), file.dead_keys());
    let fragmentation = file.fragmentation(dead_bytes, dead_keys);
    let (is_fragmented, has_dead_bytes, is_small) = match how {
        _ if file.is_fresh => (false, false, false),
        Thoroughness::Triggers => (
            fragmentation >= u64::from(options.fragmentation_threshold),
            dead_bytes >= options.dead_bytes_threshold,
            file.bytes < options.small_file_threshold,
        ),
        Thoroughness::Everything => {
            let is_worth_it = file.is_worth_a_merge() || file.keys == 0;
            (is_worth_it, false, file.bytes < options.small_file_threshold)
        }
    };
    if is_fragmented {
        MergeVerdict::Fragmented { percent: u8::try_from(fragmentation).unwrap_or(100) }
    } else if has_dead_bytes {
        MergeVerdict::DeadBytes
    } else if may_shed {
        MergeVerdict::ShedsTombstones
    } else if holds_back {
        MergeVerdict::HoldsBack
    } else if is_small {
        MergeVerdict::Small
    } else {
        MergeVerdict::BelowThresholds
    }
}

/// The first run to be merged; `None` when there is nothing worth it. Several files are taken together only if all of them
/// would fit `room`, for what their tombstones take nobody knows before.
pub(crate) fn first_run(
    files: &[FileFacts],
    clean: u64,
    options: &MergeOptions,
    how: Thoroughness,
    max_file_size: u64,
    room: u64,
) -> Option<Range<usize>> {
    let verdicts = judge(files, clean, options, how);
    let runs = runs(files, &verdicts, max_file_size, room);
    match how {
        Thoroughness::Everything => runs.into_iter().next(),
        Thoroughness::Triggers => {
            let triggers =
                |run: &Range<usize>| run_triggers(&files[run.clone()], &verdicts[run.clone()], options);
            runs.iter().any(triggers).then(|| runs.into_iter().next()).flatten()
        }
    }
}

/// Whether a run is reason enough to begin.
fn run_triggers(files: &[FileFacts], verdicts: &[MergeVerdict], options: &MergeOptions) -> bool {
    let all_small = verdicts.iter().all(|verdict| *verdict == MergeVerdict::Small);
    let triggers = |(file, verdict): (&FileFacts, &MergeVerdict)| match verdict {
        MergeVerdict::Fragmented { percent } => {
            *percent >= options.fragmentation_trigger || file.dead_bytes() >= options.dead_bytes_trigger
        }
        MergeVerdict::DeadBytes => file.dead_bytes() >= options.dead_bytes_trigger,
        MergeVerdict::ShedsTombstones | MergeVerdict::HoldsBack => true,
        _ => false,
    };
    (all_small && files.len() >= SMALL_RUN) || files.iter().zip(verdicts).any(triggers)
}

/// All runs, oldest first: neighbours that are to be merged, as many as fit one output.
fn runs(files: &[FileFacts], verdicts: &[MergeVerdict], max_file_size: u64, room: u64) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    while start < files.len() {
        if !verdicts[start].will_merge() {
            start += 1;
            continue;
        }
        let mut bytes = files[start].bytes_after();
        let mut whole = files[start].whole;
        let mut end = start + 1;
        while end < files.len() && verdicts[end].will_merge() && end - start < INPUTS_MAX {
            bytes += files[end].bytes_after();
            whole += files[end].whole;
            if bytes > max_file_size || whole > room {
                break;
            }
            end += 1;
        }
        // A small file alone would only be copied.
        if end - start > 1 || verdicts[start] != MergeVerdict::Small {
            runs.push(start..end);
        }
        start = end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: u64 = 1 << 20;
    /// Behind all records.
    const NOW: u64 = 100;

    /// An immutable file of 100 MiB and 1,000 keys, of which this share is dead.
    fn file(dead_percent: u64) -> FileFacts {
        FileFacts {
            bytes: 100 * MIB,
            whole: 101 * MIB,
            live_bytes: (100 - dead_percent) * MIB,
            keys: 1_000,
            live_keys: (100 - dead_percent) * 10,
            last_timestamp: 50,
            ..FileFacts::default()
        }
    }

    fn active() -> FileFacts {
        FileFacts { excluded: Some(MergeVerdict::Active), ..file(90) }
    }

    fn first(files: &[FileFacts], how: Thoroughness) -> Option<Range<usize>> {
        // Percentages alone decide.
        let options = MergeOptions::new().dead_bytes_trigger(u64::MAX).dead_bytes_threshold(u64::MAX);
        first_run(files, NOW, &options, how, 256 * MIB, u64::MAX)
    }

    #[test]
    fn nothing_is_merged_below_the_triggers_and_all_above_the_thresholds_once_one_is_reached() {
        assert_eq!(first(&[file(0), file(50), file(59), active()], Thoroughness::Triggers), None);
        assert_eq!(first(&[file(0), file(50), file(60), active()], Thoroughness::Triggers), Some(1..3));
        assert_eq!(first(&[file(45), file(10), file(60)], Thoroughness::Triggers), Some(0..1));
        assert_eq!(first(&[active()], Thoroughness::Triggers), None);
    }

    #[test]
    fn dead_bytes_trigger_where_few_large_keys_are_dead() {
        let options = MergeOptions::new();
        let large = FileFacts { bytes: 1000 * MIB, live_bytes: 930 * MIB, ..file(1) };
        assert_eq!(
            first_run(
                std::slice::from_ref(&large),
                NOW,
                &options,
                Thoroughness::Triggers,
                1000 * MIB,
                u64::MAX
            ),
            Some(0..1)
        );
        let below = FileFacts { live_bytes: 940 * MIB, ..large };
        assert_eq!(first_run(&[below], NOW, &options, Thoroughness::Triggers, 1000 * MIB, u64::MAX), None);
    }

    #[test]
    fn bytes_count_where_keys_do_not() {
        let one_large_dead_value = FileFacts { live_keys: 999, ..file(80) };
        assert_eq!(first(&[one_large_dead_value], Thoroughness::Triggers), Some(0..1));
    }

    #[test]
    fn a_thorough_merge_takes_every_file_with_more_than_a_twentieth_dead() {
        assert_eq!(first(&[file(5), file(6), file(4)], Thoroughness::Everything), Some(1..2));
        assert_eq!(first(&[file(5), file(0)], Thoroughness::Everything), None);
        let empty = FileFacts { keys: 0, live_keys: 0, bytes: 0, live_bytes: 0, ..file(0) };
        assert_eq!(first(&[file(0), empty], Thoroughness::Everything), Some(1..2));
        let fresh = FileFacts { is_fresh: true, ..file(50) };
        assert_eq!(first(&[fresh], Thoroughness::Everything), None);
    }

    #[test]
    fn a_run_ends_where_the_output_would_be_full() {
        let files = vec![file(40); 10];
        assert_eq!(first(&files, Thoroughness::Everything), Some(0..4));
        // What is copied of a raw tombstone nobody knows before.
        let files = vec![FileFacts { tombstones: 2 * MIB, ..file(90) }; 10];
        assert_eq!(first(&files, Thoroughness::Everything), Some(0..2));
    }

    #[test]
    fn a_run_names_no_more_inputs_than_a_header_can() {
        let tiny = FileFacts { bytes: 10, whole: 100, live_bytes: 1, ..file(90) };
        let files = vec![tiny; INPUTS_MAX + 2];
        assert_eq!(first(&files, Thoroughness::Everything), Some(0..INPUTS_MAX));
    }

    #[test]
    fn what_a_merge_leaves_is_what_lives_and_what_is_held_or_pinned_or_may_be() {
        let facts = FileFacts { live_bytes: 10 * MIB, held_bytes: 20 * MIB, held_keys: 5, ..file(90) };
        let facts = FileFacts { pinned_bytes: 30 * MIB, pinned_keys: 7, tombstones: 5 + 3, ..facts };
        assert_eq!(facts.bytes_after(), 60 * MIB + 3 * TOMBSTONE_LEN);
        assert_eq!(facts.dead_bytes(), 40 * MIB);
        assert_eq!(FileFacts { live_bytes: 90 * MIB, ..facts }.bytes_after(), 100 * MIB);
    }

    #[test]
    fn a_run_is_as_short_as_the_room_but_never_shorter_than_a_file() {
        let files = vec![file(90); 10];
        let run = |room: u64| {
            let options = MergeOptions::new();
            first_run(&files, NOW, &options, Thoroughness::Everything, 256 * MIB, room)
        };
        assert_eq!((run(u64::MAX), run(505 * MIB), run(0)), (Some(0..10), Some(0..5), Some(0..1)));
    }

    #[test]
    fn small_neighbours_are_joined_and_a_small_file_alone_is_let_be() {
        let small = FileFacts { bytes: MIB, live_bytes: MIB, ..file(0) };
        let of = |count: usize| [vec![file(0)], vec![small.clone(); count], vec![active()]].concat();
        assert_eq!(first(&of(1), Thoroughness::Everything), None);
        assert_eq!(first(&of(2), Thoroughness::Everything), Some(1..3));
        assert_eq!(first(&of(3), Thoroughness::Triggers), None);
        assert_eq!(first(&of(4), Thoroughness::Triggers), Some(1..5));
    }

    #[test]
    fn held_tombstones_are_shed_as_soon_as_nothing_before_holds_them_back() {
        let holding = FileFacts { held_bytes: 20 * MIB, held_keys: 300, ..file(0) };
        let holding = FileFacts { live_bytes: 80 * MIB, live_keys: 700, tombstones: 300, ..holding };
        let clean = FileFacts { clean: 50, ..file(0) };
        assert_eq!(first(&[file(0), holding.clone()], Thoroughness::Triggers), None);
        assert_eq!(first(&[clean, holding.clone()], Thoroughness::Triggers), Some(1..2));
        assert_eq!(first(std::slice::from_ref(&holding), Thoroughness::Triggers), Some(0..1));
        // A snapshot from before the tombstones would hold them in the output again.
        let options = MergeOptions::new();
        assert_eq!(first_run(&[holding], 49, &options, Thoroughness::Everything, 256 * MIB, u64::MAX), None);
    }

    #[test]
    fn files_whose_changes_are_kept_are_left_out_until_they_are_merged_or_old() {
        let at = |last_timestamp| FileFacts { last_timestamp, ..file(90) };
        let kept = |options: MergeOptions, merged_through| {
            let mut files = [at(10), at(20), at(30), FileFacts { last_timestamp: 35, ..active() }];
            keep_changes(&mut files, 40, merged_through, &options);
            files.map(|file| file.excluded == Some(MergeVerdict::KeepsChanges))
        };
        let of_the_last = |micros| MergeOptions::new().keep_changes_for(Duration::from_micros(micros));
        assert_eq!(kept(MergeOptions::new(), 0), [false; 4]);
        assert_eq!(kept(of_the_last(9), 0), [false; 4]);
        assert_eq!(kept(of_the_last(10), 0), [false, false, true, false]);
        assert_eq!(kept(of_the_last(u64::MAX), 0), [true, true, true, false]);
        assert_eq!(kept(of_the_last(u64::MAX), 20), [false, false, true, false]);
        let of_bytes = |bytes| MergeOptions::new().keep_changes_bytes(bytes);
        assert_eq!(kept(of_bytes(100 * MIB), 0), [false; 4]);
        assert_eq!(kept(of_bytes(100 * MIB + 1), 0), [false, false, true, false]);
        assert_eq!(kept(of_bytes(200 * MIB + 1), 0), [false, true, true, false]);
    }

    #[test]
    fn when_too_much_is_held_what_holds_it_back_is_merged() {
        let holding = FileFacts { bytes: 90 * MIB, held_bytes: 90 * MIB, held_keys: 1_000, ..file(100) };
        let files = [file(0), file(0), holding];
        let verdicts = judge(&files, NOW, &MergeOptions::new(), Thoroughness::Triggers);
        let expected = [MergeVerdict::HoldsBack, MergeVerdict::HoldsBack, MergeVerdict::BelowThresholds];
        assert_eq!(verdicts, expected);
        assert_eq!(first(&files, Thoroughness::Triggers), Some(0..2));
        let little = FileFacts { held_bytes: 10 * MIB, bytes: 10 * MIB, ..files[2].clone() };
        assert_eq!(first(&[file(0), file(0), little], Thoroughness::Triggers), None);
    }
}
