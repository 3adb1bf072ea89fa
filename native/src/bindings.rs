//! The face towards JavaScript. Names are given explicitly (napi-rs would rename them); `src/native/load-addon.ts` types them.
//!
//! Completions: native threads put results into the device's queue and ring one ThreadsafeFunction; JavaScript then takes all
//! that is there. The function holds the event loop only while something is in flight.

use std::sync::Arc;

use napi::bindgen_prelude::{Env, Function, Uint8Array, Uint8ArraySlice};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Error, Status, sys};
use napi_derive::napi;

use crate::codecs::{self, CodecError};
use crate::device::{self, Device, DeviceError};
use crate::{checksum, ring};

/// Not callee-handled, weak (does not hold the event loop by itself), unbounded: at most one ring per non-empty queue.
type Doorbell = ThreadsafeFunction<(), (), (), Status, false, true, 0>;
/// An error becomes a JavaScript Error with `code` and `message`. (napi-derive knows results by the name `Result`.)
type Result<T, E = Error<String>> = std::result::Result<T, E>;

impl From<DeviceError> for Error<String> {
    fn from(error: DeviceError) -> Self {
        Error::new(error.code.into_owned(), error.message)
    }
}

fn coded(code: &str, message: impl Into<String>) -> Error<String> {
    Error::new(code.to_owned(), message.into())
}

#[napi(js_name = "version")]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Addresses of functions for bun:ffi, in the order that load-addon.ts knows.
#[napi(js_name = "functionAddresses")]
pub fn function_addresses() -> Vec<f64> {
    vec![checksum::crc32c_at as *const () as usize as f64]
}

#[napi(js_name = "mapRing")]
pub fn map_ring(capacity_bytes: f64) -> Result<Uint8Array> {
    let capacity = whole("capacityBytes", capacity_bytes)? as usize;
    let start = ring::map(capacity).map_err(|error| DeviceError::from_io(&format!("map a ring of {capacity} bytes"), &error))?;
    // SAFETY: the mapping is `capacity` bytes long, never unmapped, and JavaScript becomes its only user.
    Ok(unsafe { Uint8Array::with_external_data(start.as_ptr(), capacity, |_, _| {}) })
}

#[napi(js_name = "lz4FrameCompress")]
pub fn lz4_frame_compress(bytes: Uint8ArraySlice) -> Result<Uint8Array> {
    to_bytes(codecs::lz4_frame_compress(&bytes))
}

#[napi(js_name = "lz4FrameDecompress")]
pub fn lz4_frame_decompress(bytes: Uint8ArraySlice, max_bytes: f64) -> Result<Uint8Array> {
    to_bytes(codecs::lz4_frame_decompress(&bytes, whole("maxBytes", max_bytes)? as usize))
}

#[napi(js_name = "snappyCompress")]
pub fn snappy_compress(bytes: Uint8ArraySlice) -> Result<Uint8Array> {
    to_bytes(codecs::snappy_compress(&bytes))
}

#[napi(js_name = "snappyDecompress")]
pub fn snappy_decompress(bytes: Uint8ArraySlice, max_bytes: f64) -> Result<Uint8Array> {
    to_bytes(codecs::snappy_decompress(&bytes, whole("maxBytes", max_bytes)? as usize))
}

fn to_bytes(result: Result<Vec<u8>, CodecError>) -> Result<Uint8Array> {
    match result {
        Ok(bytes) => Ok(Uint8Array::new(bytes)),
        Err(CodecError::Corrupt(reason)) => Err(coded("CORRUPT", reason)),
        Err(CodecError::TooLarge) => Err(coded("TOO_LARGE", "the content exceeds the bound")),
    }
}

#[napi(object, js_name = "RawInspection")]
pub struct RawInspection {
    pub exists: bool,
    pub kind: String,
    #[napi(js_name = "capacityBytes")]
    pub capacity_bytes: f64,
    #[napi(js_name = "usedBy")]
    pub used_by: Vec<String>,
    pub content: String,
}

#[napi(js_name = "inspectDevice")]
pub fn inspect_device(path: String) -> Result<RawInspection> {
    let found = device::inspect(&path)?;
    Ok(RawInspection {
        exists: found.exists,
        kind: found.kind.name().to_owned(),
        capacity_bytes: found.capacity as f64,
        used_by: found.used_by,
        content: found.content.to_owned(),
    })
}

#[napi(object, js_name = "RawOpenOptions")]
pub struct RawOpenOptions {
    pub path: String,
    #[napi(js_name = "createSizeBytes")]
    pub create_size_bytes: Option<f64>,
    #[napi(js_name = "writeDepth")]
    pub write_depth: u32,
    pub exclusive: bool,
    #[napi(js_name = "readOnly")]
    pub read_only: Option<bool>,
}

/// One settled operation. `code` is absent on success; `bytes` is there for reads.
#[napi(object, js_name = "RawCompletion")]
pub struct RawCompletion {
    pub token: f64,
    pub code: Option<String>,
    pub message: Option<String>,
    pub bytes: Option<Uint8Array>,
}

#[napi(js_name = "RawDevice")]
pub struct RawDevice {
    device: Device,
    doorbell: Option<Arc<Doorbell>>,
    in_flight: u32,
}

