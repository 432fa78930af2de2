//! What must hold of a key for a write to happen, and what is known of the key when that is judged.

/// A condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The key has no value.
    Absent,
    /// It has one.
    Present,
    /// It has the value that was written at this timestamp.
    Timestamp(u64),
}

/// What is known of a key under the writer lock, where no file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// The keydir does not lead to it.
    Absent,
    /// The keydir leads to a record that has expired.
    Expired,
    /// It has a value; the timestamp of it, if its record was read.
    Present(Option<u64>),
    /// It has a record with an expiry that nobody has read.
    Unread,
}

impl Condition {
    /// Whether the condition holds of a key in this state; `None` when its record must be read to know.
    pub(crate) fn holds(self, state: KeyState) -> Option<bool> {
        match (self, state) {
            (_, KeyState::Unread) | (Self::Timestamp(_), KeyState::Present(None)) => None,
            (Self::Timestamp(wanted), KeyState::Present(Some(timestamp))) => Some(wanted == timestamp),
            (Self::Present, KeyState::Present(_)) => Some(true),
            (Self::Absent, state) => Some(!matches!(state, KeyState::Present(_))),
            (Self::Present | Self::Timestamp(_), KeyState::Absent | KeyState::Expired) => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_fails_or_asks_for_the_record() {
        use Condition::{Absent, Present, Timestamp};
        let states = [
            KeyState::Absent,
            KeyState::Expired,
            KeyState::Present(None),
            KeyState::Present(Some(7)),
            KeyState::Present(Some(8)),
            KeyState::Unread,
        ];
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(states.map(|state| Absent.holds(state)), [yes, yes, no, no, no, None]);
        assert_eq!(states.map(|state| Present.holds(state)), [no, no, yes, yes, yes, None]);
        assert_eq!(states.map(|state| Timestamp(7).holds(state)), [no, no, None, yes, no, None]);
    }
}
