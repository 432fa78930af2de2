//! What each thread of a history does: chosen by chance, by what it saw last, and by nothing else, so that whoever knows
//! the seed and the answers knows the calls.

use bitcask::PutOptions;
use std::time::{Duration, SystemTime};

use crate::model::{Answer, Call, State};

/// Registers; a counter, which alone is incremented; and a pair of keys that are only written together.
pub(crate) const KEYS: [&str; 7] = ["one", "two", "three", "four", "counter", "left", "right"];
const REGISTERS: usize = 4;
pub(crate) const COUNTER: usize = 4;
pub(crate) const PAIR: [usize; 2] = [5, 6];

pub(crate) const THREADS: usize = 8;

/// The value that this number stands for: of many lengths, so that files are rotated at many places, but the counter's.
pub(crate) fn value_of(key: usize, number: i64) -> String {
    if key == COUNTER {
        return number.to_string();
    }
    let len = usize::try_from(number.unsigned_abs() / STEP.unsigned_abs() * 37 % 300).unwrap_or(0);
    format!("{number} of {} {}", KEYS[key], "v".repeat(len))
}

/// What the bytes found for a key stand for.
pub(crate) fn number_of(key: usize, value: &[u8]) -> i64 {
    let text = std::str::from_utf8(value).unwrap();
    let number = text.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(text, value_of(key, number), "the value of {}", KEYS[key]);
    number
}

/// Some values have an expiry that nobody lives to see: then only their records tell that they are there.
pub(crate) fn options_for(number: i64) -> PutOptions {
    let options = PutOptions::new();
    match number / STEP % 4 {
        0 => options.expires_at(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)),
        _ => options,
    }
}

/// How far apart the numbers of two writes are; increments stay in between.
const STEP: i64 = 1000;

/// One call of the library.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    One(usize, Call),
    MultiGet([usize; 2]),
    Batch([(usize, Call); 2]),
    /// Takes a snapshot, and reads all keys of it later.
    Snapshot,
    Fold,
    Clear,
}

impl Action {
    /// What it asks of each key.
    pub(crate) fn calls(&self) -> Vec<(usize, Call)> {
        let all = |call| (0..KEYS.len()).map(|key| (key, call)).collect();
        match self {
            Self::One(key, call) => vec![(*key, *call)],
            Self::MultiGet(keys) => keys.map(|key| (key, Call::Get)).to_vec(),
            Self::Batch(calls) => calls.to_vec(),
            Self::Snapshot | Self::Fold => all(Call::Get),
            Self::Clear => all(Call::Remove),
        }
    }
}

/// The actions of one thread.
pub(crate) struct Script {
    random: fastrand::Rng,
    next_number: i64,
    /// What the thread knows of the keys: what it compares with.
    seen: [State; KEYS.len()],
}

impl Script {
    /// The script of a thread between an open of the store and its end, which have numbers.
    pub(crate) fn new(seed: u64, life: u64, thread: usize) -> Self {
        let who = life * THREADS as u64 + thread as u64;
        Self {
            random: fastrand::Rng::with_seed(seed ^ who.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            next_number: i64::try_from(who + 1).unwrap() * 1_000_000 * STEP,
            seen: [None; KEYS.len()],
        }
    }

    pub(crate) fn next(&mut self) -> Action {
        let key = self.random.usize(0..REGISTERS);
        let other = (key + self.random.usize(1..REGISTERS)) % REGISTERS;
        let any = self.random.usize(0..=COUNTER);
        let number = self.number();
        let new = if self.random.u8(0..4) > 0 { Some(number) } else { None };
        let [left, right] = PAIR;
        let both = |call| Action::Batch([(left, call), (right, call)]);
        match self.random.u16(0..1000) {
            0..200 => Action::One(any, Call::Get),
            200..250 => Action::One(any, Call::Contains),
            250..300 => Action::MultiGet([key, PAIR[self.random.usize(0..2)]]),
            300..450 => Action::One(any, Call::Put(number)),
            450..500 => Action::One(any, Call::PutIfAbsent(number)),
            500..580 => Action::One(any, Call::Delete),
            580..660 => Action::One(any, Call::CompareAndSwap { expected: self.seen[any], new }),
            660..720 => Action::One(any, Call::Update(new)),
            720..800 => Action::One(COUNTER, Call::Increment(self.random.i64(1..4))),
            800..850 => Action::Batch([(key, Call::Put(number)), (other, Call::Put(number))]),
            850..880 => Action::Batch([(key, Call::Put(number)), (other, Call::Remove)]),
            880..920 => both(Call::Put(number)),
            920..940 => both(Call::Remove),
            940..960 => both(Call::PutIfAbsent(number)),
            960..980 => Action::Snapshot,
            980..995 => Action::Fold,
            _ => Action::Clear,
        }
    }

    fn number(&mut self) -> i64 {
        self.next_number += STEP;
        self.next_number
    }

    /// What came of an action.
    pub(crate) fn learn(&mut self, action: &Action, answers: &[Answer]) {
        for ((key, call), answer) in action.calls().into_iter().zip(answers) {
            self.seen[key] = match (call, *answer) {
                (Call::Get, Answer::Found(state)) => state,
                (Call::Put(new), _) | (Call::PutIfAbsent(new), Answer::Whether(true)) => Some(new),
                (Call::CompareAndSwap { new, .. }, Answer::Whether(true)) | (Call::Update(new), _) => new,
                (Call::Increment(_), Answer::Sum(sum)) => Some(sum),
                (Call::Delete | Call::Remove, _) => None,
                _ => continue,
            };
        }
    }
}
