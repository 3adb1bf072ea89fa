//! The device layer on real files of the temporary directory.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("weir-native-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a scratch directory");
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn options(path: String, create_size: Option<u64>) -> OpenOptions {
    OpenOptions { path, create_size, write_depth: 4, exclusive: true, read_only: false }
}

fn open_device(options: &OpenOptions) -> DeviceResult<(Device, Receiver<()>)> {
    let (ring, bell) = channel();
    let ring_the_bell = move || {
        // Nobody listens any more once the test has ended.
        let _ = ring.send(());
    };
    Device::open(options, Box::new(ring_the_bell)).map(|device| (device, bell))
}

fn wait_for(device: &Device, bell: &Receiver<()>, count: usize) -> Vec<Completion> {
    let mut all = Vec::new();
    while all.len() < count {
        bell.recv().expect("a ring");
        all.extend(device.take_completions());
    }
    all
}

fn code_of<T>(result: DeviceResult<T>) -> String {
    result.err().map_or_else(|| "no error".to_owned(), |error| error.code.into_owned())
}

#[test]
fn what_was_written_is_read_back_at_any_alignment() {
    let scratch = Scratch::new("round-trip");
    let (device, bell) = open_device(&options(scratch.path("wal"), Some(1 << 20))).expect("open");
    assert_eq!((device.kind, device.capacity), (DeviceKind::File, 1 << 20));
    let blocks: Vec<u8> = (0..64 * BLOCK_BYTES).map(|n| (n / 7 % 251) as u8).collect();
    for (token, chunk) in blocks.chunks(BLOCK_BYTES).enumerate() {
        // SAFETY: `blocks` outlives the completions, which are awaited below. The vector's address is not aligned: the bounce path.
        unsafe { device.submit_write(token as u64, chunk.as_ptr() as usize, chunk.len(), (token * BLOCK_BYTES) as u64) }.expect("submit");
    }
    let mut tokens: Vec<u64> =
        wait_for(&device, &bell, 64).into_iter().map(|done| done.outcome.map(|_| done.token).expect("written")).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..64).collect::<Vec<u64>>());
    for (offset, length) in [(0, 1), (1, 4095), (4095, 2), (5000, 100_000), (0, blocks.len())] {
        device.submit_read(99, offset as u64, length).expect("submit");
        let done = wait_for(&device, &bell, 1).pop().expect("a completion");
        let read = done.outcome.expect("read").expect("bytes");
        // SAFETY: the pool promises `skip + length` bytes inside the buffer.
        let bytes = unsafe { std::slice::from_raw_parts(read.buffer.as_mut_ptr().add(read.skip), read.length) };
        assert_eq!(bytes, &blocks[offset..offset + length]);
    }
    device.submit_flush(7).expect("submit");
    assert!(wait_for(&device, &bell, 1).pop().is_some_and(|done| done.token == 7 && done.outcome.is_ok()));
}

#[test]
fn unaligned_or_outside_is_refused_before_it_is_queued() {
    let scratch = Scratch::new("refused");
    let (mut device, _bell) = open_device(&options(scratch.path("wal"), Some(8192))).expect("open");
    let bytes = vec![0; 16384];
    let submit = |device: &Device, length, offset| {
        // SAFETY: only refusals are expected; nothing is queued.
        code_of(unsafe { device.submit_write(1, bytes.as_ptr() as usize, length, offset) })
    };
    assert_eq!(submit(&device, 0, 0), "EINVAL");
    assert_eq!(submit(&device, 4095, 0), "EINVAL");
    assert_eq!(submit(&device, 4096, 512), "EINVAL");
    assert_eq!(submit(&device, 4096, 8192), "EINVAL");
    assert_eq!(submit(&device, 4096, u64::MAX - 4095), "EINVAL");
    assert_eq!(code_of(device.submit_read(1, 8192, 1)), "EINVAL");
    assert_eq!(code_of(device.submit_read(1, 0, 0)), "EINVAL");
    device.close();
    device.close();
    assert_eq!(submit(&device, 4096, 0), "CLOSED");
    assert_eq!(code_of(device.submit_read(1, 0, 1)), "CLOSED");
    assert_eq!(code_of(device.submit_flush(1)), "CLOSED");
}

#[test]
fn closing_finishes_what_was_submitted() {
    let scratch = Scratch::new("close");
    let (mut device, _bell) = open_device(&options(scratch.path("wal"), Some(1 << 20))).expect("open");
    let block = vec![3; BLOCK_BYTES];
    for token in 0..100 {
        // SAFETY: `block` outlives `close`, which finishes all writes.
        unsafe { device.submit_write(token, block.as_ptr() as usize, BLOCK_BYTES, 0) }.expect("submit");
    }
    device.close();
    assert_eq!(device.take_completions().len(), 100);
}

#[test]
fn one_lock_at_a_time_and_none_after_close() {
    let scratch = Scratch::new("lock");
    let path = scratch.path("wal");
    let (mut first, _bell) = open_device(&options(path.clone(), Some(8192))).expect("open");
    assert_eq!(code_of(open_device(&options(path.clone(), None))), "LOCKED");
    let reader = OpenOptions { exclusive: false, read_only: true, ..options(path.clone(), None) };
    let (reader, _bell) = open_device(&reader).expect("a reader needs no lock");
    // SAFETY: refused, nothing is queued.
    assert_eq!(code_of(unsafe { reader.submit_write(1, 0, BLOCK_BYTES, 0) }), "EBADF");
    first.close();
    assert!(open_device(&options(path, None)).is_ok());
}

#[test]
fn a_file_is_created_whole_or_not_at_all() {
    let scratch = Scratch::new("create");
    let path = scratch.path("wal");
    assert_eq!(code_of(open_device(&options(path.clone(), None))), "ENOENT");
    assert_eq!(code_of(open_device(&options(path.clone(), Some(5000)))), "EINVAL");
    let too_much = code_of(open_device(&options(path.clone(), Some(1 << 52))));
    assert!(["ENOSPC", "EFBIG"].contains(&too_much.as_str()), "{too_much}");
    assert_eq!(fs::read_dir(&scratch.0).expect("list").count(), 0, "nothing is left behind");
    let (mut device, _bell) = open_device(&options(path.clone(), Some(1 << 20))).expect("open");
    device.close();
    let (device, _bell) = open_device(&options(path.clone(), Some(1 << 21))).expect("open again");
    assert_eq!(device.capacity, 1 << 20, "an existing file keeps its size");
    fs::write(scratch.path("tiny"), b"x").expect("write");
    assert_eq!(code_of(open_device(&options(scratch.path("tiny"), None))), "TOO_SMALL");
    assert_eq!(code_of(open_device(&options(scratch.0.to_string_lossy().into_owned(), None))), "NOT_A_DEVICE");
}

#[test]
fn inspection_names_what_lies_there() {
    let scratch = Scratch::new("inspect");
    let path = scratch.path("wal");
    let (mut device, _bell) = open_device(&options(path.clone(), Some(4 << 20))).expect("open");
    device.close();
    let blank = inspect(&path).expect("inspect");
    assert_eq!((blank.kind, blank.capacity, blank.content, blank.used_by.len()), (DeviceKind::File, 4 << 20, "", 0));
    let mut bytes = vec![0; 4 << 20];
    bytes[(4 << 20) - 1] = 1;
    fs::write(&path, &bytes).expect("write");
    assert_eq!(inspect(&path).expect("inspect").content, "data");
    bytes[..8].copy_from_slice(content::WEIR_MAGIC);
    fs::write(&path, &bytes).expect("write");
    assert_eq!(inspect(&path).expect("inspect").content, "weir");
}
