/** The verbs that talk to a broker: their options and help. What they do is loaded when one is run. */
import type { Command } from "commander";
import { Trouble } from "../base/trouble.ts";
import type { BrokerFlags, BrokerSession } from "./broker-session.ts";

type Finish = (exitCode: number) => void;
type Body = (session: BrokerSession) => Promise<number>;

const TOPIC_EXAMPLES = `
Examples:
  weir topic list
  weir topic create orders --partitions 4 --topic-config cleanup.policy=compact
  weir topic describe orders --output json
  weir topic add-partitions orders --total 8
  weir topic delete orders --bootstrap-server broker1:9092,broker2:9092`;

/** The three options that every one of them takes. */
export function withBrokerOptions(command: Command): Command {
  return command
    .option("--bootstrap-server <host:port,...>", "brokers to begin with (default: 127.0.0.1:9092, or bootstrap.servers of the file)")
    .option("--command-config <file>", "a properties file for the client: request.timeout.ms, retries, client.id, ...")
    .option("--output <form>", "table or json", "table");
}

export function parseCount(name: string): (text: string) => number {
  return (text) => {
    if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
    throw new Trouble({
      code: "usage",
      message: `${name} ${text} is no count`,
      remedy: "give an integer of at least 1",
      retryable: false,
      exitCode: 2,
    });
  };
}

const collect = (value: string, previous: readonly string[]): readonly string[] => [...previous, value];

export function makeRunner(finish: Finish): (flags: BrokerFlags, body: Body) => Promise<void> {
  return async (flags, body) => {
    const { withBroker } = await import("./broker-session.ts");
    finish(await withBroker(flags, body));
  };
}

interface CreateFlags extends BrokerFlags {
  readonly partitions?: number;
  readonly replicationFactor?: number;
  readonly topicConfig: readonly string[];
  readonly ifNotExists: boolean;
}

function addTopicVerbs(program: Command, finish: Finish): void {
  const run = makeRunner(finish);
  const topic = program.command("topic").description("list, create, describe, delete topics").addHelpText("after", TOPIC_EXAMPLES);
  withBrokerOptions(topic.command("list").description("names, partitions and ids"))
    .option("--internal", "also Kafka's own topics", false)
    .action((flags: BrokerFlags & { readonly internal: boolean }) =>
      run(flags, async (session) => (await import("./topic-command.ts")).listTopics(session, flags.internal)),
    );
  withBrokerOptions(topic.command("create <name>").description("create a topic"))
    .option("--partitions <count>", "how many (default: the broker's num.partitions)", parseCount("--partitions"))
    .option("--replication-factor <count>", "taken as told; the bucket does the replication", parseCount("--replication-factor"))
    .option("--topic-config <key=value>", "a configuration of the topic; may be repeated", collect, [])
    .option("--if-not-exists", "a topic that is there is fine", false)
    .action((name: string, flags: CreateFlags) =>
      run(flags, async (session) =>
        (await import("./topic-command.ts")).createTopic(session, {
          name,
          partitions: flags.partitions,
          replicationFactor: flags.replicationFactor,
          configs: flags.topicConfig,
          ifNotExists: flags.ifNotExists,
        }),
      ),
    );
  withBrokerOptions(
    topic.command("describe [names...]").description("partitions with leaders and offsets; all topics when none is named"),
  ).action((names: readonly string[], flags: BrokerFlags) =>
    run(flags, async (session) => (await import("./topic-command.ts")).describeTopics(session, names)),
  );
  withBrokerOptions(topic.command("delete <names...>").description("delete topics and all their records")).action(
    (names: readonly string[], flags: BrokerFlags) =>
      run(flags, async (session) => (await import("./topic-command.ts")).deleteTopics(session, names)),
  );
  withBrokerOptions(topic.command("add-partitions <name>").description("raise the number of partitions"))
    .requiredOption("--total <count>", "how many the topic shall have", parseCount("--total"))
    .action((name: string, flags: BrokerFlags & { readonly total: number }) =>
      run(flags, async (session) => (await import("./topic-command.ts")).addPartitions(session, name, flags.total)),
    );
}

const PRODUCE_EXAMPLES = `
Examples:
  printf 'one\\ntwo\\n' | weir produce greetings
  printf 'k1:v1\\nk2:v2\\n' | weir produce orders --key-separator : --compression zstd
  weir produce orders --output json < records.txt         the counts, when all is acknowledged`;

const CONSUME_EXAMPLES = `
Examples:
  weir consume greetings --from beginning --until-end
  weir consume orders --from 2026-05-01T12:00:00Z --format json | jq .value
  weir consume orders --partition 0 --from 1000 --max-messages 10 --format key-value
  weir consume orders                                     what comes from now on, until Ctrl-C`;

