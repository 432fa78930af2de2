//! Starts the worker, fills the disk under it, kills it, and checks what is there: again and again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bitcask::{Bitcask, Options};
use bitcask_testing::{OtherProcess, say};

use crate::disk::Ballast;
use crate::model::{Chance, Model, Operation, Write, read_all};
use crate::plan::{Plan, THREADS};
use crate::sample::Sample;
use crate::verdict::{Life, judge};

/// How much of the disk is used, by the store and by what lies beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    /// The store has it for itself.
    Roomy,
    Percent90,
    Full,
}

/// A part of a life. It ends when all three are reached.
#[derive(Clone, Copy, Debug)]
struct Stage {
    disk: Disk,
    /// The share of the life, in percent.
    share: u32,
    refused: u64,
    written: u64,
}

impl Stage {
    fn of(disk: Disk, share: u32) -> Self {
        Self { disk, share, refused: 0, written: 0 }
    }
}

/// How many writes a full disk refuses before anything else happens, and how many succeed when there is room again.
const REFUSED: u64 = 50;
const WRITTEN: u64 = 500;

/// What happens to the disk in the life of this number. In every fourth it is full for a while, and the writes go on by
/// themselves afterwards; in every fourth it is full when the kill comes.
fn stages(life: u64) -> Vec<Stage> {
    let full = Stage { disk: Disk::Full, share: 0, refused: REFUSED, written: 0 };
    let again = Stage { disk: Disk::Roomy, share: 25, refused: 0, written: WRITTEN };
    let (roomy, filled) = (Stage::of(Disk::Roomy, 25), Stage::of(Disk::Percent90, 25));
    match life % 4 {
        1 => vec![filled, full, again, filled, roomy],
        3 => vec![roomy, filled, roomy, filled, full],
        _ => vec![roomy, filled, roomy, filled],
    }
}

pub(crate) fn drive(place: &Path, arguments: &str) {
    let (seed, kind) = arguments.split_once(' ').unwrap();
    let plan = Plan::new();
    say(format_args!(
        "a disk of {} MiB ({kind}), {} keys, {} threads",
        plan.disk_bytes >> 20,
        plan.keys,
        THREADS
    ));
    let mut driver = Driver {
        seed: seed.parse().unwrap(),
        ballast: (kind != "directory").then(|| Ballast::new(place)),
        place: place.to_owned(),
        model: Model::new(plan.keys),
        next: (0..THREADS).map(|_| 0).collect(),
        lives: Vec::new(),
        own: Vec::new(),
        plan,
    };
    driver.warm_up();
    let mut chance = Chance::of(&[driver.seed]);
    let begin = Instant::now();
    while begin.elapsed() < driver.plan.killed {
        let range = driver.plan.life_ms.clone();
        let ms = range.start + chance.below(range.end - range.start);
        driver.killed_life(Duration::from_millis(ms));
    }
    let last = driver.last_life();
    judge(&driver.lives, &last, &driver.own);
    say(format_args!("lives that were killed: {}", driver.lives.len()));
}

struct Driver {
    plan: Plan,
    seed: u64,
    place: PathBuf,
    ballast: Option<Ballast>,
    model: Model,
    /// The next operation of each thread.
    next: Vec<u64>,
    lives: Vec<Life>,
    /// How this process is after each check: it opens the store again and again.
    own: Vec<Sample>,
}

impl Driver {
    fn store(&self) -> PathBuf {
        self.place.join("store")
    }

    fn start(&self, seconds: u64) -> OtherProcess {
        let next = self.next.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let role = format!("work {} {seconds} {next}", self.seed);
        OtherProcess::start("child", &role, &self.place, "exec")
    }

    /// A life in which every key is put, which no figures are taken from.
    fn warm_up(&mut self) {
        let mut child = self.start(0);
        let mut life = Life::default();
        while life.written < self.plan.keys * 2 {
            let line = child.line().expect("it works until it is killed");
            self.take(&line, &mut life);
        }
        self.kill(child, &mut life);
        self.own.clear();
    }

    /// A life of about this length, killed at its end.
    fn killed_life(&mut self, len: Duration) {
        let number = self.lives.len() as u64 + 1;
        let mut life = Life::default();
        let mut child = self.start(0);
        let mut begin = Instant::now();
        for stage in stages(number) {
            if self.ballast.is_none() && stage.disk == Disk::Full {
                continue;
            }
            self.go_through(stage, len, &mut begin, &mut child, &mut life);
        }
        self.kill(child, &mut life);
        say(format_args!("life {number}: {life}"));
        self.lives.push(life);
    }

