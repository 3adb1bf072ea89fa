import { describe, expect, test } from "bun:test";
import { parseBootstrap, readClientSettings } from "../../../src/cli/client-settings.ts";
import { parseFrom } from "../../../src/cli/consume-command.ts";
import { judgeLifecycle } from "../../../src/cli/doctor-lifecycle.ts";
import { showPartitions } from "../../../src/cli/group-view.ts";
import { renderJson, renderTable } from "../../../src/cli/output.ts";
import { readLines } from "../../../src/cli/produce-command.ts";
import { murmur2, partitionOfKey } from "../../../src/client/partitioner.ts";
import { splitBySize } from "../../../src/client/producer.ts";

describe("bootstrap servers", () => {
  test("hosts, ports, IPv6", () => {
    expect(parseBootstrap("a:1,b,[::1]:9093")).toEqual([
      { host: "a", port: 1 },
      { host: "b", port: 9092 },
      { host: "::1", port: 9093 },
    ]);
  });

  test.each(["", "a:0", "a:70000", "::1:9092", "http://a:1", "a:1,,b:2"])("%p is refused", (text) => {
    expect(() => parseBootstrap(text)).toThrow("is no address");
  });

  test("the command line wins over the file", () => {
    const file = { path: "c.properties", text: "bootstrap.servers=file:1\nretries=0\nlinger.ms=3" };
    const { bootstrap, retries, warning } = readClientSettings({ bootstrapServer: "line:2", file });
    expect({ bootstrap, retries, warning }).toEqual({
      bootstrap: [{ host: "line", port: 2 }],
      retries: 0,
      warning: "c.properties: no meaning here: linger.ms",
    });
  });
});

test("murmur2 is Kafka's (values of its own UtilsTest)", () => {
  const cases = { "21": -973932308, foobar: -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829 };
  for (const [text, hash] of Object.entries(cases)) expect(murmur2(Buffer.from(text))).toBe(hash);
  expect(partitionOfKey(Buffer.from("21"), 7)).toBe((-973932308 & 0x7fffffff) % 7);
});

test("places to consume from", () => {
  expect(parseFrom("beginning")).toEqual({ kind: "place", timestamp: -2n });
  expect(parseFrom("17")).toEqual({ kind: "offset", offset: 17n });
  expect(parseFrom("@17")).toEqual({ kind: "place", timestamp: 17n });
  expect(parseFrom("1970-01-01T00:00:01Z")).toEqual({ kind: "place", timestamp: 1000n });
  expect(() => parseFrom("-1")).toThrow("is no place");
});

test("lines are found across reads, whatever ends them", async () => {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (const text of ["a\r\nb", "b\n", "\n", "last"]) yield Buffer.from(text);
  }
  const lines: string[] = [];
  for await (const some of readLines(chunks())) lines.push(...some.map((line) => Buffer.from(line).toString()));
  expect(lines).toEqual(["a", "bb", "", "last"]);
});

test("a batch is bounded, a large record goes alone", () => {
  const record = (bytes: number) => ({ timestamp: 0n, key: null, value: new Uint8Array(bytes) });
  const sizes = [...splitBySize([record(10), record(600 * 1024), record(10), record(20)])].map((group) => group.length);
  expect(sizes).toEqual([1, 1, 2]);
});

describe("lifecycle rules", () => {
  const rule = { id: "old", prefix: "", isEnabled: true, harms: true };
  test("one of the whole bucket, above or below our prefix is a failure", () => {
    for (const prefix of ["", "we", "weir/", "weir/x/"]) expect(judgeLifecycle([{ ...rule, prefix }], "weir").verdict).toBe("failed");
  });
  test("another prefix, a disabled rule, a harmless one are fine", () => {
    const rules = [
      { ...rule, prefix: "weird" },
      { ...rule, isEnabled: false },
      { ...rule, harms: false },
    ];
    expect(judgeLifecycle(rules, "weir").verdict).toBe("ok");
  });
});

test("tables align, JSON keeps offsets exact", () => {
  expect(
    renderTable(
      ["a", "n"],
      [
        ["x", 1],
        ["long", 22n],
      ],
    ),
  ).toBe("A      N\nx      1\nlong  22\n");
  expect(renderJson({ small: 5n, large: 2n ** 60n })).toBe('{"small":5,"large":"1152921504606846976"}\n');
});

test("a member's partitions are short to read", () => {
  const of = (topic: string, ...numbers: number[]) => numbers.map((partition) => ({ topic, partition }));
  expect(showPartitions([...of("b", 7, 0, 2, 1), ...of("a", 5)])).toBe("a:5 b:0-2,7");
  expect(showPartitions([])).toBe("");
});
