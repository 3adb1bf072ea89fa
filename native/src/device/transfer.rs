//! The system calls that move bytes: whole transfers or an error, never a short count.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::BLOCK_BYTES;
use super::buffer::AlignedBuffer;

/// How bytes get to the medium for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Each write carries RWF_DSYNC (pwritev2): the kernel uses FUA where the device has it, else a cache flush.
    PerWrite,
    /// Kernels that refuse the flag: the write, then fdatasync.
    WriteThenSync,
}

/// Writes `length` bytes from `address` at `offset` and returns when they are durable. All three are multiples of the block
/// (`address` only where the file is O_DIRECT).
///
/// # Safety
/// `address .. address + length` stays readable and unchanged until the call returns.
pub unsafe fn write_durably(file: &File, address: usize, length: usize, offset: u64, durability: Durability) -> io::Result<()> {
    let flags = if durability == Durability::PerWrite { libc::RWF_DSYNC } else { 0 };
    let mut done = 0;
    while done < length {
        let vector = libc::iovec { iov_base: (address + done) as *mut libc::c_void, iov_len: length - done };
        // SAFETY: the vector describes memory that the caller keeps; the kernel only reads it.
        let written = unsafe { libc::pwritev2(file.as_raw_fd(), &vector, 1, (offset as usize + done) as libc::off_t, flags) };
        done += match whole_blocks(written, length - done)? {
            Progress::Bytes(bytes) => bytes,
            Progress::Interrupted => continue,
            Progress::Nothing => return Err(io::Error::new(io::ErrorKind::WriteZero, "the device took less than a block")),
        };
    }
    if durability == Durability::WriteThenSync { file.sync_data() } else { Ok(()) }
}

/// Fills `target` from `offset`; both are block-aligned. An end before the range's end is an error.
pub fn read_fully(file: &File, target: &AlignedBuffer, offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < target.len() {
        // SAFETY: the buffer has `len` bytes; `done` is below it.
        let count = unsafe {
            let at = target.as_mut_ptr().add(done).cast();
            libc::pread(file.as_raw_fd(), at, target.len() - done, (offset as usize + done) as libc::off_t)
        };
        done += match whole_blocks(count, target.len() - done)? {
            Progress::Bytes(bytes) => bytes,
            Progress::Interrupted => continue,
            Progress::Nothing => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the device ends before the range does")),
        };
    }
    Ok(())
}

/// True when the kernel takes RWF_DSYNC for this file. Asked with a read of the first block, so nothing is written.
pub fn takes_dsync_flag(file: &File) -> bool {
    let scratch = AlignedBuffer::new(BLOCK_BYTES);
    let vector = libc::iovec { iov_base: scratch.as_mut_ptr().cast(), iov_len: scratch.len() };
    // SAFETY: the vector describes the scratch buffer.
    let count = unsafe { libc::preadv2(file.as_raw_fd(), &vector, 1, 0, libc::RWF_DSYNC) };
    count >= 0 || !matches!(io::Error::last_os_error().raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL))
}

enum Progress {
    Bytes(usize),
    Interrupted,
    Nothing,
}

/// A system call's count, cut down to whole blocks so that the next call stays aligned.
fn whole_blocks(count: isize, wanted: usize) -> io::Result<Progress> {
    if count < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(Progress::Interrupted) } else { Err(error) };
    }
    let count = count as usize;
    let bytes = if count == wanted { count } else { count & !(BLOCK_BYTES - 1) };
    Ok(if bytes == 0 { Progress::Nothing } else { Progress::Bytes(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_count_goes_on_at_a_block_boundary() {
        assert!(matches!(whole_blocks(8192, 8192), Ok(Progress::Bytes(8192))));
        assert!(matches!(whole_blocks(5000, 8192), Ok(Progress::Bytes(4096))));
        assert!(matches!(whole_blocks(512, 8192), Ok(Progress::Nothing)));
        assert!(matches!(whole_blocks(0, 8192), Ok(Progress::Nothing)));
    }
}
