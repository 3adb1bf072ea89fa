//! Walks the records of one batch (Kafka's message format 2) and answers what validation asks of all of them at once: are they whole,
//! do their offsets ascend by one, which timestamps are the least and the greatest. Compressed content is decompressed in
//! passing, through a window of a few KiB; it never lies in memory as a whole, snappy's own blocks apart.
//!
//! Whatever is odd is answered "not clean": the caller looks at such a batch record by record and finds the words for its refusal.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use crate::codecs::{lz4_frame_length, snappy_decompress};
use crate::lz4_high::{BLOCK_BYTES, FRAME_HEADER};

const GZIP: u32 = 1;
const SNAPPY: u32 = 2;
const LZ4: u32 = 3;
const ZSTD: u32 = 4;

const WINDOW_BYTES: usize = 64 * 1024;
/// As zstd's own command line: frames that ask for more are refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// A decompression context that grew beyond this for one batch is not kept.
const ZSTD_CONTEXT_KEPT_BYTES: usize = 4 * 1024 * 1024;
const XERIAL_MAGIC: &[u8] = &[0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00];
const XERIAL_HEADER_BYTES: usize = 16;
/// Timestamps beyond it are no exact numbers in JavaScript.
const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;
const NO_TIMESTAMP: i64 = -1;

/// Something is not as it should be; the caller does not need to know what.
#[derive(Debug)]
pub struct Unclean;

impl From<io::Error> for Unclean {
    fn from(_: io::Error) -> Self {
        Unclean
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// -1 when none is set.
    pub max_timestamp: i64,
    /// Least of those that are set; `i64::MAX` when none is.
    pub min_timestamp: i64,
    pub keyless: u32,
    /// Length of the longest record, its own length field apart.
    pub longest: u32,
    pub content_bytes: u64,
}

/// What a record says of itself.
struct Record {
    timestamp_delta: i64,
    offset_delta: i32,
    has_key: bool,
}

/// Bytes of one record, from a slice or across the window's edges.
trait Bytes {
    fn next(&mut self) -> Result<u8, Unclean>;
    fn skip(&mut self, count: u64) -> Result<(), Unclean>;
    fn left(&self) -> u64;

    fn varint(&mut self) -> Result<i32, Unclean> {
        let mut value = 0u32;
        for shift in (0..=28).step_by(7) {
            let byte = self.next()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i32 ^ -((value & 1) as i32));
            }
        }
        Err(Unclean)
    }

    fn varlong(&mut self) -> Result<i64, Unclean> {
        let mut value = 0u64;
        for shift in (0..=63).step_by(7) {
            let byte = self.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Unclean)
    }

    /// A length and that many bytes; negative: null.
    fn field(&mut self) -> Result<i32, Unclean> {
        let length = self.varint()?;
        if length > 0 {
            self.skip(length as u64)?;
        }
        Ok(length)
    }

    fn record(&mut self) -> Result<Record, Unclean> {
        self.next()?;
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let has_key = self.field()? >= 0;
        self.field()?;
        let headers = self.varint()?;
        if headers < 0 || headers as u64 > self.left() {
            return Err(Unclean);
        }
        for _ in 0..headers {
            if self.field()? < 0 {
                return Err(Unclean);
            }
            self.field()?;
        }
        if self.left() == 0 { Ok(Record { timestamp_delta, offset_delta, has_key }) } else { Err(Unclean) }
    }
}

impl Bytes for &[u8] {
    #[inline]
    fn next(&mut self) -> Result<u8, Unclean> {
        let (&first, rest) = self.split_first().ok_or(Unclean)?;
        *self = rest;
        Ok(first)
    }

    #[inline]
    fn skip(&mut self, count: u64) -> Result<(), Unclean> {
        *self = self.get(count as usize..).ok_or(Unclean)?;
        Ok(())
    }

    fn left(&self) -> u64 {
        self.len() as u64
    }
}

/// A run of a source's bytes that may cross the edges of its window.
struct Run<'a, R> {
    source: &'a mut R,
    left: u64,
}

