/**
 * What the heartbeats of many members cost the broker that coordinates them: members of both protocols, each with a connection of its own, who have their assignments and do
 * nothing but beat, evenly spread over the interval that Kafka's clients have by default.
 *
 *   bun test/bench/heartbeats.ts [--members N] [--seconds N] [--case classic|consumer|consumers]
 *
 * Cases: `classic`, groups of 100 at 3 s; `consumer`, one group of all members at 5 s; `consumers`, groups of 100 at 5 s. CPU is user and system time of all threads of the
 * broker over the window (/proc/PID/stat); the members live in this process and are not counted. Every answer is checked. Needs two file descriptors a member.
 */
import { parseArgs } from "node:util";
import { consumerGroupHeartbeatApi, newConsumerGroupHeartbeatRequest } from "../../src/protocol/messages/consumer-group-heartbeat.ts";
import { createTopicsApi, newCreatableTopic, newCreateTopicsRequest } from "../../src/protocol/messages/create-topics.ts";
import { findCoordinatorApi, newFindCoordinatorRequest } from "../../src/protocol/messages/find-coordinator.ts";
import { heartbeatApi, newHeartbeatRequest } from "../../src/protocol/messages/heartbeat.ts";
import { joinGroupApi, newJoinGroupRequest, newJoinGroupRequestProtocol } from "../../src/protocol/messages/join-group.ts";
import { newSyncGroupRequest, newSyncGroupRequestAssignment, syncGroupApi } from "../../src/protocol/messages/sync-group.ts";
import { encodeRequest, frame, KafkaConnection } from "../support/kafka-connection.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { WeirProcess } from "../support/weir-process.ts";
import { readCpuSeconds, readResidentBytes } from "./process-usage.ts";

const { values: given } = parseArgs({
  options: {
    members: { type: "string", default: "10000" },
    seconds: { type: "string", default: "15" },
    case: { type: "string", multiple: true, default: ["classic", "consumers", "consumer"] },
  },
});
const MEMBERS = Number(given.members);
const WINDOW_MS = Number(given.seconds) * 1000;
const TOPIC = "beaten";
const PARTITIONS = 1_000;
const GROUP_SIZE = 100;
const AT_ONCE = 200;
const TICK_MS = 10;
const CLASSIC_INTERVAL_MS = 3_000;
const CONSUMER_INTERVAL_MS = 5_000;
const SESSION_MS = 45_000;
const REBALANCE_MS = 300_000;
/** Of both heartbeats' answers: correlation id, tags, throttle time. */
const ERROR_CODE_AT = 9;
const TRANSIENT = new Set([14, 15, 16, 27]);
/** ConsumerProtocolSubscription and -Assignment version 0: of one topic, and of none. */
const SUBSCRIPTION = Buffer.from([0, 0, 0, 0, 0, 1, 0, TOPIC.length, ...Buffer.from(TOPIC), 0xff, 0xff, 0xff, 0xff]);
const ASSIGNMENT = Buffer.from([0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);

/** What a member sends again and again. */
interface Beating {
  readonly connection: KafkaConnection;
  readonly bytes: Buffer;
}

interface Case {
  readonly protocol: string;
  readonly groups: number;
  readonly intervalMs: number;
  join(connections: readonly KafkaConnection[]): Promise<Beating[]>;
}

async function eachOf<Item>(items: readonly Item[], work: (item: Item, index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) await work(items[index] as Item, index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function insist<Answer extends { readonly errorCode: number }>(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await ask();
    if (!TRANSIENT.has(answer.errorCode)) return answer;
    await Bun.sleep(50);
  }
}

function chunk<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size));
}

// --- classic ---

