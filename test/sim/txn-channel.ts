/**
 * One client's way to the coordinators and partitions: asks until it is answered, over a new connection after each loss, and remembers what it does not know the fate of.
 * A broker that was replaced and does not know it yet may still answer from memory: its refusals count for nothing.
 */
import type { ApiDefinition } from "../../src/protocol/api-definition.ts";
import { ConnectionLost, SimConnection } from "./sim-client.ts";
import type { ClientPlace } from "./sim-clients.ts";

const COORDINATOR_LOAD_IN_PROGRESS = 14;
const COORDINATOR_NOT_AVAILABLE = 15;
const NOT_COORDINATOR = 16;
const CONCURRENT_TRANSACTIONS = 51;
const UNSTABLE_OFFSET_COMMIT = 88;
/** As in Java's TransactionManager: asked again. UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE, NOT_LEADER, REQUEST_TIMED_OUT, NETWORK_EXCEPTION, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR. */
export const ASKED_AGAIN: ReadonlySet<number> = new Set([
  3,
  5,
  6,
  7,
  13,
  19,
  20,
  56,
  COORDINATOR_LOAD_IN_PROGRESS,
  COORDINATOR_NOT_AVAILABLE,
  NOT_COORDINATOR,
  CONCURRENT_TRANSACTIONS,
  UNSTABLE_OFFSET_COMMIT,
]);
const RETRY_MS = 20;

export interface Asked<Answer> {
  readonly answer: Answer;
  readonly isCurrent: boolean;
  /** An earlier try may have been carried out. */
  readonly isRepeated: boolean;
  /** When the try that was answered was sent. */
  readonly sentMs: number;
}

export class TxnChannel {
  /** What was asked and not answered may still arrive. */
  losses = 0;
  /** Whoever answered something with success had been replaced. */
  sawStale = false;
  private readonly place: ClientPlace;
  private connection: SimConnection | undefined;

  constructor(place: ClientPlace) {
    this.place = place;
  }

  /** The answer whose codes (`codesOf`) are none that Java asks again for. `onSend` is called before each try. */
  async ask<Request, Answer>(
    operation: string,
    api: ApiDefinition<Request, Answer>,
    version: number,
    request: Request,
    codesOf: (answer: Answer) => readonly number[],
    onSend: () => void = () => {},
  ): Promise<Asked<Answer>> {
    let isRepeated = false;
    for (;;) {
      const { clock, scheduler, random } = this.place.process;
      let wasSent = false;
      try {
        const connection = await this.connect();
        const { host } = connection;
        const wasCurrent = this.place.isCurrent(host);
        onSend();
        wasSent = true;
        const sentMs = scheduler.nowMs;
        const answer = await connection.request(api, version, request);
        const isCurrent = wasCurrent && this.place.isCurrent(host);
        this.place.done(operation);
        const codes = codesOf(answer);
        const isRefused = codes.some((code) => code !== 0);
        if (!isCurrent && isRefused) {
          this.place.history.done("stale-answer");
          throw new ConnectionLost("stale");
        }
        if (!isCurrent) this.sawStale = true;
        if (!codes.some((code) => ASKED_AGAIN.has(code))) return { answer, isCurrent, isRepeated, sentMs };
        if (codes.some((code) => code !== CONCURRENT_TRANSACTIONS && code !== UNSTABLE_OFFSET_COMMIT && ASKED_AGAIN.has(code)))
          this.close();
        await clock.sleep(RETRY_MS * (1 + random.nextFloat()));
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        if (wasSent) this.losses++;
        this.close();
        await clock.sleep(20 + random.nextFloat() * 200);
      }
      if (wasSent) isRepeated = true;
    }
  }

  async connect(): Promise<SimConnection> {
    if (this.connection?.isOpen === true) return this.connection;
    const { host, port } = this.place.pickHost();
    this.connection = await SimConnection.open(this.place.process, this.place.network, host, port);
    return this.connection;
  }

  /** Whoever answered had been replaced: the next request goes to whoever serves by then. */
  async turnAway(): Promise<void> {
    this.close();
    await this.place.process.clock.sleep(RETRY_MS * (1 + this.place.process.random.nextFloat()));
  }

  close(): void {
    this.connection?.close();
    this.connection = undefined;
  }
}
