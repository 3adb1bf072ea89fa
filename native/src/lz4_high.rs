//! lz4's high-compression levels, which lz4_flex lacks: the C library's block compressor, in frames as Kafka's producer writes them.

use std::ffi::c_int;

use lz4_sys::{LZ4_compress_HC, LZ4_compressBound};

/// Magic, flags (version 1, independent blocks, no checksums), blocks of 64 KiB, checksum of the two.
pub const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
pub const BLOCK_BYTES: usize = 64 * 1024;
/// The block's length says that it lies there as it is.
const STORED: u32 = 0x8000_0000;

/// `level` is 1 to 12; lz4 takes greater ones for 12.
pub fn compress(bytes: &[u8], level: i32) -> Vec<u8> {
    let mut frame = Vec::with_capacity(bytes.len() / 2 + 64);
    frame.extend(FRAME_HEADER);
    // SAFETY: a pure function of its argument, which lies far below lz4's limit.
    let bound = unsafe { LZ4_compressBound(BLOCK_BYTES as c_int) };
    let mut block = vec![0u8; bound as usize];
    for chunk in bytes.chunks(BLOCK_BYTES) {
        // SAFETY: both ranges are alive and as long as stated; the target holds the bound of the largest chunk.
        let written = unsafe { LZ4_compress_HC(chunk.as_ptr().cast(), block.as_mut_ptr().cast(), chunk.len() as c_int, bound, level) };
        let written = usize::try_from(written).unwrap_or(0);
        if written == 0 || written >= chunk.len() {
            frame.extend((chunk.len() as u32 | STORED).to_le_bytes());
            frame.extend(chunk);
        } else {
            frame.extend((written as u32).to_le_bytes());
            frame.extend(&block[..written]);
        }
    }
    frame.extend([0; 4]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::lz4_frame_decompress;

    #[test]
    fn frames_are_read_back_at_every_level() {
        let text = b"the quick brown fox jumps over the lazy dog. ".repeat(5000);
        let noise: Vec<u8> = (0..200_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for sample in [&text[..], &noise, &[], &[7]] {
            for level in 1..=17 {
                let frame = compress(sample, level);
                assert_eq!(lz4_frame_decompress(&frame, sample.len()).as_deref(), Ok(sample), "level {level}");
            }
        }
        assert!(compress(&text, 9).len() < compress(&text, 1).len() + 1);
    }

    #[test]
    fn the_header_is_that_of_the_fast_codec() {
        let fast = crate::codecs::lz4_frame_compress(b"hello").expect("lz4");
        assert_eq!(fast[..7], FRAME_HEADER);
    }
}
