/** One member of a group, with KafkaJS. Arguments and lines as GroupMember.java. */
import { Kafka, logLevel } from "kafkajs";

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

await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachBatch: async ({ batch, heartbeat, isStale, isRunning }) => {
    for (let at = 0; at < batch.messages.length && isRunning() && !isStale(); at += 50) {
      const part = batch.messages.slice(at, at + 50);
      process.stdout.write(part.map((message) => line("R", batch.partition, message.offset)).join(""));
      await Bun.sleep(5);
      const next = String(BigInt(part.at(-1)?.offset ?? "0") + 1n);
      await consumer.commitOffsets([{ topic, partition: batch.partition, offset: next }]);
      process.stdout.write(line("C", batch.partition, next));
      await heartbeat();
    }
  },
});
process.on("SIGTERM", () => {
  consumer.disconnect().then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
