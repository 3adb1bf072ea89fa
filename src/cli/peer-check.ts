/**
 * Is another process alive under our node id? Asked before this one registers and thereby fences it: two machines configured alike would
 * otherwise fence each other for ever. The old address gets an ApiVersions v5 with cluster and node id (KIP-1242), which only the same node accepts.
 */
import type { Clock } from "../base/clock.ts";
import { Trouble } from "../base/trouble.ts";
import { ErrorCodes } from "../protocol/error-codes.ts";
import { apiVersionsApi, newApiVersionsRequest } from "../protocol/messages/api-versions.ts";
import { Reader } from "../protocol/reader.ts";
import { Writer } from "../protocol/writer.ts";
import type { Transport } from "../server/transport.ts";

export interface PeerIdentity {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly listeners: readonly { readonly host: string; readonly port: number; readonly securityProtocol: string }[];
}

/** A living broker answers far sooner; a dead machine must not hold up the start. */
const ANSWER_WITHIN_MS = 1500;
const API_VERSIONS_VERSION = 5;
const CORRELATION_ID = 1;
const MAX_ANSWER_BYTES = 64 * 1024;

/** Rejects with Trouble "broker-alive". Silence, refusal and nonsense mean that it is gone. */
export async function refuseLivingPeer(peer: PeerIdentity, transport: Transport, clock: Clock): Promise<void> {
  const asked = peer.listeners.filter((listener) => listener.securityProtocol === "PLAINTEXT");
  for (const { host, port } of asked) {
    if (!(await answersAs(peer, host, port, transport, clock))) continue;
    throw new Trouble({
      code: "broker-alive",
      message: `node.id=${peer.nodeId} is taken: a broker of cluster ${peer.clusterId} with it is alive at ${host}:${port}`,
      remedy: "stop that broker, or give this one another node.id",
      retryable: false,
    });
  }
}

async function answersAs(peer: PeerIdentity, host: string, port: number, transport: Transport, clock: Clock): Promise<boolean> {
  const frame = Promise.withResolvers<Uint8Array | undefined>();
  let received = Buffer.alloc(0);
  const timer = clock.schedule(ANSWER_WITHIN_MS, () => frame.resolve(undefined));
  const connecting = transport.connect(host, port, {
    data: (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length > MAX_ANSWER_BYTES) frame.resolve(undefined);
      else if (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) frame.resolve(received.subarray(4));
    },
    drained: () => {},
    ended: () => frame.resolve(undefined),
  });
  connecting.then(
    (connection) => connection.write(encodeRequest(peer)),
    () => frame.resolve(undefined),
  );
  const answer = await frame.promise;
  timer.cancel();
  connecting.then(
    (connection) => connection.terminate(),
    () => {},
  );
  return answer !== undefined && isAccepted(answer);
}

function encodeRequest({ clusterId, nodeId }: PeerIdentity): Uint8Array {
  const writer = new Writer();
  writer.reserveFrameLength();
  writer.writeInt16(apiVersionsApi.key);
  writer.writeInt16(API_VERSIONS_VERSION);
  writer.writeInt32(CORRELATION_ID);
  writer.writeNullableString("weir-start", "clientId");
  writer.writeTagSection(undefined);
  const message = newApiVersionsRequest({ clientSoftwareName: "weir", clientSoftwareVersion: "1", clusterId, nodeId });
  apiVersionsApi.writeRequest(writer, message, API_VERSIONS_VERSION);
  return writer.toBytes();
}

function isAccepted(answer: Uint8Array): boolean {
  try {
    const reader = new Reader(answer);
    return reader.readInt32() === CORRELATION_ID && apiVersionsApi.readResponse(reader, API_VERSIONS_VERSION).errorCode === ErrorCodes.NONE;
  } catch {
    return false;
  }
}
