//! What a store must hold: the writes in their order, and the map that each prefix of them gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::Bitcask;
use crate::vfs::sim::Random;

/// One write that changed something; no value stands for a delete.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
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
    /// The map after all of them.
    latest: Map,
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

    /// The count of writes up to the last one to `key`.
    pub(super) fn last_write_to(&self, key: &[u8]) -> usize {
        self.writes.iter().rposition(|write| write.key == key).map_or(0, |index| index + 1)
    }

    /// The count of writes up to the last delete.
    pub(super) fn last_delete(&self) -> usize {
        self.writes.iter().rposition(|write| write.value.is_none()).map_or(0, |index| index + 1)
    }

    /// Forgets all writes behind the first `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        self.writes.truncate(count);
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
                if write.value.as_deref() == map.get(&write.key) || ignored.contains(&write.key) {
                    differing.remove(&write.key[..]);
                } else {
                    differing.insert(&write.key);
                }
            }
            if count >= at_least && differing.is_empty() {
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
                let show = |map: &Map| map.0.get(key).map(|value| display(value));
                let key_text = String::from_utf8_lossy(key);
                text.push_str(&format!("\n  {key_text}: expected {:?}, found {:?}", show(&state), show(map)));
            }
        }
        let unknown = map.0.iter().find(|(key, value)| {
            !self.writes.iter().any(|write| write.key == **key && write.value.as_ref() == Some(value))
        });
        if let Some((key, value)) = unknown {
            let key = String::from_utf8_lossy(key);
            text.push_str(&format!("\n  never written for {key}: {}", display(value)));
        }
        text
    }
}

/// Keys and values.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Map(BTreeMap<Vec<u8>, Vec<u8>>);

impl Map {
    /// All that a store holds, by every way to ask it.
    pub(super) fn of(db: &Bitcask) -> Self {
        let map: BTreeMap<_, _> = db
            .iter()
            .map(|entry| entry.unwrap_or_else(|error| panic!("iterating fails: {error}")))
            .map(|(key, value)| (key, value.into_vec()))
            .collect();
        assert_eq!(db.len(), map.len() as u64, "len() against iter()");
        let mut keys: Vec<Vec<u8>> = db.keys().map(|key| key.unwrap()).collect();
        keys.sort();
        assert!(keys.iter().eq(map.keys()), "keys() against iter()");
        Self(map)
    }

    /// As [`Map::of`], for a store that may be damaged: the keys whose values are, and all others with theirs.
    pub(super) fn of_damaged(db: &Bitcask, keys: impl Iterator<Item = Vec<u8>>) -> (Self, BTreeSet<Vec<u8>>) {
        let (mut map, mut damaged) = (BTreeMap::new(), BTreeSet::new());
        for key in keys {
            match db.get(&key) {
                Ok(Some(value)) => drop(map.insert(key, value.into_vec())),
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

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    pub(super) fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.insert(key, value);
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

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter().map(|(key, value)| (String::from_utf8_lossy(key), display(value)));
        f.debug_map().entries(entries).finish()
    }
}

/// The front of a value, which describes the whole.
fn display(value: &[u8]) -> String {
    let front: String = value.iter().take(24).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    format!("{front}.. ({} bytes)", value.len())
}
