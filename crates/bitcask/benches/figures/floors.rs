//! What this machine allows: the parts that no put or get can do without, done by themselves.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;

use siphasher::sip128::SipHasher13;

use crate::measure::{Report, average_ns};
use crate::positioned;
use crate::workload::{self, Values};

const RING_LEN: usize = 64 << 20;
/// Front of a record: fixed part and key.
const FRONT_LEN: usize = 40;
/// More operations than this make a floor no more exact.
const FILE_OPERATIONS_MAX: u32 = 1_000_000;

/// Measures them for keys below `count` and adds them to `report`.
pub(crate) fn measure(directory: &Path, count: u32, values: &Values, report: &mut Report) {
    let order = workload::shuffled(count, 3);
    let mut ring = Ring::new();
    let append_ns = average_ns(u64::from(count), |n| {
        let number = order[usize::try_from(n).unwrap_or(0)];
        black_box(ring.append(number, values.get(number)));
    });
    report.figure("floor: hash, checksum, copy", append_ns, "ns");

    let mut table = Table::with_room_for(count);
    let put_ns = average_ns(u64::from(count), |n| {
        let number = order[usize::try_from(n).unwrap_or(0)];
        let (digest, at) = ring.append(number, values.get(number));
        table.set(digest, at);
    });
    report.figure("floor: the same and a table's random update", put_ns, "ns");
    drop((ring, table));

    let count = count.min(FILE_OPERATIONS_MAX);
    let record_len = FRONT_LEN + values.get(0).len();
    let mut record = vec![7; record_len];
    let path = directory.join("ordinary");
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path).expect("a file can be made");
    let write_ns = average_ns(u64::from(count), |n| {
        record[..8].copy_from_slice(&n.to_le_bytes());
        file.write_all(&record).expect("a write works");
    });
    report.figure("floor: a write call", write_ns, "ns");

    let order = workload::shuffled(count, 4);
    let file = File::open(&path).expect("the file is there");
    let read_ns = average_ns(u64::from(count), |n| {
        let number = order[usize::try_from(n).unwrap_or(0)];
        positioned::read(&file, &mut record, u64::from(number) * record_len as u64).expect("a read works");
        black_box(&record);
    });
    report.figure("floor: a pread call, in the page cache", read_ns, "ns");
    let clock_ns = average_ns(1_000_000, |_| {
        black_box(std::time::Instant::now());
    });
    report.figure("a look at the clock, in each put and get", clock_ns, "ns");
}

/// The end of a log that never fills up.
struct Ring {
    hasher: SipHasher13,
    bytes: Vec<u8>,
    at: usize,
}

impl Ring {
    fn new() -> Self {
        // Written, so that no page is touched for the first time while it is measured.
        Self { hasher: SipHasher13::new_with_key(&[9; 16]), bytes: vec![1; RING_LEN], at: 0 }
    }

    /// Digest and place of a record.
    fn append(&mut self, number: u32, value: &[u8]) -> ((u64, u64), u64) {
        let key = workload::key(number);
        let hash = self.hasher.hash(&key);
        let mut front = [0; FRONT_LEN];
        front[4..8].copy_from_slice(&crc32c::crc32c(value).to_le_bytes());
        front[24..].copy_from_slice(&key);
        let crc = crc32c::crc32c_append(5, &front[4..]);
        front[..4].copy_from_slice(&crc.to_le_bytes());
        let len = FRONT_LEN + value.len();
        if self.at + len > self.bytes.len() {
            self.at = 0;
        }
        let place = &mut self.bytes[self.at..self.at + len];
        place[..FRONT_LEN].copy_from_slice(&front);
        place[FRONT_LEN..].copy_from_slice(value);
        let at = self.at;
        self.at += len;
        ((hash.h1, hash.h2), at as u64)
    }
}

/// A table as small as the keydir's: 20 bytes a place, one in eight free, no locks, no growth.
struct Table {
    places: Vec<[u32; 5]>,
}

impl Table {
    fn with_room_for(count: u32) -> Self {
        let len = count as usize + count as usize / 7 + 64;
        // Written, as above.
        let mut places = vec![[1; 5]; len];
        places.fill([0; 5]);
        Self { places }
    }

    fn set(&mut self, (high, low): (u64, u64), at: u64) {
        let half = |word: u64, shift: u32| u32::try_from(word >> shift & u64::from(u32::MAX)).unwrap_or(0);
        let digest = [half(high, 32), half(high, 0), half(low, 32)];
        let [upper, lower] = [half(at + 1, 32), half(at + 1, 0)];
        let home = (u128::from(high) * self.places.len() as u128) >> 64;
        let mut place = usize::try_from(home).unwrap_or(0);
        loop {
            let found = &mut self.places[place];
            if *found == [0; 5] || found[..3] == digest {
                *found = [digest[0], digest[1], digest[2], upper, lower];
                return;
            }
            place = (place + 1) % self.places.len();
        }
    }
}
