//! What one key of a store should do: a register, where a number stands for each value.
//!
//! Keys are independent of each other, so a history is linearizable if what it says of each key is (Herlihy and Wing,
//! *Linearizability: A Correctness Condition for Concurrent Objects*, 1990). What spans keys is checked elsewhere.

use std::fmt;

/// What a key has. No two writes of a history give a key the same number, but for increments.
pub(crate) type State = Option<i64>;

/// What is asked of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Contains,
    Put(i64),
    PutIfAbsent(i64),
    Delete,
    /// A delete in a batch, or a clear: neither tells what was there.
    Remove,
    CompareAndSwap {
        expected: State,
        new: State,
    },
    Increment(i64),
    /// Reads and replaces what is there; the answer is what was read.
    Update(State),
}

/// What a call returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Whether(bool),
    Found(State),
    Sum(i64),
}

impl Call {
    /// What the call makes of a key in this state, and its one right answer.
    pub(crate) fn apply(self, state: State) -> (State, Answer) {
        match self {
            Self::Get => (state, Answer::Found(state)),
            Self::Contains => (state, Answer::Whether(state.is_some())),
            Self::Put(new) => (Some(new), Answer::Done),
            Self::PutIfAbsent(new) => (state.or(Some(new)), Answer::Whether(state.is_none())),
            Self::Delete => (None, Answer::Whether(state.is_some())),
            Self::Remove => (None, Answer::Done),
            Self::CompareAndSwap { expected, new } if state == expected => (new, Answer::Whether(true)),
            Self::CompareAndSwap { .. } => (state, Answer::Whether(false)),
            Self::Increment(by) => {
                let sum = state.unwrap_or(0) + by;
                (Some(sum), Answer::Sum(sum))
            }
            Self::Update(new) => (new, Answer::Found(state)),
        }
    }
}

/// One call about one key, from when to when.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    /// Who called; only reports use it.
    pub(crate) thread: usize,
    pub(crate) call: Call,
    /// When it began, by a clock that gives each number once.
    pub(crate) begun: u64,
    /// When it was over: it returned, or everything was killed.
    pub(crate) over: u64,
    /// `None` when it did not return: then nobody knows whether it has happened. After `over` it cannot happen any more.
    pub(crate) answer: Option<Answer>,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thread, call, begun, over, answer } = self;
        write!(f, "thread {thread}, {begun} to {over}: {call:?} -> ")?;
        match answer {
            Some(answer) => write!(f, "{answer:?}"),
            None => write!(f, "?"),
        }
    }
}
