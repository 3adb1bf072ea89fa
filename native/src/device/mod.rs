//! A WAL's device: a file, a loop device or a raw block device, opened for direct IO, locked, with native threads that
//! write durably and read.
//!
//! Invariants: a write completes only when the device has it for good; reads never wait behind writes (they have their
//! own threads); offsets and lengths of writes are multiples of `BLOCK_BYTES`; nothing outside `capacity` is touched.

mod buffer;
mod content;
mod error;
mod inspect;
mod open;
mod pool;
mod transfer;

use std::io;
use std::sync::Arc;

pub use error::{DeviceError, DeviceResult};
pub use inspect::{DeviceKind, inspect};
pub use open::OpenOptions;
pub use pool::Completion;

use open::Opened;
use pool::{CompletionQueue, Job, Medium, Operation, Pool};
use transfer::Durability;

/// The unit of every write. 4 KiB divides every device's logical block, whatever the device.
pub const BLOCK_BYTES: usize = 4096;

/// Reads in flight; one more waits. Enough for a takeover's scan with read-ahead beside tail reads.
const READ_THREADS: usize = 4;

pub struct Device {
    pub kind: DeviceKind,
    pub capacity: u64,
    pub logical_block: u32,
    /// One phrase for the start-up line.
    pub strategy: String,
    writers: Option<Pool>,
    readers: Option<Pool>,
    completions: Arc<CompletionQueue>,
    path: String,
}

impl Device {
    /// `doorbell` is called on a native thread when completions wait for `take_completions`.
    pub fn open(options: &OpenOptions, doorbell: Box<dyn Fn() + Send + Sync>) -> DeviceResult<Self> {
        let Opened { file, kind, capacity, logical_block, direct } = open::open(options)?;
        let durability = if transfer::takes_dsync_flag(&file) { Durability::PerWrite } else { Durability::WriteThenSync };
        let strategy = describe(direct, durability, options);
        let medium = Arc::new(Medium { file, path: options.path.clone(), direct, durability });
        let completions = Arc::new(CompletionQueue::new(doorbell));
        let start = |name: &str, count: usize| {
            Pool::start(name, count, &medium, &completions)
                .map_err(|error| DeviceError::from_io(&format!("start threads for {}", options.path), &error))
        };
        let writers = if options.read_only { None } else { Some(start("wal-write", options.write_depth)?) };
        let readers = Some(start("wal-read", READ_THREADS)?);
        Ok(Self { kind, capacity, logical_block, strategy, writers, readers, completions, path: options.path.clone() })
    }

    /// Queues a durable write; its completion carries `token`. An error here queued nothing.
    ///
    /// # Safety
    /// `address .. address + length` stays alive and unchanged until the completion is taken.
    pub unsafe fn submit_write(&self, token: u64, address: usize, length: usize, offset: u64) -> DeviceResult<()> {
        let block = BLOCK_BYTES as u64;
        if length == 0 || !length.is_multiple_of(BLOCK_BYTES) || !offset.is_multiple_of(block) {
            return Err(DeviceError::new("EINVAL", format!("a write of {length} bytes at {offset} is not in blocks of {block}")));
        }
        self.check_range(offset, length)?;
        let Some(writers) = &self.writers else {
            let open = self.readers.is_some();
            return Err(if open { DeviceError::new("EBADF", format!("{} is open for reading only", self.path)) } else { self.closed() });
        };
        writers.submit(Job { token, operation: Operation::Write { address, length, offset } });
        Ok(())
    }

    /// Queues a read of any alignment; its completion carries `token` and the bytes.
    pub fn submit_read(&self, token: u64, offset: u64, length: usize) -> DeviceResult<()> {
        if length == 0 {
            return Err(DeviceError::new("EINVAL", "a read of 0 bytes"));
        }
        self.check_range(offset, length)?;
        let readers = self.readers.as_ref().ok_or_else(|| self.closed())?;
        readers.submit(Job { token, operation: Operation::Read { offset, length } });
        Ok(())
    }

    /// Queues an fdatasync; its completion carries `token`.
    pub fn submit_flush(&self, token: u64) -> DeviceResult<()> {
        let readers = self.readers.as_ref().ok_or_else(|| self.closed())?;
        readers.submit(Job { token, operation: Operation::Flush });
        Ok(())
    }

    pub fn take_completions(&self) -> Vec<Completion> {
        self.completions.take()
    }

    /// Finishes what was submitted, ends the threads, unlocks and closes. Idempotent.
    pub fn close(&mut self) {
        self.writers = None;
        self.readers = None;
    }

    fn check_range(&self, offset: u64, length: usize) -> DeviceResult<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.capacity => Ok(()),
            _ => Err(DeviceError::new(
                "EINVAL",
                format!("{length} bytes at {offset} lie outside the {} bytes of {}", self.capacity, self.path),
            )),
        }
    }

    fn closed(&self) -> DeviceError {
        DeviceError::new("CLOSED", format!("{} is closed", self.path))
    }
}

fn describe(direct: bool, durability: Durability, options: &OpenOptions) -> String {
    let way = match (direct, durability) {
        (true, Durability::PerWrite) => "pwritev2 O_DIRECT|RWF_DSYNC",
        (true, Durability::WriteThenSync) => "pwrite O_DIRECT, fdatasync",
        (false, Durability::PerWrite) => "pwritev2 buffered|RWF_DSYNC",
        (false, Durability::WriteThenSync) => "pwrite buffered, fdatasync",
    };
    if options.read_only { format!("{way}, read only") } else { format!("{way} x{}", options.write_depth) }
}

/// "the file system has no O_DIRECT" and its like.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests;
