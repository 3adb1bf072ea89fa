/**
 * A server that throws away what it is sent: how fast the load program goes when no server holds it up. It speaks what a producer needs, takes each
 * Produce frame off the socket to its end, drops the body unread and acknowledges it. Nothing is stored or checked, so a figure against it is the bound
 * of load program, kernel and loopback, and not of any server.
 *
 *   bun test/bench/discard-server.ts        prints "listening PORT", serves until it is ended
 *
 * Every topic name exists, with one partition; a request of more than one partition closes the connection, since only the beginning of a frame is kept.
 */
import type { Socket } from "bun";
import type { AnyApiDefinition, ApiDefinition } from "../../src/protocol/api-definition.ts";
import { apiVersionsApi, newApiVersion, newApiVersionsResponse } from "../../src/protocol/messages/api-versions.ts";
import { readRequestHeader, writeResponseHeader } from "../../src/protocol/messages/headers.ts";
import { initProducerIdApi, newInitProducerIdResponse } from "../../src/protocol/messages/init-producer-id.ts";
import {
  metadataApi,
  newMetadataResponse,
  newMetadataResponseBroker,
  newMetadataResponsePartition,
  newMetadataResponseTopic,
} from "../../src/protocol/messages/metadata.ts";
import {
  newPartitionProduceResponse,
  newProduceResponse,
  newTopicProduceResponse,
  produceApi,
} from "../../src/protocol/messages/produce.ts";
import { Reader, ZERO_UUID } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";

/** Of each frame so much is kept: a Produce request names its topic and partition in the first hundred bytes. */
const KEPT_BYTES = 1024;
/** Produce as clients of Kafka 4.1 and later send it: topics by id. */
const PRODUCE_VERSION = 13;
const TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ";
const SERVED: readonly AnyApiDefinition[] = [produceApi, metadataApi, apiVersionsApi, initProducerIdApi].map(
  (api) => api as AnyApiDefinition,
);

export interface DiscardServer {
  readonly port: number;
  /** Bytes of frames taken and dropped. */
  discardedBytes(): number;
  stop(): void;
}

/** Cuts frames out of a connection's bytes, keeping the beginning of each. */
class FrameHeads {
  readonly #kept = Buffer.alloc(4 + KEPT_BYTES);
  #have = 0;
  /** Bytes of the frame that are still to come and are not kept. */
  #toSkip = 0;

