/** One seed against both servers; and, when they part, the shortest sequence that still makes them part in the same way. */
import { Allowances } from "./allowed.ts";
import { compareRuns, type Difference } from "./compare.ts";
import { generateSequence, type Sequence, type Theme } from "./generate.ts";
import type { ServedVersions } from "./model.ts";
import { type Played, SequenceRun } from "./sequence-run.ts";
import { show } from "./show.ts";
import { Bindings, type Step } from "./step.ts";

export interface Ports {
  readonly weirPort: number;
  readonly kafkaPort: number;
}

export interface Divergence {
  readonly at: number;
  readonly difference: Difference;
}

export interface SeedResult {
  readonly sequence: Sequence;
  readonly weir: readonly Played[];
  readonly kafka: readonly Played[];
  readonly divergences: readonly Divergence[];
  /** Steps from the first on whose answers were compared. */
  readonly compared: number;
}

export async function playBoth(ports: Ports, sequence: Sequence, served: ServedVersions, allowances: Allowances): Promise<SeedResult> {
  const startedMs = Date.now();
  const describesTransactions = served.has(65);
  const [ours, theirs] = [new Bindings(startedMs), new Bindings(startedMs)];
  const [weir, kafka] = await Promise.all([
    new SequenceRun(ports.weirPort, ours, describesTransactions).play(sequence.steps),
    new SequenceRun(ports.kafkaPort, theirs, describesTransactions).play(sequence.steps),
  ]);
  return { sequence, weir, kafka, ...compareRuns(sequence.steps, weir, kafka, sequence.prefix, allowances, pairsOf(ours, theirs)) };
}

/** Ids of the same topic, of which answers that list several topics may be the first to tell. */
function pairsOf(ours: Bindings, theirs: Bindings): [string, string][] {
  const ids = theirs.topicIds();
  return [...ours.topicIds()].flatMap(([name, id]): [string, string][] => {
    const other = ids.get(name);
    return other === undefined ? [] : [[id, other]];
  });
}

export function runSeed(
  ports: Ports,
  seed: number,
  requests: number,
  served: ServedVersions,
  allowances: Allowances,
  only?: Theme,
): Promise<SeedResult> {
  return playBoth(ports, generateSequence(seed, requests, served, "", only), served, allowances);
}

/** A kind of divergence: where it is and what stood there, without what changes from run to run. */
export function signatureOf({ difference }: Divergence): string {
  const { api, path, weir, kafka } = difference;
  return `${api} ${path}: weir ${shorten(weir)}, kafka ${shorten(kafka)}`;
}

function shorten(value: unknown): string {
  return show(value)
    .replaceAll(/s\d+(?:r\d+)?-/g, "s-")
    .replaceAll(/\d{5,}/g, "N")
    .slice(0, 120);
}

/** Steps of the seed that still give the signature, by leaving out ever smaller parts (delta debugging), within a number of tries. */
export async function shrink(
  ports: Ports,
  seed: number,
  requests: number,
  served: ServedVersions,
  signature: string,
  only?: Theme,
  maxTries = 60,
): Promise<{ readonly kept: readonly number[]; readonly result: SeedResult | undefined }> {
  let tries = 0;
  let best: SeedResult | undefined;
  const attempt = async (kept: readonly number[]): Promise<boolean> => {
    tries++;
    const sequence = generateSequence(seed, requests, served, `r${seed}x${tries}`, only);
    const steps = kept.map((index) => sequence.steps[index]).filter((step): step is Step => step !== undefined);
    const result = await playBoth(ports, { prefix: sequence.prefix, steps }, served, Allowances.uncounted());
    const found = result.divergences.some((divergence) => signatureOf(divergence) === signature);
    if (found) best = result;
    return found;
  };
  const length = generateSequence(seed, requests, served, "", only).steps.length;
  let kept = Array.from({ length }, (_, index) => index);
  for (let size = Math.ceil(kept.length / 2); size >= 1 && tries < maxTries; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < kept.length && tries < maxTries; ) {
      const fewer = [...kept.slice(0, from), ...kept.slice(from + size)];
      if (fewer.length > 0 && (await attempt(fewer))) kept = fewer;
      else from += size;
    }
  }
  return { kept, result: best };
}
