//! CRC32C (Castagnoli; RFC 3720 appendix B.4), by carry-less multiplication where the CPU has it.

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

/// CRC32C of `bytes`, going on from `seed`, the CRC32C of all bytes before them (0: there are none).
pub fn crc32c(bytes: &[u8], seed: u32) -> u32 {
    if seed == 0 {
        return crc32_iscsi(bytes);
    }
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!seed));
    digest.update(bytes);
    digest.finalize() as u32
}

/// The same for callers that hold an address: TypeScript through bun:ffi.
///
/// # Safety
/// `base + start .. base + start + length` is readable memory that nobody writes during the call.
pub unsafe extern "C" fn crc32c_at(base: *const u8, start: usize, length: usize, seed: u32) -> u32 {
    if base.is_null() || length == 0 {
        return seed;
    }
    // SAFETY: the caller's promise; the pointer is not null.
    crc32c(unsafe { std::slice::from_raw_parts(base.add(start), length) }, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_values_hold() {
        assert_eq!(crc32c(b"123456789", 0), 0xe306_9283);
        // RFC 3720 B.4: 32 bytes of zeros, of ones, and 0..31.
        assert_eq!(crc32c(&[0; 32], 0), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32], 0), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising, 0), 0x46dd_794e);
    }

    #[test]
    fn a_sum_in_parts_equals_the_whole() {
        let bytes: Vec<u8> = (0..5000u32).map(|n| (n * 31 % 251) as u8).collect();
        let whole = crc32c(&bytes, 0);
        for cut in [0, 1, 15, 16, 17, 255, 1024, 4999, 5000] {
            assert_eq!(crc32c(&bytes[cut..], crc32c(&bytes[..cut], 0)), whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_empty_range_gives_the_seed_and_touches_nothing() {
        // SAFETY: with length 0 the address is not read.
        unsafe {
            assert_eq!(crc32c_at(std::ptr::null(), 0, 0, 0), 0);
            assert_eq!(crc32c_at(std::ptr::null(), 9, 0, 0xdead_beef), 0xdead_beef);
        }
    }
}
