/** Every message of every version: random round trips, truncation at each byte, damage, and what a version cannot carry. */
import { describe, expect, test } from "bun:test";
import { apiRanges } from "../../../src/protocol/api-ranges.ts";
import { DecodeError, EncodeError } from "../../../src/protocol/codec-error.ts";
import { ErrorCodes, errorInfo, errorTable } from "../../../src/protocol/error-codes.ts";
import { fetchApi, newFetchRequest, newFetchResponse } from "../../../src/protocol/messages/fetch.ts";
import { apiDefinition, apiDefinitions } from "../../../src/protocol/messages/index.ts";
import { produceApi } from "../../../src/protocol/messages/produce.ts";
import { Reader } from "../../../src/protocol/reader.ts";
import { Writer } from "../../../src/protocol/writer.ts";
import { type Codec, codecs, encode } from "./codecs.ts";
import { definitionOf, randomMessage } from "./random-message.ts";
import { SeededRandom } from "./seeded-random.ts";

const ROUNDS = 8;

function forEachVersion(check: (codec: Codec, version: number, random: SeededRandom) => void): void {
  codecs.forEach((codec, index) => {
    for (let version = codec.minVersion; version <= codec.maxVersion; version++) {
      try {
        check(codec, version, new SeededRandom(index * 1000 + version));
      } catch (error) {
        throw new Error(`${codec.name} v${version}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
  });
}

describe("generated messages", () => {
  test("every message and version comes back as it was written", () => {
    let messages = 0;
    forEachVersion((codec, version, random) => {
      const definition = definitionOf(codec.name);
      for (let round = 0; round < ROUNDS; round++) {
        const message = randomMessage(definition, version, random, { unknownTags: round % 2 === 1 });
        const bytes = encode(codec, message, version);
        const reader = new Reader(bytes);
        const decoded = codec.read(reader, version);
        reader.expectEnd();
        expect(decoded).toEqual(message);
        expect(encode(codec, decoded, version)).toEqual(bytes);
        messages++;
      }
    });
    expect(messages).toBeGreaterThan(4000);
  });

  test("a message cut short at any byte is a DecodeError", () => {
    forEachVersion((codec, version, random) => {
      const bytes = encode(codec, randomMessage(definitionOf(codec.name), version, random, { unknownTags: true }), version);
      for (let limit = 0; limit < Math.min(bytes.length, 400); limit++) {
        expect(() => codec.read(new Reader(bytes, 0, limit), version)).toThrow(DecodeError);
      }
    });
  });

  test("damaged bytes decode or give a DecodeError, never anything else", () => {
    forEachVersion((codec, version, random) => {
      const bytes = encode(codec, randomMessage(definitionOf(codec.name), version, random, { unknownTags: true }), version);
      for (let round = 0; round < 20 && bytes.length > 0; round++) {
        const damaged = bytes.slice();
        for (let flips = 1 + random.int(4); flips > 0; flips--)
          damaged[random.int(damaged.length)] = random.chance(0.5) ? 0xff : random.int(256);
        try {
          codec.read(new Reader(damaged), version);
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
        }
      }
    });
  });

  test("defaults: newX gives what an old version's reader gives", () => {
    const response = newFetchResponse({ responses: [] });
    expect(response).toEqual({ throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses: [], nodeEndpoints: [] });
    const request = newFetchRequest({ maxWaitMs: 500 });
    const writer = new Writer();
    fetchApi.writeRequest(writer, request, 4);
    expect(fetchApi.readRequest(new Reader(writer.toBytes()), 4)).toEqual(request);
    expect(request.maxBytes).toBe(0x7fffffff);
    expect(request.sessionEpoch).toBe(-1);
  });

  test("a value that the version cannot carry is refused, unless the definition says it may be ignored", () => {
    const write = (fields: Parameters<typeof newFetchRequest>[0], version: number) =>
      fetchApi.writeRequest(new Writer(), newFetchRequest(fields), version);
    expect(() => write({ rackId: "a" }, 10)).not.toThrow();
    expect(() => write({ forgottenTopicsData: [{ topic: "t", topicId: "AAAAAAAAAAAAAAAAAAAAAA", partitions: [1] }] }, 6)).toThrow(
      EncodeError,
    );
    expect(() => write({ replicaId: 3 }, 15)).toThrow(EncodeError);
    expect(() => write({ unknownTaggedFields: [{ tag: 9, data: new Uint8Array(1) }] }, 11)).toThrow(EncodeError);
  });

  test("unknown tagged fields keep their order around known ones and may not collide with them", () => {
    const fields = (tag: number) => newFetchRequest({ clusterId: "c", unknownTaggedFields: [{ tag, data: new Uint8Array([1]) }] });
    expect(() => fetchApi.writeRequest(new Writer(), fields(0), 12)).toThrow(EncodeError);
    const writer = new Writer();
    fetchApi.writeRequest(writer, fields(1), 12);
    expect(fetchApi.readRequest(new Reader(new Uint8Array(writer.toBytes())), 12)).toEqual(fields(1));
  });
});

describe("tables", () => {
  test("every advertised version has a codec, and every codec is found by its key", () => {
    for (const range of apiRanges) {
      const api = apiDefinition(range.key);
      expect(api?.name).toBe(range.name);
      expect(range.maxVersion).toBeLessThanOrEqual(api!.maxVersion);
      expect(range.unstableMaxVersion !== null).toBe(api!.latestVersionUnstable);
    }
    for (const api of apiDefinitions) expect(apiDefinition(api.key)).toBe(api);
    expect(apiDefinition(4)).toBeUndefined();
    expect(apiDefinition(-1)).toBeUndefined();
    expect(apiDefinition(999)).toBeUndefined();
  });

  test("header versions follow the flexible versions, and ApiVersions always answers with header 0", () => {
    expect([8, 9].map((version) => produceApi.requestHeaderVersion(version))).toEqual([1, 2]);
    expect([8, 9].map((version) => produceApi.responseHeaderVersion(version))).toEqual([0, 1]);
    expect([0, 3, 5].map((version) => apiDefinition(18)!.responseHeaderVersion(version))).toEqual([0, 0, 0]);
    expect([2, 3].map((version) => apiDefinition(18)!.requestHeaderVersion(version))).toEqual([1, 2]);
    expect(apiDefinition(17)!.requestHeaderVersion(1)).toBe(1);
  });

  test("error codes", () => {
    expect(errorInfo(ErrorCodes.NOT_LEADER_OR_FOLLOWER)).toMatchObject({ code: 6, name: "NOT_LEADER_OR_FOLLOWER", retriable: true });
    expect(errorInfo(0)).toMatchObject({ name: "NONE", retriable: false, message: "NONE" });
    expect(errorInfo(12345)).toBeUndefined();
    expect(new Set(errorTable.map(({ code }) => code)).size).toBe(errorTable.length);
  });
});
