//! When there is no memory left: a block cannot be had, or the system kills.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bitcask::{Bitcask, Compression, Durability, MergeOptions, Options};
use bitcask_testing::{OtherProcess, Sweep, Tier, say, skip};

use crate::allocator::{large_count, refuse, take_turn};

const KEYS: u64 = 20;

fn options() -> Options {
    let merge = MergeOptions::new().dead_bytes_trigger(32 << 10).dead_bytes_threshold(8 << 10);
    Options::new()
        .max_file_size(64 << 10)
        .durability(Durability::Os)
        .compression(Compression::Lz4)
        .merge(merge)
}

/// What write `n` puts: some of it compresses.
fn value(n: u64) -> Vec<u8> {
    let len = [100, 3_000, 30_000][usize::try_from(n % 3).unwrap()] + n % 100;
    let byte = |at: u64| if n.is_multiple_of(2) { at * (n + 7) % 251 } else { n % 7 };
    (0..len).map(|at| u8::try_from(byte(at)).unwrap()).chain(n.to_le_bytes()).collect()
}

/// The key of write `n`, and what it has afterwards.
fn write(n: u64) -> (String, Option<Vec<u8>>) {
    ((n * 7 % KEYS).to_string(), (n % 5 != 4).then(|| value(n)))
}

fn state_after(writes: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let newest: BTreeMap<_, _> = (writes.saturating_sub(200)..writes).map(write).collect();
    newest.into_iter().filter_map(|(key, value)| Some((key.into_bytes(), value?))).collect()
}

/// Writes from number `first` on, and says each that is acknowledged.
fn write_from(db: &Bitcask, first: u64, end: u64) {
    for n in first..end {
        match write(n) {
            (key, Some(value)) => db.put(key, value).unwrap(),
            (key, None) => drop(db.delete(key).unwrap()),
        }
        say(format_args!("wrote {n}"));
    }
}

/// A child: uses the store, with one large block less than it asks for.
pub(crate) fn write_with_one_block_less(store: &Path, arguments: &str) {
    let (first, refused) = arguments.split_once(' ').unwrap();
    let first: u64 = first.parse().unwrap();
    refuse(refused.parse().unwrap());
    let db = bitcask::open(store, options()).unwrap();
    write_from(&db, first, first + 20);
    let snapshot = db.snapshot();
    write_from(&db, first + 20, first + 40);
    assert_eq!(db.iter().map(Result::unwrap).count() as u64, db.len());
    assert!(snapshot.iter().map(Result::unwrap).count() > 0);
    drop(snapshot);
    db.merge().unwrap();
    write_from(&db, first + 40, first + 60);
    let backup = store.with_extension("backup");
    db.backup(&backup).unwrap();
    std::fs::remove_dir_all(backup).unwrap();
    db.close().unwrap();
    say(format_args!("blocks {}", large_count()));
}

/// A child: writes, and takes more and more memory.
pub(crate) fn grow_for_ever(store: &Path, first: &str) {
    let db = bitcask::open(store, options()).unwrap();
    for n in first.parse().unwrap().. {
        write_from(&db, n, n + 1);
        std::mem::forget(vec![1_u8; 50_000]);
    }
}

/// What a child that has died leaves: everything that it had acknowledged, and at most one write more.
struct Survivor {
    store: PathBuf,
    /// Count of writes so far.
    writes: u64,
}

impl Survivor {
    /// Hears the child until its end, and checks the store. Returns how many large blocks it asked for, if it came that far.
    fn outlive(&mut self, mut child: OtherProcess) -> Option<u64> {
        let mut blocks = None;
        while let Some(line) = child.line() {
            match line.split_once(' ') {
                Some(("wrote", n)) => self.writes = n.parse::<u64>().unwrap() + 1,
                Some(("blocks", count)) => blocks = Some(count.parse().unwrap()),
                _ => panic!("the child says {line}"),
            }
        }
        drop(child);
        assert_eq!(bitcask::verify(&self.store).map(|report| report.damage).unwrap_or_default(), []);
        let db = bitcask::open(&self.store, options()).unwrap();
        let found: BTreeMap<_, _> =
            db.iter().map(|entry| entry.map(|(key, value)| (key, value.into_vec())).unwrap()).collect();
        if found != state_after(self.writes) {
            self.writes += 1;
            assert!(
                found == state_after(self.writes),
                "not the state after {} writes or one less",
                self.writes
            );
        }
        db.close().unwrap();
        blocks
    }
}

#[test]
fn a_process_that_gets_no_memory_has_lost_nothing_that_it_acknowledged() {
    let _turn = take_turn();
    let sweep = Sweep::new("a_process_that_gets_no_memory_has_lost_nothing_that_it_acknowledged");
    let dir = tempfile::tempdir().unwrap();
    let mut survivor = Survivor { store: dir.path().join("store"), writes: 0 };
    let run = |survivor: &mut Survivor, refused: u64| {
        let role = format!("write {} {refused}", survivor.writes);
        survivor.outlive(OtherProcess::start("child", &role, &survivor.store, "exec 2>/dev/null; exec"))
    };
    let blocks = run(&mut survivor, 0).expect("it has all the memory it wants");
    let cases = Tier::pick(12, blocks, blocks);
    let mut died = 0;
    for case in 1..=cases {
        let refused = case * blocks / cases;
        sweep.case(refused, |_| died += u64::from(run(&mut survivor, refused).is_none()));
    }
    println!("{died} of {cases} processes died for want of one of {blocks} blocks");
    // The store's own threads ask in another order each time, so the last ones may not be asked for.
    assert!(died >= cases / 2);
    sweep.finish(cases);
}

#[test]
fn a_process_that_the_system_kills_for_its_memory_has_lost_nothing_that_it_acknowledged() {
    let _turn = take_turn();
    let sweep =
        Sweep::new("a_process_that_the_system_kills_for_its_memory_has_lost_nothing_that_it_acknowledged");
    let Some(group) = MemoryGroup::new(64 << 20) else {
        return skip("this machine does not allow to limit the memory of a process by a cgroup (v1)");
    };
    let dir = tempfile::tempdir().unwrap();
    let mut survivor = Survivor { store: dir.path().join("store"), writes: 0 };
    let kills = Tier::pick(2, 1_000, 1_000);
    for kill in 0..kills {
        sweep.case(kill, |_| {
            let before = survivor.writes;
            let role = format!("grow {before}");
            let child = OtherProcess::start("child", &role, &survivor.store, &group.exec());
            assert_eq!(survivor.outlive(child), None);
            assert!(survivor.writes > before + 100, "it could write until it was killed");
        });
    }
    sweep.finish(kills);
}

/// A cgroup that limits the memory of the processes in it.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// `None` where that is not allowed.
    fn new(limit: u64) -> Option<Self> {
        let group = Path::new("/sys/fs/cgroup/memory").join(format!("bitcask-test-{}", std::process::id()));
        std::fs::create_dir(&group).ok()?;
        let group = Self(group);
        std::fs::write(group.0.join("memory.limit_in_bytes"), limit.to_string()).ok()?;
        Some(group)
    }

    /// What starts a program in it.
    fn exec(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && exec", self.0.display())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // It is empty, since all of its processes have ended; if not, the next start of the system removes it.
        let _ = std::fs::remove_dir(&self.0);
    }
}
