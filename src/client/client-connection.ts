/**
 * One connection to a broker. It opens with ApiVersions, so that every later request goes out in the highest version that both sides know. Answers come in
 * request order (Kafka promises that), so what waits is a queue. A request that is not answered within its deadline ends the connection: the answers behind
 * it would be late too. Neighbours: `kafka-client.ts` decides whom to ask; `server/transport.ts` is the network.
 */
import type { Clock } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import type { ApiDefinition } from "../protocol/api-definition.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { type ApiVersionsResponse, apiVersionsApi, newApiVersionsRequest } from "../protocol/messages/api-versions.ts";
import { readResponseHeader, writeRequestHeader } from "../protocol/messages/headers.ts";
import { Reader } from "../protocol/reader.ts";
import { Writer } from "../protocol/writer.ts";
import type { Transport, TransportConnection } from "../server/transport.ts";
import { connectionTrouble } from "./client-troubles.ts";

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface ConnectionOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly clientId: string;
  readonly softwareVersion: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

/** Which versions a call is able to use, within the definition's. */
export interface VersionBounds {
  readonly min?: number;
  readonly max?: number;
}

interface Waiting {
  readonly resolve: (frame: Uint8Array) => void;
  readonly reject: (error: Trouble) => void;
}

/** A broker's largest answer that is taken; fetches ask for far less. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
/** 4 is the first that names features whose lowest level is 0; 3 is the first with features at all; every broker answers 0. */
const API_VERSIONS_TRIES = [4, 3, 0];

export const formatPlace = ({ host, port }: Place): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;

export class ClientConnection {
  readonly place: Place;
  /** What the broker said it serves; features included. */
  versions!: ApiVersionsResponse;
  readonly #options: ConnectionOptions;
  readonly #waiting: Waiting[] = [];
  readonly #unsent: Uint8Array[] = [];
  readonly #flushed: { readonly resolve: () => void; readonly reject: (error: Trouble) => void }[] = [];
  #socket: TransportConnection | undefined;
  #chunks: Uint8Array[] = [];
  #receivedBytes = 0;
  #correlationId = 0;
  #isClosed = false;

  private constructor(place: Place, options: ConnectionOptions) {
    this.place = place;
    this.#options = options;
  }

