//! Many long lives of tiny stores.
//!
//! The crash sweeps look at every moment of few workloads; this looks at few moments of very many. The fuzz target
//! `operations` lets the fuzzer choose what happens, by the same machine.

use bitcask_testing::{Sweep, Tier};

use super::harness::{Case, workloads};
use super::machine::Machine;
use super::ways::Way;
use crate::vfs::sim::Random;

const STEPS: u64 = 60;

fn run_machines(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let count = Tier::pick(1_000, 50_000, 1_250_000);
    for number in workloads(count, way, &sweep) {
        sweep.case(Case { workload: number, moment: 0, crash: 0 }, |seed| {
            let random = &mut Random::new(seed);
            let mut machine = Machine::new(way, random);
            (0..STEPS).for_each(|_| machine.step());
        });
    }
    sweep.finish(way.share(count));
}

#[test]
fn after_every_step_the_store_holds_what_was_written_mapped() {
    run_machines("after_every_step_the_store_holds_what_was_written_mapped", Way::MAPPED);
}

#[test]
fn after_every_step_the_store_holds_what_was_written_syscall() {
    run_machines("after_every_step_the_store_holds_what_was_written_syscall", Way::SYSCALL);
}

#[test]
fn after_every_step_the_store_holds_what_was_written_json() {
    run_machines("after_every_step_the_store_holds_what_was_written_json", Way::JSON);
}

#[test]
fn after_every_step_the_store_holds_what_was_written_csv() {
    run_machines("after_every_step_the_store_holds_what_was_written_csv", Way::CSV);
}
