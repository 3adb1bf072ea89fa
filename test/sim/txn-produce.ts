/** The batches of one transaction on their way: several requests in flight, what was not acknowledged goes again in order. */
import { produceApi } from "../../src/protocol/messages/produce.ts";
import { ConnectionLost } from "./sim-client.ts";
import type { ClientPlace } from "./sim-clients.ts";
import { ASKED_AGAIN, type TxnChannel } from "./txn-channel.ts";
import { produceRequest, type TxnBatchToSend } from "./txn-requests.ts";

const OUT_OF_ORDER_SEQUENCE = 45;
const DUPLICATE_SEQUENCE = 46;

export interface UnsentBatch extends TxnBatchToSend {
  readonly firstIndex: number;
  readonly count: number;
}

export interface Sending {
  readonly place: ClientPlace;
  readonly channel: TxnChannel;
  readonly transactionalId: string;
  readonly version: number;
  readonly batches: readonly UnsentBatch[];
  pace(): Promise<void>;
  /** Was nobody told to be the successor when the request was sent? */
  isNewest(): boolean;
  /** Base offset -1: not told. Throws what ends the transaction. */
  settle(batch: UnsentBatch, code: number, baseOffset: number, wasNewest: boolean): void;
}

interface InFlight {
  readonly batches: readonly UnsentBatch[];
  readonly wasNewest: boolean;
  readonly answer: Promise<ReturnType<typeof produceApi.readResponse>>;
}

/** Resolves when all are acknowledged. */
export async function sendBatches(sending: Sending): Promise<void> {
  const { place, channel } = sending;
  const { clock, random } = place.process;
  let left: readonly UnsentBatch[] = sending.batches;
  while (left.length > 0) {
    try {
      left = await sendOnce(sending, left);
      if (left.length > 0) await clock.sleep(20 + random.nextFloat() * 60);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      channel.close();
      await clock.sleep(20 + random.nextFloat() * 200);
    }
  }
}

/** Answers what must go again. What was acknowledged before the connection was lost goes again too, and is found to be there. */
async function sendOnce(sending: Sending, batches: readonly UnsentBatch[]): Promise<readonly UnsentBatch[]> {
  const { place, channel, transactionalId, version } = sending;
  const connection = await channel.connect();
  const wasCurrent = place.isCurrent(connection.host);
  const inFlight: InFlight[] = [];
  for (const group of groupByRequest(batches)) {
    if (place.process.random.chance(30)) await sending.pace();
    const answer = connection.request(produceApi, version, produceRequest(transactionalId, group));
    answer.catch(() => {});
    inFlight.push({ batches: group, wasNewest: sending.isNewest(), answer });
  }
  const again: UnsentBatch[] = [];
  for (const request of inFlight) {
    let answer: ReturnType<typeof produceApi.readResponse>;
    try {
      answer = await request.answer;
    } catch (error) {
      channel.losses++;
      throw error;
    }
    place.done("send");
    await sending.pace();
    const isCurrent = wasCurrent && place.isCurrent(connection.host);
    for (const batch of request.batches) {
      const { log } = batch;
      const part = answer.responses.find(({ name }) => name === log.topic)?.partitionResponses.find(({ index }) => index === log.partition);
      const code = part?.errorCode ?? -1;
      const follows = again.some((other) => other.log === log);
      const isStale = !isCurrent && code !== 0;
      if (isStale) place.history.done("stale-answer");
      if (isStale || ASKED_AGAIN.has(code) || (code === OUT_OF_ORDER_SEQUENCE && follows)) {
        if (isStale || code !== 51) channel.close();
        again.push(batch);
      } else {
        const isDuplicate = code === DUPLICATE_SEQUENCE;
        sending.settle(batch, isDuplicate ? 0 : code, isDuplicate ? -1 : Number(part?.baseOffset ?? -1n), request.wasNewest);
      }
    }
  }
  return again;
}

/** A request holds one batch of a partition at most. */
function groupByRequest(batches: readonly UnsentBatch[]): UnsentBatch[][] {
  const groups: UnsentBatch[][] = [];
  for (const batch of batches) {
    const last = groups.at(-1);
    if (last === undefined || last.some(({ log }) => log === batch.log)) groups.push([batch]);
    else last.push(batch);
  }
  return groups;
}
