//! Memory for the ring: one anonymous private mapping, page-aligned, reserved but not resident, never unmapped.

use std::io;
use std::ptr::NonNull;

/// Maps `capacity` bytes of zeros. Untouched pages take no memory (MAP_NORESERVE). The mapping is left out of core
/// dumps, since it holds clients' records, and out of forked children, since a page that is being written with
/// O_DIRECT must not be copied on write (open(2), "O_DIRECT").
pub fn map(capacity: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice aliases nothing.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), capacity, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for advice in [libc::MADV_DONTDUMP, libc::MADV_DONTFORK] {
        // SAFETY: the range is the mapping just made. A refusal costs nothing but the hint.
        unsafe { libc::madvise(address, capacity, advice) };
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap returned address 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_page_aligned_zero_and_writable() {
        let capacity = 1 << 20;
        let start = map(capacity).expect("mmap");
        assert_eq!(start.as_ptr() as usize % 4096, 0);
        // SAFETY: the mapping lives for ever and nobody else knows its address.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), capacity) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        bytes[capacity - 1] = 7;
        assert_eq!(bytes[capacity - 1], 7);
    }

    #[test]
    fn an_impossible_capacity_is_an_error() {
        assert!(map(0).is_err());
        assert!(map(usize::MAX & !4095).is_err());
    }
}
