//! The canonical run: the same operations each time, over small files, with rotations, merges, reopens and a close, each
//! of them told to the parent and marked in a trace of the child's system calls. And what a store may hold after it, however it
//! ended.
//!
//! One thread writes, and every write is durable when it returns. So there is at most one operation of which nobody knows:
//! the one that a kill or a failed sync has interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use bitcask::{Bitcask, Durability, Io, LogFormat, MergeOptions, MergePolicy, Options};
use bitcask_testing::say;

/// How many operations there are, the close at the end not counted.
pub(crate) const OPERATIONS: usize = 44;

/// Paths that never exist: a look at one of them stands in a trace of the system calls, between those of the store.
pub(crate) const BEGINS: &str = "/the-operation-begins";
pub(crate) const DONE: &str = "/the-operation-is-done";

/// A child that takes longer than this hangs.
const LONG: Duration = Duration::from_secs(100);

/// All keys and values.
pub(crate) type State = BTreeMap<String, String>;

#[derive(Debug)]
pub(crate) enum Operation {
    /// Puts and deletes, as one batch if there are several. A key without a value is deleted.
    Write(Vec<(String, Option<String>)>),
    Merge,
    Reopen,
}

impl Operation {
    /// The operation of this number.
    pub(crate) fn nth(n: usize) -> Self {
        let key = |n: usize| format!("key{}", n * 5 % 9);
        let put = |n: usize, part: usize| {
            (key(n + part), Some(format!("{n}.{part} {}", "v".repeat((n * 97 + part * 53) % 700))))
        };
        match n {
            14 | 30 | 39 => Self::Merge,
            22 | 36 => Self::Reopen,
            _ if n % 6 == 5 => Self::Write(vec![put(n, 0), put(n, 1), (key(n + 2), None), put(n, 3)]),
            _ if n % 5 == 4 => Self::Write(vec![(key(n / 2), None)]),
            _ => Self::Write(vec![put(n, 0)]),
        }
    }

    fn run(&self, db: &mut Bitcask, options: &Options) -> bitcask::Result<()> {
        match self {
            Self::Write(writes) => match &writes[..] {
                [(key, Some(value))] => db.put(key, value),
                [(key, None)] => db.delete(key).map(drop),
                several => {
                    let mut batch = db.batch();
                    for (key, value) in several {
                        match value {
                            Some(value) => batch.put(key, value),
                            None => batch.delete(key),
                        };
                    }
                    batch.commit().map(drop)
                }
            },
            Self::Merge => db.merge().map(drop),
            Self::Reopen => {
                let closed = db.close();
                // Also after a close that failed, which has let the lock go.
                let again = || bitcask::open(db.path(), options.clone());
                *db = again().or_else(|error| {
                    say(format_args!("closed {error}"));
                    again()
                })?;
                closed
            }
        }
    }

    /// What it makes of a state.
    pub(crate) fn apply(&self, state: &mut State) {
        let Self::Write(writes) = self else { return };
        for (key, value) in writes {
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
    }
}

/// How a child stores. Its name is a word of the child's role and of a case's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    io: Io,
    format: LogFormat,
}

impl Way {
    pub(crate) const ALL: [Self; 6] = [
        Self { name: "mapped", io: Io::Mapped, format: LogFormat::Binary },
        Self { name: "syscall", io: Io::Syscall, format: LogFormat::Binary },
        Self { name: "mappedjson", io: Io::Mapped, format: LogFormat::Json },
        Self { name: "syscalljson", io: Io::Syscall, format: LogFormat::Json },
        Self { name: "mappedcsv", io: Io::Mapped, format: LogFormat::Csv },
        Self { name: "syscallcsv", io: Io::Syscall, format: LogFormat::Csv },
    ];

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|way| way.name == name).unwrap()
    }

    /// The role of a child that runs in this way.
    pub(crate) fn role(self) -> String {
        format!("run-{}", self.name)
    }

    pub(crate) fn options(self) -> Options {
        // Nothing is merged but by the operations, so that each run has the same calls.
        let merge = MergeOptions::new().policy(MergePolicy::Never);
        let options = Options::new().io(self.io).format(self.format).merge(merge);
        options.max_file_size(4096).durability(Durability::Always)
    }
}

/// The child: goes through all operations, and says how each went, what the store holds, and whether it closes.
pub(crate) fn run(store: &Path, way: Way) {
    let (_end, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(LONG) == Err(mpsc::RecvTimeoutError::Timeout) {
            say("hangs");
            std::process::abort();
        }
    });
    let options = way.options();
    let mut db = match bitcask::open(store, options.clone()) {
        Ok(db) => db,
        Err(error) => return say(format_args!("unopened {error}")),
    };
    for n in 0..OPERATIONS {
        let _ = std::fs::read_link(BEGINS);
        match Operation::nth(n).run(&mut db, &options) {
            Ok(()) => {
                let _ = std::fs::read_link(DONE);
                say(format_args!("ok {n}"));
            }
            Err(error) => {
                let state = if db.status().poisoned.is_some() { "poisoned" } else { "sound" };
                say(format_args!("failed {n} {state} {error}"));
            }
        }
    }
    for n in 0..9 {
        let key = format!("key{n}");
        match db.get(&key) {
            Ok(Some(value)) => say(format_args!("has {key} {}", String::from_utf8_lossy(&value))),
            Ok(None) => {}
            Err(error) => say(format_args!("unread {key} {error}")),
        }
    }
    match db.close() {
        Ok(()) => say("end"),
        Err(error) => say(format_args!("end {error}")),
    }
}

