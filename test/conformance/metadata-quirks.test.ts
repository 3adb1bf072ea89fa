/** What clients are known to depend on in ApiVersions, Metadata, CreateTopics and InitProducerId, one test each, over raw connections. */
import { describe, expect } from "bun:test";
import { ErrorCodes } from "../../src/protocol/error-codes.ts";
import { apiVersionsApi, newApiVersionsRequest } from "../../src/protocol/messages/api-versions.ts";
import { describeClusterApi, newDescribeClusterRequest } from "../../src/protocol/messages/describe-cluster.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { initProducerIdApi, newInitProducerIdRequest } from "../../src/protocol/messages/init-producer-id.ts";
import { metadataApi, newMetadataRequest } from "../../src/protocol/messages/metadata.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { createTopicRaw, deleteTopicRaw, produceValues, readMetadata } from "../support/raw-client.ts";
import { hasServer, isExternal, ServerUnderTest, serverMissing, uniqueName } from "../support/server-under-test.ts";
import { hasTool, mustRunTool, testIf } from "../support/tools.ts";

const server = ServerUnderTest.forThisFile();
const check = testIf(hasServer, serverMissing);
const checkOurs = testIf(hasServer && !isExternal, isExternal ? "about Weir alone" : serverMissing);
const clusterIdPattern = /^[A-Za-z0-9_-]{22}$/;

function versionsRequest(fields: Parameters<typeof newApiVersionsRequest>[0] = {}) {
  return newApiVersionsRequest({ clientSoftwareName: "quirks", clientSoftwareVersion: "1", ...fields });
}

/** The request of any version without the fields that the version lacks. */
function versionsRequestOf(version: number) {
  return version >= 3 ? versionsRequest() : newApiVersionsRequest();
}

describe("ApiVersions", () => {
  for (let version = 0; version <= 5; version++) {
    check(`v${version} answers with the header of version 0`, async () => {
      using connection = await server.connect();
      const answer = await connection.request(apiVersionsApi, version, versionsRequestOf(version));
      expect(answer.errorCode).toBe(0);
      const keys = answer.apiKeys.map((each) => each.apiKey);
      for (const key of [0, 1, 2, 3, 18, 19, 20, 22, 23, 32, 37, 60, 75]) expect(keys).toContain(key);
    });
  }

  check("an unknown version gets UNSUPPORTED_VERSION in v0, with the range", async () => {
    using connection = await server.connect();
    // A header of version 2 with no client id and no tags, and a body that nobody can read.
    const answer = await connection.exchange(Buffer.from([0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0, 1, 2, 3]));
    const reader = new Reader(answer);
    expect(reader.readInt32()).toBe(7);
    const response = apiVersionsApi.readResponse(reader, 0);
    expect(response.errorCode).toBe(ErrorCodes.UNSUPPORTED_VERSION);
    expect(response.apiKeys).toEqual([expect.objectContaining({ apiKey: 18, minVersion: 0, maxVersion: 5 })]);
    // The connection goes on.
    expect((await connection.request(apiVersionsApi, 3, versionsRequest())).errorCode).toBe(0);
  });

  check("v5 with the cluster's own id and node id is answered", async () => {
    using connection = await server.connect();
    const { clusterId, brokers } = await readMetadata(connection, []);
    const nodeId = brokers[0]?.nodeId ?? -1;
    expect((await connection.request(apiVersionsApi, 5, versionsRequest({ clusterId, nodeId }))).errorCode).toBe(0);
  });

  check("v5 with a foreign cluster id gets REBOOTSTRAP_REQUIRED", async () => {
    using connection = await server.connect();
    const answer = await connection.request(apiVersionsApi, 5, versionsRequest({ clusterId: "AAAAAAAAAAAAAAAAAAAAAQ", nodeId: 1 }));
    expect(answer.errorCode).toBe(ErrorCodes.REBOOTSTRAP_REQUIRED);
  });

  check("v5 with a cluster id and no node id gets INVALID_REQUEST", async () => {
    using connection = await server.connect();
    const { clusterId } = await readMetadata(connection, []);
    expect((await connection.request(apiVersionsApi, 5, versionsRequest({ clusterId, nodeId: -1 }))).errorCode).toBe(
      ErrorCodes.INVALID_REQUEST,
    );
  });

  check("v5 with a foreign node id gets REBOOTSTRAP_REQUIRED", async () => {
    using connection = await server.connect();
    const { clusterId } = await readMetadata(connection, []);
    const answer = await connection.request(apiVersionsApi, 5, versionsRequest({ clusterId, nodeId: 4711 }));
    expect(answer.errorCode).toBe(ErrorCodes.REBOOTSTRAP_REQUIRED);
  });
});

