//! Whether a history of one key is linearizable: whether each call can be given one moment between its begin and its
//! return, so that the calls in the order of these moments give the answers that were given.
//!
//! The search is that of Wing and Gong (*Testing and Verifying Concurrent Objects*, 1993), in breadth, and remembers each
//! state once, as Lowe does (*Testing for Linearizability*, 2017). It goes through the begins and ends in time, with the set
//! of all *explanations* so far:
//!
//! ```text
//! explanation:  what the key has; which of the calls that are under way have happened already
//! begin:        the call is under way
//! return:       let calls that are under way happen, in every order, each with the answer that it will give;
//!               keep the explanations in which this one has happened. Is none left, the history is wrong
//! kill:         the same, but the call need not have happened
//! ```
//! It is enough to let a call happen right before some return: what is put off so far nobody can have seen. As many calls are
//! under way as there are threads, so the set stays small, however long the history.

use std::collections::BTreeSet;

use crate::model::{Operation, State};

/// How many operations before the wrong one are printed with it.
const PRINTED: usize = 24;

/// What the key has, and the set of the calls under way that have happened: a bit for each place in `Search::under_way`.
type Explanation = (State, u64);

/// Checks a history of one key that has no value at first. An error tells which answer nothing explains.
pub(crate) fn check(history: &[Operation]) -> Result<(), String> {
    let mut moments: Vec<(u64, usize)> = Vec::with_capacity(history.len() * 2);
    for (index, operation) in history.iter().enumerate() {
        assert!(operation.begun < operation.over, "{operation:?}");
        moments.extend([(operation.begun, index), (operation.over, index)]);
    }
    moments.sort_unstable();
    let mut search = Search { history, under_way: Vec::new(), explanations: BTreeSet::from([(None, 0)]) };
    for (moment, index) in moments {
        if moment == history[index].begun {
            search.begin(index);
        } else if !search.end(index) {
            return Err(search.report(index));
        }
    }
    Ok(())
}

struct Search<'h> {
    history: &'h [Operation],
    /// The calls that have begun and are not over; free places are used again.
    under_way: Vec<Option<usize>>,
    explanations: BTreeSet<Explanation>,
}

