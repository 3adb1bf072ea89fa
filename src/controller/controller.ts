/**
 * The controller: whoever last won a slot with the record "controller = me, epoch + 1". It gathers the requests that arrive while a PUT is in flight into
 * the next one (group commit), and answers none before its slot is certain.
 *
 * Standing for election costs no PUT of its own: the record leads the batch that carries the requests. Whoever loses a slot has been replaced: it steps
 * down, reads to the end, waits a random time, and evaluates its requests anew; those that were applied after all are known by sequence number.
 */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { type Random, randomUuidBytes } from "../base/random.ts";
import { Trouble } from "../base/trouble.ts";
import { SUPPORTED_FEATURES } from "../metadata/features.ts";
import { ImageDraft } from "../metadata/image-draft.ts";
import type { MetadataLog } from "../metadata/metadata-log.ts";
import type { Logger, Metrics } from "../telemetry/telemetry.ts";
import { mayPass } from "./broker-channel.ts";
import { type Answer, decodeOutcomes, encodeOutcomes, estimateBytes, type Request } from "./changes.ts";
import { Evaluation } from "./evaluate.ts";

export interface ControllerDependencies {
  readonly log: MetadataLog;
  readonly nodeId: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

interface Pending {
  readonly request: Request;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (reason: unknown) => void;
}

/** A batch takes no further request above this estimate, so slots stay small whatever is asked. */
const TARGET_BATCH_BYTES = 1_048_576;
const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 1_000;
const RETRY_PAUSE_MS = 1_000;

export class Controller {
  readonly #deps: ControllerDependencies;
  readonly #abort = new AbortController();
  readonly #incarnation: string;
  #pending: Pending[] = [];
  #isRunning = false;
  /** Epoch of our reign; undefined when another broker reigns or none does. */
  #reignEpoch: number | undefined;
  #lossesInARow = 0;
  #failure: unknown;
  #onFailed: ((reason: Trouble) => void) | undefined;
  #idle: Promise<void> = Promise.resolve();
  readonly #slotsWon: { add(value: number): void };
  readonly #slotsLost: { add(value: number): void };

