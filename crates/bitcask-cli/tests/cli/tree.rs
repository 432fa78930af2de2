//! `import` and `export` of directory trees.

use std::path::Path;

use crate::run::{Place, args, bitcask};

fn file_count(dir: &Path) -> usize {
    walkdir::WalkDir::new(dir)
        .into_iter()
        .filter(|found| found.as_ref().unwrap().file_type().is_file())
        .count()
}

#[test]
fn a_tree_goes_in_and_out_byte_for_byte() {
    let place = Place::new();
    place.write("tree/a", "1");
    place.write("tree/dir/b", b"\xff\x00");
    place.write("tree/dir/sub/empty", "");
    place.write("tree/with space/ü\n", "2");
    place.write("tree/.hidden", "3");
    std::fs::create_dir(place.path("tree/empty directory")).unwrap();
    let store = place.store();
    let run = bitcask(args!["import", &store, "--tree", place.path("tree")]).done();
    assert!(
        run.text().starts_with("imported 5 entries") && !run.text().contains("skipped"),
        "{}",
        run.text()
    );
    bitcask(args!["get", &store, "dir/b"]).done().prints(b"\xff\x00");
    bitcask(args!["get", &store, "dir/sub/empty"]).done().prints("");

    let out = place.path("new/out");
    bitcask(args!["export", &store, "--tree", &out]).done();
    for name in ["a", "dir/b", "dir/sub/empty", "with space/ü\n", ".hidden"] {
        let original = std::fs::read(place.path("tree").join(name)).unwrap();
        assert_eq!(std::fs::read(out.join(name)).unwrap(), original, "{name:?}");
    }
    assert_eq!(file_count(&out), 5);
}

#[cfg(target_os = "linux")]
#[test]
fn file_names_are_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let name = OsStr::from_bytes(b"\xff\xfe");
    let tree = place.path("tree");
    std::fs::create_dir_all(tree.join(name)).unwrap();
    std::fs::write(tree.join(name).join(name), "1").unwrap();
    bitcask(args!["import", place.store(), "--tree", &tree]).done();
    bitcask(args!["keys", place.store()]).done().prints(b"\xff\xfe/\xff\xfe\n");
    bitcask(args!["export", place.store(), "--tree", place.path("out")]).done();
    assert_eq!(std::fs::read(place.path("out").join(name).join(name)).unwrap(), b"1");
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_skipped_and_counted() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let outside = place.write("outside/secret", "secret");
    place.write("tree/a", "1");
    symlink(&outside, place.path("tree/link")).unwrap();
    symlink(place.path("outside"), place.path("tree/link to directory")).unwrap();
    symlink("nowhere", place.path("tree/dangling")).unwrap();
    symlink("..", place.path("tree/loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("tree/socket")).unwrap();
    let run = bitcask(args!["import", place.store(), "--tree", place.path("tree")]).done();
    assert!(run.text().contains("skipped 5 names that are no regular files"), "{}", run.text());
    bitcask(args!["keys", place.store()]).done().prints("a\n");
}

#[test]
fn a_store_inside_the_tree_is_left_out() {
    let place = Place::new();
    let tree = place.path("tree");
    place.write("tree/a", "1");
    let store = tree.join("store");
    for run in 0..2 {
        let report = bitcask(args!["import", &store, "--tree", &tree, "--json"]).done().json();
        assert_eq!(report["imported"], 1, "run {run}");
    }
    bitcask(args!["keys", &store]).done().prints("a\n");
    bitcask(args!["import", &store, "--tree", &store]).exits(2).says("is the store itself");
}

#[test]
fn a_file_over_the_limit_is_named_with_the_remedy() {
    let place = Place::new();
    place.write("tree/long", "12345");
    let words = args!["import", place.store(), "--tree", place.path("tree"), "--max-value-size", "4"];
    bitcask(&words).exits(4).says("long: the file has 5 bytes, a value at most 4: give --max-value-size");
}

#[test]
fn only_directories_are_trees() {
    let place = Place::new();
    let file = place.write("file", "1");
    bitcask(args!["import", place.store(), "--tree", &file]).exits(4).says("cannot read");
    bitcask(args!["import", place.store(), "--tree", place.path("missing")]).exits(4).says("cannot read");
    assert!(!place.store().exists());
    bitcask(args!["put", place.store(), "a", "1"]).done();
    bitcask(args!["export", place.store(), "--tree", &file]).exits(4).says("cannot create");
    assert_eq!(std::fs::read(&file).unwrap(), b"1");
}

#[test]
fn hostile_keys_are_refused_by_name_and_the_others_are_written() {
    let place = Place::new();
    let absolute = place.path("absolute").to_str().unwrap().to_owned();
    let store = place.store_with(&[
        (b"good", b"1"),
        (b"good dir/good", b"2"),
        (absolute.as_bytes(), b"x"),
        (b"../up", b"x"),
        (b"dir/../../up", b"x"),
        (b"..", b"x"),
        (b"./dot", b"x"),
        (b"a//b", b"x"),
        (b"end/", b"x"),
        (b"nul\0", b"x"),
        (b"clash", b"x"),
        (b"clash/b", b"x"),
    ]);
    let out = place.path("deep/out");
    let run = bitcask(args!["export", &store, "--tree", &out])
        .exits(4)
        .says("the key \"../up\" is refused: a part of the path is \".\" or \"..\"")
        .says("is refused: it is an absolute path")
        .says("the key \"a//b\" is refused: a part of the path is empty")
        .says("the key \"nul\\0\" is refused: it contains NUL")
        .says("the key \"clash")
        .says("9 of 12 keys were refused");
    assert!(run.text().starts_with("exported 3 entries"), "{}", run.text());
    assert_eq!(std::fs::read(out.join("good")).unwrap(), b"1");
    assert_eq!(std::fs::read(out.join("good dir/good")).unwrap(), b"2");
    assert_eq!(file_count(&out), 3);
    // The good ones and the one that clashes; nothing beside the target.
    assert_eq!(file_count(&place.path("deep")), 3);
    assert!(!place.path("absolute").exists());
}

#[cfg(unix)]
#[test]
fn no_key_leads_through_a_link_that_lies_in_the_target() {
    let place = Place::new();
    let store = place.store_with(&[(b"link/a", b"x"), (b"link", b"x"), (b"b", b"1")]);
    let (out, outside) = (place.path("out"), place.path("outside"));
    std::fs::create_dir(&out).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, out.join("link")).unwrap();
    bitcask(args!["export", &store, "--tree", &out])
        .exits(4)
        .says("the key \"link/a\" is refused: \"link\" is a symbolic link there")
        .says("2 of 3 keys were refused");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(std::fs::read(out.join("b")).unwrap(), b"1");
}

#[test]
fn what_exists_in_the_target_is_not_changed() {
    let place = Place::new();
    let store = place.store_with(&[(b"a", b"new"), (b"b", b"1")]);
    let old = place.write("out/a", "old");
    bitcask(args!["export", &store, "--tree", place.path("out")])
        .exits(4)
        .says("\"a\" is a file there already");
    assert_eq!(std::fs::read(old).unwrap(), b"old");
    assert_eq!(std::fs::read(place.path("out/b")).unwrap(), b"1");
}
