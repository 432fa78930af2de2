//! How the worker is at one moment: its memory, its descriptors, the size of its store, and the latencies since the moment
//! before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bitcask::Bitcask;
use bitcask_testing::say;
use hdrhistogram::Histogram;

/// Latencies in nanoseconds.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap())
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap().max(1));
    }

    /// p50, p99, p99.9 and the longest; then it begins anew.
    fn take(&mut self) -> [u64; 4] {
        let at = |percentile| self.0.value_at_percentile(percentile);
        let taken = [at(50.0), at(99.0), at(99.9), self.0.max()];
        self.0.reset();
        taken
    }
}

/// What a process says of itself. All numbers are `u64`, so that a line of text carries them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Anonymous memory in bytes: what is mapped of files is the system's to give and take.
    pub(crate) anonymous: u64,
    pub(crate) descriptors: u64,
    /// Count of data files, each of which has a descriptor.
    pub(crate) files: u64,
    /// What the store's directory takes on the disk.
    pub(crate) disk: u64,
    pub(crate) live: u64,
    pub(crate) puts: [u64; 4],
    pub(crate) gets: [u64; 4],
}

impl Sample {
    /// Memory and descriptors of this process.
    pub(crate) fn of_process() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let anonymous: u64 = anonymous.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        Self { anonymous: anonymous << 10, descriptors, ..Self::default() }
    }

    /// From the line that [`Sampler::sample_if_due`] says.
    pub(crate) fn parse(line: &str) -> Self {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [anonymous, descriptors, files, disk, live, ref latencies @ ..] = numbers[..] else {
            panic!("no sample: {line}");
        };
        let (puts, gets) = latencies.split_at(4);
        let [puts, gets] = [puts, gets].map(|some| some.try_into().unwrap());
        Self { anonymous, descriptors, files, disk, live, puts, gets }
    }
}

pub(crate) struct Sampler {
    store: PathBuf,
    every: Duration,
    last: Instant,
    pub(crate) puts: Latencies,
    pub(crate) gets: Latencies,
}

impl Sampler {
    pub(crate) fn new(store: &Path, every: Duration) -> Self {
        let (puts, gets) = (Latencies::new(), Latencies::new());
        Self { store: store.to_owned(), every, last: Instant::now(), puts, gets }
    }

    pub(crate) fn sample_if_due(&mut self, db: &Bitcask) {
        if self.last.elapsed() < self.every {
            return;
        }
        let before = db.status().files.len();
        let Sample { anonymous, descriptors, .. } = Sample::of_process();
        let status = db.status();
        if status.files.len() != before {
            // It was counted while files came and went.
            return;
        }
        let fixed = [anonymous, descriptors, before as u64, disk_bytes(&self.store), status.live_bytes];
        let numbers = fixed.into_iter().chain(self.puts.take()).chain(self.gets.take());
        say(format_args!(
            "sample {}",
            numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
        ));
        self.last = Instant::now();
    }
}

/// What the files of a directory take on the disk, some of which may go meanwhile.
fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(dir).unwrap().filter_map(|entry| entry.unwrap().metadata().ok());
    files.map(|file| file.blocks() * 512).sum()
}
