//! The system calls by which a canonical run touches its store, and a run that is disturbed at one of them, both by `strace`.
//!
//! A call is named by its kind, the file, and a number: `strace` counts the calls of one thread. Threads of the store race,
//! so that a run may take another course and not come to a call: any moment is a case, and the sweeps say how often that
//! happened. The trace of an undisturbed run shows as well that what is acknowledged has been synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use bitcask_testing::{OtherProcess, Tier, skip};
use tempfile::TempDir;

use crate::canonical::{self, Account, Operation, State, Way};

/// All kinds that may touch a store; what changes nothing is here because it can fail.
const KINDS: &str = "openat,read,pread64,preadv,write,pwrite64,writev,pwritev,fsync,fdatasync,sync_file_range,ftruncate,\
    fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,flock,mmap,msync,madvise,getdents64,\
    fstat,newfstatat,statx,fstatfs";

/// One call of a canonical run, or its like in another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) kind: String,
    /// The name of a file of the store, or [`DIRECTORY`].
    file: String,
    number: u64,
}

/// The store's directory itself.
const DIRECTORY: &str = "directory";
/// Whatever lies in the store, and its directory.
const ALL: &str = "all";

/// The calls of an undisturbed run.
pub(crate) struct Run {
    /// By kind, file and number.
    pub(crate) calls: Vec<Call>,
    /// By kind and number, on whichever file: from one of these on a disk may be broken.
    pub(crate) of_all: Vec<Call>,
    files: BTreeSet<String>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.kind, self.file, self.number)
    }
}

