//! What a store must hold: the writes in their order, and the map that each prefix of them gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::vfs::sim::Random;
use crate::{Bitcask, Snapshot, Value};

/// One write that changed something; no value stands for a delete.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Stored>,
}

/// A value as the log holds it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) value: Vec<u8>,
    /// In microseconds since 1970.
    pub(super) expiry: Option<u64>,
}

impl Stored {
    pub(super) fn forever(value: impl Into<Vec<u8>>) -> Self {
        Self { value: value.into(), expiry: None }
    }

    /// Whether readers see it at this time.
    pub(super) fn is_visible(&self, now_us: u64) -> bool {
        self.expiry.is_none_or(|expiry| now_us < expiry)
    }
}

/// How many writes of a history must, or may, be there after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Acknowledged as durable.
    pub(super) durable: usize,
    /// Acknowledged at any level.
    pub(super) acked: usize,
    /// Begun.
    pub(super) issued: usize,
}

impl Bounds {
    /// Everything is durable, and nothing else was begun.
    pub(super) fn all(count: usize) -> Self {
        Self { durable: count, acked: count, issued: count }
    }
}

/// All writes to a store, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    writes: Vec<Write>,
    /// Counts of writes that end in the middle of a batch: no store ever holds so many.
    inside: BTreeSet<usize>,
    /// The map after all of them.
    latest: Map,
    /// Writes by index whose value had expired when a merge ran: whether it comes back when the clock goes back depends
    /// on whether that merge met it.
    vague: BTreeSet<usize>,
}

