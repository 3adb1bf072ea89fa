/** The real clients as members of a group: one program each under `groups-members/`, all with the same arguments and lines (see GroupMember.java). */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { hasTool, mustRunTool, repositoryRoot, tryRunToolSync } from "../support/tools.ts";
import { hasKafkaTools, kafkaPeerHome, noKafkaTools } from "./clients.ts";

/** A record that a member processed, or an offset whose commit it saw acknowledged. */
export interface MemberEvent {
  readonly kind: "R" | "C";
  /** Wall clock of this machine, microseconds. */
  readonly atUs: number;
  readonly member: string;
  readonly partition: number;
  readonly offset: number;
}

export interface MemberKind {
  readonly name: string;
  readonly missing: string | undefined;
  /** Prints when a commit is acknowledged. */
  readonly tellsCommits: boolean;
  readonly supportsStatic: boolean;
  prepare(): Promise<void>;
  command(args: readonly string[]): readonly string[];
}

const programs = join(import.meta.dir, "groups-members");
const buildFolder = join(repositoryRoot, "build", "conformance");
const javaClasses = join(buildFolder, "group-java");
const goMembers = join(buildFolder, "group-members");
const python = join(repositoryRoot, "build", "venv", "bin", "python");
const noPreparation = async (): Promise<void> => {};

const javaCommand = [
  "java",
  "-Xmx128m",
  "-XX:TieredStopAtLevel=1",
  `-Dlog4j2.configurationFile=${join(kafkaPeerHome, "log4j2-tools.yaml")}`,
  "-cp",
  `${javaClasses}:${join(kafkaPeerHome, "tools-lib", "*")}`,
  "GroupMember",
];

async function buildJava(): Promise<void> {
  mkdirSync(javaClasses, { recursive: true });
  const source = join(programs, "java", "GroupMember.java");
  await mustRunTool(["javac", "-d", javaClasses, "-cp", join(kafkaPeerHome, "tools-lib", "*"), source]);
}

async function buildGo(): Promise<void> {
  mkdirSync(buildFolder, { recursive: true });
  await mustRunTool(["go", "build", "-p", "2", "-o", goMembers, "."], { cwd: join(programs, "go"), timeoutMs: 600_000 });
}

const noJava = hasKafkaTools ? undefined : noKafkaTools;
const noGo = hasTool("go") ? undefined : "needs Go";

function pythonMissing(module: string): string | undefined {
  const isThere = existsSync(python) && tryRunToolSync([python, "-c", `import ${module}`]) !== undefined;
  return isThere ? undefined : `needs build/venv with ${module} (see .ci/run)`;
}

const cooperative = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
const pythonScript = join(programs, "python", "group_member.py");

const always = { prepare: noPreparation, tellsCommits: true, supportsStatic: true };

export const memberKinds: readonly MemberKind[] = [
  { ...always, name: "java", missing: noJava, prepare: buildJava, command: (args) => [...javaCommand, ...args] },
  {
    ...always,
    name: "java cooperative",
    missing: noJava,
    prepare: buildJava,
    command: (args) => [...javaCommand, ...args, cooperative],
  },
  {
    ...always,
    name: "kafkajs",
    missing: undefined,
    supportsStatic: false,
    command: (args) => [process.execPath, join(programs, "kafkajs.ts"), ...args],
  },
  { ...always, name: "franz-go", missing: noGo, prepare: buildGo, command: (args) => [goMembers, "franz-go", ...args] },
  { ...always, name: "sarama", missing: noGo, prepare: buildGo, tellsCommits: false, command: (args) => [goMembers, "sarama", ...args] },
  {
    ...always,
    name: "confluent-kafka",
    missing: pythonMissing("confluent_kafka"),
    command: (args) => [python, pythonScript, "confluent", ...args],
  },
  {
    ...always,
    name: "confluent-kafka cooperative",
    missing: pythonMissing("confluent_kafka"),
    command: (args) => [python, pythonScript, "confluent", ...args, "cooperative-sticky"],
  },
  {
    ...always,
    name: "kafka-python",
    missing: pythonMissing("kafka"),
    command: (args) => [python, pythonScript, "kafka-python", ...args],
  },
];

/** One member process; what it prints goes to `sink` line by line. */
export class MemberProcess {
  readonly name: string;
  readonly child: ChildProcess;
  readonly exited: Promise<number>;
  stderr = "";
  #rest = "";

  constructor(kind: MemberKind, name: string, args: readonly string[], sink: (event: MemberEvent) => void) {
    this.name = name;
    const [program = "", ...rest] = kind.command(args);
    this.child = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"], cwd: repositoryRoot });
    this.child.stdout?.on("data", (chunk: Buffer) => this.#take(chunk.toString(), sink));
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString()).slice(-4000);
    });
    this.exited = new Promise((resolve) => this.child.on("close", (code) => resolve(code ?? -1)));
  }

  #take(text: string, sink: (event: MemberEvent) => void): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const [kind, atUs, partition, offset] = line.split(" ");
      if (kind !== "R" && kind !== "C") continue;
      sink({ kind, atUs: Number(atUs), member: this.name, partition: Number(partition), offset: Number(offset) });
    }
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  async leave(timeoutMs = 20_000): Promise<void> {
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), timeoutMs);
    await this.exited;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exited;
  }
}
