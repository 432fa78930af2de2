//! One thread of a history: it does what its script says, and records when each call began and returned, and the answer.

use std::sync::atomic::{AtomicU64, Ordering};

use bitcask::{Bitcask, Result, Snapshot, Update};

use crate::model::{Answer, Call, Operation, State};
use crate::script::{Action, KEYS, PAIR, Script, number_of, options_for, value_of};

/// What is recorded of an action: twice, so that one that was cut off shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Begun(u64),
    Returned(u64, Vec<Answer>),
}

/// Gives each moment a number of its own. Numbers of one thread, and of threads that have waited for each other, ascend.
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) fn new(first: u64) -> Self {
        Self(AtomicU64::new(first))
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

pub(crate) struct Worker<'a> {
    db: &'a Bitcask,
    clock: &'a Clock,
    script: Script,
    /// A snapshot taken earlier, and what it said then.
    held: Option<(Snapshot, Vec<Answer>)>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(db: &'a Bitcask, clock: &'a Clock, script: Script) -> Self {
        Self { db, clock, script, held: None }
    }

    /// Does the next action of the script. An error leaves it open whether it has happened.
    pub(crate) fn step(&mut self, mut record: impl FnMut(Event)) -> Result<()> {
        let action = self.script.next();
        record(Event::Begun(self.clock.now()));
        let (returned, answers) = self.perform(&action)?;
        self.script.learn(&action, &answers);
        record(Event::Returned(returned, answers));
        Ok(())
    }

    /// When it returned, and the answer for each key.
    fn perform(&mut self, action: &Action) -> Result<(u64, Vec<Answer>)> {
        let answers = match action {
            Action::One(key, call) => vec![perform_call(self.db, *key, *call)?],
            Action::MultiGet(keys) => {
                let values = self.db.multi_get(keys.map(|key| KEYS[key]))?;
                keys.iter().zip(values).map(|(&key, value)| found(key, value.as_deref())).collect()
            }
            Action::Batch(writes) => commit(self.db, writes)?,
            Action::Snapshot => return self.look_at_a_moment(),
            Action::Fold => {
                let mut states: [State; KEYS.len()] = [None; KEYS.len()];
                self.db.fold((), |(), name, value| {
                    let key = KEYS.iter().position(|key| key.as_bytes() == name).unwrap();
                    assert_eq!(states[key].replace(number_of(key, value)), None, "a fold visits a key twice");
                })?;
                assert_eq!(states[PAIR[0]], states[PAIR[1]], "a fold sees half a batch");
                states.map(Answer::Found).to_vec()
            }
            Action::Clear => {
                self.db.clear()?;
                vec![Answer::Done; KEYS.len()]
            }
        };
        Ok((self.clock.now(), answers))
    }

    /// Takes a snapshot and reads it: it says what was there when it was taken. It is kept until the next one, and says the
    /// same again then, whatever was written and merged in between.
    fn look_at_a_moment(&mut self) -> Result<(u64, Vec<Answer>)> {
        let snapshot = self.db.snapshot();
        let returned = self.clock.now();
        let answers = read_all(&snapshot)?;
        assert_eq!(answers[PAIR[0]], answers[PAIR[1]], "a snapshot sees half a batch");
        if let Some((older, before)) = self.held.replace((snapshot, answers.clone())) {
            assert_eq!(read_all(&older)?, before, "a snapshot has changed");
        }
        Ok((returned, answers))
    }
}

fn read_all(snapshot: &Snapshot) -> Result<Vec<Answer>> {
    let read = |(key, name): (usize, &&str)| Ok(found(key, snapshot.get(name)?.as_deref()));
    KEYS.iter().enumerate().map(read).collect()
}

pub(crate) fn found(key: usize, value: Option<&[u8]>) -> Answer {
    Answer::Found(value.map(|value| number_of(key, value)))
}

fn perform_call(db: &Bitcask, key: usize, call: Call) -> Result<Answer> {
    let (name, value) = (KEYS[key], |number| value_of(key, number));
    Ok(match call {
        Call::Get => found(key, db.get(name)?.as_deref()),
        Call::Contains => Answer::Whether(db.contains(name)?),
        Call::Put(number) => {
            assert!(db.put_with(name, value(number), &options_for(number))?);
            Answer::Done
        }
        Call::PutIfAbsent(number) => {
            Answer::Whether(db.put_with(name, value(number), &options_for(number).if_absent())?)
        }
        Call::Delete => Answer::Whether(db.delete(name)?),
        Call::Remove => {
            db.delete(name)?;
            Answer::Done
        }
        Call::CompareAndSwap { expected, new } => {
            let (expected, new) = (expected.map(value), new.map(value));
            let bytes = |text: &Option<String>| text.clone().map(String::into_bytes);
            let (expected, new) = (bytes(&expected), bytes(&new));
            Answer::Whether(db.compare_and_swap(name, expected.as_deref(), new.as_deref())?)
        }
        Call::Increment(by) => Answer::Sum(db.increment(name, by)?),
        Call::Update(new) => {
            let mut seen = None;
            db.update(name, |before| {
                seen = before.map(|before| number_of(key, before));
                new.map_or(Update::Delete, |new| Update::Put(value(new).into_bytes()))
            })?;
            Answer::Found(seen)
        }
    })
}

fn commit(db: &Bitcask, writes: &[(usize, Call)]) -> Result<Vec<Answer>> {
    let mut batch = db.batch();
    for &(key, call) in writes {
        let name = KEYS[key];
        match call {
            Call::Put(number) => batch.put_with(name, value_of(key, number), &options_for(number)),
            Call::PutIfAbsent(number) => {
                batch.put_with(name, value_of(key, number), &options_for(number).if_absent())
            }
            Call::Remove => batch.delete(name),
            other => panic!("no batch has {other:?}"),
        };
    }
    let is_written = batch.commit()?;
    let answer = |call| match call {
        Call::PutIfAbsent(_) => Answer::Whether(is_written),
        _ => Answer::Done,
    };
    Ok(writes.iter().map(|&(_, call)| answer(call)).collect())
}

/// The operations on each key that one thread's events tell of. What did not return was over at `end`.
pub(crate) fn operations(
    thread: usize,
    mut script: Script,
    events: &[Event],
    end: u64,
) -> Vec<(usize, Operation)> {
    let mut operations = Vec::new();
    for pair in events.chunks(2) {
        let Event::Begun(begun) = pair[0] else { panic!("it returns before it begins: {pair:?}") };
        let action = script.next();
        let mut add = |key, call, over, answer| {
            operations.push((key, Operation { thread, call, begun, over, answer }));
        };
        match pair.get(1) {
            Some(Event::Returned(over, answers)) => {
                for ((key, call), answer) in action.calls().into_iter().zip(answers) {
                    add(key, call, *over, Some(*answer));
                }
                script.learn(&action, answers);
            }
            Some(event) => panic!("two begin at once: {event:?}"),
            None if begun < end => {
                action.calls().into_iter().for_each(|(key, call)| add(key, call, end, None))
            }
            // It began behind the end, and was refused.
            None => {}
        }
    }
    operations
}
