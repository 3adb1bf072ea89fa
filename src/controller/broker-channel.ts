/**
 * One broker's way to the controller: gathers its changes into requests, numbers them, and keeps one in flight, so that "the last outcome per broker" in
 * the log is enough to answer a repeated request. The link is the controller itself while the cluster is one process.
 */
import { assert } from "../base/assert.ts";
import { Trouble } from "../base/trouble.ts";
import { type Answer, type BrokerRegistration, type Change, type ChangeOutcome, estimateBytes, type Request } from "./changes.ts";

/** Resolves when the answer is certain, whoever is controller meanwhile. */
export type ControllerLink = (request: Request) => Promise<Answer>;

interface QueuedChange {
  readonly change: Change;
  readonly resolve: (outcome: ChangeOutcome) => void;
  readonly reject: (reason: unknown) => void;
}

/** A request takes no further change above these. */
const TARGET_REQUEST_BYTES = 524_288;
const MAX_CHANGES_PER_REQUEST = 2_000;
/** Changes that may wait; beyond, `submit` rejects with a retryable trouble. */
const MAX_QUEUED_CHANGES = 100_000;

export class BrokerChannel {
  readonly #link: ControllerLink;
  readonly #registration: BrokerRegistration;
  #queue: QueuedChange[] = [];
  #isSending = false;
  #brokerEpoch: number | undefined;
  #sequence = 0;
  #failure: unknown;

  constructor(link: ControllerLink, registration: BrokerRegistration) {
    this.#link = link;
    this.#registration = registration;
  }

  get brokerEpoch(): number {
    assert(this.#brokerEpoch !== undefined, "the broker is not registered yet");
    return this.#brokerEpoch;
  }

  /** Once, before the first change. Rejects with Trouble "broker-fenced". */
  async register(): Promise<number> {
    const answer = await this.#link({ kind: "register", registration: this.#registration });
    if (answer.kind === "fenced") throw fencedTrouble(answer.message);
    assert(answer.kind === "registered", `a registration was answered with ${answer.kind}`);
    this.#brokerEpoch = answer.brokerEpoch;
    return answer.brokerEpoch;
  }

  /** Rejects with Trouble "broker-fenced" (fatal), "metadata-busy" (retryable), or the controller's failure. */
  submit(change: Change): Promise<ChangeOutcome> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#queue.length >= MAX_QUEUED_CHANGES) {
      const message = `${MAX_QUEUED_CHANGES} metadata changes wait already`;
      return Promise.reject(new Trouble({ code: "metadata-busy", message, retryable: true }));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ change, resolve, reject });
      if (!this.#isSending) void this.#send();
    });
  }

  /** Ends all waiting and future changes with `reason`. */
  fail(reason: unknown): void {
    this.#failure ??= reason;
    for (const { reject } of this.#queue.splice(0)) reject(this.#failure);
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    // So that changes made in one turn travel together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const sent = this.#takeRequest();
      try {
        const changes = sent.map(({ change }) => change);
        const sequence = ++this.#sequence;
        const { nodeId } = this.#registration;
        const answer = await this.#link({ kind: "changes", nodeId, brokerEpoch: this.brokerEpoch, sequence, changes });
        if (answer.kind === "fenced") throw fencedTrouble(answer.message);
        assert(answer.kind === "outcomes" && answer.outcomes.length === sent.length, "outcomes do not match the changes");
        for (const [index, { resolve }] of sent.entries()) resolve(answer.outcomes[index]!);
      } catch (error) {
        for (const { reject } of sent) reject(error);
        this.fail(error);
      }
    }
    this.#isSending = false;
  }

  #takeRequest(): QueuedChange[] {
    let count = 0;
    for (let bytes = 0; count < Math.min(this.#queue.length, MAX_CHANGES_PER_REQUEST); count++) {
      bytes += estimateBytes(this.#queue[count]!.change);
      if (count > 0 && bytes > TARGET_REQUEST_BYTES) break;
    }
    return this.#queue.splice(0, count);
  }
}

/**
 * A running broker waits out whatever the object store says, also what would end a start (refused credentials, a bucket that is gone): somebody else can
 * mend it. What the log itself says is final unless it is marked retryable.
 */
export function mayPass(trouble: Trouble): boolean {
  return trouble.retryable || trouble.code.startsWith("store-");
}

export function fencedTrouble(message: string): Trouble {
  return new Trouble({
    code: "broker-fenced",
    message: `this broker has been replaced: ${message}`,
    remedy: "Nothing to do if another process runs with this node id; else restart.",
    retryable: false,
    exitCode: 70,
  });
}
