//! What a store tells of itself as it happens: to the observer of its options, and to `tracing` where the feature of that
//! name is on.
//!
//! ```text
//! note:  put the event into the queue; wake the thread that tells           anywhere, under any lock
//! tell:  take the oldest event out of the queue; call the observer; again   without any lock
//! ```
//! What an observer does, and how long it takes, is not known here. So none is called where something happens: a put that
//! rotates holds the writer lock. One thread tells at a time, so events are told in the order in which they were noted. The
//! thread `bitcask-events` does it, and whoever closes the store tells the rest; a store without threads tells between
//! operations.
//!
//! Where nobody listens nothing is noted, and no event is made. Nothing is noted for single reads and writes.

mod event;
#[cfg(feature = "tracing")]
mod trace;

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

pub use self::event::Event;
use crate::signal::{Signal, Woken};
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many events wait for a slow observer; those behind them are counted only.
const WAITING_MAX: usize = 1024;

/// A sync that takes this long is an event.
pub(crate) const SLOW_SYNC: Duration = Duration::from_secs(1);

/// Whom the user wants to be told.
#[derive(Clone)]
pub(crate) struct Observer(Arc<dyn Fn(&Event) + Send + Sync>);

impl Observer {
    pub(crate) fn new(observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observer))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// The events of one store.
pub(crate) struct Events {
    observer: Option<Observer>,
    #[cfg(feature = "tracing")]
    store: String,
    /// Rank 8: the last to be taken, for moments.
    queue: Mutex<Queue>,
    noted: Signal,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Event>,
    /// Count of events behind those that wait.
    missed: u64,
    /// Whether somebody tells: he takes what comes meanwhile as well.
    is_telling: bool,
}

impl Events {
    #[cfg_attr(
        not(feature = "tracing"),
        expect(unused_variables, reason = "an observer knows which store it was given to")
    )]
    pub(crate) fn new(observer: Option<Observer>, store: &Path) -> Self {
        Self {
            observer,
            #[cfg(feature = "tracing")]
            store: store.display().to_string(),
            queue: Mutex::default(),
            noted: Signal::default(),
        }
    }

    /// Whether anybody listens.
    pub(crate) fn is_on(&self) -> bool {
        cfg!(feature = "tracing") || self.observer.is_some()
    }

    /// Lets an event be told soon, if anybody listens.
    pub(crate) fn note(&self, event: impl FnOnce() -> Event) {
        if !self.is_on() {
            return;
        }
        let event = event();
        {
            let mut queue = self.queue();
            // Where some were left out all are, until that is told: or their place in the order would be lost.
            if queue.missed > 0 || queue.waiting.len() >= WAITING_MAX {
                queue.missed += 1;
            } else {
                queue.waiting.push_back(event);
            }
        }
        self.noted.raise();
    }

    /// Tells what was noted, unless somebody is at it, who then takes the rest as well. The caller holds no lock.
    pub(crate) fn tell(&self) {
        while self.tell_next() {}
    }

    /// Tells what is noted, as it comes, until it is stopped. Then the rest waits: an observer may cause an event by each
    /// that it is told of, and the close must come to an end.
    pub(crate) fn tell_until_stopped(&self) {
        while self.noted.wait(None) != Woken::Stopped {
            if self.tell_next() {
                self.noted.raise();
            }
        }
    }

    /// Ends [`Events::tell_until_stopped`] after the event that is being told.
    pub(crate) fn stop(&self) {
        self.noted.stop();
    }

    /// Tells the oldest event, if there is one and nobody is telling another.
    fn tell_next(&self) -> bool {
        let Some(event) = self.begin_to_tell() else { return false };
        // What panics in it is reported by the panic hook. The next event is told as if nothing had been.
        let _ = catch_unwind(AssertUnwindSafe(|| self.call_observer(&event)));
        self.queue().is_telling = false;
        true
    }

    fn begin_to_tell(&self) -> Option<Event> {
        let mut queue = self.queue();
        if queue.is_telling {
            return None;
        }
        let event = queue.waiting.pop_front().or_else(|| match std::mem::take(&mut queue.missed) {
            0 => None,
            count => Some(Event::Missed { count }),
        })?;
        queue.is_telling = true;
        Some(event)
    }

    fn call_observer(&self, event: &Event) {
        #[cfg(feature = "tracing")]
        trace::trace(&self.store, event);
        if let Some(Observer(observer)) = &self.observer {
            observer(event);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that could panic happens under this lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaped(keys: u64) -> impl FnOnce() -> Event {
        move || Event::Reaped { keys }
    }

    /// Events that are told to a list of texts.
    fn told_to_a_list() -> (Events, Arc<Mutex<Vec<String>>>) {
        let list = Arc::new(Mutex::new(Vec::new()));
        let observer = Observer::new({
            let list = Arc::clone(&list);
            move |event| list.lock().unwrap().push(format!("{event:?}"))
        });
        (Events::new(Some(observer), Path::new("store")), list)
    }

    #[test]
    fn what_a_slow_observer_cannot_take_is_counted_and_told_in_its_place() {
        let (events, list) = told_to_a_list();
        for keys in 0..WAITING_MAX as u64 + 5 {
            events.note(reaped(keys));
        }
        events.tell();
        events.note(reaped(7));
        events.tell();
        let list = list.lock().unwrap();
        assert_eq!(list.len(), WAITING_MAX + 2);
        assert_eq!(list[WAITING_MAX - 1], format!("Reaped {{ keys: {} }}", WAITING_MAX - 1));
        assert_eq!(list[WAITING_MAX..], ["Missed { count: 5 }", "Reaped { keys: 7 }"]);
    }

    /// Once one was left out, there is room for the next after the first is told; but it comes after what was left out.
    #[test]
    fn nothing_is_told_before_what_was_left_out_before_it() {
        let (events, list) = told_to_a_list();
        for keys in 0..=WAITING_MAX as u64 {
            events.note(reaped(keys));
        }
        assert!(matches!(events.begin_to_tell(), Some(Event::Reaped { keys: 0 })));
        events.queue().is_telling = false;
        events.note(reaped(7));
        events.tell();
        assert_eq!(list.lock().unwrap().last().unwrap(), "Missed { count: 2 }");
    }

    #[test]
    fn events_of_many_threads_are_told_one_at_a_time_and_each_threads_in_order() {
        let (at_work, last) = (Mutex::new(()), Arc::new(Mutex::new([0; 4])));
        let observer = Observer::new({
            let last = Arc::clone(&last);
            move |event| {
                let _alone = at_work.try_lock().expect("another event is being told");
                let Event::Reaped { keys } = event else { panic!("{event:?}") };
                let mut last = last.lock().unwrap();
                let (thread, number) = (usize::try_from(keys % 4).unwrap(), keys / 4);
                assert_eq!(number, last[thread] + 1, "of thread {thread}");
                last[thread] = number;
            }
        });
        let events = Events::new(Some(observer), Path::new("store"));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let events = &events;
                scope.spawn(move || {
                    for number in 1..=200 {
                        events.note(reaped(4 * number + thread));
                        events.tell();
                    }
                });
            }
        });
        events.tell();
        assert_eq!(*last.lock().unwrap(), [200; 4]);
    }
}