impl Search<'_> {
    fn begin(&mut self, index: usize) {
        match self.under_way.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(index),
            None => self.under_way.push(Some(index)),
        }
        assert!(self.under_way.len() <= 64, "more calls at once than an explanation has bits");
    }

    /// The call is over; whether anything explains it.
    fn end(&mut self, index: usize) -> bool {
        let place = self.under_way.iter().position(|other| *other == Some(index)).expect("it has begun");
        self.let_happen();
        let must_have_happened = self.history[index].answer.is_some();
        let bit = 1 << place;
        self.explanations = std::mem::take(&mut self.explanations)
            .into_iter()
            .filter(|(_, happened)| !must_have_happened || happened & bit != 0)
            .map(|(state, happened)| (state, happened & !bit))
            .collect();
        self.under_way[place] = None;
        !self.explanations.is_empty()
    }

    /// Adds all explanations that follow from those there are when calls under way happen now.
    fn let_happen(&mut self) {
        let mut unseen: Vec<Explanation> = self.explanations.iter().copied().collect();
        while let Some((state, happened)) = unseen.pop() {
            for (place, index) in self.under_way.iter().enumerate() {
                let Some(index) = *index else { continue };
                if happened & (1 << place) != 0 {
                    continue;
                }
                let operation = &self.history[index];
                let (new, answer) = operation.call.apply(state);
                if operation.answer.is_some_and(|given| given != answer) {
                    continue;
                }
                let next = (new, happened | 1 << place);
                if self.explanations.insert(next) {
                    unseen.push(next);
                }
            }
        }
    }

    /// What was asked and answered up to the call that nothing explains.
    fn report(&self, wrong: usize) -> String {
        let mut before: Vec<&Operation> =
            self.history.iter().filter(|operation| operation.begun < self.history[wrong].over).collect();
        before.sort_by_key(|operation| operation.over);
        let first = before.len().saturating_sub(PRINTED);
        let lines: Vec<String> = before[first..].iter().map(|operation| format!("  {operation:?}")).collect();
        format!("nothing explains {:?}, the end of\n{}", self.history[wrong], lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Answer, Call};

    /// A history from its lines: thread, call, begin, end, answer.
    fn history(lines: &[(usize, Call, u64, u64, Option<Answer>)]) -> Vec<Operation> {
        lines
            .iter()
            .map(|&(thread, call, begun, over, answer)| Operation { thread, call, begun, over, answer })
            .collect()
    }

    const DONE: Option<Answer> = Some(Answer::Done);

    fn found(state: State) -> Option<Answer> {
        Some(Answer::Found(state))
    }

    fn whether(is_so: bool) -> Option<Answer> {
        Some(Answer::Whether(is_so))
    }

    fn is_right(lines: &[(usize, Call, u64, u64, Option<Answer>)]) -> bool {
        check(&history(lines)).is_ok()
    }

    use Call::{Contains, Delete, Get, Increment, Put, PutIfAbsent, Update};

    #[test]
    fn a_read_beside_a_write_may_see_it_or_not_but_not_again_as_it_was_before() {
        let beside = |first, second| {
            is_right(&[
                (0, Put(1), 1, 2, DONE),
                (0, Put(2), 3, 8, DONE),
                (1, Get, 4, 5, found(Some(first))),
                (1, Get, 6, 7, found(Some(second))),
            ])
        };
        assert!(beside(1, 1) && beside(1, 2) && beside(2, 2));
        assert!(!beside(2, 1));
    }

    #[test]
    fn a_stale_read_is_rejected() {
        let read = |state| {
            is_right(&[(0, Put(1), 1, 2, DONE), (0, Put(2), 3, 4, DONE), (1, Get, 5, 6, found(state))])
        };
        assert!(read(Some(2)) && !read(Some(1)) && !read(None));
        assert!(!is_right(&[(0, Put(1), 1, 2, DONE), (1, Contains, 3, 4, whether(false))]));
    }

    #[test]
    fn a_lost_update_is_rejected() {
        let both = |second| {
            is_right(&[
                (0, Increment(1), 1, 3, Some(Answer::Sum(1))),
                (1, Increment(1), 2, 4, Some(Answer::Sum(second))),
            ])
        };
        assert!(both(2) && !both(1));
        let updates = |seen| {
            is_right(&[
                (0, Put(1), 1, 2, DONE),
                (0, Update(Some(2)), 3, 5, found(Some(1))),
                (1, Update(Some(3)), 4, 6, found(Some(seen))),
            ])
        };
        assert!(updates(2) && !updates(1));
    }

    #[test]
    fn a_value_from_nowhere_is_rejected() {
        assert!(!is_right(&[(0, Put(1), 1, 2, DONE), (1, Get, 3, 4, found(Some(7)))]));
        assert!(
            !is_right(&[(0, Put(1), 3, 4, DONE), (1, Get, 1, 2, found(Some(1)))]),
            "it is not written yet"
        );
    }

    #[test]
    fn a_delete_that_two_have_done_is_rejected() {
        let both = |second| {
            is_right(&[
                (0, Put(1), 1, 2, DONE),
                (0, Delete, 3, 5, whether(true)),
                (1, Delete, 4, 6, whether(second)),
            ])
        };
        assert!(both(false) && !both(true));
        let locks = |second| {
            is_right(&[(0, PutIfAbsent(1), 1, 3, whether(true)), (1, PutIfAbsent(2), 2, 4, whether(second))])
        };
        assert!(locks(false) && !locks(true));
    }

    #[test]
    fn what_a_kill_cut_off_has_happened_or_not_and_that_stays_so() {
        let after_a_kill = |reads: [State; 2]| {
            is_right(&[
                (0, Put(1), 1, 2, DONE),
                (0, Put(2), 3, 4, None),
                (1, Get, 5, 6, found(reads[0])),
                (1, Get, 7, 8, found(reads[1])),
            ])
        };
        assert!(after_a_kill([Some(1); 2]) && after_a_kill([Some(2); 2]));
        assert!(!after_a_kill([Some(1), Some(2)]), "it happened after the kill");
        assert!(!after_a_kill([Some(2), Some(1)]), "it was undone");
        // Somebody has seen it before the kill.
        assert!(!is_right(&[
            (0, Put(2), 1, 4, None),
            (1, Get, 2, 3, found(Some(2))),
            (1, Get, 5, 6, found(None)),
        ]));
    }

    /// Every order of the calls, one after the other: slow, and too simple to be wrong.
    fn is_explained_by_some_order(history: &[Operation], left: &[usize], state: State) -> bool {
        let may_be_next =
            |&index: &usize| left.iter().all(|&other| history[other].over > history[index].begun);
        left.is_empty()
            || left.iter().copied().filter(may_be_next).any(|index| {
                let rest: Vec<usize> = left.iter().copied().filter(|&other| other != index).collect();
                let operation = &history[index];
                let (new, answer) = operation.call.apply(state);
                let fits = operation.answer.is_none_or(|given| given == answer);
                fits && is_explained_by_some_order(history, &rest, new)
                    || operation.answer.is_none() && is_explained_by_some_order(history, &rest, state)
            })
    }

    /// Some calls of three threads with answers that are right or wrong.
    fn random_history(random: &mut fastrand::Rng) -> Vec<Operation> {
        let mut times: Vec<u64> = (1..=12).collect();
        random.shuffle(&mut times);
        let operation = |pair: &[u64]| {
            let number = random.i64(1..3);
            let some = if random.bool() { Some(number) } else { None };
            let call = match random.u8(0..9) {
                0 | 1 => Get,
                2 => Contains,
                3 => Put(number),
                4 => PutIfAbsent(number),
                5 => Delete,
                6 => Call::Remove,
                7 => Increment(1),
                _ => Call::CompareAndSwap {
                    expected: some,
                    new: if random.bool() { Some(number) } else { None },
                },
            };
            let state = if random.bool() { Some(random.i64(1..3)) } else { None };
            // The right answer of some state, which may be that of the moment or not.
            let answer = (random.u8(0..5) > 0).then(|| call.apply(state).1);
            let (begun, over) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            Operation { thread: 0, call, begun, over, answer }
        };
        times.chunks(2).map(operation).collect()
    }

    #[test]
    fn the_search_agrees_with_trying_every_order() {
        let sweep = bitcask_testing::Sweep::new("the_search_agrees_with_trying_every_order");
        let mut explained = 0;
        let count = 20_000;
        for case in 0..count {
            sweep.case(case, |seed| {
                let history = random_history(&mut fastrand::Rng::with_seed(seed));
                let all: Vec<usize> = (0..history.len()).collect();
                let expected = is_explained_by_some_order(&history, &all, None);
                assert_eq!(check(&history).is_ok(), expected, "{history:#?}");
                explained += u32::from(expected);
            });
        }
        println!("{explained} of {count} histories are right");
        sweep.finish(count);
    }
}
