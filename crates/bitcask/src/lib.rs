//! Bitcask.
mod clock;
mod error;
mod format;
mod location;
mod options;
mod vfs;
pub use error::{Error, Result};
pub use options::{Durability, Io, OpenMode, Options, PutOptions};
