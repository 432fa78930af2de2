//! One shard's entries: a hash table that is also a sorted array.
//!
//! This is the ordered hash table of Amble and Knuth ("Ordered hash tables", The Computer Journal 17, 1974), with
//! a home that grows with the digest: `home = high * capacity / 2^64`. Collisions go to the next place, and the
//! entries of a run are kept in digest order. So the whole array is sorted, with holes in it: a look-up ends at
//! the first larger digest, a page in digest order is a walk, and filling in digest order writes memory front to
//! back. Removing closes the gap; there are no markers for removed entries.
//!
//! Invariants, checked by `Table::check` after every step of the tests:
//! 1. The entries ascend strictly by digest along the array.
//! 2. An entry lies at or after its home, and no hole lies between its home and its place.
//! 3. Homes are below `capacity`, and there are at least that many places. What lies behind is the *overhang*: places
//!    for the entries that the last run pushes past the end, since nothing wraps around (it would break 1).
//!
//! Growth and shrinking move all entries in place, so they need no memory but the table's own. Memory that cannot be
//! had aborts the process, as everywhere in the standard library: an entry is inserted after its record was
//! written, so there is nobody left who could refuse. Limits are set beforehand, on `Table::memory_bytes`.
//!
//! Left out: locks (see the keydir), and the choice of the shard: a table looks at `high` and `low` of a digest only.

use super::digest::Digest;
use super::places::{Entry, HOLE, Places};
use crate::location::Location;

/// Places kept behind the homes. With the load at its highest one table in fifty needs more, and gets a chunk more.
const OVERHANG: usize = 16;

/// The most entries a table of this capacity takes before it grows. Fuller is smaller, and slower: at a load of 7/8
/// a look-up reads 4.5 entries on average and an insert moves 30.
const fn max_count(capacity: usize) -> usize {
    capacity - capacity / 8
}

/// The fewest entries a table of this capacity keeps its size for.
const fn min_count(capacity: usize) -> usize {
    capacity / 2
}

/// The smallest capacity of at least `wanted` that fills whole chunks together with the overhang.
const fn whole_chunks(wanted: usize) -> usize {
    (wanted.saturating_add(OVERHANG)).div_ceil(Places::CHUNK) * Places::CHUNK - OVERHANG
}

/// The capacity after one step of growth: an eighth more, at least a chunk.
const fn grown(capacity: usize) -> usize {
    whole_chunks(capacity + capacity / 8 + 1)
}

/// The capacity to shrink to: a load of 3/4, as far from growing as from shrinking again.
const fn shrunk(count: usize) -> usize {
    whole_chunks(count + count / 3 + 1)
}

/// Where `high` belongs in a table of `capacity`. Never falls as `high` rises; below `capacity` unless that is 0.
fn home(high: u64, capacity: usize) -> usize {
    let scaled = (u128::from(high) * capacity as u128) >> u64::BITS;
    usize::try_from(scaled).unwrap_or(usize::MAX)
}

/// The entries of one shard, by digest.
pub(super) struct Table {
    places: Places,
    capacity: usize,
    count: usize,
}