/// Opens a device; `ring` is called without arguments on the event loop when completions wait.
#[napi(js_name = "openDevice")]
pub fn open_device(options: RawOpenOptions, ring: Function<(), ()>) -> Result<RawDevice> {
    if !(1..=64).contains(&options.write_depth) {
        return Err(coded("EINVAL", format!("writeDepth {} is not in 1..64", options.write_depth)));
    }
    let create_size = options.create_size_bytes.map(|bytes| whole("createSizeBytes", bytes)).transpose()?;
    let options = device::OpenOptions {
        path: options.path,
        create_size,
        write_depth: options.write_depth as usize,
        exclusive: options.exclusive,
        read_only: options.read_only.unwrap_or(false),
    };
    let doorbell = ring
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .build()
        .map_err(|error| coded("EIO", format!("make the doorbell: {error}")))?;
    let doorbell = Arc::new(doorbell);
    let bell = Arc::clone(&doorbell);
    let ring_the_bell = move || {
        // A refused call means that the environment is going down: nobody is left to hear it.
        let _ = bell.call((), ThreadsafeFunctionCallMode::NonBlocking);
    };
    let device = Device::open(&options, Box::new(ring_the_bell))?;
    Ok(RawDevice { device, doorbell: Some(doorbell), in_flight: 0 })
}

#[napi]
impl RawDevice {
    #[napi(getter, js_name = "kind")]
    pub fn kind(&self) -> &'static str {
        self.device.kind.name()
    }

    #[napi(getter, js_name = "capacityBytes")]
    pub fn capacity_bytes(&self) -> f64 {
        self.device.capacity as f64
    }

    #[napi(getter, js_name = "strategy")]
    pub fn strategy(&self) -> String {
        self.device.strategy.clone()
    }

    #[napi(getter, js_name = "logicalBlockBytes")]
    pub fn logical_block_bytes(&self) -> u32 {
        self.device.logical_block
    }

    /// The caller keeps `bytes` alive and unchanged until the completion of `token` is taken.
    #[napi(js_name = "submitWrite")]
    pub fn submit_write(&mut self, env: Env, token: f64, bytes: Uint8ArraySlice, device_offset: f64) -> Result<()> {
        let (address, length) = (bytes.as_ptr() as usize, bytes.len());
        // SAFETY: the caller's promise; native-device.ts keeps the array in its table until the completion.
        unsafe { self.device.submit_write(token as u64, address, length, whole("deviceOffset", device_offset)?)? };
        self.started(&env);
        Ok(())
    }

    #[napi(js_name = "submitRead")]
    pub fn submit_read(&mut self, env: Env, token: f64, device_offset: f64, length_bytes: f64) -> Result<()> {
        let length = whole("lengthBytes", length_bytes)? as usize;
        self.device.submit_read(token as u64, whole("deviceOffset", device_offset)?, length)?;
        self.started(&env);
        Ok(())
    }

    #[napi(js_name = "submitFlush")]
    pub fn submit_flush(&mut self, env: Env, token: f64) -> Result<()> {
        self.device.submit_flush(token as u64)?;
        self.started(&env);
        Ok(())
    }

    #[napi(js_name = "takeCompletions")]
    pub fn take_completions(&mut self, env: Env) -> Vec<RawCompletion> {
        let completions = self.device.take_completions();
        self.settled(&env, completions.len() as u32);
        completions.into_iter().map(to_raw_completion).collect()
    }

    /// Finishes what is in flight (blocking), ends the threads, unlocks and closes.
    #[napi(js_name = "close")]
    pub fn close(&mut self, env: Env) {
        self.device.close();
        if self.in_flight == 0 {
            self.doorbell = None;
        } else {
            self.settled(&env, 0);
        }
    }

    /// The event loop stays alive while something is in flight.
    fn started(&mut self, env: &Env) {
        self.in_flight += 1;
        if self.in_flight == 1
            && let Some(doorbell) = &self.doorbell
        {
            // SAFETY: on the environment's own thread, with a function that `doorbell` keeps.
            unsafe { sys::napi_ref_threadsafe_function(env.raw(), doorbell.raw()) };
        }
    }

    fn settled(&mut self, env: &Env, count: u32) {
        let was_busy = self.in_flight > 0;
        self.in_flight -= count;
        if was_busy
            && self.in_flight == 0
            && let Some(doorbell) = &self.doorbell
        {
            // SAFETY: as in `started`.
            unsafe { sys::napi_unref_threadsafe_function(env.raw(), doorbell.raw()) };
        }
    }
}

fn to_raw_completion(completion: device::Completion) -> RawCompletion {
    let token = completion.token as f64;
    match completion.outcome {
        Err(error) => RawCompletion { token, code: Some(error.code.into_owned()), message: Some(error.message), bytes: None },
        Ok(None) => RawCompletion { token, code: None, message: None, bytes: None },
        Ok(Some(read)) => {
            // SAFETY: `skip + length` lies inside the buffer, which lives until the finaliser drops it.
            let bytes = unsafe {
                let start = read.buffer.as_mut_ptr().add(read.skip);
                Uint8Array::with_external_data(start, read.length, move |_, _| drop(read.buffer))
            };
            RawCompletion { token, code: None, message: None, bytes: Some(bytes) }
        }
    }
}

/// A JavaScript number that must be an integer in [0, 2^53).
fn whole(name: &str, value: f64) -> Result<u64> {
    const LIMIT: f64 = (1u64 << 53) as f64;
    if (0.0..LIMIT).contains(&value) && value.fract() == 0.0 {
        return Ok(value as u64);
    }
    Err(coded("EINVAL", format!("{name} {value} is not a whole number below 2^53")))
}
