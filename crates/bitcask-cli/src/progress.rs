//! The progress bar or spinner of the verbs that take long, on standard error.
//!
//! There is one only when standard error is a terminal without a log; in logs and pipes it would be noise.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::log;
use crate::output::complain;

const BYTES: &str =
    "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
const BYTES_OPEN: &str = "{spinner} {msg} {binary_bytes}, {binary_bytes_per_sec}, {elapsed}";
const ENTRIES: &str = "{msg} [{bar:30}] {human_pos}/{human_len} entries, {prefix}, {rate}, {eta} left";
const UNKNOWN: &str = "{spinner} {msg}, {elapsed}";
const TICK: Duration = Duration::from_millis(100);

/// A bar, or nothing where nobody watches.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Whether anybody would see a bar: what is only good for the bar can be left undone.
    pub(crate) fn is_visible() -> bool {
        io::stderr().is_terminal() && !log::is_on()
    }

    /// A bar over so many bytes, without an end where that is not known.
    pub(crate) fn bytes(what: &'static str, total: Option<u64>) -> Self {
        Self::new(what, total, if total.is_some() { BYTES } else { BYTES_OPEN })
    }

    /// A bar over so many entries, which also shows their bytes.
    pub(crate) fn entries(what: &'static str, total: u64) -> Self {
        Self::new(what, Some(total), ENTRIES)
    }

    /// A spinner, for a task that does not tell how far it has come.
    pub(crate) fn unknown(what: &'static str) -> Self {
        let this = Self::new(what, None, UNKNOWN);
        if let Some(bar) = &this.bar {
            bar.enable_steady_tick(TICK);
        }
        this
    }

    /// Does a task of the engine under a bar over its bytes.
    pub(crate) fn over<T>(
        what: &'static str,
        task: impl FnOnce(&mut dyn FnMut(bitcask::Progress)) -> T,
    ) -> T {
        let bar = Self::new(what, Some(0), BYTES);
        task(&mut |progress: bitcask::Progress| {
            if let Some(bar) = &bar.bar {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            }
        })
    }

    fn new(what: &'static str, total: Option<u64>, template: &str) -> Self {
        if !Self::is_visible() {
            return Self { bar: None };
        }
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> ").with_key("rate", rate));
        }
        bar.set_message(what);
        Self { bar: Some(bar) }
    }

    /// Moves the bar to so many bytes.
    pub(crate) fn set_bytes(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// Moves the bar to so many entries, with so many bytes in all.
    pub(crate) fn set_entries(&self, position: u64, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            // The text is built anew each time; once in a while is enough for the eye.
            if position.is_multiple_of(256) {
                bar.set_prefix(indicatif::HumanBytes(bytes).to_string());
            }
        }
    }

    /// One sentence on standard error, above the bar.
    pub(crate) fn complain(&self, sentence: impl std::fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain(sentence)),
            None => complain(sentence),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The library's own has four decimals.
fn rate(state: &ProgressState, text: &mut dyn std::fmt::Write) {
    // Writing to a string does not fail.
    let _ = write!(text, "{:.0}/s", state.per_sec());
}