  constructor(dependencies: ControllerDependencies) {
    this.#deps = dependencies;
    this.#incarnation = Buffer.from(randomUuidBytes(dependencies.random)).toString("base64url");
    const { metrics, log } = dependencies;
    this.#slotsWon = metrics.counter("weir_metadata_slots_total", "Slots of the metadata log that this broker tried for.", {
      outcome: "won",
    });
    this.#slotsLost = metrics.counter("weir_metadata_slots_total", "Slots of the metadata log that this broker tried for.", {
      outcome: "lost",
    });
    metrics.observedGauge("weir_controller_reigning", "1 while this broker is the controller.", () => (this.isReigning ? 1 : 0));
    metrics.observedGauge("weir_metadata_slot", "Newest applied slot of the metadata log.", () => log.image.slot);
    log.onImage((image) => {
      if (this.#reignEpoch !== undefined && image.controllerEpoch !== this.#reignEpoch) this.#stepDown();
    });
  }

  /** True while nobody is known to have replaced us. */
  get isReigning(): boolean {
    return this.#reignEpoch !== undefined;
  }

  /** Resolves when the answer is certain. Rejects when the log cannot be followed any more, or on close. */
  submit(request: Request): Promise<Answer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#pending.push({ request, resolve, reject });
      if (this.#isRunning) return;
      this.#isRunning = true;
      // One turn of the event loop to gather in; while a PUT is in flight, its duration.
      this.#deps.clock.defer(() => {
        this.#idle = this.#run();
      });
    });
  }

  /** Called when the log cannot be followed any more (it is damaged, say): nothing that this broker owns is certain then. */
  onFailed(listener: (reason: Trouble) => void): void {
    this.#onFailed = listener;
  }

  /** Aborts what is in flight; its outcome stays unknown. */
  async close(): Promise<void> {
    this.#onFailed = undefined;
    this.#fail(new Trouble({ code: "closing", message: "the broker is closing", retryable: true }));
    await this.#idle;
  }

  async #run(): Promise<void> {
    try {
      while (this.#pending.length > 0) await this.#writeBatch();
    } catch (error) {
      this.#fail(error);
      if (!(error instanceof Trouble)) throw error;
      this.#onFailed?.(error);
    } finally {
      this.#isRunning = false;
    }
  }

  async #writeBatch(): Promise<void> {
    const { log, nodeId } = this.#deps;
    const { evaluation, answers } = this.#evaluate();
    if (evaluation.records.length > 0) {
      const proposal = { draft: evaluation.draft, records: evaluation.records, nodeId };
      const outcome = await log.propose(proposal, this.#abort.signal);
      if (outcome === "lost") return this.#afterLoss();
      this.#slotsWon.add(1);
      this.#lossesInARow = 0;
      this.#ascend(evaluation.draft.controller.epoch);
    }
    const answered = this.#pending.splice(0, answers.length);
    for (const [index, { resolve }] of answered.entries()) resolve(answers[index]!);
  }

  /** Answers to the first requests in line, as the next slot would make them true. */
  #evaluate(): { evaluation: Evaluation; answers: Answer[] } {
    const { log, nodeId } = this.#deps;
    const evaluation = new Evaluation(new ImageDraft(log.image));
    if (!this.isReigning) {
      const epoch = log.image.controllerEpoch + 1;
      evaluation.add({ type: "controller-elected", nodeId, epoch, incarnation: this.#incarnation });
      if (log.image.slot === 0) for (const { name, max } of SUPPORTED_FEATURES) evaluation.add({ type: "feature-level", name, level: max });
    }
    const recordsBefore = evaluation.records.length;
    const answers: Answer[] = [];
    let bytes = 0;
    for (const { request } of this.#pending) {
      bytes += request.kind === "register" ? 512 : request.changes.reduce((sum, change) => sum + estimateBytes(change), 0);
      if (answers.length > 0 && bytes > TARGET_BATCH_BYTES) break;
      answers.push(request.kind === "register" ? register(evaluation, request) : applyChanges(evaluation, request));
    }
    // All answers lay in the image already: no slot is needed, and none is taken for an election alone.
    if (evaluation.records.length === recordsBefore) evaluation.records.length = 0;
    return { evaluation, answers };
  }

  #ascend(epoch: number): void {
    if (this.#reignEpoch === epoch) return;
    this.#reignEpoch = epoch;
    this.#deps.logger.info("controller.elected", "this broker is the controller now", { nodeId: this.#deps.nodeId, epoch });
  }

  #stepDown(): void {
    const { log, logger, nodeId } = this.#deps;
    logger.info("controller.replaced", "another broker is the controller now", {
      nodeId,
      epoch: this.#reignEpoch,
      by: log.image.controllerNodeId,
    });
    this.#reignEpoch = undefined;
  }

  async #afterLoss(): Promise<void> {
    const { clock, random } = this.#deps;
    this.#slotsLost.add(1);
    this.#lossesInARow++;
    await this.#catchUp();
    // The slot was lost, so the reign ended, even if the image does not show another controller (our own process before this one, say).
    if (this.#reignEpoch !== undefined) this.#stepDown();
    const ceilingMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.#lossesInARow, 16));
    await clock.sleep(random.nextFloat() * ceilingMs, this.#abort.signal);
  }

  async #catchUp(): Promise<void> {
    const { log, clock, logger } = this.#deps;
    for (;;) {
      try {
        return await log.readToEnd();
      } catch (error) {
        if (!(error instanceof Trouble) || !mayPass(error)) throw error;
        this.#abort.signal.throwIfAborted();
        logger.warn("metadata.waiting", "the metadata log cannot be read; trying again", { code: error.code, reason: error.message });
        await clock.sleep(RETRY_PAUSE_MS, this.#abort.signal);
      }
    }
  }

  #fail(reason: unknown): void {
    this.#failure ??= reason;
    this.#abort.abort(this.#failure);
    this.#reignEpoch = undefined;
    for (const { reject } of this.#pending.splice(0)) reject(this.#failure);
  }
}

function register(evaluation: Evaluation, { registration }: Extract<Request, { kind: "register" }>): Answer {
  const { draft } = evaluation;
  const { nodeId, incarnation, walId } = registration;
  const current = draft.getBroker(nodeId);
  if (current?.incarnation === incarnation) return { kind: "registered", brokerEpoch: current.brokerEpoch };
  const wal = draft.getWal(walId);
  if (wal !== undefined && wal.nodeId !== nodeId) {
    return { kind: "fenced", message: `WAL ${walId} belongs to broker ${wal.nodeId}, not ${nodeId}` };
  }
  evaluation.add({ type: "broker-registered", ...registration });
  return { kind: "registered", brokerEpoch: draft.slot };
}

function applyChanges(evaluation: Evaluation, request: Extract<Request, { kind: "changes" }>): Answer {
  const { nodeId, brokerEpoch, sequence, changes } = request;
  const asker = evaluation.draft.getBroker(nodeId);
  if (asker === undefined || asker.brokerEpoch !== brokerEpoch) {
    const now = asker === undefined ? "it is not registered" : `its epoch is ${asker.brokerEpoch} now`;
    return { kind: "fenced", message: `broker ${nodeId} asks under epoch ${brokerEpoch}; ${now}` };
  }
  if (sequence === asker.lastSequence) return { kind: "outcomes", outcomes: decodeOutcomes(asker.lastOutcomes) };
  assert(sequence === asker.lastSequence + 1, `request ${sequence} of broker ${nodeId} after ${asker.lastSequence}`);
  const outcomes = changes.map((change) => evaluation.evaluate(change, asker));
  evaluation.add({ type: "change-outcome", nodeId, brokerEpoch, sequence, outcomes: encodeOutcomes(outcomes) });
  return { kind: "outcomes", outcomes };
}