impl<R: BufRead> Bytes for Run<'_, R> {
    fn next(&mut self) -> Result<u8, Unclean> {
        if self.left == 0 {
            return Err(Unclean);
        }
        let byte = *self.source.fill_buf()?.first().ok_or(Unclean)?;
        self.source.consume(1);
        self.left -= 1;
        Ok(byte)
    }

    fn skip(&mut self, count: u64) -> Result<(), Unclean> {
        if count > self.left {
            return Err(Unclean);
        }
        self.left -= count;
        let mut remaining = count;
        while remaining > 0 {
            let window = self.source.fill_buf()?.len();
            if window == 0 {
                return Err(Unclean);
            }
            let step = remaining.min(window as u64);
            self.source.consume(step as usize);
            remaining -= step;
        }
        Ok(())
    }

    fn left(&self) -> u64 {
        self.left
    }
}

/// `count` records with offset deltas 0, 1, 2, ... and nothing behind them.
fn walk(source: &mut impl BufRead, count: u32, base_timestamp: i64, max_content: u64) -> Result<Summary, Unclean> {
    let mut summary = Summary { max_timestamp: NO_TIMESTAMP, min_timestamp: i64::MAX, keyless: 0, longest: 0, content_bytes: 0 };
    for index in 0..count {
        let mut head = Run { source, left: 5 };
        let length = head.varint()?;
        let head_bytes = 5 - head.left;
        if length <= 0 {
            return Err(Unclean);
        }
        summary.content_bytes += head_bytes + length as u64;
        if summary.content_bytes > max_content {
            return Err(Unclean);
        }
        let window = source.fill_buf()?;
        let record = match window.get(..length as usize) {
            Some(whole) => {
                let mut bytes = whole;
                let record = bytes.record()?;
                source.consume(length as usize);
                record
            }
            None => Run { source, left: length as u64 }.record()?,
        };
        let timestamp = base_timestamp.checked_add(record.timestamp_delta).ok_or(Unclean)?;
        if record.offset_delta != index as i32 || !(-SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX).contains(&timestamp) {
            return Err(Unclean);
        }
        summary.max_timestamp = summary.max_timestamp.max(timestamp);
        if timestamp != NO_TIMESTAMP {
            summary.min_timestamp = summary.min_timestamp.min(timestamp);
        }
        summary.keyless += u32::from(!record.has_key);
        summary.longest = summary.longest.max(length as u32);
    }
    // Reading on to the end lets the codec check its trailer.
    if source.fill_buf()?.is_empty() { Ok(summary) } else { Err(Unclean) }
}

/// snappy-java's blocks, one in memory at a time.
struct SnappyBlocks<'a> {
    input: &'a [u8],
    block: Vec<u8>,
    at: usize,
    max_content: usize,
}

impl<'a> SnappyBlocks<'a> {
    fn new(bytes: &'a [u8], max_content: usize) -> Result<Self, Unclean> {
        if bytes.starts_with(XERIAL_MAGIC) {
            let input = bytes.get(XERIAL_HEADER_BYTES..).ok_or(Unclean)?;
            return Ok(Self { input, block: Vec::new(), at: 0, max_content });
        }
        let block = snappy_decompress(bytes, max_content).map_err(|_| Unclean)?;
        Ok(Self { input: &[], block, at: 0, max_content })
    }
}

impl Read for SnappyBlocks<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let mut window = self.fill_buf()?;
        let count = window.read(target)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for SnappyBlocks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        while self.at == self.block.len() && !self.input.is_empty() {
            let (length, rest) = self.input.split_first_chunk::<4>().ok_or_else(cut)?;
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| cut())?;
            let (block, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
            self.block = snappy_decompress(block, self.max_content).map_err(|_| cut())?;
            self.at = 0;
            self.input = rest;
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

/// The blocks of an lz4 frame as Kafka's producers write it (each stands for itself, no checksums), decoded one at a time without the frame
/// decoder's buffers, which cost more than a small batch.
struct Lz4Blocks<'a> {
    input: &'a [u8],
    block: Vec<u8>,
    at: usize,
    end: usize,
}

impl<'a> Lz4Blocks<'a> {
    /// Undefined for every other kind of frame. `frame` is whole.
    fn new(frame: &'a [u8]) -> Option<Self> {
        let input = frame.strip_prefix(&FRAME_HEADER)?;
        let mut block = LZ4_BLOCK.take();
        block.resize(BLOCK_BYTES, 0);
        Some(Self { input, block, at: 0, end: 0 })
    }
}

