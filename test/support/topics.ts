/** Topics for tests, created and described through KafkaJS's admin client: a client that is always installed. */
import { Kafka, logLevel } from "kafkajs";

export async function createTopic(bootstrap: string, topic: string, partitions: number): Promise<void> {
  const admin = new Kafka({ clientId: "weir-tests", brokers: [bootstrap], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const created = await admin.createTopics({
      topics: [{ topic, numPartitions: partitions, replicationFactor: 1 }],
      waitForLeaders: true,
    });
    if (!created) throw new Error(`topic ${topic} exists already`);
  } finally {
    await admin.disconnect();
  }
}