async function joinClassic(groupId: string, connections: readonly KafkaConnection[]): Promise<Beating[]> {
  const join = (connection: KafkaConnection, memberId: string) =>
    insist(() =>
      connection.request(
        joinGroupApi,
        9,
        newJoinGroupRequest({
          groupId,
          memberId,
          sessionTimeoutMs: SESSION_MS,
          rebalanceTimeoutMs: REBALANCE_MS,
          protocolType: "consumer",
          protocols: [newJoinGroupRequestProtocol({ name: "range", metadata: SUBSCRIPTION })],
        }),
      ),
    );
  const memberIds = await Promise.all(connections.map(async (connection) => (await join(connection, "")).memberId));
  const joined = await Promise.all(connections.map((connection, index) => join(connection, memberIds[index] ?? "")));
  const assignments = memberIds.map((memberId) => newSyncGroupRequestAssignment({ memberId, assignment: ASSIGNMENT }));
  await Promise.all(
    joined.map(async ({ memberId, generationId, leader }, index) => {
      const own = leader === memberId ? assignments : [];
      const named = { protocolType: "consumer", protocolName: "range" };
      const request = newSyncGroupRequest({ groupId, memberId, generationId, ...named, assignments: own });
      const answer = await connections[index]?.request(syncGroupApi, 5, request);
      if (answer?.errorCode !== 0) throw new Error(`${groupId}: SyncGroup answered ${answer?.errorCode}`);
    }),
  );
  return joined.map(({ memberId, generationId }, index) => {
    const request = newHeartbeatRequest({ groupId, memberId, generationId });
    return { connection: connections[index] as KafkaConnection, bytes: frame(encodeRequest(heartbeatApi, 4, request, 1)) };
  });
}

// --- the consumer protocol ---

class ConsumerMember {
  readonly connection: KafkaConnection;
  readonly groupId: string;
  readonly memberId: string;
  epoch = 0;
  owned: { topicId: string; partitions: number[] }[] = [];

  constructor(connection: KafkaConnection, groupId: string, index: number) {
    this.connection = connection;
    this.groupId = groupId;
    this.memberId = `member-${index}`;
  }

  /** True when the answer changed something. */
  async beat(): Promise<boolean> {
    const { groupId, memberId, epoch: memberEpoch } = this;
    const isJoin = memberEpoch === 0;
    const full = isJoin ? { rebalanceTimeoutMs: REBALANCE_MS, subscribedTopicNames: [TOPIC] } : {};
    const request = newConsumerGroupHeartbeatRequest({ groupId, memberId, memberEpoch, ...full, topicPartitions: this.owned });
    const answer = await insist(() => this.connection.request(consumerGroupHeartbeatApi, 1, request));
    if (answer.errorCode !== 0) throw new Error(`${groupId} ${memberId}: error ${answer.errorCode} ${answer.errorMessage}`);
    const isChanged = answer.memberEpoch !== memberEpoch || answer.assignment !== null;
    this.epoch = answer.memberEpoch;
    if (answer.assignment !== null) {
      this.owned = answer.assignment.topicPartitions.map(({ topicId, partitions }) => ({ topicId, partitions }));
    }
    return isChanged;
  }

  /** As Kafka's client beats when it has nothing to say. */
  toBeating(): Beating {
    const { connection, groupId, memberId, epoch: memberEpoch } = this;
    const request = newConsumerGroupHeartbeatRequest({ groupId, memberId, memberEpoch });
    return { connection, bytes: frame(encodeRequest(consumerGroupHeartbeatApi, 1, request, 1)) };
  }
}

async function joinConsumers(groups: readonly (readonly KafkaConnection[])[]): Promise<Beating[]> {
  const members = groups.flatMap((connections, number) =>
    connections.map((connection, index) => new ConsumerMember(connection, `consumers-${groups.length}-${number}`, index)),
  );
  await eachOf(members, async (member) => {
    await member.beat();
  });
  for (let changed = -1; changed !== 0; ) {
    await Bun.sleep(1_100);
    changed = 0;
    await eachOf(members, async (member) => {
      if (await member.beat()) changed += 1;
    });
    console.error(`  ${changed} of ${members.length} members were told something`);
  }
  return members.map((member) => member.toBeating());
}

