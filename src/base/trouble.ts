/**
 * A *trouble*: something outside went wrong and an operator may have to act. Not an answer to a client (that is a value)
 * and not a bug (that is an AssertionFailure).
 */
export interface TroubleOptions {
  /** Stable, kebab-case; docs and tests grep it: "store-unavailable", "wal-device-foreign". */
  readonly code: string;
  /** One line that names the thing, its value, and what would be right. */
  readonly message: string;
  /** The same call may succeed later without anybody acting. */
  readonly retryable: boolean;
  /** What the operator can do, one sentence; part of the one-line error at start-up. */
  readonly remedy?: string;
  /** Process exit code when this ends a command: 1 failure, 2 bad usage or configuration, 70 fenced. */
  readonly exitCode?: 1 | 2 | 70;
  readonly cause?: unknown;
}

export class Trouble extends Error {
  override readonly name = "Trouble";
  readonly code: string;
  readonly retryable: boolean;
  readonly remedy: string | undefined;
  readonly exitCode: 1 | 2 | 70;

  constructor(options: TroubleOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.retryable = options.retryable;
    this.remedy = options.remedy;
    this.exitCode = options.exitCode ?? 1;
  }
}
