/** Hashes that Apache Kafka 4.4 makes (Utils.computeTopicHash and computeGroupHash, with hash4j 0.22). */
import { expect, test } from "bun:test";
import { hashTopic, hashTopics } from "../../../../src/group/consumer/topic-hash.ts";

test("a topic's hash is Kafka's", () => {
  const topic = { name: "tøpic", topicId: "AQIDBAUGBwgREhMUFRYXGA", partitionCount: 2 };
  expect(hashTopic(topic)).toBe(6840287261642962502n);
});

test("a group's hash does not depend on the order of its topics, and nothing is 0", () => {
  const a = { name: "a", topicId: "AQIDBAUGBwgREhMUFRYXGA", partitionCount: 2 };
  const b = { ...a, name: "b" };
  expect(hashTopics([a, b])).toBe(hashTopics([b, a]));
  expect(hashTopics([a, b])).not.toBe(hashTopics([a, { ...b, partitionCount: 3 }]));
  expect(hashTopics([])).toBe(0n);
});
