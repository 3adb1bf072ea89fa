//! Opening, creating and locking.
//!
//! A file is created under a second name, allocated in full, synced and then renamed, so that a path that exists always has its
//! whole size. Blocks are allocated but not written: creating is instant, and a write into a block for the first time costs
//! the file system one more journal commit (docs/decisions/0003-file-wal-allocated-not-prewritten.md).

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::buffer::AlignedBuffer;
use super::error::{DeviceError, DeviceResult};
use super::inspect::{self, DeviceKind};
use super::{BLOCK_BYTES, is_refusal, transfer};

pub struct OpenOptions {
    pub path: String,
    /// Create a missing file at this size, a multiple of the block.
    pub create_size: Option<u64>,
    /// Threads that write: writes in flight at most.
    pub write_depth: usize,
    pub exclusive: bool,
    pub read_only: bool,
}

pub struct Opened {
    pub file: File,
    pub kind: DeviceKind,
    pub capacity: u64,
    pub logical_block: u32,
    /// The page cache is bypassed.
    pub direct: bool,
}

pub fn open(options: &OpenOptions) -> DeviceResult<Opened> {
    let path = options.path.as_str();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound && options.create_size.is_some() && !options.read_only => {
            create(Path::new(path), options.create_size.unwrap_or_default())?;
            fs::metadata(path).map_err(|error| DeviceError::from_io(&format!("open {path}"), &error))?
        }
        Err(error) => return Err(DeviceError::from_io(&format!("open {path}"), &error)),
    };
    let kind = DeviceKind::of(&metadata);
    if kind == DeviceKind::Other {
        return Err(DeviceError::new("NOT_A_DEVICE", format!("{path} is neither a regular file nor a block device")));
    }
    if options.exclusive {
        refuse_users(path, &metadata)?;
    }
    let (mut file, direct) = open_direct(options, kind)?;
    if options.exclusive {
        lock(&file, path)?;
        if !is_same_file(&file, Path::new(path)) {
            return Err(DeviceError::new("LOCKED", format!("{path} was replaced while it was being opened")));
        }
    }
    let end = inspect::end_of(&mut file).map_err(|error| DeviceError::from_io(&format!("measure {path}"), &error))?;
    let capacity = end - end % BLOCK_BYTES as u64;
    if capacity == 0 {
        return Err(DeviceError::new("TOO_SMALL", format!("{path} holds {end} bytes, less than one block of {BLOCK_BYTES}")));
    }
    let logical_block = logical_block_bytes(&file, kind, path)?;
    let (file, direct) = prove_direct(file, direct, options, kind)?;
    Ok(Opened { file, kind, capacity, logical_block, direct })
}

/// A fresh open of the same path, without O_DIRECT, when the first direct read shows that the file system only pretended.
fn prove_direct(file: File, direct: bool, options: &OpenOptions, kind: DeviceKind) -> DeviceResult<(File, bool)> {
    let scratch = AlignedBuffer::new(BLOCK_BYTES);
    match transfer::read_fully(&file, &scratch, 0) {
        Ok(()) => Ok((file, direct)),
        Err(error) if direct && kind == DeviceKind::File && is_refusal(&error) => {
            // SAFETY: fcntl on a descriptor that we own.
            let cleared = unsafe {
                let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
                flags >= 0 && libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_DIRECT) == 0
            };
            if !cleared {
                return Err(DeviceError::last_os(&format!("leave O_DIRECT on {}", options.path)));
            }
            transfer::read_fully(&file, &scratch, 0)
                .map_err(|error| DeviceError::from_io(&format!("read the first block of {}", options.path), &error))?;
            Ok((file, false))
        }
        Err(error) => Err(DeviceError::from_io(&format!("read the first block of {}", options.path), &error)),
    }
}

fn refuse_users(path: &str, metadata: &fs::Metadata) -> DeviceResult<()> {
    let users = inspect::users_of(path, metadata);
    if users.is_empty() {
        return Ok(());
    }
    Err(DeviceError::new("MOUNTED", format!("{path} is in use by {}", users.join(", "))))
}

