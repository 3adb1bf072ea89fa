/**
 * A raw connection to a Kafka broker: typed requests through the generated codecs, or any bytes at all. Answers come in request order, as Kafka
 * promises; a connection that the server closes rejects what still waits with "closed".
 */
import type { Socket } from "bun";
import type { ApiDefinition } from "../../src/protocol/api-definition.ts";
import { readResponseHeader, writeRequestHeader } from "../../src/protocol/messages/headers.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";

interface Waiting {
  readonly resolve: (frame: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** Bytes of a request without its length prefix: header and body. */
export function encodeRequest<Request, Response>(
  api: ApiDefinition<Request, Response>,
  version: number,
  request: Request,
  correlationId: number,
  clientId: string | null = "weir-test",
): Buffer {
  const writer = new Writer();
  const header = { requestApiKey: api.key, requestApiVersion: version, correlationId, clientId };
  writeRequestHeader(writer, header, api.requestHeaderVersion(version));
  api.writeRequest(writer, request, version);
  return Buffer.from(writer.toBytes());
}

/** With the four bytes of length before it. */
export function frame(body: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(4 + body.length);
  framed.writeInt32BE(body.length, 0);
  framed.set(body, 4);
  return framed;
}

export class KafkaConnection {
  private socket!: Socket;
  private received: Buffer = Buffer.alloc(0);
  private readonly waiting: Waiting[] = [];
  private unsent: Buffer[] = [];
  private correlationId = 0;
  private isClosed = false;
  private readonly closing = Promise.withResolvers<void>();

  static async open(port: number, host = "127.0.0.1"): Promise<KafkaConnection> {
    const connection = new KafkaConnection();
    connection.socket = await Bun.connect({
      hostname: host,
      port,
      socket: {
        data: (_socket, chunk) => connection.take(chunk),
        drain: () => connection.flush(),
        close: () => connection.end(),
        error: () => connection.end(),
      },
    });
    return connection;
  }

  /** Resolves when either side has closed. */
  get closed(): Promise<void> {
    return this.closing.promise;
  }

  get isOpen(): boolean {
    return !this.isClosed;
  }

  private take(chunk: Buffer): void {
    this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk]);
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
    for (const { reject } of this.waiting.splice(0)) reject(new Error("closed"));
    this.closing.resolve();
  }

  private flush(): void {
    while (this.unsent.length > 0 && !this.isClosed) {
      const [first = Buffer.alloc(0)] = this.unsent;
      const written = this.socket.write(first);
      if (written < first.length) {
        this.unsent[0] = first.subarray(Math.max(written, 0));
        return;
      }
      this.unsent.shift();
    }
  }

  /** Any bytes, as they are. */
  sendBytes(bytes: Uint8Array): void {
    if (this.isClosed) return;
    this.unsent.push(Buffer.from(bytes));
    if (this.unsent.length === 1) this.flush();
  }

  /** Resolves with the next answer's body, for requests sent as bytes; never settles when the connection closes first. */
  nextAnswer(): Promise<Buffer> {
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    this.waiting.push({ resolve, reject: () => {} });
    return promise;
  }

  /** Sends a framed body and waits for the next answer's body. Rejects with "closed". */
  exchange(body: Uint8Array): Promise<Buffer> {
    if (this.isClosed) return Promise.reject(new Error("closed"));
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.waiting.push({ resolve, reject });
    this.sendBytes(frame(body));
    return promise;
  }

  async request<Request, Response>(api: ApiDefinition<Request, Response>, version: number, request: Request): Promise<Response> {
    const correlationId = ++this.correlationId;
    const body = await this.exchange(encodeRequest(api, version, request, correlationId));
    return decodeResponse(api, version, body, correlationId);
  }

  /** Sends a request that has no answer (Produce with acks=0). */
  sendRequest<Request, Response>(api: ApiDefinition<Request, Response>, version: number, request: Request): void {
    this.sendBytes(frame(encodeRequest(api, version, request, ++this.correlationId)));
  }

  close(): void {
    if (!this.isClosed) this.socket.end();
    this.end();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Throws when the correlation id is another or bytes are left over. */
export function decodeResponse<Request, Response>(
  api: ApiDefinition<Request, Response>,
  version: number,
  body: Uint8Array,
  correlationId: number,
): Response {
  const reader = new Reader(body);
  const header = readResponseHeader(reader, api.responseHeaderVersion(version));
  if (header.correlationId !== correlationId) throw new Error(`correlation id ${header.correlationId} where ${correlationId} was sent`);
  const response = api.readResponse(reader, version);
  reader.expectEnd();
  return response;
}
