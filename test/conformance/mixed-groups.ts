/**
 * Groups with members of both protocols, beside Apache Kafka 4.4: scripts of raw requests, each to a group of its own, sent to both servers. Whatever one is told and the other is not
 * is a finding.
 *
 *     bun test/conformance/mixed-groups.ts [--policy bidirectional] [--assignors uniform,range] [--seeds 0] [--first 1] [--only PATTERN] [--show]
 *         [--kafka PORT --weir PORT]
 *
 * A group that is too large to become a consumer group stays classic on both, where Kafka's tells those who wait for a generation to join again. With `--policy disabled` and `downgrade` nothing differs, and it takes two minutes: members wait for others who never come. With `upgrade` members that are left alone with others
 * of the classic protocol differ: see `hasToJoinAgain` in `src/group/consumer/classic-members.ts`. With `range` first, targets are by ids that each server makes.
 */
import { conversionScripts } from "./mixed-groups/conversions.ts";
import { memberScripts } from "./mixed-groups/members.ts";
import { moreTimeoutScripts } from "./mixed-groups/more-timeouts.ts";
import { randomScript } from "./mixed-groups/random.ts";
import type { Script } from "./mixed-groups/script.ts";
import { startPair } from "./mixed-groups/servers.ts";
import { makeTopics, Side, type TopicIds } from "./mixed-groups/side.ts";
import { timeoutScripts } from "./mixed-groups/timeouts.ts";

export const scripts: readonly Script[] = [...timeoutScripts, ...moreTimeoutScripts, ...memberScripts, ...conversionScripts];

export interface Finding {
  readonly script: string;
  readonly lines: readonly string[];
}

async function record(script: Script, port: number, groupId: string, topics: TopicIds): Promise<readonly string[]> {
  const side = new Side(port, groupId, topics);
  try {
    await script.run(side);
  } catch (error) {
    side.say("the script ended", error instanceof Error ? error.message : String(error));
  } finally {
    side.end();
  }
  return side.lines;
}

export interface Ports {
  readonly weir: number;
  readonly kafka: number;
}

/** Runs them all at once: most of them wait for a time-out. */
export async function compare(ports: Ports, chosen: readonly Script[], show = false): Promise<readonly Finding[]> {
  const suffix = `-${process.pid}-${Math.floor(performance.now())}`;
  const [weirTopics, kafkaTopics] = await Promise.all([makeTopics(ports.weir, suffix), makeTopics(ports.kafka, suffix)]);
  const findings: Finding[] = [];
  const runOne = async (script: Script, index: number): Promise<void> => {
    const started = performance.now();
    const groupId = `mixed-${index}${suffix}`;
    const [weir, kafka] = await Promise.all([
      record(script, ports.weir, groupId, weirTopics),
      record(script, ports.kafka, groupId, kafkaTopics),
    ]);
    if (show) console.log([`== ${script.name} ${Math.round(performance.now() - started)} ms`, ...kafka].join("\n"));
    const lines = differences(weir, kafka);
    if (lines.length > 0) findings.push({ script: script.name, lines });
  };
  const waiting = [...chosen.entries()];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await runOne(next[1], next[0]);
  };
  await Promise.all(Array.from({ length: 12 }, work));
  return findings;
}

function differences(weir: readonly string[], kafka: readonly string[]): string[] {
  const lines: string[] = [];
  for (let index = 0; index < Math.max(weir.length, kafka.length); index++) {
    if (weir[index] === kafka[index]) continue;
    lines.push(`${index} weir  ${weir[index]}`, `${index} kafka ${kafka[index]}`);
  }
  return lines;
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
}

if (import.meta.main) {
  const first = Number(option("first") ?? 1);
  const seeded = Array.from({ length: Number(option("seeds") ?? 0) }, (_, index) => randomScript(first + index));
  const chosen = [...scripts, ...seeded].filter(({ name }) => new RegExp(option("only") ?? "").test(name));
  const running = { weir: Number(option("weir")), kafka: Number(option("kafka")), stop: async () => {} };
  const settings = { policy: option("policy") ?? "bidirectional", assignors: option("assignors") ?? "uniform,range" };
  const pair = running.kafka > 0 ? running : await startPair(settings);
  const findings = await compare(pair, chosen, process.argv.includes("--show"));
  for (const { script, lines } of findings) console.log([`\n## ${script}`, ...lines].join("\n"));
  console.log(`${chosen.length} scripts, ${findings.length} with differences`);
  await pair.stop();
  process.exit(findings.length === 0 ? 0 : 1);
}
