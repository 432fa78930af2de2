//! What the worker does, and what each key must have afterwards.
//!
//! Operation `n` of a thread depends on nothing but the seed, and a value on nothing but its key and the number of the
//! operation that put it. So the driver can say from a thread's number alone what it wrote, and whoever reads a value can
//! check every byte of it.

use std::time::{SystemTime, UNIX_EPOCH};

use bitcask::Bitcask;

use crate::plan::THREADS;

/// A generator whose numbers depend on its seeds only (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(seeds: &[u64]) -> Self {
        let mut chance = Self(0);
        for seed in seeds {
            chance.0 ^= seed;
            chance.0 = chance.next();
        }
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Put,
    /// A put of a value that lives for so many microseconds.
    PutFor(u64),
    Delete,
}

pub(crate) enum Operation {
    Get(u64),
    /// One write, or several to different keys as one.
    Write(Vec<(u64, Write)>),
    /// A visit of all keys and values, while others write.
    Iterate,
    Backup,
}

impl Operation {
    /// The first operations of a thread put each of its keys once.
    pub(crate) fn nth(seed: u64, thread: u64, n: u64, keys: u64) -> Self {
        let own = keys / THREADS;
        if n < own {
            return Self::Write(vec![(n * THREADS + thread, Write::Put)]);
        }
        let mut chance = Chance::of(&[seed, thread, n]);
        // Half of all goes to a tenth of the keys, so that some files are mostly dead soon and others late.
        let key = |chance: &mut Chance| {
            let among = if chance.below(2) == 0 { own / 10 } else { own };
            chance.below(among) * THREADS + thread
        };
        let write = |chance: &mut Chance| match chance.below(100) {
            0..62 => Write::Put,
            62..72 => Write::PutFor(200_000 + chance.below(5_000_000)),
            72..75 => Write::PutFor(3_600_000_000),
            _ => Write::Delete,
        };
        let count = match chance.below(20_000) {
            0 => return Self::Iterate,
            // There is one place for it.
            1 if thread == 0 => return Self::Backup,
            1..10_000 => return Self::Get(key(&mut chance)),
            10_000..10_400 => 2 + chance.below(15),
            _ => 1,
        };
        let mut writes: Vec<_> = (0..count).map(|_| (key(&mut chance), write(&mut chance))).collect();
        writes.sort_by_key(|(key, _)| *key);
        writes.dedup_by_key(|(key, _)| *key);
        Self::Write(writes)
    }
}

/// The name of a key in the store.
pub(crate) fn name(key: u64) -> String {
    format!("user:{key}")
}

/// The value that an operation puts: most are short, some long.
pub(crate) fn value(key: u64, n: u64) -> Vec<u8> {
    let mut chance = Chance::of(&[key, n]);
    let len = match chance.below(100) {
        0 => 60_000,
        1..10 => chance.below(8_000),
        _ => chance.below(1_000),
    };
    let mut value = [key.to_le_bytes(), n.to_le_bytes()].concat();
    value.extend((0..len / 8).flat_map(|_| chance.next().to_le_bytes()));
    value
}

/// What a key has: the operation that put it, and the moment from which on it is absent, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) n: u64,
    pub(crate) until: Option<u64>,
}

/// A stretch of time in which somebody looked, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    begin: u64,
    end: u64,
}

impl Look {
    /// Does `look` and says when that was.
    pub(crate) fn at<T>(look: impl FnOnce() -> T) -> (Self, T) {
        let begin = now_us();
        let found = look();
        (Self { begin, end: now_us() }, found)
    }
}

pub(crate) fn now_us() -> u64 {
    to_us(SystemTime::now())
}

fn to_us(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

/// Whether a look may have found this where a key had that.
pub(crate) fn fits(had: Option<Held>, found: Option<Held>, look: Look) -> bool {
    match (had, found) {
        (Some(had), None) => had.until.is_some_and(|until| until <= look.end),
        (Some(had), Some(_)) => had.until.is_none_or(|until| until > look.begin) && Some(had) == found,
        (None, found) => found.is_none(),
    }
}

/// What an entry of the store says, when every byte of it is what was put.
pub(crate) fn held(key: u64, entry: &bitcask::Entry) -> Held {
    let n = u64::from_le_bytes(entry.value[8..16].try_into().unwrap());
    assert!(*entry.value == value(key, n), "key {key} has a value that was never put");
    Held { n, until: entry.expires_at.map(to_us) }
}

/// What every key has: by gets, and by an iteration.
pub(crate) fn read_all(db: &Bitcask, keys: u64) -> [(Look, Vec<Option<Held>>); 2] {
    let got = Look::at(|| {
        let get = |key| db.get_entry(name(key)).unwrap().map(|entry| held(key, &entry));
        (0..keys).map(get).collect()
    });
    let iterated = Look::at(|| {
        let mut found = vec![None; usize::try_from(keys).unwrap()];
        for entry in db.iter().entries() {
            let (key, entry) = entry.unwrap();
            let key = std::str::from_utf8(&key).unwrap().strip_prefix("user:").unwrap().parse().unwrap();
            let place = &mut found[usize::try_from(key).unwrap()];
            assert_eq!(place.replace(held(key, &entry)), None, "key {key} comes twice");
        }
        found
    });
    [got, iterated]
}

/// What each key must have.
pub(crate) struct Model(pub(crate) Vec<Option<Held>>);

impl Model {
    pub(crate) fn new(keys: u64) -> Self {
        Self(vec![None; usize::try_from(keys).unwrap()])
    }

    pub(crate) fn of(&self, key: u64) -> Option<Held> {
        self.0[usize::try_from(key).unwrap()]
    }

    /// Operation `n` was acknowledged; what of it expires does so `now` and its lifetime later.
    pub(crate) fn apply(&mut self, writes: &[(u64, Write)], n: u64, now: u64) {
        for &(key, write) in writes {
            self.0[usize::try_from(key).unwrap()] = match write {
                Write::Put => Some(Held { n, until: None }),
                Write::PutFor(lifetime) => Some(Held { n, until: Some(now + lifetime) }),
                Write::Delete => None,
            };
        }
    }

    /// An operation whose end nobody has seen has happened as a whole, or not at all; what was found of it is true.
    pub(crate) fn settle(&mut self, writes: &[(u64, Write)], n: u64, look: Look, found: &[Option<Held>]) {
        let found_of = |key: u64| found[usize::try_from(key).unwrap()];
        let is_old = |&(key, _): &(u64, Write)| fits(self.of(key), found_of(key), look);
        let is_new = |&(key, write): &(u64, Write)| match (write, found_of(key)) {
            (Write::Put, Some(held)) => held == Held { n, until: None },
            (Write::PutFor(_), Some(held)) => held.n == n && held.until.is_some(),
            (Write::PutFor(_) | Write::Delete, None) => true,
            _ => false,
        };
        let whole = writes.iter().all(is_old) || writes.iter().all(is_new);
        assert!(whole, "operation {n} has happened in part: {writes:?}");
        for &(key, _) in writes {
            self.0[usize::try_from(key).unwrap()] = found_of(key);
        }
    }

    /// Every key has what it must.
    pub(crate) fn check(&self, look: Look, found: &[Option<Held>]) {
        for (key, (&had, &found)) in self.0.iter().zip(found).enumerate() {
            assert!(fits(had, found, look), "key {key} has {found:?} and not {had:?}, at {look:?}");
        }
    }
}
