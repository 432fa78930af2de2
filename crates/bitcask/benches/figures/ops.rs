//! Puts and gets and nothing else, for a profiler.

use crate::arguments::Arguments;
use crate::workload::{self, Values};

pub(crate) fn run(arguments: &mut Arguments) {
    let count = arguments.number("keys", 100_000_u32);
    let values = Values::new(arguments.number("value-size", 100));
    let directory = arguments.directory();
    let db = bitcask::open(directory.path(), arguments.options()).expect("a store can be made");
    puts(&db, count, &values);
    gets(&db, count, &values);
    db.close().expect("the store closes");
}

/// Kept apart, so that a profile shows each by itself.
#[inline(never)]
fn puts(db: &bitcask::Bitcask, count: u32, values: &Values) {
    for number in 0..count {
        db.put(workload::key(number), values.get(number)).expect("a put works");
    }
}

#[inline(never)]
fn gets(db: &bitcask::Bitcask, count: u32, values: &Values) {
    for number in workload::shuffled(count, 5) {
        let value = db.get(workload::key(number)).expect("a get works");
        assert_eq!(value.as_deref(), Some(values.get(number)));
    }
}