    fn go_through(
        &mut self,
        stage: Stage,
        len: Duration,
        begin: &mut Instant,
        child: &mut OtherProcess,
        life: &mut Life,
    ) {
        /// More operations than it takes anywhere: what must happen does not.
        const MANY: u64 = 50_000_000;
        let (written, refused) = (life.written, life.refused);
        let over = |life: &Life, begin: &Instant| {
            begin.elapsed() >= len * stage.share / 100
                && life.written >= written + stage.written
                && life.refused >= refused + stage.refused
        };
        for line_count in 0_u64.. {
            // What the store gives back and takes the ballast follows.
            if let Some(ballast) = &self.ballast
                && line_count % 100 == 0
            {
                match stage.disk {
                    Disk::Roomy => ballast.remove(),
                    Disk::Percent90 => ballast.fill_to(90),
                    Disk::Full => ballast.fill_to(100),
                }
            }
            if over(life, begin) {
                break;
            }
            assert!(line_count < MANY, "{stage:?} has no end: {life}");
            let line = child.line().expect("it works until it is killed");
            self.take(&line, life);
        }
        *begin = Instant::now();
    }

    /// The last life, which ends by a close.
    fn last_life(&mut self) -> Life {
        let mut life = Life::default();
        let mut child = self.start(self.plan.last_life.as_secs());
        let stages = [Disk::Roomy, Disk::Percent90].map(|disk| Stage::of(disk, 50));
        let mut begin = Instant::now();
        for stage in stages {
            // A little less than it works: its end is waited for below.
            self.go_through(stage, self.plan.last_life / 10 * 9, &mut begin, &mut child, &mut life);
        }
        loop {
            match child.line().expect("it says when it has closed the store").as_str() {
                "closed" => break,
                line => self.take(line, &mut life),
            }
        }
        assert!(bitcask::open(self.store(), Options::read_only()).unwrap().status().recovery.clean);
        self.kill(child, &mut life);
        say(format_args!("the last life: {life}"));
        life
    }

    /// Goes by what the worker says.
    fn take(&mut self, line: &str, life: &mut Life) {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbers = || rest.split(' ').map(|number| number.parse::<u64>().unwrap()).collect::<Vec<_>>();
        match (what, &numbers) {
            ("done", numbers) => {
                let [thread, n, now] = numbers()[..] else { panic!("{line}") };
                let writes = self.next_write(thread, n);
                self.model.apply(&writes, n, now);
                life.written += 1;
            }
            ("full", numbers) => {
                let [thread, n] = numbers()[..] else { panic!("{line}") };
                self.next_write(thread, n);
                life.refused += 1;
            }
            ("sample", _) => life.samples.push(Sample::parse(rest)),
            ("backup", _) => life.backups += 1,
            _ => panic!("the worker says {line}"),
        }
    }

    /// The next write of a thread, which must be number `n`; the one after it is next.
    fn next_write(&mut self, thread: u64, n: u64) -> Vec<(u64, Write)> {
        let (found, writes) = self.peek(thread);
        assert_eq!(found, n, "thread {thread} has left something out");
        self.next[usize::try_from(thread).unwrap()] = n + 1;
        writes
    }

    fn peek(&self, thread: u64) -> (u64, Vec<(u64, Write)>) {
        let next = self.next[usize::try_from(thread).unwrap()];
        let write = |n| match Operation::nth(self.seed, thread, n, self.plan.keys) {
            Operation::Write(writes) => Some((n, writes)),
            _ => None,
        };
        (next..).find_map(write).unwrap()
    }

    /// Ends a life; then the store is whole, and has what it must.
    fn kill(&mut self, child: OtherProcess, life: &mut Life) {
        for line in child.kill() {
            if line != "closed" {
                self.take(&line, life);
            }
        }
        // Also where the disk is full.
        assert_eq!(bitcask::verify(self.store()).unwrap().damage, []);
        let reader = bitcask::open(self.store(), Options::read_only()).unwrap();
        let found = read_all(&reader, self.plan.keys);
        let (look, got) = &found[0];
        for thread in 0..THREADS {
            let (n, writes) = self.peek(thread);
            self.model.settle(&writes, n, *look, got);
            self.next[usize::try_from(thread).unwrap()] = n + 1;
        }
        for (look, found) in &found {
            self.model.check(*look, found);
        }
        drop(reader);
        if let Some(ballast) = &self.ballast {
            ballast.remove();
        }
        // Every second time it is left to the worker to make good for the kill.
        if self.lives.len().is_multiple_of(2) {
            let writer = bitcask::open(self.store(), self.plan.options()).unwrap();
            self.check_writer(&writer);
            writer.close().unwrap();
        }
        drop(found);
        self.own.push(Sample::of_process());
    }

    fn check_writer(&self, writer: &Bitcask) {
        let status = writer.status();
        assert_eq!((status.recovery.damaged, status.poisoned), (Vec::new(), None));
        for (look, found) in read_all(writer, self.plan.keys) {
            self.model.check(look, &found);
        }
    }
}
