//! Lines of JSON, one object each, with a limit for their length and with their numbers for failures.

use std::io::{BufRead, BufReader, Read};

use serde::de::DeserializeOwned;

use super::{Input, MAX_KEY_LEN};
use crate::failure::Failure;

/// Every byte of a string may be written in six, as `\u0000`.
const MAX_ESCAPED_LEN: u64 = 6;
/// Room for the names of members, punctuation and spaces.
const LINE_OVERHEAD: u64 = 4_096;

/// Reads objects, one line at a time.
pub(crate) struct LineReader {
    input: BufReader<Input>,
    line: Vec<u8>,
    line_number: u64,
    max_line_len: u64,
    position: u64,
}

impl LineReader {
    /// Lines longer than an entry with a value of `max_value_size` bytes can be are a failure.
    pub(crate) fn new(input: Input, max_value_size: u64) -> Self {
        let content = max_value_size.saturating_add(MAX_KEY_LEN);
        Self {
            input: BufReader::with_capacity(1 << 16, input),
            line: Vec::new(),
            line_number: 0,
            max_line_len: content.saturating_mul(MAX_ESCAPED_LEN).saturating_add(LINE_OVERHEAD),
            position: 0,
        }
    }

    /// Reads the next line into `self.line`; false at the end.
    fn read_line(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        let mut limited = (&mut self.input).take(self.max_line_len.saturating_add(1));
        let result = limited.read_until(b'\n', &mut self.line);
        let len = result.map_err(|source| Failure::Io {
            operation: "read",
            what: self.input.get_ref().name().to_owned(),
            source,
        })? as u64;
        if len == 0 {
            return Ok(false);
        }
        self.line_number += 1;
        self.position += len;
        if len > self.max_line_len {
            return Err(
                self.failure(format!("the line is longer than the {} bytes allowed", self.max_line_len))
            );
        }
        // Some editors begin a file with this mark; it is no part of the text.
        if self.line_number == 1 && self.line.starts_with("\u{feff}".as_bytes()) {
            self.line.drain(.."\u{feff}".len());
        }
        Ok(true)
    }

    /// The next object, `None` at the end. Blank lines are skipped. After a failure there is no next one.
    pub(crate) fn next_object<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        while self.read_line()? {
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            let parsed = serde_json::from_slice(&self.line);
            return parsed.map(Some).map_err(|error| self.failure(explain(&error)));
        }
        Ok(None)
    }

    /// The number of the line that was read last, beginning with 1.
    pub(crate) fn line_number(&self) -> u64 {
        self.line_number
    }

    /// How failures name a line.
    pub(crate) fn place_of(&self, line_number: u64) -> String {
        format!("line {line_number} of {}", self.input.get_ref().name())
    }

    /// What is wrong with the line that was read last.
    fn failure(&self, what: String) -> Failure {
        Failure::Input { place: self.place_of(self.line_number), what }
    }

    /// How many bytes were read so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes there are in all, where that can be known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.input.get_ref().len()
    }
}

/// What the parser says, without its own idea of the line: it sees one line at a time.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&suffix) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_longer_than_any_entry_is_refused_without_reading_the_rest() {
        let mut reader = LineReader::new(Input::of(" ".repeat(1 << 20).as_bytes()), 100);
        let failure = reader.next_object::<u64>().unwrap_err();
        assert!(
            failure.to_string().contains("line 1 of test: the line is longer than the 397906 bytes allowed")
        );
    }
}
