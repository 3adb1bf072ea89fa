//! Native threads that do a device's IO, and the queue of what they finished.
//!
//! Invariants: a job that was accepted gives exactly one completion; threads sleep on a condition variable and never wake
//! without work; the doorbell rings when the completion queue goes from empty to not empty, so one `take` per ring
//! misses nothing; dropping a pool finishes all accepted jobs first.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::BLOCK_BYTES;
use super::buffer::AlignedBuffer;
use super::error::{DeviceError, DeviceResult};
use super::transfer::{self, Durability};

/// Threads touch little stack: a system call and a queue.
const THREAD_STACK_BYTES: usize = 128 * 1024;

pub enum Operation {
    /// `address .. address + length` must stay unchanged and alive until the completion is taken.
    Write {
        address: usize,
        length: usize,
        offset: u64,
    },
    Read {
        offset: u64,
        length: usize,
    },
    Flush,
}

pub struct Job {
    /// The caller's name for it; comes back in the completion.
    pub token: u64,
    pub operation: Operation,
}

/// What a read brought: `length` bytes from `skip` on are the range that was asked for.
pub struct ReadBytes {
    pub buffer: AlignedBuffer,
    pub skip: usize,
    pub length: usize,
}

pub struct Completion {
    pub token: u64,
    pub outcome: DeviceResult<Option<ReadBytes>>,
}

/// The open device as IO threads need it.
pub struct Medium {
    pub file: File,
    pub path: String,
    pub direct: bool,
    pub durability: Durability,
}

pub struct CompletionQueue {
    finished: Mutex<Vec<Completion>>,
    doorbell: Box<dyn Fn() + Send + Sync>,
}

impl CompletionQueue {
    pub fn new(doorbell: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { finished: Mutex::new(Vec::new()), doorbell }
    }

    fn push(&self, completion: Completion) {
        let was_empty = {
            let mut finished = lock(&self.finished);
            finished.push(completion);
            finished.len() == 1
        };
        if was_empty {
            (self.doorbell)();
        }
    }

    /// Everything finished since the last call.
    pub fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut *lock(&self.finished))
    }
}

struct JobQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

struct QueueState {
    waiting: VecDeque<Job>,
    closed: bool,
}

pub struct Pool {
    queue: Arc<JobQueue>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `thread_count` threads named `name`.
    pub fn start(name: &str, thread_count: usize, medium: &Arc<Medium>, completions: &Arc<CompletionQueue>) -> io::Result<Self> {
        let queue =
            Arc::new(JobQueue { state: Mutex::new(QueueState { waiting: VecDeque::new(), closed: false }), changed: Condvar::new() });
        let mut pool = Self { queue, threads: Vec::with_capacity(thread_count) };
        for _ in 0..thread_count {
            let (queue, medium, completions) = (Arc::clone(&pool.queue), Arc::clone(medium), Arc::clone(completions));
            let builder = thread::Builder::new().name(name.to_owned()).stack_size(THREAD_STACK_BYTES);
            pool.threads.push(builder.spawn(move || run(&queue, &medium, &completions))?);
        }
        Ok(pool)
    }

    pub fn submit(&self, job: Job) {
        lock(&self.queue.state).waiting.push_back(job);
        self.queue.changed.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.queue.state).closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has aborted the process or left its message on stderr.
            let _ = thread.join();
        }
    }
}

fn run(queue: &JobQueue, medium: &Medium, completions: &CompletionQueue) {
    while let Some(job) = next_job(queue) {
        let outcome = perform(medium, &job.operation);
        completions.push(Completion { token: job.token, outcome });
    }
}

fn next_job(queue: &JobQueue) -> Option<Job> {
    let mut state = lock(&queue.state);
    loop {
        if let Some(job) = state.waiting.pop_front() {
            return Some(job);
        }
        if state.closed {
            return None;
        }
        state = queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn perform(medium: &Medium, operation: &Operation) -> DeviceResult<Option<ReadBytes>> {
    match *operation {
        Operation::Write { address, length, offset } => write(medium, address, length, offset)
            .map(|()| None)
            .map_err(|error| DeviceError::from_io(&format!("write {length} bytes at {offset} of {}", medium.path), &error)),
        Operation::Read { offset, length } => read(medium, offset, length)
            .map(Some)
            .map_err(|error| DeviceError::from_io(&format!("read {length} bytes at {offset} of {}", medium.path), &error)),
        Operation::Flush => {
            medium.file.sync_data().map(|()| None).map_err(|error| DeviceError::from_io(&format!("flush {}", medium.path), &error))
        }
    }
}

fn write(medium: &Medium, address: usize, length: usize, offset: u64) -> io::Result<()> {
    if !medium.direct || address.is_multiple_of(BLOCK_BYTES) {
        // SAFETY: the submitter keeps the memory until it takes the completion (Operation::Write).
        return unsafe { transfer::write_durably(&medium.file, address, length, offset, medium.durability) };
    }
    let bounce = AlignedBuffer::new(length);
    // SAFETY: the same promise for the source; the bounce buffer is ours, of the same length, and lives until after the write.
    unsafe {
        std::ptr::copy_nonoverlapping(address as *const u8, bounce.as_mut_ptr(), length);
        transfer::write_durably(&medium.file, bounce.as_mut_ptr() as usize, length, offset, medium.durability)
    }
}

fn read(medium: &Medium, offset: u64, length: usize) -> io::Result<ReadBytes> {
    let block = BLOCK_BYTES as u64;
    let start = offset - offset % block;
    let skip = (offset - start) as usize;
    let buffer = AlignedBuffer::new((skip + length).next_multiple_of(BLOCK_BYTES));
    transfer::read_fully(&medium.file, &buffer, start)?;
    Ok(ReadBytes { buffer, skip, length })
}

/// A lock whose holder panicked still guards valid data here: each section is one push, pop or assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