  /** Calls `onFrame` once for each frame that ends in `chunk`, with what was kept of it; the view is good until it returns. */
  take(chunk: Uint8Array, onFrame: (head: Buffer, frameBytes: number) => void): void {
    let position = 0;
    while (position < chunk.length) {
      if (this.#toSkip > 0) {
        const skipped = Math.min(this.#toSkip, chunk.length - position);
        this.#toSkip -= skipped;
        position += skipped;
      } else {
        const wanted = this.#have < 4 ? 4 : 4 + Math.min(this.#frameBytes(), KEPT_BYTES);
        const copied = Math.min(wanted - this.#have, chunk.length - position);
        this.#kept.set(chunk.subarray(position, position + copied), this.#have);
        this.#have += copied;
        position += copied;
        if (this.#have < wanted || wanted === 4) continue;
        this.#toSkip = this.#frameBytes() + 4 - this.#have;
      }
      if (this.#toSkip > 0) continue;
      const frameBytes = this.#frameBytes();
      const head = this.#kept.subarray(4, this.#have);
      this.#have = 0;
      onFrame(head, frameBytes);
    }
  }

  #frameBytes(): number {
    return this.#kept.readInt32BE(0);
  }
}

function encode<Request, Response>(
  api: ApiDefinition<Request, Response>,
  version: number,
  correlationId: number,
  response: Response,
): Uint8Array {
  const writer = new Writer();
  writer.writeInt32(0);
  writeResponseHeader(writer, { correlationId }, api.responseHeaderVersion(version));
  api.writeResponse(writer, response, version);
  const bytes = Buffer.from(writer.toBytes());
  bytes.writeInt32BE(bytes.length - 4, 0);
  return bytes;
}

class Answers {
  readonly #port: () => number;
  #baseOffset = 0n;

  constructor(port: () => number) {
    this.#port = port;
  }

  /** The framed answer to a request of which `head` is the beginning; undefined for Produce with acks=0. Throws on what is not served. */
  answer(head: Buffer): Uint8Array | undefined {
    const api = SERVED.find((each) => each.key === head.readInt16BE(0));
    if (api === undefined) throw new Error(`API ${head.readInt16BE(0)} is not served`);
    const version = head.readInt16BE(2);
    const reader = new Reader(head);
    const { correlationId } = readRequestHeader(reader, api.requestHeaderVersion(version));
    if (api.key === produceApi.key) return this.#produced(reader, version, correlationId);
    if (api.key === apiVersionsApi.key) return encode(apiVersionsApi, version, correlationId, this.#versions());
    if (api.key === metadataApi.key)
      return encode(metadataApi, version, correlationId, this.#metadata(metadataApi.readRequest(reader, version).topics));
    return encode(initProducerIdApi, version, correlationId, newInitProducerIdResponse({ producerId: 1n, producerEpoch: 0 }));
  }

  #versions() {
    return newApiVersionsResponse({
      apiKeys: SERVED.map(({ key, minVersion, maxVersion }) =>
        newApiVersion({ apiKey: key, minVersion: key === produceApi.key ? PRODUCE_VERSION : minVersion, maxVersion }),
      ),
    });
  }

  #metadata(asked: readonly { readonly name: string | null; readonly topicId: string }[] | null) {
    const partition = newMetadataResponsePartition({ partitionIndex: 0, leaderId: 1, leaderEpoch: 0, replicaNodes: [1], isrNodes: [1] });
    return newMetadataResponse({
      brokers: [newMetadataResponseBroker({ nodeId: 1, host: "127.0.0.1", port: this.#port() })],
      clusterId: "discard",
      controllerId: 1,
      topics: (asked ?? []).map(({ name }) =>
        newMetadataResponseTopic({ name: name ?? "any", topicId: TOPIC_ID, partitions: [partition] }),
      ),
    });
  }

  /** Reads a Produce request up to its first partition's index; the records lie behind that. */
  #produced(reader: Reader, version: number, correlationId: number): Uint8Array | undefined {
    if (version !== PRODUCE_VERSION) throw new Error(`Produce version ${version} is not served`);
    reader.readCompactNullableString("transactionalId");
    const acks = reader.readInt16();
    reader.readInt32();
    const topics = reader.readCompactArrayLength("topicData");
    const topicId = topics === 1 ? reader.readUuid() : ZERO_UUID;
    if (topics !== 1 || reader.readCompactArrayLength("partitionData") !== 1) throw new Error("a request of more than one partition");
    const index = reader.readInt32();
    if (acks === 0) return undefined;
    const partition = newPartitionProduceResponse({ index, baseOffset: this.#baseOffset++, logStartOffset: 0n });
    const response = newProduceResponse({ responses: [newTopicProduceResponse({ topicId, partitionResponses: [partition] })] });
    return encode(produceApi, version, correlationId, response);
  }
}

export function startDiscardServer(): DiscardServer {
  let discarded = 0;
  const answers = new Answers(() => listener.port);
  const take = (socket: Socket<FrameHeads>, chunk: Uint8Array): void => {
    try {
      socket.data.take(chunk, (head, frameBytes) => {
        discarded += frameBytes;
        const answer = answers.answer(head);
        // Answers are some tens of bytes and few are outstanding: a kernel that takes only part of one has a client that does not read.
        if (answer !== undefined && socket.write(answer) !== answer.length) throw new Error("the client does not read its answers");
      });
    } catch (error) {
      console.error(`discard server: ${error instanceof Error ? error.message : String(error)}`);
      socket.terminate();
    }
  };
  const listener = Bun.listen<FrameHeads>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = new FrameHeads();
        socket.setNoDelay(true);
      },
      data: take,
      error() {},
    },
  });
  return { port: listener.port, discardedBytes: () => discarded, stop: () => listener.stop(true) };
}

if (import.meta.main) console.log(`listening ${startDiscardServer().port}`);
