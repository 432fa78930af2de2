//! Real processes on real files: who may open, what a kill leaves, what limits of the system do.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;

use bitcask::{Bitcask, Durability, Error, Io, LogFormat, Options};
use bitcask_testing::{OtherProcess, Tier, content, say, skip, wait_for_parent};

const IOS: [Io; 2] = [Io::Mapped, Io::Syscall];

/// What a child does; without a role there is nothing to do.
#[test]
fn child() {
    let Some((role, store)) = bitcask_testing::role() else { return };
    let io = if role.ends_with("syscall") { Io::Syscall } else { Io::Mapped };
    let format = match role.rsplit('-').next() {
        Some("json") => LogFormat::Json,
        Some("csv") => LogFormat::Csv,
        _ => LogFormat::Binary,
    };
    match role.split('-').next().unwrap() {
        "hold" => hold(&store),
        "write" => write_for_ever(&store, tiny(io).format(format)),
        "fill" => fill(&store, io, if role.contains("large") { 4 << 20 } else { 64 << 10 }),
        "look" => look(&store),
        other => panic!("no role {other}"),
    }
    // Nothing of the test harness follows.
    std::process::exit(0);
}

fn hold(store: &Path) {
    match bitcask::open(store, Options::default()) {
        Ok(db) => {
            db.put("holder", "here").unwrap();
            say("open");
            wait_for_parent();
            db.close().unwrap();
        }
        Err(error) if error.is_locked() => say("locked"),
        Err(error) => say(error),
    }
}

fn tiny(io: Io) -> Options {
    Options::new().io(io).max_file_size(4096).durability(Durability::Os)
}

fn value(key: u64, n: u64) -> String {
    format!("{key} at {n} {}", "v".repeat(usize::try_from(n % 200).unwrap()))
}

/// Numbered writes over twenty keys, every fifth a delete; says each number that is acknowledged.
fn write_for_ever(store: &Path, options: Options) {
    let db = bitcask::open(store, options).unwrap();
    let start = db.get("next").unwrap().map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap());
    for n in start.. {
        let key = n * 7 % 20;
        if n % 5 == 4 {
            db.delete(key.to_string()).unwrap();
        } else {
            db.put(key.to_string(), value(key, n)).unwrap();
        }
        db.put("next", (n + 1).to_string()).unwrap();
        say(n);
    }
}

/// Writes until that fails, and says how; then reads everything.
fn fill(store: &Path, io: Io, max_file_size: u64) {
    let options = Options::new().io(io).max_file_size(max_file_size).durability(Durability::Os);
    let db = match bitcask::open(store, options) {
        Ok(db) => db,
        Err(error) => return say(format!("open: {error}")),
    };
    let mut written = 0;
    let error = loop {
        match db.put(format!("key{written}"), format!("{written} {}", "x".repeat(1000))) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000_000, "nothing ever fails here");
    };
    assert!(db.status().poisoned.is_none(), "{error}");
    for n in 0..written {
        let value = db.get(format!("key{n}")).unwrap().unwrap();
        assert!(value.starts_with(format!("{n} ").as_bytes()));
    }
    say(format!("{} {written} {error}", if error.is_full() { "full" } else { "failed" }));
}

fn look(store: &Path) {
    match bitcask::open(store, Options::default()) {
        Ok(_) => say("opened"),
        Err(error) => say(error),
    }
    let read = bitcask::open(store, Options::read_only()).and_then(|db| {
        db.refresh()?;
        db.get("key")
    });
    match read {
        Ok(value) => say(format!("read {}", String::from_utf8_lossy(&value.unwrap()))),
        Err(error) => say(error),
    }
}

fn start(role: &str, store: &Path) -> OtherProcess {
    start_by("exec", role, store)
}

fn start_by(exec: &str, role: &str, store: &Path) -> OtherProcess {
    OtherProcess::start("child", role, store, exec)
}