/// O_DIRECT where the file system has it (block devices always do). O_EXCL on a block device makes the kernel refuse it while
/// it, or a partition of it, is mounted, held or opened so by another.
fn open_direct(options: &OpenOptions, kind: DeviceKind) -> DeviceResult<(File, bool)> {
    let path = options.path.as_str();
    let exclusive = if options.exclusive && kind == DeviceKind::Block { libc::O_EXCL } else { 0 };
    let open_with = |flags: i32| fs::OpenOptions::new().read(true).write(!options.read_only).custom_flags(flags | exclusive).open(path);
    match open_with(libc::O_DIRECT) {
        Ok(file) => Ok((file, true)),
        Err(error) if kind == DeviceKind::File && is_refusal(&error) => {
            open_with(0).map(|file| (file, false)).map_err(|error| DeviceError::from_io(&format!("open {path}"), &error))
        }
        Err(error) if exclusive != 0 && error.raw_os_error() == Some(libc::EBUSY) => {
            Err(DeviceError::new("LOCKED", format!("{path} is held by another process")))
        }
        Err(error) => Err(DeviceError::from_io(&format!("open {path}"), &error)),
    }
}

/// The lock goes with the open file: it ends when the process does, however it ends.
fn lock(file: &File, path: &str) -> DeviceResult<()> {
    // SAFETY: flock on a descriptor that we own.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.kind() == ErrorKind::WouldBlock {
        return Err(DeviceError::new("LOCKED", format!("{path} is locked by another process")));
    }
    Err(DeviceError::from_io(&format!("lock {path}"), &error))
}

fn is_same_file(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(theirs)) = (file.metadata(), fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
}

/// A file that cannot be made at its full size leaves nothing behind.
fn create(path: &Path, size: u64) -> DeviceResult<()> {
    let doing = || format!("create {} with {size} bytes", path.display());
    if size == 0 || !size.is_multiple_of(BLOCK_BYTES as u64) {
        return Err(DeviceError::new("EINVAL", format!("{}: the size is not a multiple of {BLOCK_BYTES}", doing())));
    }
    let draft = draft_path(path);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&draft)
        .map_err(|error| DeviceError::from_io(&doing(), &error))?;
    lock(&file, &draft.to_string_lossy())?;
    if !is_same_file(&file, &draft) {
        return Err(DeviceError::new("LOCKED", format!("{} is being created by another process", path.display())));
    }
    let made = fill(&file, size).and_then(|()| file.sync_all()).and_then(|()| rename_new(&draft, path)).and_then(|()| sync_directory(path));
    if let Err(error) = made {
        // The draft is gone already when the rename came through; then only its durability is in doubt.
        let _ = fs::remove_file(&draft);
        return Err(DeviceError::from_io(&doing(), &error));
    }
    Ok(())
}

fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".creating");
    PathBuf::from(name)
}

/// Allocates all blocks; zeros are written only where the file system cannot allocate without.
fn fill(file: &File, size: u64) -> io::Result<()> {
    file.set_len(0)?;
    loop {
        // SAFETY: fallocate on a descriptor that we own.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, size as libc::off_t) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return write_zeros(file, size),
            _ => return Err(error),
        }
    }
}

fn write_zeros(file: &File, size: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut written = 0;
    while written < size {
        let length = (size - written).min(zeros.len() as u64) as usize;
        std::os::unix::fs::FileExt::write_all_at(file, &zeros[..length], written)?;
        written += length as u64;
    }
    Ok(())
}

/// Never replaces a file that somebody made meanwhile.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// BLKSSZGET for a block device; files take the block we write in.
fn logical_block_bytes(file: &File, kind: DeviceKind, path: &str) -> DeviceResult<u32> {
    /// `_IO(0x12, 104)` in linux/fs.h.
    const BLKSSZGET: libc::c_ulong = 0x1268;
    if kind == DeviceKind::File {
        return Ok(BLOCK_BYTES as u32);
    }
    let mut bytes: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int.
    if unsafe { libc::ioctl(file.as_raw_fd(), BLKSSZGET, &raw mut bytes) } != 0 {
        return Err(DeviceError::last_os(&format!("ask {path} for its block size")));
    }
    match u32::try_from(bytes) {
        Ok(size) if size > 0 && (BLOCK_BYTES as u32).is_multiple_of(size) => Ok(size),
        _ => Err(DeviceError::new("NOT_A_DEVICE", format!("{path} has logical blocks of {bytes} bytes; at most {BLOCK_BYTES} are served"))),
    }
}
