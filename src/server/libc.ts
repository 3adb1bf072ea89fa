/** The few calls of the C library that the runtime does not offer for listening sockets. Linux only, as Weir is. */
import { dlopen, FFIType } from "bun:ffi";

const { symbols } = dlopen("libc.so.6", {
  dup: { args: [FFIType.i32], returns: FFIType.i32 },
  close: { args: [FFIType.i32], returns: FFIType.i32 },
  listen: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
});

/** A second descriptor of the same open socket; -1 on failure. */
export const duplicateDescriptor = (descriptor: number): number => symbols.dup(descriptor);

export const closeDescriptor = (descriptor: number): void => void symbols.close(descriptor);

/** listen(2) on a socket that listens already sets its backlog. */
export const setBacklog = (descriptor: number, backlog: number): boolean => symbols.listen(descriptor, backlog) === 0;
