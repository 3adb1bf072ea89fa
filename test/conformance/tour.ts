/**
 * The README's five minutes as a new user would type them: every line of its `sh` blocks in one shell, every promised line of its `text` blocks looked
 * for in what the block before it printed ("..." stands for anything), and at the end its last promise: killed with -9 and started again, everything is
 * there. Ports and addresses are the README's own, so the tour has a network (and a process tree) of its own.
 *
 *   bun test/conformance/tour.ts            with dist/weir in a folder of its own, `npm start` replaced by `dist/weir start`
 *   bun test/conformance/tour.ts --fresh    with a clone of the last commit, in which npm builds and starts everything; takes minutes
 */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { TemporaryFolder } from "../support/temporary.ts";
import { hasTool, isRoot, mustRunTool, repositoryRoot } from "../support/tools.ts";
import { weirExecutable } from "../support/weir-process.ts";

const BEGIN = "## Five minutes\n";
const END = "\n### ";
const START_LINE = /^npm start\b/;
const START_TIMEOUT_MS = 900_000;
const LINE_TIMEOUT_MS = 120_000;

/** Why the tour cannot be taken here; undefined when it can. */
export const whyNoTour =
  isRoot && hasTool("unshare") && hasTool("ip") && hasTool("curl")
    ? undefined
    : "needs root, unshare, ip and curl: its ports are the README's, in a network of its own";

const kafkaPeer = process.env.KAFKA_PEER_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "kafka-peer");

/** Lines that need what this machine lacks. */
function whySkipped(line: string): string | undefined {
  if (/\bkcat\b/.test(line) && !hasTool("kcat")) return "no kcat";
  if (/kafka-tool\.sh/.test(line) && !existsSync(join(kafkaPeer, ".ready"))) return "Kafka's tools are not set up";
  return undefined;
}

export interface TourBlock {
  readonly lines: readonly string[];
  readonly promised: readonly string[];
}

/** Throws when the README has no tour. */
export function readTour(readme: string): readonly TourBlock[] {
  const begin = readme.indexOf(BEGIN);
  const end = readme.indexOf(END, begin);
  if (begin < 0 || end < 0) throw new Error("the README has no five minutes");
  const blocks: { lines: string[]; promised: string[] }[] = [];
  for (const [, kind, text = ""] of readme.slice(begin, end).matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)) {
    if (kind === "sh") {
      const lines = text.replace(/\\\n\s*/g, "").split("\n");
      blocks.push({ lines: lines.map((line) => line.replace(/\s+#.*$/, "").trim()).filter((line) => line !== ""), promised: [] });
    } else if (kind === "text") blocks.at(-1)?.promised.push(...text.split("\n").filter((line) => line.trim() !== ""));
    else throw new Error(`a block of the tour is neither sh nor text: ${text.slice(0, 60)}`);
  }
  if (blocks.length === 0) throw new Error("the README's five minutes have no line to type");
  return blocks;
}

/** The promised lines that `output` lacks; they must come in order. Blanks count as one, "..." as anything. */
export function findBroken(promised: readonly string[], output: string): readonly string[] {
  const normal = (line: string): string => line.trim().replace(/\s+/g, " ");
  const left = output.split("\n").map(normal);
  return promised.filter((line) => {
    const parts = normal(line).split("...");
    const pattern = new RegExp(`^${parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")}$`);
    const at = left.findIndex((candidate) => pattern.test(candidate));
    if (at >= 0) left.splice(0, at + 1);
    return at < 0;
  });
}

/** One bash in network and process namespaces of its own; lines are typed into it. */
class TourShell {
  private readonly child: ChildProcess;
  private output = "";
  private wake = (): void => {};

  constructor(folder: string) {
    const inside = "ip link set lo up && exec bash";
    this.child = spawn("unshare", ["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", inside], {
      cwd: folder,
      stdio: ["pipe", "pipe", "pipe"],
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:WEIR|KAFKA)_(?!PEER)/.test(name))),
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
        this.wake();
      });
    }
    this.child.on("close", () => this.wake());
    this.child.stdin?.write("set -o pipefail\n");
  }

  /** What the line wrote, and how it ended; -1 when it did not end in time. */
  async type(line: string, timeoutMs = LINE_TIMEOUT_MS): Promise<{ readonly exitCode: number; readonly output: string }> {
    this.output = "";
    this.child.stdin?.write(`{ ${line}\n} 2>&1 </dev/null; printf '\\001%d\\n' "$?"\n`);
    const startedMs = performance.now();
    for (;;) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: what no command of the tour prints
      const ended = /\u0001(\d+)\n/.exec(this.output);
      if (ended !== null) return { exitCode: Number(ended[1]), output: this.output.slice(0, ended.index) };
      if (performance.now() - startedMs > timeoutMs || this.child.exitCode !== null) return { exitCode: -1, output: this.output };
      const woken = Promise.withResolvers<void>();
      this.wake = woken.resolve;
      await Promise.race([woken.promise, Bun.sleep(1000)]);
    }
  }

  async start(line: string): Promise<{ readonly exitCode: number; readonly output: string }> {
    await this.type(`${line} >>broker.log 2>&1 &`);
    const tries = Math.ceil(START_TIMEOUT_MS / 100);
    const wait = `for i in $(seq ${tries}); do curl -sf 127.0.0.1:8080/readyz >/dev/null && break; kill -0 $! 2>/dev/null || break; sleep 0.1; done`;
    return this.type(`${wait}; curl -sS 127.0.0.1:8080/readyz || { tail -20 broker.log; false; }`, START_TIMEOUT_MS + 10_000);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.child.once("close", resolve));
    this.child.kill("SIGKILL");
    await closed;
  }
}

