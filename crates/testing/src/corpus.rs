//! What fuzzers have found worth keeping: inputs by which they reached what no other one did, and those that once failed.

use std::path::Path;

use crate::allocator::peak_of;
use crate::sweep::Sweep;

/// A decoder under test: what it does with these bytes.
pub type Target = fn(&[u8]);

/// The inputs of a fuzz target, with the names of their files.
///
/// # Panics
///
/// When the target has no corpus.
#[must_use]
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder);
    let entries = entries.unwrap_or_else(|error| panic!("{target} has no corpus: {error}"));
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok::<_, std::io::Error>((name, std::fs::read(path)?))
    };
    let mut inputs: Vec<_> = entries
        .map(|entry| read(entry).unwrap_or_else(|error| panic!("the corpus of {target}: {error}")))
        .collect();
    inputs.sort();
    inputs
}

/// Runs every input of every target as one sweep, each below so many bytes of memory, and prints the most that a target
/// has taken. Each target has at least `at_least` inputs.
///
/// # Panics
///
/// When one does, or takes more; or when there are fewer inputs.
pub fn check_corpus(test: &'static str, targets: &[(&str, Target)], memory_max: usize, at_least: u64) {
    let sweep = Sweep::new(test);
    for (name, target) in targets {
        let inputs = corpus(name);
        assert!(inputs.len() as u64 >= at_least, "{name}: only {} inputs", inputs.len());
        let mut most = 0;
        for (file, bytes) in &inputs {
            sweep.case(format_args!("{name}/{file}"), |_| {
                let ((), peak) = peak_of(|| target(bytes));
                assert!(peak <= memory_max, "{} bytes of input took {peak} bytes of memory", bytes.len());
                most = most.max(peak);
            });
        }
        println!("{name}: {} inputs, at most {most} bytes of memory", inputs.len());
    }
    sweep.finish(at_least * targets.len() as u64);
}
