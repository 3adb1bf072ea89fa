/**
 * The credentials that requests are signed with: from the AWS default chain, and asked for anew without a restart when they are about to expire and when
 * the server refuses them.
 *
 * The SDK by itself keeps what has no expiry for ever, reads the shared files once per process, and has no request signed while a renewal fails, even
 * though the old credentials hold for some minutes more; so it is told to keep nothing, and this file does.
 */
import type { Clock } from "../base/clock.ts";

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** Asked for new ones this long before the old ones end, as the SDK does. */
const RENEW_BEFORE_MS = 300_000;
/** Between two questions to the chain while it has nothing better. */
const ASK_EVERY_MS = 2_000;

export class RenewedCredentials {
  readonly #ask: (context: unknown) => Promise<Credentials>;
  readonly #clock: Clock;
  #current: Credentials | undefined;
  #asking: Promise<Credentials> | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;
  #isRefused = false;
  #generation = 0;
  #hasWorked = false;

  /** `ask`: the chain, without a memory of its own; what the SDK tells its providers is handed on. */
  constructor(ask: (context: unknown) => Promise<Credentials>, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  /** A request with the present credentials has succeeded. */
  get hasWorked(): boolean {
    return this.#hasWorked;
  }

  /** For the SDK, at each request. Rejects with the chain's error when there are none that hold. */
  readonly provide = async (context?: unknown): Promise<Credentials> => {
    const current = this.#current;
    if (current !== undefined && !this.#shouldRenew(current)) return current;
    try {
      return await this.#renew(context);
    } catch (error) {
      // What the chain says now matters only when there is nothing to sign with.
      if (current !== undefined && !this.#isOver(current)) return current;
      throw error;
    }
  };

  noteAccepted(): void {
    this.#hasWorked = true;
    this.#isRefused = false;
  }

  /** Rises with each renewal that brought others. */
  get generation(): number {
    return this.#generation;
  }

  /** The server refuses those of `generation`: unless there are others already, the chain is asked at the next request. */
  noteRefused(generation: number): void {
    if (generation >= this.#generation) this.#isRefused = true;
  }

  #shouldRenew(current: Credentials): boolean {
    const isDue = this.#isRefused || (current.expiration !== undefined && this.#leftMs(current.expiration) < RENEW_BEFORE_MS);
    return isDue && this.#clock.monotonicMs() - this.#askedMs >= ASK_EVERY_MS;
  }

  #isOver({ expiration }: Credentials): boolean {
    return expiration !== undefined && this.#leftMs(expiration) <= 0;
  }

  #leftMs(expiration: Date): number {
    return expiration.getTime() - this.#clock.wallMs();
  }

  #renew(context: unknown): Promise<Credentials> {
    this.#asking ??= this.#askOnce(context).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askOnce(context: unknown): Promise<Credentials> {
    this.#askedMs = this.#clock.monotonicMs();
    const found = await this.#ask(context);
    const { accessKeyId, secretAccessKey, sessionToken } = this.#current ?? {};
    const isSame = found.accessKeyId === accessKeyId && found.secretAccessKey === secretAccessKey && found.sessionToken === sessionToken;
    if (!isSame) {
      this.#isRefused = false;
      this.#generation++;
    }
    this.#current = found;
    return found;
  }
}
