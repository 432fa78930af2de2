//! The mistakes, and the tests that must find them.

/// A mistake that can be planted.
pub(super) struct Mistake {
    /// As the engine's own line names it.
    pub(super) name: &'static str,
    /// One after the other these are asked.
    pub(super) tests: &'static [&'static str],
}

const fn mistake(name: &'static str, tests: &'static [&'static str]) -> Mistake {
    Mistake { name, tests }
}

pub(super) const MISTAKES: &[Mistake] = &[
    mistake(
        "a short read is taken for the end",
        &["tests::faults::short_and_interrupted_calls_change_nothing"],
    ),
    mistake(
        "a short write is taken for whole",
        &["tests::faults::short_and_interrupted_calls_change_nothing"],
    ),
    mistake(
        "the name of a new file is not synced",
        &[
            "tests::exhaustive::every_subset_of_pending_names_leaves_a_prefix_mapped",
            "tests::crash::crashes_at_every_moment_leave_a_prefix_mapped",
        ],
    ),
    mistake(
        "the number of a file is given again",
        &[
            "tests::engine::what_is_written_is_there_after_rotations_reopening_and_death",
            "tests::regressions::ids_of_removed_files_are_not_given_again",
        ],
    ),
    mistake(
        "the timestamp of a clear is forgotten",
        &["tests::clear::what_is_written_after_a_clear_a_crash_and_a_clock_that_goes_back_is_newer"],
    ),
    mistake("a new file is not synced", &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"]),
    mistake(
        "a file of another store is taken",
        &["tests::corruption::files_missing_swapped_foreign_or_old_give_no_wrong_answer"],
    ),
    mistake(
        "a replacement is renamed before it is synced",
        &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"],
    ),
    mistake(
        "the name of a manifest is not synced",
        &[
            "tests::exhaustive::every_subset_of_pending_names_leaves_a_prefix_mapped",
            "tests::crash::crashes_at_every_moment_leave_a_prefix_mapped",
        ],
    ),
    mistake(
        "hints of an older file are taken",
        &[
            "tests::regressions::a_hint_file_that_is_cut_between_two_entries_does_not_hide_a_key",
            "tests::corruption::files_missing_swapped_foreign_or_old_give_no_wrong_answer",
        ],
    ),
    mistake(
        "hints are not checked",
        &["tests::bad_disk::hints_that_were_changed_hide_no_key_and_lead_to_no_other_record"],
    ),
    mistake("a scan does not check values", &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"]),
    mistake(
        "a checksum leaves out the key",
        &["tests::corruption::any_flipped_bit_is_detected_reported_and_never_believed"],
    ),
    mistake(
        "a record fits at any offset",
        &["format::record::tests::a_record_of_another_file_or_another_offset_is_refused"],
    ),
    mistake(
        "a record fits in any file",
        &["tests::forged::what_lies_behind_a_tear_is_never_returned_mapped"],
    ),
    mistake(
        "headers are not checked",
        &["tests::corruption::any_flipped_bit_is_detected_reported_and_never_believed"],
    ),
    mistake(
        "a read does not check the value",
        &["tests::corruption::any_flipped_bit_is_detected_reported_and_never_believed"],
    ),
    mistake(
        "a manifest is not checked",
        &["tests::corruption::any_flipped_bit_is_detected_reported_and_never_believed"],
    ),
    mistake(
        "a batch counts without its end",
        &["tests::exhaustive::every_cut_of_the_last_records_and_of_a_batch_leaves_a_prefix_mapped"],
    ),
    mistake(
        "older records may follow newer ones",
        &["tests::lines::lines_of_a_file_without_a_footer_in_the_wrong_place_give_no_wrong_answer"],
    ),
    mistake(
        "a line may be copied",
        &["tests::lines::lines_of_a_file_without_a_footer_in_the_wrong_place_give_no_wrong_answer"],
    ),
    mistake(
        "an expired value uncovers older ones",
        &["tests::expiry::an_older_value_never_comes_back_whatever_the_clock_does"],
    ),
    mistake(
        "damage in a complete file is its end",
        &[
            "tests::synced_damage::a_flip_in_any_synced_record_is_never_mended_by_cutting_it_off",
            "tests::corruption::any_flipped_bit_is_detected_reported_and_never_believed",
        ],
    ),
    mistake(
        "what was synced may be cut off",
        &["tests::synced_damage::a_flip_in_any_synced_record_is_never_mended_by_cutting_it_off"],
    ),
    mistake("torn values are kept", &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"]),
    mistake(
        "the log goes on behind a tear",
        &[
            "tests::crash::crashes_at_every_moment_leave_a_prefix_mapped",
            "tests::crash::many_short_lives_leave_a_prefix_mapped",
        ],
    ),
    mistake("a merged file may be torn", &["tests::stories::a_merged_file_without_its_end_is_no_torn_tail"]),
    mistake(
        "files may be in any order",
        &["tests::strangers::a_manifest_in_which_files_have_changed_places_is_refused"],
    ),
    mistake(
        "what only the cache may have is not written again",
        &[
            "tests::faults::whichever_call_fails_it_fails_cleanly_and_nothing_acknowledged_is_lost",
            "tests::crash::crashes_during_recovery_leave_a_prefix_mapped",
        ],
    ),
    mistake(
        "a log that was cut is appended to",
        &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"],
    ),
    mistake(
        "a cut file says that it was rotated",
        &["tests::stories::a_file_emptied_in_the_cache_only_is_synced_before_it_is_dropped_or_used"],
    ),
    mistake(
        "a cut is not synced",
        &[
            "tests::stories::a_cut_that_only_the_cache_has_seen_is_synced_before_the_log_goes_on",
            "tests::crash::crashes_during_recovery_leave_a_prefix_mapped",
        ],
    ),
    mistake(
        "a footer in the cache is enough",
        &["tests::stories::a_cut_that_only_the_cache_has_seen_is_synced_before_the_log_goes_on"],
    ),
    mistake(
        "an emptied file is not synced",
        &["tests::nested::crashes_after_one_in_a_sealing_leave_the_edited_file_or_the_sealed_one"],
    ),
    mistake(
        "a lock is let go of at once",
        &["tests::engine::only_one_handle_writes_and_the_mode_decides_about_making_a_store"],
    ),
    mistake(
        "what no manifest lists is removed",
        &[
            "tests::strangers::a_data_file_that_the_manifest_cannot_know_is_refused_and_one_that_was_given_up_is_removed",
        ],
    ),
    mistake(
        "a manifest in the cache is enough",
        &[
            "tests::stories::a_first_manifest_that_only_the_cache_has_seen_is_durable_before_its_copy_has_a_name",
        ],
    ),
    mistake(
        "a file that is full is not synced",
        &["tests::crash::crashes_during_recovery_leave_a_prefix_syscall"],
    ),
    mistake(
        "a broken map is a failed write",
        &["tests::bad_disk::a_write_into_a_map_that_breaks_poisons_the_store"],
    ),
    mistake(
        "a failed sync is tried again",
        &["tests::faults::whichever_call_fails_it_fails_cleanly_and_nothing_acknowledged_is_lost"],
    ),
    mistake(
        "a failure does not poison",
        &["tests::faults::a_failed_sync_is_never_tried_again_on_the_same_data"],
    ),
    mistake(
        "a write is acknowledged before its sync",
        &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"],
    ),
    mistake(
        "a refusal is acknowledged before its sync",
        &["tests::conditions::a_refusal_is_as_durable_as_the_write_would_have_been"],
    ),
    mistake(
        "a marker claims what was written",
        &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"],
    ),
    mistake(
        "what a snapshot sees is overwritten",
        &["tests::snapshot::a_snapshot_sees_one_moment_whatever_is_written_and_merged"],
    ),
    mistake(
        "a poisoned store goes on",
        &["tests::faults::a_failed_sync_is_never_tried_again_on_the_same_data"],
    ),
    mistake(
        "records are ordered by the clock",
        &["tests::stories::a_clock_that_jumps_never_changes_the_order"],
    ),
    mistake(
        "who waited while the store was closed goes on",
        &["closing::tests::who_waited_for_a_lock_while_the_store_was_closed_leaves_the_directory_alone"],
    ),
    mistake(
        "an update does not look again",
        &["tests::conditions::increments_from_many_threads_sum_up_exactly"],
    ),
    mistake(
        "no tombstone outlives a merge",
        &["tests::merge_rules::a_tombstone_stays_while_an_older_file_holds_a_value_of_its_key"],
    ),
    mistake(
        "an expired value leaves without a tombstone",
        &["tests::merge_rules::a_value_that_has_expired_still_covers_the_older_ones_of_its_key"],
    ),
    mistake(
        "a merge leaves out what it cannot read",
        &["tests::regressions::a_merge_that_cannot_read_one_input_does_not_remove_any"],
    ),
    mistake(
        "a merge drops what snapshots see",
        &["tests::snapshot::a_merge_keeps_what_snapshots_see_only_as_long_as_they_live"],
    ),
    mistake(
        "what lies before a run does not matter",
        &["tests::merge_rules::a_tombstone_stays_while_an_older_file_holds_a_value_of_its_key"],
    ),
    mistake(
        "an output is not read back",
        &["tests::bad_disk::a_merge_gives_up_nothing_for_a_write_that_the_disk_has_garbled"],
    ),
    mistake(
        "a merge takes the active file",
        &["tests::regressions::a_merge_does_not_take_the_file_that_is_being_written"],
    ),
    mistake(
        "snapshots hold no tombstones",
        &["tests::snapshot::a_value_kept_for_a_snapshot_does_not_outlive_its_tombstone"],
    ),
    mistake(
        "inputs are removed before the manifest is replaced",
        &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"],
    ),
    mistake("an output is not synced", &["tests::crash::crashes_at_every_moment_leave_a_prefix_mapped"]),
    mistake(
        "a merge rests on what is not durable",
        &["tests::merge_rules::a_record_is_not_dropped_for_one_that_a_power_cut_can_take"],
    ),
    mistake(
        "a manifest does not say what a merge rests on",
        &["tests::stories::a_log_that_lost_what_a_merge_relied_on_is_refused"],
    ),
    mistake("an output comes last in the log", &["tests::merge_rules::log_order_stays_write_order"]),
    mistake(
        "a merge overwrites newer entries",
        &[
            "tests::regressions::what_is_written_while_a_merge_runs_is_neither_lost_nor_replaced_by_an_older_value",
        ],
    ),
    mistake(
        "snapshots do not follow a merge",
        &["tests::snapshot::a_snapshot_sees_one_moment_whatever_is_written_and_merged"],
    ),
    mistake(
        "a clear removes files before it replaces the manifest",
        &["tests::clear::wherever_a_clear_stops_all_keys_are_there_or_none"],
    ),
    mistake(
        "copies are not synced",
        &[
            "tests::backup::a_crash_at_any_moment_leaves_the_old_backup_the_new_one_or_an_unfinished_one",
            "tests::restore::a_crash_at_any_moment_leaves_a_whole_store_or_none",
        ],
    ),
    mistake(
        "the names of staged files are not synced",
        &[
            "tests::nested::crashes_after_one_in_a_backup_leave_the_old_one_the_new_one_or_what_the_next_finishes",
        ],
    ),
    mistake(
        "the old manifest of a backup may still be there",
        &["tests::backup::a_crash_at_any_moment_leaves_the_old_backup_the_new_one_or_an_unfinished_one"],
    ),
    mistake(
        "the names of restored files are not synced",
        &["tests::restore::a_crash_at_any_moment_leaves_a_whole_store_or_none"],
    ),
];
