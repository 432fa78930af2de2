//! Planted mistakes: each is one line in the engine, and each must be found by a test.
//!
//! A child process, which is this test binary again, runs one test after the other of those that should find a mistake,
//! with the mistake planted, until one fails. Without a mistake the same tests must pass in the same build.
//!
//! ```text
//! RUSTFLAGS="--cfg planted" cargo test -p bitcask --lib planted -- --nocapture
//! ```

mod table;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use self::table::{MISTAKES, Mistake};

/// The environment variable that names the mistake of this process.
const PLANTED: &str = "BITCASK_PLANTED";
/// The one that names the only mistake to plant, as that of a sweep's only case.
const CASE: &str = "BITCASK_CASE";

/// The longer sweeps are for what the shorter ones do not find.
const TIERS: [&str; 2] = ["commit", "nightly"];

/// Whether this mistake is planted in this process.
pub(crate) fn is(name: &str) -> bool {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    NAME.get_or_init(|| std::env::var(PLANTED).ok()).as_deref() == Some(name)
}

/// What a test made of a mistake.
enum Found {
    /// It failed, in the case of this number where it counts cases.
    ByCase(Option<u64>),
    Not,
}

/// Runs one test in a process of its own, with a mistake planted or none.
fn run(test: &str, tier: &str, mistake: Option<&str>) -> Found {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads=1"]).env_remove(CASE).env("BITCASK_TIER", tier);
    match mistake {
        Some(name) => command.env(PLANTED, name),
        None => command.env_remove(PLANTED),
    };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "there is no test {test}");
    if output.status.success() {
        return Found::Not;
    }
    let name = test.rsplit("::").next().unwrap();
    let case = said.split(&format!("{name}: case ")).nth(1).and_then(|rest| rest.split(' ').next());
    Found::ByCase(case.and_then(|number| number.parse().ok()))
}

/// A line of the report; what is wrong otherwise.
fn hunt(mistake: &Mistake) -> Result<String, String> {
    let begin = Instant::now();
    for (test, tier) in TIERS.iter().flat_map(|tier| mistake.tests.iter().map(move |test| (test, tier))) {
        if let Found::ByCase(case) = run(test, tier, Some(mistake.name)) {
            let (name, took) = (test.rsplit("::").next().unwrap_or(test), seconds(begin.elapsed()));
            let case = case.map_or(String::new(), |case| format!(", case {case}"));
            let tier = if *tier == TIERS[0] { String::new() } else { format!(" ({tier})") };
            return Ok(format!("{}: `{name}`{tier}{case}, {took}", mistake.name));
        }
    }
    Err(format!("NOT FOUND in {}: {}, by {:?}", seconds(begin.elapsed()), mistake.name, mistake.tests))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Works through all of `items` in as many threads as there are processors; the results come in any order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (waiting, done) = (Mutex::new(items.iter()), Mutex::new(Vec::new()));
    let work_on = || loop {
        let Some(item) = waiting.lock().unwrap().next() else { return };
        let result = work(item);
        done.lock().unwrap().push(result);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(&work_on);
        }
    });
    done.into_inner().unwrap()
}

/// The mistakes to plant: all, or the one that the environment names.
fn chosen() -> Vec<&'static Mistake> {
    let only = std::env::var(CASE).ok();
    MISTAKES.iter().filter(|mistake| only.as_deref().is_none_or(|only| only == mistake.name)).collect()
}

#[test]
fn every_planted_mistake_is_found() {
    let mistakes = chosen();
    let lines = in_parallel(&mistakes, |mistake| hunt(mistake).inspect(|line| println!("{line}")));
    let missed: Vec<String> = lines.into_iter().filter_map(Result::err).collect();
    println!("{} mistakes planted, {} found", mistakes.len(), mistakes.len() - missed.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert!(std::env::var_os(CASE).is_some() || mistakes.len() >= 40, "too few: {}", mistakes.len());
}

#[test]
fn without_a_mistake_the_tests_that_find_planted_ones_pass() {
    let tests: BTreeSet<&str> = chosen().iter().flat_map(|mistake| mistake.tests).copied().collect();
    let tests: Vec<&str> = tests.into_iter().collect();
    let failed =
        in_parallel(&tests, |test| matches!(run(test, TIERS[0], None), Found::ByCase(_)).then_some(*test));
    let failed: Vec<&str> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:?}");
}