impl History {
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Every key that was ever written.
    pub(super) fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        let keys: BTreeSet<Vec<u8>> = self.writes.iter().map(|write| write.key.clone()).collect();
        keys.into_iter()
    }

    pub(super) fn latest(&self) -> &Map {
        &self.latest
    }

    pub(super) fn push(&mut self, write: Write) {
        self.latest.apply(&write);
        self.writes.push(write);
    }

    /// Writes that happen together.
    pub(super) fn push_batch(&mut self, writes: impl IntoIterator<Item = Write>) {
        let start = self.len();
        writes.into_iter().for_each(|write| self.push(write));
        self.inside.extend(start + 1..self.len());
    }

    /// The count of writes up to the last one to `key`.
    pub(super) fn last_write_to(&self, key: &[u8]) -> usize {
        self.writes.iter().rposition(|write| write.key == key).map_or(0, |index| index + 1)
    }

    /// The count of writes up to the last delete.
    pub(super) fn last_delete(&self) -> usize {
        self.writes.iter().rposition(|write| write.value.is_none()).map_or(0, |index| index + 1)
    }

    /// A merge ran while these keys had expired.
    pub(super) fn merged(&mut self, expired: &BTreeSet<Vec<u8>>) {
        let last_writes = expired.iter().filter_map(|key| self.last_write_to(key).checked_sub(1));
        let last_writes: Vec<_> = last_writes.collect();
        self.vague.extend(last_writes);
    }

    /// Whether `key` may be absent although it was written and has not expired.
    pub(super) fn is_vague(&self, key: &[u8]) -> bool {
        self.last_write_to(key).checked_sub(1).is_some_and(|index| self.vague.contains(&index))
    }

    /// A vague key has turned out to be absent.
    pub(super) fn settle_absent(&mut self, key: &[u8]) {
        self.latest.remove(key);
    }

    /// Forgets all writes behind the first `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        self.writes.truncate(count);
        self.vague.retain(|&index| index < count);
        self.inside.retain(|&inside| inside < count);
        self.latest = self.state(count);
    }

    /// The map after the first `count` writes.
    pub(super) fn state(&self, count: usize) -> Map {
        let mut map = Map::default();
        self.writes[..count].iter().for_each(|write| map.apply(write));
        map
    }

    /// The last prefix of `at_least..=at_most` writes whose map is `map`. Panics when there is none.
    pub(super) fn find(&self, map: &Map, at_least: usize, at_most: usize) -> usize {
        self.find_ignoring(map, &BTreeSet::new(), at_least, at_most)
    }

    /// As [`History::find`], with any value or none for the keys in `ignored`.
    pub(super) fn find_ignoring(
        &self,
        map: &Map,
        ignored: &BTreeSet<Vec<u8>>,
        at_least: usize,
        at_most: usize,
    ) -> usize {
        // The keys that the state so far has otherwise than the map.
        let mut differing: BTreeSet<&[u8]> = map.0.keys().map(Vec::as_slice).collect();
        differing.retain(|key| !ignored.contains(*key));
        let mut found = None;
        for count in 0..=at_most {
            if let Some(write) = count.checked_sub(1).map(|index| &self.writes[index]) {
                let found = map.get(&write.key);
                let may_be_gone = found.is_none() && self.vague.contains(&(count - 1));
                if write.value.as_ref() == found || may_be_gone || ignored.contains(&write.key) {
                    differing.remove(&write.key[..]);
                } else {
                    differing.insert(&write.key);
                }
            }
            if count >= at_least && differing.is_empty() && !self.inside.contains(&count) {
                found = Some(count);
            }
        }
        found.unwrap_or_else(|| panic!("{}", self.explain(map, at_least, at_most)))
    }

    /// Why `map` is none of the states that it may be.
    fn explain(&self, map: &Map, at_least: usize, at_most: usize) -> String {
        let all = (0..=self.len()).filter(|&count| self.state(count) == *map).collect::<Vec<_>>();
        let mut text =
            format!("the map is no state after {at_least} to {at_most} writes, but after {all:?};");
        let nearest = (at_least..=at_most).min_by_key(|&count| self.state(count).differences(map).count());
        if let Some(count) = nearest {
            let state = self.state(count);
            text.push_str(&format!(" nearest is {count}:"));
            for key in state.differences(map).take(8) {
                let show = |map: &Map| map.0.get(key).map(|stored| format!("{stored:?}"));
                let key_text = String::from_utf8_lossy(key);
                text.push_str(&format!("\n  {key_text}: expected {:?}, found {:?}", show(&state), show(map)));
            }
        }
        let unknown = map.0.iter().find(|(key, value)| {
            !self.writes.iter().any(|write| write.key == **key && write.value.as_ref() == Some(value))
        });
        if let Some((key, value)) = unknown {
            let key = String::from_utf8_lossy(key);
            text.push_str(&format!("\n  never written for {key}: {value:?}"));
        }
        text
    }
}

/// Keys and values.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Map(BTreeMap<Vec<u8>, Stored>);

impl Map {
    /// All that a store holds, by every way to ask it. Nothing that has expired waits to be reaped.
    pub(super) fn of(db: &Bitcask) -> Self {
        let map = Self::visible_in(db);
        assert_eq!(db.len(), map.len() as u64, "len() against iter()");
        map
    }

    /// All that readers of a store see.
    pub(super) fn visible_in(db: &Bitcask) -> Self {
        let stored = |(key, value): (Vec<u8>, Value)| {
            let metadata = db.metadata(&key).unwrap().expect("the clock stands still, or almost");
            assert_eq!(metadata.value_len, value.len() as u64);
            (key, Stored { value: value.into_vec(), expiry: micros(metadata.expires_at) })
        };
        let map: BTreeMap<_, _> = db
            .iter()
            .map(|entry| entry.unwrap_or_else(|error| panic!("iterating fails: {error}")))
            .map(stored)
            .collect();
        let mut keys: Vec<Vec<u8>> = db.keys().map(|key| key.unwrap()).collect();
        keys.sort();
        assert!(keys.iter().eq(map.keys()), "keys() against iter()");
        Self(map)
    }

