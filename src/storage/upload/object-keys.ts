/**
 * Names of segment objects, unique for ever: broker epoch (from the metadata log, given once), WAL, a count, and 64 random bits, so that
 * not even a copied disk can give a name twice. No clock is asked.
 */
import type { Random } from "../../base/random.ts";

export type MakeObjectKey = () => string;

export function makeObjectKeys(brokerEpoch: number, walId: string, random: Random): MakeObjectKey {
  let count = 0;
  return () => {
    count += 1;
    const nonce = Buffer.from(random.fillBytes(new Uint8Array(8))).toString("hex");
    return `data/${brokerEpoch}-${walId.slice(0, 8)}-${count}-${nonce}`;
  };
}