export function parseNumber(name: string): (text: string) => number {
  return (text) => {
    if (/^\d{1,9}$/.test(text)) return Number(text);
    throw new Trouble({
      code: "usage",
      message: `${name} ${text} is no number`,
      remedy: "give an integer of at least 0",
      retryable: false,
      exitCode: 2,
    });
  };
}

interface ProduceFlags extends BrokerFlags {
  readonly keySeparator?: string;
  readonly partition?: number;
  readonly acks: string;
  readonly compression: string;
  readonly idempotence: boolean;
}

function addProduceVerb(program: Command, finish: Finish): void {
  const run = makeRunner(finish);
  withBrokerOptions(program.command("produce <topic>").description("a record for each line of stdin"))
    .option("--key-separator <text>", "a line is KEY, this, VALUE")
    .option("--partition <number>", "send all there (default: by key, or any)", parseNumber("--partition"))
    .option("--acks <which>", "all, 1 or 0", "all")
    .option("--compression <codec>", "none, gzip, snappy, lz4 or zstd", "none")
    .option("--no-idempotence", "a retry may double records")
    .addHelpText("after", PRODUCE_EXAMPLES)
    .action((topic: string, flags: ProduceFlags) =>
      run(flags, async (session) => {
        const { produce } = await import("./produce-command.ts");
        const { keySeparator, partition, acks, compression, idempotence: isIdempotent } = flags;
        return produce(session, { topic, keySeparator, partition, acks, compression, isIdempotent }, Bun.stdin.stream());
      }),
    );
}

interface ConsumeFlags extends BrokerFlags {
  readonly partition: readonly number[];
  readonly from: string;
  readonly maxMessages?: number;
  readonly untilEnd: boolean;
  readonly format: string;
  readonly keySeparator: string;
}

function addConsumeVerb(program: Command, finish: Finish): void {
  const run = makeRunner(finish);
  const collectPartition = (text: string, previous: readonly number[]): readonly number[] => [
    ...previous,
    parseNumber("--partition")(text),
  ];
  withBrokerOptions(program.command("consume <topic>").description("records to stdout"))
    .option("--partition <number>", "only this one; may be repeated", collectPartition, [])
    .option("--from <place>", "beginning, latest, an offset, a time, or @MILLISECONDS", "latest")
    .option("--max-messages <count>", "end after as many", parseCount("--max-messages"))
    .option("--until-end", "end at the end as it is now", false)
    .option("--format <form>", "value, key-value, or json with headers", "value")
    .option("--key-separator <text>", "between key and value", "\t")
    .addHelpText("after", CONSUME_EXAMPLES)
    .action((topic: string, flags: ConsumeFlags) =>
      run(flags, async (session) => {
        const { consume } = await import("./consume-command.ts");
        const { partition: partitions, from, maxMessages, untilEnd, format, keySeparator } = flags;
        return consume(session, { topic, partitions, from, maxMessages, untilEnd, format, keySeparator });
      }),
    );
}

const GROUP_EXAMPLES = `
Examples:
  weir group list
  weir group describe billing                   committed offsets, ends and lag of each partition
  weir group describe billing --members         what each member owns, and shall own
  weir group describe billing --output json | jq '[.partitions[].lag] | add'
  weir group delete billing`;

const CONFIG_EXAMPLES = `
Examples:
  weir config describe topic orders             what is not the default
  weir config describe broker 1 --all
  weir config set topic orders retention.ms=86400000 cleanup.policy=delete
  weir config unset topic orders retention.ms   back to the default
  weir config set broker all log.retention.ms=86400000
  weir config set group billing consumer.session.timeout.ms=50000`;

const FEATURE_EXAMPLES = `
Examples:
  weir features describe
  weir features upgrade --latest                   what this version brings, once no broker is older
  weir features upgrade group.version=1 --dry-run  would it be allowed?
  weir features downgrade group.version=0          no more members of the consumer protocol`;

function addGroupVerbs(program: Command, finish: Finish): void {
  const run = makeRunner(finish);
  const group = program.command("group").description("list, describe, delete consumer groups").addHelpText("after", GROUP_EXAMPLES);
  withBrokerOptions(group.command("list").description("groups and their states")).action((flags: BrokerFlags) =>
    run(flags, async (session) => (await import("./group-command.ts")).listGroups(session)),
  );
  withBrokerOptions(
    group
      .command("describe <group>")
      .description("committed offsets and lag, or the members")
      .option("--members", "what each member owns and shall own, instead of offsets; --output json has both"),
  ).action((groupId: string, flags: BrokerFlags & { readonly members?: boolean }) =>
    run(flags, async (session) =>
      (await import("./group-command.ts")).describeGroup(session, groupId, { members: flags.members === true }),
    ),
  );
  withBrokerOptions(group.command("delete <groups...>").description("delete groups without members, and their offsets")).action(
    (groupIds: readonly string[], flags: BrokerFlags) =>
      run(flags, async (session) => (await import("./group-command.ts")).deleteGroups(session, groupIds)),
  );
}

