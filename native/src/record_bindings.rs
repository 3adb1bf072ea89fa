//! The face towards JavaScript of what serves record batches; see `bindings`.

use napi::bindgen_prelude::{Uint8Array, Uint8ArraySlice};
use napi_derive::napi;

use crate::lz4_high;
use crate::records::{self, Summary};

/// `bytes` are a batch's records as they were sent. Undefined: not clean. Else greatest timestamp (-1: none is set), least one that is set (Infinity:
/// none is), records without a key, length of the longest record, length of the content.
#[napi(js_name = "scanRecords")]
pub fn scan_records(codec: u32, bytes: Uint8ArraySlice, count: u32, base_timestamp: f64, max_content: f64) -> Option<Vec<f64>> {
    let found = records::scan(codec, &bytes, count, base_timestamp as i64, max_content as u64).ok()?;
    let Summary { max_timestamp, min_timestamp, keyless, longest, content_bytes } = found;
    let least = if min_timestamp == i64::MAX { f64::INFINITY } else { min_timestamp as f64 };
    Some(vec![max_timestamp as f64, least, f64::from(keyless), f64::from(longest), content_bytes as f64])
}

#[napi(js_name = "lz4HighCompress")]
pub fn lz4_high_compress(bytes: Uint8ArraySlice, level: i32) -> Uint8Array {
    Uint8Array::new(lz4_high::compress(&bytes, level))
}
