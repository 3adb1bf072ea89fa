/**
 * The bucket in trouble while clients work: what an object store and the network to it really do, through the fault proxy in front of a real S3 server.
 * The broker must never exit, go on acknowledging while its WAL has room, hold producers back when it has none, say which of these it is doing, and
 * recover by itself; nothing acknowledged may be lost or appear twice; memory stays flat.
 *
 *   bun test/chaos/store-trouble.ts [--scenario NAME] [--seconds N] [--store minio|versitygw] [--wal file|loop] [--seed N]
 *
 * NAME: errors, outage (a large WAL: acknowledgements go on), outage-full (a small one: it fills), recovery, credentials, throttle; default all. N is
 * the length of the trouble; default 60, 300 for recovery. One line of figures a scenario; exit code 1 when anything is wrong.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { LoopDevice, noLoopDevices } from "../support/loop-device.ts";
import { type FaultProxy, type S3Server, type S3ServerKind, startFaultProxy, startS3Server } from "../support/s3-servers.ts";
import { TemporaryFolder } from "../support/temporary.ts";
import { mustRunTool } from "../support/tools.ts";
import { weirExecutable } from "../support/weir-process.ts";
import { CredentialsEndpoint, S3Gate } from "./store-trouble-gate.ts";
import { type FinishedRun, Rig } from "./store-trouble-rig.ts";

export interface TroubleOptions {
  /** How long the trouble lasts. */
  readonly seconds: number;
  /** Load before and after it. */
  readonly calmSeconds: number;
  readonly store: S3ServerKind;
  readonly wal: "loop" | "file";
  readonly seed: number;
  /** Between two batches of a producer; default the scenario's own. */
  readonly pauseMs?: number;
  /** Of a record, at most; default 1,000. */
  readonly fillerBytes?: number;
}

export interface TroubleResult {
  readonly findings: readonly string[];
  readonly summary: string;
}

interface Stage {
  readonly options: TroubleOptions;
  readonly server: S3Server;
  readonly proxy: FaultProxy;
  readonly gate: S3Gate;
  readonly endpoint: CredentialsEndpoint;
  readonly folder: string;
  readonly rig: Rig;
  /** Adds to the line of figures. */
  readonly note: (text: string) => void;
  readonly expect: (holds: boolean, finding: string) => void;
}

interface Scenario {
  readonly walSize: string;
  readonly pauseMs: number;
  /** The broker asks the gate with keys from a file; otherwise the proxy with the server's own. */
  readonly throughGate?: boolean;
  readonly settings?: Readonly<Record<string, string>>;
  run(stage: Stage): Promise<void>;
}

const MEBIBYTE = 1024 ** 2;
/** What a broker may grow by at most, above what it had in calm load; what has gathered is uploaded through memory that is used again. */
const RSS_GROWTH_BYTES = 96 * MEBIBYTE;

const ERRORS = {
  slowDownRate: 0.05,
  internalErrorRate: 0.02,
  resetRequestRate: 0.02,
  resetResponseRate: 0.02,
  dropResponseRate: 0.03,
  apply5xxRate: 0.02,
  duplicateRate: 0.03,
};

const sleep = (seconds: number): Promise<void> => Bun.sleep(seconds * 1000);

/** Load in calm, in trouble, and in calm again. */
async function inTrouble(stage: Stage, begin: () => Promise<void>, end: () => Promise<void>): Promise<void> {
  const { rig, options } = stage;
  await calm(stage);
  await rig.phase("trouble");
  await begin();
  await sleep(options.seconds);
  await end();
  await rig.phase("after");
  await rig.whenReady(90_000);
  await sleep(options.calmSeconds);
}

async function calm({ rig, options }: Stage): Promise<void> {
  rig.spawn();
  await rig.whenReady();
  await rig.startLoad();
  await rig.phase("before");
  await sleep(options.calmSeconds);
}

