//! Writes that depend on what a key has.
//!
//! ```text
//! read the key's record, outside the lock; decide what becomes of the key
//! lock the writer; if the keydir leads to the same record still, do that; otherwise begin again
//! ```
//! The file of the record is held open in between, so that its slot is not used again: equal locations mean the same
//! record. A merge that moves the record meanwhile makes it begin again as well, and it finds the same value.

use std::borrow::Cow;

use crate::commit::Verdict;
use crate::error::{Error, Result};
use crate::expiry::Lifetime;
use crate::options::{Durability, PutOptions};
use crate::read::Found;
use crate::store::{Store, check_key};
use crate::writer::Draft;

/// What becomes of a key, from the closure given to `Bitcask::update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing is written.
    Keep,
    /// The key has this value. What it had before keeps its expiry, unless the options of the update have another.
    Put(Vec<u8>),
    /// The key is removed.
    Delete,
}

/// What becomes of a key.
enum Change<'a> {
    Keep,
    /// A value and its expiry.
    Put(Cow<'a, [u8]>, Option<u64>),
    Delete,
}

impl Store {
    /// Lets `decide` say what becomes of a key, given its record, and does that if the key is still as it was then;
    /// otherwise asks again.
    fn modify(
        &self,
        key: &[u8],
        durability: Durability,
        mut decide: impl for<'a> FnMut(Option<&'a Found>) -> Result<Change<'a>>,
    ) -> Result<()> {
        let side = self.write_side()?;
        // Asked before anything is read: a poisoned store answers with its cause.
        side.check()?;
        self.check_open()?;
        check_key(key)?;
        let digest = self.keydir.digest(key);
        loop {
            let found = self.find(digest)?;
            let there = || found.as_ref().filter(|found| self.is_there(key, &found.record));
            let then = there();
            let change = decide(then)?;
            let draft = match &change {
                Change::Put(value, expiry) => Some(self.draft(key, value, *expiry)),
                // One that has expired needs its tombstone too: the clock may go back.
                Change::Delete => found.as_ref().map(|_| Draft::tombstone(self.identity.format, key)),
                Change::Keep => None,
            };
            let location = found.as_ref().map(|found| found.location);
            let judge = || match &draft {
                _ if planted!(
                    "an update does not look again",
                    false,
                    self.keydir.get(digest) != location
                ) =>
                {
                    Verdict::Stale
                }
                _ if there().is_some() != then.is_some() => Verdict::Stale,
                Some(draft) => Verdict::Write(draft),
                None => Verdict::Refuse,
            };
            if self.write(side, digest, durability, judge)?.is_some() {
                return Ok(());
            }
        }
    }

    /// Gives the key's value another expiry; whether the key was there.
    pub(crate) fn set_lifetime(&self, key: &[u8], lifetime: Lifetime) -> Result<bool> {
        let expiry = lifetime.expiry(&*self.clock);
        let mut was_there = false;
        self.modify(key, self.options.durability, |found| {
            was_there = found.is_some();
            Ok(match found {
                Some(found) if found.record.header.expiry != expiry => {
                    Change::Put(found.record.value().into(), expiry)
                }
                _ => Change::Keep,
            })
        })?;
        Ok(was_there)
    }

    /// Gives the key the value `new`, or none, if it has `expected`, or none; whether it did.
    pub(crate) fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        new.map_or(Ok(()), |new| self.check_value(new))?;
        let mut is_equal = false;
        self.modify(key, self.options.durability, |found| {
            is_equal = found.map(value) == expected;
            Ok(match new {
                _ if !is_equal => Change::Keep,
                Some(new) => Change::Put(new.to_vec().into(), None),
                None => Change::Delete,
            })
        })?;
        Ok(is_equal)
    }

    /// Lets `f` say what becomes of a key, given its value; whether anything was written.
    pub(crate) fn update(
        &self,
        key: &[u8],
        options: &PutOptions,
        mut f: impl FnMut(Option<&[u8]>) -> Update,
    ) -> Result<bool> {
        if options.condition.is_some() {
            let reason = "an update has no condition but what its closure decides".to_owned();
            return Err(Error::InvalidOptions { reason });
        }
        let mut is_written = false;
        self.modify(key, self.durability(options), |found| {
            let change = match f(found.map(value)) {
                Update::Keep => Change::Keep,
                Update::Put(value) => {
                    self.check_value(&value)?;
                    let kept = found.and_then(|found| found.record.header.expiry);
                    Change::Put(value.into(), options.lifetime.expiry(&*self.clock).or(kept))
                }
                Update::Delete if found.is_none() => Change::Keep,
                Update::Delete => Change::Delete,
            };
            is_written = !matches!(change, Change::Keep);
            Ok(change)
        })?;
        Ok(is_written)
    }

    /// Adds `by` to the integer that the key has as decimal text, 0 if it has no value; the sum.
    pub(crate) fn increment(&self, key: &[u8], by: i64) -> Result<i64> {
        let mut sum = 0;
        self.modify(key, self.options.durability, |found| {
            let before = match found {
                Some(found) => parse_integer(found.record.value()).ok_or(Error::NotAnInteger)?,
                None => 0,
            };
            sum = before.checked_add(by).ok_or(Error::IntegerOverflow { value: before, by })?;
            let expiry = found.and_then(|found| found.record.header.expiry);
            Ok(Change::Put(sum.to_string().into_bytes().into(), expiry))
        })?;
        Ok(sum)
    }
}

fn value(found: &Found) -> &[u8] {
    found.record.value()
}

/// The integer whose one text this is: no sign but a minus, no zeros in front, nothing around it.
fn parse_integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_has_one_text() {
        for number in [0, 7, -7, 10, i64::MAX, i64::MIN] {
            assert_eq!(parse_integer(number.to_string().as_bytes()), Some(number));
        }
        for text in
            ["", "+7", "07", "-0", " 7", "7 ", "7.0", "0x7", "seven", "9223372036854775808", "\u{0667}"]
        {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_integer(&[0xff]), None);
    }
}