function addConfigVerbs(program: Command, finish: Finish): void {
  const run = makeRunner(finish);
  const config = program
    .command("config")
    .description("configurations of topics, brokers and groups")
    .addHelpText("after", CONFIG_EXAMPLES);
  withBrokerOptions(config.command("describe <kind> <name>").description("kind is topic, broker or group; broker all: what is set for all"))
    .option("--all", "defaults too", false)
    .action((kind: string, name: string, flags: BrokerFlags & { readonly all: boolean }) =>
      run(flags, async (session) => (await import("./config-command.ts")).describeConfig(session, kind, name, flags.all)),
    );
  withBrokerOptions(
    config.command("set <kind> <name> <settings...>").description("KEY=VALUE each; holds at once, without a restart"),
  ).action((kind: string, name: string, settings: readonly string[], flags: BrokerFlags) =>
    run(flags, async (session) => (await import("./config-command.ts")).setConfigs(session, kind, name, settings)),
  );
  withBrokerOptions(config.command("unset <kind> <name> <keys...>").description("back to the default")).action(
    (kind: string, name: string, keys: readonly string[], flags: BrokerFlags) =>
      run(flags, async (session) => (await import("./config-command.ts")).unsetConfigs(session, kind, name, keys)),
  );
}

interface LevelFlags extends BrokerFlags {
  readonly dryRun: boolean;
}

function addFeatureVerbs(program: Command, finish: Finish): void {
  const run = makeRunner(finish);
  const features = program.command("features").description("feature levels of the cluster").addHelpText("after", FEATURE_EXAMPLES);
  withBrokerOptions(features.command("describe").description("levels in force, and what the broker supports")).action(
    (flags: BrokerFlags) => run(flags, async (session) => (await import("./features-command.ts")).describeFeatures(session)),
  );
  withBrokerOptions(
    features.command("upgrade [levels...]").description("FEATURE=LEVEL each, all or none; in force at once, without a restart"),
  )
    .option("--latest", "every feature, to the highest level that the broker supports", false)
    .option("--dry-run", "ask whether it is allowed, and change nothing", false)
    .action((levels: readonly string[], flags: LevelFlags & { readonly latest: boolean }) => {
      if (levels.length > 0 === flags.latest) throw noLevels("name FEATURE=LEVEL, or --latest, not both");
      return run(flags, async (session) =>
        (await import("./features-command.ts")).changeFeatures(session, flags.latest ? "latest" : levels, {
          kind: "upgrade",
          isDryRun: flags.dryRun,
        }),
      );
    });
  withBrokerOptions(features.command("downgrade <levels...>").description("FEATURE=LEVEL each, all or none; level 0: not in force"))
    .option("--unsafe", "also where what is stored may be lost (metadata.version refuses even so)", false)
    .option("--dry-run", "ask whether it is allowed, and change nothing", false)
    .action((levels: readonly string[], flags: LevelFlags & { readonly unsafe: boolean }) =>
      run(flags, async (session) =>
        (await import("./features-command.ts")).changeFeatures(session, levels, {
          kind: flags.unsafe ? "unsafe downgrade" : "downgrade",
          isDryRun: flags.dryRun,
        }),
      ),
    );
}

const noLevels = (remedy: string): Trouble =>
  new Trouble({ code: "usage", message: "no levels to upgrade to", remedy, retryable: false, exitCode: 2 });

function addClusterVerbs(program: Command, finish: Finish): void {
  const run = makeRunner(finish);
  withBrokerOptions(program.command("cluster").description("id, brokers, controller, features")).action((flags: BrokerFlags) =>
    run(flags, async (session) => (await import("./cluster-command.ts")).describeCluster(session)),
  );
}

/** `finish` gets the exit code of the command that ran. */
export function addBrokerVerbs(program: Command, finish: Finish): void {
  addTopicVerbs(program, finish);
  addProduceVerb(program, finish);
  addConsumeVerb(program, finish);
  addGroupVerbs(program, finish);
  addConfigVerbs(program, finish);
  addFeatureVerbs(program, finish);
  addClusterVerbs(program, finish);
}
