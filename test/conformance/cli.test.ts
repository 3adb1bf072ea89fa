/** The executable's own verbs against the executable: what an operator types, what is printed, and the exit codes. */
import { afterAll, beforeAll, describe, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { consumerGroupHeartbeatApi, newConsumerGroupHeartbeatRequest } from "../../src/protocol/messages/consumer-group-heartbeat.ts";
import { joinGroupApi, newJoinGroupRequest, newJoinGroupRequestProtocol } from "../../src/protocol/messages/join-group.ts";
import { newSyncGroupRequest, newSyncGroupRequestAssignment, syncGroupApi } from "../../src/protocol/messages/sync-group.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { KafkaConnection } from "../support/kafka-connection.ts";
import { getFreePorts } from "../support/ports.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { hasTool, runTool, type ToolResult, testIf } from "../support/tools.ts";
import { hasWeir, WeirProcess, weirExecutable, weirMissing } from "../support/weir-process.ts";
import { insist } from "./transactions-raw.ts";

const TIMEOUT_MS = 60_000;

describe("weir's verbs", () => {
  const folder = new TemporaryFolder("cli");
  let weir: WeirProcess;
  const testWeir = testIf(hasWeir, weirMissing);

  beforeAll(async () => {
    if (hasWeir) weir = await WeirProcess.start({ folder: folder.path });
  }, TIMEOUT_MS);
  afterAll(async () => {
    if (hasWeir) await weir.kill();
    folder[Symbol.dispose]();
  });

  const runAlone = (args: readonly string[], stdin = ""): Promise<ToolResult> =>
    runTool([weirExecutable, ...args], { stdin, cwd: folder.path, timeoutMs: TIMEOUT_MS });
  const run = (args: readonly string[], stdin = ""): Promise<ToolResult> =>
    runAlone([...args, "--bootstrap-server", weir.bootstrap], stdin);
  const mustRun = async (args: readonly string[], stdin = ""): Promise<string> => {
    const result = await run(args, stdin);
    expect(result.stderr).toBe("");
    expect(result.exitCode).toBe(0);
    return result.stdout;
  };

  testWeir(
    "topic: created, listed, described, grown, deleted",
    async () => {
      expect(await mustRun(["topic", "create", "life", "--partitions", "2", "--topic-config", "retention.ms=60000"])).toBe(
        "created topic life with 2 partitions\n",
      );
      expect(await mustRun(["topic", "create", "life", "--if-not-exists"])).toBe("topic life exists already\n");
      expect(JSON.parse(await mustRun(["topic", "list", "--output", "json"]))).toContainEqual(
        expect.objectContaining({ name: "life", partitions: 2 }),
      );
      await mustRun(["topic", "add-partitions", "life", "--total", "3"]);
      const [topic] = JSON.parse(await mustRun(["topic", "describe", "life", "--output", "json"]));
      expect(topic.partitions).toHaveLength(3);
      expect(topic.partitions[0]).toMatchObject({ partition: 0, leaderId: 1, replicas: [1], isr: [1], startOffset: 0, endOffset: 0 });
      expect(await mustRun(["config", "describe", "topic", "life"])).toMatch(/retention\.ms +60000 +topic/);
      expect(await mustRun(["config", "set", "topic", "life", "retention.ms=70000", "segment.ms=60000"])).toContain("retention.ms = 70000");
      expect(await mustRun(["config", "unset", "topic", "life", "segment.ms"])).toBe("topic life: segment.ms is back to its default\n");
      expect(await mustRun(["config", "describe", "topic", "life"])).toMatch(/retention\.ms +70000 +topic/);
      expect(await mustRun(["config", "set", "broker", "all", "log.retention.ms=80000"])).toContain("broker all");
      expect(await mustRun(["config", "describe", "broker", "all"])).toMatch(/log\.retention\.ms +80000 +dynamic default/);
      expect(await mustRun(["config", "set", "group", "life", "consumer.session.timeout.ms=50000"])).toContain("50000");
      expect(await mustRun(["config", "describe", "group", "life"])).toMatch(/consumer\.session\.timeout\.ms +50000 +group/);
      expect(await mustRun(["topic", "delete", "life"])).toBe("deleted topic life\n");
      expect(await mustRun(["topic", "list"])).not.toContain("life");
    },
    TIMEOUT_MS,
  );

  testWeir(
    "produce and consume: every codec, keys, places, formats",
    async () => {
      await mustRun(["topic", "create", "words", "--partitions", "3"]);
      for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
        const counts = await mustRun(
          ["produce", "words", "--key-separator", ":", "--compression", codec, "--output", "json"],
          `a:${codec}\nb:${codec}`,
        );
        expect(JSON.parse(counts)).toMatchObject({ topic: "words", records: 2 });
      }
      const pairs = (await mustRun(["consume", "words", "--from", "beginning", "--until-end", "--format", "key-value"])).trim().split("\n");
      expect(pairs.filter((pair) => pair.startsWith("a\t"))).toEqual(
        ["none", "gzip", "snappy", "lz4", "zstd"].map((codec) => `a\t${codec}`),
      );
      expect(pairs).toHaveLength(10);
      const lines = (await mustRun(["consume", "words", "--from", "@0", "--until-end", "--format", "json"])).trim().split("\n");
      const records = lines.map((line) => JSON.parse(line));
      const ofKey = new Set(records.filter(({ key }) => key === "a").map(({ partition }) => partition));
      expect(ofKey.size).toBe(1);
      expect(records[0]).toMatchObject({ topic: "words", headers: [] });
      const [partition] = ofKey;
      const two = await mustRun(["consume", "words", "--partition", String(partition), "--from", "1", "--max-messages", "2"]);
      expect(two.trim().split("\n")).toHaveLength(2);
      expect(await mustRun(["consume", "words", "--from", "latest", "--until-end"])).toBe("");
      expect(await mustRun(["consume", "words", "--from", "2099-01-01", "--until-end"])).toBe("");
    },
    TIMEOUT_MS,
  );

  testWeir(
    "200,000 lines come back as they went, in order",
    async () => {
      const sent = Array.from({ length: 200_000 }, (_, index) => `line ${index}\n`).join("");
      expect(JSON.parse(await mustRun(["produce", "many", "--output", "json"], sent))).toMatchObject({ records: 200_000 });
      expect((await mustRun(["consume", "many", "--from", "beginning", "--until-end"])) === sent).toBe(true);

      await mustRun(["topic", "create", "keyed", "--partitions", "4"]);
      await mustRun(
        ["produce", "keyed", "--key-separator", " "],
        sent.replaceAll(/line (\d+)/g, (_, index) => `k${index % 100} ${index}`),
      );
      const pairs = (await mustRun(["consume", "keyed", "--from", "beginning", "--until-end", "--format", "key-value"])).trim().split("\n");
      expect(pairs).toHaveLength(200_000);
      const ofOne = pairs.filter((pair) => pair.startsWith("k7\t")).map((pair) => Number(pair.slice(3)));
      expect(ofOne).toEqual(Array.from({ length: 2000 }, (_, index) => index * 100 + 7));
    },
    TIMEOUT_MS,
  );

  testWeir(
    "produce with acks 0 and 1",
    async () => {
      await mustRun(["topic", "create", "loose"]);
      await mustRun(["produce", "loose", "--acks", "0"], "zero\n");
      await mustRun(["produce", "loose", "--acks", "1"], "one\n");
      expect(await mustRun(["consume", "loose", "--from", "beginning", "--max-messages", "2"])).toBe("zero\none\n");
    },
    TIMEOUT_MS,
  );

  testIf(hasWeir && hasTool("kcat"), hasWeir ? "kcat is not installed" : weirMissing)(
    "group: lag of a group that committed, then deleted",
    async () => {
      await mustRun(["topic", "create", "read"]);
      await mustRun(["produce", "read"], "1\n2\n3\n");
      const kcat = ["kcat", "-b", weir.bootstrap, "-X", "auto.offset.reset=earliest", "-c", "2", "-G", "readers", "read"];
      expect((await runTool(kcat, { timeoutMs: TIMEOUT_MS })).exitCode).toBe(0);
      expect(await mustRun(["group", "list"])).toContain("readers");
      const group = JSON.parse(await mustRun(["group", "describe", "readers", "--output", "json"]));
      expect(group.partitions).toEqual([expect.objectContaining({ topic: "read", partition: 0, end: 3 })]);
      expect(group.partitions[0].lag).toBe(3 - group.partitions[0].committed);
      expect(await mustRun(["group", "delete", "readers"])).toBe("deleted group readers\n");
      expect((await run(["group", "describe", "readers"])).stderr).toContain("(group-id-not-found)");
    },
    TIMEOUT_MS,
  );

  testWeir(
    "group: what members of the consumer protocol own",
    async () => {
      await mustRun(["topic", "create", "owned", "--partitions", "4"]);
      using connection = await KafkaConnection.open(weir.kafkaPort);
      const memberId = "0123456789abcdefghijkl";
      const joining = { groupId: "owners", memberId, rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["owned"], topicPartitions: [] };
      const joined = await connection.request(consumerGroupHeartbeatApi, 1, newConsumerGroupHeartbeatRequest(joining));
      expect(joined.errorCode).toBe(0);
      expect(await mustRun(["group", "list"])).toMatch(/owners +Stable +consumer +consumer/);
      expect(await mustRun(["group", "describe", "owners"])).toContain("target epoch");
      expect(await mustRun(["group", "describe", "owners", "--members"])).toMatch(
        new RegExp(`${memberId}.* consumer +\\d+ +owned:0-3 +owned:0-3`),
      );
      const { members, partitions } = JSON.parse(await mustRun(["group", "describe", "owners", "--output", "json"]));
      expect(members).toEqual([expect.objectContaining({ member: memberId, epoch: joined.memberEpoch, protocol: "consumer" })]);
      expect(partitions.map((each: { member: string }) => each.member)).toEqual([memberId, memberId, memberId, memberId]);
    },
    TIMEOUT_MS,
  );

  testWeir(
    "group: what members of a classic group own; what cannot be read is named",
    async () => {
      await mustRun(["topic", "create", "given", "--partitions", "3"]);
      using connection = await KafkaConnection.open(weir.kafkaPort);
      const settle = async (groupId: string, assignment: Uint8Array): Promise<string> => {
        const protocols = [newJoinGroupRequestProtocol({ name: "range", metadata: Buffer.alloc(0) })];
        const joining = { groupId, protocolType: "consumer", sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 30_000, protocols };
        const joined = await insist(
          () => connection.request(joinGroupApi, 3, newJoinGroupRequest(joining)),
          ({ errorCode }) => errorCode,
        );
        const { memberId, generationId } = joined;
        const assignments = [newSyncGroupRequestAssignment({ memberId, assignment })];
        const syncing = newSyncGroupRequest({ groupId, memberId, generationId, assignments });
        expect((await connection.request(syncGroupApi, 3, syncing)).errorCode).toBe(0);
        return memberId;
      };
      const owned = new Writer();
      owned.writeInt16(0);
      owned.writeInt32(1);
      owned.writeString("given", "topic");
      owned.writeInt32(2);
      for (const partition of [0, 1]) owned.writeInt32(partition);
      owned.writeInt32(-1);
      const [memberId, broken] = await Promise.all([
        settle("classics", owned.toBytes()),
        settle("broken", Buffer.from([0, 0, 0, 0, 0, 9])),
      ]);
      expect(await mustRun(["group", "list"])).toMatch(/classics +Stable +classic +consumer/);
      expect(await mustRun(["group", "describe", "classics", "--members"])).toMatch(new RegExp(`${memberId}.* classic .*given:0-1`));
      const result = await run(["group", "describe", "broken"]);
      expect([result.exitCode === 0, result.stderr]).toEqual([false, expect.stringContaining(`the assignment of member ${broken}`)]);
    },
    TIMEOUT_MS,
  );

  testWeir(
    "cluster, and the broker's configuration",
    async () => {
      const cluster = JSON.parse(await mustRun(["cluster", "--output", "json"]));
      expect(cluster).toMatchObject({ controllerId: 1, brokers: [{ id: 1, host: "127.0.0.1", port: weir.kafkaPort }] });
      expect(await mustRun(["cluster"])).toContain(cluster.clusterId);
      expect(await mustRun(["config", "describe", "broker", "1"])).toContain(weir.bootstrap);
    },
    TIMEOUT_MS,
  );

  testWeir(
    "mistakes end in one line with a remedy and the right exit code",
    async () => {
      const cases: readonly (readonly [readonly string[], 1 | 2, string])[] = [
        [["topic", "describe", "nothing"], 1, "(unknown-topic-or-partition)"],
        [["topic", "create", "no/slash"], 1, "(invalid-topic-exception)"],
        [["topic", "create", "x", "--partitions", "0"], 2, "(usage)"],
        [["topic", "list", "--output", "xml"], 2, "(usage)"],
        [["topic", "lst"], 2, "(usage)"],
        [["group", "describe", "nobody"], 1, "(group-id-not-found)"],
        [["consume", "nothing"], 1, "(unknown-topic-or-partition)"],
        [["consume", "nothing", "--from", "yesterday"], 2, "(usage)"],
        [["produce", "x", "--acks", "2"], 2, "(usage)"],
        [["config", "describe", "planet", "earth"], 2, "(usage)"],
        [["config", "set", "topic", "missing", "retention.ms"], 2, "(usage)"],
        [["completion", "tcsh"], 2, "(usage)"],
      ];
      const results = await Promise.all(cases.map(([args]) => (args[0] === "completion" ? runAlone(args) : run(args))));
      results.forEach((result, index) => {
        const [args, exitCode, code] = cases[index] ?? [[], 1, ""];
        expect({ args, exitCode: result.exitCode, says: result.stderr.trim().endsWith(code) }).toEqual({ args, exitCode, says: true });
        expect(result.stderr.trim().split("\n")).toHaveLength(1);
        expect(result.stdout).toBe("");
      });
    },
    TIMEOUT_MS,
  );

  testWeir(
    "no broker there: exit code 1 and the address; the next bootstrap server is tried",
    async () => {
      const [port = 1] = getFreePorts(1);
      const gone = await runAlone(["topic", "list", "--bootstrap-server", `127.0.0.1:${port}`]);
      expect(gone.exitCode).toBe(1);
      expect(gone.stderr).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}.*\\(broker-unreachable\\)\n$`));
      const next = await runAlone(["cluster", "--bootstrap-server", `127.0.0.1:${port},${weir.bootstrap}`]);
      expect(next.exitCode).toBe(0);
    },
    TIMEOUT_MS,
  );

  testWeir(
    "--command-config: bootstrap.servers is taken, unknown keys are one warning, security is refused",
    async () => {
      const file = join(folder.path, "client.properties");
      writeFileSync(file, `bootstrap.servers=${weir.bootstrap}\nrequest.timeout.ms=5000\nlinger.ms=5\nfetch.min.bytes=1\n`);
      const taken = await runAlone(["cluster", "--command-config", file]);
      expect(taken.exitCode).toBe(0);
      expect(taken.stderr).toBe(`weir: warning: ${file}: no meaning here: fetch.min.bytes, linger.ms\n`);
      writeFileSync(file, "security.protocol=SASL_SSL\n");
      const refused = await runAlone(["cluster", "--command-config", file]);
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr).toContain("security.protocol=SASL_SSL");
    },
    TIMEOUT_MS,
  );

  testWeir(
    "doctor: a running broker is well; a missing device is a failure",
    async () => {
      const settings = [
        `listeners=PLAINTEXT://${weir.bootstrap}`,
        `wal=file:${join(folder.path, "wal")}?size=256MiB`,
        `object.store=file:${join(folder.path, "store")}`,
      ];
      const overrides = (all: readonly string[]): readonly string[] => all.flatMap((setting) => ["--override", setting]);
      const well = await runAlone(["doctor", "--output", "json", ...overrides(settings)]);
      expect(well.exitCode).toBe(0);
      const rows: { check: string; verdict: string }[] = JSON.parse(well.stdout);
      expect(rows.every(({ verdict }) => verdict === "ok")).toBe(true);
      expect(rows.map(({ check }) => check)).toContain("conditional writes");
      expect(rows.map(({ check }) => check)).toContain("advertised PLAINTEXT");
      const ill = await runAlone(["doctor", ...overrides([...settings, `wal=block:${join(folder.path, "no-device")}`])]);
      expect(ill.exitCode).toBe(1);
      expect(ill.stdout).toMatch(/device +failed .*does not exist/);
    },
    TIMEOUT_MS,
  );

  testWeir(
    "completion for bash offers verbs and options",
    async () => {
      const { stdout: script } = await runAlone(["completion", "bash"]);
      const ask = async (words: string, index: number): Promise<string> => {
        const line = `${script}\nCOMP_WORDS=(${words}); COMP_CWORD=${index}; _weir; echo "\${COMPREPLY[@]}"`;
        return (await runTool(["bash", "-c", line])).stdout.trim();
      };
      expect(await ask('weir topic ""', 2)).toBe("list create describe delete add-partitions");
      expect(await ask("weir topic create --pa", 3)).toBe("--partitions");
      expect(await ask("weir comp", 1)).toBe("completion");
    },
    TIMEOUT_MS,
  );
});