/** `lastsUntil`: the outage ends no sooner than this event has been logged. */
async function outage(stage: Stage, mode: "refuse" | "hang", lastsUntil?: string): Promise<void> {
  const { proxy, options, rig, note, expect } = stage;
  let before = 0;
  await inTrouble(
    stage,
    async () => {
      before = rig.acknowledged;
      await proxy.post(`/outage?ms=${options.seconds * 1000 + 600_000}&mode=${mode}`);
    },
    async () => {
      await rig.logged("store.unavailable");
      await rig.showed("store away");
      if (lastsUntil !== undefined) {
        await rig.weir?.waitForLog(lastsUntil, 120_000);
        await rig.showed("WAL full");
      }
      note(`outage (${mode}): ${rig.acknowledged - before} acknowledged in it`);
      await proxy.post("/outage?ms=0&mode=503");
    },
  );
  expect(rig.acknowledged > before, "nothing was acknowledged from the outage on");
  await rig.logged("store.recovered");
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  errors: {
    walSize: "256MiB",
    pauseMs: 10,
    async run(stage) {
      const { proxy, note } = stage;
      await inTrouble(
        stage,
        () => proxy.configure(ERRORS),
        async () => {
          const stats = await proxy.stats();
          const kinds = ["slowDown", "internalError", "resetRequest", "resetResponse", "dropResponse", "apply5xx", "duplicate"];
          note(`faults: ${kinds.map((kind) => `${kind} ${stats[kind] ?? 0}`).join(", ")}`);
          await proxy.configure({});
        },
      );
    },
  },

  outage: {
    walSize: "512MiB",
    pauseMs: 10,
    async run(stage) {
      await outage(stage, "refuse");
      const { rig, options, expect } = stage;
      expect(rig.slowestAckMs < 1000 * Math.max(5, options.seconds / 4), `an acknowledgement took ${rig.slowestAckMs.toFixed(0)} ms`);
      expect(rig.count("wal.full") === 0, "the WAL filled");
    },
  },

  "outage-full": {
    walSize: "32MiB",
    pauseMs: 1,
    async run(stage) {
      const { rig, options } = stage;
      // A black hole is noticed when the first requests have run out of time.
      await outage(stage, options.seconds >= 40 ? "hang" : "refuse", "wal.full");
      for (const event of ["wal.full", "wal.resumed"]) await rig.logged(event);
    },
  },

  recovery: {
    walSize: "256MiB",
    pauseMs: 10,
    // Nothing is uploaded by itself: all that was acknowledged is above the committed end when the broker is killed.
    settings: { "upload.interval.ms": "600000", "upload.size.bytes": "256MiB" },
    async run(stage) {
      const { rig, proxy, options, note, expect } = stage;
      await calm(stage);
      const before = rig.acknowledged;
      await rig.kill();
      await proxy.post(`/outage?ms=${options.seconds * 1000 + 600_000}&mode=503`);
      await rig.phase("trouble");
      const weir = rig.spawn();
      rig.restarted();
      const startedMs = performance.now();
      while (performance.now() - startedMs < options.seconds * 1000 && !weir.hasExited) await Bun.sleep(100);
      expect(!weir.hasExited, `the broker ended while it waited:\n${weir.logTail()}`);
      expect(!(await weir.isReady()), "the broker was ready without its bucket");
      for (const event of ["store.unavailable", "start.waiting"]) await rig.logged(event);
      await rig.showed("start waits");
      await rig.phase("after");
      const healedMs = performance.now();
      await proxy.post("/outage?ms=0&mode=503");
      await rig.whenReady(90_000);
      const readyMs = performance.now() - healedMs;
      note(
        `${before} records acknowledged before the kill, start refused for ${options.seconds} s, ready ${readyMs.toFixed(0)} ms after its end`,
      );
      await rig.logged("store.recovered");
      await sleep(options.calmSeconds);
    },
  },

  credentials: {
    walSize: "256MiB",
    pauseMs: 10,
    throughGate: true,
    async run(stage) {
      const { rig, gate, endpoint, folder, options, note, expect } = stage;
      await calm(stage);
      const third = options.seconds / 3;

      // The old keys end, and the new ones come some time later.
      await rig.phase("trouble");
      gate.valid.delete("KEY1");
      gate.expired.add("KEY1");
      await sleep(third);
      await rig.logged("store.unavailable");
      await rig.showed("store away");
      const refusedWhileExpired = gate.refused;
      expect(rig.log.includes("store-credentials-expired"), "no store-credentials-expired in the log after the keys expired");
      gate.valid.add("KEY2");
      writeKeys(folder, "KEY2");
      await rig.whenReady();
      await rig.logged("store.recovered");

      // The new keys are there before the old ones end: nobody may notice (but right after it has asked, the broker asks nobody again).
      await sleep(2.5);
      const unavailable = rig.count("store.unavailable");
      gate.valid.add("KEY3");
      writeKeys(folder, "KEY3");
      gate.valid.delete("KEY2");
      await gate.whenUsed("KEY3");
      await sleep(third / 2);
      expect(rig.count("store.unavailable") === unavailable, "a rotation without a gap was noticed");
      await rig.whenReady();

      // The server's clock goes an hour ahead, and comes back.
      await gate.moveClock(3_600_000);
      await sleep(third / 2);
      await rig.whenReady();
      await gate.moveClock(0);
      await sleep(third / 2);
      await rig.whenReady();

      // Keys from a container's endpoint, each of a short life; for a while the endpoint fails.
      endpoint.lifeMs = Math.max(4000, third * 500);
      await rig.kill();
      rig.spawn({ AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url });
      rig.restarted();
      await rig.whenReady();
      await sleep(third / 2);
      endpoint.isFailing = true;
      await sleep(Math.max(1, third / 4));
      endpoint.isFailing = false;
      await rig.whenReady();
      await sleep(options.calmSeconds);
      expect(endpoint.answers > 1, "the endpoint was asked once only");
      gate.valid.add("KEY3");
      const refusals = [...gate.refusals].map(([code, count]) => `${code} ${count}`).join(", ");
      note(`refused: ${refusals} (${refusedWhileExpired} while no key held), keys from the endpoint: ${endpoint.answers}`);
      await rig.phase("after");
      await sleep(options.calmSeconds);
    },
  },

  throttle: {
    walSize: "512MiB",
    pauseMs: 10,
    async run(stage) {
      const { rig, proxy, note, expect } = stage;
      await inTrouble(
        stage,
        () => proxy.configure({ slowDownRate: 1 }),
        () => proxy.configure({}),
      );
      const [before, during] = [rig.rate("before"), rig.rate("trouble")];
      note(`S3 requests a second: ${before.toFixed(1)} before, ${during.toFixed(1)} while all are answered with 503 SlowDown`);
      expect(during <= Math.max(before, 8), "more requests in the storm than before it");
    },
  },
};

