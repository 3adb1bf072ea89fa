/** Sources and their order, Kafka's container environment, and every mistake's one line, as tables. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Glob } from "bun";
import { Trouble } from "../../../src/base/trouble.ts";
import { readAcceptLimits } from "../../../src/config/accept-limits.ts";
import { type ConfigInput, loadConfig } from "../../../src/config/load-config.ts";
import { SETTINGS } from "../../../src/config/settings.ts";
import { repositoryRoot } from "../../support/tools.ts";

const GIBIBYTE = 1024 ** 3;

function load(input: Partial<ConfigInput> = {}) {
  return loadConfig({
    environment: {},
    overrides: [],
    inMemory: false,
    memoryLimitBytes: 8 * GIBIBYTE,
    hostName: "host.example",
    ...input,
  });
}

function troubleOf(input: Partial<ConfigInput>): Trouble {
  try {
    load(input);
  } catch (error) {
    if (error instanceof Trouble) return error;
    throw error;
  }
  throw new Error("no trouble");
}

const overrides = (...list: string[]) => ({ overrides: list });
const warnedKeys = (input: Partial<ConfigInput>) => load(input).warnings.map(({ key }) => key);

describe("defaults", () => {
  test("without any configuration only this machine is served, from files", () => {
    const { config, warnings } = load();
    expect(warnings).toEqual([]);
    expect(config.listeners).toEqual([{ name: "PLAINTEXT", securityProtocol: "PLAINTEXT", host: "127.0.0.1", port: 9092 }]);
    expect(config.advertisedListeners).toEqual(config.listeners);
    expect(config.nodeId).toBe(1);
    expect(config.rack).toBeUndefined();
    expect(config.wal).toEqual({ kind: "file", path: "./weir-data/wal", sizeBytes: 4 * GIBIBYTE });
    expect(config.objectStore).toEqual({ kind: "file", directory: "./weir-data/objects" });
    expect(config.httpListener).toEqual({ host: "127.0.0.1", port: 8080 });
    expect(config.getNumber("socket.request.max.bytes")).toBe(104857600);
    expect(config.getBoolean("auto.create.topics.enable")).toBe(true);
    expect(config.isSet("listeners")).toBe(false);
    expect(config.get("log.retention.ms")).toBe("");
  });

  test("memory follows the limit and stays well below it", () => {
    for (const limit of [GIBIBYTE / 2, GIBIBYTE, 4 * GIBIBYTE, 64 * GIBIBYTE]) {
      const { config } = load({ memoryLimitBytes: limit });
      const sum = config.ringCapacityBytes + config.requestMemoryBytes + config.blockCacheBytes + config.catchUpMemoryBytes;
      expect(sum).toBeLessThanOrEqual(limit / 2);
      expect(config.ringCapacityBytes % 4096).toBe(0);
    }
  });

  test("--memory keeps nothing, whatever else is configured", () => {
    const { config } = load({ inMemory: true, ...overrides("wal=block:/dev/sdb") });
    expect(config.wal).toEqual({ kind: "memory" });
    expect(config.objectStore).toEqual({ kind: "memory" });
  });
});

describe("sources", () => {
  test("later wins: file, KAFKA_, WEIR_, override", () => {
    const file = { path: "server.properties", text: "num.partitions=1\nmessage.max.bytes=1\nbroker.rack=a\nfetch.max.bytes=1024" };
    const environment = { KAFKA_MESSAGE_MAX_BYTES: "2", KAFKA_BROKER_RACK: "b", WEIR_BROKER_RACK: "c", WEIR_FETCH_MAX_BYTES: "2048" };
    const { config } = load({ file, environment, ...overrides("fetch.max.bytes=4096") });
    expect(["num.partitions", "message.max.bytes", "broker.rack", "fetch.max.bytes"].map((key) => config.get(key))).toEqual([
      "1",
      "2",
      "c",
      "4096",
    ]);
  });

  test.each([
    ["KAFKA_HEAP_OPTS", "-Xmx1G"],
    ["KAFKA_OPTS", "-Dx=y"],
    ["KAFKA_LOG4J_OPTS", "x"],
    ["KAFKA_LOG4J_ROOT_LOGLEVEL", "WARN"],
    ["KAFKA_TOOLS_LOG4J_LOGLEVEL", "WARN"],
    ["KAFKA_JMX_PORT", "9999"],
    ["KAFKA_JMX_OPTS", "x"],
    ["KAFKA_JMX_HOSTNAME", "x"],
    ["KAFKA_JVM_PERFORMANCE_OPTS", "x"],
    ["KAFKA_GC_LOG_OPTS", "x"],
    ["KAFKA_VERSION", "4.4.0"],
    ["KAFKA_SERVICE_HOST", "10.0.0.1"],
    ["KAFKA_SERVICE_PORT", "9092"],
    ["KAFKA_PORT", "tcp://10.0.0.1:9092"],
    ["KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1"],
    ["WEIR_SERVICE_PORT_CLIENT", "9092"],
    ["PATH", "/bin"],
  ])("%s is no configuration", (variable, value) => {
    expect(load({ environment: { [variable]: value } }).warnings).toEqual([]);
  });

  test("Kafka's container environment starts Weir unchanged, with one warning per key of the quorum", () => {
    const environment = {
      CLUSTER_ID: "4L6g3nShT-eMCtK--X86sw",
      KAFKA_NODE_ID: "1",
      KAFKA_PROCESS_ROLES: "broker,controller",
      KAFKA_LISTENERS: "PLAINTEXT://:9092,CONTROLLER://:9093",
      KAFKA_ADVERTISED_LISTENERS: "PLAINTEXT://localhost:9092",
      KAFKA_CONTROLLER_LISTENER_NAMES: "CONTROLLER",
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
      KAFKA_CONTROLLER_QUORUM_VOTERS: "1@localhost:9093",
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: "1",
      KAFKA_HEAP_OPTS: "-Xmx1G",
    };
    const { config, warnings } = load({ environment });
    expect(config.listeners.map(({ name, host, port }) => [name, host, port])).toEqual([["PLAINTEXT", "", 9092]]);
    expect(config.advertisedListeners.map(({ host, port }) => [host, port])).toEqual([["localhost", 9092]]);
    expect(warnings.map(({ key }) => key).sort()).toEqual([
      "CLUSTER_ID",
      "controller.listener.names",
      "controller.quorum.voters",
      "listeners",
      "process.roles",
    ]);
  });

  test("a key set in several places warns once", () => {
    const input = { environment: { KAFKA_PROCESS_ROLES: "broker" }, ...overrides("process.roles=broker") };
    expect(warnedKeys(input)).toEqual(["process.roles"]);
  });

  test("keys with a free part are known", () => {
    expect(warnedKeys(overrides("listener.name.external.ssl.keystore.location=/x"))).toEqual([
      "listener.name.external.ssl.keystore.location",
    ]);
  });
});

test("bounds of connections, of all and of one listener", () => {
  const { config, warnings } = load(
    overrides(
      "max.connections=100",
      "listener.name.external.max.connections=30",
      "listener.name.external.max.connection.creation.rate=5",
      "max.connections.per.ip=0",
      "max.connections.per.ip.overrides=10.0.0.1:7",
    ),
  );
  expect(warnings).toEqual([]);
  const limits = readAcceptLimits(config);
  expect(limits).toMatchObject({ maxConnections: 100, maxPerAddress: 0, addressOverrides: new Map([["10.0.0.1", 7]]), rateWindowS: 10 });
  expect(limits.getListener("EXTERNAL")).toEqual({ maxConnections: 30, creationRate: 5 });
  expect(limits.getListener("PLAINTEXT")).toEqual({ maxConnections: 100, creationRate: 2 ** 31 - 1 });
  expect(troubleOf(overrides("listener.name.external.max.connections=many")).message).toContain(
    "listener.name.external.max.connections=many",
  );
  expect(troubleOf(overrides("max.connections.per.ip.overrides=10.0.0.1")).remedy).toContain("ADDRESS:COUNT");
  expect(troubleOf(overrides("max.connections.per.ip=0")).remedy).toContain("at least 1");
});

describe("mistakes end in one line that names key, value and remedy", () => {
  test.each([
    ["listners=PLAINTEXT://:9092", ["listners", "listeners"]],
    ["num.partition=3", ["num.partition", "num.partitions"]],
    ["objectstore=memory:", ["objectstore", "object.store"]],
    ["zookeeper.connect=localhost:2181", ["zookeeper.connect", "removed"]],
  ])("unknown: %s", (override, words) => {
    const trouble = troubleOf(overrides(override));
    expect(trouble.code).toBe("config-unknown-key");
    expect(trouble.exitCode).toBe(2);
    for (const word of words) expect(`${trouble.message} ${trouble.remedy}`).toContain(word);
  });

  test.each([
    ["num.partitions=many", "num.partitions must be an integer of at least 1"],
    ["num.partitions=0", "at least 1"],
    ["num.partitions=2147483648", "integer"],
    ["log.retention.bytes=9223372036854775808", "64-bit"],
    ["compression.type=zip", "producer"],
    ["compression.gzip.level=10", "from 1 to 9, or -1"],
    ["auto.create.topics.enable=yes", "true or false"],
    ["log.cleaner.min.cleanable.ratio=1.5", "from 0 to 1"],
    ["log.retention.hours=0", "at least 1"],
    ["log.cleanup.policy=delete,shrink", "compact, delete"],
    ["ring.capacity.bytes=lots", "64MiB"],
    ["ring.capacity.bytes=16777217", "multiple of 4096"],
    ["node.id=-1", "at least 0"],
    ["listeners=PLAINTEXT:/127.0.0.1:9092", "NAME://HOST:PORT"],
    ["listeners=PLAINTEXT://127.0.0.1:99999", "NAME://HOST:PORT"],
    ["listeners=", "at least one"],
    ["listeners=PLAINTEXT://a:1,PLAINTEXT://a:2", "different name"],
    ["listeners=PLAINTEXT://a:1,SSL://a:1", "different port"],
    ["listeners=EXTERNAL://a:1", "No security protocol defined for listener EXTERNAL"],
    ["listeners=SSL://127.0.0.1:9093", "PLAINTEXT listeners in this version"],
    ["advertised.listeners=OTHER://a:1", "No security protocol"],
    ["advertised.listeners=SSL://a:1", "in listeners too"],
    ["listener.security.protocol.map=A:B:C", "NAME:PROTOCOL"],
    ["http.listener=8080", "HOST:PORT"],
    ["wal=/dev/sdb", "block:DEVICE"],
    ["wal=block:sdb", "absolute"],
    ["wal=file:x?size=1MiB", "16MiB"],
    ["wal=file:x?sise=1GiB", "sise"],
    ["wal=s3:", "not served in this version"],
    ["wal=mirror:a,b", "not served in this version"],
    ["object.store=/data", "s3://BUCKET"],
    ["object.store=s3://", "bucket name"],
    ["object.store=s3://b/p?regoin=x", "regoin"],
    ["object.store=s3://bucket/a//b", "empty part"],
    ["object.store=s3://bucket/p?endpoint=localhost:9000", "http://"],
    ["logger.level=loud", "debug, info, warn, error"],
  ])("bad value: %s", (override, expected) => {
    const trouble = troubleOf(overrides(override));
    expect(trouble.code).toBe("config-bad-value");
    expect(trouble.exitCode).toBe(2);
    const line = `${trouble.message} ${trouble.remedy}`;
    expect(line).toContain(override.slice(0, override.indexOf("=")));
    expect(line).toContain(override.slice(override.indexOf("=") + 1));
    expect(line).toContain(expected);
  });

  test.each([["listeners=PLAINTEXT://0.0.0.0:9092"], ["listeners=PLAINTEXT://[::]:9092"]])(
    "a wildcard that would be advertised: %s",
    (override) => {
      const { message } = troubleOf(overrides(override));
      expect(message).toMatch(
        /advertised\.listeners cannot use the nonroutable meta-address (0\.0\.0\.0|::)\. Use a routable IP address\./,
      );
    },
  );

  test("an override without a value, and where a bad value came from", () => {
    expect(troubleOf(overrides("num.partitions")).remedy).toContain("KEY=VALUE");
    expect(troubleOf({ environment: { KAFKA_NUM_PARTITIONS: "x" } }).message).toContain("KAFKA_NUM_PARTITIONS");
    expect(troubleOf({ file: { path: "server.properties", text: "\nnum.partitions=x" } }).message).toContain("server.properties line 2");
  });

  test("only controller listeners leave nothing to serve", () => {
    const trouble = troubleOf(overrides("listeners=CONTROLLER://:9093", "controller.listener.names=CONTROLLER"));
    expect(trouble.remedy).toContain("controller.listener.names");
  });

  test("node.id and broker.id must agree", () => {
    expect(load(overrides("broker.id=7")).config.nodeId).toBe(7);
    expect(troubleOf(overrides("broker.id=7", "node.id=8")).message).toContain("broker.id=7");
  });
});

describe("values", () => {
  test("an empty host is advertised as this machine's name", () => {
    const { config } = load(overrides("listeners=PLAINTEXT://:9092"));
    expect(config.advertisedListeners[0]?.host).toBe("host.example");
    expect(config.listeners[0]?.host).toBe("");
  });

  test("IPv6 hosts, several listeners, names in any case", () => {
    const { config } = load(
      overrides(
        "listeners=internal://[::1]:9092,External://10.0.0.1:9093",
        "listener.security.protocol.map=INTERNAL:PLAINTEXT,external:plaintext",
      ),
    );
    expect(config.listeners.map(({ name, host, port }) => `${name} ${host} ${port}`)).toEqual([
      "INTERNAL ::1 9092",
      "EXTERNAL 10.0.0.1 9093",
    ]);
  });

  test("S3 places", () => {
    const { config } = load(overrides("object.store=s3://bucket/a/b/?region=eu-west-1&endpoint=http://127.0.0.1:9000&pathStyle=true"));
    expect(config.objectStore).toEqual({
      kind: "s3",
      bucket: "bucket",
      prefix: "a/b",
      region: "eu-west-1",
      endpoint: "http://127.0.0.1:9000",
      pathStyle: true,
    });
  });

  test("sizes, lists and booleans are normalised", () => {
    const { config } = load(
      overrides("block.cache.bytes=64MiB", "auto.create.topics.enable= FALSE ", "log.cleanup.policy= compact , delete", "http.listener="),
    );
    expect(config.blockCacheBytes).toBe(64 * 1024 ** 2);
    expect(config.getBoolean("auto.create.topics.enable")).toBe(false);
    expect(config.getList("log.cleanup.policy")).toEqual(["compact", "delete"]);
    expect(config.httpListener).toBeUndefined();
  });

  test("an empty value of a setting without a default is none", () => {
    const { config } = load({ environment: { KAFKA_ADVERTISED_LISTENERS: "", KAFKA_LOG_RETENTION_MS: "" } });
    expect(config.isSet("advertised.listeners")).toBe(false);
    expect(config.isSet("log.retention.ms")).toBe(false);
  });
});

describe("settings of groups that are wrong together", () => {
  test.each([
    [
      "group.consumer.session.timeout.ms=100",
      "group.consumer.session.timeout.ms must be at least group.consumer.min.session.timeout.ms (45000)",
    ],
    [
      "group.consumer.min.session.timeout.ms=70000",
      "group.consumer.max.session.timeout.ms must be at least group.consumer.min.session.timeout.ms (70000)",
    ],
    [
      "group.share.heartbeat.interval.ms=15001",
      "group.share.heartbeat.interval.ms must be at most group.share.max.heartbeat.interval.ms (15000)",
    ],
    ["group.consumer.assignors=uniform,foo", "group.consumer.assignors must be a list of uniform, range, each at most once"],
    ["group.consumer.assignors=range,org.apache.kafka.coordinator.group.assignor.RangeAssignor", "each at most once"],
    ["group.consumer.assignors=", "group.consumer.assignors must be a list of uniform, range"],
  ])("%s", (setting, remedy) => {
    const { code, remedy: said } = troubleOf(overrides(setting));
    expect(code).toBe("config-bad-value");
    expect(said).toContain(remedy);
  });

  test("a heartbeat interval that no session survives", () => {
    const settings = ["group.consumer.min.session.timeout.ms=5000", "group.consumer.session.timeout.ms=5000"];
    expect(troubleOf(overrides(...settings)).remedy).toContain("less than group.consumer.session.timeout.ms (5000)");
  });

  test("what is right is not warned of", () => {
    const given = ["group.consumer.session.timeout.ms=50000", "group.consumer.assignors=range", "group.consumer.max.size=10"];
    expect(warnedKeys(overrides(...given))).toEqual([]);
  });
});

test("every setting that the source reads by name has a meaning", async () => {
  const read = new Set<string>();
  for await (const path of new Glob("src/**/*.ts").scan({ cwd: repositoryRoot })) {
    const text = await Bun.file(join(repositoryRoot, path)).text();
    for (const [, name = ""] of text.matchAll(/\.(?:get|getNumber|getBoolean|getList|find)\("([a-z0-9.]+\.[a-z0-9.]+)"\)/g)) read.add(name);
  }
  const meaningless = [...read].filter((name) => SETTINGS.get(name)?.meaning === "none");
  expect(read.size).toBeGreaterThan(50);
  expect(meaningless).toEqual([]);
});
