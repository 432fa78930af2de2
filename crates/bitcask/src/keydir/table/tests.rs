//! The table against a sorted map, with its invariants checked after every burst of operations.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Digest, Location>;

const SHARD: u16 = 7;

impl Table {
    /// Panics when an invariant does not hold.
    fn check(&self) {
        let entries: Vec<(usize, Entry)> =
            (0..).zip(self.places.iter_from(0)).filter(|(_, entry)| !entry.is_hole()).collect();
        assert_eq!(entries.len(), self.count, "the count is the number of entries");
        assert!(self.count <= max_count(self.capacity), "the load has a limit");
        assert!(self.places.len() >= self.capacity, "every home is a place");
        for pair in entries.windows(2) {
            let [left, right] = [pair[0].1, pair[1].1].map(|entry| (entry.high, entry.low));
            assert!(left < right, "entries ascend");
        }
        for (place, entry) in entries {
            let home = home(entry.high, self.capacity);
            assert!(home <= place, "an entry lies at or after its home");
            assert!((home..place).all(|place| !self.places.get(place).is_hole()), "a hole before {place}");
        }
    }

    fn all(&self) -> Vec<(Digest, Location)> {
        let mut out = Vec::new();
        assert_eq!(self.page(Digest::from_parts(SHARD, 0, 0), usize::MAX, &mut out), None);
        out
    }
}

fn location(bits: u64) -> Location {
    Location::from_bits(bits).unwrap()
}

/// A run of operations on digests that lie `step` apart.
#[derive(Clone, Debug)]
struct Burst {
    kind: Kind,
    first: (u64, u32),
    step: (u64, u32),
    count: usize,
    location: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Insert,
    Remove,
    Replace,
    RemoveIf,
    Reserve,
    Shrink,
    Page,
}

fn kinds() -> impl Strategy<Value = Kind> {
    use Kind::{Insert, Page, Remove, RemoveIf, Replace, Reserve, Shrink};
    prop_oneof![
        6 => Just(Insert),
        4 => Just(Remove),
        1 => Just(Replace),
        2 => Just(RemoveIf),
        1 => Just(Reserve),
        2 => Just(Shrink),
        1 => Just(Page),
    ]
}

/// Starts and steps that bring runs that overlap, equal `high` words, and crowds at both ends of the table.
fn bursts() -> impl Strategy<Value = Burst> {
    let high = prop_oneof![0..4u64, (0..8u64).prop_map(|eighth| eighth << 61), u64::MAX - 4..=u64::MAX];
    let step = prop_oneof![
        Just((0, 1)),
        Just((1, 0)),
        Just((1 << 54, 0)),
        Just((1 << 56, 1)),
        Just((u64::MAX / 7, 3))
    ];
    let count = prop_oneof![4 => 1..8usize, 2 => 1..400usize];
    (kinds(), (high, 0..8u32), step, count, 1..4u64).prop_map(|(kind, first, step, count, location)| Burst {
        kind,
        first,
        step,
        count,
        location,
    })
}

fn apply(table: &mut Table, model: &mut Model, burst: &Burst) {
    let (mut high, mut low) = burst.first;
    for _ in 0..burst.count {
        let digest = Digest::from_parts(SHARD, high, low);
        let location = location(burst.location);
        match burst.kind {
            Kind::Insert => assert_eq!(table.insert(digest, location), model.insert(digest, location)),
            Kind::Remove => assert_eq!(table.remove(digest), model.remove(&digest)),
            Kind::Replace => {
                let holds = model.get(&digest) == Some(&location);
                let new = self::location(burst.location + 1);
                assert_eq!(table.replace(digest, location, new), holds);
                model.entry(digest).and_modify(|old| *old = if holds { new } else { *old });
            }
            Kind::RemoveIf => {
                let holds = model.get(&digest) == Some(&location);
                assert_eq!(table.remove_if(digest, location), holds);
                model.retain(|&other, _| !holds || other != digest);
            }
            Kind::Reserve => return table.reserve(burst.count),
            Kind::Shrink => return table.shrink(),
            Kind::Page => {
                let mut page = Vec::new();
                let next = table.page(digest, burst.count, &mut page);
                let mut expected = model.range(digest..).map(|(&digest, &location)| (digest, location));
                assert!(page.into_iter().eq(expected.by_ref().take(burst.count)));
                assert_eq!(next, expected.next().map(|(digest, _)| digest));
            }
        }
        assert_eq!(table.get(digest), model.get(&digest).copied());
        (high, low) = (high.wrapping_add(burst.step.0), low.wrapping_add(burst.step.1));
    }
}

