//! zstd decompression on a thread of the runtime's pool, into memory that the caller owns and uses again: the runtime's own call makes new memory
//! for every result, and new memory costs a page fault for every 4 KiB.

use std::cell::RefCell;

use napi::bindgen_prelude::{AsyncTask, Uint8Array};
use napi::{Env, Error, Task};
use napi_derive::napi;
use zstd_safe::{DCtx, get_error_name};

thread_local! {
    /// About 160 KiB for each thread that has decompressed; one-shot calls need no window beside it.
    static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Content of the zstd frames that `source` consists of, at the start of `target`; its length. Whatever goes wrong, `target` then holds anything.
fn decompress(source: &[u8], target: &mut [u8]) -> Result<usize, &'static str> {
    CONTEXT.with_borrow_mut(|context| context.decompress(target, source).map_err(get_error_name))
}

pub struct Decompression {
    source: Uint8Array,
    target: Uint8Array,
}

impl Task for Decompression {
    type Output = usize;
    type JsValue = f64;

    fn compute(&mut self) -> napi::Result<usize> {
        // SAFETY: JavaScript's promise (`Addon.zstdDecompressInto`): until the task settles nobody else reads, writes, moves or frees `target`.
        // The reference in `self` keeps it from being collected.
        let target = unsafe { self.target.as_mut() };
        decompress(&self.source, target).map_err(Error::from_reason)
    }

    fn resolve(&mut self, _: Env, length: usize) -> napi::Result<f64> {
        Ok(length as f64)
    }
}

#[napi(js_name = "zstdDecompressInto")]
pub fn zstd_decompress_into(source: Uint8Array, target: Uint8Array) -> AsyncTask<Decompression> {
    AsyncTask::new(Decompression { source, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(content: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(zstd_safe::compress_bound(content.len()));
        zstd_safe::compress(&mut frame, content, 1).expect("zstd");
        frame
    }

    #[test]
    fn content_lies_at_the_start_and_the_rest_is_left_alone() {
        let content = b"some words that repeat, some words that repeat. ".repeat(100);
        let mut target = vec![7; content.len() + 3];
        assert_eq!(decompress(&frame(&content), &mut target), Ok(content.len()));
        assert_eq!(target[..content.len()], content[..]);
        assert_eq!(target[content.len()..], [7; 3]);
    }

    #[test]
    fn several_frames_are_one_content() {
        let both = [frame(b"one, "), frame(b"two")].concat();
        let mut target = vec![0; 8];
        assert_eq!(decompress(&both, &mut target), Ok(8));
        assert_eq!(&target, b"one, two");
    }

    #[test]
    fn what_does_not_fit_or_is_damaged_is_an_error() {
        let content = b"some words that repeat, some words that repeat. ".repeat(100);
        let whole = frame(&content);
        let mut target = vec![0; content.len()];
        assert!(decompress(&whole, &mut target[..content.len() - 1]).is_err());
        for cut in [1, 4, whole.len() / 2, whole.len() - 1] {
            assert!(decompress(&whole[..cut], &mut target).is_err(), "cut at {cut}");
        }
        assert!(decompress(b"not zstd at all", &mut target).is_err());
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x55;
            let _ = decompress(&damaged, &mut target);
        }
        assert_eq!(decompress(&whole, &mut target), Ok(content.len()), "the context is good for more");
    }
}
