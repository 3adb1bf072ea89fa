/**
 * What reader and writer throw. A `DecodeError` is the sender's fault: the connection is closed. An `EncodeError` is ours: the
 * message cannot be expressed in the version asked for (Kafka: UnsupportedVersionException, NullPointerException).
 */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

export class EncodeError extends Error {
  override readonly name = "EncodeError";
}

/** For generated code: a field that is null in a version whose definition does not allow it. */
export function requireNonNull<T>(value: T | null, field: string): T {
  if (value === null) throw new EncodeError(`${field} is null in a version that does not allow it`);
  return value;
}

/** For generated code: a field holds a value that the version cannot carry and that must not be dropped (not `ignorable`). */
export function unsupportedField(field: string, version: number): EncodeError {
  return new EncodeError(`${field} has a non-default value, which version ${version} does not support`);
}
