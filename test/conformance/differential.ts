/**
 * Weir beside Apache Kafka 4.4: seeded sequences of raw requests go to both, and every field of every answer is compared, but for what
 * `differential/allowed.ts` lists with its reason.
 *
 *   bun test/conformance/differential.ts --seeds 2000 [--first 0] [--requests-per-seed 100]
 *       [--state FILE --seconds 150]        stops after that time and goes on from FILE at the next call
 *       [--parallel 8] [--no-shrink] [--ports WEIR,KAFKA]        servers that run already
 *   bun test/conformance/differential.ts --state FILE --summary docs/differences.md        writes what the run of that state has shown
 *   bun test/conformance/differential.ts --seed 17 [--steps 0,4,9] --verbose        one seed, request by request
 *       [--theme consumers]        every seed has it, instead of one of its own
 *
 * Exit code 0 when nothing diverged and, in a run that is complete, every allowance was needed.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Allowances, allowed, partings, readings } from "./differential/allowed.ts";
import { generateSequence, type Theme } from "./differential/generate.ts";
import type { ServedVersions } from "./differential/model.ts";
import { missingPeer, Peers, type RunningPeers, readServedVersions, warmUpBoth } from "./differential/peers.ts";
import { playBoth, runSeed, type SeedResult, shrink, signatureOf } from "./differential/seed-run.ts";
import { show } from "./differential/show.ts";
import { describeVersions, summarize } from "./differential/summary.ts";

export interface DifferentialOptions {
  readonly first: number;
  readonly seeds: number;
  readonly requestsPerSeed: number;
  readonly parallel: number;
  readonly shrinks: boolean;
  /** The run stops taking up seeds after it. */
  readonly seconds: number;
  readonly statePath: string | undefined;
  /** Of every seed, instead of its own. */
  readonly theme?: Theme | undefined;
}

interface Found {
  count: number;
  readonly seed: number;
  readonly steps: readonly number[];
}

/** What a run has found so far; kept in a file between slices. */
interface State {
  nextSeed: number;
  /** Played to the end. */
  seeds: number;
  /** Sent to each server. */
  requests: number;
  /** Of these, those whose answers were compared. */
  compared: number;
  seconds: number;
  /** Compared requests by API and version. */
  readonly apiCounts: Record<string, Record<string, number>>;
  readonly allowedCounts: Record<string, number>;
  readonly found: Record<string, Found>;
}

function readState(path: string | undefined, first: number): State {
  if (path !== undefined && existsSync(path)) return JSON.parse(readFileSync(path, "utf8")) as State;
  return { nextSeed: first, seeds: 0, requests: 0, compared: 0, seconds: 0, apiCounts: {}, allowedCounts: {}, found: {} };
}

export class DifferentialRun {
  readonly state: State;
  readonly #peers: RunningPeers;
  readonly #served: ServedVersions;
  readonly #options: DifferentialOptions;
  readonly #allowances = new Allowances();

  constructor(peers: RunningPeers, served: ServedVersions, options: DifferentialOptions) {
    this.#peers = peers;
    this.#served = served;
    this.#options = options;
    this.state = readState(options.statePath, options.first);
    for (const [id, count] of Object.entries(this.state.allowedCounts)) this.#allowances.counts.set(id, count);
  }

  get isComplete(): boolean {
    return this.state.nextSeed >= this.#options.first + this.#options.seeds;
  }

  get unusedAllowances(): string[] {
    return this.#allowances.unused();
  }

