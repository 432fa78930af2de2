//! What breaks without each rule of merging, as short stories. Each was found by searching a small model of the rules
//! for a way to lose a value or to bring one back; random walks do not find them all.

use super::harness;
use super::story::{HOUR_US, NOW_US, in_every_way};
use crate::Options;
use crate::expiry::to_time;

#[test]
fn a_tombstone_stays_while_an_older_file_holds_a_value_of_its_key() {
    in_every_way(|mut story| {
        story.put("a", "old");
        story.put("b", "keeps the first file from vanishing");
        story.rotate();
        story.delete("a");
        story.rotate();
        let report = story.merge(1..2);
        assert_eq!((report.tombstones_kept, report.records_dropped), (1, 0));
        story.holds(&[("b", "keeps the first file from vanishing")]);
        // Once the older file has been merged, nothing is left that the tombstone covers.
        let report = story.merge(0..1);
        assert_eq!((report.tombstones_kept, report.records_dropped, report.values_copied), (0, 1, 1));
        let report = story.merge(1..2);
        assert_eq!((report.tombstones_kept, report.records_dropped), (0, 1));
        story.holds(&[("b", "keeps the first file from vanishing")]);
    });
}

#[test]
fn a_tombstone_leaves_when_every_value_of_the_older_files_is_the_newest_of_its_key() {
    in_every_way(|mut story| {
        story.put("a", "1");
        story.rotate();
        story.put("b", "2");
        story.delete("b");
        story.rotate();
        let report = story.merge(1..2);
        assert_eq!((report.tombstones_kept, report.outputs), (0, 0), "{report:?}");
        story.holds(&[("a", "1")]);
    });
}

#[test]
fn of_many_tombstones_of_one_key_one_is_kept() {
    in_every_way(|mut story| {
        story.put("a", "0");
        story.rotate();
        for n in 1..20 {
            story.delete("a");
            story.put("a", &n.to_string());
        }
        story.delete("a");
        story.rotate();
        let report = story.merge(1..2);
        assert_eq!((report.tombstones_kept, report.values_copied), (1, 0), "{report:?}");
        story.holds(&[]);
    });
}

#[test]
fn a_record_is_not_dropped_for_one_that_a_power_cut_can_take() {
    in_every_way(|mut story| {
        story.put("a", "old");
        story.rotate();
        story.db().sync().unwrap();
        story.put("a", "new");
        story.merge(0..1);
        story.lose_power();
        story.holds(&[("a", "new")]);
    });
}

#[test]
fn a_tombstone_that_a_power_cut_takes_has_dropped_nothing() {
    in_every_way(|mut story| {
        story.put("a", "old");
        story.rotate();
        story.db().sync().unwrap();
        story.delete("a");
        story.merge(0..1);
        story.lose_power();
        story.holds(&[]);
    });
}

/// The highest timestamp was that of a tombstone that has left. Given again, it would lie below the clean position of the
/// output, and the tombstone that got it would leave while the value it covers is still there.
#[test]
fn timestamps_of_records_that_have_left_are_not_given_again() {
    in_every_way(|mut story| {
        story.put("b", "1");
        story.put("a", "old");
        story.delete("b");
        story.rotate();
        story.merge(0..1);
        story.lose_power();
        story.clock.set_now_us(0);
        story.reopen();
        story.delete("a");
        story.put("c", "3");
        story.rotate();
        story.merge(1..2);
        story.holds(&[("c", "3")]);
    });
}

#[test]
fn a_value_that_has_expired_still_covers_the_older_ones_of_its_key() {
    in_every_way(|mut story| {
        story.put("a", "old");
        story.put("z", "1");
        story.rotate();
        story.put_until("a", "expires", NOW_US + HOUR_US);
        story.rotate();
        story.clock.set_now_us(NOW_US + 2 * HOUR_US);
        let report = story.merge(1..2);
        assert_eq!((report.tombstones_kept, report.values_copied), (1, 0), "{report:?}");
        story.holds(&[("z", "1")]);
        story.clock.set_now_us(NOW_US);
        story.holds(&[("z", "1")]);
    });
}