    /// All that a snapshot sees, by iteration and by look-ups.
    pub(super) fn of_snapshot(snapshot: &Snapshot) -> Self {
        let mut map = BTreeMap::new();
        for entry in snapshot.iter() {
            let (key, value) = entry.unwrap_or_else(|error| panic!("iterating fails: {error}"));
            let looked_up = snapshot.get_entry(&key).unwrap().expect("it was just iterated over");
            assert_eq!(looked_up.value, value);
            map.insert(key, Stored { value: value.into_vec(), expiry: micros(looked_up.expires_at) });
        }
        Self(map)
    }

    /// What has no expiry.
    pub(super) fn lasting(&self) -> Self {
        let lasting = self.0.iter().filter(|(_, stored)| stored.expiry.is_none());
        Self(lasting.map(|(key, stored)| (key.clone(), stored.clone())).collect())
    }

    /// As [`Map::of`], for a store that may be damaged: the keys whose values are, and all others with theirs.
    pub(super) fn of_damaged(db: &Bitcask, keys: impl Iterator<Item = Vec<u8>>) -> (Self, BTreeSet<Vec<u8>>) {
        let (mut map, mut damaged) = (BTreeMap::new(), BTreeSet::new());
        for key in keys {
            match db.get_entry(&key) {
                Ok(Some(entry)) => {
                    let expiry = micros(entry.expires_at);
                    map.insert(key, Stored { value: entry.value.into_vec(), expiry });
                }
                Ok(None) => {}
                Err(error) if error.is_corruption() => drop(damaged.insert(key)),
                Err(error) => panic!("get fails: {error}"),
            }
        }
        (Self(map), damaged)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.keys()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Stored> {
        self.0.get(key)
    }

    pub(super) fn insert(&mut self, key: Vec<u8>, value: Stored) {
        self.0.insert(key, value);
    }

    /// All of it but these keys.
    pub(super) fn without(&self, keys: &BTreeSet<Vec<u8>>) -> Self {
        let rest = self.0.iter().filter(|(key, _)| !keys.contains(*key));
        Self(rest.map(|(key, stored)| (key.clone(), stored.clone())).collect())
    }

    /// What readers see of it at this time.
    pub(super) fn visible(&self, now_us: u64) -> Self {
        let visible = self.0.iter().filter(|(_, stored)| stored.is_visible(now_us));
        Self(visible.map(|(key, stored)| (key.clone(), stored.clone())).collect())
    }

    /// The keys that have expired at this time.
    pub(super) fn expired(&self, now_us: u64) -> impl Iterator<Item = Vec<u8>> {
        self.0.iter().filter(move |(_, stored)| !stored.is_visible(now_us)).map(|(key, _)| key.clone())
    }

    /// Whether the key was there.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        self.0.remove(key).is_some()
    }

    pub(super) fn some_key(&self, random: &mut Random) -> Option<Vec<u8>> {
        let index = random.index(self.0.len().max(1));
        self.0.keys().nth(index).cloned()
    }

    fn apply(&mut self, write: &Write) {
        match &write.value {
            Some(value) => drop(self.0.insert(write.key.clone(), value.clone())),
            None => drop(self.0.remove(&write.key)),
        }
    }

    fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a [u8]> {
        let keys: BTreeSet<&Vec<u8>> = self.0.keys().chain(other.0.keys()).collect();
        keys.into_iter().filter(|key| self.0.get(*key) != other.0.get(*key)).map(Vec::as_slice)
    }
}

/// An expiry as records have it.
pub(super) fn micros(expires_at: Option<SystemTime>) -> Option<u64> {
    let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_micros();
    expires_at.map(|time| u64::try_from(since_1970(time)).unwrap())
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter().map(|(key, value)| (String::from_utf8_lossy(key), value));
        f.debug_map().entries(entries).finish()
    }
}

impl fmt::Debug for Stored {
    /// The front of the value, which describes the whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let front = self.value.iter().take(24).flat_map(|byte| byte.escape_ascii()).map(char::from);
        write!(f, "{}.. ({} bytes)", front.collect::<String>(), self.value.len())?;
        self.expiry.map_or(Ok(()), |expiry| write!(f, " until {expiry}"))
    }
}