describe("Metadata", () => {
  check("null asks for all topics, the empty list for none; in v0 the empty list asks for all", async () => {
    using connection = await server.connect();
    const name = uniqueName("listed");
    await createTopicRaw(connection, name);
    const names = (answer: { topics: readonly { name: string | null }[] }) => answer.topics.map((topic) => topic.name);
    for (let version = 1; version <= 13; version++) {
      expect(names(await readMetadata(connection, null, version, version < 4))).toContain(name);
      expect(names(await readMetadata(connection, [], version, version < 4))).toEqual([]);
    }
    const all = await connection.request(metadataApi, 0, newMetadataRequest({ topics: [], allowAutoTopicCreation: true }));
    expect(names(all)).toContain(name);
  });

  check(
    "the cluster id has 22 characters of base64url, the same in Metadata and DescribeCluster; the controller is a listed broker",
    async () => {
      using connection = await server.connect();
      const metadata = await readMetadata(connection, []);
      const cluster = await connection.request(describeClusterApi, 1, newDescribeClusterRequest());
      expect(metadata.clusterId).toMatch(clusterIdPattern);
      expect(cluster.clusterId).toBe(metadata.clusterId ?? "");
      expect(metadata.brokers.map((broker) => broker.nodeId)).toContain(metadata.controllerId);
    },
  );

  testIf(hasServer && hasTool("kcat"), hasServer ? "needs the Debian package kcat" : serverMissing)(
    "kcat -L shows a controller",
    async () => {
      expect(await mustRunTool(["kcat", "-L", "-b", server.bootstrap])).toContain("(controller)");
    },
  );

  check("an unknown topic is UNKNOWN_TOPIC_OR_PARTITION when creation is not allowed, and is created, ready, when it is", async () => {
    using connection = await server.connect();
    const name = uniqueName("auto");
    expect((await readMetadata(connection, [name])).topics[0]?.errorCode).toBe(ErrorCodes.UNKNOWN_TOPIC_OR_PARTITION);
    const created = await readMetadata(connection, [name], 12, true);
    if (isExternal) return;
    expect(created.topics[0]?.errorCode).toBe(0);
    expect(created.topics[0]?.partitions[0]?.leaderId).toBe(created.brokers[0]?.nodeId ?? -2);
    expect((await produceValues(connection, name, 0, ["at once"])).errorCode).toBe(0);
  });

  checkOurs("the leader epoch never goes back and the topic id stays over restarts; a re-created topic has a new id", async () => {
    const name = uniqueName("stable");
    const look = async () => {
      using connection = await server.connect();
      const [topic] = (await readMetadata(connection, [name])).topics;
      return { topicId: topic?.topicId ?? "", epoch: topic?.partitions[0]?.leaderEpoch ?? -1 };
    };
    {
      using connection = await server.connect();
      await createTopicRaw(connection, name);
      await produceValues(connection, name, 0, ["x"]);
    }
    let before = await look();
    expect(before.topicId).toMatch(clusterIdPattern);
    for (const how of ["stop", "kill", "kill"] as const) {
      await server.restart(how);
      const after = await look();
      expect(after.topicId).toBe(before.topicId);
      expect(after.epoch).toBeGreaterThanOrEqual(before.epoch);
      before = after;
    }
    using connection = await server.connect();
    expect(await deleteTopicRaw(connection, name)).toBe(0);
    expect((await createTopicRaw(connection, name)).errorCode).toBe(0);
    expect((await look()).topicId).not.toBe(before.topicId);
  });
});

