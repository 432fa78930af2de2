//! A store at work beside its model: the fuzzer chooses what happens, as chance does in `tests/machines.rs`.

use crate::tests::{Machine, Way};
use crate::vfs::sim::Random;

/// More steps than this are not asked for: short lives find the same, and sooner.
const STEPS_MAX: usize = 60;

/// Bytes that make every choice: how the store is, and then what is done to it until they are used up.
pub(super) fn run(bytes: &[u8]) {
    let random = &mut Random::scripted(bytes);
    let way = Way::ALL[random.index(Way::ALL.len())];
    let mut machine = Machine::new(way, random);
    for _ in 0..STEPS_MAX {
        if !machine.has_choices() {
            return;
        }
        machine.step();
    }
}
