//! Bitcask.
mod clock;
mod location;
mod vfs;
