/**
 * The real clients as members of a group: one program each under `groups-members/`, all with the same arguments and lines (see GroupMember.java). One process
 * may be many members.
 */
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
  /** The process's name, and the member's number behind a "/" where the process is many. */
  readonly member: string;
  /** Which of the process's members. */
  readonly number: number;
  readonly partition: number;
  readonly offset: number;
}

export interface MemberKind {
  readonly name: string;
  readonly client: string;
  readonly protocol: "classic" | "consumer";
  readonly missing: string | undefined;
  /** Prints when a commit is acknowledged. */
  readonly tellsCommits: boolean;
  readonly supportsStatic: boolean;
  prepare(): Promise<void>;
  /** `members`: how many the process will be. */
  command(args: readonly string[], members: number): readonly string[];
}

type UnnamedKind = Omit<MemberKind, "name">;

const programs = join(import.meta.dir, "groups-members");
const buildFolder = join(repositoryRoot, "build", "conformance");
const javaClasses = join(buildFolder, "group-java");
const goMembers = join(buildFolder, "group-members");
const python = join(repositoryRoot, "build", "venv", "bin", "python");
const noPreparation = async (): Promise<void> => {};

/** The broker's jars hold the newest kafka-clients; those of the tools may be a release behind. */
const javaJars = join(kafkaPeerHome, "broker-lib", "*");

const javaCommand = (members: number): readonly string[] => [
  "java",
  `-Xmx${125 + 3 * members}m`,
  "-Xss256k",
  "-XX:TieredStopAtLevel=1",
  "-XX:+UseSerialGC",
  `-Dlog4j2.configurationFile=${join(kafkaPeerHome, "log4j2-tools.yaml")}`,
  "-cp",
  `${javaClasses}:${javaJars}`,
  "GroupMember",
];

async function buildJava(): Promise<void> {
  mkdirSync(javaClasses, { recursive: true });
  const source = join(programs, "java", "GroupMember.java");
  await mustRunTool(["javac", "-d", javaClasses, "-cp", javaJars, source]);
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

const cooperative = "assignor=org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
const pythonScript = join(programs, "python", "group_member.py");

const always = { protocol: "classic", prepare: noPreparation, tellsCommits: true, supportsStatic: true } as const;

const java = {
  ...always,
  client: "java",
  missing: noJava,
  prepare: buildJava,
  command: (args: readonly string[], members: number) => [...javaCommand(members), ...args],
};
const franz = {
  ...always,
  client: "franz-go",
  missing: noGo,
  prepare: buildGo,
  command: (args: readonly string[]) => [goMembers, "franz-go", ...args],
};
const librdkafka = {
  ...always,
  client: "librdkafka",
  missing: pythonMissing("confluent_kafka"),
  command: (args: readonly string[]) => [python, pythonScript, "confluent", ...args],
};

/** The same, which adds an option to its arguments. */
function withOption(kind: UnnamedKind, option: string): UnnamedKind {
  return { ...kind, command: (args, members) => kind.command(args.length === 1 ? args : [...args, option], members) };
}

/** Members by the classic protocol. */
export const memberKinds: readonly MemberKind[] = [
  { ...java, name: "java" },
  { ...withOption(java, cooperative), name: "java cooperative" },
  {
    ...always,
    name: "kafkajs",
    client: "kafkajs",
    missing: undefined,
    supportsStatic: false,
    command: (args) => [process.execPath, join(programs, "kafkajs.ts"), ...args],
  },
  { ...franz, name: "franz-go" },
  {
    ...franz,
    name: "sarama",
    client: "sarama",
    tellsCommits: false,
    command: (args) => [goMembers, "sarama", ...args],
  },
  { ...librdkafka, name: "confluent-kafka" },
  { ...withOption(librdkafka, "assignor=cooperative-sticky"), name: "confluent-kafka cooperative" },
  {
    ...always,
    name: "kafka-python",
    client: "kafka-python",
    missing: pythonMissing("kafka"),
    command: (args) => [python, pythonScript, "kafka-python", ...args],
  },
];

function byConsumerProtocol(kind: UnnamedKind): UnnamedKind {
  return { ...withOption(kind, "protocol=consumer"), protocol: "consumer" };
}

/** Members by the consumer protocol (KIP-848). */
export const consumerKinds: readonly MemberKind[] = [
  { ...byConsumerProtocol(java), name: "java consumer" },
  { ...byConsumerProtocol(librdkafka), name: "confluent-kafka consumer" },
  { ...byConsumerProtocol(franz), name: "franz-go consumer" },
];

/** Whose default assignor no other client has: what it can share a group with others by. */
export const franzWithRange: MemberKind = { ...withOption(franz, "assignor=range"), name: "franz-go range" };

/** Of the library, as it tells itself. */
export async function readVersion(kind: MemberKind): Promise<string> {
  await kind.prepare();
  return (await mustRunTool(kind.command(["version"], 1))).trim();
}

/** One process with members; what they print goes to `sink` line by line. */
export class MemberProcess {
  readonly name: string;
  /** Of its members, as their events name them. */
  readonly members: readonly string[];
  readonly child: ChildProcess;
  readonly exited: Promise<number>;
  stderr = "";
  #rest = "";

  constructor(
    kind: MemberKind,
    name: string,
    args: readonly string[],
    sink: (event: MemberEvent) => void,
    many: { readonly members: number; readonly first: number } = { members: 1, first: 0 },
  ) {
    this.name = name;
    this.members = many.members === 1 ? [name] : Array.from({ length: many.members }, (_, index) => `${name}/${many.first + index}`);
    const options = many.members === 1 ? [] : [`members=${many.members}`, `first=${many.first}`];
    const [program = "", ...rest] = kind.command([...args, ...options], many.members);
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
      const [kind, atUs, partition, offset, number = "0"] = line.split(" ");
      if (kind !== "R" && kind !== "C") continue;
      const member = this.members.length === 1 ? this.name : `${this.name}/${number}`;
      sink({ kind, atUs: Number(atUs), member, number: Number(number), partition: Number(partition), offset: Number(offset) });
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