const CASES: Readonly<Record<string, Case>> = {
  classic: {
    protocol: "classic",
    groups: Math.ceil(MEMBERS / GROUP_SIZE),
    intervalMs: CLASSIC_INTERVAL_MS,
    async join(connections) {
      const beating: Beating[] = [];
      const groups = chunk(connections, GROUP_SIZE);
      for (const some of chunk(
        groups.map((each, number) => ({ each, number })),
        10,
      )) {
        const joined = await Promise.all(some.map(({ each, number }) => joinClassic(`classic-${number}`, each)));
        beating.push(...joined.flat());
      }
      return beating;
    },
  },
  consumers: {
    protocol: "consumer",
    groups: Math.ceil(MEMBERS / GROUP_SIZE),
    intervalMs: CONSUMER_INTERVAL_MS,
    join: (connections) => joinConsumers(chunk(connections, GROUP_SIZE)),
  },
  consumer: { protocol: "consumer", groups: 1, intervalMs: CONSUMER_INTERVAL_MS, join: (connections) => joinConsumers([connections]) },
};

// --- the window ---

/** Sends each member's heartbeat once in `intervalMs`, evenly, for `windowMs`; answers how many were answered. */
async function beatFor(members: readonly Beating[], intervalMs: number, windowMs: number): Promise<number> {
  let sent = 0;
  let answered = 0;
  const startedMs = performance.now();
  for (let elapsedMs = 0; elapsedMs < windowMs; elapsedMs = performance.now() - startedMs) {
    const due = Math.floor((elapsedMs / intervalMs) * members.length);
    for (; sent < due; sent++) {
      const { connection, bytes } = members[sent % members.length] as Beating;
      void connection.nextAnswer().then((answer) => {
        const code = answer.readInt16BE(ERROR_CODE_AT);
        if (code !== 0) throw new Error(`a heartbeat was answered with ${code}`);
        answered += 1;
      });
      connection.sendBytes(bytes);
    }
    await Bun.sleep(TICK_MS);
  }
  return answered;
}

async function measure(name: string): Promise<void> {
  const { protocol, groups, intervalMs, join } = CASES[name] as Case;
  using folder = new TemporaryFolder("heartbeats");
  const settings = { wal: `file:${folder.path}/wal?size=256MiB`, "group.initial.rebalance.delay.ms": "500", "num.partitions": "1" };
  const weir = await WeirProcess.start({ folder: folder.path, settings });
  try {
    const connections: KafkaConnection[] = [];
    await eachOf(
      Array.from({ length: MEMBERS }, () => undefined),
      async () => {
        connections.push(await KafkaConnection.open(weir.kafkaPort));
      },
    );
    const [first] = connections as [KafkaConnection];
    const topics = [newCreatableTopic({ name: TOPIC, numPartitions: PARTITIONS, replicationFactor: 1 })];
    await first.request(createTopicsApi, 5, newCreateTopicsRequest({ topics, timeoutMs: 30_000 }));
    await insist(() => first.request(findCoordinatorApi, 3, newFindCoordinatorRequest({ key: "any", keyType: 0 })));
    const beating = await join(connections);
    // One round before, so that nothing of the joining is left in the window.
    await beatFor(beating, intervalMs, intervalMs);
    const cpuBefore = readCpuSeconds(weir.pid);
    const startedMs = performance.now();
    const answered = await beatFor(beating, intervalMs, WINDOW_MS);
    const seconds = (performance.now() - startedMs) / 1000;
    const cpuSeconds = readCpuSeconds(weir.pid) - cpuBefore;
    const perBeat = ((cpuSeconds * 1e6) / answered).toFixed(0);
    const resident = (readResidentBytes(weir.pid) / 2 ** 20).toFixed(0);
    const percent = ((cpuSeconds / seconds) * 100).toFixed(1);
    console.log([MEMBERS, groups, protocol, intervalMs / 1000, (answered / seconds).toFixed(0), percent, perBeat, resident].join(" | "));
  } finally {
    await weir.kill();
  }
}

console.log("members | groups | protocol | interval s | heartbeats/s | CPU % of a core | us of CPU a heartbeat | resident MiB");
for (const name of given.case) {
  if (CASES[name] === undefined) throw new Error(`no case ${name}: ${Object.keys(CASES).join(", ")}`);
  await measure(name);
}
process.exit(0);
