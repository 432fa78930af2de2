//! What `docs/reliability.md` says about tests is true of the sources: a test that is renamed takes its line along.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Rust sources below `dir`, one after the other.
fn sources(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// What stands between backticks on the page.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Names of tests are sentences: at least four words.
fn is_test(name: &str) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    letters && name.split('_').count() >= 4
}

#[test]
fn every_test_and_every_path_that_the_page_on_reliability_names_exists() {
    let page = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let mut code = String::new();
    sources(&root().join("crates"), &mut code);

    let tests: Vec<&str> = quoted(&page).filter(|name| is_test(name)).collect();
    assert!(tests.len() > 40, "the page names {} tests only", tests.len());
    // A name may leave out at its end in which way records are stored.
    let exists =
        |name: &str| code.contains(&format!("fn {name}(")) || code.contains(&format!("fn {name}_mapped("));
    let missing: Vec<&str> = tests.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");

    for path in quoted(&page).filter(|name| name.starts_with("crates/")) {
        assert!(root().join(path).exists(), "{path} is named and is not there");
    }
}
