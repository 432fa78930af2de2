//! The arrows between the engine's modules point down: each uses only what stands below it.
//!
//! `ARCHITECTURE.md` draws the same layers; this test keeps them true.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top. A module may use the modules of the rows before its own, and itself.
const LAYERS: &[&[&str]] = &[
    &["sync"],
    &["error", "location", "clock", "signal", "progress", "conditions"],
    &["vfs", "format", "keydir", "timestamps", "expiry", "merge_options"],
    &["status"],
    &["events"],
    &["options", "file", "merge_control"],
    &["file_table", "space", "versions"],
    &["writer"],
    &["syncer", "recovery", "catalog"],
    &["store"],
    &["maintenance", "read", "closing", "opening", "refresh"],
    &["commit", "reaping", "view", "cursor"],
    &["modify", "batch", "clear"],
    &["merge"],
    &["iter", "changes", "report", "threads", "verify", "dump"],
    &["snapshot", "backup"],
    &["repair"],
    &["convert"],
    &["db"],
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All Rust files of the engine but tests: their texts without unit tests and comments.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap().to_owned();
            // The simulated disk, child processes, planted mistakes and the fuzz targets are compiled for tests only.
            if ["tests", "sim", "child", "planted", "fuzzing"].contains(&stem.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("\nmod tests {").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push((path, lines.collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

/// The top-level module that a file belongs to; `None` for `lib.rs`, which names them all.
fn module_of(file: &Path) -> Option<String> {
    let inside = file.strip_prefix(source()).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    let module = first.trim_end_matches(".rs");
    (module != "lib").then(|| module.to_owned())
}

/// The top-level modules that the code names by `crate::`.
fn used_by(code: &str) -> BTreeSet<String> {
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn every_module_uses_only_what_stands_below_it() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, code) in sources() {
        let Some(module) = module_of(&file) else { continue };
        let layer = layer_of(&module);
        for used in used_by(&code) {
            let below = matches!((layer_of(&used), layer), (Some(used), Some(layer)) if used < layer);
            if used != module && !below {
                wrong.push(format!("{}: {module} may not use {used}", file.display()));
            }
        }
        seen.insert(module);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let listed: BTreeSet<String> =
        LAYERS.iter().flat_map(|layer| layer.iter().map(ToString::to_string)).collect();
    assert_eq!(seen, listed, "the modules of the engine, and the layers of this test");
}

#[test]
fn the_engine_knows_no_network_no_terminal_and_no_other_process() {
    for (file, code) in sources() {
        for word in ["std::net", "process::Command", "println!", "std::io::stdout", "std::env"] {
            assert!(!code.contains(word), "{} uses {word}", file.display());
        }
    }
}

#[test]
fn only_the_seam_touches_the_file_system() {
    for (file, code) in sources() {
        let in_seam = module_of(&file).as_deref() == Some("vfs");
        for word in ["std::fs", "rustix::", "libc::"] {
            assert!(in_seam || !code.contains(word), "{} uses {word}", file.display());
        }
    }
}
