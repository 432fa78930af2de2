//! An algorithm that this build does not have: nothing asks for either of these then.

pub(super) const IS_BUILT: bool = false;

pub(super) fn compress(_plain: &[u8], _level: i32, _room: usize, _out: &mut Vec<u8>) -> Option<()> {
    None
}

pub(super) fn decompress(_compressed: &[u8], _plain: &mut [u8]) -> Option<usize> {
    None
}
