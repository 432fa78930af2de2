//! CRC-32C (Castagnoli), the one checksum of every layout; computed by the processor's own instruction where
//! there is one.
//!
//! It finds accidents, not forgers: the salt of each file makes stale and embedded records fail, but a checksum
//! is no signature.

/// The CRC-32C of `bytes`.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The CRC-32C of what `so_far` was computed over, followed by `bytes`.
pub(crate) fn extend(so_far: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(so_far, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_crc_32c() {
        // The check value of the catalogue of parametrised CRC algorithms.
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        assert_eq!(extend(checksum(b"1234"), b"56789"), 0xe306_9283);
    }
}
