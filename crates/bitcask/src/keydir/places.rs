//! A growing array of entries in pieces of one size.
//!
//! It is not one `Vec`, because 512 of those that grow by an eighth at about the same time leave holes in the heap
//! that nothing fits: measured with glibc, 27 to 32 bytes of anonymous memory a key where the tables held 24.7.
//! Pieces of one size fit wherever another was freed, and growing copies nothing. The price is one more
//! look-up, in a list of 800 bytes a shard at 10 million keys, which makes a get slower by about a fourteenth.
//!
//! Invariants: every place is an entry or a [`HOLE`]; the length is a multiple of [`Places::CHUNK`].
//!
//! Left out: where an entry belongs; that is the table's business.

use std::ops::Range;

use super::digest::Digest;
use crate::location::Location;

/// What the keydir holds for a key: 20 bytes, so that 24 bytes a key are enough with the holes. The packing takes
/// the alignment down to 4; else every entry would be padded to 24.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
pub(super) struct Entry {
    pub(super) high: u64,
    /// `None` makes the entry a hole.
    pub(super) location: Option<Location>,
    pub(super) low: u32,
}

const _: () = assert!(size_of::<Entry>() == 20 && align_of::<Entry>() == 4);

/// A place without an entry.
pub(super) const HOLE: Entry = Entry { high: 0, location: None, low: 0 };

impl Entry {
    pub(super) fn new(digest: Digest, location: Location) -> Self {
        Self { high: digest.high(), location: Some(location), low: digest.low() }
    }

    pub(super) fn is_hole(self) -> bool {
        matches!(self, Self { location: None, .. })
    }
}

type Chunk = [Entry; Places::CHUNK];

/// Entries and holes by place, from 0 to below `len`.
pub(super) struct Places {
    chunks: Vec<Box<Chunk>>,
}

