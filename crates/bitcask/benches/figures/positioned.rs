//! Reads and writes at an offset, as each system spells them.

use std::fs::File;
use std::io;

#[cfg(unix)]
use std::os::unix::fs::FileExt;
#[cfg(windows)]
use std::os::windows::fs::FileExt;

#[cfg(unix)]
pub(crate) fn read(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

#[cfg(windows)]
pub(crate) fn read(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.seek_read(buffer, offset).map(|_| ())
}

#[cfg(unix)]
pub(crate) fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

#[cfg(windows)]
pub(crate) fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.seek_write(bytes, offset).map(|_| ())
}
