//! A scheduler that lets a thread go on for a while before it looks for another.
//!
//! A thread that is held up between two steps while another does something whole is what most races need. Choosing
//! anew at each step nearly never does that, and PCT must hit the one place among all steps from the open on.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

use crate::vfs::sim::Random;

pub(super) struct Bursts {
    random: Random,
    left: usize,
    /// How many steps a thread takes on average in this execution.
    steps: u64,
}

impl Bursts {
    /// A scheduler for `count` executions.
    pub(super) fn new(seed: u64, count: usize) -> Self {
        Self { random: Random::new(seed), left: count, steps: 1 }
    }
}

impl Scheduler for Bursts {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.left = self.left.checked_sub(1)?;
        self.steps = 4 << self.random.below(6);
        Some(Schedule::new(self.random.next()))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let stays = runnable.iter().map(|task| task.id()).find(|&task| Some(task) == current);
        match stays {
            Some(task) if !is_yielding && !self.random.one_in(self.steps) => Some(task),
            _ => Some(runnable[self.random.index(runnable.len())].id()),
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next()
    }
}
