/** A topic's settings as appends and reads need them: parsed once per topic view and revision of the broker's own settings. */
import type { Config } from "../config/config.ts";
import { getEffectiveTopicSetting } from "../config/topic-settings.ts";
import type { TopicView } from "../metadata/cluster-metadata.ts";
import type { BatchRules } from "./batch-validation.ts";

export interface TopicRules extends BatchRules {
  /** `cleanup.policy` contains "delete". */
  readonly isDeleted: boolean;
  /** -1: no limit. Larger than 2^53 is a limit that nothing reaches. */
  readonly retentionMs: number;
  readonly retentionBytes: number;
  /** `compression.type`; "producer" keeps what the producer chose. */
  readonly compressionType: string;
}

const TARGET_CODECS: ReadonlyMap<string, number> = new Map([
  ["uncompressed", 0],
  ["gzip", 1],
  ["snappy", 2],
  ["lz4", 3],
  ["zstd", 4],
]);

/** What `compression.type` says batches are stored in (BrokerCompressionType.targetCompression), and the level of that codec. */
function parseTarget(get: (name: string) => string): Pick<BatchRules, "targetCodec" | "compressionLevel"> {
  const type = get("compression.type");
  const hasLevel = type === "gzip" || type === "lz4" || type === "zstd";
  return { targetCodec: TARGET_CODECS.get(type), compressionLevel: hasLevel ? Number(get(`compression.${type}.level`)) : undefined };
}

export class TopicRulesCache {
  readonly #config: Config;
  #byView = new WeakMap<TopicView, TopicRules>();
  #revision: number;

  constructor(config: Config) {
    this.#config = config;
    this.#revision = config.revision;
  }

  get(topic: TopicView): TopicRules {
    if (this.#config.revision !== this.#revision) {
      this.#byView = new WeakMap();
      this.#revision = this.#config.revision;
    }
    const known = this.#byView.get(topic);
    if (known !== undefined) return known;
    const rules = this.#parse(topic.configs);
    this.#byView.set(topic, rules);
    return rules;
  }

  #parse(configs: ReadonlyMap<string, string>): TopicRules {
    const get = (name: string) => getEffectiveTopicSetting(this.#config, configs, name);
    const policies = get("cleanup.policy")
      .split(",")
      .map((policy) => policy.trim());
    return {
      isDeleted: policies.includes("delete"),
      retentionMs: Number(get("retention.ms")),
      retentionBytes: Number(get("retention.bytes")),
      maxMessageBytes: Number(get("max.message.bytes")),
      isLogAppendTime: get("message.timestamp.type") === "LogAppendTime",
      timestampBeforeMaxMs: Number(get("message.timestamp.before.max.ms")),
      timestampAfterMaxMs: Number(get("message.timestamp.after.max.ms")),
      isCompacted: policies.includes("compact"),
      maxDecompressedRecordBytes: Number(get("max.decompressed.message.bytes")),
      compressionType: get("compression.type"),
      ...parseTarget(get),
    };
  }
}