proptest! {
    /// An earlier table stopped looking for a key at the first hole, which removals and splits can open before
    /// it: the insert that followed kept the key twice.
    #[test]
    fn a_table_does_what_a_sorted_map_does(bursts in vec(bursts(), 1..60)) {
        let (mut table, mut model) = (Table::new(), Model::new());
        for burst in &bursts {
            apply(&mut table, &mut model, burst);
            table.check();
            prop_assert!(table.all().into_iter().eq(model.iter().map(|(&digest, &location)| (digest, location))));
        }
    }
}

/// Digests that are spread as a hash spreads them.
fn spread(count: u64) -> impl DoubleEndedIterator<Item = Digest> {
    (1..=count).map(|number| {
        Digest::from_parts(
            SHARD,
            number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
                ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93),
            0,
        )
    })
}

#[test]
fn a_table_grows_and_shrinks_and_keeps_within_its_memory() {
    let mut table = Table::new();
    for (count, digest) in (1..).zip(spread(20_000)) {
        table.insert(digest, location(1));
        if table.count() >= 5_000 {
            assert!(table.memory_bytes() <= table.count() * 53 / 2, "over 26.5 bytes an entry at {count}");
        }
        if count % 500 == 0 {
            table.check();
        }
    }
    assert_eq!(table.count(), 20_000);
    for (count, digest) in (1..).zip(spread(20_000).rev()) {
        assert_eq!(table.remove(digest), Some(location(1)));
        table.shrink();
        if table.count() >= 1_000 {
            assert!(
                table.memory_bytes() <= table.count() * 44,
                "over 44 bytes an entry after removing {count}"
            );
        }
        if count % 500 == 0 {
            table.check();
        }
    }
    assert_eq!(table.count(), 0);
    assert!(table.memory_bytes() < 6_000, "an empty table keeps a chunk at most");
}

#[test]
fn a_table_at_the_edge_of_shrinking_neither_shrinks_nor_grows_again_at_once() {
    let mut table = Table::new();
    for digest in spread(10_000) {
        table.insert(digest, location(1));
    }
    for digest in spread(6_000) {
        table.remove(digest);
        table.shrink();
    }
    let bytes = table.memory_bytes();
    for digest in spread(200) {
        table.insert(digest, location(1));
        assert_eq!(table.memory_bytes(), bytes);
    }
    for digest in spread(200) {
        table.remove(digest);
        table.shrink();
        assert_eq!(table.memory_bytes(), bytes);
    }
}

#[test]
fn reserving_leaves_nothing_to_grow() {
    let mut table = Table::new();
    table.reserve(10_000);
    let bytes = table.memory_bytes();
    for digest in spread(10_000) {
        table.insert(digest, location(1));
    }
    assert_eq!(table.memory_bytes(), bytes);
    assert!(bytes < 10_000 * 24);
    table.check();
}

#[test]
fn homes_never_fall_and_stay_below_the_capacity() {
    for capacity in [1, 240, 1 << 20] {
        let homes: Vec<usize> = (0..1024u64).map(|part| home((part << 54).max(part), capacity)).collect();
        assert!(homes.is_sorted());
        assert_eq!(home(u64::MAX, capacity), capacity - 1);
    }
    assert_eq!(home(u64::MAX, 0), 0);
}