impl Table {
    /// An empty table, without memory of its own.
    pub(super) const fn new() -> Self {
        Self { places: Places::new(), capacity: 0, count: 0 }
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The memory the entries take, used or not.
    pub(super) fn memory_bytes(&self) -> usize {
        self.places.memory_bytes()
    }

    /// Whether `digest` can be inserted in the memory that is there.
    pub(super) fn has_room(&self, digest: Digest) -> bool {
        match self.find(digest) {
            Ok(_) => true,
            Err(place) => self.count < max_count(self.capacity) && self.next_hole(place) < self.places.len(),
        }
    }

    /// How much more memory the table may take when so many digests are inserted.
    pub(super) fn growth_max(&self, additional: usize) -> usize {
        let mut capacity = self.capacity;
        while self.count.saturating_add(additional) > max_count(capacity) {
            capacity = grown(capacity);
        }
        // The last run may be pushed past the overhang: by a chunk, or by all that is inserted.
        let len = self.places.len().max(capacity + OVERHANG) + Places::CHUNK.max(additional);
        Places::memory_of(len).saturating_sub(self.memory_bytes())
    }

    /// Makes the table as small as one that has grown to its count by inserts.
    pub(super) fn fit(&mut self) {
        let capacity = whole_chunks(self.count + self.count / 7 + 1);
        if capacity < self.capacity {
            self.respread(capacity);
        }
    }

    pub(super) fn get(&self, digest: Digest) -> Option<Location> {
        self.find(digest).ok().and_then(|place| self.places.get(place).location)
    }

    /// Sets the location of `digest` and returns the one it replaces.
    pub(super) fn insert(&mut self, digest: Digest, location: Location) -> Option<Location> {
        let entry = Entry::new(digest, location);
        let place = match self.find(digest) {
            Ok(place) => {
                let replaced = self.places.get(place).location;
                self.places.set(place, entry);
                return replaced;
            }
            Err(place) if self.count < max_count(self.capacity) => place,
            Err(_) => {
                self.respread(grown(self.capacity));
                self.find(digest).unwrap_or_else(|place| place)
            }
        };
        let hole = self.next_hole(place);
        if hole == self.places.len() {
            self.places.append_chunk();
        }
        self.places.push_front(place..hole + 1, entry);
        self.count += 1;
        None
    }

    /// Removes the entry of `digest` and returns its location.
    pub(super) fn remove(&mut self, digest: Digest) -> Option<Location> {
        let place = self.find(digest).ok()?;
        let removed = self.places.get(place).location;
        self.remove_at(place);
        removed
    }

    /// Gives `digest` the location `new` if it has the location `expected`. Tells whether it did.
    pub(super) fn replace(&mut self, digest: Digest, expected: Location, new: Location) -> bool {
        let place = self.find_location(digest, expected);
        if let Some(place) = place {
            self.places.set(place, Entry::new(digest, new));
        }
        place.is_some()
    }

    /// Removes the entry of `digest` if it has the location `expected`. Tells whether it did.
    pub(super) fn remove_if(&mut self, digest: Digest, expected: Location) -> bool {
        let place = self.find_location(digest, expected);
        if let Some(place) = place {
            self.remove_at(place);
        }
        place.is_some()
    }

    /// Appends the entries at or after `from` to `out`, at most `limit` of them. Returns the digest of the first
    /// that was left out.
    pub(super) fn page(
        &self,
        from: Digest,
        limit: usize,
        out: &mut Vec<(Digest, Location)>,
    ) -> Option<Digest> {
        let (Ok(start) | Err(start)) = self.find(from);
        let mut entries = self.places.iter_from(start).filter_map(|entry| {
            entry.location.map(|location| (Digest::from_parts(from.shard(), entry.high, entry.low), location))
        });
        out.extend(entries.by_ref().take(limit));
        entries.next().map(|(digest, _)| digest)
    }

    /// Makes room for `additional` more entries in one step instead of many.
    pub(super) fn reserve(&mut self, additional: usize) {
        let count = self.count.saturating_add(additional);
        if count > max_count(self.capacity) {
            // The inverse of `max_count`, rounded up.
            self.respread(whole_chunks(count.saturating_add(count / 7).saturating_add(1)));
        }
    }

    /// Gives memory back when few of the places are in use.
    pub(super) fn shrink(&mut self) {
        if self.count < min_count(self.capacity) {
            let capacity = shrunk(self.count);
            if capacity < self.capacity {
                self.respread(capacity);
            }
        }
    }

    /// The place of `digest`, or as an error the place where it belongs: that of the next larger digest or of a
    /// hole, or the end of the array.
    fn find(&self, digest: Digest) -> Result<usize, usize> {
        let wanted = (digest.high(), digest.low());
        let mut place = home(digest.high(), self.capacity);
        loop {
            let part = self.places.part_from(place);
            let smaller = |entry: &&Entry| !entry.is_hole() && (entry.high, entry.low) < wanted;
            let smaller_count = part.iter().take_while(smaller).count();
            place += smaller_count;
            match part.get(smaller_count) {
                Some(entry) if !entry.is_hole() && (entry.high, entry.low) == wanted => return Ok(place),
                None if !part.is_empty() => {}
                Some(_) | None => return Err(place),
            }
        }
    }

    /// The first hole at or after `place`, or the end of the array.
    fn next_hole(&self, mut place: usize) -> usize {
        loop {
            let part = self.places.part_from(place);
            let run = part.iter().take_while(|entry| !entry.is_hole()).count();
            place += run;
            if run < part.len() || part.is_empty() {
                return place;
            }
        }
    }

    fn find_location(&self, digest: Digest, expected: Location) -> Option<usize> {
        let place = self.find(digest).ok()?;
        let Entry { location, .. } = self.places.get(place);
        (location == Some(expected)).then_some(place)
    }

    /// Closes the gap at `place`: the entries behind it move back, up to the first that lies at its home.
    fn remove_at(&mut self, place: usize) {
        let displaced = self
            .places
            .iter_from(place + 1)
            .zip(place + 1..)
            .take_while(|(entry, place)| !entry.is_hole() && home(entry.high, self.capacity) < *place)
            .count();
        self.places.pop_front(place..place + 1 + displaced);
        self.count -= 1;
    }

    /// Gives every entry its place in a table of `capacity`, which is at least the count.
    ///
    /// ```text
    /// before                               .AB.CD
    /// pack to the end                      ..ABCD
    /// add or drop places at the front      ......ABCD
    /// spread, front to back                A..BC...D.      place = max(place before + 1, home)
    /// ```
    /// Spreading never overwrites an entry it has yet to read: the entries that follow need a place each before the
    /// end, so no entry's place lies behind where it waits.
    fn respread(&mut self, capacity: usize) {
        let len = self.pack(capacity).max(capacity + OVERHANG);
        self.places.resize_at_front(len);
        self.spread(capacity);
        self.capacity = capacity;
    }

    /// Packs the entries to the end. Returns how many places they need when spread to `capacity`: as many as the
    /// home of some entry and the entries from there on. Without branches on holes, which nothing could predict.
    fn pack(&mut self, capacity: usize) -> usize {
        let len = self.places.len();
        let (mut packed, mut needed) = (0, 0);
        for place in (0..len).rev() {
            let entry = self.places.get(place);
            // A hole is overwritten by the next entry, or by `spread`.
            self.places.set(len - packed - 1, entry);
            packed += usize::from(!entry.is_hole());
            needed = needed.max(home(entry.high, capacity) + packed);
            if packed == self.count {
                break;
            }
        }
        needed
    }

    /// Spreads the entries, packed at the end, to their places for `capacity`.
    fn spread(&mut self, capacity: usize) {
        let first = self.places.len() - self.count;
        self.places.clear_before(first);
        let mut free = 0;
        for waiting in first..self.places.len() {
            let entry = self.places.get(waiting);
            let place = free.max(home(entry.high, capacity));
            self.places.set(waiting, HOLE);
            self.places.set(place, entry);
            free = place + 1;
        }
    }
}

#[cfg(test)]
mod tests;
