//! Histories over several lives of a store: the threads run in a child that is killed in the middle, and another goes on.
//!
//! Each thread of the child writes what it records to a file of its own, by one system call an event: `b 17` before a call
//! begins, `r 18 =5 t` after it returned. A kill loses nothing of that. A call without its second line may have happened or
//! not; after the kill it cannot happen any more.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bitcask_testing::{OtherProcess, Sweep, Tier, say};

use crate::model::Answer;
use crate::script::{Script, THREADS};
use crate::worker::{Clock, Event, Worker};
use crate::{ACTIONS, History, options};

/// How often the store of a history is killed, at least.
const KILLS: u64 = 4;

/// One child: which of the ways, which chances, and after how many others.
struct Role {
    way: u64,
    seed: u64,
    life: u64,
}

impl Role {
    fn name(&self) -> String {
        format!("{} {} {}", self.way, self.seed, self.life)
    }

    fn parse(name: &str) -> Self {
        let mut numbers = name.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        Self { way: next(), seed: next(), life: next() }
    }

    /// Where a thread's events are recorded.
    fn events(&self, dir: &Path, thread: usize) -> PathBuf {
        dir.join(format!("events-{}-{thread}", self.life))
    }

    fn script(&self, thread: usize) -> Script {
        Script::new(self.seed, self.life, thread)
    }
}

fn line_of(event: &Event) -> String {
    match event {
        Event::Begun(moment) => format!("b {moment}\n"),
        Event::Returned(moment, answers) => {
            let words = answers.iter().map(|answer| match answer {
                Answer::Done => " .".to_owned(),
                Answer::Whether(true) => " t".to_owned(),
                Answer::Whether(false) => " f".to_owned(),
                Answer::Found(None) => " -".to_owned(),
                Answer::Found(Some(number)) => format!(" ={number}"),
                Answer::Sum(sum) => format!(" +{sum}"),
            });
            format!("r {moment}{}\n", words.collect::<String>())
        }
    }
}

fn parse_line(line: &str) -> Event {
    let mut words = line.split(' ');
    let (kind, moment) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
    if kind == "b" {
        return Event::Begun(moment);
    }
    let answer = |word: &str| match word.split_at(1) {
        (".", _) => Answer::Done,
        ("t", _) => Answer::Whether(true),
        ("f", _) => Answer::Whether(false),
        ("-", _) => Answer::Found(None),
        ("=", number) => Answer::Found(Some(number.parse().unwrap())),
        ("+", sum) => Answer::Sum(sum.parse().unwrap()),
        other => panic!("no answer is written {other:?}"),
    };
    Event::Returned(moment, words.map(answer).collect())
}

/// The events that a thread of a killed child has recorded; of a line that was cut off nothing is known.
fn read_events(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(parse_line).collect()
}

/// What the child does: everything that the threads of a history do, until it is killed.
#[test]
fn child() {
    let Some((role, store)) = bitcask_testing::role() else { return };
    let role = Role::parse(&role);
    let db = bitcask::open(&store, options(role.way)).unwrap();
    let clock = Clock::new(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                db.merge().unwrap();
            }
        });
        for thread in 0..THREADS {
            let (db, clock, role) = (&db, &clock, &role);
            let mut file = File::create(role.events(store.parent().unwrap(), thread)).unwrap();
            let mut worker = Worker::new(db, clock, role.script(thread));
            scope.spawn(move || {
                for number in 0_u64.. {
                    worker.step(|event| file.write_all(line_of(&event).as_bytes()).unwrap()).unwrap();
                    if thread == 0 {
                        say(number);
                    }
                }
            });
        }
    });
}

/// Runs a child until it has said so many lines, kills it, and adds what it has recorded. `before` is a moment after
/// everything so far; returns one after all of this.
fn live_and_die(dir: &Path, role: &Role, lines: usize, before: u64, history: &mut History) -> u64 {
    let mut child = OtherProcess::start("kills::child", &role.name(), &dir.join("store"), "exec");
    for _ in 0..lines {
        child.line().expect("it works until it is killed");
    }
    child.kill();
    let recorded: Vec<Vec<Event>> = (0..THREADS)
        .map(|thread| {
            read_events(&role.events(dir, thread)).into_iter().map(|event| later(event, before)).collect()
        })
        .collect();
    let last = recorded.iter().flatten().map(moment_of).max().unwrap_or(before);
    for (thread, events) in recorded.iter().enumerate() {
        history.add(thread, role.script(thread), events, last + 1);
    }
    last + 2
}

fn moment_of(event: &Event) -> u64 {
    match event {
        Event::Begun(moment) | Event::Returned(moment, _) => *moment,
    }
}

/// The same, so much later.
fn later(event: Event, by: u64) -> Event {
    match event {
        Event::Begun(moment) => Event::Begun(moment + by),
        Event::Returned(moment, answers) => Event::Returned(moment + by, answers),
    }
}

#[test]
fn what_is_recorded_is_read_back() {
    let answers = vec![
        Answer::Done,
        Answer::Whether(true),
        Answer::Whether(false),
        Answer::Found(None),
        Answer::Found(Some(-5)),
        Answer::Sum(7),
    ];
    for event in [Event::Begun(3), Event::Returned(4, answers)] {
        assert_eq!(parse_line(line_of(&event).trim_end()), event);
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("events"), "b 1\nr 2 .\nb 3\nr 12").unwrap();
    assert_eq!(read_events(&dir.path().join("events")).len(), 3);
}

#[test]
fn histories_with_kills_are_linearizable() {
    let sweep = Sweep::new("histories_with_kills_are_linearizable");
    let count = Tier::pick(12, 1_000, 10_000);
    let (mut actions, mut kills) = (0, 0);
    for case in 0..count {
        sweep.case(case, |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let dir = tempfile::tempdir().unwrap();
            let store = dir.path().join("store");
            let mut history = History::default();
            let (mut now, mut life) = (1, 0);
            while history.actions < ACTIONS || life < KILLS {
                let role = Role { way: case, seed, life };
                now = live_and_die(dir.path(), &role, random.usize(0..120), now, &mut history);
                life += 1;
                // Sometimes the next child is the first to see what the kill has left.
                if random.bool() || history.actions >= ACTIONS {
                    let clock = Clock::new(now);
                    history.read_all(&bitcask::open(&store, options(case)).unwrap(), &clock);
                    now = clock.now();
                }
            }
            history.check();
            assert_eq!(bitcask::verify(&store).unwrap().damage, []);
            actions += history.actions;
            kills += life;
        });
    }
    println!("{actions} actions, {kills} kills");
    sweep.finish(count);
}
