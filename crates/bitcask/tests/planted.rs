//! Each mistake that can be planted in the engine is in the table of those that are hunted, and each test that is to find it
//! exists. The hunt itself takes a build of its own: `RUSTFLAGS="--cfg planted" cargo test -p bitcask --lib planted`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;

/// All Rust sources below `dir`, with their paths.
fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The texts in quotes that stand first behind each `call`.
fn names<'t>(text: &'t str, call: &str) -> Vec<&'t str> {
    let behind = text.split(call).skip(1).map(str::trim_start);
    behind.filter_map(|rest| rest.strip_prefix('"')?.split('"').next()).collect()
}

#[test]
fn every_mistake_that_can_be_planted_is_hunted_by_tests_that_exist() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let (_, table) = files.iter().find(|(path, _)| path.ends_with("tests/planted/table.rs")).unwrap();
    let hunted = names(table, "mistake(");
    let engine = files.iter().filter(|(path, _)| !path.ends_with("planted.rs"));
    let planted: Vec<&str> = engine.flat_map(|(_, text)| names(text, "planted!(")).collect();
    assert!(planted.len() >= 40, "{}", planted.len());
    assert_eq!(BTreeSet::from_iter(&planted).len(), planted.len(), "each is in one place");
    assert_eq!(BTreeSet::from_iter(planted), BTreeSet::from_iter(hunted));
    let tests: BTreeSet<&str> = table.split('"').filter(|text| text.contains("::")).collect();
    assert!(tests.len() > 20, "{}", tests.len());
    for test in tests {
        let name = format!("fn {}(", test.rsplit("::").next().unwrap());
        assert!(files.iter().any(|(_, text)| text.contains(&name)), "no test {test}");
    }
}
