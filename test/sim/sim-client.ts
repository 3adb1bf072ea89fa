/** A client's connection in the simulated network: encoded Kafka frames out, answers in request order, a deadline for each. */
import type { ApiDefinition } from "../../src/protocol/api-definition.ts";
import type { TransportConnection } from "../../src/server/transport.ts";
import { decodeResponse, encodeRequest, frame } from "../support/kafka-connection.ts";
import type { SimProcess } from "./process.ts";
import type { SimNetwork } from "./sim-network.ts";

export class ConnectionLost extends Error {}

const REQUEST_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 1_500;

interface Waiting {
  readonly sentMs: number;
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class SimConnection {
  private readonly process: SimProcess;
  private transport: TransportConnection | undefined;
  private received: Buffer = Buffer.alloc(0);
  private readonly waiting: Waiting[] = [];
  private unsent: Uint8Array[] = [];
  private correlationId = 0;
  private isClosed = false;
  /** Where it leads. */
  readonly host: string;

  private constructor(process: SimProcess, host: string) {
    this.process = process;
    this.host = host;
  }

  /** Rejects with ConnectionLost. */
  static async open(process: SimProcess, network: SimNetwork, host: string, port: number): Promise<SimConnection> {
    const connection = new SimConnection(process, host);
    const { promise, resolve, reject } = Promise.withResolvers<TransportConnection>();
    const timer = process.clock.schedule(CONNECT_TIMEOUT_MS, () => reject(new ConnectionLost("no answer to connect")));
    network
      .transportOf(process)
      .connect(host, port, {
        data: (chunk) => connection.take(chunk),
        drained: () => connection.flush(),
        ended: () => connection.end(),
      })
      .then(resolve, () => reject(new ConnectionLost("refused")));
    connection.transport = await promise;
    timer.cancel();
    connection.watch();
    return connection;
  }

  get isOpen(): boolean {
    return !this.isClosed;
  }

  /** Rejects with ConnectionLost. */
  async request<Request, Response>(api: ApiDefinition<Request, Response>, version: number, request: Request): Promise<Response> {
    if (this.isClosed) throw new ConnectionLost("closed");
    const correlationId = ++this.correlationId;
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.waiting.push({ sentMs: this.process.scheduler.nowMs, resolve, reject });
    this.unsent.push(frame(encodeRequest(api, version, request, correlationId, this.process.name)));
    // What is asked in one go leaves in one go, as a socket's buffer has it.
    if (this.unsent.length === 1) this.process.clock.defer(() => this.flush());
    return decodeResponse(api, version, await promise, correlationId);
  }

  close(): void {
    this.transport?.terminate();
    this.end();
  }

  private watch(): void {
    this.process.clock.schedule(700, () => {
      if (this.isClosed) return;
      const oldest = this.waiting[0];
      if (oldest !== undefined && this.process.scheduler.nowMs - oldest.sentMs > REQUEST_TIMEOUT_MS) this.close();
      else this.watch();
    });
  }

  private flush(): void {
    if (this.unsent.length === 0 || this.isClosed) return;
    const all = this.unsent.length === 1 ? this.unsent[0]! : Buffer.concat(this.unsent);
    const written = this.transport!.write(all);
    this.unsent = written < all.length ? [all.subarray(written)] : [];
  }

  private take(chunk: Uint8Array): void {
    this.received =
      this.received.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([this.received, chunk]);
    while (this.received.length >= 4) {
      const length = this.received.readInt32BE(0);
      if (this.received.length < 4 + length) return;
      const body = this.received.subarray(4, 4 + length);
      this.received = this.received.subarray(4 + length);
      this.waiting.shift()?.resolve(body);
    }
  }

  private end(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const { reject } of this.waiting.splice(0)) reject(new ConnectionLost("closed"));
  }
}
