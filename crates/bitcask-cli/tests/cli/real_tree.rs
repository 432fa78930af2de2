//! A real tree of thousands of files goes in and out: the sources of the packages that this workspace depends on, where
//! cargo keeps them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{Place, args, bitcask, command};

/// Puts the sources of packages below the directory, as links where that can be, until there are so many files. Tells how
/// many files and bytes they are.
fn take_sources(to: &Path, enough: usize) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    for package in packages() {
        if files >= enough {
            break;
        }
        let name = package.file_name().unwrap().to_owned();
        for found in walkdir::WalkDir::new(&package) {
            let found = found.unwrap();
            let target = to.join(&name).join(found.path().strip_prefix(&package).unwrap());
            if found.file_type().is_dir() {
                std::fs::create_dir_all(target).unwrap();
            } else if found.file_type().is_file() {
                let linked = std::fs::hard_link(found.path(), &target);
                linked.or_else(|_| std::fs::copy(found.path(), &target).map(drop)).unwrap();
                bytes += found.metadata().unwrap().len();
                files += 1;
            }
        }
    }
    (files, bytes)
}

/// The directories of all packages from a registry.
fn packages() -> Vec<PathBuf> {
    // Where some package was never needed on this machine, cargo must be allowed to fetch it.
    let metadata = metadata(&["--offline"]).or_else(|| metadata(&[])).expect("cargo metadata");
    let packages = metadata["packages"].as_array().unwrap().iter();
    let from_registry = packages
        .filter(|package| package["source"].as_str().is_some_and(|source| source.starts_with("registry+")));
    from_registry
        .map(|package| Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned())
        .collect()
}

fn metadata(options: &[&str]) -> Option<serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(options)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

#[track_caller]
fn assert_same_tree(a: &Path, b: &Path) {
    let files = |root: &Path| {
        let found = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
        let mut files: Vec<_> = found
            .filter(|found| found.file_type().is_file())
            .map(|found| found.path().strip_prefix(root).unwrap().to_owned())
            .collect();
        files.sort_unstable();
        files
    };
    let names = files(a);
    assert!(names == files(b), "{} and {} have different files", a.display(), b.display());
    for name in names {
        let same = std::fs::read(a.join(&name)).unwrap() == std::fs::read(b.join(&name)).unwrap();
        assert!(same, "{} differs", name.display());
    }
}

#[test]
fn real_tree() {
    let place = Place::new();
    let tree = place.path("tree");
    let (files, bytes) = take_sources(&tree, usize::MAX);
    assert!(files >= 5_000, "{files} files are not enough for this test");

    let report = bitcask(args!["import", place.store(), "--tree", &tree, "--json"]).done().json();
    assert_eq!(report["imported"], files);
    assert!(report["bytes"].as_u64().unwrap() >= bytes);
    bitcask(args!["verify", place.store()]).done();
    let report = bitcask(args!["export", place.store(), "--tree", place.path("out"), "--json"]).done().json();
    assert_eq!(report["exported"], files);
    assert_same_tree(&tree, &place.path("out"));
}

#[cfg(unix)]
#[test]
fn an_import_that_was_killed_is_run_again() {
    use std::os::unix::process::ExitStatusExt;
    const FILE_LEN: u64 = 1 << 20;
    let place = Place::new();
    let tree = place.path("tree");
    let (_, bytes) = take_sources(&tree, 2_000);

    // A sync for each file makes the import long enough to be in the middle of it.
    let slowly =
        args!["import", place.store(), "--tree", &tree, "--durability", "always", "--max-file-size", "1MiB"];
    let mut child = command(slowly).spawn().unwrap();
    // The active file and its successor may be longer than what is in them.
    while data_len(&place.store()) < bytes / 8 + 2 * FILE_LEN {
        assert!(child.try_wait().unwrap().is_none(), "the import ended before it could be killed");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));

    bitcask(args!["verify", place.store()]).done();
    bitcask(args!["import", place.store(), "--tree", &tree]).done();
    bitcask(args!["export", place.store(), "--tree", place.path("out")]).done();
    assert_same_tree(&tree, &place.path("out"));
}

/// The length of all data files; zero while there is no store yet.
#[cfg(unix)]
fn data_len(store: &Path) -> u64 {
    let Ok(names) = std::fs::read_dir(store) else { return 0 };
    // A name may be gone before it is looked at.
    let lens = names.flatten().filter_map(|found| {
        let is_data = found.path().extension().is_some_and(|extension| extension == "data");
        is_data.then(|| found.metadata().ok()).flatten()
    });
    lens.map(|metadata| metadata.len()).sum()
}
