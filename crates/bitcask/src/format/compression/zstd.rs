//! One Zstandard frame, as RFC 8878 describes it.

use std::cell::RefCell;

use ::zstd::bulk::{Compressor, Decompressor};

pub(super) const IS_BUILT: bool = true;

thread_local! {
    /// Kept, because making one takes longer than to compress a short value.
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::default();
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::default();
}

/// As `Algorithm::compress`.
pub(super) fn compress(plain: &[u8], level: i32, room: usize, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    out.resize(start + room, 0);
    let len = COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.set_compression_level(level).ok()?;
        // It ends early where there is not the room.
        compressor.compress_to_buffer(plain, &mut out[start..]).ok()
    })?;
    out.truncate(start + len);
    out.shrink_to_fit();
    Some(())
}

/// As `Algorithm::decompress`.
pub(super) fn decompress(compressed: &[u8], plain: &mut [u8]) -> Option<usize> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.decompress_to_buffer(compressed, plain).ok())
}
