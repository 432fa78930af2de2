//! Events of the engine as lines on standard error, for those who ask for them.

use std::io;

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;

/// How important an event must be to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// Tells events from this level on, until the process ends.
pub(crate) fn begin(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr)
        // It would complain of a standard error that cannot be written to by writing to it, and panic.
        .log_internal_errors(false)
        .init();
}

/// Whether events are told.
pub(crate) fn is_on() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}
