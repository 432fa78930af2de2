//! One sweep: a test that goes through many cases, counts them, and says how to repeat the one that fails.

use std::env;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::tier::Tier;

/// One sweep over many cases. `BITCASK_SEED` gives it other chances; `BITCASK_CASE` leaves only one case of it.
///
/// Cases have names, numbers joined by hyphens as a rule; each has chance of its own, so it is repeated without the others.
///
/// ```no_run
/// let sweep = bitcask_testing::Sweep::new("a_sum_of_even_numbers_is_even");
/// for number in 0..1_000 {
///     sweep.case(number, |seed| assert!((seed / 2 * 2 + 2 * number) % 2 == 0));
/// }
/// sweep.finish(1_000);
/// ```
#[derive(Debug)]
pub struct Sweep {
    test: &'static str,
    seed: u64,
    only: Option<String>,
    count: AtomicU64,
    start: Instant,
}

impl Sweep {
    /// The sweep of the test with this name; it prints its seed.
    ///
    /// # Panics
    ///
    /// When `BITCASK_SEED` is no number.
    #[must_use]
    pub fn new(test: &'static str) -> Self {
        let seed = env::var("BITCASK_SEED").map_or(1, |text| {
            text.parse().unwrap_or_else(|_| panic!("BITCASK_SEED is a number, not {text}"))
        });
        println!("{test}: seed {seed}, tier {}", Tier::get().name());
        Self {
            test,
            seed,
            only: env::var("BITCASK_CASE").ok(),
            count: AtomicU64::new(0),
            start: Instant::now(),
        }
    }

    /// Chance for a part of this sweep that several cases share.
    #[must_use]
    pub fn seed_of(&self, part: u64) -> u64 {
        mix(self.seed, &part.to_le_bytes())
    }

    /// Whether it goes through all of its cases, not through a single one again: only then do counts of what came of them
    /// say anything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.only.is_none()
    }

    /// Whether any case whose name begins with this number is wanted.
    #[must_use]
    pub fn wants(&self, first: u64) -> bool {
        let begins = |only: &str| only.split('-').next().is_some_and(|text| text == first.to_string());
        self.only.as_deref().is_none_or(begins)
    }

    /// Checks one case, with chance of its own. If that panics, a line tells how to repeat it.
    pub fn case<T>(&self, case: impl Display, check: impl FnOnce(u64) -> T) -> Option<T> {
        let name = case.to_string();
        if self.only.as_ref().is_some_and(|only| *only != name) {
            return None;
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let seed = mix(self.seed, name.as_bytes());
        let _repeat = RepeatLine { sweep: self, name, number };
        Some(check(seed))
    }

    /// Counts cases that one went through beyond its first.
    pub fn count_more(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    /// Reports the count, and that the sweep was as large as promised.
    ///
    /// # Panics
    ///
    /// When there were fewer cases than that.
    pub fn finish(self, at_least: u64) {
        let count = self.count.into_inner();
        println!("{}: {count} cases in {:.1} s", self.test, self.start.elapsed().as_secs_f64());
        assert!(self.only.is_some() || count >= at_least, "{}: only {count} cases", self.test);
    }
}

/// Prints how to repeat a case while a panic unwinds through it.
struct RepeatLine<'a> {
    sweep: &'a Sweep,
    name: String,
    number: u64,
}

impl Drop for RepeatLine<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let Self { sweep: Sweep { test, seed, .. }, name, number } = self;
        let package = env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "bitcask".to_owned());
        let tier = match Tier::get() {
            Tier::Commit => String::new(),
            tier => format!("BITCASK_TIER={} ", tier.name()),
        };
        println!("{test}: case {number} fails");
        println!(
            "to repeat: {tier}BITCASK_SEED={seed} BITCASK_CASE={name} cargo test -p {package} {test} -- --nocapture"
        );
    }
}

/// A number that depends on every bit of the seed and of the bytes: FNV-1a, and the end of splitmix64.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let all = seed.to_le_bytes().into_iter().chain(bytes.iter().copied());
    let folded = all.fold(0xcbf2_9ce4_8422_2325_u64, |folded, byte| {
        (folded ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn every_case_has_chance_of_its_own_and_the_same_in_each_run() {
        let seeds = |sweep: &Sweep| (0..100).map(|n| sweep.case(n, |seed| seed)).collect::<BTreeSet<_>>();
        let (first, second) = (Sweep::new("first"), Sweep::new("second"));
        assert_eq!(seeds(&first).len(), 100);
        assert_eq!(seeds(&first), seeds(&second));
    }

    #[test]
    fn a_sweep_that_is_smaller_than_promised_fails() {
        let sweep = || {
            let sweep = Sweep::new("small");
            sweep.case("only", |_| ());
            sweep.count_more(2);
            sweep
        };
        sweep().finish(3);
        assert!(catch_unwind(AssertUnwindSafe(|| sweep().finish(4))).is_err());
    }
}