#[test]
fn of_many_racing_openers_exactly_one_wins_and_the_others_are_told_at_once() {
    let rounds = Tier::pick(3, 100, 1000);
    let (threads, children) = (80, 20);
    for _ in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let mut others: Vec<OtherProcess> = (0..children).map(|_| start("hold", dir.path())).collect();
        let barrier = Barrier::new(threads);
        let opened: Vec<Result<Bitcask, Error>> = std::thread::scope(|scope| {
            let open = || {
                barrier.wait();
                bitcask::open(dir.path(), Options::default())
            };
            let racers: Vec<_> = (0..threads).map(|_| scope.spawn(open)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let said: Vec<String> = others.iter_mut().map(|other| other.line().unwrap()).collect();
        let winners = opened.iter().filter(|opened| opened.is_ok()).count()
            + said.iter().filter(|said| *said == "open").count();
        assert_eq!(winners, 1, "{said:?}");
        for error in opened.iter().filter_map(|opened| opened.as_ref().err()) {
            assert!(error.is_locked(), "{error}");
        }
        assert!(said.iter().all(|said| said == "open" || said == "locked"), "{said:?}");
    }
    println!("{rounds} rounds of {threads} threads and {children} processes");
}

#[test]
fn after_the_holder_is_killed_the_next_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let mut holder = start("hold", dir.path());
        assert_eq!(holder.line().as_deref(), Some("open"));
        assert!(bitcask::open(dir.path(), Options::default()).unwrap_err().is_locked());
        assert!(bitcask::open(dir.path(), Options::read_only()).unwrap().contains("holder").unwrap());
        holder.kill();
        let db = bitcask::open(dir.path(), Options::default()).unwrap();
        assert_eq!(db.get("holder").unwrap().as_deref(), Some(&b"here"[..]));
    }
}

/// A process started while the store is open does not inherit the lock. (A bare `fork` without `exec` would: the
/// child keeps the store locked until it ends, and must not use the handle.)
#[test]
fn a_program_started_meanwhile_does_not_hold_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let db = bitcask::open(dir.path(), Options::default()).unwrap();
    let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    db.close().unwrap();
    bitcask::open(dir.path(), Options::default()).unwrap().close().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_writer_whose_lock_file_was_removed_stops_at_the_next_rotation() {
    for io in IOS {
        let dir = tempfile::tempdir().unwrap();
        let db = bitcask::open(dir.path(), tiny(io)).unwrap();
        std::fs::remove_file(dir.path().join("LOCK")).unwrap();
        let error = (0..1000).find_map(|n| db.put(format!("key{n}"), "v".repeat(100)).err());
        let error = error.expect("the writer notices");
        let cause = db.status().poisoned.unwrap();
        assert!(cause.contains("LOCK"), "{cause}");
        assert!(error.is_poisoned() || error.to_string().contains("LOCK"), "{error}");
        assert!(db.get("key0").unwrap().is_some(), "reads go on");
    }
}

