/**
 * The load program (`load/`, Java, with Kafka's own client library): built once, started once, and told by line what to do, so that every server meets
 * the same, equally warm client. Needs a JDK and what test/support/kafka-peer/setup.sh fetches.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { kafkaPeerHome } from "../conformance/clients.ts";
import { mustRunTool, repositoryRoot } from "../support/tools.ts";
import { OWN_SESSION } from "./servers.ts";

const sources = join(import.meta.dir, "load");
const classes = join(repositoryRoot, "build", "bench", "classes");
const jars = join(kafkaPeerHome, "tools-lib", "*");

export type Fields = Readonly<Record<string, string | number | boolean>>;
export type Answer = Readonly<Record<string, unknown>>;

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** Compiles unless the class is newer than every source. */
async function build(): Promise<void> {
  mkdirSync(classes, { recursive: true });
  const files = readdirSync(sources)
    .filter((name) => name.endsWith(".java"))
    .map((name) => join(sources, name));
  const built = statSync(join(classes, "LoadProgram.class"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (files.some((file) => statSync(file).mtimeMs >= built)) await mustRunTool(["javac", "-nowarn", "-d", classes, "-cp", jars, ...files]);
}

export class LoadProgram {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #errors: string[] = [];
  #lastId = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    createInterface({ input: child.stdout! }).on("line", (line) => this.#take(line));
    createInterface({ input: child.stderr! }).on("line", (line) => {
      this.#errors.push(line);
      if (this.#errors.length > 200) this.#errors.shift();
    });
    child.on("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the load program ended:\n${this.#errors.slice(-20).join("\n")}`));
      this.#waiting.clear();
    });
  }

  static async start(): Promise<LoadProgram> {
    await build();
    const log = `-Dlog4j2.configurationFile=${join(kafkaPeerHome, "log4j2-tools.yaml")}`;
    const args = ["-Xms512m", "-Xmx1g", "-XX:+UseG1GC", log, "-cp", `${classes}:${jars}`, "LoadProgram"];
    const [program, ...rest] = [...OWN_SESSION, "java", ...args];
    return new LoadProgram(spawn(program, rest, { stdio: ["pipe", "pipe", "pipe"] }));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  #take(line: string): void {
    const answer = JSON.parse(line) as { readonly id: number; readonly error?: string };
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.error === undefined) waiting?.resolve(answer);
    else waiting?.reject(new Error(answer.error));
  }

  /** Values hold no blank. Rejects with what the program says went wrong. */
  command(verb: string, fields: Fields = {}): Promise<Answer> {
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#waiting.set(id, { resolve, reject });
    const words = Object.entries(fields).map(([key, value]) => `${key}=${String(value)}`);
    this.#child.stdin?.write(`${[id, verb, ...words].join(" ")}\n`);
    return promise;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin?.end();
    await ended;
  }
}

/** A number in an answer, also in a nested object: numberIn(answer, "ackMs", "p99"). Throws where there is none. */
export function numberIn(answer: Answer, ...path: readonly string[]): number {
  let value: unknown = answer;
  for (const key of path) value = (value as Record<string, unknown> | undefined)?.[key];
  if (typeof value !== "number") throw new Error(`no number at ${path.join(".")} in ${JSON.stringify(answer)}`);
  return value;
}
