//! Memory that O_DIRECT accepts: aligned to a block.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::BLOCK_BYTES;

/// Uninitialised until IO fills it; owned, freed on drop, on any thread.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: plain owned memory.
unsafe impl Send for AlignedBuffer {}

impl AlignedBuffer {
    /// `length` > 0. Aborts the process when memory is out, as Rust's own collections do.
    pub fn new(length: usize) -> Self {
        assert!(length > 0, "an aligned buffer holds something");
        let layout = Layout::from_size_align(length, BLOCK_BYTES).expect("a length below isize::MAX");
        // SAFETY: the layout's size is not 0.
        let start = unsafe { alloc(layout) };
        match NonNull::new(start) {
            Some(start) => Self { start, layout },
            None => handle_alloc_error(layout),
        }
    }

    pub fn len(&self) -> usize {
        self.layout.size()
    }

    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`, freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