impl Places {
    /// How many places are allocated together: 5,120 bytes. Half a chunk a shard is lost on average, and a store of
    /// few keys takes one for each shard: 2.6 MB. Smaller ones make the list of chunks longer and look-ups slower.
    pub(super) const CHUNK: usize = 256;

    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.len() * Self::CHUNK
    }

    /// The memory the places take, with the list of the chunks.
    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.len() * size_of::<Chunk>() + self.chunks.capacity() * size_of::<Box<Chunk>>()
    }

    /// The memory that so many places take.
    pub(super) const fn memory_of(len: usize) -> usize {
        len.div_ceil(Self::CHUNK) * (size_of::<Chunk>() + size_of::<Box<Chunk>>())
    }

    /// The entry or hole at `place`.
    ///
    /// # Panics
    /// When `place` is not below `len`. The same holds for [`Places::set`].
    pub(super) fn get(&self, place: usize) -> Entry {
        self.chunks[place / Self::CHUNK][place % Self::CHUNK]
    }

    pub(super) fn set(&mut self, place: usize, entry: Entry) {
        self.chunks[place / Self::CHUNK][place % Self::CHUNK] = entry;
    }

    /// The entries and holes from `place` to the end of its chunk; none when `place` is `len`.
    pub(super) fn part_from(&self, place: usize) -> &[Entry] {
        self.chunks.get(place / Self::CHUNK).map_or(&[], |chunk| &chunk[place % Self::CHUNK..])
    }

    /// The entries and holes from `place` on; none when `place` is `len`.
    pub(super) fn iter_from(&self, place: usize) -> impl Iterator<Item = Entry> + '_ {
        let (first, rest) = self
            .chunks
            .get(place / Self::CHUNK..)
            .unwrap_or_default()
            .split_at_checked(1)
            .unwrap_or_default();
        let first = first.iter().flat_map(move |chunk| &chunk[place % Self::CHUNK..]);
        first.chain(rest.iter().flat_map(|chunk| chunk.iter())).copied()
    }

    /// Adds holes at the end: one chunk of them.
    pub(super) fn append_chunk(&mut self) {
        // Exact, here and below: the list is a part of the memory that a key costs, and `Vec` would double it.
        self.chunks.reserve_exact(1);
        self.chunks.push(Box::new([HOLE; Self::CHUNK]));
    }

    /// Makes the length `len`, rounded up to whole chunks, by adding holes in front of the first place or by dropping
    /// what lies there. What remains keeps its distance to the end.
    pub(super) fn resize_at_front(&mut self, len: usize) {
        let (before, after) = (self.chunks.len(), len.div_ceil(Self::CHUNK));
        self.chunks.drain(..before.saturating_sub(after));
        self.chunks.reserve_exact(after - self.chunks.len());
        self.chunks.resize_with(after, || Box::new([HOLE; Self::CHUNK]));
        self.chunks.rotate_right(after.saturating_sub(before));
        self.chunks.shrink_to_fit();
    }

    /// Makes every place before `end` a hole.
    pub(super) fn clear_before(&mut self, end: usize) {
        let mut start = 0;
        while start < end {
            let part = self.part_mut(start, end);
            part.fill(HOLE);
            start += part.len();
        }
    }

    /// Moves the entries in `range` one place towards the end, puts `entry` at its start, and drops its last.
    pub(super) fn push_front(&mut self, range: Range<usize>, entry: Entry) {
        let mut carried = entry;
        let mut start = range.start;
        while start < range.end {
            let part = self.part_mut(start, range.end);
            let last = part.len() - 1;
            let pushed_out = part[last];
            part.copy_within(..last, 1);
            part[0] = carried;
            start += part.len();
            carried = pushed_out;
        }
    }

    /// Moves the entries in `range` one place towards the start, puts a hole at its end, and drops its first.
    pub(super) fn pop_front(&mut self, range: Range<usize>) {
        let mut start = range.start;
        while start < range.end {
            let part = self.part_mut(start, range.end);
            let last = part.len() - 1;
            part.copy_within(1.., 0);
            start += last + 1;
            let next = if start < range.end { self.get(start) } else { HOLE };
            self.set(start - 1, next);
        }
    }

    /// The places from `start` to below `end`, as far as they lie in one chunk.
    fn part_mut(&mut self, start: usize, end: usize) -> &mut [Entry] {
        let chunk = &mut self.chunks[start / Self::CHUNK];
        let first = start % Self::CHUNK;
        &mut chunk[first..Self::CHUNK.min(first + (end - start))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> Entry {
        Entry { high: number, location: Location::from_bits(number), low: 0 }
    }

    fn places(len: usize) -> Places {
        let mut places = Places::new();
        places.resize_at_front(len);
        for place in 0..places.len() {
            places.set(place, entry(place as u64 + 1));
        }
        places
    }

    fn numbers(places: &Places) -> Vec<u64> {
        places.iter_from(0).map(|entry| entry.high).collect()
    }

    #[test]
    fn pushing_and_popping_a_range_is_what_a_vec_does_across_chunks() {
        let len = 3 * Places::CHUNK;
        for start in [0, 1, Places::CHUNK - 1, Places::CHUNK, Places::CHUNK + 1] {
            for end in [start + 1, Places::CHUNK + 2, 2 * Places::CHUNK, 2 * Places::CHUNK + 1, len] {
                let mut pushed = places(len);
                let mut expected = numbers(&pushed);
                pushed.push_front(start..end, entry(9_999));
                expected.remove(end - 1);
                expected.insert(start, 9_999);
                assert_eq!(numbers(&pushed), expected, "push {start}..{end}");

                let mut popped = places(len);
                let mut expected = numbers(&popped);
                popped.pop_front(start..end);
                expected.insert(end, 0);
                expected.remove(start);
                assert_eq!(numbers(&popped), expected, "pop {start}..{end}");
            }
        }
    }

    #[test]
    fn iterating_begins_at_any_place() {
        let places = places(2 * Places::CHUNK);
        for place in 0..=places.len() {
            assert_eq!(places.iter_from(place).count(), places.len() - place);
            assert_eq!(
                places.iter_from(place).next().map(|entry| entry.high),
                (place < places.len()).then_some(place as u64 + 1)
            );
        }
        assert_eq!(Places::new().iter_from(0).count(), 0);
    }

    #[test]
    fn resizing_keeps_the_end_and_appending_keeps_the_front() {
        let mut places = places(2 * Places::CHUNK);
        let [first, second] = [1, Places::CHUNK as u64 + 1];
        places.resize_at_front(2 * Places::CHUNK + 1);
        assert_eq!(places.len(), 3 * Places::CHUNK);
        assert!(places.get(Places::CHUNK - 1).is_hole());
        assert_eq!(numbers(&places)[Places::CHUNK], first);
        places.resize_at_front(Places::CHUNK);
        assert_eq!(places.len(), Places::CHUNK);
        assert_eq!(numbers(&places)[0], second);
        places.append_chunk();
        assert_eq!(numbers(&places)[0], second);
        assert!(places.get(Places::CHUNK).is_hole());
    }

    #[test]
    fn clearing_leaves_what_lies_behind() {
        let mut places = places(3 * Places::CHUNK);
        places.clear_before(Places::CHUNK + 1);
        let holes = places.iter_from(0).take_while(|entry| entry.is_hole()).count();
        assert_eq!(holes, Places::CHUNK + 1);
        assert_eq!(numbers(&places)[holes], holes as u64 + 1);
    }
}