  async run(): Promise<void> {
    const started = performance.now();
    const worker = async (): Promise<void> => {
      while (!this.isComplete && performance.now() - started < this.#options.seconds * 1000 && !this.#peers.hasWeirExited) {
        const seed = this.state.nextSeed++;
        const { requestsPerSeed, theme } = this.#options;
        const result = await runSeed(this.#peers, seed, requestsPerSeed, this.#served, this.#allowances, theme);
        await this.#take(seed, result);
      }
    };
    await Promise.all(Array.from({ length: this.#options.parallel }, worker));
    this.state.seconds += (performance.now() - started) / 1000;
    this.save();
    if (this.#peers.hasWeirExited) throw new Error(`weir has ended:\n${this.#peers.weirLog}`);
  }

  save(): void {
    Object.assign(this.state.allowedCounts, Object.fromEntries(this.#allowances.counts));
    if (this.#options.statePath !== undefined) writeFileSync(this.#options.statePath, JSON.stringify(this.state, null, 1));
  }

  async #take(seed: number, result: SeedResult): Promise<void> {
    const { state } = this;
    state.seeds++;
    state.requests += result.weir.length;
    state.compared += result.compared;
    for (const { api, version } of result.sequence.steps.slice(0, result.compared)) {
      state.apiCounts[api.name] ??= {};
      const counts = state.apiCounts[api.name] as Record<string, number>;
      counts[version] = (counts[version] ?? 0) + 1;
    }
    for (const divergence of result.divergences) {
      const signature = signatureOf(divergence);
      const known = state.found[signature];
      if (known !== undefined) known.count++;
      else {
        state.found[signature] = { count: 1, seed, steps: [] };
        console.log(`seed ${seed}, step ${divergence.at}: ${signature}`);
        if (this.#options.shrinks) await this.#shrink(seed, signature);
      }
    }
  }

  async #shrink(seed: number, signature: string): Promise<void> {
    const { kept, result } = await shrink(this.#peers, seed, this.#options.requestsPerSeed, this.#served, signature, this.#options.theme);
    if (result === undefined) {
      console.log("  not seen again in replays");
      return;
    }
    this.state.found[signature] = { count: this.state.found[signature]?.count ?? 1, seed, steps: kept };
    const { requestsPerSeed: size, theme } = this.#options;
    console.log(
      `  replay: bun test/conformance/differential.ts --seed ${seed} --requests-per-seed ${size}${theme === undefined ? "" : ` --theme ${theme}`} --steps ${kept.join()} --verbose`,
    );
  }

  /** The run's lines; the last one sums up. */
  report(): string[] {
    const { state } = this;
    const lines = Object.entries(state.apiCounts).map(([name, counts]) => describeCounts(name, counts));
    for (const { id, reason } of [...allowed, ...readings, ...partings])
      lines.push(`allowed ${id}: ${state.allowedCounts[id] ?? 0} times (${reason})`);
    for (const [signature, { count, seed, steps }] of Object.entries(state.found)) {
      lines.push(`diverged ${count} times: ${signature} (seed ${seed}${steps.length === 0 ? "" : `, steps ${steps.join()}`})`);
    }
    const rate = Math.round(state.requests / Math.max(state.seconds, 0.001));
    const kinds = Object.keys(state.found).length;
    lines.push(
      `${state.compared} requests compared over ${state.seeds} seeds (${state.requests} sent to each server, ${rate} a second): ${kinds === 0 ? "nothing diverged" : `${kinds} kinds of divergence`}`,
    );
    return lines;
  }
}

function describeCounts(name: string, counts: Readonly<Record<string, number>>): string {
  const sum = Object.values(counts).reduce((total, count) => total + count, 0);
  return `${name}: ${sum}, versions ${describeVersions(counts)}, each at least ${Math.min(...Object.values(counts))} times`;
}

/** For the documentation, from what slices have left in the state file. */
function writeSummary(statePath: string, path: string): void {
  const state = readState(statePath, 0);
  const diverged = Object.keys(state.found).length;
  const { seeds, requests: sent, compared, apiCounts: apis, allowedCounts: allowances } = state;
  writeFileSync(path, summarize({ seeds, sent, compared, apis, allowances, diverged }));
}

function showSeed(result: SeedResult): void {
  for (const [at, step] of result.sequence.steps.entries()) {
    console.log(`${at} ${step.api.name} v${step.version}`);
    console.log(`    request ${show(result.weir[at]?.request)}`);
    console.log(`    weir    ${show(result.weir[at]?.outcome)}`);
    console.log(`    kafka   ${show(result.kafka[at]?.outcome)}`);
    for (const divergence of result.divergences) {
      if (divergence.at === at)
        console.log(
          `    DIVERGES ${divergence.difference.path}: weir ${show(divergence.difference.weir)}, kafka ${show(divergence.difference.kafka)}`,
        );
    }
  }
}

/** Servers that run already, as "WEIR,KAFKA". */
async function attach(ports: string): Promise<RunningPeers> {
  const [weirPort = 0, kafkaPort = 0] = ports.split(",").map(Number);
  await warmUpBoth({ weirPort, kafkaPort });
  return { weirPort, kafkaPort, hasWeirExited: false, weirLog: "", stop: async () => {} };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "20" },
      first: { type: "string", default: "0" },
      "requests-per-seed": { type: "string", default: "100" },
      parallel: { type: "string", default: "8" },
      seconds: { type: "string", default: "100000" },
      state: { type: "string" },
      "no-shrink": { type: "boolean", default: false },
      seed: { type: "string" },
      steps: { type: "string" },
      verbose: { type: "boolean", default: false },
      ports: { type: "string" },
      summary: { type: "string" },
      theme: { type: "string" },
    },
  });
  if (values.summary !== undefined && values.state !== undefined) {
    writeSummary(values.state, values.summary);
    return 0;
  }
  const missing = missingPeer();
  if (missing !== undefined) throw new Error(missing);
  const peers = values.ports === undefined ? await Peers.start() : await attach(values.ports);
  try {
    const theme = values.theme as Theme | undefined;
    const { served, onlyKafka } = await readServedVersions(peers);
    const requestsPerSeed = Number(values["requests-per-seed"]);
    if (values.seed !== undefined) {
      const sequence = generateSequence(
        Number(values.seed),
        requestsPerSeed,
        served,
        values.ports === undefined ? "" : `r${process.pid}`,
        theme,
      );
      const chosen = values.steps?.split(",").map(Number);
      const steps = chosen === undefined ? sequence.steps : sequence.steps.filter((_, index) => chosen.includes(index));
      const result = await playBoth(peers, { ...sequence, steps }, served, new Allowances());
      if (values.verbose) showSeed(result);
      for (const divergence of result.divergences) console.log(`step ${divergence.at}: ${signatureOf(divergence)}`);
      return result.divergences.length === 0 ? 0 : 1;
    }
    console.log(`served by Kafka alone: ${onlyKafka.join(" ")}`);
    const run = new DifferentialRun(peers, served, {
      first: Number(values.first),
      seeds: Number(values.seeds),
      requestsPerSeed,
      parallel: Number(values.parallel),
      shrinks: !values["no-shrink"],
      seconds: Number(values.seconds),
      statePath: values.state,
      theme,
    });
    process.once("SIGTERM", () => {
      run.save();
      void peers.stop().then(() => process.exit(143));
    });
    await run.run();
    for (const line of run.report()) console.log(line);
    const unused = run.isComplete ? run.unusedAllowances : [];
    if (unused.length > 0) console.log(`never needed, to be removed from differential/allowed.ts: ${unused.join(", ")}`);
    return Object.keys(run.state.found).length === 0 && unused.length === 0 ? 0 : 1;
  } finally {
    await peers.stop();
  }
}

if (import.meta.main) process.exit(await main());
