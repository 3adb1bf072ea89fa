//! Weir's native addon. It holds no Kafka logic: memory, device IO, a checksum and two codecs.
//!
//! | module     | what it is                                                                   |
//! |------------|------------------------------------------------------------------------------|
//! | `bindings` | the only module that knows N-API: the face that `src/native/` loads          |
//! | `device`   | open, lock, inspect, durable writes, reads; native threads and a doorbell    |
//! | `ring`     | the anonymous mapping behind the memory ring                                 |
//! | `checksum` | CRC32C, exported as a plain C function for calls of a few nanoseconds        |
//! | `codecs`   | lz4 frames and raw snappy blocks, decompression bounded by the caller        |
//! | `lz4_high` | lz4's high-compression levels                                                |
//! | `records`  | walks a batch's records, compressed or not, in a bounded window               |
//! | `record_bindings` | the face of these two                                                 |
//! | `zstd_task` | zstd decompression on pool threads into the caller's memory, with its face         |

pub mod bindings;
mod checksum;
mod codecs;
mod device;
mod lz4_high;
pub mod record_bindings;
mod records;
mod ring;
pub mod zstd_task;
