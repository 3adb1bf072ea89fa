/** One transactional client in KafkaJS: kafkajs.ts BOOTSTRAP INPUT OUTPUT ID; what it does is said in transactional.py. */
import { Kafka, logLevel, type Transaction } from "kafkajs";

const [bootstrap = "", input = "", output = "", name = ""] = process.argv.slice(2);
const TRANSACTIONS = 3;
const RECORDS = 5;
const INPUTS = 10;

const kafka = new Kafka({ clientId: name, brokers: [bootstrap], logLevel: logLevel.ERROR });
const producer = kafka.producer({ transactionalId: name, idempotent: true, maxInFlightRequests: 1 });
await producer.connect();

const write = (transaction: Transaction, prefix: string) =>
  transaction.send({
    topic: output,
    acks: -1,
    messages: Array.from({ length: RECORDS }, (_, index) => ({ partition: 0, value: `${prefix}-${index}` })),
  });

for (let index = 0; index < TRANSACTIONS; index++) {
  const transaction = await producer.transaction();
  await write(transaction, `c${index}`);
  await transaction.commit();
}
const aborted = await producer.transaction();
await write(aborted, "aborted");
await aborted.abort();

const consumer = kafka.consumer({ groupId: name, maxWaitTimeInMs: 100 });
await consumer.connect();
await consumer.subscribe({ topic: input, fromBeginning: true });
const values: string[] = [];
const isRead = Promise.withResolvers<void>();
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ message }) => {
    values.push(String(message.value));
    if (values.length === INPUTS) isRead.resolve();
  },
});
await isRead.promise;
const copy = await producer.transaction();
await copy.send({ topic: output, acks: -1, messages: values.map((value) => ({ partition: 0, value: `copy-${value}` })) });
await copy.sendOffsets({ consumerGroupId: name, topics: [{ topic: input, partitions: [{ partition: 0, offset: String(INPUTS) }] }] });
await copy.commit();
await consumer.disconnect();
await producer.disconnect();
console.log("done");
