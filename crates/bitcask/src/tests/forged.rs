//! Behind a tear lies whatever the disk had there: records of other files and of other places, records that nobody wrote,
//! zeros and noise. None of it is ever returned: what is there is what was written up to some moment.

use bitcask_testing::{Sweep, Tier};

use super::exhaustive::unsynced_records_and_a_batch;
use super::harness::{Depth, check_recovery};
use super::ways::Way;
use crate::LogFormat;
use crate::format::codec::{Codec, Prepared};
use crate::format::file_header::FileHeader;
use crate::format::record::{Kind, RecordHeader};
use crate::vfs::sim::{Random, SimDisk};

/// What may lie behind the tear.
struct Rubble {
    format: LogFormat,
    /// The file that is torn, and the same records in a file with another salt.
    own: Vec<u8>,
    other: Vec<u8>,
    /// How records of the torn file are written, and how those of another.
    own_codec: Codec,
    other_codec: Codec,
}

impl Rubble {
    fn new(way: Way, disk: &SimDisk) -> Self {
        let file = way.file(1);
        let (own, other) = (disk.read_file(&file), unsynced_records_and_a_batch(way).0.read_file(&file));
        let codec = |bytes: &[u8]| {
            let header = FileHeader::decode(way.format, &bytes[..HEADER_MAX.min(bytes.len())]).unwrap().0;
            Codec::new(header.format, header.salt)
        };
        let (own_codec, other_codec) = (codec(&own), codec(&other));
        Self { format: way.format, own, other, own_codec, other_codec }
    }

    /// Lays pieces behind `bytes`, which are the front of the torn file.
    fn pile(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let from = bytes.len();
        for _ in 0..1 + random.below(6) {
            match random.below(6) {
                0 => bytes.resize(bytes.len() + random.index(80), 0),
                1 => {
                    let start = bytes.len();
                    bytes.resize(start + random.index(80), 0);
                    random.fill(&mut bytes[start..]);
                }
                // What another file has at the same place.
                2 => bytes.extend(self.other.get(bytes.len()..).unwrap_or_default()),
                3 => bytes.extend(piece(&self.other, random)),
                4 => bytes.extend(piece(&self.own, random)),
                _ => self.forge(bytes, random),
            }
        }
        // Often a flipped bit in it, too.
        if random.one_in(4) && bytes.len() > from {
            let at = from + random.index(bytes.len() - from);
            bytes[at] ^= 1 << random.below(8);
        }
    }

    /// A whole record that nobody wrote: as another file would have it here or, where records know their places, as this
    /// file would have it elsewhere.
    fn forge(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let (key, value) = (b"third", b"forged");
        let prepared = Prepared::new(self.format, Kind::Value, key, value);
        let header = RecordHeader {
            kind: Kind::Value,
            timestamp: 1 << 52,
            expiry: None,
            in_batch: random.one_in(3),
            compression: None,
            key_size: u16::try_from(key.len()).unwrap(),
            value_size: u32::try_from(value.len()).unwrap(),
            value_crc: prepared.value_crc,
        };
        let here = bytes.len() as u64;
        if self.own_codec.binds_offset() && random.one_in(2) {
            let elsewhere = here + 1 + random.below(600);
            self.own_codec.encode(&header, elsewhere, key, value, &prepared, bytes);
        } else {
            self.other_codec.encode(&header, here, key, value, &prepared, bytes);
        }
    }
}

/// More than the header of a data file without inputs has.
const HEADER_MAX: usize = 400;

/// Some bytes of a file, from anywhere.
fn piece<'a>(bytes: &'a [u8], random: &mut Random) -> &'a [u8] {
    let start = random.index(bytes.len());
    &bytes[start..(start + 1 + random.index(300)).min(bytes.len())]
}

fn sweep_rubble(test: &'static str, way: Way) {
    let sweep = Sweep::new(test);
    let file = way.file(1);
    let (disk, history, options, start, end) = unsynced_records_and_a_batch(way);
    let left = disk.crash_cut(&file, end);
    let whole = left.read_file(&file);
    let rubble = Rubble::new(way, &left);
    let cases = Tier::pick(way.share(1_200), 50_000, 2_500_000);
    for case in 0..cases {
        sweep.case(case, |seed| {
            let random = &mut Random::new(seed);
            let cut = start + random.below(end - start);
            let mut bytes = whole[..usize::try_from(cut).unwrap()].to_vec();
            rubble.pile(&mut bytes, random);
            let torn = left.fork();
            torn.write_file(&file, &bytes);
            // The very bytes that were cut off may happen to be among it.
            check_recovery(&torn, &history, 2, history.len(), &options, Depth::Recovery, random);
        });
    }
    sweep.finish(cases);
}

#[test]
fn what_lies_behind_a_tear_is_never_returned_mapped() {
    sweep_rubble("what_lies_behind_a_tear_is_never_returned_mapped", Way::MAPPED);
}

#[test]
fn what_lies_behind_a_tear_is_never_returned_syscall() {
    sweep_rubble("what_lies_behind_a_tear_is_never_returned_syscall", Way::SYSCALL);
}

#[test]
fn what_lies_behind_a_tear_is_never_returned_json() {
    sweep_rubble("what_lies_behind_a_tear_is_never_returned_json", Way::JSON);
}

#[test]
fn what_lies_behind_a_tear_is_never_returned_csv() {
    sweep_rubble("what_lies_behind_a_tear_is_never_returned_csv", Way::CSV);
}
