//! What the subscriber of the `tracing` crate gets of a store: levels, messages and fields.
//!
//! One test, for there is one subscriber a process.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fmt::{Debug, Write};
use std::fs;
use std::sync::Mutex;

use bitcask::{Durability, Io, Options};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Events as lines: level, message, fields.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct ToLines;

struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            // It differs from run to run.
            "took" => self.fields.push_str(" took"),
            name => write!(self.fields, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for ToLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bitcask")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { message: String::new(), fields: String::new() };
        event.record(&mut line);
        let level = event.metadata().level();
        LINES.lock().unwrap().push(format!("{level} {}:{}", line.message, line.fields));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("the engine has no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn taken() -> Vec<String> {
    std::mem::take(&mut *LINES.lock().unwrap())
}

#[test]
fn events_have_levels_messages_and_fields() {
    tracing::subscriber::set_global_default(ToLines).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let store = format!(" store={path:?}");
    let options = Options::new().durability(Durability::Os).io(Io::Syscall);

    let db = bitcask::open(&path, options.clone()).unwrap();
    db.put("a", "1").unwrap();
    db.put("a", "2").unwrap();
    let bytes = db.status().files[0].len;
    let report = db.merge().unwrap();
    db.close().unwrap();
    drop(db);
    let lines = taken();
    assert_eq!(
        lines,
        [
            format!("INFO opened:{store} keys=0 files=1 hints_loaded=0 files_scanned=0 clean=true took"),
            format!("DEBUG rotated:{store} from=\"0000000001.data\" bytes={bytes} to=\"0000000002.data\""),
            format!("DEBUG sealed a file:{store} file=\"0000000001.data\" bytes={bytes}"),
            format!("DEBUG a merge has begun:{store} files=[\"0000000001.data\"] bytes={bytes}"),
            format!(
                "INFO merged:{store} inputs=1 outputs=1 bytes_before={bytes} bytes_after={} values_copied=1 \
                 tombstones_kept=0 records_dropped=1 took",
                report.bytes_after
            ),
            format!("INFO closed:{store}"),
        ]
    );

    // A crash that tears the last write.
    let db = bitcask::open(&path, options.clone()).unwrap();
    db.put("b", "3".repeat(100)).unwrap();
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let status = db.status();
    let active = status.files.iter().find(|file| file.state == bitcask::FileState::Active).unwrap();
    fs::File::options().write(true).open(copy.join(&active.name)).unwrap().set_len(active.len - 1).unwrap();
    db.close().unwrap();
    taken();
    let db = bitcask::open(&copy, options).unwrap();
    let tail = db.status().recovery.torn_tail.unwrap();
    db.close().unwrap();
    let (warning, store) = (&taken()[1], format!(" store={copy:?}"));
    let expected = format!(
        "WARN the log had a torn tail:{store} file={:?} offset={} bytes={}",
        tail.file, tail.offset, tail.bytes
    );
    assert_eq!(*warning, expected);
}
