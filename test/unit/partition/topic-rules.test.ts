/** What partitions read of a topic's configurations, and when they read it anew. */
import { expect, test } from "bun:test";
import { LiveConfig } from "../../../src/config/live-config.ts";
import { TOPIC_MEANINGS } from "../../../src/config/topic-meanings.ts";
import { TOPIC_SETTINGS } from "../../../src/config/topic-settings.ts";
import type { TopicView } from "../../../src/metadata/cluster-metadata.ts";
import { TopicRulesCache } from "../../../src/partition/topic-rules.ts";
import { fakeConfig } from "../support/fake-config.ts";

const NONE: ReadonlyMap<string, string> = new Map();

function topic(configs: ReadonlyMap<string, string>): TopicView {
  return { name: "t", topicId: "AAAAAAAAAAAAAAAAAAAADg", partitionCount: 1, replicationFactor: 1, configs, isInternal: false };
}

/** Notes which names are asked for. */
class WatchedMap extends Map<string, string> {
  readonly asked = new Set<string>();

  override get(name: string): string | undefined {
    this.asked.add(name);
    return super.get(name);
  }
}

test("the configurations that are said to act are those that partitions read", () => {
  const asked = new Set<string>();
  for (const codec of ["producer", "gzip", "lz4", "zstd"]) {
    const configs = new WatchedMap([["compression.type", codec]]);
    new TopicRulesCache(fakeConfig()).get(topic(configs));
    for (const name of configs.asked) asked.add(name);
  }
  const acting = Object.entries(TOPIC_MEANINGS).filter(([, meaning]) => meaning.acts);
  expect([...asked].sort()).toEqual(acting.map(([name]) => name).sort());
});

test("every configuration of a topic has a meaning, or says that it has none", () => {
  expect(Object.keys(TOPIC_MEANINGS).sort()).toEqual(TOPIC_SETTINGS.map(({ name }) => name).sort());
});

test("what clients set for brokers is read at once, and a topic's own value is stronger", () => {
  const config = new LiveConfig(fakeConfig());
  const rules = new TopicRulesCache(config);
  const [plain, own] = [topic(NONE), topic(new Map([["max.message.bytes", "77"]]))];
  expect(rules.get(plain).maxMessageBytes).toBe(1048588);
  config.follow(new Map([["message.max.bytes", "100"]]), NONE);
  expect([rules.get(plain).maxMessageBytes, rules.get(own).maxMessageBytes]).toEqual([100, 77]);
  config.follow(new Map([["message.max.bytes", "100"]]), new Map([["message.max.bytes", "200"]]));
  expect([rules.get(plain).maxMessageBytes, rules.get(own).maxMessageBytes]).toEqual([200, 77]);
  config.follow(NONE, NONE);
  expect(rules.get(plain).maxMessageBytes).toBe(1048588);
});
