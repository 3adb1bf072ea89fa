/** Weir beside Apache Kafka 4.4, a short run; `bun test/conformance/differential.ts --seeds 2000` is the long one. */
import { expect } from "bun:test";
import { testIf } from "../support/tools.ts";
import { missingPeer, Peers, readServedVersions } from "./differential/peers.ts";
import { DifferentialRun } from "./differential.ts";

const missing = missingPeer();

testIf(missing === undefined, missing ?? "")(
  "seeded requests get Kafka's answers, field by field",
  async () => {
    const peers = await Peers.start();
    try {
      const { served } = await readServedVersions(peers);
      // Of these ten seeds three have members of the consumer protocol.
      const options = { first: 100_012, requestsPerSeed: 60, parallel: 4, shrinks: false, seconds: 60, statePath: undefined };
      const run = new DifferentialRun(peers, served, { ...options, seeds: Number(process.env.DIFFERENTIAL_SEEDS ?? 10) });
      await run.run();
      console.log(run.report().at(-1));
      expect(Object.keys(run.state.found)).toEqual([]);
      const consumerApis = ["ConsumerGroupHeartbeat", "ConsumerGroupDescribe", "ListConfigResources"];
      expect(Object.keys(run.state.apiCounts)).toEqual(expect.arrayContaining(consumerApis));
    } finally {
      await peers.stop();
    }
  },
  120_000,
);
