/** Groups with members of both protocols beside Apache Kafka 4.4: `mixed-groups.ts` says what is asked, and runs other policies. */
import { expect } from "bun:test";
import { testIf } from "../support/tools.ts";
import { missingPeer } from "./differential/peers.ts";
import { randomScript } from "./mixed-groups/random.ts";
import { startPair } from "./mixed-groups/servers.ts";
import { compare, scripts } from "./mixed-groups.ts";

const missing = missingPeer();

testIf(missing === undefined, missing ?? "")(
  "members of both protocols are told what Kafka tells them, in time and when their time is up",
  async () => {
    const pair = await startPair({ policy: "bidirectional", assignors: "uniform,range" });
    try {
      const seeded = Array.from({ length: 20 }, (_, index) => randomScript(index + 1));
      expect(await compare(pair, [...scripts, ...seeded])).toEqual([]);
    } finally {
      await pair.stop();
    }
  },
  120_000,
);