#[test]
fn a_directory_without_write_permission_is_read_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let db = bitcask::open(&store, Options::default()).unwrap();
    db.put("key", "value").unwrap();
    db.close().unwrap();
    drop(db);
    for (path, mode) in [(dir.path(), 0o755), (&store, 0o555)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    for file in content(&store).keys() {
        std::fs::set_permissions(store.join(file), std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    let before = content(&store);
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let test = format!("{nobody} test -x '{}'", std::env::current_exe().unwrap().display());
    let tested = Command::new("sh").args(["-c", &test]).status();
    if !tested.is_ok_and(|status| status.success()) {
        skip("this machine does not let the test become another user");
        return;
    }
    let mut other = start_by(&format!("exec {nobody}"), "look", &store);
    let refused = other.line().unwrap_or_default();
    assert!(refused.contains("ermission denied"), "{refused}");
    assert_eq!(other.line().as_deref(), Some("read value"));
    assert_eq!(content(&store), before);
}

#[test]
fn what_is_no_regular_file_is_refused_where_a_data_file_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let db = bitcask::open(&store, Options::default()).unwrap();
    db.put("key", "value").unwrap();
    db.close().unwrap();
    drop(db);
    let file = store.join("0000000001.data");
    let moved = dir.path().join("moved");
    std::fs::rename(&file, &moved).unwrap();
    let before = content(&store);
    let plant = |command: &str| {
        let status = Command::new("sh").args(["-c", command]).current_dir(&store).status().unwrap();
        status.success()
    };
    for command in ["ln -s ../moved 0000000001.data", "mkfifo 0000000001.data", "mknod 0000000001.data c 1 3"]
    {
        if !plant(command) {
            skip(format_args!("this machine does not allow {command}"));
            continue;
        }
        for options in [Options::default(), Options::read_only()] {
            let error = bitcask::open(&store, options).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{command}: {error}");
        }
        std::fs::remove_file(&file).unwrap();
    }
    assert_eq!(content(&store), before);
    // A hard link is the file itself.
    std::fs::hard_link(&moved, &file).unwrap();
    assert!(bitcask::open(&store, Options::default()).unwrap().contains("key").unwrap());
}

/// Runs `fill` under a limit; what it wrote is there afterwards.
fn fill_under(limit: &str, role: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut other = start_by(&format!("{limit} exec"), role, dir.path());
    let said = other.line().unwrap_or_default();
    assert!(said.starts_with(expected), "{role} under {limit}: {said:?}");
    println!("{role} under {limit} {said}");
    drop(other);
    let written: usize = said.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(written > 0, "{said}");
    let db = bitcask::open(dir.path(), Options::default()).unwrap();
    for n in 0..written {
        assert!(db.contains(format!("key{n}")).unwrap(), "{role} under {limit}: key{n}");
    }
}

#[test]
fn too_few_file_descriptors_are_a_clear_error_and_reads_go_on() {
    for role in ["fill-mapped", "fill-syscall"] {
        fill_under("ulimit -n 24;", role, "full");
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk() {
    for role in ["fill-large-mapped", "fill-large-syscall"] {
        // In units of 512 bytes: less than a data file, more than its first allocation.
        fill_under("trap '' XFSZ; ulimit -f 5120;", role, "full");
    }
}

#[test]
fn a_full_file_system_is_an_error_that_says_so_and_reads_go_on() {
    for role in ["fill-mapped", "fill-syscall"] {
        let dir = tempfile::tempdir().unwrap();
        let mount = format!("mount -t tmpfs -o size=1m tmpfs \"${}\"", bitcask_testing::STORE);
        let can = Command::new("unshare")
            .args(["-m", "sh", "-c", &mount])
            .env(bitcask_testing::STORE, dir.path())
            .stderr(Stdio::null())
            .status();
        if !can.is_ok_and(|status| status.success()) {
            skip("this machine does not allow to mount a tmpfs");
            return;
        }
        let exec = format!("exec unshare -m sh -c '{mount} && exec \"$0\" \"$@\"'");
        let mut other = start_by(&exec, role, dir.path());
        let said = other.line().unwrap_or_default();
        println!("{role} on a small tmpfs: {said}");
        assert!(said.starts_with("full"), "{said}");
    }
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let db = bitcask::open(dir.path(), Options::new().max_value_size(1000)).unwrap();
    db.put("key", "value").unwrap();
    let before = db.status().data_bytes;
    let long = vec![b'k'; 65_536];
    assert!(matches!(db.put("", "value"), Err(Error::KeySize { len: 0 })));
    assert!(matches!(db.put(&long, "value"), Err(Error::KeySize { len: 65_536 })));
    assert!(matches!(db.get(""), Err(Error::KeySize { len: 0 })));
    assert!(matches!(db.delete(&long), Err(Error::KeySize { .. })));
    assert!(matches!(db.contains(&long), Err(Error::KeySize { .. })));
    assert!(matches!(db.put("key", vec![0; 1001]), Err(Error::ValueSize { len: 1001, max: 1000 })));
    assert_eq!(db.status().data_bytes, before);
    db.put(&long[1..], vec![1; 1000]).unwrap();
    assert_eq!(db.get(&long[1..]).unwrap().unwrap().len(), 1000);
}

/// The directory stays byte for byte as it was.
fn refused(store: &Path, expected: &str) {
    let before = content(store);
    for options in [Options::default(), Options::read_only()] {
        let error = bitcask::open(store, options).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut after = content(store);
    if !before.contains_key("LOCK") {
        after.remove("LOCK");
    }
    assert_eq!(after, before);
}

#[test]
fn what_is_not_a_store_of_this_version_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    refused(dir.path(), "notes.txt");
    assert_eq!(content(dir.path()).len(), 1);

    let dir = tempfile::tempdir().unwrap();
    bitcask::open(dir.path(), Options::default()).unwrap().close().unwrap();
    let foreign = dir.path().join("0000000001.data.bak");
    std::fs::write(&foreign, "a copy").unwrap();
    refused(dir.path(), "0000000001.data.bak");
    std::fs::remove_file(foreign).unwrap();
    for (file, place) in [("MANIFEST", 8), ("0000000001.data", 8)] {
        let path = dir.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        let mut later = bytes.clone();
        later[place] = 2;
        std::fs::write(&path, &later).unwrap();
        refused(dir.path(), "newer version");
        std::fs::write(&path, &bytes).unwrap();
    }
    bitcask::open(dir.path(), Options::default()).unwrap();
}

/// A small generator, so that a seed repeats a run as far as processes allow.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn what_a_killed_process_had_acknowledged_is_there() {
    let ways = [
        (Io::Mapped, "write-mapped", 30),
        (Io::Syscall, "write-syscall", 14),
        (Io::Mapped, "write-json", 8),
        (Io::Syscall, "write-csv", 8),
    ];
    for (io, role, rounds) in ways {
        let rounds = Tier::pick(rounds, 1_000, 10_000);
        let dir = tempfile::tempdir().unwrap();
        let mut seed = 11;
        let mut total = 0;
        let mut follower: Option<Bitcask> = None;
        for round in 0..rounds {
            let message = format!("{role}, round {round}");
            let mut writer = start(role, dir.path());
            let mut last = None;
            for line in 0..1 + random(&mut seed) % 300 {
                last = Some(writer.line().expect("it writes until it is killed").parse::<u64>().unwrap());
                if let Some(follower) = follower.as_ref().filter(|_| line % 40 == 0) {
                    follower
                        .refresh()
                        .unwrap_or_else(|error| panic!("{message}, beside the writer: {error}"));
                    assert!(Some(next_of(follower)) > last, "{message}: the follower is behind {last:?}");
                }
            }
            let rest = writer.kill();
            let acknowledged = rest.last().map(|line| line.parse().unwrap()).or(last).unwrap();
            if let Some(follower) = &follower {
                follower.refresh().unwrap_or_else(|error| panic!("{message}, after the kill: {error}"));
                check_acknowledged(follower, acknowledged, &format!("{message}, follower"));
            }
            let db = bitcask::open(dir.path(), tiny(io)).unwrap_or_else(|error| panic!("{message}: {error}"));
            check_acknowledged(&db, acknowledged, &message);
            assert_eq!(bitcask::verify(dir.path()).unwrap().damage, []);
            follower.get_or_insert_with(|| bitcask::open(dir.path(), Options::read_only()).unwrap());
            total = acknowledged;
        }
        println!("{role}: {rounds} kills, {total} writes");
    }
}

/// Up to the acknowledged write everything is there, and of what follows at most a write or two in order.
fn check_acknowledged(db: &Bitcask, acknowledged: u64, message: &str) {
    let next = next_of(db);
    assert!(next > acknowledged, "{message}: {acknowledged} is acknowledged, the store is at {next}");
    let expected = |writes: u64, key: u64| {
        let last = (0..writes).rev().take(200).find(|n| n * 7 % 20 == key)?;
        (last % 5 != 4).then(|| value(key, last).into_bytes())
    };
    for key in 0..20 {
        let found = db.get(key.to_string()).unwrap().map(|value| value.to_vec());
        // The write behind `next` may have come before the kill.
        let right = [expected(next, key), expected(next + 1, key)].contains(&found);
        assert!(right, "{message}: key {key} has {found:?} after {next} writes");
    }
}

fn next_of(db: &Bitcask) -> u64 {
    String::from_utf8_lossy(&db.get("next").unwrap().unwrap()).parse().unwrap()
}

#[test]
fn many_threads_write_and_read_and_the_last_acknowledged_writes_stay() {
    let writes = Tier::pick(300_usize, 5_000, 50_000);
    for io in IOS {
        for durability in [Durability::Always, Durability::Os] {
            let dir = tempfile::tempdir().unwrap();
            let options = tiny(io).durability(durability);
            let db = bitcask::open(dir.path(), options.clone()).unwrap();
            let expected: Vec<Vec<Option<String>>> = std::thread::scope(|scope| {
                let worker = |thread: usize| {
                    let db = db.clone();
                    move || write_own_keys(&db, thread, writes)
                };
                let workers: Vec<_> = (0..8).map(|thread| scope.spawn(worker(thread))).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            });
            let check = |db: &Bitcask| {
                for (thread, keys) in expected.iter().enumerate() {
                    for (key, value) in keys.iter().enumerate() {
                        let found = db.get(format!("{thread}/{key}")).unwrap();
                        assert_eq!(found.as_deref(), value.as_ref().map(String::as_bytes), "{thread}/{key}");
                    }
                }
                assert_eq!(
                    db.iter().map(|entry| entry.map(drop).unwrap()).count(),
                    usize::try_from(db.len()).unwrap()
                );
            };
            check(&db);
            // Many files were begun, however many a merge has left of them.
            let last = db.status().files.into_iter().map(|file| file.name).max();
            assert!(last.as_deref() > Some("0000000006"), "{last:?}");
            db.close().unwrap();
            check(&bitcask::open(dir.path(), options).unwrap());
            assert_eq!(bitcask::verify(dir.path()).unwrap().damage, []);
        }
    }
}

/// Writes keys of its own and one that all share; what it acknowledged last, by key.
fn write_own_keys(db: &Bitcask, thread: usize, writes: usize) -> Vec<Option<String>> {
    let mut last = vec![None; 10];
    for n in 0..writes {
        let key = n * 3 % last.len();
        let name = format!("{thread}/{key}");
        if n % 7 == 6 {
            assert_eq!(db.delete(&name).unwrap(), last[key].is_some());
            last[key] = None;
        } else {
            let value = format!("{thread} {n} {}", "w".repeat(n % 100));
            db.put(&name, &value).unwrap();
            last[key] = Some(value);
        }
        assert_eq!(db.get(&name).unwrap().as_deref(), last[key].as_ref().map(String::as_bytes));
        if n % 10 == 0 {
            db.put("shared", format!("shared {thread} {n}")).unwrap();
            assert!(db.get("shared").unwrap().unwrap().starts_with(b"shared "));
        }
    }
    last
}
