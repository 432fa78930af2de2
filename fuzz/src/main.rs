//! One program for all fuzz targets: libFuzzer calls the one that the environment variable `FUZZ_TARGET` names.
//!
//! One, because the build of one takes longer than a minute of fuzzing is worth. `fuzz/run` builds and starts it.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Target = fn(&[u8]);

static TARGET: OnceLock<Target> = OnceLock::new();

/// The target that was asked for.
fn target() -> Target {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let targets = || bitcask::fuzzing::TARGETS.iter().chain(bitcask_cli::fuzzing::TARGETS);
    let found = targets().find(|(name, _)| *name == wanted);
    let names: Vec<&str> = targets().map(|(name, _)| *name).collect();
    found.unwrap_or_else(|| panic!("FUZZ_TARGET names one of: {}", names.join(" "))).1
}

fuzz_target!(|bytes: &[u8]| {
    TARGET.get_or_init(target)(bytes);
});