export const SCENARIO_NAMES: readonly string[] = Object.keys(SCENARIOS);

const credentialsFile = (folder: string): string => join(folder, "credentials");

function writeKeys(folder: string, key: string): void {
  writeFileSync(credentialsFile(folder), `[default]\naws_access_key_id = ${key}\naws_secret_access_key = secret-of-${key}\n`);
}

export async function runTrouble(name: string, options: TroubleOptions): Promise<TroubleResult> {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) throw new Error(`no scenario "${name}"; there is ${SCENARIO_NAMES.join(", ")}`);
  using folder = new TemporaryFolder("trouble");
  using device = options.wal === "loop" ? LoopDevice.tryCreate(folder.path, Number.parseInt(scenario.walSize, 10) * MEBIBYTE) : undefined;
  if (options.wal === "loop" && device === undefined) throw new Error(noLoopDevices);
  if (device !== undefined) await mustRunTool([weirExecutable, "wal", "format", device.path]);
  await using server = await startS3Server(options.store);
  await using proxy = await startFaultProxy(server.endpoint, options.seed);
  using gate = new S3Gate(server, proxy.endpoint);
  using endpoint = new CredentialsEndpoint(gate);
  gate.valid.add("KEY1");
  writeKeys(folder.path, "KEY1");
  const { accessKeyId, secretAccessKey } = server.credentials;
  const asked = scenario.throughGate === true ? gate.endpoint : proxy.endpoint;
  const rig = new Rig({
    folder: folder.path,
    device,
    walSize: scenario.walSize,
    store: `s3://${server.bucket}/trouble?region=${server.region}&endpoint=${asked}&pathStyle=true`,
    environment:
      scenario.throughGate === true
        ? { AWS_SHARED_CREDENTIALS_FILE: credentialsFile(folder.path), AWS_CONFIG_FILE: join(folder.path, "none") }
        : { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    settings: scenario.settings ?? {},
    proxy,
    seed: options.seed,
    pauseMs: options.pauseMs ?? scenario.pauseMs,
    ...(options.fillerBytes === undefined ? {} : { fillerBytes: options.fillerBytes }),
  });
  const notes: string[] = [];
  const expect = (holds: boolean, finding: string): void => {
    if (!holds) rig.findings.push(finding);
  };
  try {
    await scenario.run({ options, server, proxy, gate, endpoint, folder: folder.path, rig, note: (text) => notes.push(text), expect });
    const finished = await rig.finish();
    judgeMemory(rig, expect);
    return { findings: rig.findings, summary: summarise(name, options, rig, finished, notes) };
  } catch (error) {
    rig.findings.push(`${error instanceof Error ? (error.stack ?? error.message) : error}\n${rig.logTail()}`);
    return { findings: rig.findings, summary: `${name}: failed` };
  } finally {
    await rig.dispose();
  }
}