impl Drop for Lz4Blocks<'_> {
    fn drop(&mut self) {
        LZ4_BLOCK.set(std::mem::take(&mut self.block));
    }
}

impl Read for Lz4Blocks<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let mut window = self.fill_buf()?;
        let count = window.read(target)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Lz4Blocks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        const STORED: u32 = 0x8000_0000;
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        while self.at == self.end && !self.input.is_empty() {
            let (field, rest) = self.input.split_first_chunk::<4>().ok_or_else(cut)?;
            let field = u32::from_le_bytes(*field);
            let (packed, rest) = rest.split_at_checked((field & !STORED) as usize).ok_or_else(cut)?;
            if packed.is_empty() {
                // The end mark; nothing may follow it.
                self.input = &[];
                if !rest.is_empty() {
                    return Err(cut());
                }
                break;
            }
            self.end = if field & STORED != 0 {
                self.block.get_mut(..packed.len()).ok_or_else(cut)?.copy_from_slice(packed);
                packed.len()
            } else {
                lz4_flex::block::decompress_into(packed, &mut self.block).map_err(io::Error::other)?
            };
            self.at = 0;
            self.input = rest;
        }
        Ok(&self.block[self.at..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

struct ZstdFrames<'a> {
    context: DCtx<'static>,
    input: InBuffer<'a>,
    is_frame_open: bool,
}

impl Read for ZstdFrames<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let mut output = OutBuffer::around(target);
        while output.pos() == 0 {
            let is_input_over = self.input.pos == self.input.src.len();
            if is_input_over && !self.is_frame_open {
                return Ok(0);
            }
            let before = self.input.pos;
            let hint = self.context.decompress_stream(&mut output, &mut self.input);
            let hint = hint.map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
            self.is_frame_open = hint != 0;
            if output.pos() == 0 && self.input.pos == before && self.is_frame_open {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(output.pos())
    }
}

thread_local! {
    static LZ4_BLOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Making one costs more than a small batch takes to decompress.
    static ZSTD_CONTEXT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

fn walk_zstd(bytes: &[u8], count: u32, base_timestamp: i64, max_content: u64) -> Result<Summary, Unclean> {
    let mut context = match ZSTD_CONTEXT.with_borrow_mut(Option::take) {
        Some(kept) => kept,
        None => DCtx::create(),
    };
    context.reset(ResetDirective::SessionAndParameters).map_err(|_| Unclean)?;
    context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(|_| Unclean)?;
    let frames = ZstdFrames { context, input: InBuffer::around(bytes), is_frame_open: false };
    let mut source = BufReader::with_capacity(WINDOW_BYTES, frames);
    let result = walk(&mut source, count, base_timestamp, max_content);
    let context = source.into_inner().context;
    if context.sizeof() <= ZSTD_CONTEXT_KEPT_BYTES {
        ZSTD_CONTEXT.set(Some(context));
    }
    result
}

/// `bytes` are a batch's records as they were sent; `codec` is Kafka's number for it.
pub fn scan(codec: u32, bytes: &[u8], count: u32, base_timestamp: i64, max_content: u64) -> Result<Summary, Unclean> {
    match codec {
        0 => walk(&mut &bytes[..], count, base_timestamp, max_content),
        GZIP => {
            let mut source = BufReader::with_capacity(WINDOW_BYTES, GzDecoder::new(bytes));
            let summary = walk(&mut source, count, base_timestamp, max_content)?;
            // A second member: whoever asks may know what to do with it.
            if source.into_inner().into_inner().is_empty() { Ok(summary) } else { Err(Unclean) }
        }
        SNAPPY => walk(&mut SnappyBlocks::new(bytes, max_content as usize)?, count, base_timestamp, max_content),
        LZ4 => {
            let length = lz4_frame_length(bytes).map_err(|_| Unclean)?;
            let mut frame = &bytes[..length];
            if let Some(mut blocks) = Lz4Blocks::new(frame) {
                return walk(&mut blocks, count, base_timestamp, max_content);
            }
            let mut source = BufReader::with_capacity(WINDOW_BYTES, FrameDecoder::new(&mut frame));
            let summary = walk(&mut source, count, base_timestamp, max_content)?;
            drop(source);
            if frame.is_empty() { Ok(summary) } else { Err(Unclean) }
        }
        ZSTD => walk_zstd(bytes, count, base_timestamp, max_content),
        _ => Err(Unclean),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::codecs::{lz4_frame_compress, snappy_compress};

    fn varint(target: &mut Vec<u8>, value: i64) {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            target.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        target.push(zigzag as u8);
    }

    /// `count` records of about `size` bytes, every third without a key, timestamps going up and down.
    fn records(count: i64, size: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for index in 0..count {
            let mut body = vec![0];
            varint(&mut body, if index % 2 == 0 { index } else { -index });
            varint(&mut body, index);
            if index % 3 == 0 {
                varint(&mut body, -1);
            } else {
                varint(&mut body, 3);
                body.extend_from_slice(b"key");
            }
            varint(&mut body, size as i64);
            body.extend((0..size).map(|at| (at as i64 * (index + 7) % 251) as u8));
            varint(&mut body, 1);
            varint(&mut body, 1);
            body.push(b'h');
            varint(&mut body, -1);
            varint(&mut all, body.len() as i64);
            all.extend(body);
        }
        all
    }

    fn encode(codec: u32, bytes: &[u8]) -> Vec<u8> {
        match codec {
            GZIP => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).expect("gzip");
                encoder.finish().expect("gzip")
            }
            SNAPPY => {
                let mut framed = XERIAL_MAGIC.to_vec();
                framed.extend([0, 0, 0, 1, 0, 0, 0, 1]);
                for chunk in bytes.chunks(1000) {
                    let block = snappy_compress(chunk).expect("snappy");
                    framed.extend((block.len() as u32).to_be_bytes());
                    framed.extend(block);
                }
                framed
            }
            LZ4 => lz4_frame_compress(bytes).expect("lz4"),
            ZSTD => {
                let mut target = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
                zstd_safe::compress(&mut target, bytes, 3).expect("zstd");
                target
            }
            _ => bytes.to_vec(),
        }
    }

    #[test]
    fn every_codec_gives_the_same_summary() {
        for (count, size) in [(1, 0), (5, 10), (300, 700), (2, 200_000)] {
            let plain = records(count, size);
            let expected = scan(0, &plain, count as u32, 1_000_000, u64::MAX).expect("plain");
            assert_eq!(expected.content_bytes, plain.len() as u64);
            assert_eq!(expected.keyless as i64, (count + 2) / 3);
            let last_even = (count - 1) / 2 * 2;
            assert_eq!(expected.max_timestamp, 1_000_000 + last_even);
            for codec in [GZIP, SNAPPY, LZ4, ZSTD] {
                let encoded = encode(codec, &plain);
                assert_eq!(scan(codec, &encoded, count as u32, 1_000_000, u64::MAX).expect("clean"), expected, "codec {codec}");
            }
            let raw = snappy_compress(&plain).expect("snappy");
            assert_eq!(scan(SNAPPY, &raw, count as u32, 1_000_000, u64::MAX).expect("clean"), expected);
        }
    }

    #[test]
    fn what_is_cut_or_counted_wrongly_or_too_long_is_not_clean() {
        let plain = records(40, 300);
        for codec in 0..=ZSTD {
            let encoded = encode(codec, &plain);
            for cut in (0..encoded.len()).step_by(7) {
                assert!(scan(codec, &encoded[..cut], 40, 0, u64::MAX).is_err(), "codec {codec} cut at {cut}");
            }
            assert!(scan(codec, &encoded, 39, 0, u64::MAX).is_err());
            assert!(scan(codec, &encoded, 41, 0, u64::MAX).is_err());
            assert!(scan(codec, &encoded, 40, 0, plain.len() as u64 - 1).is_err());
            assert!(scan(codec, &encoded, 40, 0, plain.len() as u64).is_ok());
            assert!(scan(codec, &encoded, 40, SAFE_INTEGER_MAX, u64::MAX).is_err());
            assert!(scan(codec, &encoded, 40, i64::MAX, u64::MAX).is_err());
        }
    }

    #[test]
    fn damage_never_panics() {
        let plain = records(20, 400);
        for codec in 0..=ZSTD {
            let encoded = encode(codec, &plain);
            for position in (0..encoded.len()).step_by(5) {
                let mut damaged = encoded.clone();
                damaged[position] ^= [0x01, 0x80, 0xff][position % 3];
                let _ = scan(codec, &damaged, 20, 0, 1 << 24);
            }
        }
    }
}
