//! lz4 frames and raw snappy blocks. Decompression never yields more than the caller's bound, and never allocates by a
//! length that the input could not hold.

use std::io::{Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// Why input could not be decompressed.
#[derive(Debug, PartialEq, Eq)]
pub enum CodecError {
    /// Not the format, cut short, or a checksum in it does not fit.
    Corrupt(String),
    /// Would exceed the caller's bound.
    TooLarge,
}

/// Bytes that one byte of snappy can stand for at most, rounded up: a three-byte copy yields 64.
const SNAPPY_EXPANSION_MAX: usize = 22;

/// One lz4 frame as Kafka's own producer writes it: independent blocks of 64 KiB, no content checksum.
pub fn lz4_frame_compress(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(bytes.len() / 2 + 64));
    encoder.write_all(bytes).map_err(|error| CodecError::Corrupt(error.to_string()))?;
    encoder.finish().map_err(|error| CodecError::Corrupt(error.to_string()))
}

/// Content of the one lz4 frame that `bytes` begins with; what follows the frame is not looked at, as in Kafka.
pub fn lz4_frame_decompress(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, CodecError> {
    let mut frame = &bytes[..lz4_frame_length(bytes)?];
    let guess = frame.len().saturating_mul(4).min(max_bytes);
    let mut content = Vec::with_capacity(guess);
    let limit = (max_bytes as u64).saturating_add(1);
    let decoder = FrameDecoder::new(&mut frame);
    decoder.take(limit).read_to_end(&mut content).map_err(|error| CodecError::Corrupt(error.to_string()))?;
    if content.len() > max_bytes {
        return Err(CodecError::TooLarge);
    }
    // The decoder takes a block without content for the end; the frame's own end must have been reached.
    if frame.is_empty() { Ok(content) } else { Err(CodecError::Corrupt("an lz4 block without content".to_owned())) }
}

/// Bytes of the lz4 frame that `bytes` begins with, by its block sizes up to its end mark (lz4 frame format 1.6.2). The decoder takes
/// the end of its input for the end of a frame, so that a cut would go unseen without this.
pub(crate) fn lz4_frame_length(bytes: &[u8]) -> Result<usize, CodecError> {
    const MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
    let cut = || CodecError::Corrupt("the lz4 frame is cut short".to_owned());
    if !bytes.starts_with(MAGIC) {
        return Err(CodecError::Corrupt("no lz4 frame: the magic number is missing".to_owned()));
    }
    let flags = *bytes.get(4).ok_or_else(cut)?;
    let has = |bit: u8, length: usize| if flags & (1 << bit) != 0 { length } else { 0 };
    let (block_checksum, content_size, content_checksum, dictionary_id) = (has(4, 4), has(3, 8), has(2, 4), has(0, 4));
    let mut position = MAGIC.len() + 2 + content_size + dictionary_id + 1;
    loop {
        let field = bytes.get(position..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(cut)?;
        position += field.len();
        let size = u32::from_le_bytes(*field) & 0x7fff_ffff;
        if size == 0 {
            position += content_checksum;
            return if position <= bytes.len() { Ok(position) } else { Err(cut()) };
        }
        position = position.saturating_add(size as usize).saturating_add(block_checksum);
    }
}

/// One raw snappy block (no xerial framing).
pub fn snappy_compress(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    snap::raw::Encoder::new().compress_vec(bytes).map_err(|error| CodecError::Corrupt(error.to_string()))
}

/// Content of one raw snappy block.
pub fn snappy_decompress(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, CodecError> {
    let corrupt = |error: snap::Error| CodecError::Corrupt(error.to_string());
    let length = snap::raw::decompress_len(bytes).map_err(corrupt)?;
    if length > bytes.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
        return Err(CodecError::Corrupt(format!("{} bytes of snappy cannot hold {length}", bytes.len())));
    }
    if length > max_bytes {
        return Err(CodecError::TooLarge);
    }
    snap::raw::Decoder::new().decompress_vec(bytes).map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let text = b"the quick brown fox jumps over the lazy dog. ".repeat(5000);
        let mut state = 1u32;
        let noise = (0..200_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        vec![vec![], vec![1], vec![0; 1 << 20], text, noise]
    }

    #[test]
    fn both_codecs_give_back_what_they_took() {
        for sample in samples() {
            let lz4 = lz4_frame_compress(&sample).expect("lz4");
            assert_eq!(lz4_frame_decompress(&lz4, sample.len()).as_ref(), Ok(&sample));
            let snappy = snappy_compress(&sample).expect("snappy");
            assert_eq!(snappy_decompress(&snappy, sample.len()).as_ref(), Ok(&sample));
        }
    }

    #[test]
    fn the_bound_is_exact() {
        let sample = vec![9; 100_000];
        let lz4 = lz4_frame_compress(&sample).expect("lz4");
        assert_eq!(lz4_frame_decompress(&lz4, 99_999), Err(CodecError::TooLarge));
        let snappy = snappy_compress(&sample).expect("snappy");
        assert_eq!(snappy_decompress(&snappy, 99_999), Err(CodecError::TooLarge));
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        for sample in samples().into_iter().filter(|sample| sample.len() > 64) {
            let max = sample.len();
            let lz4 = lz4_frame_compress(&sample).expect("lz4");
            let snappy = snappy_compress(&sample).expect("snappy");
            for cut in [0, 1, 4, 6, 7, 11, lz4.len() / 2, lz4.len() - 4, lz4.len() - 1] {
                assert!(matches!(lz4_frame_decompress(&lz4[..cut], max), Err(CodecError::Corrupt(_))), "cut at {cut}");
            }
            for position in (0..lz4.len()).step_by(97) {
                let mut damaged = lz4.clone();
                damaged[position] ^= 0x55;
                let _ = lz4_frame_decompress(&damaged, max);
            }
            for position in (0..snappy.len()).step_by(97) {
                let mut damaged = snappy.clone();
                damaged[position] ^= 0x55;
                let _ = snappy_decompress(&damaged, max);
            }
        }
    }

    #[test]
    fn a_snappy_length_that_the_input_cannot_hold_is_refused_before_allocating() {
        let claims_a_gibibyte = [0x80, 0x80, 0x80, 0x80, 0x04, 0x00, 0x41];
        assert!(matches!(snappy_decompress(&claims_a_gibibyte, usize::MAX), Err(CodecError::Corrupt(_))));
    }

    #[test]
    fn the_frame_header_is_the_one_kafka_writes() {
        let frame = lz4_frame_compress(b"hello").expect("lz4");
        assert_eq!(frame[..4], [0x04, 0x22, 0x4d, 0x18]);
        assert_eq!(frame[4], 0x60, "version 1, independent blocks, no checksums");
        assert_eq!(frame[5], 0x40, "blocks of 64 KiB");
    }
}
