//! Where results go: standard output, or a file that the user named.
//!
//! A reader that closes our standard output (`bitcask scan ./data | head`) has what it wanted. Rust ignores SIGPIPE, so
//! that shows as a `BrokenPipe` error of a write; here it becomes [`Failure::ClosedPipe`], which ends the process
//! quietly and successfully.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::failure::Failure;

/// How a verb tells what it did or found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportForm {
    /// For people.
    Lines,
    /// For programs.
    Json,
}

/// What a verb prints of its report for people where the exit code says enough.
pub(crate) const NO_LINES: [&str; 0] = [];

/// Large enough that a write call is rare, small enough not to matter.
const BUFFER_LEN: usize = 1 << 16;

/// A buffered output. [`Output::finish`] must be called: dropping it would lose the failure of the last write.
pub(crate) struct Output {
    writer: BufWriter<Box<dyn Write>>,
    /// `None` is standard output.
    path: Option<PathBuf>,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Self { writer: BufWriter::with_capacity(BUFFER_LEN, Box::new(io::stdout())), path: None }
    }

    /// The file, emptied if it exists; `-` is standard output.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::stdout());
        }
        let file = File::create(path).map_err(|source| Failure::io("create", path, source))?;
        let writer = BufWriter::with_capacity(BUFFER_LEN, Box::new(file) as Box<dyn Write>);
        Ok(Self { writer, path: Some(path.to_owned()) })
    }

    /// Whatever takes the bytes, for tests.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn into(writer: impl Write + 'static) -> Self {
        Self { writer: BufWriter::new(Box::new(writer)), path: None }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(|source| self.failure(source))
    }

    pub(crate) fn line(&mut self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.bytes(text.as_ref())?;
        self.bytes(b"\n")
    }

    /// One JSON value on a line of its own.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, value).map_err(|error| self.failure(error.into()))?;
        self.bytes(b"\n")
    }

    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|source| self.failure(source))
    }

    /// What a failed write means.
    pub(crate) fn failure(&self, source: io::Error) -> Failure {
        match &self.path {
            None if source.kind() == io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            None => Failure::Io { operation: "write to", what: "standard output".to_owned(), source },
            Some(path) => Failure::io("write to", path, source),
        }
    }
}

/// Prints a report on standard output: one JSON value, or the lines that say the same.
pub(crate) fn print_report<L: AsRef<[u8]>>(
    form: ReportForm,
    report: &impl Serialize,
    lines: impl IntoIterator<Item = L>,
) -> Result<(), Failure> {
    let mut output = Output::stdout();
    match form {
        ReportForm::Json => output.json_line(report)?,
        ReportForm::Lines => lines.into_iter().try_for_each(|line| output.line(line))?,
    }
    output.finish()
}

/// For the libraries that write for us; they hand the errors back, and [`Output::failure`] reads them.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Whether a person looks at standard output.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether there is still somebody at the other end of standard output, as far as the system tells without a write.
#[cfg(unix)]
pub(crate) fn stdout_has_reader() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    // A failure tells nothing; the next write will.
    let polled = poll(&mut fds, Some(&Timespec::default()));
    polled.is_err() || !fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether there is still somebody at the other end of standard output, as far as the system tells without a write.
#[cfg(not(unix))]
pub(crate) fn stdout_has_reader() -> bool {
    true
}

/// One sentence on standard error.
pub(crate) fn complain(sentence: impl std::fmt::Display) {
    // Where standard error is closed, there is nobody to tell.
    let _ = writeln!(io::stderr(), "bitcask: {sentence}");
}