/// Whether there is a `strace` that may trace; says so if not.
pub(crate) fn strace_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works = WORKS.get_or_init(|| {
        let mut command = Command::new("strace");
        command.args([
            "-D",
            "-f",
            "--seccomp-bpf",
            "-o",
            "/dev/null",
            "-e",
            "inject=rmdir:error=EIO",
            "true",
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    if !works {
        skip("there is no strace, or it may not trace");
    }
    *works
}

/// A directory for a run: in memory but for a release, since a kill loses nothing of what was handed to the system.
pub(crate) fn place() -> TempDir {
    let in_memory = Tier::get() != Tier::Release && Path::new("/dev/shm").is_dir();
    let place = in_memory.then(|| tempfile::tempdir_in("/dev/shm")).and_then(Result::ok);
    place.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Starts a canonical run whose calls of these kinds are written to `trace`.
fn start(place: &Path, way: Way, arguments: &str) -> OtherProcess {
    let trace = place.join("trace");
    // As the child's own grandchild, so that a kill of the child is none of the tracer.
    let strace = format!("exec strace -D -f -y -o '{}' {arguments} --", trace.display());
    OtherProcess::start("child", &way.role(), &place.join("store"), &strace)
}

/// One call in a trace: from which line to which, and what came of it.
#[derive(Debug)]
pub(crate) struct Traced {
    thread: String,
    pub(crate) text: String,
    pub(crate) begin: usize,
    /// None if it did not come to its end.
    pub(crate) end: Option<usize>,
    pub(crate) result: String,
}

/// The trace of a run that has ended, in the order in which the calls began.
pub(crate) fn trace(place: &Path) -> Vec<Traced> {
    let text = std::fs::read(place.join("trace")).unwrap();
    let mut calls: Vec<Traced> = Vec::new();
    for (at, line) in String::from_utf8_lossy(&text).lines().enumerate() {
        let (thread, text) = line.split_once(' ').unwrap();
        let text = text.trim_start();
        let result = text.rsplit_once(" = ").map(|(_, result)| result.to_owned());
        if text.starts_with("<... ") {
            let open = |call: &&mut Traced| call.thread == thread && call.end.is_none();
            let call = calls.iter_mut().rev().find(open).unwrap();
            (call.end, call.result) = (result.as_ref().map(|_| at), result.unwrap_or_default());
        } else {
            let end = result.as_ref().map(|_| at);
            let (thread, text) = (thread.to_owned(), text.to_owned());
            calls.push(Traced { thread, text, begin: at, end, result: result.unwrap_or_default() });
        }
    }
    calls
}

/// Kind and file of a line of a trace, if that begins a call which touches the store.
pub(crate) fn parse<'a>(line: &'a str, store: &str) -> Option<(&'a str, &'a str)> {
    let (kind, arguments) = line.split_once('(')?;
    if !arguments.contains(store) {
        return None;
    }
    let mut quoted = arguments.split('"').skip(1);
    let open = arguments.split_once("</").and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
    let file = match open {
        // Named relative to the directory, or the directory itself.
        Some(path) if path == &store[1..] => {
            quoted.next().filter(|name| !matches!(*name, "" | ".")).unwrap_or(DIRECTORY)
        }
        Some(path) => path.rsplit('/').next()?,
        None => match quoted.next()? {
            path if path == store => DIRECTORY,
            path => path.rsplit('/').next()?,
        },
    };
    // A file without a name is a trial of the file system.
    (!file.starts_with('#')).then_some((kind, file))
}

/// The calls of an undisturbed run, in the order of their names. The run itself is checked.
pub(crate) fn of_a_run(way: Way) -> Run {
    let dir = place();
    let (lines, status) = start(dir.path(), way, &format!("-e trace={KINDS},readlink,readlinkat")).end();
    assert!(status.success(), "{status}: {lines:#?}");
    let account = Account::of(&lines);
    assert_eq!((account.acknowledged, &account.failures), (canonical::OPERATIONS, &Vec::new()));
    assert!(account.ended && account.read.as_ref() == account.states.first());

    let store = dir.path().join("store").display().to_string();
    let mut of_threads: BTreeMap<[String; 3], u64> = BTreeMap::new();
    for call in trace(dir.path()) {
        if let Some((kind, file)) = parse(&call.text, &store) {
            for file in [file, ALL] {
                *of_threads.entry([kind.to_owned(), file.to_owned(), call.thread.clone()]).or_default() += 1;
            }
        }
    }
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for ([kind, file, _], count) in of_threads {
        let most = counts.entry((kind, file)).or_default();
        *most = count.max(*most);
    }
    let removed = counts.keys().filter(|(kind, file)| kind == "unlinkat" && file.starts_with("00"));
    assert!(removed.count() > 4, "merges remove files: {counts:#?}");
    let files = counts.keys().map(|(_, file)| file.clone()).filter(|file| file != ALL).collect();
    let calls = counts.into_iter().flat_map(|((kind, file), count)| {
        (1..=count).map(move |number| Call { kind: kind.clone(), file: file.clone(), number })
    });
    let (of_all, calls) = calls.partition(|call| call.file == ALL);
    check_acknowledged(&trace(dir.path()), &store);
    canonical::check(&dir.path().join("store"), way, &account.states);
    Run { calls, of_all, files }
}

/// Every write that was acknowledged has had a sync of the log that began after it did.
fn check_acknowledged(calls: &[Traced], store: &str) {
    let (mut state, mut next, mut began, mut synced) = (State::new(), 0, 0, None);
    let mut ended: Vec<&Traced> = calls.iter().filter(|call| call.end.is_some()).collect();
    ended.sort_by_key(|call| call.end);
    for call in ended {
        if call.text.contains(canonical::BEGINS) {
            (next, began) = (next + 1, call.begin);
        } else if call.text.contains(canonical::DONE) {
            let (operation, before) = (Operation::nth(next - 1), state.clone());
            operation.apply(&mut state);
            assert!(state == before || synced > Some(began), "operation {} is acknowledged", next - 1);
        } else if let Some((kind, file)) = parse(&call.text, store)
            && kind == "fdatasync"
            && is_of_log(file)
        {
            synced = synced.max(Some(call.begin));
        }
    }
    assert_eq!(next, canonical::OPERATIONS);
}

/// Whether a file of this name holds records.
pub(crate) fn is_of_log(file: &str) -> bool {
    [".data", ".jsonl", ".csv"].iter().any(|end| file.ends_with(end))
}

/// How a disturbed run went.
pub(crate) struct Disturbed {
    pub(crate) account: Account,
    pub(crate) status: ExitStatus,
    /// Whether it came to a call that was to fail.
    pub(crate) failed: bool,
}

impl Run {
    /// Some of the calls of a kind, spread over all of them.
    pub(crate) fn spread<'a>(calls: &'a [Call], kind: &str, count: usize) -> Vec<&'a Call> {
        let of_kind: Vec<&Call> = calls.iter().filter(|call| call.kind == kind).collect();
        let count = count.min(of_kind.len());
        (0..count).map(|n| of_kind[n * of_kind.len() / count]).collect()
    }

    /// A run like this one, to which `what` happens at a call: `signal=SIGKILL`, or `error=EIO` and the like; for ever, if that
    /// ends with a `+`.
    pub(crate) fn disturb(&self, place: &Path, way: Way, call: &Call, what: &str) -> Disturbed {
        let Call { kind, file, number } = call;
        let store = place.join("store");
        let store = store.display();
        // By name for what is not open, by path for what is.
        let paths = match file.as_str() {
            DIRECTORY => format!("-P '{store}'"),
            ALL => {
                let files = self.files.iter().map(|file| format!(" -P '{store}/{file}'"));
                format!("-P '{store}'{}", files.collect::<String>())
            }
            file => format!("-P '{file}' -P '{store}/{file}'"),
        };
        // What is traced beside the calls of this kind is not disturbed.
        let marks = format!("-P {} -P {}", canonical::BEGINS, canonical::DONE);
        let (what, again) = what.strip_suffix('+').map_or((what, ""), |what| (what, "+"));
        let traced = format!("-e trace={kind},openat,readlink,readlinkat");
        let inject = format!("{traced} -e inject={kind}:{what}:when={number}{again} {paths} {marks}");
        let (lines, status) = start(place, way, &inject).end();
        let failed = trace(place).iter().any(|call| call.result.contains("INJECTED"));
        Disturbed { account: Account::of(&lines), status, failed }
    }
}