describe("CreateTopics", () => {
  checkOurs("any replication factor from 1, or -1, is accepted and answered; one replica is listed", async () => {
    using connection = await server.connect();
    for (const replicationFactor of [1, 2, 3, 7, 32767, -1]) {
      const name = uniqueName("replicated");
      const created = await createTopicRaw(connection, name, { replicationFactor });
      expect(created.errorCode).toBe(0);
      expect(created.replicationFactor).toBe(replicationFactor === -1 ? 1 : replicationFactor);
      const [partition] = (await readMetadata(connection, [name])).topics[0]?.partitions ?? [];
      expect(partition?.replicaNodes).toEqual([1]);
      expect(partition?.isrNodes).toEqual([1]);
    }
  });

  check("replication factors 0 and -2 get INVALID_REPLICATION_FACTOR", async () => {
    using connection = await server.connect();
    for (const replicationFactor of [0, -2]) {
      const created = await createTopicRaw(connection, uniqueName("refused"), { replicationFactor });
      expect(created.errorCode).toBe(ErrorCodes.INVALID_REPLICATION_FACTOR);
    }
  });

  checkOurs("acks=all never gets NOT_ENOUGH_REPLICAS, whatever min.insync.replicas says", async () => {
    using connection = await server.connect();
    const name = uniqueName("min-insync");
    const created = await createTopicRaw(connection, name, { replicationFactor: 3, configs: { "min.insync.replicas": "3" } });
    expect(created.errorCode).toBe(0);
    expect(await produceValues(connection, name, 0, ["x"])).toEqual({ errorCode: 0, baseOffset: 0 });
  });

  check("a topic that exists gets TOPIC_ALREADY_EXISTS", async () => {
    using connection = await server.connect();
    const name = uniqueName("twice");
    expect((await createTopicRaw(connection, name)).errorCode).toBe(0);
    expect((await createTopicRaw(connection, name)).errorCode).toBe(ErrorCodes.TOPIC_ALREADY_EXISTS);
  });
});

describe("what is not served", () => {
  check("an API key that nobody knows closes the connection", async () => {
    using connection = await server.connect();
    const body = Buffer.alloc(10);
    body.writeInt16BE(1234, 0);
    body.writeInt16BE(-1, 8);
    expect(await connection.exchange(body).catch((error: Error) => error.message)).toBe("closed");
  });

  checkOurs("a version that is not served closes the connection, with one log line that names client, API and version", async () => {
    using connection = await server.connect();
    const body = Buffer.from([0, 3, 0, 99, 0, 0, 0, 1, 0, 6, ...Buffer.from("quirky")]);
    expect(await connection.exchange(body).catch((error: Error) => error.message)).toBe("closed");
    await server.weir?.waitForLog("quirky");
    const lines = (server.weir?.log() ?? "").split("\n").filter((line) => line.includes("quirky"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("Metadata");
    expect(lines[0]).toContain("99");
  });
});

describe("InitProducerId", () => {
  check("a transactional id keeps its producer id, and its epoch rises with each start", async () => {
    using connection = await server.connect();
    const transactionalId = uniqueName("txn");
    const coordinator = newFindCoordinatorRequest({ keyType: 1, coordinatorKeys: [transactionalId] });
    const find = async () => (await connection.request(findCoordinatorApi, 4, coordinator)).coordinators[0]?.errorCode;
    while ((await find()) !== ErrorCodes.NONE) await Bun.sleep(20);
    const request = newInitProducerIdRequest({ transactionalId, transactionTimeoutMs: 60_000, producerId: -1n, producerEpoch: -1 });
    const init = async (version: number) => {
      for (;;) {
        const answer = await connection.request(initProducerIdApi, version, request);
        // Its partition of __transaction_state may just be loading.
        if (answer.errorCode !== ErrorCodes.COORDINATOR_LOAD_IN_PROGRESS && answer.errorCode !== ErrorCodes.NOT_COORDINATOR) return answer;
        await Bun.sleep(20);
      }
    };
    const first = await init(3);
    expect(first).toMatchObject({ errorCode: ErrorCodes.NONE, producerEpoch: 0 });
    for (const version of [4, 5]) {
      expect(await init(version)).toMatchObject({ errorCode: 0, producerId: first.producerId, producerEpoch: version - 3 });
    }
  });
});