/// What a child has told of its operations, and what a store may hold by it.
#[derive(Debug)]
pub(crate) struct Account {
    /// The states that there may be: two if one operation is in doubt.
    pub(crate) states: BTreeSet<State>,
    /// The number of the next operation.
    next: usize,
    pub(crate) acknowledged: usize,
    /// What operations, opens, reads and the close failed with.
    pub(crate) failures: Vec<String>,
    pub(crate) poisoned: bool,
    /// What the child read itself at the end, unless it failed to.
    pub(crate) read: Option<State>,
    /// Whether it came to its end.
    pub(crate) ended: bool,
}

impl Account {
    /// It came to its end, or could not open the store, and what it read is a state that may be.
    pub(crate) fn check_end(&self) {
        let unopened = self.failures.iter().any(|failure| failure.starts_with("unopened"));
        assert!(self.ended || unopened, "{:#?}", self.failures);
        if let Some(read) = self.read.as_ref().filter(|_| self.ended) {
            assert!(self.states.contains(read), "it read {read:#?}\nwhere there may be {:#?}", self.states);
        }
    }

    /// What these lines tell.
    pub(crate) fn of(lines: &[String]) -> Self {
        let mut account = Self {
            states: BTreeSet::from([State::new()]),
            next: 0,
            acknowledged: 0,
            failures: Vec::new(),
            poisoned: false,
            read: Some(State::new()),
            ended: false,
        };
        for line in lines {
            account.take(line);
        }
        account
    }

    fn take(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let what = words.next().unwrap();
        let (first, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match what {
            "ok" => {
                let operation = self.begin(first);
                let reopened = matches!(operation, Operation::Reopen);
                assert!(!self.poisoned || reopened, "{line}: a poisoned store takes no writes");
                self.poisoned &= !reopened;
                self.states = self.applied(&operation);
                self.acknowledged += 1;
            }
            "failed" => {
                let operation = self.begin(first);
                let (state, error) = rest.split_once(' ').unwrap();
                let poisoned = state == "poisoned";
                // Refused at once, it is not there; nor where the log is known to end before it.
                if poisoned && !self.poisoned {
                    self.states.append(&mut self.applied(&operation));
                }
                self.poisoned = poisoned;
                self.failures.push(error.to_owned());
            }
            "has" => {
                let read = self.read.as_mut().map(|read| read.insert(first.to_owned(), rest.to_owned()));
                assert!(!matches!(read, Some(Some(_))), "{line}: it reads each key once");
            }
            "unread" => {
                self.read = None;
                self.failures.push(rest.to_owned());
            }
            "unopened" | "closed" => self.failures.push(line.to_owned()),
            "end" => {
                self.ended = true;
                self.failures.extend((!first.is_empty()).then(|| line.to_owned()));
            }
            _ => panic!("the child says {line}"),
        }
    }

    fn begin(&mut self, number: &str) -> Operation {
        assert_eq!(number, self.next.to_string(), "it goes through its operations in order");
        self.next += 1;
        Operation::nth(self.next - 1)
    }

    fn applied(&self, operation: &Operation) -> BTreeSet<State> {
        let apply = |state: &State| {
            let mut state = state.clone();
            operation.apply(&mut state);
            state
        };
        self.states.iter().map(apply).collect()
    }

    /// What there may be if the child was killed: the operation that it was at may have come to its end.
    pub(crate) fn killed(mut self) -> Self {
        if self.next < OPERATIONS {
            let operation = Operation::nth(self.next);
            self.states.append(&mut self.applied(&operation));
        }
        self
    }
}

/// Everything that a store holds.
pub(crate) fn state_of(db: &Bitcask) -> State {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    db.iter().map(Result::unwrap).map(|(key, value)| (text(&key), text(&value))).collect()
}

/// The store in this directory is whole, holds one of these states, and goes on.
pub(crate) fn check(store: &Path, way: Way, states: &BTreeSet<State>) {
    let right = |db: &Bitcask| {
        let state = state_of(db);
        assert!(states.contains(&state), "there is {state:#?}\nwhere there may be {states:#?}");
        state
    };
    if store.join("MANIFEST").exists() {
        assert_eq!(bitcask::verify(store).unwrap().damage, []);
        right(&bitcask::open(store, Options::read_only()).unwrap());
    }
    let db = bitcask::open(store, way.options()).unwrap();
    let mut state = right(&db);
    db.put("afterwards", "it goes on").unwrap();
    db.close().unwrap();
    state.insert("afterwards".to_owned(), "it goes on".to_owned());
    let report = bitcask::verify(store).unwrap();
    assert_eq!((report.damage, report.torn_tail), (Vec::new(), None));
    let db = bitcask::open(store, way.options()).unwrap();
    assert!(db.status().recovery.clean);
    assert_eq!(state_of(&db), state);
}
