/** One member of a group, with KafkaJS. Arguments and lines as GroupMember.java. */
import { Kafka, logLevel } from "kafkajs";
import { version } from "kafkajs/package.json";

if (process.argv[2] === "version") {
  console.log(version);
  process.exit(0);
}

const [bootstrap = "", topic = "", groupId = "", , sessionMs = "6000"] = process.argv.slice(2);
const kafka = new Kafka({
  clientId: "member",
  brokers: [bootstrap],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 50 },
});
const consumer = kafka.consumer({
  groupId,
  sessionTimeout: Number(sessionMs),
  rebalanceTimeout: 15_000,
  heartbeatInterval: 1000,
  maxWaitTimeInMs: 200,
  maxBytesPerPartition: 8192,
});

function line(kind: "R" | "C", partition: number, offset: string): string {
  return `${kind} ${Math.round((performance.timeOrigin + performance.now()) * 1000)} ${partition} ${offset}\n`;
}

/**
 * The coordinator has said that this member's assignment no longer stands, and it has not joined again. KafkaJS goes on to hand out what it had fetched
 * (its worker queue ends only when it is empty), though other members may own those partitions by now.
 */
let isRejoining = false;
consumer.on(consumer.events.GROUP_JOIN, () => {
  isRejoining = false;
});

// Only this event tells that the coordinator took a commit: `commitOffsets` of a consumer that is stopping resolves without having sent anything.
consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload }) => {
  for (const { partitions } of payload.topics) {
    for (const { partition, offset } of partitions) process.stdout.write(line("C", partition, offset));
  }
});

async function whileAssigned(call: Promise<void>): Promise<void> {
  try {
    await call;
  } catch (error) {
    isRejoining = true;
    throw error;
  }
}

await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachBatch: async ({ batch, heartbeat, isStale, isRunning }) => {
    for (let at = 0; at < batch.messages.length && isRunning() && !isStale() && !isRejoining; at += 50) {
      const part = batch.messages.slice(at, at + 50);
      process.stdout.write(part.map((message) => line("R", batch.partition, message.offset)).join(""));
      await Bun.sleep(5);
      const next = String(BigInt(part.at(-1)?.offset ?? "0") + 1n);
      await whileAssigned(consumer.commitOffsets([{ topic, partition: batch.partition, offset: next }]));
      await whileAssigned(heartbeat());
    }
  },
});
process.on("SIGTERM", () => {
  consumer.disconnect().then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