function judgeMemory({ phases }: Rig, expect: Stage["expect"]): void {
  const before = phases.find((phase) => phase.name === "before")?.rssMax ?? 0;
  for (const { name, rssMax } of phases) {
    const grown = rssMax - before;
    expect(grown <= RSS_GROWTH_BYTES, `memory grew by ${(grown / MEBIBYTE).toFixed(0)} MiB ("${name}")`);
  }
}

function summarise(name: string, options: TroubleOptions, rig: Rig, finished: FinishedRun, notes: readonly string[]): string {
  const mebibytes = (bytes: number): string => (bytes / MEBIBYTE).toFixed(0);
  const memory = rig.phases.filter(({ rssMax }) => rssMax > 0).map((phase) => `${phase.name} ${mebibytes(phase.rssMax)}`);
  const events = ["store.unavailable", "store.recovered", "wal.full", "wal.resumed", "upload.waiting"];
  return [
    `${name} (${options.store}, WAL ${options.wal}, ${options.seconds} s, seed ${options.seed}): ${rig.acknowledged} records acknowledged`,
    `${finished.readBack} read back`,
    `${finished.duplicates} duplicates`,
    rig.kcatSummary,
    `RSS MiB: ${memory.join(", ")}`,
    `longest ack ${rig.slowestAckMs.toFixed(0)} ms`,
    `S3 requests ${finished.requests}, retries ${finished.retries}`,
    ...notes,
    `readiness: ${[...rig.states].join(", ")}`,
    `events: ${events.map((event) => `${event} ${rig.count(event)}`).join(", ")}`,
    rig.findings.length === 0 ? "clean" : `${rig.findings.length} findings`,
  ].join("; ");
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      scenario: { type: "string" },
      seconds: { type: "string" },
      store: { type: "string", default: "minio" },
      wal: { type: "string", default: "file" },
      seed: { type: "string", default: "1" },
    },
  });
  let failed = false;
  for (const name of values.scenario === undefined ? SCENARIO_NAMES : [values.scenario]) {
    const { findings, summary } = await runTrouble(name, {
      seconds: Number(values.seconds ?? (name === "recovery" ? 300 : 60)),
      calmSeconds: 10,
      store: values.store === "versitygw" ? "versitygw" : "minio",
      wal: values.wal === "loop" ? "loop" : "file",
      seed: Number(values.seed),
    });
    for (const finding of findings) console.log(finding);
    console.log(summary);
    failed ||= findings.length > 0;
  }
  process.exit(failed ? 1 : 0);
}
