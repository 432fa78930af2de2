//! Whether anything has drifted: the first third of what was measured against the last third.
//!
//! | what | how much more the last third may have |
//! |---|---|
//! | descriptors beside those of data files, at least | 2, for the output of a merge and its hint file; none in the driver |
//! | anonymous memory, at least | 2 %, or 1 MiB where that is more |
//! | bytes on the disk for each live byte | 4 in all; a quarter more, not in the commit tier |
//! | p99 and p99.9 of puts and gets, not in the commit tier | a half, or 200 µs where that is more |
//!
//! Judged are the lives of the worker, the samples of its last life, and, by memory and descriptors, the driver, which
//! opens the store again and again.

use std::fmt;

use bitcask_testing::{Tier, say};

use crate::sample::Sample;

/// What is known of one run of the worker.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) samples: Vec<Sample>,
    pub(crate) written: u64,
    pub(crate) refused: u64,
    pub(crate) backups: u64,
}

impl Life {
    /// The samples behind the first quarter, in which the store is read and caches fill.
    fn steady(&self) -> Vec<Figures> {
        self.samples[self.samples.len() / 4..].iter().map(Figures::of).collect()
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} writes, {} refused, {} backups; ", self.written, self.refused, self.backups)?;
        match &*self.steady() {
            [] => f.write_str("no samples"),
            steady => Figures::typical(steady).fmt(f),
        }
    }
}

/// What is judged.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Bytes of anonymous memory: at least, for iterations and backups take some for moments.
    anonymous: u64,
    /// Descriptors beside those of data files: at least, for a backup and its verification open more for moments.
    descriptors: u64,
    /// Bytes on the disk for a thousand live ones.
    disk: u64,
    /// Nanoseconds: p50, p99, p99.9, the longest.
    puts: [u64; 4],
    gets: [u64; 4],
}

impl Figures {
    fn of(sample: &Sample) -> Self {
        Self {
            anonymous: sample.anonymous,
            descriptors: sample.descriptors.saturating_sub(sample.files),
            disk: sample.disk * 1000 / sample.live.max(1),
            puts: sample.puts,
            gets: sample.gets,
        }
    }

    /// The least of what is taken at least, of the longest the longest, and the median of all others.
    fn typical(some: &[Self]) -> Self {
        let median = |figure: &dyn Fn(&Self) -> u64| {
            let mut all: Vec<u64> = some.iter().map(figure).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        let least = |figure: fn(&Self) -> u64| some.iter().map(figure).min().unwrap();
        let longest = |figure: fn(&Self) -> u64| some.iter().map(figure).max().unwrap();
        let latencies = |of: fn(&Self) -> &[u64; 4]| [0, 1, 2].map(|at| median(&|figures| of(figures)[at]));
        let [put_p50, put_p99, put_p999] = latencies(|figures| &figures.puts);
        let [get_p50, get_p99, get_p999] = latencies(|figures| &figures.gets);
        Self {
            anonymous: least(|figures| figures.anonymous),
            descriptors: least(|figures| figures.descriptors),
            disk: median(&|figures| figures.disk),
            puts: [put_p50, put_p99, put_p999, longest(|figures| figures.puts[3])],
            gets: [get_p50, get_p99, get_p999, longest(|figures| figures.gets[3])],
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |ns: [u64; 4]| ns.map(|ns| (ns / 1000).to_string()).join("/");
        write!(
            f,
            "{} KiB anonymous, {} descriptors, {}.{:02} bytes on the disk for each live one, p50/p99/p99.9/max of puts {} µs, \
             of gets {} µs",
            self.anonymous >> 10,
            self.descriptors,
            self.disk / 1000,
            self.disk % 1000 / 10,
            us(self.puts),
            us(self.gets),
        )
    }
}

/// Whose figures they are: the driver has neither a store of its own nor latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Worker,
    Driver,
}

pub(crate) fn judge(lives: &[Life], last: &Life, driver: &[Sample]) {
    let each: Vec<Figures> = lives.iter().map(|life| Figures::typical(&life.steady())).collect();
    compare("the lives that were killed", &each, Process::Worker);
    compare("the last life", &last.steady(), Process::Worker);
    compare("the driver", &driver.iter().map(Figures::of).collect::<Vec<_>>(), Process::Driver);
}

/// Says both thirds, and fails where the last one has more than it may.
fn compare(what: &str, measured: &[Figures], process: Process) {
    let third = measured.len() / 3;
    assert!(third > 0, "{what}: too few to compare");
    let first = Figures::typical(&measured[..third]);
    let last = Figures::typical(&measured[measured.len() - third..]);
    say(format_args!("{what}, the first third: {first}"));
    say(format_args!("{what}, the last third:  {last}"));
    let judge = |figure: &str, first: u64, last: u64, more: u64| {
        let percent = (last as f64 / first.max(1) as f64 - 1.0) * 100.0;
        say(format_args!("{what}: {figure} {first} -> {last} ({percent:+.1} %)"));
        assert!(last <= first + more, "{what}: {figure} drift from {first} to {last}");
    };
    judge("descriptors", first.descriptors, last.descriptors, if process == Process::Worker { 2 } else { 0 });
    judge("bytes of anonymous memory", first.anonymous, last.anonymous, (first.anonymous / 50).max(1 << 20));
    if process == Process::Driver {
        return;
    }
    assert!(last.disk <= 4_000, "{what}: {} bytes on the disk for a thousand live ones", last.disk);
    if Tier::get() == Tier::Commit {
        return;
    }
    judge("bytes on the disk for a thousand live ones", first.disk, last.disk, first.disk / 4);
    for (at, percentile) in [(1, "p99"), (2, "p99.9")] {
        for (operations, first, last) in
            [("puts", first.puts[at], last.puts[at]), ("gets", first.gets[at], last.gets[at])]
        {
            judge(&format!("{percentile} of {operations} in ns"), first, last, (first / 2).max(200_000));
        }
    }
}
