/** Real S3 servers and the fault proxy, started for a test and stopped with it. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { getFreePorts } from "./ports.ts";
import { TemporaryFolder } from "./temporary.ts";

export const S3_SERVERS = ["minio", "versitygw"] as const;
export type S3ServerKind = (typeof S3_SERVERS)[number];

const SCRIPTS = join(import.meta.dir, "s3");

export interface S3Server extends AsyncDisposable {
  readonly kind: S3ServerKind;
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export interface FaultProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** Replaces the fault configuration; see s3/README.md. */
  configure(config: Readonly<Record<string, unknown>>): Promise<void>;
  post(path: string): Promise<void>;
  stats(): Promise<Readonly<Record<string, unknown>>>;
  /** The newest requests (at most 200) in order of arrival. */
  requests(): Promise<readonly { readonly method: string; readonly url: string; readonly at: string }[]>;
}

/** Why the server cannot run here; undefined when it can (the first use may build it, which takes minutes). */
export function whyNoS3Server(kind: S3ServerKind): string | undefined {
  const cache = process.env.S3_SERVER_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "s3-servers");
  if (Bun.which("bash") === null || Bun.which("curl") === null || Bun.which("openssl") === null) return "bash, curl and openssl are needed";
  const isBuilt = existsSync(cache) && new Bun.Glob(`${kind}-v*`).scanSync({ cwd: cache }).next().done === false;
  return isBuilt || Bun.which("go") !== null ? undefined : `no ${kind} in ${cache} and no go to build it`;
}

export async function startS3Server(kind: S3ServerKind): Promise<S3Server> {
  const folder = new TemporaryFolder(`s3-${kind}`);
  const started = Bun.spawn([join(SCRIPTS, "start-s3.sh"), "--dir", folder.path, "--server", kind], { stdout: "pipe", stderr: "inherit" });
  const output = await new Response(started.stdout).text();
  if ((await started.exited) !== 0) throw new Error(`${kind} did not start`);
  const values = new Map([...output.matchAll(/^(\w+)=(.*)$/gm)].map((match) => [match[1]!, match[2]!]));
  const get = (name: string): string => values.get(name) ?? "";
  return {
    kind,
    endpoint: get("S3_ENDPOINT"),
    bucket: get("S3_BUCKET"),
    region: get("S3_REGION"),
    credentials: { accessKeyId: get("S3_ACCESS_KEY"), secretAccessKey: get("S3_SECRET_KEY") },
    async [Symbol.asyncDispose]() {
      await Bun.spawn([join(SCRIPTS, "stop-s3.sh"), "--dir", folder.path, "--kill9", "--purge"], { stdout: "ignore", stderr: "inherit" })
        .exited;
      folder[Symbol.dispose]();
    },
  };
}

export async function startFaultProxy(upstream: string, seed: number, config: Readonly<Record<string, unknown>> = {}): Promise<FaultProxy> {
  const [port, adminPort] = getFreePorts(2) as [number, number];
  const args = [
    "--upstream",
    upstream,
    "--port",
    `${port}`,
    "--admin-port",
    `${adminPort}`,
    "--seed",
    `${seed}`,
    "--config",
    JSON.stringify(config),
  ];
  const proxy = Bun.spawn([process.execPath, join(SCRIPTS, "fault-proxy.mjs"), ...args], { stdout: "pipe", stderr: "inherit" });
  const reader = proxy.stdout.getReader();
  // It prints one line when it is ready.
  await reader.read();
  reader.releaseLock();
  const admin = `http://127.0.0.1:${adminPort}`;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    async configure(next) {
      await fetch(`${admin}/config`, { method: "PUT", body: JSON.stringify(next) });
    },
    async post(path) {
      await fetch(admin + path, { method: "POST" });
    },
    async stats() {
      return (await (await fetch(`${admin}/stats`)).json()) as Record<string, unknown>;
    },
    async requests() {
      return (await (await fetch(`${admin}/log`)).json()) as { method: string; url: string; at: string }[];
    },
    async [Symbol.asyncDispose]() {
      proxy.kill();
      await proxy.exited;
    },
  };
}