  /** Rejects with Trouble "broker-unreachable" (retryable). */
  static async open(place: Place, options: ConnectionOptions): Promise<ClientConnection> {
    const connection = new ClientConnection(place, options);
    await connection.#connect();
    try {
      connection.versions = await connection.#negotiate();
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** `message` may depend on the version that was agreed. Rejects with a Trouble; "broker-too-old" when no version is common. */
  async request<Request, Response>(
    api: ApiDefinition<Request, Response>,
    message: Request | ((version: number) => Request),
    bounds: VersionBounds = {},
    extraWaitMs = 0,
  ): Promise<Response> {
    const version = this.pickVersion(api, bounds);
    const body = typeof message === "function" ? (message as (version: number) => Request)(version) : message;
    const correlationId = this.#nextCorrelationId();
    const frame = await this.#exchange(encode(api, version, body, correlationId, this.#options.clientId), extraWaitMs);
    return this.#decode(api, version, frame, correlationId);
  }

  /** A request without an answer (Produce with acks=0). Resolves when the network has taken all of it; rejects when the connection ends first. */
  async sendOnly<Request, Response>(api: ApiDefinition<Request, Response>, message: Request, bounds: VersionBounds = {}): Promise<void> {
    const version = this.pickVersion(api, bounds);
    this.#send(encode(api, version, message, this.#nextCorrelationId(), this.#options.clientId));
    if (this.#unsent.length === 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#flushed.push({ resolve, reject });
    await promise;
  }

  /** A version of it is common to the broker and this client. */
  serves(api: { readonly key: number; readonly minVersion: number; readonly maxVersion: number }): boolean {
    const served = this.versions.apiKeys.find(({ apiKey }) => apiKey === api.key);
    return served !== undefined && served.minVersion <= api.maxVersion && api.minVersion <= served.maxVersion;
  }

  pickVersion(
    api: { readonly key: number; readonly name: string; readonly minVersion: number; readonly maxVersion: number },
    bounds: VersionBounds,
  ): number {
    const served = this.versions.apiKeys.find(({ apiKey }) => apiKey === api.key);
    const max = Math.min(bounds.max ?? api.maxVersion, api.maxVersion, served?.maxVersion ?? -1);
    if (served !== undefined && max >= Math.max(bounds.min ?? 0, api.minVersion, served.minVersion)) return max;
    const has = served === undefined ? "does not serve it" : `serves versions ${served.minVersion} to ${served.maxVersion}`;
    throw new Trouble({
      code: "broker-too-old",
      message: `${formatPlace(this.place)} has no version of ${api.name} in common with this client: it ${has}`,
      remedy: "use a client of the broker's own release",
      retryable: false,
    });
  }

  close(): void {
    this.#end("the connection was closed");
    this.#socket?.close();
  }

  #nextCorrelationId(): number {
    this.#correlationId = (this.#correlationId + 1) & 0x7fffffff;
    return this.#correlationId;
  }

  async #connect(): Promise<void> {
    const { transport, clock, connectTimeoutMs } = this.#options;
    const late = Promise.withResolvers<never>();
    const timer = clock.schedule(connectTimeoutMs, () =>
      late.reject(connectionTrouble(formatPlace(this.place), `no connection within ${connectTimeoutMs} ms`)),
    );
    const connecting = transport.connect(this.place.host, this.place.port, {
      data: (chunk) => this.#take(chunk),
      drained: () => this.#flush(),
      ended: () => this.#end("the broker closed the connection"),
    });
    try {
      this.#socket = await Promise.race([connecting, late.promise]);
    } catch (error) {
      connecting.then(
        (socket) => socket.terminate(),
        () => {},
      );
      if (error instanceof Trouble && error.code === "broker-unreachable") throw error;
      throw connectionTrouble(formatPlace(this.place), `cannot connect: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      timer.cancel();
    }
  }

  /** A broker that does not know our version answers UNSUPPORTED_VERSION in version 0, and is asked again in that. */
  async #negotiate(): Promise<ApiVersionsResponse> {
    const { clientId, softwareVersion } = this.#options;
    const message = newApiVersionsRequest({ clientSoftwareName: "weir", clientSoftwareVersion: softwareVersion });
    for (const version of API_VERSIONS_TRIES) {
      const correlationId = this.#nextCorrelationId();
      const frame = await this.#exchange(encode(apiVersionsApi, version, message, correlationId, clientId), 0);
      const isUnsupported = frame.length >= 6 && ((frame[4] ?? 0) << 8) + (frame[5] ?? 0) === ErrorCodes.UNSUPPORTED_VERSION;
      if (isUnsupported && version !== 0) continue;
      const answer = this.#decode(apiVersionsApi, version, frame, correlationId);
      if (answer.errorCode === ErrorCodes.NONE) return answer;
      throw connectionTrouble(formatPlace(this.place), `ApiVersions was answered with error code ${answer.errorCode}`);
    }
    throw connectionTrouble(formatPlace(this.place), "it knows no version of ApiVersions");
  }

  async #exchange(frame: Uint8Array, extraWaitMs: number): Promise<Uint8Array> {
    const { clock, requestTimeoutMs } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    if (this.#isClosed) throw connectionTrouble(formatPlace(this.place), "the connection is closed");
    this.#waiting.push({ resolve, reject });
    const waitMs = requestTimeoutMs + extraWaitMs;
    const timer = clock.schedule(waitMs, () => {
      this.#end(`no answer within ${waitMs} ms`);
      this.#socket?.terminate();
    });
    this.#send(frame);
    try {
      return await promise;
    } finally {
      timer.cancel();
    }
  }

  #decode<Request, Response>(api: ApiDefinition<Request, Response>, version: number, frame: Uint8Array, correlationId: number): Response {
    try {
      const reader = new Reader(frame);
      const header = readResponseHeader(reader, api.responseHeaderVersion(version));
      if (header.correlationId !== correlationId) throw new Error(`answer ${header.correlationId} where ${correlationId} was asked`);
      return api.readResponse(reader, version);
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      this.close();
      throw connectionTrouble(formatPlace(this.place), `what answers there is no Kafka broker: ${detail}`);
    }
  }

  #send(frame: Uint8Array): void {
    this.#unsent.push(frame);
    if (this.#unsent.length === 1) this.#flush();
  }

  #flush(): void {
    for (let first = this.#unsent[0]; first !== undefined && !this.#isClosed; first = this.#unsent[0]) {
      const written = this.#socket?.write(first) ?? 0;
      if (written < first.length) {
        this.#unsent[0] = first.subarray(written);
        return;
      }
      this.#unsent.shift();
    }
    for (const { resolve } of this.#flushed.splice(0)) resolve();
  }

  #take(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes < this.#wantedBytes()) return;
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    while (bytes.length >= 4) {
      const end = 4 + frameLength(bytes);
      if (end < 4 || end > MAX_ANSWER_BYTES) {
        this.#end("what answers there is no Kafka broker");
        this.#socket?.terminate();
        return;
      }
      if (bytes.length < end) break;
      this.#waiting.shift()?.resolve(bytes.subarray(4, end));
      bytes = bytes.subarray(end);
    }
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#receivedBytes = bytes.length;
  }

  /** Bytes that must be there before it is worth joining chunks. */
  #wantedBytes(): number {
    const first = this.#chunks[0];
    return first === undefined || first.length < 4 ? 4 : 4 + frameLength(first);
  }

  #end(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const trouble = connectionTrouble(formatPlace(this.place), reason);
    for (const { reject } of [...this.#waiting.splice(0), ...this.#flushed.splice(0)]) reject(trouble);
  }
}

const frameLength = (bytes: Uint8Array): number =>
  ((bytes[0] ?? 0) << 24) | ((bytes[1] ?? 0) << 16) | ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0);

function encode<Request, Response>(
  api: ApiDefinition<Request, Response>,
  version: number,
  message: Request,
  correlationId: number,
  clientId: string,
): Uint8Array {
  const writer = new Writer();
  const header = { requestApiKey: api.key, requestApiVersion: version, correlationId, clientId };
  writeRequestHeader(writer, header, api.requestHeaderVersion(version));
  api.writeRequest(writer, message, version);
  const body = writer.toBytes();
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeInt32BE(body.length, 0);
  frame.set(body, 4);
  return frame;
}
