/**
 * Brings the Rust addon into the process without writing a file: its bytes lie in the executable (or in build/native/ when running from source),
 * go into a memfd, and are loaded from /proc/self/fd. So a temporary directory that is missing, read-only or mounted noexec does no harm.
 *
 * Neighbours: `addon.ts` is what others see; `raw-addon.ts` what the library exports; `native-device.ts` turns its queues into promises.
 */
import { dlopen, FFIType, linkSymbols } from "bun:ffi";
import { closeSync, readFileSync, writeSync } from "node:fs";
import { AssertionFailure } from "../base/assert.ts";
import { Trouble } from "../base/trouble.ts";
import type { Addon } from "./addon.ts";
import { openNativeDevice } from "./native-device.ts";
import type { RawAddon } from "./raw-addon.ts";

/** memfd_create(2). Kernels with vm.memfd_noexec=2 want the seal; it takes the file's x bits, not the right to map it executable. */
const MFD_CLOEXEC = 0x1;
const MFD_NOEXEC_SEAL = 0x8;

let loaded: Addon | undefined;

/** The addon, loaded once per process. Throws Trouble "addon-missing" or "addon-unloadable". */
export function loadAddon(): Addon {
  loaded ??= makeAddon(loadLibrary(readLibraryPath()));
  return loaded;
}

function readLibraryPath(): string {
  try {
    const file: typeof import("./addon-file.ts") = require("./addon-file.ts");
    return file.addonPath;
  } catch (cause) {
    const message = "the native addon build/native/weir.bin is missing";
    throw new Trouble({ code: "addon-missing", message, retryable: false, remedy: "run npm run build", cause });
  }
}

function loadLibrary(path: string): RawAddon {
  let descriptor = -1;
  try {
    const bytes = readFileSync(path);
    descriptor = createMemoryFile();
    for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
    const library: { exports: unknown } = { exports: {} };
    process.dlopen(library, `/proc/self/fd/${descriptor}`);
    return library.exports as RawAddon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `the native addon cannot be loaded: ${reason}`;
    const remedy = "Weir needs Linux with glibc 2.34 or later, and /proc mounted";
    throw new Trouble({ code: "addon-unloadable", message, retryable: false, remedy, cause });
  } finally {
    if (descriptor >= 0) closeSync(descriptor);
  }
}

function createMemoryFile(): number {
  const libc = dlopen("libc.so.6", { memfd_create: { args: [FFIType.cstring, FFIType.u32], returns: FFIType.i32 } });
  const name = Buffer.from("weir-addon\0");
  for (const flags of [MFD_CLOEXEC, MFD_CLOEXEC | MFD_NOEXEC_SEAL]) {
    const descriptor = libc.symbols.memfd_create(name, flags);
    if (descriptor >= 0) return descriptor;
  }
  throw new Error("memfd_create was refused");
}

function makeAddon(raw: RawAddon): Addon {
  return {
    version: raw.version(),
    mapRing: (capacityBytes) => raw.mapRing(capacityBytes),
    crc32c: linkCrc32c(raw),
    openDevice: (options) => openNativeDevice(raw, options),
    inspectDevice: (path) => raw.inspectDevice(path),
    lz4FrameCompress: (bytes) => raw.lz4FrameCompress(bytes),
    lz4FrameDecompress: (bytes, maxBytes) => raw.lz4FrameDecompress(bytes, maxBytes),
    snappyCompress: (bytes) => raw.snappyCompress(bytes),
    snappyDecompress: (bytes, maxBytes) => raw.snappyDecompress(bytes, maxBytes),
    lz4HighCompress: (bytes, level) => raw.lz4HighCompress(bytes, level),
    zstdDecompressInto: (bytes, target) => raw.zstdDecompressInto(bytes, target),
    scanRecords: (codec, bytes, count, baseTimestampMs, maxContentBytes) =>
      raw.scanRecords(codec, bytes, count, baseTimestampMs, maxContentBytes),
  };
}

/** A call through bun:ffi costs about a tenth of one through N-API, but checks nothing: the bounds are checked here. */
function linkCrc32c(raw: RawAddon): Addon["crc32c"] {
  const [address] = raw.functionAddresses();
  if (address === undefined) throw new AssertionFailure("the addon exports no address of crc32c");
  const signature = [FFIType.ptr, FFIType.u64_fast, FFIType.u64_fast, FFIType.u32] as const;
  const { symbols } = linkSymbols({ crc32c: { ptr: address as never, args: signature, returns: FFIType.u32 } });
  return (bytes, start, end, seed = 0) => {
    if (!(start >= 0 && start <= end && end <= bytes.length)) {
      throw new AssertionFailure(`crc32c of [${start}, ${end}) in ${bytes.length} bytes`);
    }
    return start === end ? seed : symbols.crc32c(bytes, start, end - start, seed);
  };
}
