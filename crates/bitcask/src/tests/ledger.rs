//! What a test knows of a store: every write that was acknowledged, in order, and the one whose outcome is open.
//!
//! The promises, as questions to a store that was opened again:
//! - after the end of the process: the state is all that was acknowledged, with or without the open write;
//! - after a power cut: the state is that of some moment not before the last durable one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::options::Maintenance;
use crate::vfs::sim::{SimClock, SimDisk};
use crate::{Bitcask, Options, Result};

pub(super) const STORE: &str = "store";

/// What a key has; values describe themselves, so that one that was never written stands out.
pub(super) type State = BTreeMap<String, String>;

pub(super) fn open(disk: &SimDisk, options: &Options) -> Result<Bitcask> {
    open_at(disk, options, &Arc::new(SimClock::new(1_000_000)))
}

pub(super) fn open_at(disk: &SimDisk, options: &Options, clock: &Arc<SimClock>) -> Result<Bitcask> {
    let options = options.clone().maintenance(Maintenance::Callers);
    Bitcask::open_on(&*disk.vfs(), Arc::clone(clock) as _, STORE.as_ref(), options)
}

/// Everything that a store answers, by look-ups of `keys` and by iteration, which must agree.
pub(super) fn read_all(db: &Bitcask, keys: impl IntoIterator<Item = String>) -> Result<State> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("values are text");
    let mut state = State::new();
    for key in keys {
        if let Some(value) = db.get(&key)? {
            state.insert(key, text(&value));
        }
    }
    let mut iterated = State::new();
    for entry in db.iter() {
        let (key, value) = entry?;
        assert_eq!(iterated.insert(text(&key), text(&value)), None, "a key comes once");
    }
    assert_eq!(iterated, state, "iteration and look-ups differ");
    assert_eq!(db.len(), state.len() as u64);
    Ok(state)
}

/// A write: what the key has after it.
pub(super) type Write = (String, Option<String>);

fn apply(state: &mut State, (key, value): &Write) {
    match value {
        Some(value) => state.insert(key.clone(), value.clone()),
        None => state.remove(key),
    };
}

/// What happens together.
fn apply_all(state: &mut State, writes: &[Write]) {
    writes.iter().for_each(|write| apply(state, write));
}

#[derive(Clone, Default)]
pub(super) struct Ledger {
    /// Acknowledged, in order: batches, most of them of one write.
    history: Vec<Vec<Write>>,
    /// How many of them survive a power cut.
    durable: usize,
    /// What failed when a sync did: whether it is there is open.
    open: Option<Vec<Write>>,
}

impl Ledger {
    pub(super) fn acknowledged(&mut self, key: &str, value: Option<&str>) {
        self.acknowledged_all(vec![(key.to_owned(), value.map(str::to_owned))]);
    }

    pub(super) fn acknowledged_all(&mut self, batch: Vec<Write>) {
        assert!(self.open.is_none(), "nothing is acknowledged after a failed sync");
        self.history.push(batch);
    }

    pub(super) fn in_doubt(&mut self, batch: Vec<Write>) {
        assert!(self.open.is_none(), "after a failed sync nothing is appended");
        self.open = Some(batch);
    }

    pub(super) fn all_durable(&mut self) {
        self.durable = self.history.len();
    }

    pub(super) fn state(&self) -> State {
        self.state_after(self.history.len())
    }

    fn state_after(&self, count: usize) -> State {
        let mut state = State::new();
        self.history[..count].iter().for_each(|batch| apply_all(&mut state, batch));
        state
    }

    fn with_open(&self) -> State {
        let mut state = self.state();
        self.open.iter().for_each(|batch| apply_all(&mut state, batch));
        state
    }

    /// Whether a handle that is open may say that the key has this.
    pub(super) fn allows(&self, key: &str, value: Option<&str>) -> bool {
        [self.state(), self.with_open()].iter().any(|state| state.get(key).map(String::as_str) == value)
    }

    /// Whether a handle that is open may show this, as a whole.
    pub(super) fn is_state(&self, found: &State) -> bool {
        *found == self.state() || *found == self.with_open()
    }

    /// The state after the end of a process. The open write is decided by it, and all is durable: what an open
    /// shows it has synced.
    pub(super) fn settle_after_exit(&mut self, found: &State) {
        if *found == self.with_open() {
            self.history.extend(self.open.take());
        } else {
            assert_eq!(*found, self.state(), "acknowledged writes are there, and nothing else");
        }
        self.open = None;
        self.all_durable();
    }

    /// The same after a power cut: a prefix of the writes, the durable ones at least.
    pub(super) fn settle_after_crash(&mut self, found: &State) {
        if self.open.is_some() && *found == self.with_open() {
            self.history.extend(self.open.take());
        }
        self.open = None;
        let prefix =
            (self.durable..=self.history.len()).rev().find(|&count| *found == self.state_after(count));
        let Some(count) = prefix else {
            panic!(
                "after a power cut: {found:?}\nis no state between the durable {:?}\nand the last {:?}",
                self.state_after(self.durable),
                self.state()
            );
        };
        self.history.truncate(count);
        self.all_durable();
    }
}
