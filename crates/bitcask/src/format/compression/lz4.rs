//! One LZ4 block, as the format's own document describes it.

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

pub(super) const IS_BUILT: bool = true;

/// The longest input of the reference implementation, which others rely on.
const LEN_MAX: usize = 0x7e00_0000;

/// As `Algorithm::compress`; there is one level.
pub(super) fn compress(plain: &[u8], _level: i32, room: usize, out: &mut Vec<u8>) -> Option<()> {
    if plain.len() > LEN_MAX {
        return None;
    }
    let start = out.len();
    // It wants room for the worst case, which is given back.
    out.resize(start + get_maximum_output_size(plain.len()), 0);
    let len = compress_into(plain, &mut out[start..]).ok().filter(|&len| len <= room)?;
    out.truncate(start + len);
    out.shrink_to_fit();
    Some(())
}

/// As `Algorithm::decompress`.
pub(super) fn decompress(compressed: &[u8], plain: &mut [u8]) -> Option<usize> {
    decompress_into(compressed, plain).ok()
}
