/**
 * What all retries of one store may cost together, so that a store in trouble gets less to do and not more: the retry quota of the AWS SDKs' standard
 * mode. A bucket of tokens: each retry takes some, more after a timeout; a call that succeeds at its first attempt brings one, one that succeeds after
 * retries brings back what its last retry took. An empty bucket means first attempts only, so in the long run at most one request in six is a retry.
 *
 * No clock: a store that answers nothing gets no retries, however long it takes. Callers that wait for it pause by themselves.
 */
const CAPACITY = 500;
const RETRY_COST = 5;
const TIMEOUT_RETRY_COST = 10;
const SUCCESS_REFUND = 1;

const TIMEOUTS: ReadonlySet<string> = new Set(["store-timeout", "store-unreachable"]);

export class RetryBudget {
  readonly capacity = CAPACITY;
  #tokens = CAPACITY;

  get tokens(): number {
    return this.#tokens;
  }

  /** What a retry after a trouble of `code` costs, taken; undefined when there is not that much. */
  tryTake(code: string): number | undefined {
    const cost = TIMEOUTS.has(code) ? TIMEOUT_RETRY_COST : RETRY_COST;
    if (this.#tokens < cost) return undefined;
    this.#tokens -= cost;
    return cost;
  }

  /** A call has succeeded; `lastCost` is what its last retry took, 0 without one. */
  refund(lastCost: number): void {
    this.#tokens = Math.min(CAPACITY, this.#tokens + (lastCost === 0 ? SUCCESS_REFUND : lastCost));
  }
}