export interface TourOptions {
  readonly readme: string;
  /** Where the user stands: the root of a checkout. */
  readonly folder: string;
  /** What is typed for the line that starts the broker; default what the README says. */
  readonly startLine?: string;
  readonly log?: (line: string) => void;
}

export interface TourResult {
  readonly findings: readonly string[];
  readonly typed: number;
  readonly skipped: readonly string[];
}

export async function takeTour({ readme, folder, startLine, log = () => {} }: TourOptions): Promise<TourResult> {
  const findings: string[] = [];
  const skipped: string[] = [];
  let typed = 0;
  const blocks = readTour(readme);
  const shell = new TourShell(folder);
  let started: string | undefined;
  try {
    for (const { lines, promised } of blocks) {
      let printed = "";
      let isWhole = true;
      for (const line of lines) {
        const reason = whySkipped(line);
        if (reason !== undefined) {
          skipped.push(`${line} (${reason})`);
          isWhole = false;
          continue;
        }
        const isStart = START_LINE.test(line);
        if (isStart) started = startLine ?? line;
        const { exitCode, output } = isStart ? await shell.start(started ?? line) : await shell.type(line);
        typed++;
        printed += `${output}\n`;
        log(`$ ${line}\n${output.slice(0, 2000).trimEnd()}`);
        if (exitCode !== 0) findings.push(`"${line}" ended with ${exitCode}: ${output.slice(-1000)}`);
        if (exitCode === -1) return { findings, typed, skipped };
      }
      if (isWhole)
        for (const line of findBroken(promised, printed))
          findings.push(`promised, and not printed: "${line}" in:\n${printed.slice(0, 1000)}`);
    }
    if (started === undefined) return { findings: [...findings, "no line of the tour starts the broker"], typed, skipped };
    // "Stop it with kill -9, start it again: everything acknowledged is there."
    const consume = "weir consume greetings --from beginning --until-end";
    const before = await shell.type(consume);
    await shell.type("pkill -9 -x weir; wait; rm -f broker.log");
    await shell.start(started);
    const after = await shell.type(consume);
    if (after.exitCode !== 0 || after.output !== before.output || !after.output.startsWith("one\ntwo\nthree\n"))
      findings.push(`after kill -9 and a new start: "${after.output}" where "${before.output}" was before`);
    return { findings, typed, skipped };
  } finally {
    await shell.close();
  }
}

/** A folder that looks like a built checkout as far as the tour goes. */
export function makeBuiltTree(folder: string): void {
  mkdirSync(join(folder, "dist"));
  mkdirSync(join(folder, "test", "support"), { recursive: true });
  copyFileSync(weirExecutable, join(folder, "dist", "weir"));
  symlinkSync(join(repositoryRoot, "test", "support", "kafka-peer"), join(folder, "test", "support", "kafka-peer"));
}

export const readReadme = (folder = repositoryRoot): string => readFileSync(join(folder, "README.md"), "utf8");

if (import.meta.main) {
  if (whyNoTour !== undefined) throw new Error(whyNoTour);
  using temporary = new TemporaryFolder("tour");
  const isFresh = process.argv.includes("--fresh");
  const folder = join(temporary.path, "weir");
  const log = (line: string): void => console.log(line);
  if (isFresh) {
    await mustRunTool(["git", "clone", "--quiet", "--depth", "1", `file://${repositoryRoot}`, folder]);
    // With the world's network: the tour's own has none.
    await mustRunTool(["npm", "run", "build"], { cwd: folder, timeoutMs: START_TIMEOUT_MS });
  } else {
    mkdirSync(folder);
    makeBuiltTree(folder);
  }
  const { findings, typed, skipped } = await takeTour({
    readme: readReadme(isFresh ? folder : repositoryRoot),
    folder,
    ...(isFresh ? {} : { startLine: "dist/weir start" }),
    log,
  });
  for (const finding of findings) console.log(finding);
  for (const line of skipped) console.log(`skipped: ${line}`);
  console.log(`the tour: ${typed} lines typed, ${skipped.length} skipped, ${findings.length} findings`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}