/// It has no entry in the keydir because it was reaped, not because something covers it.
#[test]
fn a_value_that_was_reaped_covers_the_older_ones_also_when_the_clock_has_gone_back() {
    in_every_way(|mut story| {
        story.put_until("a", "old", NOW_US + HOUR_US);
        story.put("z", "1");
        story.rotate();
        story.put_until("a", "new", NOW_US + HOUR_US);
        story.rotate();
        story.clock.set_now_us(NOW_US + 2 * HOUR_US);
        story.reopen();
        story.clock.set_now_us(NOW_US);
        let report = story.merge(1..2);
        assert_eq!((report.tombstones_kept, report.values_copied), (1, 0), "{report:?}");
        story.holds(&[("z", "1")]);
    });
}

#[test]
fn expired_values_leave_with_a_merge_and_living_ones_keep_their_expiry() {
    in_every_way(|mut story| {
        story.put_until("gone", "1", NOW_US + HOUR_US);
        story.put_until("stays", "2", NOW_US + 3 * HOUR_US);
        story.rotate();
        story.clock.set_now_us(NOW_US + 2 * HOUR_US);
        let report = story.merge(0..1);
        assert_eq!((report.values_copied, report.tombstones_kept, report.records_dropped), (1, 0, 1));
        let entry = story.db().get_entry("stays").unwrap().unwrap();
        assert_eq!(entry.expires_at, Some(to_time(NOW_US + 3 * HOUR_US)));
        story.holds(&[("stays", "2")]);
        story.clock.set_now_us(NOW_US + 3 * HOUR_US);
        story.reopen();
        story.holds(&[]);
    });
}

/// The output takes the place of its inputs in the log; at the end of the log it would bury what came after them.
#[test]
fn log_order_stays_write_order() {
    in_every_way(|mut story| {
        story.put("z", "1");
        story.put("a", "1");
        story.put("b", "1");
        story.rotate();
        story.put("a", "2");
        story.rotate();
        story.delete("b");
        story.rotate();
        story.merge(0..1);
        story.holds(&[("a", "2"), ("z", "1")]);
        story.merge(1..3);
        story.holds(&[("a", "2"), ("z", "1")]);
        story.merge(0..2);
        story.holds(&[("a", "2"), ("z", "1")]);
    });
}

/// The link of the output, not that of a file that is gone, tells the recovery what follows a cut.
#[test]
fn what_follows_a_cut_may_be_merged_and_may_vanish() {
    in_every_way(|mut story| {
        story.put("a", "1");
        story.db().sync().unwrap();
        story.put("lost", "1");
        story.lose_power();
        story.put("b", "2");
        story.rotate();
        story.put("c", "3");
        story.rotate();
        story.merge(1..2);
        story.holds(&[("a", "1"), ("b", "2"), ("c", "3")]);
        story.delete("b");
        story.merge(1..2);
        story.holds(&[("a", "1"), ("c", "3")]);
        story.merge(0..2);
        story.holds(&[("a", "1"), ("c", "3")]);
    });
}

#[test]
fn a_manifest_that_was_merged_over_is_refused_when_it_is_put_back() {
    in_every_way(|mut story| {
        story.put("a", "1");
        story.rotate();
        story.put("a", "2");
        story.rotate();
        let old = story.disk.read_file("MANIFEST");
        story.merge(0..2);
        story.db().close().unwrap();
        story.db = None;
        story.disk.write_file("MANIFEST", &old);
        let refused = harness::open(&story.disk, &story.clock, &Options::new()).unwrap_err();
        assert!(refused.is_corruption(), "{refused}");
    });
}

/// The tombstone, which is in a later file, is enough. A snapshot keeps the first value that has come after it, but not the
/// second.
#[test]
fn a_value_beneath_a_later_tombstone_does_not_become_one() {
    in_every_way(|mut story| {
        story.put("z", "1");
        let snapshot = story.db().snapshot();
        story.put("a", "first");
        story.put("a", "second");
        story.rotate();
        story.delete("a");
        let report = story.merge(0..1);
        assert_eq!((report.tombstones_kept, report.records_dropped, report.values_copied), (0, 1, 2));
        drop(snapshot);
        story.holds(&[("z", "1")]);
    });
}
