//! The corpus of every target, as a plain test.

use bitcask_testing::{Counting, check_corpus, peak_of};

use super::TARGETS;

#[global_allocator]
static COUNTING: Counting = Counting;

const MIB: usize = 1 << 20;

/// More than any input of the corpus may take, whatever lengths and counts it claims. A store takes some for each shard of
/// its keydir, and a scan has windows.
const MEMORY_MAX: usize = 4 * MIB;

#[test]
fn no_input_of_the_corpus_crashes_a_decoder_or_takes_much_memory() {
    check_corpus(
        "no_input_of_the_corpus_crashes_a_decoder_or_takes_much_memory",
        TARGETS,
        MEMORY_MAX,
        INPUTS_MIN,
    );
}

/// Each target has at least as many inputs.
const INPUTS_MIN: u64 = 8;

#[test]
fn memory_is_counted_while_it_is_taken() {
    let (kept, peak) = peak_of(|| {
        drop(vec![0_u8; 3 * MIB]);
        vec![0_u8; MIB]
    });
    assert_eq!(kept.len(), MIB);
    assert!((3 * MIB..4 * MIB).contains(&peak), "{peak}");
}
